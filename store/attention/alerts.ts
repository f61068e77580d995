/** Alerts: what a person must know. One open row per dedupe key; the same again raises its count. */
import type { Tx } from '../tx.ts';

export interface NewAlert {
  id: string;
  kind: string;
  severity: 'info' | 'warning' | 'critical';
  /** What happened, what it means for stock, what to do. */
  message: string;
  subject: { kind: string; id: string } | null;
  dedupeKey: string;
  details?: Record<string, unknown>;
  now: number;
}

/** Raises or repeats; returns the open alert's id. Also tells the event feed. */
export async function raiseAlert(tx: Tx, orgId: string, alert: NewAlert): Promise<string> {
  const { rows } = await tx.query<{ id: string; count: number }>(
    `insert into alerts (org_id, id, kind, severity, message, subject_kind, subject_id, dedupe_key, details, created_at, last_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
     on conflict (org_id, dedupe_key) where resolved_at is null
     do update set count = alerts.count + 1, last_at = excluded.last_at, message = excluded.message, details = excluded.details, severity = excluded.severity
     returning id, count`,
    [
      orgId,
      alert.id,
      alert.kind,
      alert.severity,
      alert.message,
      alert.subject?.kind ?? null,
      alert.subject?.id ?? null,
      alert.dedupeKey,
      JSON.stringify(alert.details ?? {}),
      new Date(alert.now),
    ],
  );
  const row = rows[0] ?? { id: alert.id, count: 1 };
  await tx.query(`insert into events (org_id, type, key, version) values ($1, 'alert', $2, $3)`, [
    orgId,
    row.id,
    row.count,
  ]);
  return row.id;
}

/** Closes the open alert of this key, if there is one. */
export async function resolveAlert(tx: Tx, orgId: string, dedupeKey: string, now: number): Promise<void> {
  const { rows } = await tx.query<{ id: string; count: number }>(
    'update alerts set resolved_at = $3 where org_id = $1 and dedupe_key = $2 and resolved_at is null returning id, count',
    [orgId, dedupeKey, new Date(now)],
  );
  if (rows[0])
    await tx.query(`insert into events (org_id, type, key, version) values ($1, 'alert', $2, $3)`, [
      orgId,
      rows[0].id,
      rows[0].count + 1,
    ]);
}
