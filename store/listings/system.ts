/**
 * Publishing's questions before a tenant is known: the system scope, which answers with ids only (0008).
 */
import type { Tx } from '../tx.ts';

export interface ConnectionIds {
  orgId: string;
  connectionId: string;
}

export interface DueRow {
  orgId: string;
  kind: string;
  subjectId: string;
}

export async function dirtyOrgs(tx: Tx): Promise<string[]> {
  const { rows } = await tx.query<{ org_id: string }>(
    { name: 'dirty_orgs', text: 'select org_id from system_dirty_orgs()' },
    [],
  );
  return rows.map(({ org_id }) => org_id);
}

export async function lanesWithWork(tx: Tx, now: number): Promise<ConnectionIds[]> {
  const { rows } = await tx.query<ConnectionIds>(
    {
      name: 'lanes_with_work',
      text: `select org_id as "orgId", connection_id as "connectionId" from system_lanes_with_work(to_timestamp($1::float8 / 1000.0))
             union select org_id, connection_id from system_feeds_due(to_timestamp($1::float8 / 1000.0))`,
    },
    [now],
  );
  return rows;
}

export async function publishingConnections(tx: Tx): Promise<ConnectionIds[]> {
  const { rows } = await tx.query<ConnectionIds>(
    `select org_id as "orgId", connection_id as "connectionId" from system_publishing_connections()`,
    [],
  );
  return rows;
}

export async function dueNow(tx: Tx, now: number, limit: number): Promise<DueRow[]> {
  const { rows } = await tx.query<DueRow>(
    {
      name: 'due_now',
      text: `select org_id as "orgId", kind, subject_id as "subjectId" from system_due(to_timestamp($1::float8 / 1000.0), $2)`,
    },
    [now, limit],
  );
  return rows;
}

/** Later, never earlier; a row that was moved beyond `ifDueBy` meanwhile keeps its new time. */
export async function postponeDue(
  tx: Tx,
  orgId: string,
  kind: string,
  subjectId: string,
  until: number,
  ifDueBy = until,
): Promise<void> {
  await tx.query(
    `update due set due_at = to_timestamp($4::float8 / 1000.0), attempts = 0, repeats = 0, failing_since = null, error_code = null, error = null
     where org_id = $1 and kind = $2 and subject_id = $3 and due_at <= to_timestamp($5::float8 / 1000.0)`,
    [orgId, kind, subjectId, until, ifDueBy],
  );
}

export interface FailedDue {
  attempts: number;
  repeats: number;
  error: string | null;
  failingSince: number | null;
}

/** How often the row has failed so far; a row that was served begins anew. */
export async function failedDue(tx: Tx, orgId: string, kind: string, subjectId: string): Promise<FailedDue | null> {
  const { rows } = await tx.query<FailedDue>(
    `select attempts, repeats, error, extract(epoch from failing_since)::float8 * 1000 as "failingSince"
     from due where org_id = $1 and kind = $2 and subject_id = $3 for update`,
    [orgId, kind, subjectId],
  );
  return rows[0] ?? null;
}

/** It failed once more: put off to `until` (null: for good, until a person or whoever makes it due anew says otherwise). */
export async function failDue(
  tx: Tx,
  orgId: string,
  row: { kind: string; subjectId: string },
  failed: {
    attempts: number;
    repeats: number;
    failingSince: number;
    code: string;
    error: string;
    until: number | null;
    now: number;
  },
): Promise<void> {
  await tx.query(
    `update due set due_at = case when $9::float8 is null then 'infinity' else to_timestamp($9 / 1000.0) end,
       attempts = $4, repeats = $5, failing_since = to_timestamp($6::float8 / 1000.0), error_code = $7, error = $8,
       failures = case when jsonb_array_length(failures) >= 10 then failures - 1 else coalesce(failures, '[]') end
         || jsonb_build_object('at', to_timestamp($10::float8 / 1000.0), 'code', $7::text, 'error', left($8::text, 500))
     where org_id = $1 and kind = $2 and subject_id = $3`,
    [
      orgId,
      row.kind,
      row.subjectId,
      failed.attempts,
      failed.repeats,
      failed.failingSince,
      failed.code,
      failed.error,
      failed.until,
      failed.now,
    ],
  );
}

export async function clearDue(tx: Tx, orgId: string, kind: string, subjectId: string): Promise<void> {
  await tx.query(`delete from due where org_id = $1 and kind = $2 and subject_id = $3`, [orgId, kind, subjectId]);
}

/** One listing's numbers are read first of all, compared, and published. @returns null: no such listing; `paused`: nothing was asked. */
export async function askListingSync(
  tx: Tx,
  orgId: string,
  listingId: string,
  now: number,
): Promise<{ connectionId: string; paused: boolean; targets: number } | null> {
  const { rows } = await tx.query<{ connectionId: string; stockKey: string; paused: boolean }>(
    `select l.connection_id as "connectionId", l.stock_key as "stockKey",
       pushes_halted($1, l.connection_id) is not null or exists (select from listings o where o.org_id = $1 and o.connection_id = l.connection_id
         and o.stock_key = l.stock_key and o.paused_at is not null) as paused
     from listings l join connections c on c.org_id = $1 and c.id = l.connection_id and c.deleted_at is null where l.org_id = $1 and l.id = $2`,
    [orgId, listingId],
  );
  const [listing] = rows;
  if (!listing) return null;
  const { connectionId, stockKey, paused } = listing;
  if (paused) return { connectionId, paused, targets: 0 };
  const { rowCount } = await tx.query(
    `with locked as materialized (select id from targets where org_id = $1 and connection_id = $2 and stock_key = $3 order by id for update)
     update targets t set read_due = to_timestamp(0), next_try_at = null, dirty_hint = 0, dirty_version = t.dirty_version + 1,
       dirty_since = coalesce(t.dirty_since, to_timestamp($4::float8 / 1000.0)), version = t.version + 1
     from locked l where t.org_id = $1 and t.id = l.id`,
    [orgId, connectionId, stockKey, now],
  );
  return { connectionId, paused, targets: rowCount ?? 0 };
}

/** True once per period and connection, whoever asks. */
export async function takeStockSweep(
  tx: Tx,
  orgId: string,
  connectionId: string,
  now: number,
  everyMs: number,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update connections set stock_swept_at = to_timestamp($3::float8 / 1000.0)
     where org_id = $1 and id = $2 and deleted_at is null and paused_at is null and state = 'connected'
       and (stock_swept_at is null or stock_swept_at <= to_timestamp(($3::float8 - $4::float8) / 1000.0))`,
    [orgId, connectionId, now, everyMs],
  );
  return (rowCount ?? 0) > 0;
}

/** Mapped numbers of the connection that wait to be compared and sent, the scarcest first. */
export async function waitingTargets(tx: Tx, orgId: string, connectionId: string, limit: number): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select id from targets where org_id = $1 and connection_id = $2 and dirty_version > handled_version and variant_id is not null and not read_only
     order by dirty_hint, id limit $3`,
    [orgId, connectionId, limit],
  );
  return rows.map(({ id }) => id);
}
