/** Takes back what a product file did to one product. */
import type { Tx } from '../tx.ts';
import { setComponents } from './bulk.ts';

interface Fields {
  title: string;
  barcode: string | null;
  components: { variantId: string; units: number }[];
}

/**
 * @param before null: the product was new, and goes when nothing refers to it
 * @param after what the file wrote; null = it wrote nothing
 * @returns null: done; else why not
 */
export async function takeBackProduct(
  tx: Tx,
  orgId: string,
  variantId: string,
  before: Fields | null,
  after: { title: string | null; barcode: string | null },
  now: Date,
): Promise<string | null> {
  if (before === null) return remove(tx, orgId, variantId);
  const { rowCount } = await tx.query(
    `update variants set title = $3, barcode = $4, updated_at = $7 where org_id = $1 and id = $2
       and ($5::text is null or $5 = '' or title = $5) and ($6::text is null or barcode is not distinct from $6)`,
    [orgId, variantId, before.title, before.barcode, after.title, after.barcode, now],
  );
  if (rowCount === 0) return 'was changed since, or is gone';
  const set = await setComponents(tx, orgId, variantId, before.components, now);
  return set === 'has_stock' ? 'has stock of its own by now; it cannot be a bundle again' : null;
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
