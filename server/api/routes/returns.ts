/**
 * `POST /webhook/amazon/return`: a return reported by whoever holds the goods, with an API key. The call is itself the
 * goods signal: units are booked by disposition, without a line limit when no order is named. The same `returnOrderId`
 * is the same return.
 */
import { z } from 'zod';
import { HoldId } from '#core/ids.ts';
import type { Disposition } from '#core/stock/disposition.ts';
import type { Command } from '#core/stock/movement.ts';
import { raiseAlerts } from '#store/attention/alerts.ts';
import { findPlace } from '#store/catalog/lookup.ts';
import { readItem } from '#store/views/inventory.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { locationCode, sku, text, units } from './schemas.ts';
import { callerOf } from './stock.ts';

const damaged = ['CUSTOMER_DAMAGED', 'WAREHOUSE_DAMAGED', 'CARRIER_DAMAGED'] as const;
const dispositions = ['SELLABLE', ...damaged, 'UNKNOWN', 'UNSELLABLE'] as const;

/** Where the goods of a disposition go; null: nowhere (the units are written off where they are). */
const bucketOf: Record<(typeof dispositions)[number], Disposition | null> = {
  SELLABLE: 'sellable',
  CUSTOMER_DAMAGED: 'damaged',
  WAREHOUSE_DAMAGED: 'damaged',
  CARRIER_DAMAGED: 'damaged',
  UNKNOWN: 'quarantine',
  UNSELLABLE: null,
};

const actionOf: Record<(typeof dispositions)[number], 'restocked' | 'damaged' | 'quarantined' | 'none'> = {
  SELLABLE: 'restocked',
  CUSTOMER_DAMAGED: 'damaged',
  WAREHOUSE_DAMAGED: 'damaged',
  CARRIER_DAMAGED: 'damaged',
  UNKNOWN: 'quarantined',
  UNSELLABLE: 'none',
};

export async function returnRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.post(
    '/webhook/amazon/return',
    {
      schema: {
        summary: 'Units came back: book them by disposition',
        body: z.object({
          sku,
          quantity: units.max(1_000_000),
          disposition: z
            .string()
            .transform((text) => text.trim().toUpperCase().replaceAll(' ', '_'))
            .pipe(z.enum(dispositions)),
          returnOrderId: text(200).min(1).optional(),
          orderId: text(100).optional(),
          reason: text(500).optional(),
          returnedAt: z.iso.datetime({ offset: true }).optional(),
          location: locationCode.optional(),
          fulfillment: z.enum(['MFN', 'FBA']).default('MFN'),
        }),
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const location = body.location ?? (body.fulfillment === 'FBA' ? 'FBA' : null);
      const found = await deps.store.tenant(caller.orgId, (tx) => findPlace(tx, caller.orgId, body.sku, location));
      if (found.variantId === null) throw notFound(`SKU ${body.sku}`);
      if (found.locationId === null)
        throw new Problem(422, 'domain.unknown_location', `There is no location ${location}.`, [
          { field: 'location', message: 'is not known' },
        ]);
      if (found.isBundle)
        throw new Problem(422, 'domain.bundle_has_no_stock', `${body.sku} is a bundle: book its components.`, [
          { field: 'sku', message: 'is a bundle' },
        ]);
      const bucket = bucketOf[body.disposition];
      const businessAt = body.returnedAt === undefined ? deps.clock.now() : Date.parse(body.returnedAt);
      const common = {
        key: body.returnOrderId === undefined ? request.effectKey : `return:amazon:${body.returnOrderId}`,
        businessAt,
        reason: body.disposition.toLowerCase(),
        reference: body.returnOrderId ?? body.orderId ?? null,
      };
      // Nothing is booked for units that cannot be sold again, but the return's key is used up all the same: releasing a claim nobody has.
      const command: Command =
        bucket === null
          ? { ...common, kind: 'release', claimId: HoldId(deps.ids.uuid()), lines: 'all' }
          : {
              ...common,
              kind: 'return',
              variantId: found.variantId,
              locationId: found.locationId,
              units: body.quantity,
              bucket,
            };
      const posted = await deps.command(caller, command);
      const action = posted.kind === 'duplicate' ? 'duplicate' : actionOf[body.disposition];
      const alert = action === 'duplicate' || body.disposition === 'SELLABLE' ? null : await tell(caller.orgId, body);
      const item = await deps.store.tenant(caller.orgId, (tx) => readItem(tx, caller.orgId, body.sku));
      return {
        ok: true,
        processed: action !== 'duplicate',
        synced: action === 'restocked',
        action,
        inventoryAfter: item?.physical ?? 0,
        broadcastAfter: item?.broadcast ?? 0,
        alert,
      };
    },
  );

  async function tell(
    orgId: string,
    body: {
      sku: string;
      quantity: number;
      disposition: (typeof dispositions)[number];
      returnOrderId?: string | undefined;
    },
  ) {
    const isDamage = (damaged as readonly string[]).includes(body.disposition);
    const kind = isDamage
      ? 'return_damaged'
      : body.disposition === 'UNKNOWN'
        ? 'return_quarantine'
        : 'return_unsellable';
    const severity =
      body.disposition === 'WAREHOUSE_DAMAGED' || body.disposition === 'CARRIER_DAMAGED'
        ? ('critical' as const)
        : ('warning' as const);
    const what = isDamage
      ? 'booked as damaged'
      : body.disposition === 'UNKNOWN'
        ? 'waits in quarantine: decide what it is'
        : 'cannot be sold again; nothing was booked';
    const message = `${body.quantity} × ${body.sku} came back ${body.disposition.toLowerCase().replaceAll('_', ' ')}: ${what}.`;
    const alert = {
      kind,
      severity,
      message,
      subject: { kind: 'sku', id: body.sku },
      on: body.returnOrderId ?? deps.ids.uuid(),
      details: { quantity: body.quantity, disposition: body.disposition },
    } as const;
    const [id = ''] = await deps.store.tenant(orgId, (tx) =>
      raiseAlerts(tx, orgId, [alert], { ids: deps.ids, now: deps.clock.now() }),
    );
    return { id, kind, severity, message };
  }
}
