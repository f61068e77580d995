/**
 * The window between a sale and a sibling's corrected number, per connection, as measured; and how many units it can oversell.
 *
 * In the window a connection still shows the number from before a sale elsewhere: whoever buys there then may take a unit
 * that is gone. The most units of one SKU that were sold there within one window (p99, at least a second) in two weeks is
 * what a busy moment can oversell; the buffer or `scarcity set` with that number covers it.
 */
import type { Tx } from '../tx.ts';

export interface Window {
  connectionId: string;
  connection: string;
  platform: string;
  /** Corrections of a day that were caused by a sale elsewhere: what the times are taken from. */
  samples: number;
  /**
   * From the sale, by the selling channel's own time, until this connection had taken the new number; null without samples.
   * A channel that tells whole seconds (Shopify) makes it up to a second too long.
   */
  p50Ms: number | null;
  p99Ms: number | null;
  /** The part of it that is ours: from the arrival of the news of the sale. */
  p50OursMs: number | null;
  p99OursMs: number | null;
  /** Most units of one SKU sold here within one window, in two weeks; 0 when nothing was sold. */
  canOversell: number;
  /** The SKU of that moment. */
  sku: string | null;
  /** Units this connection shows just now beyond what it should: corrections on their way. */
  overOffered: number;
}

const dayMs = 86_400_000;
const mostSamples = 5_000;

/** @param connectionId null: all */
export async function readWindows(tx: Tx, orgId: string, connectionId: string | null, now: number): Promise<Window[]> {
  const { rows } = await tx.query<Window>(
    `with c as (select id, name, platform from connections where org_id = $1 and deleted_at is null and ($2::uuid is null or id = $2)),
     took as (
       select c.id, s.ms, s.ours from c cross join lateral (
         select round(extract(epoch from a.finished_at) * 1000 - (e ->> 'soldAt')::float8) as ms,
           greatest(0, round(extract(epoch from a.finished_at) * 1000 - (e ->> 'receivedAt')::float8)) as ours
         from attempts a cross join lateral jsonb_array_elements(a.causes) e
         where a.org_id = $1 and a.connection_id = c.id and a.sent_at >= $3 and a.outcome in ('applied', 'accepted', 'proven_applied')
           and e ->> 'soldAt' is not null and (e ->> 'from')::uuid <> c.id
         order by a.sent_at desc limit ${mostSamples}) s
       where s.ms between 0 and 3600000),
     windows as (
       select id, count(*)::int as samples, round(percentile_cont(0.5) within group (order by ms))::int as p50,
         round(percentile_cont(0.99) within group (order by ms))::int as p99,
         round(percentile_cont(0.5) within group (order by ours))::int as p50_ours,
         round(percentile_cont(0.99) within group (order by ours))::int as p99_ours from took group by id),
     sold as (
       select o.connection_id as id, l.variant_id, floor(extract(epoch from o.placed_at) * 1000 / greatest(1000, coalesce(w.p99, 1000))) as slot,
         sum(l.ordered)::int as units
       from orders o join order_lines l on l.org_id = $1 and l.order_id = o.id and l.variant_id is not null
       left join windows w on w.id = o.connection_id
       where o.org_id = $1 and o.connection_id in (select id from c) and o.placed_at >= $4 and not o.test
       group by 1, 2, 3),
     busiest as (select distinct on (s.id) s.id, s.units, v.sku from sold s join variants v on v.org_id = $1 and v.id = s.variant_id order by s.id, s.units desc, v.sku)
     select c.id as "connectionId", c.name as connection, c.platform, coalesce(w.samples, 0) as samples, w.p50 as "p50Ms", w.p99 as "p99Ms",
       w.p50_ours as "p50OursMs", w.p99_ours as "p99OursMs",
       coalesce(b.units, 0) as "canOversell", b.sku,
       coalesce((select sum(greatest(0, coalesce(t.expected, t.observed, 0) - t.desired)) from targets t
         where t.org_id = $1 and t.connection_id = c.id and t.desired is not null and not t.read_only and t.variant_id is not null), 0)::int as "overOffered"
     from c left join windows w on w.id = c.id left join busiest b on b.id = c.id order by c.name, c.id`,
    [orgId, connectionId, new Date(now - dayMs), new Date(now - 14 * dayMs)],
  );
  return rows;
}
