/** Pulse: lets loops of one process sleep until someone wakes them or a while has passed; a wake in between is never lost. */
import type { Clock } from '#core/effects.ts';

export interface Pulse {
  /** How many times it beat; pass it to `wait` to notice a beat that came while working. */
  readonly beats: number;
  wake(): void;
  /** Returns after a beat later than `since`, after `ms`, or when the signal aborts. */
  wait(since: number, ms: number, signal: AbortSignal): Promise<void>;
}

export function createPulse(clock: Clock): Pulse {
  let beats = 0;
  let nap = new AbortController();
  return {
    get beats() {
      return beats;
    },
    wake() {
      beats += 1;
      const ended = nap;
      nap = new AbortController();
      ended.abort();
    },
    async wait(since, ms, signal) {
      if (beats !== since || signal.aborted) return;
      const current = nap;
      const end = (): void => current.abort();
      signal.addEventListener('abort', end, { once: true });
      try {
        await clock.sleep(ms, current.signal);
      } finally {
        signal.removeEventListener('abort', end);
      }
    },
  };
}

/**
 * After a look that found work, before the next: as long as it took. One change is never kept waiting for longer than a
 * look; in a burst (pressure.ts) changes of one number gather into one, and the database has time for what comes in.
 */
export const restAfter = (tookMs: number, burst = false): number =>
  burst ? Math.min(250, Math.max(100, 4 * tookMs)) : Math.min(40, Math.max(2, tookMs));
