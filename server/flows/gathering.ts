/**
 * Gathering: while a burst comes in (pressure.ts), how often one loop looks at numbers that are far from running out, and how often
 * a lane reads them back or asks for its connection's orders. What may run out is looked at as ever. Each loop has its own.
 */
import type { Clock } from '#core/effects.ts';
import type { LateLooks } from '#store/listings/work.ts';
import type { Pressure } from './pressure.ts';

/** Nobody sells a unit twice for it, and what a number costs is spent once for all sales meanwhile. */
const plentyMs = 2_000;
/** With more units left than this, and not selling fast, a variant is far from running out. */
export const plentyUnits = 50;
/** Looks at such numbers may be late by so much: what they are to confirm is told by notices that are coming in, behind the orders. */
const lateLookMs = 10_000;
/** Orders of a connection with presumed sales are asked for this often, where a search for them is not dear. */
const askMs = 1_000;
/** In a burst its orders are coming in, and reading them all beside that would only keep them waiting: so long they may take. */
const burstAskMs = 30_000;

type MonotonicClock = Pick<Clock, 'monotonicMs'>;

export class Gathering {
  readonly #clock: MonotonicClock;
  readonly #pressure: Pressure | undefined;
  #allAt = Number.NEGATIVE_INFINITY;
  /** The last look left out what gathers. */
  on = false;

  constructor(clock: MonotonicClock, pressure: Pressure | undefined) {
    this.#clock = clock;
    this.#pressure = pressure;
  }

  /** Before a look. @returns whether it leaves out what gathers; else it takes everything */
  look(): boolean {
    this.on = (this.#pressure?.isBurst() ?? false) && this.leftMs() > 0;
    if (!this.on) this.#allAt = this.#clock.monotonicMs();
    return this.on;
  }

  /** Until everything is looked at again. */
  leftMs(): number {
    return Math.max(0, this.#allAt + plentyMs - this.#clock.monotonicMs());
  }

  /** Which numbers' own looks at the channel wait meanwhile, and for how long; null: none. */
  lateLooks(): LateLooks | null {
    return this.#pressure?.isBurst() ? { ms: lateLookMs, above: plentyUnits } : null;
  }

  /** The next look takes everything. */
  end(): void {
    this.#allAt = Number.NEGATIVE_INFINITY;
  }
}

export class Asking {
  readonly #clock: MonotonicClock;
  readonly #pressure: Pressure | undefined;
  readonly #everyMs: number;
  #askedAt = Number.NEGATIVE_INFINITY;
  #calmAt = Number.NEGATIVE_INFINITY;

  constructor(clock: MonotonicClock, pressure: Pressure | undefined, everyMs = askMs) {
    this.#clock = clock;
    this.#pressure = pressure;
    this.#everyMs = everyMs;
  }

  /** Told of every look, whether orders are wanted. @returns whether to ask for them now */
  now(wanted: boolean): boolean {
    const mono = this.#clock.monotonicMs();
    const burst = this.#pressure?.isBurst() ?? false;
    if (!burst) this.#calmAt = mono;
    const since = burst ? Math.max(this.#calmAt, this.#askedAt) : this.#askedAt;
    if (!wanted || mono - since < (burst ? burstAskMs : this.#everyMs)) return false;
    this.#askedAt = mono;
    return true;
  }
}
