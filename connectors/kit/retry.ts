/**
 * Retry: which failed call is sent again, and when.
 *
 * Rule: only reads, only when they never got an answer (`connector.unavailable`), at most twice, after a random pause
 * that doubles, and never once the first attempt has used up the call's time. A write is never sent again here: whether it
 * arrived is a question for whoever keeps the attempt (flows read back first). A refusal for rate waits in the budget.
 */
import type { Clock, Random } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';

const READ_ATTEMPTS = 3;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

/** Full jitter: between nothing and the doubled pause, so that many callers do not come back at once. */
export function pauseMs(attempt: number, random: Random): number {
  return random.next() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
}

/**
 * @param send one attempt, numbered from 1
 * @param limits `spentMs`: no further attempt once this much time has passed since the first began
 */
export async function retryRead<T>(
  clock: Clock,
  random: Random,
  limits: { spentMs: number; signal: AbortSignal },
  send: (attempt: number) => Promise<T>,
): Promise<T> {
  const startedAt = clock.monotonicMs();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send(attempt);
    } catch (error) {
      if (attempt >= READ_ATTEMPTS || !worthRepeating(error)) throw error;
      if (limits.signal.aborted || clock.monotonicMs() - startedAt >= limits.spentMs) throw error;
      await clock.sleep(pauseMs(attempt, random), limits.signal);
      if (limits.signal.aborted) throw error;
    }
  }
}

function worthRepeating(error: unknown): boolean {
  if (!(error instanceof ConnectorError) || error.code !== 'connector.unavailable') return false;
  return error.details.abandoned !== true && error.details.breakerOpen !== true && error.details.repeatable !== false;
}
