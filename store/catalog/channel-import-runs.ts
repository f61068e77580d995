/** Imports of channels' catalogues as people see them: the run beside what the import knows, its report and what undoing did. */
import type { Tx } from '../tx.ts';
import type { CatalogReport } from './channel-import.ts';
import { type UndoReport, undoReport } from './channel-undo.ts';

/** As of its run (store/runs/runs.ts); an import without one (made when linking) is done or running. */
export type ImportState = 'waiting' | 'running' | 'failed' | 'cancelled' | 'done' | 'undone';

/** An import as people see it. */
export interface CatalogImportView {
  id: string;
  connectionId: string;
  kind: 'catalog-import';
  mode: 'full' | 'incremental';
  changedSince: string | null;
  createProducts: boolean;
  dryRun: boolean;
  replayOf: string | null;
  state: ImportState;
  /** What the run says of its end. */
  message: string | null;
  startedAt: string;
  finishedAt: string | null;
  pages: number;
  /** Items of the channel so far. */
  processed: number;
  report: CatalogReport | null;
  undo: { startedAt: string; finishedAt: string | null; report: UndoReport } | null;
}

const time = (column: string): string => `to_char(i.${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Newest first. */
export async function listCatalogImports(
  tx: Tx,
  orgId: string,
  wanted: { connectionId: string; id: string | null; after: string | null; limit: number },
): Promise<CatalogImportView[]> {
  const { rows } = await tx.query<
    Omit<CatalogImportView, 'undo'> & {
      undoStartedAt: string | null;
      undoneAt: string | null;
    }
  >(
    `select i.id, i.connection_id as "connectionId", 'catalog-import' as kind, i.mode, ${time('changed_since')} as "changedSince",
       i.create_products as "createProducts", i.dry_run as "dryRun", i.replay_of as "replayOf", r.message,
       case when i.undone_at is not null then 'undone' else coalesce(r.state, case when i.finished_at is null then 'running' else 'done' end) end as state,
       ${time('started_at')} as "startedAt", ${time('finished_at')} as "finishedAt", i.pages,
       (select count(*) from catalog_items c where c.org_id = i.org_id and c.import_id = i.id) as processed, i.report,
       ${time('undo_started_at')} as "undoStartedAt", ${time('undone_at')} as "undoneAt"
     from catalog_imports i left join runs r on r.org_id = i.org_id and r.id = i.id
     where i.org_id = $1 and i.connection_id = $2 and ($3::uuid is null or i.id = $3)
       and ($4::uuid is null or (i.started_at, i.id) < (select a.started_at, a.id from catalog_imports a where a.org_id = $1 and a.id = $4))
     order by i.started_at desc, i.id desc limit $5`,
    [orgId, wanted.connectionId, wanted.id, wanted.after, wanted.limit],
  );
  const views: CatalogImportView[] = [];
  for (const { undoStartedAt, undoneAt, ...row } of rows)
    views.push({
      ...row,
      undo:
        undoStartedAt === null
          ? null
          : { startedAt: undoStartedAt, finishedAt: undoneAt, report: await undoReport(tx, orgId, row.id) },
    });
  return views;
}

/** The connection's import that has not ended. */
export async function openImportOf(tx: Tx, orgId: string, connectionId: string): Promise<string | null> {
  const { rows } = await tx.query<{ id: string }>(
    `select id from runs where org_id = $1 and connection_id = $2 and kind = 'catalog-import' and state in ('waiting', 'running') limit 1`,
    [orgId, connectionId],
  );
  return rows[0]?.id ?? null;
}

export interface ItemView {
  channelSku: string;
  externalId: string;
  variantExternalId: string | null;
  title: string;
  outcome: string;
  reason: string | null;
  sku: string | null;
  newListing: boolean;
  newProduct: boolean;
  issues: { field: string; reason: string }[];
  undo: { listing: string; reason: string | null; product: string | null; productReason: string | null } | null;
  id: string;
}

/** In the order in which they came. */
export async function listImportItems(
  tx: Tx,
  orgId: string,
  importId: string,
  wanted: { outcome: string | null; after: string | null; limit: number },
): Promise<ItemView[]> {
  const { rows } = await tx.query<ItemView>(
    `select c.id, c.channel_sku as "channelSku", c.external_id as "externalId", c.variant_external_id as "variantExternalId", c.title, c.outcome,
       c.reason, v.sku, c.before is null as "newListing", c.created_variant as "newProduct", c.issues,
       case when c.undo is not null then jsonb_build_object('listing', c.undo, 'reason', c.undo_reason, 'product', c.variant_undo,
         'productReason', c.variant_undo_reason) end as undo
     from catalog_items c left join variants v on v.org_id = c.org_id and v.id = c.variant_id
     where c.org_id = $1 and c.import_id = $2 and ($3::text is null or c.outcome = $3) and ($4::uuid is null or c.id > $4)
     order by c.id limit $5`,
    [orgId, importId, wanted.outcome, wanted.after, wanted.limit],
  );
  return rows;
}
