/**
 * Runs in the database: who works on which, how far it is, and what became of it.
 *
 * A step's transaction calls `advance` with the holder's lease: it fails when the lease is gone, so that of two that
 * believe they hold a run only one commits. Times are the caller's clock.
 */
import { StoreError } from '#core/errors.ts';
import type { Tx } from '../tx.ts';

export type RunState = 'receiving' | 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'undone';

export interface NewRun {
  id: string;
  kind: string;
  connectionId: string | null;
  title: string;
  params: Record<string, unknown>;
  dryRun: boolean;
  actor: string;
  key: string | null;
  inverseOf: string | null;
  state: 'receiving' | 'waiting';
}

/** What a holder works with. */
export interface HeldRun {
  orgId: string;
  id: string;
  kind: string;
  connectionId: string | null;
  params: Record<string, unknown>;
  dryRun: boolean;
  actor: string;
  mark: unknown;
  inverseOf: string | null;
  holder: string;
  /** Somebody asked to stop it before it was taken up again. */
  cancelRequested: boolean;
  /** Holders in a row that were never heard of again, without a step between. */
  deaths: number;
}

export interface RunItem {
  /** The row of its file; the header is 1. */
  item: number;
  outcome: 'done' | 'failed';
  subject: string;
  field: string | null;
  value: string | null;
  reason: string | null;
  /** What an inverse run needs; null: nothing to take back. */
  undo: unknown;
}

export interface Step {
  succeeded: number;
  failed: number;
  unchanged: number;
  items: readonly RunItem[];
  /** Where the next step begins. */
  mark?: unknown;
  /** Instead: one more element of the mark's list `done`, for steps done in any order. */
  markAlso?: number;
  total?: number;
}

/** An upload that has stored no part for this long has died. */
export const receivingMs = 60_000;

/** @returns the id of the run: this one, or the one that the same key already named, or that takes the same run back. */
export async function createRun(
  tx: Tx,
  orgId: string,
  run: NewRun,
  now: number,
): Promise<{ id: string; isNew: boolean }> {
  const { rows } = await tx.query<{ id: string }>(
    `insert into runs (org_id, id, kind, connection_id, title, params, dry_run, state, actor, key, inverse_of, created_at, lease_until)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing returning id`,
    [
      orgId,
      run.id,
      run.kind,
      run.connectionId,
      run.title,
      JSON.stringify(run.params),
      run.dryRun,
      run.state,
      run.actor,
      run.key,
      run.inverseOf,
      new Date(now),
      run.state === 'receiving' ? new Date(now + receivingMs) : null,
    ],
  );
  if (rows[0]) {
    await announceRun(tx, orgId, run.id);
    return { id: run.id, isNew: true };
  }
  const { rows: known } = await tx.query<{ id: string }>(
    `select id from runs where org_id = $1 and (key = $2 or inverse_of = $3 and state not in ('failed', 'cancelled')) limit 1`,
    [orgId, run.key, run.inverseOf],
  );
  if (!known[0]) throw new StoreError('store.conflict', 'the run that was there has just ended');
  return { id: known[0].id, isNew: false };
}

/** The run that takes another one back. @returns its id; the same one when there is one already */
export async function createUndo(
  tx: Tx,
  orgId: string,
  undo: { id: string; kind: string; actor: string; now: number },
  of: { id: string; kind: string; title: string; connectionId: string | null },
): Promise<string> {
  const made = await createRun(
    tx,
    orgId,
    {
      id: undo.id,
      kind: undo.kind,
      connectionId: of.connectionId,
      title: `Undo of ${of.title}`,
      params: { kind: of.kind },
      dryRun: false,
      actor: undo.actor,
      key: null,
      inverseOf: of.id,
      state: 'waiting',
    },
    undo.now,
  );
  return made.id;
}

/** Its file is complete. */
export async function releaseRun(tx: Tx, orgId: string, id: string): Promise<void> {
  await tx.query(
    `update runs set state = 'waiting', lease_until = null, version = version + 1 where org_id = $1 and id = $2 and state = 'receiving'`,
    [orgId, id],
  );
  await announceRun(tx, orgId, id);
}

/** Takes up a run nobody works on. Null: somebody else was quicker, or it has ended. */
export async function takeRun(
  tx: Tx,
  orgId: string,
  id: string,
  lease: { holder: string; now: number; forMs: number },
): Promise<HeldRun | null> {
  const { rows } = await tx.query<Omit<HeldRun, 'orgId' | 'holder'>>(
    `update runs set state = 'running', holder = $3, lease_until = $5, taken = taken + 1, message = null,
       deaths = deaths + case when state = 'running' and holder is not null then 1 else 0 end, started_at = coalesce(started_at, $4), version = version + 1
     where org_id = $1 and id = $2 and (state = 'waiting' or (state = 'running' and lease_until < $4))
     returning id, kind, connection_id as "connectionId", params, dry_run as "dryRun", actor, mark, inverse_of as "inverseOf",
       cancel_requested_at is not null as "cancelRequested", deaths`,
    [orgId, id, lease.holder, new Date(lease.now), new Date(lease.now + lease.forMs)],
  );
  if (!rows[0]) return null;
  await announceRun(tx, orgId, id);
  return { ...rows[0], orgId, holder: lease.holder };
}

/** Keeps the lease. @returns `lost`: another has it; `cancel`: somebody asked to stop. */
export async function holdRun(tx: Tx, run: HeldRun, leaseUntil: number): Promise<'held' | 'cancel' | 'lost'> {
  const { rows } = await tx.query<{ cancel: boolean }>(
    `update runs set lease_until = $4 where org_id = $1 and id = $2 and holder = $3 and state = 'running'
     returning cancel_requested_at is not null as cancel`,
    [run.orgId, run.id, run.holder, new Date(leaseUntil)],
  );
  if (!rows[0]) return 'lost';
  return rows[0].cancel ? 'cancel' : 'held';
}

/**
 * What a step came to, in the step's own transaction.
 * @throws StoreError store.mismatch when the lease is gone, or the step is done already (its commit's answer was lost): it is
 *   rolled back
 */
export async function advanceRun(tx: Tx, run: HeldRun, step: Step): Promise<void> {
  // The run's own row last: from then until the commit no other step of the run gets on.
  await addItems(tx, run, step.items);
  const { rows } = await tx.query(
    `update runs set succeeded = succeeded + $4, failed = failed + $5, unchanged = unchanged + $6,
       mark = case when $9::int is not null then jsonb_set(mark, '{done}', mark -> 'done' || to_jsonb($9::int)) else $7 end,
       total = coalesce($8, total), deaths = 0, version = version + 1
     where org_id = $1 and id = $2 and holder = $3 and state = 'running'
       and ($7::jsonb = 'null' or mark <> $7) and ($9::int is null or not mark -> 'done' @> to_jsonb($9::int)) returning 1`,
    [
      run.orgId,
      run.id,
      run.holder,
      step.succeeded,
      step.failed,
      step.unchanged,
      JSON.stringify(step.mark ?? null),
      step.total ?? null,
      step.markAlso ?? null,
    ],
  );
  if (rows.length === 0)
    throw new StoreError('store.mismatch', 'another process works on this run now, or this step is done');
  await announceRun(tx, run.orgId, run.id);
}

async function addItems(tx: Tx, run: HeldRun, items: readonly RunItem[]): Promise<void> {
  if (items.length === 0) return;
  await tx.query(
    {
      name: 'run_items_add',
      // A record may say several things: it failed if any of them did, and all that were done can be taken back.
      text: `insert into run_items as had (org_id, run_id, item, outcome, subject, field, value, reason, undo)
       select $1, $2, item, case when bool_or(outcome = 'failed') then 'failed' else 'done' end, min(subject),
         (array_agg(field order by outcome desc))[1], (array_agg(value order by outcome desc))[1],
         (array_agg(reason order by outcome desc))[1], jsonb_agg(undo) filter (where undo is not null)
       from unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[])
         as told (item, outcome, subject, field, value, reason, undo)
       group by item order by item
       on conflict (org_id, run_id, item) do update set
         outcome = case when 'failed' in (had.outcome, excluded.outcome) then 'failed' else 'done' end,
         field = coalesce(had.field, excluded.field), value = coalesce(had.value, excluded.value),
         reason = coalesce(had.reason, excluded.reason),
         undo = nullif(coalesce(had.undo, '[]') || coalesce(excluded.undo, '[]'), '[]')`,
    },
    [
      run.orgId,
      run.id,
      items.map(({ item }) => item),
      items.map(({ outcome }) => outcome),
      items.map(({ subject }) => subject),
      items.map(({ field }) => field),
      items.map(({ value }) => value),
      items.map(({ reason }) => reason),
      items.map(({ undo }) => (undo === null || undo === undefined ? null : JSON.stringify(undo))),
    ],
  );
}

/**
 * Gives up the lease of a run that has not ended.
 * @param wait null: the next runner takes it up at once; else not before then, and why
 */
export async function leaveRun(tx: Tx, run: HeldRun, wait: { until: number; why: string } | null): Promise<void> {
  const { rowCount } = await tx.query(
    `update runs set state = case when $4::timestamptz is null then 'waiting' else state end, lease_until = $4, holder = null,
       message = $5, version = version + 1
     where org_id = $1 and id = $2 and holder = $3 and state = 'running'`,
    [run.orgId, run.id, run.holder, wait === null ? null : new Date(wait.until), wait?.why ?? null],
  );
  if (rowCount > 0) await announceRun(tx, run.orgId, run.id);
}

/** @returns false when the lease is gone. */
export async function finishRun(
  tx: Tx,
  run: HeldRun,
  end: {
    state: 'done' | 'failed' | 'cancelled';
    /** Why it failed: a code of docs/errors.md. */
    code: string | null;
    message: string | null;
    errorFile: string | null;
    now: number;
  },
): Promise<boolean> {
  const { rows } = await tx.query(
    `update runs set state = $4, message = $5, error_file = coalesce($6, error_file), finished_at = $7, error_code = $8, lease_until = null, version = version + 1
     where org_id = $1 and id = $2 and holder = $3 and state = 'running' returning 1`,
    [run.orgId, run.id, run.holder, end.state, end.message, end.errorFile, new Date(end.now), end.code],
  );
  if (rows.length === 0) return false;
  if (end.state === 'done' && run.inverseOf !== null) {
    await tx.query(`update runs set state = 'undone', version = version + 1 where org_id = $1 and id = $2`, [
      run.orgId,
      run.inverseOf,
    ]);
    await announceRun(tx, run.orgId, run.inverseOf);
  }
  await announceRun(tx, run.orgId, run.id);
  return true;
}

/** Stops it at its next step; one that nobody works on ends at once. @returns null: no such run; else whether there was anything to stop. */
export async function cancelRun(tx: Tx, orgId: string, id: string, now: number): Promise<boolean | null> {
  const { rows } = await tx.query<{ state: RunState; open: boolean }>(
    `update runs set
       cancel_requested_at = case when state in ('receiving', 'waiting', 'running') then coalesce(cancel_requested_at, $3) else cancel_requested_at end,
       state = case when state in ('receiving', 'waiting') then 'cancelled' else state end,
       finished_at = case when state in ('receiving', 'waiting') then $3 else finished_at end,
       message = case when state in ('receiving', 'waiting') then
         case when started_at is null then 'Cancelled before it began.' else 'Cancelled; what was done until then stays done.' end
         else message end,
       version = version + 1
     where org_id = $1 and id = $2 returning state, state in ('running') or finished_at = $3 as open`,
    [orgId, id, new Date(now)],
  );
  if (!rows[0]) return null;
  await announceRun(tx, orgId, id);
  return rows[0].open;
}

/** Where live pages hear of it. */
export async function announceRun(tx: Tx, orgId: string, id: string): Promise<void> {
  await tx.query(
    {
      name: 'run_announce',
      text: `insert into events (org_id, type, key, version) select org_id, 'run', id::text, version from runs where org_id = $1 and id = $2`,
    },
    [orgId, id],
  );
}

/** Runs without a worker, each organization's in turn: `system_open_runs`. */
export async function openRuns(
  tx: Tx,
  now: number,
  limit: number,
): Promise<{ orgId: string; id: string; kind: string }[]> {
  const { rows } = await tx.query<{ orgId: string; id: string; kind: string }>(
    { name: 'runs_open', text: 'select org_id as "orgId", id, kind from system_open_runs($1, $2)' },
    [new Date(now), limit],
  );
  return rows;
}

/**
 * A part of the run's file; parts are numbered from 0. The upload lives while parts come.
 * @throws StoreError store.mismatch when the run receives nothing any more (cancelled, or given up)
 */
export async function keepRunFile(
  tx: Tx,
  orgId: string,
  runId: string,
  part: number,
  content: Uint8Array,
  now: number,
): Promise<void> {
  const { rowCount } = await tx.query(
    `update runs set lease_until = $3 where org_id = $1 and id = $2 and state = 'receiving'`,
    [orgId, runId, new Date(now + receivingMs)],
  );
  if (rowCount === 0) throw new StoreError('store.mismatch', 'the run receives nothing any more');
  await tx.query('insert into run_files (org_id, run_id, part, content) values ($1, $2, $3, $4)', [
    orgId,
    runId,
    part,
    content,
  ]);
}

/** Ends the run if its upload has died. @returns whether it was one */
export async function giveUpUpload(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rows } = await tx.query(
    `select 1 from runs where org_id = $1 and id = $2 and state = 'receiving' and lease_until < $3 for update`,
    [orgId, id, new Date(now)],
  );
  if (rows.length === 0) return false;
  const why = { code: 'run.upload_lost', message: 'The upload broke off; nothing was booked. Send the file again.' };
  await refuseRun(tx, orgId, id, why, now);
  return true;
}

export async function readRunFile(tx: Tx, orgId: string, runId: string, part: number): Promise<Uint8Array | null> {
  const { rows } = await tx.query<{ content: Buffer }>(
    'select content from run_files where org_id = $1 and run_id = $2 and part = $3',
    [orgId, runId, part],
  );
  return rows[0]?.content ?? null;
}

/** Items that changed something (`undo`: each change), last first, from below `before`: what an inverse run takes back. */
export async function readUndo(
  tx: Tx,
  orgId: string,
  runId: string,
  before: number | null,
  limit: number,
): Promise<{ item: number; subject: string; undo: unknown[] }[]> {
  const { rows } = await tx.query<{ item: number; subject: string; undo: unknown[] }>(
    `select item, subject, case jsonb_typeof(undo) when 'array' then undo else jsonb_build_array(undo) end as undo from run_items
     where org_id = $1 and run_id = $2 and undo is not null and ($3::int is null or item < $3) order by item desc limit $4`,
    [orgId, runId, before, limit],
  );
  return rows;
}

/** The next failed items behind `after`, by item. */
export async function readFailed(
  tx: Tx,
  orgId: string,
  runId: string,
  after: number,
  limit: number,
): Promise<{ row: number; field: string; value: string; reason: string }[]> {
  const { rows } = await tx.query<{ row: number; field: string; value: string; reason: string }>(
    `select item as row, coalesce(field, '') as field, coalesce(value, '') as value, coalesce(reason, '') as reason
     from run_items where org_id = $1 and run_id = $2 and outcome = 'failed' and item > $3 order by item limit $4`,
    [orgId, runId, after, limit],
  );
  return rows;
}

/** Items that changed something and can be taken back; `pruned`: it had some, and they are kept no longer. */
export async function countDone(tx: Tx, orgId: string, runId: string): Promise<{ items: number; pruned: boolean }> {
  const { rows } = await tx.query<{ items: number; pruned: boolean }>(
    `select n as items, n = 0 and r.succeeded > 0 as pruned from runs r
     cross join lateral (select count(*)::int as n from run_items where org_id = $1 and run_id = $2 and undo is not null) counted
     where r.org_id = $1 and r.id = $2`,
    [orgId, runId],
  );
  return rows[0] ?? { items: 0, pruned: false };
}

/** A run whose file never came whole; its key is free again. */
export async function refuseRun(
  tx: Tx,
  orgId: string,
  id: string,
  why: { code: string; message: string },
  now: number,
): Promise<void> {
  await tx.query(
    `update runs set state = 'failed', message = $3, error_code = $5, finished_at = $4, key = null, lease_until = null, version = version + 1
     where org_id = $1 and id = $2 and state = 'receiving'`,
    [orgId, id, why.message, new Date(now), why.code],
  );
  await tx.query('delete from run_files where org_id = $1 and run_id = $2', [orgId, id]);
  await announceRun(tx, orgId, id);
}
