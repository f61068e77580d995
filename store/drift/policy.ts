/** Drift policies as they stand now; set by store/catalog/policies.ts, whose versions explain the past. */
import type { DriftPolicy } from '#core/stock/drift.ts';
import type { Tx } from '../tx.ts';

export interface DriftPolicyItem {
  scope: string;
  id: string;
  /** What people call it. */
  name: string | null;
  drift: DriftPolicy;
}

/** Widest first; empty: everything is healed. */
export async function readDriftPolicies(tx: Tx, orgId: string): Promise<DriftPolicyItem[]> {
  const { rows } = await tx.query<DriftPolicyItem>(
    `select p.scope, p.scope_id as id, p.drift, coalesce(o.name, c.name, l.title) as name
     from policies p left join organizations o on p.scope = 'organization' and o.org_id = p.scope_id
       left join connections c on p.scope = 'connection' and c.org_id = p.org_id and c.id = p.scope_id
       left join listings l on p.scope = 'listing' and l.org_id = p.org_id and l.id = p.scope_id
     where p.org_id = $1 and p.valid_to is null and p.drift is not null
     order by array_position(array['organization', 'connection', 'variant', 'listing', 'target'], p.scope), p.scope_id`,
    [orgId],
  );
  return rows;
}

/** Whether there is such a connection or listing to have a policy of its own. */
export async function hasSubject(tx: Tx, orgId: string, scope: 'connection' | 'listing', id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    scope === 'connection'
      ? 'select from connections where org_id = $1 and id::text = $2 and deleted_at is null'
      : 'select from listings where org_id = $1 and id::text = $2',
    [orgId, id],
  );
  return rowCount === 1;
}
