/**
 * The life of an order, as buyers, Amazon and the seller's clerk live it.
 *
 *   PENDING → UNSHIPPED → PARTIALLY_SHIPPED → SHIPPED
 *      └──────────┴──→ CANCELLED (nothing shipped yet; else the rest is dropped and the order is SHIPPED)
 *
 * Units leave the offer when the order is placed. Whether units of a cancelled FBM order return to the offer is not
 * documented in what we read: the caller decides by `restock` (default true; assumed), and a lowered line gives its
 * units back (assumed). Returned FBM goods never raise Amazon's number (the seller grades them, vendors/amazon.md §8.2);
 * returned FBA goods go to the bucket of their disposition. Amazon splits FBM and FBA goods into separate orders.
 * An order has no edit that adds (§6, documented by absence): only lines lowered or dropped.
 */
import type { SimCore } from '#sim/kit/core.ts';
import { ControlRefusal, type LineRef, type SimOrder, type SimOrderLine } from '#sim/kit/model.ts';
import { type FbaBucket, fulfilledBy, type Offers, onOffer } from './offers.ts';
import { LONGEST_ORDER_DELAY_MS } from './profile.ts';
import {
  latest,
  type OrderLine,
  type OrderRow,
  type OrderStatus,
  type OrderVersion,
  type PackageDetail,
  type Rows,
} from './rows.ts';

export interface OrderLife {
  place(input: {
    lines: { sku: string; quantity: number }[];
    status: 'paid' | 'pending';
    id?: string | undefined;
    oversell: boolean;
  }): {
    id: string;
    lines: SimOrderLine[];
  };
  pay(id: string): SimOrder;
  lower(id: string, lines: readonly LineRef[]): SimOrder;
  cancel(id: string, restock: boolean, lines?: readonly LineRef[]): SimOrder;
  fulfill(id: string, lines?: readonly LineRef[]): SimOrder;
  giveBack(id: string, lines: readonly (LineRef & { disposition: string })[], restock: boolean): SimOrder;
  /** A confirmed shipment takes effect; a package id seen before is that package, edited (§6.4, documented). */
  ship(id: string, detail: PackageDetail, at: number): void;
  /** Units of open orders per SKU. */
  committed(): Map<string, number>;
}

/** Amazon's reading of a disposition (§8.2): null = the units leave inventory, Amazon pays for them. */
const FBA_BUCKETS: Record<string, FbaBucket | null> = {
  SELLABLE: 'fulfillable',
  CUSTOMER_DAMAGED: 'customerDamaged',
  DEFECTIVE: 'defective',
  EXPIRED: 'expired',
  DAMAGED: null,
  CARRIER_DAMAGED: null,
  WAREHOUSE_DAMAGED: null,
};

export const toSimOrder = (order: OrderRow): SimOrder => {
  const { status, lines } = latest(order);
  return { id: order.id, status, lines: lines.map(({ id, sku, ordered }) => ({ id, sku, quantity: ordered })) };
};

export const openUnits = (line: OrderLine): number => line.ordered - line.shipped;

/** @param changed told after each change, with the status before (null: new) */
export function createOrderLife(
  core: SimCore,
  rows: Rows,
  offers: Offers,
  changed: (order: OrderRow, before: OrderStatus | null) => void,
): OrderLife {
  const now = () => core.clock.now();

  function find(id: string): OrderRow {
    const order = rows.orders.get(id);
    if (order === undefined) throw new ControlRefusal(404, `No order ${id}`);
    return order;
  }

  function put(order: OrderRow, change: Partial<OrderVersion>, at: number, rest: Partial<OrderRow> = {}): OrderRow {
    const before = latest(order);
    const version = { ...before, ...change, at: Math.floor(at / 1000) * 1000 };
    const known = order.versions.findLastIndex((old) => old.at <= at - LONGEST_ORDER_DELAY_MS - 1000);
    const next = { ...order, ...rest, versions: [...order.versions.slice(Math.max(0, known)), version] };
    rows.orders.put(order.id, next);
    changed(next, before.status);
    return next;
  }

  function lineOf(order: OrderRow, ref: LineRef): OrderLine {
    const line = latest(order).lines.find((one) => (ref.id !== undefined ? one.id === ref.id : one.sku === ref.sku));
    if (line === undefined) throw new ControlRefusal(404, `Order ${order.id} has no line ${ref.id ?? ref.sku}`);
    return line;
  }

  /** @returns units by line id; twice-named lines add up. */
  function byLine(order: OrderRow, refs: readonly LineRef[]): Map<string, number> {
    const units = new Map<string, number>();
    for (const ref of refs) {
      const { id } = lineOf(order, ref);
      units.set(id, (units.get(id) ?? 0) + ref.quantity);
    }
    return units;
  }

  /** Drops units that were not shipped. @param gone units by line id, at most what is open */
  function drop(order: OrderRow, gone: ReadonlyMap<string, number>, restock: boolean): OrderRow {
    const at = now();
    const taken = { ...order.taken };
    const lines = latest(order).lines.map((line) => {
      const units = gone.get(line.id) ?? 0;
      const owned = taken[line.id] ?? 0;
      // Units that never were in the offer (oversold) are dropped first.
      const back = Math.max(0, owned - (line.ordered - units));
      taken[line.id] = owned - back;
      if (order.fulfilledBy === 'AMAZON') offers.releaseReserved(line.sku, back, at);
      if (restock) offers.putBack(line.sku, back, at);
      return { ...line, ordered: line.ordered - units, cancelled: line.cancelled + units };
    });
    return put(order, { lines, status: statusAfter(latest(order).status, lines) }, at, { taken });
  }

  function mustBeOpen(order: OrderRow): void {
    const { status } = latest(order);
    if (status === 'CANCELLED' || status === 'SHIPPED') throw new ControlRefusal(409, `Order ${order.id} is ${status}`);
  }

  return {
    place(input) {
      const id = input.id ?? orderId(core.tables.next('orders'));
      if (rows.orders.has(id)) throw new ControlRefusal(409, `Order ${id} exists`);
      const found = input.lines.map((line) => {
        const offer = offers.find(line.sku);
        if (offer === null) throw new ControlRefusal(404, `No offer with SKU ${line.sku}`);
        return { ...line, offer };
      });
      const [channel, other] = new Set(found.map(({ offer }) => fulfilledBy(offer)));
      if (channel === undefined || other !== undefined)
        throw new ControlRefusal(422, 'Amazon splits goods of the merchant and of FBA into two orders: place two');
      const at = now();
      const taken: Record<string, number> = {};
      const lines = found.map(({ sku, quantity, offer }): OrderLine => {
        const available = onOffer(offers.find(sku) ?? offer);
        if (available < quantity && !input.oversell) throw new ControlRefusal(409, `${sku}: ${available} left`);
        const line = String(10_000_000_000_000 + core.tables.next('orderItems'));
        taken[line] = offers.sell(sku, quantity, at);
        return { id: line, sku, asin: offer.asin, title: offer.title, ordered: quantity, shipped: 0, cancelled: 0 };
      });
      const status = input.status === 'pending' ? 'PENDING' : 'UNSHIPPED';
      const version: OrderVersion = { at: Math.floor(at / 1000) * 1000, status, lines, packages: [] };
      const order: OrderRow = {
        id,
        fulfilledBy: channel,
        createdAt: version.at,
        versions: [version],
        taken,
        returned: {},
      };
      rows.orders.put(id, order);
      changed(order, null);
      return { id, lines: toSimOrder(order).lines };
    },
    pay(id) {
      const order = find(id);
      if (latest(order).status !== 'PENDING') throw new ControlRefusal(409, `Order ${id} is not PENDING`);
      return toSimOrder(put(order, { status: 'UNSHIPPED' }, now()));
    },
    lower(id, refs) {
      const order = find(id);
      mustBeOpen(order);
      const wanted = byLine(order, refs);
      const gone = new Map<string, number>();
      for (const line of latest(order).lines) {
        const quantity = wanted.get(line.id) ?? line.ordered;
        if (quantity > line.ordered) throw new ControlRefusal(422, 'Amazon has no edit that adds units to an order');
        if (quantity < line.shipped) throw new ControlRefusal(409, `${line.shipped} of line ${line.id} are shipped`);
        gone.set(line.id, line.ordered - quantity);
      }
      return toSimOrder(drop(order, gone, true));
    },
    cancel(id, restock, refs) {
      const order = find(id);
      mustBeOpen(order);
      const lines = latest(order).lines;
      const gone = refs === undefined ? new Map(lines.map((line) => [line.id, openUnits(line)])) : byLine(order, refs);
      for (const line of lines)
        if ((gone.get(line.id) ?? 0) > openUnits(line))
          throw new ControlRefusal(409, `Only ${openUnits(line)} of line ${line.id} are open`);
      return toSimOrder(drop(order, gone, restock));
    },
    fulfill(id, refs) {
      const order = find(id);
      mustBeOpen(order);
      if (latest(order).status === 'PENDING') throw new ControlRefusal(409, `Order ${id} is PENDING: not paid`);
      const lines = latest(order).lines;
      const units = refs === undefined ? new Map(lines.map((line) => [line.id, openUnits(line)])) : byLine(order, refs);
      for (const line of lines)
        if ((units.get(line.id) ?? 0) > openUnits(line))
          throw new ControlRefusal(409, `Only ${openUnits(line)} of line ${line.id} are open`);
      const orderItems = [...units].filter(([, quantity]) => quantity > 0);
      const number = 1 + Math.max(0, ...latest(order).packages.map((one) => Number(one.packageReferenceId)));
      const detail: PackageDetail = {
        packageReferenceId: String(number),
        carrierCode: 'UPS',
        shippingMethod: 'Ground',
        trackingNumber: `1ZSIM${order.id.replace(/\D/g, '').slice(-8)}${number}`,
        shipDate: new Date(now()).toISOString(),
        orderItems: orderItems.map(([orderItemId, quantity]) => ({ orderItemId, quantity })),
      };
      return toSimOrder(ship(order, detail, now()));
    },
    giveBack(id, refs, restock) {
      const order = find(id);
      const returned = { ...order.returned };
      for (const ref of refs) {
        const line = lineOf(order, ref);
        const all = (returned[line.id] ?? 0) + ref.quantity;
        if (all > line.shipped) throw new ControlRefusal(409, `Only ${line.shipped} of line ${line.id} were shipped`);
        returned[line.id] = all;
        if (order.fulfilledBy === 'MERCHANT' || !restock) continue;
        const bucket = FBA_BUCKETS[ref.disposition.toUpperCase().replaceAll(' ', '_')];
        if (bucket === undefined) throw new ControlRefusal(400, `Not a disposition: ${ref.disposition}`);
        if (bucket !== null) offers.receiveFba(line.sku, bucket, ref.quantity, now());
      }
      const next = { ...order, returned };
      rows.orders.put(id, next);
      return toSimOrder(next);
    },
    ship(id, detail, at) {
      const order = rows.orders.get(id);
      if (order !== undefined && latest(order).status !== 'CANCELLED') ship(order, detail, at);
    },
    committed() {
      const units = new Map<string, number>();
      for (const order of rows.orders.all())
        for (const line of latest(order).lines)
          if (openUnits(line) > 0) units.set(line.sku, (units.get(line.sku) ?? 0) + openUnits(line));
      return units;
    },
  };

  function ship(order: OrderRow, detail: PackageDetail, at: number): OrderRow {
    const { packages, status } = latest(order);
    const index = packages.findIndex((one) => one.packageReferenceId === detail.packageReferenceId);
    const next = index < 0 ? [...packages, detail] : packages.with(index, detail);
    const shipped = shippedUnits(next);
    const lines = latest(order).lines.map((line) => {
      const units = Math.min(line.ordered, shipped.get(line.id) ?? 0);
      if (order.fulfilledBy === 'AMAZON') offers.releaseReserved(line.sku, Math.max(0, units - line.shipped), at);
      return { ...line, shipped: units };
    });
    return put(order, { packages: next, lines, status: statusAfter(status, lines) }, at);
  }
}

export function shippedUnits(packages: readonly PackageDetail[]): Map<string, number> {
  const units = new Map<string, number>();
  for (const { orderItems } of packages)
    for (const { orderItemId, quantity } of orderItems)
      units.set(orderItemId, (units.get(orderItemId) ?? 0) + quantity);
  return units;
}

function statusAfter(before: OrderStatus, lines: readonly OrderLine[]): OrderStatus {
  if (lines.every((line) => line.ordered === 0)) return 'CANCELLED';
  const shipped = lines.some((line) => line.shipped > 0);
  if (lines.every((line) => openUnits(line) === 0)) return 'SHIPPED';
  if (shipped) return 'PARTIALLY_SHIPPED';
  return before === 'PARTIALLY_SHIPPED' ? 'UNSHIPPED' : before;
}

/** Amazon's 3-7-7 form. */
const orderId = (n: number): string => {
  const high = 1_000_000 + Math.floor(n / 10_000_000);
  return `902-${high}-${String(n % 10_000_000).padStart(7, '0')}`;
};
