/**
 * Policies (buffer, share, cap): versioned rows, so that a past publishable number can be explained.
 * A change closes the open version, opens the next and marks one row per policy dirty; the lanes find the targets.
 */
import { markPolicyDirty } from '../listings/expand.ts';
import type { Tx } from '../tx.ts';

export interface PolicyFields {
  buffer?: number | null;
  shareBp?: number | null;
  cap?: number | null;
  /** Scarcity (core/stock/scarcity.ts): at this many or fewer; 0 = never. */
  lastUnits?: number | null;
  lastUnitsTo?: 'priority' | 'sales' | null;
  /** What to do about a number somebody changed at the channel (core/stock/drift.ts). */
  drift?: 'heal' | 'ask' | 'adopt' | null;
}

interface PolicyRow {
  buffer: number | null;
  share_bp: number | null;
  cap: number | null;
  last_units: number | null;
  last_units_to: string | null;
  drift: string | null;
}

export type PolicySubject =
  | { variantSku: string }
  | { scope: 'organization' | 'connection' | 'variant' | 'listing' | 'target'; scopeId: string };

/**
 * Sets the named fields and keeps the others. The same values again write nothing. False when the SKU is unknown.
 * Locks: an advisory lock per subject (two first-ever versions would collide), then the policy row.
 */
export async function setPolicy(
  tx: Tx,
  orgId: string,
  subject: PolicySubject,
  fields: PolicyFields,
  by: { actor: string; now: number; id: string },
): Promise<boolean> {
  let scope = 'variant';
  let scopeId: string;
  if ('variantSku' in subject) {
    const { rows } = await tx.query<{ id: string }>('select id from variants where org_id = $1 and sku = $2', [
      orgId,
      subject.variantSku,
    ]);
    if (!rows[0]) return false;
    scopeId = rows[0].id;
  } else {
    scope = subject.scope;
    scopeId = subject.scopeId;
  }
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('policy:' || $1 || ':' || $2, 0))`, [orgId, scopeId]);
  const { rows } = await tx.query<PolicyRow>(
    `select buffer, share_bp, cap, last_units, last_units_to, drift from policies
     where org_id = $1 and scope = $2 and scope_id = $3 and valid_to is null`,
    [orgId, scope, scopeId],
  );
  const before = rows[0] ?? {
    buffer: null,
    share_bp: null,
    cap: null,
    last_units: null,
    last_units_to: null,
    drift: null,
  };
  const after = { ...before, ...named(fields) };
  if (JSON.stringify(before) === JSON.stringify(after)) return true;
  const at = new Date(by.now);
  await tx.query(
    'update policies set valid_to = greatest($4, valid_from) where org_id = $1 and scope = $2 and scope_id = $3 and valid_to is null',
    [orgId, scope, scopeId, at],
  );
  await tx.query(
    `insert into policies (org_id, id, scope, scope_id, buffer, share_bp, cap, last_units, last_units_to, valid_from, actor, drift)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      orgId,
      by.id,
      scope,
      scopeId,
      after.buffer,
      after.share_bp,
      after.cap,
      after.last_units,
      after.last_units_to,
      at,
      by.actor,
      after.drift,
    ],
  );
  await markPolicyDirty(tx, orgId, scope, scopeId);
  // Who has the last units is decided over all connections together.
  if (scope === 'connection' && after.last_units !== before.last_units)
    await markPolicyDirty(tx, orgId, 'organization', orgId);
  return true;
}

/** The columns of the fields that are named. */
function named(fields: PolicyFields): Partial<PolicyRow> {
  return {
    ...(fields.buffer !== undefined && { buffer: fields.buffer }),
    ...(fields.shareBp !== undefined && { share_bp: fields.shareBp }),
    ...(fields.cap !== undefined && { cap: fields.cap }),
    ...(fields.lastUnits !== undefined && { last_units: fields.lastUnits }),
    ...(fields.lastUnitsTo !== undefined && { last_units_to: fields.lastUnitsTo }),
    ...(fields.drift !== undefined && { drift: fields.drift }),
  };
}
