/** What still waits, and what a run came to: read as the owner, past row security. */
import type pg from 'pg';
import type { Stage } from './stage.ts';

/** Something that time or work will still change; empty when the world is at rest. */
export async function waitingFor(owner: pg.Pool, stage: Stage, now: number): Promise<string[]> {
  const { rows } = await owner.query<{ what: string; count: number }>(
    `select what, count(*)::int as count from (
       select 'target ' || state as what from targets where org_id = $1
         and (state in ('pending', 'sent', 'settling', 'unknown', 'unauthorized', 'unreachable')
           or state in ('in_sync', 'drifted') and (unseen > 0 or dirty_version > handled_version))
       union all select 'open attempt' from attempts where org_id = $1 and outcome is null
       union all select 'inbox row' from inbox where org_id = $1 and state = 'waiting'
       union all select kind || ' due' from due where org_id = $1 and (due_at <= to_timestamp($2::float8 / 1000.0) or kind = 'hold')
       union all select 'run ' || kind from runs where org_id = $1 and state in ('receiving', 'waiting', 'running')
       union all select 'dirty variant' from dirty_variants where org_id = $1
     ) w group by what order by what`,
    [stage.orgId, now],
  );
  return rows.map(({ what, count }) => `${count} ${what}`);
}

/** The rows that matter, for the hash. */
export async function finalRows(owner: pg.Pool, stage: Stage): Promise<string> {
  const queries = [
    `select t.stock_key, t.channel_location, t.state, t.desired, t.observed, t.unseen from targets t where t.org_id = $1 order by 1, 2, t.connection_id`,
    `select variant_id, location_id, sellable, damaged, quarantine, committed, reserved, version from positions where org_id = $1 order by 1, 2`,
    `select * from movements where org_id = $1 order by id`,
    `select external_id, status, payment, fulfillment from orders where org_id = $1 order by external_id, connection_id`,
  ];
  const parts: string[] = [];
  for (const sql of queries) parts.push(JSON.stringify((await owner.query(sql, [stage.orgId])).rows));
  return parts.join('\n');
}

/** What the rows show of rare things, for the summary of a run. */
export async function whatCameOfIt(owner: pg.Pool, stage: Stage): Promise<Record<string, number>> {
  const { rows } = await owner.query<{ what: string; count: number }>(
    `select what, count(*)::int as count from (
       select 'feed ' || state as what from feeds where org_id = $1
       union all select 'run ' || kind || ' ' || state from runs where org_id = $1
       union all select 'attempt ' || coalesce(outcome, 'open') from attempts where org_id = $1
       union all select 'drift ' || cause from drifts where org_id = $1
     ) w group by what`,
    [stage.orgId],
  );
  return Object.fromEntries(rows.map(({ what, count }) => [what, count]));
}
