/** Which ASIN a SKU is offered under (the predecessor's mapping table, kept as an API). */
import type { Tx } from '../tx.ts';

export interface Mapping {
  sku: string;
  asin: string;
  mappedAt: string;
}

export async function readAsin(tx: Tx, orgId: string, sku: string): Promise<Mapping | null> {
  const { rows } = await tx.query<Mapping>(
    `select v.sku, l.external_id as asin, to_char(l.updated_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "mappedAt"
     from variants v join listings l on l.org_id = v.org_id and l.variant_id = v.id
     join connections c on c.org_id = l.org_id and c.id = l.connection_id and c.platform = 'amazon' and c.deleted_at is null
     where v.org_id = $1 and v.sku = $2 order by l.updated_at desc limit 1`,
    [orgId, sku],
  );
  return rows[0] ?? null;
}

export type MapResult =
  | { kind: 'mapped'; mappedAt: string; connectionId: string }
  | { kind: 'unknown_sku' }
  | { kind: 'unknown_connection' }
  | { kind: 'ambiguous'; count: number }
  | { kind: 'taken'; bySku: string };

/**
 * Maps a SKU to an ASIN on one Amazon connection; the seller SKU is ours unless a listing of that ASIN names another.
 * Marks the variant dirty: the number there must become right.
 */
export async function mapAsin(
  tx: Tx,
  orgId: string,
  wanted: { sku: string; asin: string; connectionId: string | null },
  by: { now: number; ids: { uuid(): string } },
): Promise<MapResult> {
  const { rows: variants } = await tx.query<{ id: string; title: string }>(
    'select id, title from variants where org_id = $1 and sku = $2',
    [orgId, wanted.sku],
  );
  const variant = variants[0];
  if (!variant) return { kind: 'unknown_sku' };
  const { rows: connections } = await tx.query<{ id: string }>(
    `select id from connections where org_id = $1 and platform = 'amazon' and deleted_at is null and ($2::uuid is null or id = $2)`,
    [orgId, wanted.connectionId],
  );
  if (connections.length === 0) return { kind: 'unknown_connection' };
  if (connections.length > 1) return { kind: 'ambiguous', count: connections.length };
  const connectionId = connections[0]?.id ?? '';
  const { rows: same } = await tx.query<{
    id: string;
    variant_id: string | null;
    stock_key: string;
    sku: string | null;
  }>(
    `select l.id, l.variant_id, l.stock_key, v.sku from listings l left join variants v on v.org_id = l.org_id and v.id = l.variant_id
     where l.org_id = $1 and l.connection_id = $2 and (l.stock_key = $3 or l.external_id = $4) order by (l.stock_key = $3) desc for update of l`,
    [orgId, connectionId, wanted.sku, wanted.asin],
  );
  const listing = same[0];
  if (listing?.variant_id && listing.variant_id !== variant.id) return { kind: 'taken', bySku: listing.sku ?? '' };
  const at = new Date(by.now);
  const stockKey = listing?.stock_key ?? wanted.sku;
  if (listing)
    await tx.query(
      'update listings set variant_id = $3, external_id = $4, updated_at = $5 where org_id = $1 and id = $2',
      [orgId, listing.id, variant.id, wanted.asin, at],
    );
  else
    await tx.query(
      `insert into listings (org_id, id, connection_id, variant_id, external_id, channel_sku, stock_key, title, created_at, updated_at)
       values ($1, $2, $3, $4, $5, $6, $6, $7, $8, $8)`,
      [orgId, by.ids.uuid(), connectionId, variant.id, wanted.asin, stockKey, variant.title, at],
    );
  await tx.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id) values ($1, $2, $3, $4, 'DEFAULT', $5)
     on conflict (org_id, connection_id, stock_key, channel_location) do update set variant_id = excluded.variant_id, state = 'unknown', reason = null`,
    [orgId, by.ids.uuid(), connectionId, stockKey, variant.id],
  );
  await tx.query(
    `insert into dirty_variants (org_id, variant_id, hint) values ($1, $2, 0)
     on conflict (org_id, variant_id) do update set version = dirty_variants.version + 1, hint = 0`,
    [orgId, variant.id],
  );
  return { kind: 'mapped', mappedAt: at.toISOString(), connectionId };
}
