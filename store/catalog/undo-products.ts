/** Takes back what a product file did to one product. */
import type { Tx } from '../tx.ts';
import { setComponents } from './bulk.ts';

interface Fields {
  title: string;
  barcode: string | null;
  components: { variantId: string; units: number }[];
}

interface Written {
  variantId: string;
  /** null: the product was new, and goes when nothing refers to it. */
  before: Fields | null;
  /** What the file wrote; null: it left that alone. */
  after: { [Field in keyof Fields]: Fields[Field] | null };
}

const changedSince = 'was changed since, or is gone';
/** Order of parts and of keys does not matter. */
const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);
const canonical = (value: unknown): string =>
  JSON.stringify(
    Array.isArray(value) ? value.map(({ variantId, units }) => `${variantId}:${units}`).toSorted() : value,
  );

/** What the file wrote becomes what it was, all or nothing; what others wrote stays. @returns null: done; else why not */
export async function takeBackProduct(
  tx: Tx,
  orgId: string,
  { variantId, before, after }: Written,
  now: Date,
): Promise<string | null> {
  if (before === null) return remove(tx, orgId, variantId);
  const found = await readFields(tx, orgId, variantId);
  if (found === null) return changedSince;
  const wrote = (field: keyof Fields): boolean => after[field] != null && !same(after[field], before[field]);
  const fields = (['title', 'barcode', 'components'] as const).filter(wrote);
  if (fields.some((field) => !same(found[field], after[field]) && !same(found[field], before[field])))
    return changedSince;
  if (fields.includes('components')) {
    const set = await setComponents(tx, orgId, variantId, before.components, now);
    if (set === 'has_stock') return 'has stock of its own by now; it cannot be a bundle again';
  }
  const { title, barcode } = { ...found, ...Object.fromEntries(fields.map((field) => [field, before[field]])) };
  await tx.query('update variants set title = $3, barcode = $4, updated_at = $5 where org_id = $1 and id = $2', [
    orgId,
    variantId,
    title,
    barcode,
    now,
  ]);
  return null;
}

async function readFields(tx: Tx, orgId: string, variantId: string): Promise<Fields | null> {
  const { rows } = await tx.query<Fields>(
    `select title, barcode, coalesce((
       select jsonb_agg(jsonb_build_object('variantId', b.component_id, 'units', b.units))
       from bundle_components b where b.org_id = v.org_id and b.variant_id = v.id and b.valid_to is null), '[]') as components
     from variants v where org_id = $1 and id = $2 for no key update`,
    [orgId, variantId],
  );
  return rows[0] ?? null;
}

/** Goes with its own bundle rows; anything else that refers to it keeps it. */
async function remove(tx: Tx, orgId: string, variantId: string): Promise<string | null> {
  const { rows } = await tx.query<{ why: string }>(
    `select case
       when exists (select from movements where org_id = $1 and variant_id = $2) then 'it has movements'
       when exists (select from order_lines where org_id = $1 and variant_id = $2) then 'it was ordered'
       when exists (select from listings where org_id = $1 and variant_id = $2) then 'a listing stands for it'
       when exists (select from bundle_components where org_id = $1 and component_id = $2 and valid_to is null) then 'a bundle holds it'
     end as why`,
    [orgId, variantId],
  );
  const why = rows[0]?.why;
  if (why) return `${why} by now`;
  await tx.query('savepoint product');
  try {
    await tx.query('delete from bundle_components where org_id = $1 and variant_id = $2', [orgId, variantId]);
    await tx.query('delete from dirty_variants where org_id = $1 and variant_id = $2', [orgId, variantId]);
    await tx.query('delete from variants where org_id = $1 and id = $2', [orgId, variantId]);
    await tx.query('release savepoint product');
    return null;
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith('23')) throw error;
    await tx.query('rollback to savepoint product');
    return 'something else refers to it by now';
  }
}
