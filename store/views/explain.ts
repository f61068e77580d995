/** What is known of a SKU's targets, beside the calculation of their numbers (server/flows/explain.ts). */
import type { Tx } from '../tx.ts';

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export interface ExplainedRow {
  targetId: string;
  variantId: string;
  listingId: string;
  connectionId: string;
  connection: string;
  platform: string;
  stockKey: string;
  channelLocation: string;
  channel: {
    base: number | null;
    baseAt: string | null;
    expected: number | null;
    observed: number | null;
    observedAt: string | null;
    unseen: number;
    accepted: number | null;
    state: string;
    reason: string | null;
    ordersReadTo: string | null;
  };
}

/**
 * The targets of a SKU's listings, now or of the listings that stood for it at a business time (`at`, Unix ms).
 * Null: no such SKU, or the named listing is not one of it.
 */
export async function readExplained(
  tx: Tx,
  orgId: string,
  sku: string,
  listingId: string | null,
  at: number | null,
): Promise<ExplainedRow[] | null> {
  const { rows } = await tx.query<ExplainedRow & { found: boolean }>(
    `select t.id as "targetId", v.id as "variantId", l.id as "listingId", c.id as "connectionId", c.name as connection, c.platform, t.stock_key as "stockKey", t.channel_location as "channelLocation",
       jsonb_build_object('base', t.base, 'baseAt', ${stamp('t.base_at')}, 'expected', t.expected, 'observed', t.observed, 'observedAt', ${stamp('t.observed_at')},
         'unseen', t.unseen, 'accepted', t.accepted, 'state', t.state, 'reason', t.reason, 'ordersReadTo', ${stamp('c.orders_read_to')}) as channel
     from variants v
     join listings l on l.org_id = v.org_id and ($3::uuid is null or l.id = $3) and ($4::timestamptz is null and l.variant_id = v.id
       or exists (select from listing_mappings m where m.org_id = v.org_id and m.listing_id = l.id and m.variant_id = v.id
         and m.valid_from <= $4 and (m.valid_to is null or m.valid_to > $4)))
     join connections c on c.org_id = l.org_id and c.id = l.connection_id and c.deleted_at is null
     join targets t on t.org_id = l.org_id and t.connection_id = l.connection_id and t.stock_key = l.stock_key
     where v.org_id = $1 and v.sku = $2 order by c.id, t.channel_location`,
    [orgId, sku, listingId, at === null ? null : new Date(at)],
  );
  if (rows.length > 0) return rows;
  const { rows: known } = await tx.query('select 1 from variants where org_id = $1 and sku = $2', [orgId, sku]);
  return known.length > 0 && listingId === null ? [] : null;
}
