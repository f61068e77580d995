/**
 * Who offers the last units changes without a change of stock: a listing mapped or unmapped, a pause that ends, a connection that
 * goes. Whatever that concerns is marked, so that the next expansion judges it (scarcity.ts). Nothing where nobody shares out last units.
 *
 * Locks: rows of `dirty_variants` before any target, as the ledger does; rows of `dirty_policies` nobody holds while waiting for a target.
 */
import type { Tx } from '../tx.ts';

const shares = `(exists (select from policies where org_id = $1 and last_units is not null and valid_to is null)
  or exists (select from scarcity_episodes where org_id = $1 and valid_to is null))`;
const remark = 'on conflict (org_id, variant_id) do update set version = dirty_variants.version + 1, hint = 0';

/** To be called before the targets of these stock keys follow their listings. */
export async function markOfferChanges(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[],
): Promise<void> {
  await tx.query(
    `insert into dirty_variants (org_id, variant_id, hint)
     select distinct $1::uuid, v.id, 0 from targets t
     left join listings l on l.org_id = $1 and l.connection_id = $2 and l.stock_key = t.stock_key
     cross join lateral (values (t.variant_id), (l.variant_id)) as v (id)
     where t.org_id = $1 and t.connection_id = $2 and t.stock_key = any ($3) and v.id is not null and ${shares}
       and (t.variant_id is distinct from l.variant_id or t.state = 'paused'
         or t.read_only <> coalesce(l.not_writable is not null or l.fulfilled_by = 'channel', false))
     order by v.id ${remark}`,
    [orgId, connectionId, stockKeys],
  );
}

/**
 * Numbers of a connection can be written again: what is scarce and nobody's may become its own, and is then cut everywhere else.
 * So all of the organization is looked at: who has the last units is decided over all connections together.
 */
export async function markOffersOpen(tx: Tx, orgId: string): Promise<void> {
  await tx.query(
    `insert into dirty_policies as d (org_id, scope, scope_id) select $1::uuid, 'organization', $1::uuid where ${shares}
     on conflict (org_id, scope, scope_id) do update set version = d.version + 1`,
    [orgId],
  );
}

/** To be called before these listings are removed: whatever last units they had go elsewhere. */
export async function markOffersRemoved(tx: Tx, orgId: string, listingIds: readonly string[]): Promise<void> {
  await tx.query(
    `insert into dirty_variants (org_id, variant_id, hint)
     select distinct $1::uuid, variant_id, 0 from listings where org_id = $1 and id = any ($2::uuid[]) and variant_id is not null and ${shares}
     order by variant_id ${remark}`,
    [orgId, listingIds],
  );
}

/** It is gone: whatever last units it had go elsewhere. */
export async function markOffersGone(tx: Tx, orgId: string, connectionId: string): Promise<void> {
  await tx.query(
    `insert into dirty_variants (org_id, variant_id, hint)
     select $1::uuid, variant_id, 0 from scarcity_episodes where org_id = $1 and connection_id = $2 and valid_to is null
     order by variant_id ${remark}`,
    [orgId, connectionId],
  );
}
