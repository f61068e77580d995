/**
 * Imports as runs: who drives one (lease), how it stands, and what people see of it.
 *
 *   waiting ─► running ─► finished ─► undoing ─► undone
 *      ▲          │ fault: tried again later (waiting), or given up (failed) until somebody resumes it
 *      └──────────┴─► cancelled (what is in stays; it can be undone)
 */

import type { Store, Tx } from '../tx.ts';
import type { CatalogReport } from './channel-import.ts';
import { type UndoReport, undoReport } from './channel-undo.ts';

export type ImportState = 'waiting' | 'running' | 'failed' | 'cancelled' | 'finished' | 'undoing' | 'undone';

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
  actor: string;
  startedAt: string;
  finishedAt: string | null;
  pages: number;
  /** Items of the channel so far. */
  processed: number;
  /** nextTryAt null: given up until it is resumed. */
  fault: { code: string; message: string; nextTryAt: string | null } | null;
  report: CatalogReport | null;
  undo: { startedAt: string; finishedAt: string | null; report: UndoReport } | null;
}

const time = (column: string): string => `to_char(i.${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Newest first. */
export async function listCatalogImports(
  tx: Tx,
  orgId: string,
  wanted: { connectionId: string; id: string | null; now: Date; after: string | null; limit: number },
): Promise<CatalogImportView[]> {
  const { rows } = await tx.query<
    Omit<CatalogImportView, 'fault' | 'undo'> & {
      faultCode: string | null;
      fault: string | null;
      nextTryAt: string | null;
      undoStartedAt: string | null;
      undoneAt: string | null;
    }
  >(
    `select i.id, i.connection_id as "connectionId", 'catalog-import' as kind, i.mode, ${time('changed_since')} as "changedSince",
       i.create_products as "createProducts", i.dry_run as "dryRun", i.replay_of as "replayOf", i.actor,
       case when i.undone_at is not null then 'undone' when i.undo_started_at is not null then 'undoing' when i.finished_at is not null then 'finished'
         when i.cancelled_at is not null then 'cancelled' when i.lease_until > $3 then 'running'
         when i.fault_code is not null and i.next_try_at is null then 'failed' else 'waiting' end as state,
       ${time('started_at')} as "startedAt", ${time('finished_at')} as "finishedAt", i.pages,
       (select count(*) from catalog_items c where c.org_id = i.org_id and c.import_id = i.id) as processed,
       i.fault_code as "faultCode", i.fault, ${time('next_try_at')} as "nextTryAt", i.report,
       ${time('undo_started_at')} as "undoStartedAt", ${time('undone_at')} as "undoneAt"
     from catalog_imports i where i.org_id = $1 and i.connection_id = $2 and ($4::uuid is null or i.id = $4)
       and ($5::uuid is null or (i.started_at, i.id) < (select a.started_at, a.id from catalog_imports a where a.org_id = $1 and a.id = $5))
     order by i.started_at desc, i.id desc limit $6`,
    [orgId, wanted.connectionId, wanted.now, wanted.id, wanted.after, wanted.limit],
  );
  const views: CatalogImportView[] = [];
  for (const { faultCode, fault, nextTryAt, undoStartedAt, undoneAt, ...row } of rows)
    views.push({
      ...row,
      fault: faultCode === null ? null : { code: faultCode, message: fault ?? '', nextTryAt },
      undo:
        undoStartedAt === null
          ? null
          : { startedAt: undoStartedAt, finishedAt: undoneAt, report: await undoReport(tx, orgId, row.id) },
    });
  return views;
}

/** The connection's import that is neither finished, cancelled nor given up. */
export async function openImportOf(tx: Tx, orgId: string, connectionId: string): Promise<string | null> {
  const { rows } = await tx.query<{ id: string }>(
    `select id from catalog_imports where org_id = $1 and connection_id = $2 and finished_at is null and cancelled_at is null
       and (fault_code is null or next_try_at is not null) limit 1`,
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

export const dueCatalogImports = (store: Store, at: Date, limit: number): Promise<{ orgId: string; id: string }[]> =>
  store.system(async (tx) => {
    const { rows } = await tx.query<{ orgId: string; id: string }>(
      'select org_id as "orgId", id from system_due_catalog_imports($1, $2)',
      [at, limit],
    );
    return rows;
  });

/** @returns whether it is ours now */
export async function leaseImport(tx: Tx, orgId: string, id: string, now: Date, until: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update catalog_imports set lease_until = $4, fault_code = null, fault = null, next_try_at = null
     where org_id = $1 and id = $2 and (lease_until is null or lease_until <= $3)`,
    [orgId, id, now, until],
  );
  return rowCount > 0;
}

/** Nobody is at it any more; with a fault, when it is tried again (null: given up). */
export async function leaveImport(
  tx: Tx,
  orgId: string,
  id: string,
  fault: { code: string; message: string; nextTryAt: Date | null } | null,
): Promise<void> {
  await tx.query(
    `update catalog_imports set lease_until = null, fault_code = $3, fault = $4, next_try_at = $5,
       faults = case when $3::text is null then 0 else faults + 1 end where org_id = $1 and id = $2`,
    [orgId, id, fault?.code ?? null, fault?.message ?? null, fault?.nextTryAt ?? null],
  );
}

export async function faultsOf(tx: Tx, orgId: string, id: string): Promise<{ faults: number; undoing: boolean }> {
  const { rows } = await tx.query<{ faults: number; undoing: boolean }>(
    'select faults, undo_started_at is not null as undoing from catalog_imports where org_id = $1 and id = $2',
    [orgId, id],
  );
  return rows[0] ?? { faults: 0, undoing: false };
}

/** @returns false: it is over already */
export async function cancelImport(tx: Tx, orgId: string, id: string, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update catalog_imports set cancelled_at = coalesce(cancelled_at, $3) where org_id = $1 and id = $2 and finished_at is null',
    [orgId, id, now],
  );
  return rowCount > 0;
}

/** Tried at once, also when it was given up or cancelled. @returns false: it is over already */
export async function resumeImport(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update catalog_imports set cancelled_at = null, fault_code = null, fault = null, next_try_at = null, faults = 0
     where org_id = $1 and id = $2 and finished_at is null`,
    [orgId, id],
  );
  return rowCount > 0;
}
