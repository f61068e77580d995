/**
 * Imports of a channel's catalogue (migrations/0015): their rows, pages and items. The flow is server/flows/import-catalog.ts.
 */
import type { FieldComparison, ItemIssue } from '#core/catalog/matching.ts';
import type { Tx } from '../tx.ts';

export interface CatalogImportRow {
  id: string;
  connectionId: string;
  mode: 'full' | 'incremental';
  changedSince: Date | null;
  createProducts: boolean;
  dryRun: boolean;
  replayOf: string | null;
  startedAt: Date;
  cursor: string | null;
  pages: number;
  restarts: number;
  readAt: Date | null;
  finishedAt: Date | null;
  report: CatalogReport | null;
  undoneAt: Date | null;
}

/** What an import came to. Lists hold the first 100; counts are whole. */
export interface CatalogReport {
  pages: number;
  /** Items of the channel; processed = mapped + alreadyMapped + unmapped + refused. */
  processed: number;
  /** Listings that were not known before. */
  newListings: number;
  /** Products made of channel SKUs. */
  created: number;
  mapped: number;
  alreadyMapped: number;
  unmapped: number;
  refused: number;
  /** Items with something to mend at the channel. */
  withIssues: number;
  /** Full imports: listings of the connection that the channel no longer lists. They are left as they are. */
  gone: number | null;
  refusals: { channelSku: string; reason: string }[];
  issues: { channelSku: string; field: string; reason: string }[];
  /** Channel SKUs that several items have: all of them sell the same variant. */
  duplicates: { channelSku: string; items: number }[];
  /** Unmapped items whose SKU differs from one of ours in case or spaces only. */
  suggestions: { channelSku: string; sku: string }[];
  /** Of items mapped to products that were there before: how the two sides compare, field by field. */
  fields: {
    field: string;
    equal: number;
    differs: number;
    oursOnly: number;
    theirsOnly: number;
    /** Share of items where both sides have it and agree, in percent of those where either has it; null: none has. */
    overlapPercent: number | null;
  }[];
  differences: { channelSku: string; field: string; ours: string; theirs: string }[];
}

const columns = `id, connection_id as "connectionId", mode, changed_since as "changedSince", create_products as "createProducts",
  dry_run as "dryRun", replay_of as "replayOf", started_at as "startedAt", cursor, pages, restarts, read_at as "readAt",
  finished_at as "finishedAt", report, undone_at as "undoneAt"`;

export async function createCatalogImport(
  tx: Tx,
  orgId: string,
  given: Pick<
    CatalogImportRow,
    'id' | 'connectionId' | 'mode' | 'changedSince' | 'createProducts' | 'dryRun' | 'replayOf' | 'startedAt'
  >,
): Promise<void> {
  await tx.query(
    `insert into catalog_imports (org_id, id, connection_id, mode, changed_since, create_products, dry_run, replay_of, started_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing`,
    [
      orgId,
      given.id,
      given.connectionId,
      given.mode,
      given.changedSince,
      given.createProducts,
      given.dryRun,
      given.replayOf,
      given.startedAt,
    ],
  );
}

export async function readCatalogImport(
  tx: Tx,
  orgId: string,
  id: string,
  lock: 'read' | 'update' = 'read',
): Promise<CatalogImportRow | null> {
  const { rows } = await tx.query<CatalogImportRow>(
    `select ${columns} from catalog_imports where org_id = $1 and id = $2 ${lock === 'update' ? 'for update' : ''}`,
    [orgId, id],
  );
  return rows[0] ?? null;
}

/** When the last import began that read this connection to its end; null: none did. */
export async function lastImportStart(tx: Tx, orgId: string, connectionId: string): Promise<Date | null> {
  const { rows } = await tx.query<{ at: Date | null }>(
    `select max(started_at) as at from catalog_imports
     where org_id = $1 and connection_id = $2 and finished_at is not null and not dry_run and replay_of is null and undo_started_at is null`,
    [orgId, connectionId],
  );
  return rows[0]?.at ?? null;
}

/** Does the work in a savepoint and takes it back: what it answers is what it would have done. */
export async function takenBack<T>(tx: Tx, work: () => Promise<T>): Promise<T> {
  await tx.query('savepoint taken_back');
  const result = await work();
  await tx.query('rollback to savepoint taken_back');
  return result;
}

export async function countItems(tx: Tx, orgId: string, importId: string): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    'select count(*) as n from catalog_items where org_id = $1 and import_id = $2',
    [orgId, importId],
  );
  return rows[0]?.n ?? 0;
}

/** A page is in: its answers and where to go on. */
export async function storePage(
  tx: Tx,
  orgId: string,
  importId: string,
  page: {
    page: number;
    cursor: string | null;
    answers: Uint8Array;
    next: string | null;
    fetchedAt: Date;
  },
): Promise<void> {
  await tx.query(
    'insert into catalog_pages (org_id, import_id, page, cursor, answers, fetched_at) values ($1, $2, $3, $4, $5, $6)',
    [orgId, importId, page.page, page.cursor, Buffer.from(page.answers), page.fetchedAt],
  );
  await tx.query(
    `update catalog_imports set cursor = $3, pages = pages + 1, read_at = case when $3::text is null then $4::timestamptz end
     where org_id = $1 and id = $2`,
    [orgId, importId, page.next, page.fetchedAt],
  );
}

/** The channel no longer knows the mark: from the start again. */
export async function restartImport(tx: Tx, orgId: string, importId: string): Promise<void> {
  await tx.query('update catalog_imports set cursor = null, restarts = restarts + 1 where org_id = $1 and id = $2', [
    orgId,
    importId,
  ]);
}

export async function readPage(
  tx: Tx,
  orgId: string,
  importId: string,
  page: number,
): Promise<{ cursor: string | null; answers: Buffer; isLast: boolean } | null> {
  const { rows } = await tx.query<{ cursor: string | null; answers: Buffer; isLast: boolean }>(
    `select p.cursor, p.answers, p.page = i.pages - 1 as "isLast" from catalog_pages p
     join catalog_imports i on i.org_id = p.org_id and i.id = p.import_id
     where p.org_id = $1 and p.import_id = $2 and p.page = $3`,
    [orgId, importId, page],
  );
  return rows[0] ?? null;
}

/** Answers older than this are gone; what became of the items stays. @returns pages removed */
export async function prunePages(tx: Tx, orgId: string, before: Date): Promise<number> {
  const { rowCount } = await tx.query('delete from catalog_pages where org_id = $1 and fetched_at < $2', [
    orgId,
    before,
  ]);
  return rowCount;
}

/** A listing's columns that an import sets. */
export interface ListingState {
  variantId: string | null;
  channelSku: string;
  title: string;
  fulfilledBy: 'us' | 'channel';
  notWritable: string | null;
}

export interface ListingBefore extends ListingState {
  id: string;
  externalId: string;
  variantExternalId: string | null;
  stockKey: string;
}

/** The listings of these stock keys as they stand, locked in the order in which every writer of listings locks them. */
export async function lockListings(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[],
): Promise<ListingBefore[]> {
  const { rows } = await tx.query<ListingBefore>(
    `select id, external_id as "externalId", variant_external_id as "variantExternalId", stock_key as "stockKey", variant_id as "variantId",
       channel_sku as "channelSku", title, fulfilled_by as "fulfilledBy", not_writable as "notWritable"
     from listings where org_id = $1 and connection_id = $2 and stock_key = any ($3) order by id for no key update`,
    [orgId, connectionId, [...new Set(stockKeys)]],
  );
  return rows;
}

export interface ProductBefore {
  id: string;
  sku: string;
  title: string;
  barcode: string | null;
}

export async function findProducts(
  tx: Tx,
  orgId: string,
  wanted: { skus: readonly string[]; ids: readonly string[] },
): Promise<ProductBefore[]> {
  const { rows } = await tx.query<ProductBefore>(
    `select id, sku, title, barcode from variants where org_id = $1 and (sku = any ($2::text[]) or id = any ($3::uuid[]))`,
    [orgId, wanted.skus, wanted.ids],
  );
  return rows;
}

/** Products for SKUs that are not ours yet. @returns those that were made; a SKU that somebody else made meanwhile is not among them */
export async function createProducts(
  tx: Tx,
  orgId: string,
  products: readonly ProductBefore[],
  now: Date,
): Promise<ProductBefore[]> {
  if (products.length === 0) return [];
  const { rows } = await tx.query<ProductBefore>(
    `insert into variants (org_id, id, sku, title, barcode, created_at, updated_at)
     select $1, id, sku, title, barcode, $6, $6 from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as given (id, sku, title, barcode)
     order by sku collate "C" on conflict (org_id, sku) do nothing returning id, sku, title, barcode`,
    [
      orgId,
      products.map(({ id }) => id),
      products.map(({ sku }) => sku),
      products.map(({ title }) => title),
      products.map(({ barcode }) => barcode),
      now,
    ],
  );
  return rows;
}

export interface CatalogItem {
  id: string;
  externalId: string;
  variantExternalId: string | null;
  stockKey: string;
  channelSku: string;
  title: string;
  barcode: string | null;
  outcome: 'mapped' | 'already_mapped' | 'unmapped' | 'refused';
  reason: string | null;
  createdVariant: boolean;
  listingId: string;
  variantId: string | null;
  issues: ItemIssue[];
  comparison: FieldComparison[];
  before: ListingState | null;
  after: ListingState;
}

/** An item that a page before this one named already stays as it was told then. */
export async function storeItems(
  tx: Tx,
  orgId: string,
  importId: string,
  page: number,
  items: readonly CatalogItem[],
): Promise<void> {
  await tx.query(
    `insert into catalog_items (org_id, import_id, page, id, external_id, variant_external_id, stock_key, channel_sku, title, barcode,
       outcome, reason, created_variant, listing_id, variant_id, issues, comparison, before, after)
     select $1, $2, $3, r.id, r."externalId", r."variantExternalId", r."stockKey", r."channelSku", r.title, r.barcode,
       r.outcome, r.reason, r."createdVariant", r."listingId", r."variantId", r.issues, r.comparison, r.before, r.after
     from jsonb_to_recordset($4::jsonb) as r (id uuid, "externalId" text, "variantExternalId" text, "stockKey" text, "channelSku" text,
       title text, barcode text, outcome text, reason text, "createdVariant" boolean, "listingId" uuid, "variantId" uuid, issues jsonb,
       comparison jsonb, before jsonb, after jsonb)
     on conflict do nothing`,
    [orgId, importId, page, JSON.stringify(items)],
  );
}

/** Earlier items of the same import that share a SKU or a stock key with these: what a dry run must take as done. */
export async function earlierItems(
  tx: Tx,
  orgId: string,
  importId: string,
  keys: { channelSkus: readonly string[]; stockKeys: readonly string[] },
): Promise<CatalogItem[]> {
  const { rows } = await tx.query<CatalogItem>(
    `select id, external_id as "externalId", variant_external_id as "variantExternalId", stock_key as "stockKey", channel_sku as "channelSku",
       title, barcode, outcome, reason, created_variant as "createdVariant", listing_id as "listingId", variant_id as "variantId", issues,
       comparison, before, after
     from catalog_items where org_id = $1 and import_id = $2 and (channel_sku = any ($3) or stock_key = any ($4)) order by id`,
    [orgId, importId, keys.channelSkus, keys.stockKeys],
  );
  return rows;
}

/** Refused items as items of a run, numbered from `first`. */
export const refusedItems = (items: readonly CatalogItem[], first: number) =>
  items.flatMap(({ outcome, channelSku, reason }, at) =>
    outcome === 'refused'
      ? [
          {
            item: first + at,
            outcome: 'failed' as const,
            subject: channelSku.slice(0, 200),
            field: 'sku',
            value: channelSku.slice(0, 200),
            reason,
            undo: null,
          },
        ]
      : [],
  );

/** Everything the items say together; the import is finished with it. */
export async function finishImport(tx: Tx, orgId: string, importId: string, now: Date): Promise<CatalogReport> {
  const report = await reportOf(tx, orgId, importId);
  await tx.query('update catalog_imports set report = $3, finished_at = $4 where org_id = $1 and id = $2', [
    orgId,
    importId,
    JSON.stringify(report),
    now,
  ]);
  return report;
}

const shown = 100;

async function reportOf(tx: Tx, orgId: string, importId: string): Promise<CatalogReport> {
  const scope = [orgId, importId];
  const list = async <T extends object>(text: string): Promise<T[]> => (await tx.query<T>(text, scope)).rows;
  const [counts] = await list<Omit<CatalogReport, 'gone'> & { gone: number }>(
    `select (select pages from catalog_imports where org_id = $1 and id = $2) as pages, count(*) as processed,
       count(*) filter (where before is null) as "newListings", count(*) filter (where created_variant) as created,
       count(*) filter (where outcome = 'mapped') as mapped, count(*) filter (where outcome = 'already_mapped') as "alreadyMapped",
       count(*) filter (where outcome = 'unmapped') as unmapped, count(*) filter (where outcome = 'refused') as refused,
       count(*) filter (where issues <> '[]') as "withIssues"
     from catalog_items where org_id = $1 and import_id = $2`,
  );
  const [gone] = await list<{ gone: number | null }>(
    `select case when i.mode = 'full' then (select count(*) from listings l where l.org_id = i.org_id and l.connection_id = i.connection_id
         and not exists (select from catalog_items c where c.org_id = l.org_id and c.import_id = i.id and c.stock_key = l.stock_key
           and c.external_id = l.external_id and c.variant_external_id is not distinct from l.variant_external_id)) end as gone
     from catalog_imports i where i.org_id = $1 and i.id = $2`,
  );
  const fields = await list<CatalogReport['fields'][number]>(
    `select f.field, count(*) filter (where verdict = 'equal') as equal, count(*) filter (where verdict = 'differs') as differs,
       count(*) filter (where verdict = 'ours_only') as "oursOnly", count(*) filter (where verdict = 'theirs_only') as "theirsOnly",
       (round(100.0 * count(*) filter (where verdict = 'equal') / nullif(count(*) filter (where verdict <> 'neither'), 0), 1))::float8 as "overlapPercent"
     from catalog_items c, jsonb_to_recordset(c.comparison) as f (field text, verdict text)
     where c.org_id = $1 and c.import_id = $2 group by f.field order by f.field desc`,
  );
  return {
    ...(counts as CatalogReport),
    gone: gone?.gone ?? null,
    fields,
    refusals: await list(
      `select channel_sku as "channelSku", reason from catalog_items where org_id = $1 and import_id = $2 and outcome = 'refused' order by id limit ${shown}`,
    ),
    issues: await list(
      `select c.channel_sku as "channelSku", f.field, f.reason from catalog_items c, jsonb_to_recordset(c.issues) as f (field text, reason text)
       where c.org_id = $1 and c.import_id = $2 order by c.id, f.field limit ${shown}`,
    ),
    duplicates: await list(
      `select channel_sku as "channelSku", count(*) as items from catalog_items where org_id = $1 and import_id = $2 and channel_sku <> ''
       group by channel_sku having count(*) > 1 order by channel_sku limit ${shown}`,
    ),
    suggestions: await list(
      `select c.channel_sku as "channelSku", v.sku from catalog_items c
       join variants v on v.org_id = c.org_id and lower(regexp_replace(v.sku, '\\s', '', 'g')) = lower(regexp_replace(c.channel_sku, '\\s', '', 'g'))
       where c.org_id = $1 and c.import_id = $2 and c.outcome = 'unmapped' and v.sku <> c.channel_sku order by 1, 2 limit ${shown}`,
    ),
    differences: await list(
      `select c.channel_sku as "channelSku", f.field, f.ours, f.theirs
       from catalog_items c, jsonb_to_recordset(c.comparison) as f (field text, verdict text, ours text, theirs text)
       where c.org_id = $1 and c.import_id = $2 and f.verdict = 'differs' order by c.channel_sku, f.field limit ${shown}`,
    ),
  };
}
