/** The rows behind `Idempotency-Key` (server/api/idempotency.ts has the rules). */
import type { Store } from '../tx.ts';

interface Scope {
  orgId: string;
  caller: string;
  method: string;
  path: string;
  key: string;
}

type Claim =
  | { kind: 'mine' }
  | { kind: 'replay'; status: number; response: unknown }
  | { kind: 'mismatch' }
  | { kind: 'running' };

const where = 'org_id = $1 and caller = $2 and method = $3 and path = $4 and key = $5';
const values = (scope: Scope) => [scope.orgId, scope.caller, scope.method, scope.path, scope.key];

export function createIdempotency(store: Store) {
  return {
    /** Takes the key for this request, or says what became of the first one. A row left by a dead process is taken over after `takeOverAfterMs`. */
    claim: (scope: Scope, bodyHash: Uint8Array, takeOverAfterMs: number): Promise<Claim> =>
      store.tenant(scope.orgId, async (tx) => {
        const hash = Buffer.from(bodyHash);
        const { rows: taken } = await tx.query(
          `insert into idempotency_keys (org_id, caller, method, path, key, body_hash) values ($1, $2, $3, $4, $5, $6)
           on conflict (org_id, caller, method, path, key) do update set created_at = clock_timestamp()
             where idempotency_keys.status is null and idempotency_keys.body_hash = excluded.body_hash
               and idempotency_keys.created_at < clock_timestamp() - $7 * interval '1 millisecond'
           returning 1`,
          [...values(scope), hash, takeOverAfterMs],
        );
        if (taken.length > 0) return { kind: 'mine' };
        const { rows } = await tx.query<{ body_hash: Buffer; status: number | null; response: unknown }>(
          `select body_hash, status, response from idempotency_keys where ${where}`,
          values(scope),
        );
        const first = rows[0];
        if (!first) return { kind: 'running' };
        if (!first.body_hash.equals(hash)) return { kind: 'mismatch' };
        return first.status === null
          ? { kind: 'running' }
          : { kind: 'replay', status: first.status, response: first.response };
      }),
    keep: (scope: Scope, status: number, response: unknown): Promise<void> =>
      store.tenant(scope.orgId, async (tx) => {
        await tx.query(`update idempotency_keys set status = $6, response = $7 where ${where}`, [
          ...values(scope),
          status,
          JSON.stringify(response),
        ]);
      }),
    forget: (scope: Scope): Promise<void> =>
      store.tenant(scope.orgId, async (tx) => {
        await tx.query(`delete from idempotency_keys where ${where}`, values(scope));
      }),
  };
}

export type Idempotency = ReturnType<typeof createIdempotency>;
