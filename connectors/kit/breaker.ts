/**
 * Breaker: stops calling a vendor that does not answer, and finds out cheaply when it does again.
 *
 *   closed     every call may go; 5 failures in a row → open
 *   open       no call may go (connector.unavailable, nothing sent) until `openMs` has passed → half-open
 *   half_open  exactly one call goes as a probe; success → closed, failure → open for twice as long (1 s … 30 s)
 *
 * A failure is a call the vendor did not answer, or answered with 5xx; a refusal for rate or a 4xx is an answer.
 * Transitions are shared by all processes of a connection (sharing.ts), counters are each one's own.
 * Used by the transport, one per connection. Our own and not cockatiel's: that one reads the real clock, so that a
 * simulated hour would not close it again, and it parks further calls behind the probe beyond their deadline.
 */
import type { Clock } from '#core/effects.ts';

const FAILURES_TO_OPEN = 5;
const FIRST_OPEN_MS = 1_000;
const LONGEST_OPEN_MS = 30_000;

export type BreakerState =
  | { kind: 'closed'; failures: number }
  | { kind: 'open'; retryAfterMs: number }
  | { kind: 'half_open' };

export interface Breaker {
  /** Asks to send one call: `go` (then `succeeded`, `failed` or `withdrawn` must follow), or how long to stay away. */
  ask(): { kind: 'go' } | { kind: 'stay_away'; retryAfterMs: number };
  succeeded(): void;
  failed(): void;
  /** The call was given up before it said anything about the vendor. */
  withdrawn(): void;
  /** Another process found out. */
  adopt(told: BreakerTransition): void;
  state(): BreakerState;
}

/** What other processes are told: everybody keeps away, or may call again. */
export type BreakerTransition = { state: 'closed' } | { state: 'open'; forMs: number };

/** @param onTransition called once for each opening, re-opening and closing that this process decides */
export function createBreaker(clock: Clock, onTransition?: (transition: BreakerTransition) => void): Breaker {
  let failures = 0;
  let openUntil: number | null = null;
  let openMs = FIRST_OPEN_MS;
  let probing = false;

  const open = () => {
    openUntil = clock.monotonicMs() + openMs;
    onTransition?.({ state: 'open', forMs: openMs });
  };
  const close = () => {
    failures = 0;
    openUntil = null;
    openMs = FIRST_OPEN_MS;
    probing = false;
  };

  return {
    ask() {
      if (openUntil === null) return { kind: 'go' };
      const retryAfterMs = openUntil - clock.monotonicMs();
      if (retryAfterMs > 0 || probing) return { kind: 'stay_away', retryAfterMs: Math.max(retryAfterMs, 100) };
      probing = true;
      return { kind: 'go' };
    },
    succeeded() {
      const wasOpen = openUntil !== null;
      close();
      if (wasOpen) onTransition?.({ state: 'closed' });
    },
    failed() {
      failures += 1;
      if (openUntil !== null && probing) {
        openMs = Math.min(LONGEST_OPEN_MS, openMs * 2);
        probing = false;
        open();
      } else if (openUntil === null && failures >= FAILURES_TO_OPEN) open();
    },
    withdrawn() {
      probing = false;
    },
    adopt(told) {
      if (told.state === 'closed') return close();
      openUntil = clock.monotonicMs() + told.forMs;
    },
    state() {
      if (openUntil === null) return { kind: 'closed', failures };
      const retryAfterMs = Math.max(0, openUntil - clock.monotonicMs());
      return retryAfterMs > 0 ? { kind: 'open', retryAfterMs } : { kind: 'half_open' };
    },
  };
}
