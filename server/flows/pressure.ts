/**
 * Pressure: whether a burst is coming in just now. Then what follows from events gathers for a moment instead of being computed for
 * each of them: the drain takes fuller batches, lanes and marks look less often. Of this process alone, and only about how long loops
 * rest: nothing that must be agreed on.
 */
import type { Clock } from '#core/effects.ts';

export interface Pressure {
  /** So many events were applied, an order's among them after so long; late ones are a burst too, however few. */
  applied(events: number, waitedMs?: number): void;
  isHigh(): boolean;
}

const windowMs = 500;
/** 400 events a second; an order brings three or four: fifty orders a second are no burst, also when they come in clumps. */
const manyPerWindow = 200;
/** Behind by so much, looks that gather bring a number sooner than looks that come at once. */
const lateMs = 250;

export function createPressure(clock: Pick<Clock, 'monotonicMs'>): Pressure {
  let began = Number.NEGATIVE_INFINITY;
  let now = 0;
  let before = 0;
  const turn = () => {
    const at = clock.monotonicMs();
    if (at - began < windowMs) return;
    before = at - began < 2 * windowMs ? now : 0;
    now = 0;
    began = at;
  };
  return {
    applied(events, waitedMs = 0) {
      turn();
      now += waitedMs > lateMs ? Math.max(events, manyPerWindow) : events;
    },
    isHigh() {
      turn();
      return Math.max(now, before) >= manyPerWindow;
    },
  };
}
