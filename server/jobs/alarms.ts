/**
 * Alarms: when an organization's work goes wrong as a whole, a person is told, and told that it is over.
 *
 *   errors_high    more than 5 % of the calls to channels failed within five minutes (of at least 20 calls)
 *   work_waiting   the oldest event or number that nothing holds up waits for more than 60 s
 *   queue_deep     more than 10,000 events and numbers wait
 *
 * Judged from the database alone, every few seconds, by whichever process comes first; many of them say it once.
 * An alarm ends when its figure is back below its limit. Thresholds are settings (SYNCSTATE_ALARM_…).
 */
import type { Clock, Ids } from '#core/effects.ts';
import { type AlarmFigures, openAlarms, readAlarmFigures } from '#store/attention/alarms.ts';
import { type Alert, raiseAlerts, resolveAlerts } from '#store/attention/alerts.ts';
import type { Store } from '#store/tx.ts';
import type { FlowLog } from '../flows/publisher-types.ts';

export interface AlarmLimits {
  errorPercent: number;
  waitSeconds: number;
  queueDepth: number;
}

export const alarmKinds = ['errors_high', 'work_waiting', 'queue_deep'] as const;
type AlarmKind = (typeof alarmKinds)[number];

const windowMs = 300_000;
const fewCalls = 20;

/** What an alarm says; null: all is well. Pure. */
export function judgeAlarms(figures: AlarmFigures, limits: AlarmLimits): Record<AlarmKind, string | null> {
  const { calls, callsFailed, waiting, oldestSeconds } = figures;
  const percent = calls === 0 ? 0 : (callsFailed / calls) * 100;
  return {
    errors_high:
      calls >= fewCalls && percent > limits.errorPercent
        ? `${callsFailed} of ${calls} calls to the channels failed within 5 minutes (${percent.toFixed(1)} %, the limit is ${limits.errorPercent} %). Numbers follow later than usual; nothing is lost.`
        : null,
    work_waiting:
      oldestSeconds > limits.waitSeconds
        ? `The oldest work has waited ${Math.round(oldestSeconds)} s (the limit is ${limits.waitSeconds} s): channels may show too much meanwhile.`
        : null,
    queue_deep:
      waiting > limits.queueDepth
        ? `${waiting} events and numbers wait (the limit is ${limits.queueDepth}). They are worked off, cuts first.`
        : null,
  };
}

export interface AlarmOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  log: FlowLog;
  limits: AlarmLimits;
  /** Between two looks; default 15 s. */
  everyMs?: number;
}

export function createAlarms({ store, clock, ids, log, limits, everyMs = 15_000 }: AlarmOptions) {
  const stopping = new AbortController();
  let loop: Promise<void> | null = null;

  /** One look at all organizations. @returns alarms that began and ended */
  async function run(): Promise<{ raised: number; ended: number }> {
    const now = clock.now();
    const done = { raised: 0, ended: 0 };
    for (const figures of await readAlarmFigures(store, now, now - windowMs)) {
      const said = judgeAlarms(figures, limits);
      const wanted = alarmKinds.filter((kind) => said[kind] !== null);
      if (wanted.length === 0 && !figures.hasOpen) continue;
      await store.tenant(figures.orgId, async (tx) => {
        const open = await openAlarms(tx, figures.orgId, alarmKinds);
        if (open === null) return;
        const subject = { kind: 'organization', id: figures.orgId };
        const fresh = wanted.filter((kind) => !open.has(kind));
        const alerts = fresh.map(
          (kind): Alert => ({ kind, subject, message: said[kind] ?? '', details: { ...figures } }),
        );
        await raiseAlerts(tx, figures.orgId, alerts, { ids, now });
        const over = alarmKinds.filter((kind) => open.has(kind) && said[kind] === null);
        for (const kind of over) await resolveAlerts(tx, figures.orgId, kind, [figures.orgId], now);
        done.raised += fresh.length;
        done.ended += over.length;
      });
    }
    return done;
  }

  async function forever(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(everyMs, stopping.signal);
      if (stopping.signal.aborted) return;
      await run().catch((error: unknown) =>
        log.warn(
          { error: error instanceof Error ? error.message : String(error) },
          'alarms cannot be judged; again soon',
        ),
      );
    }
  }

  return {
    run,
    start(): void {
      loop ??= forever();
    },
    async stop(): Promise<void> {
      stopping.abort();
      await loop;
    },
  };
}

export type Alarms = ReturnType<typeof createAlarms>;
