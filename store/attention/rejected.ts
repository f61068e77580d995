/**
 * Alerts of refused numbers: one per listing's number up to 20 of a connection, and one for the connection beyond, with the
 * count. A feed of 5,000 refused rows is 21 alerts.
 */
import type { Tx } from '../tx.ts';
import { type Raising, raiseAlerts, resolveAlerts } from './alerts.ts';

export interface Refusal {
  targetId: string;
  message: string;
  details?: Record<string, unknown>;
}

export const MOST_SINGLE = 20;

/** The targets already stand `rejected` in this transaction: the count is theirs. */
export async function tellRefused(
  tx: Tx,
  orgId: string,
  connectionId: string,
  refusals: readonly Refusal[],
  raising: Raising,
): Promise<void> {
  if (refusals.length === 0) return;
  const open = await openSingles(tx, orgId, connectionId);
  const known = refusals.filter(({ targetId }) => open.has(targetId));
  const fresh = refusals.filter(({ targetId }) => !open.has(targetId));
  const single = [...known, ...fresh.slice(0, Math.max(0, MOST_SINGLE - open.size))];
  await raiseAlerts(
    tx,
    orgId,
    single.map(({ targetId, message, details }) => ({
      kind: 'listing_rejected',
      message,
      subject: { kind: 'target', id: targetId },
      details: { ...details, connectionId },
    })),
    raising,
  );
  if (single.length === refusals.length) return;
  const rejected = await countRejected(tx, orgId, connectionId);
  const last = refusals.at(-1)?.message ?? '';
  await raiseAlerts(
    tx,
    orgId,
    [
      {
        kind: 'listings_rejected',
        message: `The channel refuses ${rejected} numbers of this connection; the last: ${last} ${MOST_SINGLE} of them have an alert of their own; the rest stands with the listings, each with the channel's words.`,
        subject: { kind: 'connection', id: connectionId },
        details: { rejected },
      },
    ],
    raising,
  );
}

/** These numbers are right again. The connection's alert ends with the last rejected one. */
export async function settleRefused(
  tx: Tx,
  orgId: string,
  connectionId: string,
  targetIds: readonly string[],
  now: number,
): Promise<void> {
  if (targetIds.length === 0) return;
  await resolveAlerts(tx, orgId, 'listing_rejected', targetIds, now);
  const { rows } = await tx.query<{ over: boolean }>(
    `select not exists (select from targets t where t.org_id = $1 and t.connection_id = $2 and t.state = 'rejected') as over
     from alerts where org_id = $1 and dedupe_key = 'listings_rejected:' || $2::uuid and resolved_at is null`,
    [orgId, connectionId],
  );
  if (rows[0]?.over) await resolveAlerts(tx, orgId, 'listings_rejected', [connectionId], now);
}

async function openSingles(tx: Tx, orgId: string, connectionId: string): Promise<Set<string>> {
  const { rows } = await tx.query<{ subject_id: string }>(
    `select subject_id from alerts where org_id = $1 and kind = 'listing_rejected' and resolved_at is null and details ->> 'connectionId' = $2`,
    [orgId, connectionId],
  );
  return new Set(rows.map(({ subject_id }) => subject_id));
}

async function countRejected(tx: Tx, orgId: string, connectionId: string): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    `select count(*)::int as n from targets where org_id = $1 and connection_id = $2 and state = 'rejected'`,
    [orgId, connectionId],
  );
  return rows[0]?.n ?? 0;
}
