/** Runs as people see them. */
import type { RunState } from '../runs/runs.ts';
import type { Tx } from '../tx.ts';

export interface RunView {
  id: string;
  kind: string;
  title: string;
  connectionId: string | null;
  dryRun: boolean;
  /** `stuck`: somebody worked on it and does not answer any more; the next free worker goes on with it. */
  state: RunState | 'stuck';
  total: number | null;
  done: number;
  succeeded: number;
  failed: number;
  unchanged: number;
  /** Why it failed as a whole (docs/errors.md); null: it did not. */
  errorCode: string | null;
  message: string | null;
  actor: string;
  /** Times it was taken up: more than once after a kill. */
  taken: number;
  cancelRequested: boolean;
  inverseOf: string | null;
  undoneBy: string | null;
  errorFile: string | null;
  params: Record<string, unknown>;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
}

export interface RunItemView {
  item: number;
  outcome: 'done' | 'failed';
  subject: string;
  field: string | null;
  value: string | null;
  reason: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

const columns = `r.id, r.kind, r.title, r.connection_id as "connectionId", r.dry_run as "dryRun",
  case when r.state in ('running', 'receiving') and r.lease_until < $2 then 'stuck' else r.state end as state,
  r.total, r.succeeded + r.failed + r.unchanged as done, r.succeeded, r.failed, r.unchanged,
  case when r.state = 'failed' then r.error_code end as "errorCode", r.message, r.actor, r.taken,
  r.cancel_requested_at is not null as "cancelRequested", r.inverse_of as "inverseOf",
  (select u.id from runs u where u.org_id = r.org_id and u.inverse_of = r.id and u.state not in ('failed', 'cancelled')) as "undoneBy",
  '/api/imports/files/' || r.error_file as "errorFile", r.params,
  ${stamp('r.created_at')} as "createdAt", ${stamp('r.started_at')} as "startedAt", ${stamp('r.finished_at')} as "finishedAt"`;

export async function readRun(tx: Tx, orgId: string, id: string, now: number): Promise<RunView | null> {
  const { rows } = await tx.query<RunView>(`select ${columns} from runs r where r.org_id = $1 and r.id = $3`, [
    orgId,
    new Date(now),
    id,
  ]);
  return rows[0] ?? null;
}

/** Newest first. @param after [createdAt, id] of the last one of the page before */
export async function readRuns(
  tx: Tx,
  orgId: string,
  now: number,
  page: { limit: number; after: [string, string] | null; search: string | null; open: boolean },
): Promise<{ items: RunView[]; next: [string, string] | null }> {
  const { rows } = await tx.query<RunView & { at: string }>(
    `select ${columns}, to_char(r.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from runs r
     where r.org_id = $1 and ($4::timestamptz is null or (r.created_at, r.id) < ($4, $5::uuid))
       and ($6::text is null or strpos(lower(r.title || ' ' || r.kind), lower($6)) > 0)
       and (not $7 or r.state in ('receiving', 'waiting', 'running'))
     order by r.created_at desc, r.id desc limit $3`,
    [orgId, new Date(now), page.limit + 1, page.after?.[0] ?? null, page.after?.[1] ?? null, page.search, page.open],
  );
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  return {
    items: shown.map(({ at: _, ...run }) => run),
    next: rows.length > page.limit && last ? [last.at, last.id] : null,
  };
}

/** By item. @param after the last item of the page before */
export async function readRunItems(
  tx: Tx,
  orgId: string,
  runId: string,
  page: { limit: number; after: number | null; outcome: string | null },
): Promise<{ items: RunItemView[]; next: number | null }> {
  const { rows } = await tx.query<RunItemView>(
    `select item, outcome, subject, field, value, reason from run_items
     where org_id = $1 and run_id = $2 and ($4::int is null or item > $4) and ($5::text is null or outcome = $5) order by item limit $3`,
    [orgId, runId, page.limit + 1, page.after, page.outcome],
  );
  const items = rows.slice(0, page.limit);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.item ?? null) : null };
}
