/** Movements as the API lists them: newest first, by business time, then id. */
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export interface MovementItem {
  id: string;
  sku: string;
  units: number;
  from: { location: string; bucket: string } | null;
  to: { location: string; bucket: string } | null;
  kind: string;
  reason: string;
  reference: string | null;
  actor: string;
  effectKey: string;
  businessAt: string;
  recordedAt: string;
}

/** `after`: [business time, id] of the last row seen. */
export async function readMovements(
  tx: Tx,
  orgId: string,
  page: { sku: string | null; search: string | null; limit: number; after: [string, string] | null },
): Promise<{ items: MovementItem[]; next: [string, string] | null }> {
  const { rows } = await tx.query<MovementItem & { position: string }>(
    `select m.id, v.sku, m.units, m.kind, m.reason, m.reference, m.actor, m.effect_key as "effectKey",
       case when m.from_location is null then null else jsonb_build_object('location', f.code, 'bucket', m.from_bucket) end as "from",
       case when m.to_location is null then null else jsonb_build_object('location', t.code, 'bucket', m.to_bucket) end as "to",
       to_char(m.business_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "businessAt",
       to_char(m.recorded_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "recordedAt"
     from movements m
     join variants v on v.org_id = m.org_id and v.id = m.variant_id
     left join locations f on f.org_id = m.org_id and f.id = m.from_location
     left join locations t on t.org_id = m.org_id and t.id = m.to_location
     where m.org_id = $1 and ($2::text is null or v.sku = $2)
       and ($3::timestamptz is null or (m.business_at, m.id) < ($3::timestamptz, $4::uuid))
       and ($6::text is null or v.sku ilike $6 or m.reference ilike $6 or m.reason ilike $6)
     order by m.business_at desc, m.id desc limit $5`,
    [orgId, page.sku, page.after?.[0] ?? null, page.after?.[1] ?? null, page.limit + 1, likeAnywhere(page.search)],
  );
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: rows.length > page.limit && last ? [last.businessAt, last.id] : null };
}
