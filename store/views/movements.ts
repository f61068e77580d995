/** Movements as the API lists them: newest first, by business time, then id. */
import type { Tx } from '../tx.ts';
import { beginnings } from './search.ts';

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

/** What more movements than this have in common is met soon on the way back from the newest; fewer are fetched and sorted. */
const rare = 2_000;

const named = (text: string) => `(${text} collate "C" >= b.least and ${text} collate "C" < b.below)`;

/** The movements a search names, each kind through its index, no more than one over `rare` of any kind and beginning. */
const namedMovements = `
  with b as materialized (select * from unnest($2::text[], $3::text[]) as b (least, below))
  select m.id from b cross join lateral (
    select x.id from movements x where x.org_id = $1 and x.reference is not null and ${named('x.reference')} limit $4) m
  union select m.id from b cross join lateral (
    select x.id from movements x where x.org_id = $1 and ${named('x.reason')} limit $4) m
  union select m.id from b
  cross join lateral (select v.id from variants v where v.org_id = $1 and ${named('v.sku')} limit $4) v
  cross join lateral (select x.id from movements x where x.org_id = $1 and x.variant_id = v.id limit $4) m
  limit $4`;

/** The same question asked of each movement in turn. */
const isNamed = `exists (
  select 1 from unnest($6::text[], $7::text[]) as b (least, below), variants v
  where v.org_id = m.org_id and v.id = m.variant_id and (${named('m.reference')} or ${named('m.reason')} or ${named('v.sku')}) offset 0)`;

interface Source {
  from: string;
  where: string;
  /** Parameters after the fourth. */
  values: unknown[];
}

/** The page alone, before anything is joined to it: so one index serves its order. */
const movementPage = ({ from, where }: Source) => `
  with page as materialized (
    select m.* from ${from} m
    where m.org_id = $1 and ($2::timestamptz is null or (m.business_at, m.id) < ($2::timestamptz, $3::uuid)) and ${where}
    order by m.business_at desc, m.id desc limit $4)
  select m.id, v.sku, m.units, m.kind, m.reason, m.reference, m.actor, m.effect_key as "effectKey",
    case when m.from_location is null then null else jsonb_build_object('location', f.code, 'bucket', m.from_bucket) end as "from",
    case when m.to_location is null then null else jsonb_build_object('location', t.code, 'bucket', m.to_bucket) end as "to",
    to_char(m.business_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "businessAt",
    to_char(m.recorded_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "recordedAt"
  from page m
  cross join lateral (select x.sku from variants x where x.org_id = m.org_id and x.id = m.variant_id offset 0) v
  left join locations f on f.org_id = m.org_id and f.id = m.from_location
  left join locations t on t.org_id = m.org_id and t.id = m.to_location
  order by m.business_at desc, m.id desc`;

const ofSku = 'm.variant_id = (select v.id from variants v where v.org_id = $1 and v.sku = $5)';

const these = `unnest($5::uuid[]) as n (id) cross join lateral (
      select x.* from movements x where x.org_id = $1 and x.id = n.id offset 0)`;

/** Where the page is taken from. */
async function sourceOf(tx: Tx, orgId: string, sku: string | null, search: string | null): Promise<Source> {
  const from = 'movements';
  if (!search) return sku === null ? { from, where: 'true', values: [] } : { from, where: ofSku, values: [sku] };
  const { least, below } = beginnings(search.normalize('NFC'));
  if (sku !== null) return { from, where: `${ofSku} and ${isNamed}`, values: [sku, least, below] };
  const { rows } = await tx.query<{ id: string }>(namedMovements, [orgId, least, below, rare + 1]);
  if (rows.length <= rare) return { from: these, where: 'true', values: [rows.map(({ id }) => id)] };
  return { from, where: `$5::text is null and ${isNamed}`, values: [null, least, below] };
}

/**
 * `search`: the beginning of the SKU, the reference or the reason, as typed or all in small or capital letters. `after`: [business time, id]
 * of the last row seen.
 */
export async function readMovements(
  tx: Tx,
  orgId: string,
  page: { sku: string | null; search: string | null; limit: number; after: [string, string] | null },
): Promise<{ items: MovementItem[]; next: [string, string] | null }> {
  const source = await sourceOf(tx, orgId, page.sku, page.search);
  const { rows } = await tx.query<MovementItem>(movementPage(source), [
    orgId,
    page.after?.[0] ?? null,
    page.after?.[1] ?? null,
    page.limit + 1,
    ...source.values,
  ]);
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: rows.length > page.limit && last ? [last.businessAt, last.id] : null };
}
