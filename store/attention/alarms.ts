/** What alarms are judged by, and which are open. */
import type { Store, Tx } from '../tx.ts';

export interface AlarmFigures {
  orgId: string;
  /** Calls to channels within the window, and those that failed. */
  calls: number;
  callsFailed: number;
  /** Events to apply and numbers to send. */
  waiting: number;
  oldestSeconds: number;
  /** An alarm of it is open. */
  hasOpen: boolean;
}

export async function readAlarmFigures(store: Store, now: number, since: number): Promise<AlarmFigures[]> {
  const { rows } = await store.system(
    (tx) =>
      tx.query<AlarmFigures>(
        {
          name: 'alarm_figures',
          text: `select org_id as "orgId", calls, calls_failed as "callsFailed", waiting, oldest_seconds as "oldestSeconds", has_open as "hasOpen"
                 from system_alarm_figures(to_timestamp($1::float8 / 1000.0), to_timestamp($2::float8 / 1000.0))`,
        },
        [now, since],
      ),
    { idempotent: true, statementTimeoutMs: 10_000 },
  );
  return rows;
}

/** Kinds of open alarms of the organization; null: another process is judging it just now. Held until the transaction ends. */
export async function openAlarms(tx: Tx, orgId: string, kinds: readonly string[]): Promise<Set<string> | null> {
  const { rows: held } = await tx.query<{ mine: boolean }>(
    `select pg_try_advisory_xact_lock(hashtextextended('alarms/' || $1::uuid, 0)) as mine`,
    [orgId],
  );
  if (!held[0]?.mine) return null;
  const { rows } = await tx.query<{ kind: string }>(
    'select kind from alerts where org_id = $1 and resolved_at is null and kind = any($2)',
    [orgId, kinds],
  );
  return new Set(rows.map(({ kind }) => kind));
}
