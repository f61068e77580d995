/**
 * Fold: which of the waiting rows of one order is applied, which are overtaken, and which must be read again.
 *
 *   whole versions   the newest is applied; older ones are superseded. Of several with the newest time the one just read
 *                    comes first; one that agrees with it is superseded, one that does not asks for a read (a tie)
 *   "it changed"     superseded when the version that will stand is at least as new; else asks for a read
 *   unreadable       failed; it never keeps the others of its order waiting
 *
 * Pure. Called by server/flows/import-order.ts with the rows in the order they arrived.
 */
import { contentOf, type IncomingOrder } from './order.ts';

export type FoldedEvent =
  | { kind: 'order'; order: IncomingOrder; fresh: boolean }
  | { kind: 'changed'; vendorAt: number | null }
  /** Understood, and nothing to do. */
  | { kind: 'ignored' };

export interface Fold<Row> {
  apply: { row: Row; order: IncomingOrder; fresh: boolean } | null;
  superseded: Row[];
  /** Need a read from the channel: ties and changes without content. */
  fetch: Row[];
}

/** @param storedVersion the vendor time of the version we have, or null */
export function foldOrder<Row>(
  rows: readonly { row: Row; event: FoldedEvent }[],
  storedVersion: number | null,
): Fold<Row> {
  const whole: { row: Row; order: IncomingOrder; fresh: boolean }[] = [];
  for (const { row, event } of rows)
    if (event.kind === 'order') whole.push({ row, order: event.order, fresh: event.fresh });
  const newest = Math.max(...whole.map(({ order }) => order.updatedAt));
  const tied = whole.filter(({ order }) => order.updatedAt === newest);
  const apply = tied.find(({ fresh }) => fresh) ?? tied[0] ?? null;
  const fold: Fold<Row> = { apply, superseded: [], fetch: [] };
  const standing = Math.max(
    apply?.order.updatedAt ?? Number.NEGATIVE_INFINITY,
    storedVersion ?? Number.NEGATIVE_INFINITY,
  );
  for (const { row, event } of rows) {
    if (row === apply?.row) continue;
    if (
      event.kind === 'order' &&
      apply &&
      event.order.updatedAt === newest &&
      contentOf(event.order) !== contentOf(apply.order)
    )
      fold.fetch.push(row);
    else if (event.kind === 'changed' && (event.vendorAt === null || event.vendorAt > standing)) fold.fetch.push(row);
    else fold.superseded.push(row);
  }
  return fold;
}
