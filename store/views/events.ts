/**
 * The event feed behind /api/events. A row is shown only when every transaction that could still commit an earlier row
 * has ended: ids are given at insert but seen at commit, so "greater than last seen" alone would skip late commits.
 */
import type { Store, Tx } from '../tx.ts';

export interface FeedEvent {
  orgId: string;
  /** Resume point: "tx-seq". */
  id: string;
  type: 'stock' | 'listing' | 'order' | 'alert' | 'run';
  key: string;
  version: number;
  at: string;
}

export interface FeedPoint {
  tx: string;
  seq: number;
}

interface Row {
  org_id: string;
  tx: string;
  seq: number;
  type: FeedEvent['type'];
  key: string;
  version: number;
  at: string;
}

const toEvent = (row: Row): FeedEvent => ({
  orgId: row.org_id,
  id: `${row.tx}-${row.seq}`,
  type: row.type,
  key: row.key,
  version: row.version,
  at: row.at,
});

export function parseFeedId(id: string): FeedPoint | null {
  const match = /^(\d{1,20})-(\d{1,15})$/.exec(id);
  if (!match?.[1] || !match[2] || BigInt(match[1]) >= 2n ** 64n) return null;
  return { tx: match[1], seq: Number(match[2]) };
}

/** Whether an event comes after a point; both ways of reading the feed keep this order. */
export function isAfter(event: Pick<FeedEvent, 'id'>, point: FeedPoint): boolean {
  const at = parseFeedId(event.id);
  if (at === null) return false;
  const [mine, theirs] = [BigInt(at.tx), BigInt(point.tx)];
  return mine === theirs ? at.seq > point.seq : mine > theirs;
}

/** Where the feed ends now: events after it are new. */
export async function feedEnd(tx: Tx): Promise<FeedPoint> {
  const { rows } = await tx.query<{ tx: string }>(`select pg_snapshot_xmin(pg_current_snapshot())::text as tx`);
  return { tx: rows[0]?.tx ?? '0', seq: 0 };
}

/** Up to 1,000 events of these organizations after the point, oldest first. */
export async function readFeed(store: Store, orgIds: readonly string[], after: FeedPoint): Promise<FeedEvent[]> {
  return store.batch(orgIds, async (tx) => {
    const { rows } = await tx.query<Row>(
      {
        name: 'read_feed',
        // Of a row that tells several variants each is an event: its place in the row is the last part of the number.
        text: `select e.org_id, e.tx::text, e.seq * 1024 + x.i as seq, e.type, x.key, x.version,
                 to_char(e.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at
               from events e cross join lateral (
                 select 0 as i, e.key, e.version where e.variants is null
                 union all
                 select u.i, v.sku, u.version from unnest(e.variants, e.versions) with ordinality as u (variant_id, version, i)
                 join variants v on v.org_id = e.org_id and v.id = u.variant_id) x
               where e.org_id = any ($1::uuid[]) and (e.tx, e.seq) >= ($2::xid8, $3::bigint / 1024) and e.tx < pg_snapshot_xmin(pg_current_snapshot())
                 and (e.tx, e.seq * 1024 + x.i) > ($2::xid8, $3::bigint)
               order by e.tx, e.seq, x.i limit 1000`,
      },
      [orgIds, after.tx, after.seq],
    );
    return rows.map(toEvent);
  });
}
