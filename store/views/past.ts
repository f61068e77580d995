/** Versioned rows as they stood at a business time: what bundles were made of, and the policies in force. */
import type { PolicyFields, PolicyScope } from '#core/stock/publishable.ts';
import type { Tx } from '../tx.ts';

const inForce = (row: string) => `${row}.valid_from <= $2 and (${row}.valid_to is null or ${row}.valid_to > $2)`;

export interface PastPart {
  whole: string;
  variantId: string;
  sku: string;
  units: number;
}

/** The parts of these variants at that time, by SKU; a variant without rows was plain. */
export async function readPartsAt(
  tx: Tx,
  orgId: string,
  variantIds: readonly string[],
  at: number,
): Promise<PastPart[]> {
  const { rows } = await tx.query<PastPart>(
    `select b.variant_id as whole, b.component_id as "variantId", v.sku, b.units
     from bundle_components b join variants v on v.org_id = b.org_id and v.id = b.component_id
     where b.org_id = $1 and ${inForce('b')} and b.variant_id = any ($3::uuid[]) order by v.sku`,
    [orgId, new Date(at), variantIds],
  );
  return rows;
}

/** The policies of these subjects at that time. */
export async function readPoliciesAt(
  tx: Tx,
  orgId: string,
  scopeIds: readonly string[],
  at: number,
): Promise<{ scope: PolicyScope; scopeId: string; fields: PolicyFields }[]> {
  const { rows } = await tx.query<{ scope: PolicyScope; scopeId: string; fields: PolicyFields }>(
    `select p.scope, p.scope_id as "scopeId", jsonb_build_object('buffer', p.buffer, 'shareBp', p.share_bp, 'cap', p.cap) as fields
     from policies p where p.org_id = $1 and ${inForce('p')} and p.scope_id = any ($3::uuid[])`,
    [orgId, new Date(at), scopeIds],
  );
  return rows;
}
