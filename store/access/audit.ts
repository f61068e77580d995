/** Who changed what, kept for ever: one row per act of a person or key, in the transaction of the act itself. */
import type { Tx } from '../tx.ts';

export interface Act {
  id: string;
  /** `cli`, `key:<id>`, `due` (time did it). */
  actor: string;
  /** A verb on a noun: `connection.pause`, `pushes.stop`. */
  action: string;
  /** Id of what it was done to. */
  subject: string;
  details?: Record<string, unknown>;
}

export async function audit(tx: Tx, orgId: string, act: Act): Promise<void> {
  await tx.query('insert into audit (org_id, id, actor, action, subject, details) values ($1, $2, $3, $4, $5, $6)', [
    orgId,
    act.id,
    act.actor,
    act.action,
    act.subject,
    JSON.stringify(act.details ?? {}),
  ]);
}
