/**
 * Policies (buffer, share, cap): versioned rows, so that a past publishable number can be explained.
 * A change closes the open version, opens the next and marks one row per policy dirty; the lanes find the targets.
 */
import type { Tx } from '../tx.ts';

export interface PolicyFields {
  buffer?: number | null;
  shareBp?: number | null;
  cap?: number | null;
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
  const { rows } = await tx.query<{ buffer: number | null; share_bp: number | null; cap: number | null }>(
    'select buffer, share_bp, cap from policies where org_id = $1 and scope = $2 and scope_id = $3 and valid_to is null',
    [orgId, scope, scopeId],
  );
  const before = rows[0] ?? { buffer: null, share_bp: null, cap: null };
  const after = {
    buffer: fields.buffer === undefined ? before.buffer : fields.buffer,
    share_bp: fields.shareBp === undefined ? before.share_bp : fields.shareBp,
    cap: fields.cap === undefined ? before.cap : fields.cap,
  };
  if (before.buffer === after.buffer && before.share_bp === after.share_bp && before.cap === after.cap) return true;
  const at = new Date(by.now);
  await tx.query(
    'update policies set valid_to = greatest($4, valid_from) where org_id = $1 and scope = $2 and scope_id = $3 and valid_to is null',
    [orgId, scope, scopeId, at],
  );
  await tx.query(
    'insert into policies (org_id, id, scope, scope_id, buffer, share_bp, cap, valid_from, actor) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)',
    [orgId, by.id, scope, scopeId, after.buffer, after.share_bp, after.cap, at, by.actor],
  );
  await tx.query(
    `insert into dirty_policies (org_id, scope, scope_id) values ($1, $2, $3)
     on conflict (org_id, scope, scope_id) do update set version = dirty_policies.version + 1`,
    [orgId, scope, scopeId],
  );
  return true;
}
