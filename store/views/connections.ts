/** Connections as the API shows them: state, backlog, ages. Never a credential. */
import type { Tx } from '../tx.ts';

export interface ConnectionItem {
  id: string;
  platform: string;
  kind: 'live' | 'simulated';
  name: string;
  state: string;
  stateReason: string | null;
  paused: boolean;
  /** Since when, by whom, why and until when; null while it is not paused. */
  pause: { at: string; by: string | null; reason: string | null; until: string | null } | null;
  /** Since when its numbers are computed and recorded, not sent; null: they are sent. */
  shadowSince: string | null;
  baseUrl: string | null;
  /** Targets that wait to be written or read, and since when the oldest does. */
  waiting: number;
  oldestWaiting: string | null;
  /** Targets by state. */
  targets: Record<string, number>;
  listings: number;
  unmapped: number;
  ordersReadTo: string | null;
  lastAccepted: string | null;
  locations: { code: string; externalId: string }[];
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export async function readConnections(tx: Tx, orgId: string, id: string | null): Promise<ConnectionItem[]> {
  const { rows } = await tx.query<ConnectionItem>(
    `select c.id, c.platform, c.kind, c.name, c.state, c.state_reason as "stateReason", c.paused_at is not null as paused,
       case when c.paused_at is not null then jsonb_build_object('at', ${stamp('c.paused_at')}, 'by', c.paused_by, 'reason', c.paused_reason, 'until', ${stamp('c.paused_until')}) end as pause,
       ${stamp('c.shadow_at')} as "shadowSince", c.base_url as "baseUrl",
       coalesce(t.waiting, 0)::int as waiting, t.oldest as "oldestWaiting", coalesce(t.states, '{}') as targets,
       l.listings, l.unmapped, ${stamp('c.orders_read_to')} as "ordersReadTo", t.accepted as "lastAccepted",
       coalesce((select jsonb_agg(jsonb_build_object('code', lo.code, 'externalId', cl.channel_location) order by lo.is_default desc, lo.priority, lo.code)
         from connection_locations cl join locations lo on lo.org_id = cl.org_id and lo.id = cl.location_id
         where cl.org_id = c.org_id and cl.connection_id = c.id), '[]') as locations
     from connections c
     left join lateral (
       select sum(waiting)::int as waiting, ${stamp('min(oldest)')} as oldest, jsonb_object_agg(state, n) as states, ${stamp('max(accepted)')} as accepted
       from (select state, count(*)::int as n, count(*) filter (where dirty_version > handled_version and variant_id is not null and not read_only) as waiting, min(dirty_since) filter (where dirty_version > handled_version and variant_id is not null and not read_only) as oldest, max(accepted_at) as accepted
             from targets where org_id = c.org_id and connection_id = c.id group by state) s) t on true
     left join lateral (
       select count(*)::int as listings, count(*) filter (where variant_id is null)::int as unmapped
       from listings where org_id = c.org_id and connection_id = c.id) l on true
     where c.org_id = $1 and c.deleted_at is null and ($2::uuid is null or c.id = $2)
     order by c.created_at, c.id`,
    [orgId, id],
  );
  return rows;
}
