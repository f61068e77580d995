/** Orders of no connection, by the caller's own id. Their identity is taken under an advisory lock: there may be no row to lock yet. */
import type { Tx } from '../tx.ts';

/** Waits for any other report of this id, then says which order it already is; null: none. */
export async function lockReportedOrder(tx: Tx, orgId: string, externalId: string): Promise<string | null> {
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('reported order:' || $1 || ':' || $2, 0))`, [
    orgId,
    externalId,
  ]);
  const { rows } = await tx.query<{ id: string }>(
    'select id from orders where org_id = $1 and connection_id is null and external_id = $2',
    [orgId, externalId],
  );
  return rows[0]?.id ?? null;
}
