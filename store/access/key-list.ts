/** The keys of an organization for people who manage them: never the key, which is kept nowhere. */
import type { Tx } from '../tx.ts';

export interface KeyItem {
  id: string;
  name: string;
  /** null: unlimited */
  ratePerMinute: number | null;
  createdAt: string;
  lastUsedAt: string | null;
  expiresAt: string | null;
  revokedAt: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** All keys, revoked ones too, oldest first. */
export async function listApiKeys(tx: Tx, orgId: string): Promise<KeyItem[]> {
  const { rows } = await tx.query<KeyItem>(
    `select id, name, rate_per_minute as "ratePerMinute", ${stamp('created_at')} as "createdAt", ${stamp('last_used_at')} as "lastUsedAt",
       ${stamp('expires_at')} as "expiresAt", ${stamp('revoked_at')} as "revokedAt"
     from api_keys where org_id = $1 order by created_at, id`,
    [orgId],
  );
  return rows;
}

/** Refused from now on; a second call keeps the first time. False when the organization has no such key. */
export async function revokeApiKey(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update api_keys set revoked_at = coalesce(revoked_at, $3) where org_id = $1 and id = $2',
    [orgId, id, new Date(now)],
  );
  return rowCount === 1;
}
