/**
 * Catalogue import: what a channel offers becomes listings; a listing whose SKU is ours is mapped to it, and, if asked,
 * SKUs that are not ours become products.
 *
 *   started → page (call the channel | take the stored answers) → one commit: answers, listings, products, items, mark
 *           → … → last page → waiting orders booked → report → finished
 *
 * Exact SKUs only (core/catalog/sku.ts, matching.ts); what finds no SKU, or may not be mapped, is kept as an unmapped
 * listing for a person. A listing that is mapped stays as it is, whatever its SKU says now. Each page is one transaction
 * under the import's row, so that whoever goes on (`continueCatalogImport`), after a kill at any line, continues behind the
 * last committed page, and two at once do nothing twice. A dry run does the same in a savepoint that it rolls back, with
 * its own earlier pages taken as done, so that its report is the live one.
 *
 * Raw answers are kept for 90 days: a replay derives again from them without calling the channel (after a mended mapping
 * of ours, or to do for real exactly what a dry run showed). Undoing is in undo-catalog.ts.
 */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { CatalogPage, ChannelListing, RawAnswer } from '#connectors/kit/ports.ts';
import {
  type ChannelItem,
  canBecomeProduct,
  compareFields,
  type FieldComparison,
  issuesOf,
} from '#core/catalog/matching.ts';
import { channelSkuOf } from '#core/catalog/sku.ts';
import type { Clock, Ids } from '#core/effects.ts';
import { CodedError, ConnectorError } from '#core/errors.ts';
import {
  type CatalogImportRow,
  type CatalogItem,
  type CatalogReport,
  countItems,
  createCatalogImport,
  createProducts,
  earlierItems,
  findProducts,
  finishImport,
  type ListingState,
  lastImportStart,
  lockListings,
  type ProductBefore,
  prunePages,
  readCatalogImport,
  readPage,
  restartImport,
  storeItems,
  storePage,
  takenBack,
} from '#store/catalog/channel-import.ts';
import { listingKeyOf } from '#store/connections/catalogue.ts';
import { type ListingDraft, upsertListings } from '#store/listings/listings.ts';
import { createRun, type NewRun } from '#store/runs/runs.ts';
import type { Store, Tx } from '#store/tx.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';

export interface CatalogImportOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  openConnection(connection: ConnectionRef): Promise<OpenedConnection | null>;
  /** Ends the import between two pages; it can be continued. */
  signal?: AbortSignal;
  /** Orders that waited for a mapping are booked (intake.completeUnmapped). Repeating it does no harm. */
  completeUnmapped?(connection: ConnectionRef): Promise<unknown>;
  /** After each committed page of a live run: something may have to be published. */
  onCommitted?(): void;
  /** Ends a page, in the page's transaction; throws when the page must not be committed. */
  inPage?(tx: Tx, items: readonly CatalogItem[], page: number): Promise<void>;
  onProgress?(done: { pages: number; processed: number }): void;
  /** Named pause points inside the gaps; for tests. */
  hooks?: CatalogHooks;
}

export interface CatalogHooks {
  beforePage?(page: number): Promise<void> | void;
  /** The channel has answered, nothing is stored. */
  afterPage?(page: number): Promise<void> | void;
  /** The page's transaction is about to commit. */
  beforeCommit?(page: number): Promise<void> | void;
  afterCommit?(page: number): Promise<void> | void;
  /** Waiting orders are booked, the report is not made. */
  beforeFinish?(): Promise<void> | void;
  afterFinish?(): Promise<void> | void;
}

export interface CatalogRequest {
  /** The run's; made here otherwise. The same id again continues. */
  id?: string;
  /** incremental: what changed since the last import that came to its end; full when there was none. */
  mode?: 'full' | 'incremental';
  createProducts?: boolean;
  dryRun?: boolean;
  /** An import of this connection whose stored answers are used instead of the channel. */
  replayOf?: string | null;
}

export type CatalogOutcome =
  | { kind: 'finished'; id: string; report: CatalogReport }
  /** The signal ended it between two pages. */
  | { kind: 'stopped'; id: string }
  /** No such import, or its connection cannot be opened. */
  | { kind: 'unavailable' };

/** Answers of pages are kept this long. */
export const PAGES_KEPT_MS = 90 * 86_400_000;
/** An incremental import looks this far behind the last one's start: clocks differ, and channels index late. */
const OVERLAP_MS = 10 * 60_000;
/** Reads that fail are tried again this often, page by page, with doubled pauses; the transport has tried each a few times itself. */
const TRIES = 5;
const FIRST_PAUSE_MS = 1_000;

/** Why products are not made from a connection that is being written to, unless asked for in so many words. */
export const activeReason = (name: string): string =>
  `${name} is being written to, and products made now have no stock yet: it would show 0 for them. Pause it first, count or import the stock, then resume.`;

const pack = promisify(gzip);
const unpack = promisify(gunzip);

/** @throws ConnectorError (the import can be continued), CodedError domain.no_raw_pages; null when the connection cannot be opened. */
export async function importCatalog(
  options: CatalogImportOptions,
  connection: ConnectionRef,
  request: CatalogRequest = {},
): Promise<CatalogReport | null> {
  if (!(await options.openConnection(connection))) return null;
  const id = await startCatalogImport(options, connection, request);
  const outcome = await continueCatalogImport(options, connection.orgId, id);
  return outcome.kind === 'finished' ? outcome.report : null;
}

/** @throws CodedError domain.no_raw_pages: the import to replay is none of this connection's, or its answers are gone. */
export async function startCatalogImport(
  { store, clock, ids }: Pick<CatalogImportOptions, 'store' | 'clock' | 'ids'>,
  { orgId, connectionId }: ConnectionRef,
  request: CatalogRequest,
): Promise<string> {
  const id = request.id ?? ids.uuid();
  const now = clock.now();
  await store.tenant(
    orgId,
    async (tx) => {
      const replayOf = request.replayOf ?? null;
      const replayed = replayOf === null ? null : await readCatalogImport(tx, orgId, replayOf);
      if (
        replayOf !== null &&
        (replayed?.connectionId !== connectionId || !(await readPage(tx, orgId, replayOf, 0)) || !replayed.readAt)
      )
        throw new CodedError(
          'domain.no_raw_pages',
          'There is no finished import with stored answers of this connection under that id; answers are kept for 90 days.',
          { replayOf },
        );
      const last =
        replayed === null && request.mode === 'incremental' ? await lastImportStart(tx, orgId, connectionId) : null;
      await createCatalogImport(tx, orgId, {
        id,
        connectionId,
        mode: replayed?.mode ?? (last === null ? 'full' : 'incremental'),
        changedSince: replayed?.changedSince ?? (last === null ? null : new Date(last.getTime() - OVERLAP_MS)),
        createProducts: request.createProducts ?? false,
        dryRun: request.dryRun ?? false,
        replayOf,
        startedAt: new Date(now),
      });
      await prunePages(tx, orgId, new Date(now - PAGES_KEPT_MS));
    },
    { idempotent: true },
  );
  return id;
}

/** The import and the run that drives it (run-kinds/catalog-import.ts). @throws as startCatalogImport */
export async function requestCatalogImport(
  deps: Pick<CatalogImportOptions, 'store' | 'clock' | 'ids'>,
  connection: ConnectionRef,
  name: string,
  actor: string,
  request: Omit<CatalogRequest, 'id'>,
): Promise<string> {
  const id = await startCatalogImport(deps, connection, request);
  const run: NewRun = {
    id,
    kind: 'catalog-import',
    connectionId: connection.connectionId,
    title: `Catalogue of ${name}`,
    params: { ...request },
    dryRun: request.dryRun ?? false,
    actor,
    key: null,
    inverseOf: null,
    state: 'waiting',
  };
  await deps.store.tenant(connection.orgId, (tx) => createRun(tx, connection.orgId, run, deps.clock.now()), {
    idempotent: true,
  });
  return id;
}

/** From wherever it stands to its end. Safe to call at any time, also by several at once. @throws ConnectorError: continue later. */
export async function continueCatalogImport(
  options: CatalogImportOptions,
  orgId: string,
  id: string,
): Promise<CatalogOutcome> {
  const read = () => options.store.tenant(orgId, (tx) => readCatalogImport(tx, orgId, id));
  let row = await read();
  const connection = { orgId, connectionId: row?.connectionId ?? '' };
  const opened = row && !row.finishedAt ? await options.openConnection(connection) : null;
  while (row && !row.readAt && !row.finishedAt) {
    if (!opened) return { kind: 'unavailable' };
    if (options.signal?.aborted) return { kind: 'stopped', id };
    await onePage(options, orgId, row, opened);
    row = await read();
    if (row)
      options.onProgress?.({
        pages: row.pages,
        processed: await options.store.tenant(orgId, (tx) => countItems(tx, orgId, id)),
      });
  }
  if (!row) return { kind: 'unavailable' };
  if (row.report && row.finishedAt) return { kind: 'finished', id, report: row.report };
  if (!row.dryRun) await options.completeUnmapped?.(connection);
  await options.hooks?.beforeFinish?.();
  const report = await options.store.tenant(
    orgId,
    async (tx) => {
      const now = await readCatalogImport(tx, orgId, id, 'update');
      return now?.report ?? finishImport(tx, orgId, id, new Date(options.clock.now()));
    },
    { idempotent: true },
  );
  await options.hooks?.afterFinish?.();
  return { kind: 'finished', id, report };
}

async function onePage(
  options: CatalogImportOptions,
  orgId: string,
  row: CatalogImportRow,
  opened: OpenedConnection,
): Promise<void> {
  await options.hooks?.beforePage?.(row.pages);
  const page = await fetchPage(options, orgId, row, opened);
  if (page === 'restarted') return;
  await options.hooks?.afterPage?.(row.pages);
  const answers = await pack(JSON.stringify(page.raw));
  await options.store.tenant(orgId, async (tx) => {
    const now = await readCatalogImport(tx, orgId, row.id, 'update');
    if (!now || now.pages !== row.pages || now.cursor !== row.cursor || now.readAt) return;
    const items = row.dryRun
      ? await takenBack(tx, () => applyPage(tx, options, orgId, row, opened, page.listings))
      : await applyPage(tx, options, orgId, row, opened, page.listings);
    await storeItems(tx, orgId, row.id, row.pages, items);
    const fetchedAt = new Date(options.clock.now());
    const { pages, cursor } = row;
    await storePage(tx, orgId, row.id, { page: pages, cursor, answers, next: page.cursor, fetchedAt });
    await options.inPage?.(tx, items, pages);
    await options.hooks?.beforeCommit?.(row.pages);
  });
  if (!row.dryRun) options.onCommitted?.();
  await options.hooks?.afterCommit?.(row.pages);
}

/** The next page, from the channel or from what an earlier import kept. Refusals for rate are waited out, failed reads tried again. */
async function fetchPage(
  options: CatalogImportOptions,
  orgId: string,
  row: CatalogImportRow,
  opened: OpenedConnection,
): Promise<CatalogPage | 'restarted'> {
  const { catalog } = opened.channel;
  if (row.replayOf !== null) return storedPage(options, orgId, row, opened);
  const signal = options.signal ?? new AbortController().signal;
  const changedSince = row.changedSince?.getTime() ?? null;
  for (let tries = 1; ; tries += 1) {
    try {
      return await catalog.list(row.cursor, { budget: 'bulk', signal, changedSince });
    } catch (error) {
      if (!(error instanceof ConnectorError)) throw error;
      if (error.code === 'connector.rejected' && row.cursor !== null && row.restarts === 0) {
        await options.store.tenant(orgId, (tx) => restartImport(tx, orgId, row.id));
        return 'restarted';
      }
      const waits = error.code === 'connector.rate_limited' || error.code === 'connector.unavailable';
      if (!waits || tries >= TRIES || signal.aborted) throw error;
      await options.clock.sleep(error.retryAfterMs ?? FIRST_PAUSE_MS * 2 ** (tries - 1), signal);
    }
  }
}

async function storedPage(
  { store }: CatalogImportOptions,
  orgId: string,
  row: CatalogImportRow,
  opened: OpenedConnection,
): Promise<CatalogPage> {
  const stored = await store.tenant(orgId, (tx) => readPage(tx, orgId, row.replayOf ?? '', row.pages));
  if (!stored)
    throw new CodedError('domain.no_raw_pages', 'The stored answers are gone; they are kept for 90 days.', {
      replayOf: row.replayOf,
    });
  const raw = JSON.parse((await unpack(stored.answers)).toString('utf8')) as RawAnswer[];
  const page = await opened.channel.catalog.replay(stored.cursor, raw);
  // Where that import went on says where this one does: its walk may have begun again, its answers cannot be asked anew.
  return { ...page, cursor: stored.isLast ? null : `page ${row.pages + 1}` };
}

/** Listings, products and mappings of one page; what became of each item. */
async function applyPage(
  tx: Tx,
  options: CatalogImportOptions,
  orgId: string,
  row: CatalogImportRow,
  opened: OpenedConnection,
  told: readonly ChannelListing[],
): Promise<CatalogItem[]> {
  const { ids, clock } = options;
  const context = { ids, now: clock.now(), compareAndSet: opened.manifest.stock.compareAndSet };
  const listings = [...new Map(told.map((listing) => [listingKeyOf(listing), listing])).values()];
  const stockKeys = listings.map(({ stockKey }) => stockKey);
  const skus = listings.map(({ channelSku }) => channelSkuOf(channelSku));
  if (row.dryRun) await redoEarlier(tx, orgId, row, { skus, stockKeys }, context);

  const before = new Map(
    (await lockListings(tx, orgId, row.connectionId, stockKeys)).map((one) => [listingKeyOf(one), one]),
  );
  const mappedTo = [...before.values()].flatMap(({ variantId }) => variantId ?? []);
  const known = await findProducts(tx, orgId, { skus, ids: mappedTo });
  const created = row.createProducts ? await createMissing(tx, options, orgId, listings, known) : [];
  const bySku = new Map([...known, ...created].map((product) => [product.sku, product]));
  const byId = new Map(known.map((product) => [product.id, product]));
  const isNew = new Map(created.map(({ id, sku }) => [sku, id]));

  const drafts = listings.map((listing) => {
    const was = before.get(listingKeyOf(listing))?.variantId ?? null;
    return draftOf(listing, was === null ? (bySku.get(channelSkuOf(listing.channelSku))?.id ?? null) : null);
  });
  const results = await upsertListings(tx, orgId, row.connectionId, drafts, context);
  const counted = new Set<string>();
  return listings.flatMap((listing, i): CatalogItem[] => {
    const [draft, result] = [drafts[i], results[i]];
    if (!draft || !result) return [];
    const was = before.get(listingKeyOf(listing)) ?? null;
    const variantId = result.kind === 'ok' ? result.variantId : (was?.variantId ?? null);
    // The first item of a SKU made the product; another one of the same SKU is only mapped to it.
    const made = counted.has(draft.channelSku) ? undefined : isNew.get(draft.channelSku);
    if (made !== undefined) counted.add(draft.channelSku);
    const ours = variantId === null ? undefined : byId.get(variantId);
    return [
      {
        id: ids.uuid(),
        externalId: listing.externalId,
        variantExternalId: listing.variantExternalId,
        stockKey: listing.stockKey,
        channelSku: draft.channelSku,
        title: listing.title,
        barcode: listing.barcode,
        outcome: outcomeOf(result.kind, was?.variantId ?? null, variantId),
        reason: result.kind === 'refused' ? result.reason : null,
        createdVariant: made !== undefined,
        listingId: result.listingId,
        variantId: variantId ?? made ?? null,
        issues: issuesOf(itemOf(listing)),
        comparison: ours ? compareFields(ours, itemOf(listing)) : ([] as FieldComparison[]),
        before: was && stateOf(was),
        after: stateOf({ ...draft, variantId }),
      },
    ];
  });
}

const outcomeOf = (kind: 'ok' | 'refused', before: string | null, now: string | null): CatalogItem['outcome'] => {
  if (kind === 'refused') return 'refused';
  if (now === null) return 'unmapped';
  return before === null ? 'mapped' : 'already_mapped';
};

/** Products for the SKUs of a page that are not ours. Of several items with one SKU the first one names the product. */
async function createMissing(
  tx: Tx,
  { ids, clock }: CatalogImportOptions,
  orgId: string,
  listings: readonly ChannelListing[],
  known: readonly ProductBefore[],
): Promise<ProductBefore[]> {
  const ours = new Set(known.map(({ sku }) => sku));
  const wanted = new Map<string, ProductBefore>();
  for (const listing of listings) {
    const sku = channelSkuOf(listing.channelSku);
    if (ours.has(sku) || wanted.has(sku) || !canBecomeProduct(itemOf(listing))) continue;
    wanted.set(sku, { id: ids.uuid(), sku, title: listing.title.trim(), barcode: listing.barcode?.trim() || null });
  }
  const made = await createProducts(tx, orgId, [...wanted.values()], new Date(clock.now()));
  const missing = [...wanted.keys()].filter((sku) => !made.some((product) => product.sku === sku));
  if (missing.length > 0)
    (known as ProductBefore[]).push(...(await findProducts(tx, orgId, { skus: missing, ids: [] })));
  return made;
}

/** In a dry run, what its earlier pages would have done as far as it bears on this one. */
async function redoEarlier(
  tx: Tx,
  orgId: string,
  row: CatalogImportRow,
  keys: { skus: readonly string[]; stockKeys: readonly string[] },
  context: { ids: Ids; now: number; compareAndSet: boolean },
): Promise<void> {
  const earlier = await earlierItems(tx, orgId, row.id, { channelSkus: keys.skus, stockKeys: keys.stockKeys });
  const products = earlier.flatMap((item) =>
    item.createdVariant && item.variantId !== null
      ? [{ id: item.variantId, sku: item.channelSku, title: item.title, barcode: item.barcode }]
      : [],
  );
  await createProducts(tx, orgId, products, new Date(context.now));
  const drafts = earlier.map((item) => ({
    ...item.after,
    externalId: item.externalId,
    variantExternalId: item.variantExternalId,
    stockKey: item.stockKey,
    channelLocations: [],
  }));
  await upsertListings(tx, orgId, row.connectionId, drafts, context);
}

const itemOf = (listing: ChannelListing): ChannelItem => ({
  channelSku: listing.channelSku,
  title: listing.title,
  barcode: listing.barcode,
  isBundleParent: listing.notWritable === 'bundle_parent',
});

const stateOf = ({ variantId, channelSku, title, fulfilledBy, notWritable }: ListingState): ListingState => ({
  variantId,
  channelSku,
  title,
  fulfilledBy,
  notWritable,
});

function draftOf(listing: ChannelListing, variantId: string | null): ListingDraft {
  return {
    externalId: listing.externalId,
    variantExternalId: listing.variantExternalId,
    channelSku: channelSkuOf(listing.channelSku),
    stockKey: listing.stockKey,
    title: listing.title,
    fulfilledBy: listing.fulfilledBy,
    notWritable: listing.notWritable,
    variantId,
    channelLocations: listing.levels.length === 0 ? null : listing.levels.map(({ channelLocation }) => channelLocation),
  };
}
