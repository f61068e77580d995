/** Daily counts: how many orders a channel says were placed on a UTC day, against those we hold. The proof of the order sweeps. */
import type { Tx } from '../tx.ts';

export interface DayCount {
  /** yyyy-mm-dd, UTC. */
  day: string;
  /** null: more than could be counted within the vendor's budget. */
  channelCount: number | null;
  heldCount: number;
  method: 'count' | 'pages';
  countedTo: number;
  /** The channel has them and we had not; `found`: they are in our book now. */
  missing: { externalId: string; found: boolean }[];
  /** We have them and the channel does not show them (deleted there). */
  extra: string[];
  fetched: number;
}

export interface DayCountItem extends Omit<DayCount, 'countedTo'> {
  countedTo: string;
  countedAt: string;
  /** channel − held; null while the channel's number is unknown. */
  difference: number | null;
}

/** Ids we hold of orders placed in [from, to) (Unix ms). */
export async function heldPlaced(
  tx: Tx,
  orgId: string,
  connectionId: string,
  from: number,
  to: number,
): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select external_id as id from orders where org_id = $1 and connection_id = $2
       and placed_at >= to_timestamp($3::float8 / 1000.0) and placed_at < to_timestamp($4::float8 / 1000.0)`,
    [orgId, connectionId, from, to],
  );
  return rows.map(({ id }) => id);
}

/** Those of the ids that we hold, whenever placed. */
export async function heldOf(
  tx: Tx,
  orgId: string,
  connectionId: string,
  externalIds: readonly string[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    'select external_id as id from orders where org_id = $1 and connection_id = $2 and external_id = any($3)',
    [orgId, connectionId, externalIds],
  );
  return new Set(rows.map(({ id }) => id));
}

/** Repeating a day keeps what was missing before: it is shown with what became of it. */
export async function keepDayCount(
  tx: Tx,
  orgId: string,
  connectionId: string,
  count: DayCount,
  now: number,
): Promise<void> {
  await tx.query(
    `insert into order_counts as c (org_id, connection_id, day, channel_count, held_count, method, counted_to, missing, extra, fetched, counted_at)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1000.0), $8, $9, $10, to_timestamp($11::float8 / 1000.0))
     on conflict (org_id, connection_id, day) do update set channel_count = excluded.channel_count, held_count = excluded.held_count,
       method = excluded.method, counted_to = excluded.counted_to, extra = excluded.extra, fetched = c.fetched + excluded.fetched, counted_at = excluded.counted_at,
       missing = excluded.missing || coalesce((select jsonb_agg(m) from jsonb_array_elements(c.missing) m
         where (m->>'found')::boolean and not exists (select from jsonb_array_elements(excluded.missing) n where n->>'externalId' = m->>'externalId')), '[]')`,
    [
      orgId,
      connectionId,
      count.day,
      count.channelCount,
      count.heldCount,
      count.method,
      count.countedTo,
      JSON.stringify(count.missing),
      JSON.stringify(count.extra),
      count.fetched,
      now,
    ],
  );
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** Newest day first. */
export async function readDayCounts(
  tx: Tx,
  orgId: string,
  connectionId: string,
  limit: number,
): Promise<DayCountItem[]> {
  const { rows } = await tx.query<DayCountItem>(
    `select to_char(day, 'YYYY-MM-DD') as day, channel_count as "channelCount", held_count as "heldCount", channel_count - held_count as difference,
       method, missing, extra, fetched, ${stamp('counted_to')} as "countedTo", ${stamp('counted_at')} as "countedAt"
     from order_counts where org_id = $1 and connection_id = $2 order by order_counts.day desc limit $3`,
    [orgId, connectionId, limit],
  );
  return rows;
}
