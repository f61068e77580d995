/**
 * Giving way: in a flood (pressure.ts) the drain lets deliveries in before each of its batches.
 *
 *   it passes                              → everybody goes on
 *   half a second after the last batch     → the next one, a small one: folded events cost less, nothing starves, and what comes in
 *                                            is not kept waiting for the tens of milliseconds that a full batch computes
 *   it has lasted, and batches are full    → the next one at once, one at a time: waiting longer folds nothing more, and orders that
 *                                            come faster than two batches a second would wait longer and longer
 *
 * Whoever is free begins: a batch that is held up by a lock holds up nobody else. Of this process alone. Used by drain-inbox.ts.
 */
import type { Clock } from '#core/effects.ts';
import type { Pressure } from './pressure.ts';

/** How long a flood is waited for before each batch. */
const waitMs = 500;
/** Keys of a batch meanwhile, at most. */
const smallBatch = 30;
/** From then on a flood lasts: it is no clump that will have passed soon. */
const lastingMs = 5_000;

export class GivingWay {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #pressure: Pick<Pressure, 'isFlood'> | undefined;
  /** null: there is none. */
  #floodSince: number | null = null;
  /** When a batch last began or ended. */
  #movedAt = Number.NEGATIVE_INFINITY;
  #underWay = 0;
  #full = false;

  constructor(clock: Pick<Clock, 'monotonicMs'>, pressure: Pick<Pressure, 'isFlood'> | undefined) {
    this.#clock = clock;
    this.#pressure = pressure;
  }

  mayBegin(): boolean {
    if (!this.#pressure?.isFlood()) {
      this.#floodSince = null;
      return true;
    }
    const now = this.#clock.monotonicMs();
    this.#floodSince ??= now;
    if (this.#full && this.#underWay === 0 && now - this.#floodSince >= lastingMs) return true;
    return now - Math.max(this.#movedAt, this.#floodSince) >= waitMs;
  }

  /** @param batch resolves to how many keys it took, of at most the number it is given: `all`, or fewer in a flood that does not last */
  async during(batch: (most: number) => Promise<number>, all: number): Promise<number> {
    this.#underWay += 1;
    this.#movedAt = this.#clock.monotonicMs();
    const most = this.#isShort() ? Math.min(all, smallBatch) : all;
    try {
      const taken = await batch(most);
      if (taken > 0) this.#full = taken >= most;
      return taken;
    } finally {
      this.#underWay -= 1;
      this.#movedAt = this.#clock.monotonicMs();
    }
  }

  #isShort(): boolean {
    return this.#floodSince !== null && this.#clock.monotonicMs() - this.#floodSince < lastingMs;
  }
}
