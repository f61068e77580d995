/**
 * Explain this number: the calculation of a listing's publishable numbers as it runs in the lane, and what the channel
 * knows beside it. Nothing is computed twice: the steps are the lane's own.
 *
 * At a past time the same calculation runs on what was then: goods and claims from the ledger's own history; listings,
 * locations, bundle parts, policies and last units from their versions; and of the channel what had been seen and sent (`past`).
 */
import type { VariantId } from '#core/ids.ts';
import type { Step } from '#core/stock/publishable.ts';
import { availabilityAsOf } from '#store/ledger/read.ts';
import { loadWork, type Work, type WorkVariant } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import { readExplained } from '#store/views/explain.ts';
import {
  readPartsAt,
  readPlacesAt,
  readPoliciesAt,
  readScarcityAt,
  readSeenAndSentAt,
  type SeenAndSent,
} from '#store/views/past.ts';
import { numbersOf } from './lane-decision.ts';

export interface ExplainedTarget {
  listingId: string;
  connectionId: string;
  connection: string;
  platform: string;
  stockKey: string;
  channelLocation: string;
  desired: number;
  steps: Step[];
  /** What the channel's own number is made of; null for a past time. */
  channel: null | {
    base: number | null;
    baseAt: string | null;
    expected: number | null;
    observed: number | null;
    observedAt: string | null;
    /** Presumed sales we have not imported. */
    unseen: number;
    /** Sold there by orders we have, whose lines wait for this SKU: not offered again, and taken off when they are booked. */
    unbooked: number;
    /** It is not raised before the channel's orders are known past this: what it showed then may lack sales; null: it may be. */
    raiseAfter: string | null;
    accepted: number | null;
    state: string;
    reason: string | null;
    ordersReadTo: string | null;
  };
  /** What had been seen of the channel's number by then, and the last write; null for now. */
  past: null | SeenAndSent;
}

/** Every target of the SKU's listings (or of one listing), in the order of connections and locations. Null: unknown SKU or listing. */
export async function explain(
  tx: Tx,
  orgId: string,
  sku: string,
  listingId: string | null,
  now: number,
  at: number | null = null,
): Promise<ExplainedTarget[] | null> {
  const rows = await readExplained(tx, orgId, sku, listingId, at);
  if (rows === null) return null;
  const explained: ExplainedTarget[] = [];
  const seen =
    at === null
      ? null
      : await readSeenAndSentAt(
          tx,
          orgId,
          rows.map(({ targetId }) => targetId),
          at,
        );
  for (const connectionId of new Set(rows.map((row) => row.connectionId))) {
    const here = rows.filter((row) => row.connectionId === connectionId);
    const work = await loadWork(tx, orgId, connectionId, now, {
      kind: 'ids',
      ids: here.map(({ targetId }) => targetId),
    });
    const whole = { id: here[0]?.variantId ?? '', sku };
    const numbers = numbersOf(at === null ? work : await pastWork(tx, orgId, work, whole, at));
    for (const { targetId, variantId: _, ...row } of here) {
      const number = numbers.get(targetId);
      explained.push({
        ...row,
        channel: at === null ? { ...row.channel, ...waitsFor(work, targetId) } : null,
        past: seen?.get(targetId) ?? null,
        desired: number?.desired ?? 0,
        steps: number?.steps ?? [],
      });
    }
  }
  return explained;
}

/** What its channel has done that no booking, or no order of ours, tells yet. */
function waitsFor(work: Work, targetId: string): { unbooked: number; raiseAfter: string | null } {
  const target = work.targets.find(({ id }) => id === targetId);
  const raiseAfter = target?.raiseAfter ?? null;
  return {
    unbooked: target?.unbooked ?? 0,
    raiseAfter: raiseAfter === null ? null : new Date(raiseAfter).toISOString(),
  };
}

/** The same work with the mapping, goods, claims, parts and policies of a past time; every target of it stood for `whole` then. */
async function pastWork(
  tx: Tx,
  orgId: string,
  work: Work,
  whole: { id: string; sku: string },
  at: number,
): Promise<Work> {
  const connectionId = work.connection?.id ?? '';
  const parts = await readPartsAt(tx, orgId, [whole.id], at);
  const isBundle = parts.length > 0;
  const made = isBundle ? parts : [{ variantId: whole.id, sku: whole.sku, units: 1 }];
  const goods = made.map(({ variantId }) => variantId);
  const available = new Map<string, Record<string, number>>();
  for (const row of await availabilityAsOf(tx, orgId, goods as VariantId[], at)) {
    if (row.locationId === null) continue;
    const places = available.get(row.variantId) ?? {};
    places[row.locationId] = row.sellable - row.committed - row.reserved;
    available.set(row.variantId, places);
  }
  const subjects = [
    orgId,
    connectionId,
    whole.id,
    ...goods,
    ...work.listings.map(({ id }) => id),
    ...work.targets.map(({ id }) => id),
  ];
  const policies = await readPoliciesAt(tx, orgId, subjects, at);
  const scarce = await readScarcityAt(tx, orgId, goods, at);
  const bufferOf = (id: string) =>
    policies.find(({ scope, scopeId }) => scope === 'variant' && scopeId === id)?.fields.buffer ?? 0;
  const variant: WorkVariant = {
    ...whole,
    isBundle,
    parts: made.map(({ variantId, sku, units }) => ({
      variantId,
      sku,
      units,
      buffer: isBundle ? bufferOf(variantId) : 0,
      available: available.get(variantId) ?? {},
      scarce: scarce.get(variantId) ?? null,
    })),
  };
  return {
    ...work,
    variants: [variant],
    targets: work.targets.map((target) => ({ ...target, variantId: whole.id })),
    listings: work.listings.map((listing) => ({ ...listing, variantId: whole.id })),
    places: await readPlacesAt(tx, orgId, connectionId, at),
    policies,
  };
}
