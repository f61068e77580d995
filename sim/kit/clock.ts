/**
 * A simulator's clock: the given clock plus an offset that only grows (`POST /_sim/clock`).
 * Every time a simulated vendor shows (order times, token ages, settle and retry times) comes from it, so a test can
 * let an hour pass at once: sleepers whose time has come by an advance wake immediately.
 *
 * Used by every simulator. `realClock` serves tests and launchers; the server hands its own in.
 */
import type { Clock } from '#core/effects.ts';

/** Timers above 2^31 − 1 ms fire at once in Node; longer waits are slept in slices. */
const LONGEST_TIMER_MS = 2 ** 30;

export interface SimClock extends Clock {
  offsetMs(): number;
  /** Moves time forward. @param ms ≥ 0 */
  advance(ms: number): void;
}

export function createSimClock(base: Clock, offsetMs = 0): SimClock {
  let offset = offsetMs;
  const sleepers = new Set<AbortController>();
  const monotonicMs = () => base.monotonicMs() + offset;

  return {
    now: () => base.now() + offset,
    monotonicMs,
    offsetMs: () => offset,
    advance(ms) {
      if (!Number.isFinite(ms) || ms < 0) throw new RangeError('A clock only moves forward');
      offset += ms;
      for (const sleeper of sleepers) sleeper.abort();
    },
    async sleep(ms, signal) {
      const until = monotonicMs() + ms;
      for (let left = ms; left > 0 && !signal?.aborted; left = until - monotonicMs()) {
        const waker = new AbortController();
        const wake = () => waker.abort();
        signal?.addEventListener('abort', wake, { once: true });
        sleepers.add(waker);
        await base.sleep(Math.min(left, LONGEST_TIMER_MS), waker.signal);
        sleepers.delete(waker);
        signal?.removeEventListener('abort', wake);
      }
    },
  };
}

/** The machine's own time. */
export function realClock(): Clock {
  return {
    now: () => Date.now(),
    monotonicMs: () => performance.now(),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const done = () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const timer = setTimeout(done, ms);
        signal?.addEventListener('abort', done, { once: true });
      }),
  };
}
