/** API keys and organizations. A key is shown once; only its sha256 is stored. */
import type { Store, Tx } from '../tx.ts';

export interface FoundKey {
  orgId: string;
  keyId: string;
  /** null: unlimited */
  ratePerMinute: number | null;
}

/** Who calls with a key of this sha256; null for an unknown, revoked or expired one. System scope: returns ids only. */
export async function findApiKey(store: Store, hash: Uint8Array): Promise<FoundKey | null> {
  const { rows } = await store.system((tx) =>
    tx.query<{ org_id: string; id: string; rate_per_minute: number | null }>(
      { name: 'find_api_key', text: 'select * from system_find_api_key($1)' },
      [Buffer.from(hash)],
    ),
  );
  return rows[0] ? { orgId: rows[0].org_id, keyId: rows[0].id, ratePerMinute: rows[0].rate_per_minute } : null;
}

export async function createOrganization(
  tx: Tx,
  organization: { id: string; name: string; slug: string },
): Promise<void> {
  await tx.query('insert into organizations (org_id, name, slug) values ($1, $2, $3) on conflict do nothing', [
    organization.id,
    organization.name,
    organization.slug,
  ]);
}

export async function createApiKey(
  tx: Tx,
  orgId: string,
  key: { id: string; name: string; hash: Uint8Array; ratePerMinute: number | null },
): Promise<void> {
  await tx.query(
    'insert into api_keys (org_id, id, name, hash, rate_per_minute) values ($1, $2, $3, $4, $5) on conflict do nothing',
    [orgId, key.id, key.name, Buffer.from(key.hash), key.ratePerMinute],
  );
}
