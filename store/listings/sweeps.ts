/**
 * Stock sweeps: every number of a connection is read once, and how each compared is counted.
 *
 * A target keeps the sweep's id until it was looked at: a killed process leaves the rest to whoever comes next, and the sweep is
 * finished when nothing owes it a look. Counted in the transaction that records the reading.
 */
import type { Tx } from '../tx.ts';

export type SweptOutcome = 'as_expected' | 'lower' | 'higher' | 'missing' | 'undecided';

/** How often an open sweep is looked after (due row "stock_sweep"). */
export const sweepLookMs = 10_000;

/** Every number of the connection is read at the next chance; what an earlier sweep has left is this one's. @returns how many. */
export async function beginStockSweep(
  tx: Tx,
  orgId: string,
  connectionId: string,
  sweep: { id: string; askedBy: string; now: number },
): Promise<number> {
  const { rows } = await tx.query<{ targets: number }>(
    `with n as (select to_timestamp($3::float8 / 1000.0) as at),
     locked as materialized (select id from targets where org_id = $1 and connection_id = $2 order by id for update),
     marked as (update targets t set read_due = n.at, sweep_id = $4 from locked l, n where t.org_id = $1 and t.id = l.id returning 1),
     earlier as (update stock_sweeps s set finished_at = n.at, superseded = true from n where s.org_id = $1 and s.connection_id = $2 and s.finished_at is null),
     swept as (update connections c set stock_swept_at = n.at from n where c.org_id = $1 and c.id = $2)
     insert into stock_sweeps (org_id, id, connection_id, asked_by, started_at, targets)
     select $1, $4, $2, $5, n.at, (select count(*) from marked) from n returning targets`,
    [orgId, connectionId, sweep.now, sweep.id, sweep.askedBy],
  );
  await tx.query(
    `insert into due (org_id, kind, subject_id, due_at) values ($1, 'stock_sweep', $2, to_timestamp($3::float8 / 1000.0))`,
    [orgId, sweep.id, sweep.now + sweepLookMs],
  );
  return rows[0]?.targets ?? 0;
}

/** Books what was read for targets that owe a sweep a look. */
export async function tallySwept(
  tx: Tx,
  orgId: string,
  looks: readonly { targetId: string; outcome: SweptOutcome }[],
  now: number,
): Promise<void> {
  if (looks.length === 0) return;
  await tx.query(
    {
      name: 'sweeps_tally',
      text: `
    with r as (select * from jsonb_to_recordset($2::jsonb) as r("targetId" uuid, outcome text)),
    owed as materialized (
      select t.id, t.sweep_id, r.outcome from targets t join r on r."targetId" = t.id where t.org_id = $1 and t.sweep_id is not null
      order by t.id for update of t),
    freed as (update targets t set sweep_id = null from owed o where t.org_id = $1 and t.id = o.id),
    sums as (
      select sweep_id, count(*) filter (where outcome = 'as_expected') as as_expected, count(*) filter (where outcome = 'lower') as lower,
        count(*) filter (where outcome = 'higher') as higher, count(*) filter (where outcome = 'missing') as missing,
        count(*) filter (where outcome = 'undecided') as undecided, count(*) as n from owed group by sweep_id)
    update stock_sweeps s set as_expected = s.as_expected + u.as_expected, lower = s.lower + u.lower, higher = s.higher + u.higher,
      missing = s.missing + u.missing, undecided = s.undecided + u.undecided,
      finished_at = case when s.as_expected + s.lower + s.higher + s.missing + s.undecided + s.otherwise + u.n >= s.targets
        then to_timestamp($3::float8 / 1000.0) end
    from sums u where s.org_id = $1 and s.id = u.sweep_id and s.finished_at is null`,
    },
    [orgId, JSON.stringify(looks), now],
  );
}

/** Numbers that something else has shown, or that may not be read, owe no look any more; none of a deleted connection does. @returns whether it is over. */
export async function settleStockSweep(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rows } = await tx.query<{ over: boolean }>(
    `with gone as materialized (select from stock_sweeps s join connections c on c.org_id = $1 and c.id = s.connection_id
       where s.org_id = $1 and s.id = $2 and c.deleted_at is not null),
     seen as materialized (select id from targets where org_id = $1 and sweep_id = $2 and (read_due is null or exists (select from gone)) order by id for update),
     freed as (update targets t set sweep_id = null from seen where t.org_id = $1 and t.id = seen.id),
     left_over as (select count(*) as n from targets t where t.org_id = $1 and t.sweep_id = $2 and t.id not in (select id from seen))
     update stock_sweeps s set otherwise = s.otherwise + (select count(*) from seen),
       finished_at = case when (select n from left_over) = 0 then to_timestamp($3::float8 / 1000.0) end
     where s.org_id = $1 and s.id = $2 and s.finished_at is null returning s.finished_at is not null as over`,
    [orgId, id, now],
  );
  return rows[0]?.over ?? true;
}

export interface StockSweepItem {
  id: string;
  askedBy: string;
  startedAt: string;
  finishedAt: string | null;
  durationMs: number | null;
  targets: number;
  read: number;
  asExpected: number;
  lower: number;
  higher: number;
  missing: number;
  undecided: number;
  otherwise: number;
  superseded: boolean;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Newest first. */
export async function readStockSweeps(
  tx: Tx,
  orgId: string,
  connectionId: string,
  limit: number,
): Promise<StockSweepItem[]> {
  const { rows } = await tx.query<StockSweepItem>(
    `select id, asked_by as "askedBy", ${stamp('started_at')} as "startedAt", ${stamp('finished_at')} as "finishedAt",
       round(extract(epoch from finished_at - started_at) * 1000)::int as "durationMs", targets,
       as_expected + lower + higher + missing + undecided as read, as_expected as "asExpected", lower, higher, missing, undecided, otherwise, superseded
     from stock_sweeps s where org_id = $1 and connection_id = $2 order by s.started_at desc, s.id desc limit $3`,
    [orgId, connectionId, limit],
  );
  return rows;
}
