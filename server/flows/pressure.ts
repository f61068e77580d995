/**
 * Pressure: whether a burst is coming in just now. Then what follows from events gathers for a moment instead of being computed for
 * each of them: the drain takes fuller batches, lanes and marks look less often. In a flood the drain also lets deliveries in first:
 * a channel that is not answered in time sends again or gives up, and several events of one order fold into one. Of this process
 * alone, and only about how long loops rest: nothing that must be agreed on.
 */
import type { Clock } from '#core/effects.ts';

export interface Pressure {
  /** So many events were applied, an order's among them after so long; late ones are a burst too, however few. */
  applied(events: number, waitedMs?: number): void;
  isHigh(): boolean;
  /** So many come in that what can wait gathers for seconds; being late alone is none. */
  isBurst(): boolean;
  /** So many deliveries were stored. */
  accepted(deliveries: number): void;
  /** They come by the thousand a second. */
  isFlood(): boolean;
}

const windowMs = 500;
/** Nothing was applied for so long: the burst is over, and what gathered is looked at. */
const calmMs = 400;
/** 400 events a second; an order brings three or four: fifty orders a second are no burst, also when they come in clumps. */
const manyPerWindow = 200;
/** 600 events a second, none of them counted for being late: else one hiccup at fifty orders a second would keep numbers waiting. */
const burstPerWindow = 300;
/** Behind by so much, looks that gather bring a number sooner than looks that come at once. */
const lateMs = 250;

/** 500 deliveries a second; fifty orders a second bring 200. */
const flood = { windowMs: 200, deliveries: 100 };

/** How many came in the running window, and in the one before it. */
function createWindow(clock: Pick<Clock, 'monotonicMs'>, windowMs: number) {
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
    add(count: number) {
      turn();
      now += count;
    },
    /** The larger of the two. */
    most() {
      turn();
      return Math.max(now, before);
    },
  };
}

export function createPressure(clock: Pick<Clock, 'monotonicMs'>): Pressure {
  const applied = createWindow(clock, windowMs);
  const came = createWindow(clock, windowMs);
  const accepted = createWindow(clock, flood.windowMs);
  let appliedAt = Number.NEGATIVE_INFINITY;
  const isFlood = () => accepted.most() >= flood.deliveries;
  return {
    applied(events, waitedMs = 0) {
      if (events > 0) appliedAt = clock.monotonicMs();
      came.add(events);
      applied.add(waitedMs > lateMs ? Math.max(events, manyPerWindow) : events);
    },
    // In a flood the drain itself waits: that is no calm.
    isHigh: () => isFlood() || (applied.most() >= manyPerWindow && clock.monotonicMs() - appliedAt < calmMs),
    isBurst: () => isFlood() || (came.most() >= burstPerWindow && clock.monotonicMs() - appliedAt < calmMs),
    accepted: accepted.add,
    isFlood,
  };
}
