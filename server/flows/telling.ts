/** What a lane tells of single numbers: one line per target and station (docs/logging.md), free unless debug is on. */
import type { AttemptResult } from '#store/listings/attempts.ts';
import type { SentRow } from './lane-outcome.ts';
import type { FoundReading } from './lane-plan.ts';
import type { LaneOptions } from './publisher-types.ts';
import { targetFields } from './tracing.ts';

type Teller = Pick<LaneOptions, 'log' | 'connection' | 'metrics'>;

export function tellSent({ log, connection }: Teller, rows: readonly SentRow[], callKey: string): void {
  for (const { attemptId, send } of rows)
    log.debug?.(
      { ...connection, ...targetFields(send.target), attemptId, callKey, value: send.value, from: send.from },
      'attempt recorded',
    );
}

/** Also the moment a sale is told elsewhere: the channel has taken the number. */
export function tellAnswered(
  { log, connection, metrics }: Teller,
  rows: readonly SentRow[],
  results: readonly AttemptResult[],
  now: number,
): void {
  for (const { attemptId, outcome, errorCode, value } of results) {
    const target = rows.find((row) => row.attemptId === attemptId)?.send.target;
    if (!target) continue;
    if (outcome === 'applied' || outcome === 'accepted')
      for (const cause of target.causes) metrics?.accepted?.(connection, cause, now);
    log.debug?.(
      { ...connection, ...targetFields(target), attemptId, value, outcome, code: errorCode },
      'attempt answered',
    );
  }
}

export function tellRead(
  { log, connection }: Teller,
  found: readonly FoundReading[],
  results: ReadonlyMap<string, { verdict: string }>,
): void {
  for (const { target, reading } of found) {
    if (reading?.kind !== 'quantity') continue;
    const verdict = results.get(target.id)?.verdict;
    log.debug?.({ ...connection, ...targetFields(target), value: reading.value, verdict }, 'number read');
  }
}
