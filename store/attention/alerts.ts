/**
 * Alerts: what a person must know. At most one is open per key (kind and what it is about): the same again raises its
 * count, and makes it unread when it now says something else. The ledger writes its own alerts by the same rule, in the
 * one statement that writes everything of a command (`ledger_book`).
 *
 * Exactly once under concurrency: `alerts_open` is unique, and rows are locked in the order of their keys.
 */
import type { Tx } from '../tx.ts';
import { type AlertKind, alertKinds, type Severity } from './kinds.ts';

export interface Alert {
  kind: AlertKind;
  /** What happened, what it means for stock, what to do. */
  message: string;
  subject: { kind: string; id: string };
  /** What makes it the same alert; the subject's id unless given. */
  on?: string;
  /** Only where it depends on the case; else the kind's own. */
  severity?: Severity;
  details?: Record<string, unknown>;
}

export interface Raising {
  ids: { uuid(): string };
  now: number;
}

const keyOf = (kind: AlertKind, on: string): string => `${kind}:${on}`;

/** Raises or repeats, and tells the event feed. Of equal ones the last counts. @returns ids of the open alerts, in the order of their keys */
export async function raiseAlerts(
  tx: Tx,
  orgId: string,
  alerts: readonly Alert[],
  { ids, now }: Raising,
): Promise<string[]> {
  if (alerts.length === 0) return [];
  const byKey = new Map(alerts.map((alert) => [keyOf(alert.kind, alert.on ?? alert.subject.id), alert]));
  const drafts = [...byKey].map(([key, { kind, message, subject, severity, details = {} }]) => ({
    id: ids.uuid(),
    kind,
    severity: severity ?? alertKinds[kind].severity,
    message,
    subject_kind: subject.kind,
    subject_id: subject.id,
    dedupe_key: key,
    details,
  }));
  const { rows } = await tx.query<{ id: string }>(
    {
      name: 'alerts_raise',
      text: `
    with raised as (
      insert into alerts as a (org_id, id, kind, severity, message, subject_kind, subject_id, dedupe_key, details, created_at, last_at)
      select $1, r.id, r.kind, r.severity, r.message, r.subject_kind, r.subject_id, r.dedupe_key, r.details,
        to_timestamp($3::float8 / 1000.0), to_timestamp($3::float8 / 1000.0)
      from jsonb_to_recordset($2::jsonb) as r (id uuid, kind text, severity text, message text, subject_kind text, subject_id text,
        dedupe_key text, details jsonb)
      order by r.dedupe_key
      on conflict (org_id, dedupe_key) where resolved_at is null do update set
        count = a.count + 1, last_at = excluded.last_at, message = excluded.message, details = excluded.details, severity = excluded.severity,
        read_at = case when a.message = excluded.message then a.read_at end
      returning a.id, a.count, a.dedupe_key),
    told as (insert into events (org_id, type, key, version) select $1, 'alert', id, count from raised)
    select id from raised order by dedupe_key`,
    },
    [orgId, JSON.stringify(drafts), now],
  );
  return rows.map(({ id }) => id);
}

/** What they were about is right again: open alerts of these keys close, and the event feed is told. */
export async function resolveAlerts(
  tx: Tx,
  orgId: string,
  kind: AlertKind,
  on: readonly string[],
  now: number,
): Promise<void> {
  if (on.length === 0) return;
  await tx.query(
    {
      name: 'alerts_resolve',
      text: `
    with open as materialized (
      select id from alerts where org_id = $1 and dedupe_key = any($2::text[]) and resolved_at is null order by dedupe_key for update),
    resolved as (
      update alerts a set resolved_at = to_timestamp($3::float8 / 1000.0) from open where a.org_id = $1 and a.id = open.id and a.resolved_at is null
      returning a.id, a.count)
    insert into events (org_id, type, key, version) select $1, 'alert', id, count + 1 from resolved`,
    },
    [orgId, on.map((one) => keyOf(kind, one)), now],
  );
}
