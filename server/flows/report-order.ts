/**
 * An order reported by a caller with an API key, `{ orderId, items }`: the predecessor's way to tell of a sale.
 *
 *   it belongs to no connection: no channel's number is lower by it, so every channel is told
 *   one effect per orderId and organization, however often it is sent
 *   a sale that happened is a fact: what is there is committed, the rest is a shortfall with its alert
 *   an unknown SKU refuses the whole: without a connection nothing could complete it later
 *
 * A sale that the shop's own signed webhook also tells would be booked twice: use this only where no connection is.
 * Called by the webhook route.
 */
import { createHash } from 'node:crypto';
import type { Clock, Ids } from '#core/effects.ts';
import { ListingId } from '#core/ids.ts';
import { decideImport } from '#core/order/import.ts';
import { contentOf, type IncomingOrder, type LineMapping } from '#core/order/order.ts';
import { findParts } from '#store/catalog/bulk.ts';
import { post } from '#store/ledger/post.ts';
import { lockReportedOrder } from '#store/orders/reported.ts';
import { writeOrders } from '#store/orders/write.ts';
import type { Store } from '#store/tx.ts';

export interface ReportedItem {
  sku: string;
  quantity: number;
}

export type Reported =
  | { kind: 'booked'; id: string }
  | { kind: 'duplicate'; id: string }
  | { kind: 'unknown_sku'; items: number[] };

export async function reportOrder(
  deps: { store: Store; clock: Clock; ids: Ids },
  by: { orgId: string; actor: string },
  order: { orderId: string; items: readonly ReportedItem[] },
): Promise<Reported> {
  const now = deps.clock.now();
  return deps.store.tenant(
    by.orgId,
    async (tx) => {
      const known = await lockReportedOrder(tx, by.orgId, order.orderId);
      if (known !== null) return { kind: 'duplicate', id: known };
      const parts = await findParts(tx, by.orgId, [...new Set(order.items.map(({ sku }) => sku))]);
      const missing = order.items.flatMap(({ sku }, index) =>
        (parts.get(sku)?.parts.length ?? 0) === 0 ? [index] : [],
      );
      if (missing.length > 0) return { kind: 'unknown_sku', items: missing };
      const incoming = incomingOrder(order, now);
      const application = decideImport(null, incoming, {
        contentHash: createHash('sha256').update(contentOf(incoming)).digest('hex'),
        fresh: false,
        bookedSince: 0,
        mappingOf: (line) => mappingOf(parts.get(line.channelSku ?? '')),
        prefer: () => null,
        ids: deps.ids,
      });
      if (application.kind !== 'apply') throw new Error('a new order is always applied');
      const notes = [{ kind: 'imported' as const, message: 'Reported through the API' }];
      // Its lines name our variants, not listings: it was sold on none.
      const stored = {
        ...application.order,
        lines: application.order.lines.map((line) => ({ ...line, listingId: null, stockKey: null })),
      };
      await writeOrders(tx, [{ orgId: by.orgId, connectionId: null, isNew: true, order: stored, notes }], {
        now,
        actor: by.actor,
        ids: deps.ids,
      });
      await post(tx, by.orgId, application.commands, { actor: by.actor, now, ids: deps.ids });
      return { kind: 'booked', id: stored.id };
    },
    { idempotent: true },
  );
}

type FoundParts = Awaited<ReturnType<typeof findParts>> extends Map<string, infer V> ? V : never;

const mappingOf = (found: FoundParts | undefined): LineMapping =>
  found
    ? { kind: 'mapped', listingId: ListingId(''), stockKey: '', variantId: found.variantId, components: found.parts }
    : { kind: 'unmapped', reason: 'unknown', listingId: null, stockKey: null };

function incomingOrder(
  { orderId, items }: { orderId: string; items: readonly ReportedItem[] },
  now: number,
): IncomingOrder {
  return {
    externalId: orderId,
    number: orderId,
    placedAt: now,
    updatedAt: now,
    state: 'open',
    payment: 'paid',
    fulfillment: 'unfulfilled',
    fulfilledBy: 'us',
    currency: null,
    totalMinor: null,
    test: false,
    lines: items.map(({ sku, quantity }, index) => ({
      externalId: String(index + 1),
      stockKey: null,
      variantExternalId: null,
      channelSku: sku,
      title: sku,
      ordered: quantity,
      wanted: quantity,
      shipped: 0,
      taken: 0,
      channelLocation: null,
      bundleParent: false,
    })),
  };
}
