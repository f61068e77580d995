/**
 * An import of a channel's catalogue, and its undoing, as runs. The import's row has the run's id (migrations/0015); each
 * page's transaction ends with the run's step, so a holder that lost its lease commits nothing, and the next one goes on
 * behind the last page. A channel that limits or fails leaves the run to its next taker; one that refuses us ends it with
 * its words, and importing again adds nothing twice.
 */
import { CodedError } from '#core/errors.ts';
import { refusedItems } from '#store/catalog/channel-import.ts';
import { type CatalogImportOptions, continueCatalogImport } from '../import-catalog.ts';
import type { ConnectionRef, OpenedConnection } from '../publisher-types.ts';
import type { RunKind } from '../runs.ts';
import { undoCatalogImport } from '../undo-catalog.ts';

export interface CatalogKindOptions {
  openConnection(connection: ConnectionRef): Promise<OpenedConnection | null>;
  completeUnmapped: NonNullable<CatalogImportOptions['completeUnmapped']>;
}

/** Items of a page have numbers of their own: pages hold some dozen items. */
const ITEMS_PER_PAGE = 10_000;

export const catalogImport = (options: CatalogKindOptions): RunKind => ({
  async execute({ run, store, clock, ids, signal, advance, wake }) {
    const outcome = await continueCatalogImport(
      {
        ...options,
        store,
        clock,
        ids,
        signal,
        onCommitted: wake,
        inPage: (tx, items, page) => {
          const failed = items.filter(({ outcome: came }) => came === 'refused');
          const changed = items.filter(
            ({ outcome: came, before }) => came === 'mapped' || (came !== 'refused' && !before),
          );
          return advance(tx, {
            succeeded: changed.length,
            failed: failed.length,
            unchanged: items.length - changed.length - failed.length,
            items: refusedItems(items, page * ITEMS_PER_PAGE + 1),
            mark: page + 1,
          });
        },
      },
      run.orgId,
      run.id,
    );
    if (outcome.kind === 'stopped') throw new Error('The import was stopped between two pages.');
    if (outcome.kind === 'unavailable')
      throw new CodedError('run.not_connected', 'The connection cannot be opened: is it still linked?');
    const { processed, mapped, alreadyMapped, unmapped, created } = outcome.report;
    return {
      message: `${processed} items: ${mapped + alreadyMapped} mapped, ${unmapped} unmapped; ${created} new products.`,
      errorFile: null,
    };
  },
});

export const undoCatalog = (options: Pick<CatalogKindOptions, 'openConnection'>): RunKind => ({
  async execute({ run, store, clock, ids, signal, advance, wake }) {
    const opened = await options.openConnection({ orgId: run.orgId, connectionId: run.connectionId ?? '' });
    const report = await undoCatalogImport(
      {
        store,
        clock,
        ids,
        signal,
        onCommitted: wake,
        compareAndSet: opened?.manifest.stock.compareAndSet ?? false,
        inPart: (tx, { taken, kept }) =>
          advance(tx, { succeeded: taken - kept, failed: kept, unchanged: 0, items: [], mark: null }),
      },
      run.orgId,
      run.inverseOf ?? '',
    );
    if (report === null) throw new Error('The undoing was stopped between two parts.');
    const { removed, restored, unmapped, kept, productsRemoved, productsKept } = report;
    return {
      message: `Listings: ${removed} removed, ${restored} restored, ${unmapped} unmapped, ${kept} kept. Products: ${productsRemoved} removed, ${productsKept} kept.`,
      errorFile: null,
    };
  },
});
