/** What still waits, and whether every number is right: read as the owner, past row security. */
import type pg from 'pg';
import type { Stage } from './stage.ts';

/** Something that time or work will still change; empty when the world is at rest. */
export async function waitingFor(owner: pg.Pool, stage: Stage): Promise<string[]> {
  const { rows } = await owner.query<{ what: string; count: number }>(
    `select what, count(*)::int as count from (
       select 'target ' || state as what from targets where org_id = $1 and (state <> 'in_sync' or unseen > 0 or dirty_version > handled_version)
       union all select 'open attempt' from attempts where org_id = $1 and outcome is null
       union all select 'inbox row' from inbox where org_id = $1 and state = 'waiting'
       union all select 'dirty variant' from dirty_variants where org_id = $1
     ) w group by what order by what`,
    [stage.orgId],
  );
  return rows.map(({ what, count }) => `${count} ${what}`);
}

interface TargetRow {
  place: string;
  sku: string;
  stock_key: string;
  channel_location: string;
  state: string;
  reason: string | null;
  desired: number | null;
  observed: number | null;
}

/** Every target that is not in sync with the channel's own number, in words. */
export async function wrongNumbers(owner: pg.Pool, stage: Stage): Promise<string[]> {
  const wrong: string[] = [];
  for (const channel of stage.channels) {
    const { items } = await channel.state();
    const { rows } = await owner.query<TargetRow>(
      `select t.stock_key, t.channel_location, t.state, t.reason, t.desired, t.observed,
         (select min(l.channel_sku) from listings l where l.org_id = t.org_id and l.connection_id = t.connection_id and l.stock_key = t.stock_key) as sku
       from targets t where t.org_id = $1 and t.connection_id = $2 order by t.stock_key, t.channel_location`,
      [stage.orgId, channel.connection.connectionId],
    );
    for (const row of rows) {
      const there = items.find(
        (item) => item.stockKey === row.stock_key && item.location === row.channel_location,
      )?.quantity;
      // A channel's number below 0 compares as 0.
      if (row.state === 'in_sync' && row.desired === Math.max(0, there ?? -1)) continue;
      wrong.push(
        `${channel.place} ${row.sku} at ${row.channel_location}: ${row.state}${row.reason ? ` (${row.reason})` : ''}, desired ${row.desired}, there ${there}`,
      );
    }
  }
  return wrong;
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
