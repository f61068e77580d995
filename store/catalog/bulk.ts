/**
 * Many SKUs at once: look-ups and the set-based merge of a product file. Rows travel as one array parameter per column
 * (one round trip, no temporary table and its catalogue churn).
 */
import type { LocationId, VariantId } from '#core/ids.ts';
import type { Tx } from '../tx.ts';

export interface FoundVariant {
  id: VariantId;
  isBundle: boolean;
}

export async function findVariants(tx: Tx, orgId: string, skus: readonly string[]): Promise<Map<string, FoundVariant>> {
  const { rows } = await tx.query<{ sku: string; id: VariantId; is_bundle: boolean }>(
    {
      name: 'variants_by_sku',
      // One by one through the key, whatever the planner thinks of a table it has not counted yet.
      text: `select s.sku, v.id, v.is_bundle from unnest($2::text[]) as s (sku)
       cross join lateral (select id, is_bundle from variants where org_id = $1 and sku = s.sku limit 1) v`,
    },
    [orgId, skus],
  );
  return new Map(rows.map(({ sku, id, is_bundle }) => [sku, { id, isBundle: is_bundle }]));
}

/** What is taken from the shelf for one unit of each of these: itself, or a bundle's parts of now. Unknown SKUs have no entry; a bundle without parts an empty one. */
export async function findParts(
  tx: Tx,
  orgId: string,
  skus: readonly string[],
): Promise<Map<string, { variantId: VariantId; title: string; parts: { variantId: VariantId; units: number }[] }>> {
  const { rows } = await tx.query<{
    sku: string;
    title: string;
    variantId: VariantId;
    parts: { variantId: VariantId; units: number }[];
  }>(
    `select v.sku, v.title, v.id as "variantId", case when v.is_bundle then coalesce((
         select jsonb_agg(jsonb_build_object('variantId', b.component_id, 'units', b.units) order by b.component_id)
         from bundle_components b where b.org_id = v.org_id and b.variant_id = v.id and b.valid_to is null), '[]')
       else jsonb_build_array(jsonb_build_object('variantId', v.id, 'units', 1)) end as parts
     from variants v where v.org_id = $1 and v.sku = any ($2::text[])`,
    [orgId, skus],
  );
  return new Map(rows.map(({ sku, ...found }) => [sku, found]));
}

/** Names that stand for one place alone. */
const onlyNames = (rows: readonly { name: string; id: LocationId }[]) =>
  rows
    .filter(({ name }) => rows.filter((other) => other.name === name).length === 1)
    .map(({ name, id }) => [name, id] as const);

/** `byCode` knows a place by its name too, as channels' exports tell it, unless the name is another's code. */
export async function findLocations(
  tx: Tx,
  orgId: string,
): Promise<{ byCode: Map<string, LocationId>; defaultId: LocationId | null; defaultCode: string | null }> {
  const { rows } = await tx.query<{ code: string; name: string; id: LocationId; is_default: boolean }>(
    'select code, name, id, is_default from locations where org_id = $1',
    [orgId],
  );
  const main = rows.find(({ is_default }) => is_default);
  return {
    byCode: new Map([...onlyNames(rows), ...rows.map(({ code, id }) => [code, id] as const)]),
    defaultId: main?.id ?? null,
    defaultCode: main?.code ?? null,
  };
}

export interface Product {
  id: string;
  title: string;
  barcode: string | null;
  /** Empty: not a bundle. */
  components: { variantId: string; units: number }[];
}

export async function readProducts(tx: Tx, orgId: string, skus: readonly string[]): Promise<Map<string, Product>> {
  const { rows } = await tx.query<Product & { sku: string }>(
    `select v.sku, v.id, v.title, v.barcode, case when v.is_bundle then coalesce((
         select jsonb_agg(jsonb_build_object('variantId', b.component_id, 'units', b.units) order by b.component_id)
         from bundle_components b where b.org_id = v.org_id and b.variant_id = v.id and b.valid_to is null), '[]') else '[]' end as components
     from variants v where v.org_id = $1 and v.sku = any ($2::text[])`,
    [orgId, skus],
  );
  return new Map(rows.map(({ sku, ...product }) => [sku, product]));
}

export interface ProductMerge {
  id: string;
  sku: string;
  title: string | null;
  barcode: string | null;
}

/** Inserts or updates by SKU; null keeps what is there. Returns the SKUs that changed, with their ids. Sorted by SKU, so that two imports cannot deadlock. */
export async function mergeProducts(
  tx: Tx,
  orgId: string,
  products: readonly ProductMerge[],
  now: Date,
): Promise<Map<string, string>> {
  const { rows } = await tx.query<{ sku: string; id: string }>(
    `insert into variants (org_id, id, sku, title, barcode, created_at, updated_at)
     select $1, id, sku, coalesce(title, ''), barcode, $6, $6
     from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as given (id, sku, title, barcode) order by sku collate "C"
     on conflict (org_id, sku) do update set
       title = case when excluded.title = '' then variants.title else excluded.title end,
       barcode = coalesce(excluded.barcode, variants.barcode),
       updated_at = excluded.updated_at
     where (excluded.title <> '' and variants.title is distinct from excluded.title)
        or (excluded.barcode is not null and variants.barcode is distinct from excluded.barcode)
     returning sku, id`,
    [
      orgId,
      products.map(({ id }) => id),
      products.map(({ sku }) => sku),
      products.map(({ title }) => title),
      products.map(({ barcode }) => barcode),
      now,
    ],
  );
  return new Map(rows.map(({ sku, id }) => [sku, id]));
}

/**
 * The bundle's composition from now on: closes rows that are gone or have other units, opens the new ones, marks the bundle dirty.
 * `has_stock`: goods of its own would be lost from sight. @returns whether anything changed
 */
export async function setComponents(
  tx: Tx,
  orgId: string,
  variantId: string,
  components: readonly { variantId: string; units: number }[],
  now: Date,
): Promise<'changed' | 'same' | 'has_stock'> {
  const { rows: before } = await tx.query<{ component_id: string; units: number }>(
    'select component_id, units from bundle_components where org_id = $1 and variant_id = $2 and valid_to is null order by component_id for update',
    [orgId, variantId],
  );
  const wanted = new Map(components.map((component) => [component.variantId, component.units]));
  if (before.length === wanted.size && before.every(({ component_id, units }) => wanted.get(component_id) === units))
    return 'same';
  if (wanted.size > 0) {
    const { rows: stock } = await tx.query(
      'select 1 from positions where org_id = $1 and variant_id = $2 and sellable + damaged + quarantine + expired + incoming > 0 limit 1',
      [orgId, variantId],
    );
    if (stock.length > 0) return 'has_stock';
  }
  await tx.query(
    'update bundle_components set valid_to = greatest($3, valid_from) where org_id = $1 and variant_id = $2 and valid_to is null',
    [orgId, variantId, now],
  );
  await tx.query(
    `insert into bundle_components (org_id, variant_id, component_id, units, valid_from)
     select $1, $2, component_id, units, $5 from unnest($3::uuid[], $4::int[]) as given (component_id, units)
     on conflict (org_id, variant_id, component_id, valid_from) do update set units = excluded.units, valid_to = null`,
    [orgId, variantId, [...wanted.keys()], [...wanted.values()], now],
  );
  await tx.query('update variants set is_bundle = $3, updated_at = $4 where org_id = $1 and id = $2', [
    orgId,
    variantId,
    wanted.size > 0,
    now,
  ]);
  await markDirty(tx, orgId, [variantId]);
  return 'changed';
}

/** Unmapped listings whose channel SKU is exactly one of these become listings of that variant; their numbers must become right. */
export async function mapBySku(tx: Tx, orgId: string, skus: readonly string[]): Promise<{ connectionId: string }[]> {
  const { rows } = await tx.query<{ variant_id: string; connection_id: string; stock_key: string }>(
    `update listings l set variant_id = v.id, updated_at = clock_timestamp() from variants v
     where l.org_id = $1 and v.org_id = $1 and v.sku = l.channel_sku and l.variant_id is null and v.sku = any ($2::text[])
       and not exists (select 1 from targets t where t.org_id = l.org_id and t.connection_id = l.connection_id and t.stock_key = l.stock_key
         and t.variant_id is not null and t.variant_id <> v.id)
     returning v.id as variant_id, l.connection_id, l.stock_key`,
    [orgId, skus],
  );
  if (rows.length === 0) return [];
  await tx.query(
    `update targets t set variant_id = given.variant_id, state = 'unknown', reason = null, state_at = clock_timestamp()
     from unnest($2::uuid[], $3::uuid[], $4::text[]) as given (variant_id, connection_id, stock_key)
     where t.org_id = $1 and t.connection_id = given.connection_id and t.stock_key = given.stock_key`,
    [orgId, rows.map((row) => row.variant_id), rows.map((row) => row.connection_id), rows.map((row) => row.stock_key)],
  );
  await markDirty(tx, orgId, [...new Set(rows.map((row) => row.variant_id))]);
  return [...new Set(rows.map((row) => row.connection_id))].map((connectionId) => ({ connectionId }));
}

async function markDirty(tx: Tx, orgId: string, variantIds: readonly string[]): Promise<void> {
  await tx.query(
    `insert into dirty_variants (org_id, variant_id, hint) select $1, id, 0 from unnest($2::uuid[]) as given (id) order by id
     on conflict (org_id, variant_id) do update set version = dirty_variants.version + 1, hint = 0`,
    [orgId, variantIds],
  );
}
