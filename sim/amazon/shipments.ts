/**
 * Orders v0 confirmShipment (vendors/amazon.md §6.4): 204, and the order turns SHIPPED after the settle time.
 *
 * Refused with 400 InvalidInput: a packageReferenceId that is no string of a positive integer (observed since 2026-01),
 * an unknown carrier, "Other" without a name, a ship date in the future or before the purchase, a PENDING or cancelled
 * order, an FBA order, lines that are not of the order or more units than are open. A package id used before edits that package.
 */
import { z } from 'zod';
import type { SimCore } from '#sim/kit/core.ts';
import type { Agenda } from './agenda.ts';
import { type Answer, invalidInput, notFound } from './answers.ts';
import { shippedUnits } from './order-life.ts';
import { paceOf } from './profile.ts';
import { type ApiRequest, parameter } from './request.ts';
import { latest, type OrderRow, type PackageDetail, type Rows } from './rows.ts';

const CARRIERS = ['UPS', 'USPS', 'FedEx', 'DHL', 'DHL eCommerce', 'Amazon Shipping', 'OnTrac', 'Canada Post', 'Other'];
/** A clock that is a little ahead is not the future. */
const CLOCK_SKEW_MS = 60_000;

const confirmation = z.object({
  marketplaceId: z.string(),
  packageDetail: z.object({
    packageReferenceId: z.string().regex(/^[1-9]\d*$/),
    carrierCode: z.string(),
    carrierName: z.string().optional(),
    shippingMethod: z.string().optional(),
    trackingNumber: z.string().min(1),
    shipDate: z.iso.datetime({ offset: true }),
    orderItems: z.array(z.object({ orderItemId: z.string(), quantity: z.number().int().positive() })).min(1),
  }),
});

export function createShipments(core: SimCore, rows: Rows, agenda: Agenda, account: { marketplaceId: string }) {
  return {
    confirm(request: ApiRequest): Answer {
      const order = rows.orders.get(parameter(request, 'orderId'));
      if (order === undefined) throw notFound('The order was not found');
      const parsed = confirmation.safeParse(request.json());
      if (!parsed.success) {
        const fields = parsed.error.issues.map((one) => one.path.join('.'));
        throw invalidInput(`fields with invalid type [${fields.join(', ')}]`);
      }
      const { marketplaceId, packageDetail } = parsed.data;
      if (marketplaceId !== account.marketplaceId) throw invalidInput('marketplaceId');
      check(order, packageDetail);
      const at = core.clock.now() + paceOf(core.profile.current()).settleMs;
      agenda.add({ kind: 'shipment', order: order.id, detail: packageDetail }, at);
      return { status: 204, applied: true };
    },
  };

  function check(order: OrderRow, detail: PackageDetail): void {
    const { status, lines, packages } = latest(order);
    if (order.fulfilledBy === 'AMAZON') throw invalidInput('The order is fulfilled by Amazon');
    if (status === 'PENDING' || status === 'CANCELLED') throw invalidInput(`The order is ${status}`);
    if (!CARRIERS.includes(detail.carrierCode)) throw invalidInput('packageDetail.carrierCode');
    if (detail.carrierCode === 'Other' && !detail.carrierName) throw invalidInput('packageDetail.carrierName');
    const shipped = Date.parse(detail.shipDate);
    if (shipped > core.clock.now() + CLOCK_SKEW_MS || shipped < order.createdAt)
      throw invalidInput('packageDetail.shipDate');
    const others = packages.filter((one) => one.packageReferenceId !== detail.packageReferenceId);
    for (const [id, units] of shippedUnits([...others, detail])) {
      const line = lines.find((one) => one.id === id);
      if (line === undefined) throw invalidInput(`orderItemId ${id}`);
      if (units > line.ordered) throw invalidInput(`orderItemId ${id}: more than ordered`);
    }
  }
}
