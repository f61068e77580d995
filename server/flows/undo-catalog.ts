/**
 * Undoing a catalogue import, as an inverse run: what it did goes, what somebody did since stays and is named.
 *
 *   listing that was new      untouched → removed; with orders or writes behind it → unmapped (it stays for the history)
 *   listing that was known    its columns as they were before, mapping included
 *   touched since (mapped elsewhere, renamed, paused, a setting of its own) → kept, with the reason
 *   product that it made      removed when nothing refers to it, else kept, with the reason
 *
 * In parts of some hundred items, each one commit that marks its items: going on after a kill, and doing it twice, is safe.
 */

import { CodedError } from '#core/errors.ts';
import { type ListingState, readCatalogImport } from '#store/catalog/channel-import.ts';
import {
  beginUndo,
  endUndo,
  removeListings,
  removeVariants,
  restoreListings,
  settleUndo,
  settleVariants,
  takeUndoItems,
  takeUndoVariants,
  type UndoItem,
  type Undone,
  type UndoReport,
  undoReport,
} from '#store/catalog/channel-undo.ts';
import { refreshTargets } from '#store/listings/listings.ts';
import type { Tx } from '#store/tx.ts';
import type { CatalogImportOptions } from './import-catalog.ts';

export type UndoOptions = Pick<CatalogImportOptions, 'store' | 'clock' | 'ids' | 'signal' | 'onCommitted'> & {
  /** The connector's `manifest.stock.compareAndSet`, for targets that follow a mapping back. */
  compareAndSet: boolean;
  /** Ends a part, in its transaction: items taken, of them kept as they are. */
  inPart?(tx: Tx, done: { taken: number; kept: number }): Promise<void>;
  /** After each commit; for tests. */
  afterCommit?(): Promise<void> | void;
};

const AT_ONCE = 200;

/** @returns null: the signal ended it, it can be continued. @throws CodedError domain.not_undoable */
export async function undoCatalogImport(options: UndoOptions, orgId: string, id: string): Promise<UndoReport | null> {
  const { store, clock } = options;
  await store.tenant(orgId, async (tx) => {
    const row = await readCatalogImport(tx, orgId, id, 'update');
    if (!row || row.dryRun)
      throw new CodedError('domain.not_undoable', row ? 'A dry run changed nothing.' : 'There is no such import.', {
        id,
      });
    await beginUndo(tx, orgId, id, new Date(clock.now()));
  });
  for (const part of [undoListings, undoVariants]) {
    for (let size = AT_ONCE; size > 0; ) {
      if (options.signal?.aborted) return null;
      size = await inParts(options, orgId, id, part, size);
    }
  }
  return store.tenant(orgId, async (tx) => {
    await endUndo(tx, orgId, id, new Date(clock.now()));
    return undoReport(tx, orgId, id);
  });
}

type Part = (tx: Tx, options: UndoOptions, orgId: string, id: string, size: number, forced: boolean) => Promise<number>;

/** One transaction of a part. What something unforeseen holds on to fails whole, and is then tried one by one. @returns the next size; 0: done */
async function inParts(options: UndoOptions, orgId: string, id: string, part: Part, size: number): Promise<number> {
  const run = (at: number, forced: boolean) =>
    options.store.tenant(orgId, (tx) => part(tx, options, orgId, id, at, forced), { idempotent: true });
  const done = await run(size, false).catch((error: { code?: string }) => {
    if (error.code !== '23503') throw error;
    return size === 1 ? run(1, true) : -1;
  });
  if (done < 0) return Math.max(1, Math.floor(size / 8));
  if (done > 0) options.onCommitted?.();
  await options.afterCommit?.();
  return done === 0 ? 0 : Math.min(AT_ONCE, size * 2);
}

/** `forced`: something unforeseen refers to the one item: it is not removed. */
const undoListings: Part = async (tx, options, orgId, id, size, forced) => {
  const items = await takeUndoItems(tx, orgId, id, size);
  if (items.length === 0) return 0;
  const verdicts = items.map((item) => ({ item, ...verdictOf(item, forced) }));
  const of = (undo: Undone['undo']) => verdicts.filter((verdict) => verdict.undo === undo).map(({ item }) => item);
  await removeListings(
    tx,
    orgId,
    of('removed').map(({ listingId }) => listingId),
  );
  const back = [
    ...of('restored').map((item) => ({ id: item.listingId, state: item.before as ListingState })),
    ...of('unmapped').map((item) => ({ id: item.listingId, state: { ...item.after, variantId: null } })),
  ];
  const stockKeys = await restoreListings(tx, orgId, back, new Date(options.clock.now()));
  const row = await readCatalogImport(tx, orgId, id);
  await refreshTargets(
    tx,
    orgId,
    row?.connectionId ?? '',
    stockKeys.map((stockKey) => ({ stockKey, channelLocations: [] })),
    { ids: options.ids, now: options.clock.now(), compareAndSet: options.compareAndSet },
  );
  await settleUndo(
    tx,
    orgId,
    id,
    verdicts.map(({ item, undo, reason }) => ({ id: item.id, undo, reason })),
  );
  await options.inPart?.(tx, { taken: items.length, kept: of('kept').length });
  return items.length;
};

function verdictOf(item: UndoItem, forced: boolean): { undo: Undone['undo']; reason: string | null } {
  const { before, after, now } = item;
  if (now === null) return { undo: 'nothing', reason: null };
  if (before !== null && same(before, after)) return { undo: 'nothing', reason: null };
  if (!same(now, after)) return { undo: 'kept', reason: 'it was changed since' };
  if (before !== null) return { undo: 'restored', reason: null };
  if (item.isPaused) return { undo: 'kept', reason: 'somebody paused it since' };
  if (item.hasPolicy) return { undo: 'kept', reason: 'it has a setting of its own' };
  if (item.hasOrders || item.hasAttempts || forced) {
    const why = item.hasOrders ? 'orders name it' : item.hasAttempts ? 'numbers were sent through it' : 'it is in use';
    return { undo: now.variantId === null ? 'kept' : 'unmapped', reason: `it stays: ${why}` };
  }
  return { undo: 'removed', reason: null };
}

const same = (a: ListingState, b: ListingState): boolean =>
  a.variantId === b.variantId &&
  a.channelSku === b.channelSku &&
  a.title === b.title &&
  a.fulfilledBy === b.fulfilledBy &&
  a.notWritable === b.notWritable;

const undoVariants: Part = async (tx, options, orgId, id, size, forced) => {
  const items = await takeUndoVariants(tx, orgId, id, size);
  const verdicts = items.map((item) => ({ ...item, reason: item.reason ?? (forced ? 'it is in use' : null) }));
  const gone = verdicts.filter(({ reason }) => reason === null);
  await removeVariants(
    tx,
    orgId,
    gone.map(({ variantId }) => variantId),
  );
  await settleVariants(
    tx,
    orgId,
    id,
    verdicts.map(({ id: item, reason }) => ({ id: item, undo: reason === null ? 'removed' : 'kept', reason })),
  );
  await options.inPart?.(tx, { taken: items.length, kept: items.length - gone.length });
  return items.length;
};
