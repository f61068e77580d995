/**
 * Explain this number: the calculation of a listing's publishable numbers as it runs in the lane, and what the channel
 * knows beside it. Nothing is computed twice: the steps are the lane's own.
 */
import type { Step } from '#core/stock/publishable.ts';
import { readExplained } from '#store/views/explain.ts';
import { loadWork } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
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
  /** What the channel's own number is made of. */
  channel: {
    base: number | null;
    baseAt: string | null;
    expected: number | null;
    observed: number | null;
    observedAt: string | null;
    /** Presumed sales we have not imported. */
    unseen: number;
    accepted: number | null;
    state: string;
    reason: string | null;
    ordersReadTo: string | null;
  };
}

/** Every target of the SKU's listings (or of one listing), in the order of connections and locations. Null: unknown SKU or listing. */
export async function explain(tx: Tx, orgId: string, sku: string, listingId: string | null, now: number): Promise<ExplainedTarget[] | null> {
  const rows = await readExplained(tx, orgId, sku, listingId);
  if (rows === null) return null;
  const explained: ExplainedTarget[] = [];
  for (const connectionId of new Set(rows.map((row) => row.connectionId))) {
    const here = rows.filter((row) => row.connectionId === connectionId);
    const work = await loadWork(tx, orgId, connectionId, now, { kind: 'ids', ids: here.map(({ targetId }) => targetId) });
    const numbers = numbersOf(work);
    for (const { targetId, ...row } of here) {
      const number = numbers.get(targetId);
      explained.push({ ...row, desired: number?.desired ?? 0, steps: number?.steps ?? [] });
    }
  }
  return explained;
}
