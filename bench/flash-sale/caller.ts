/**
 * Calls in virtual time: the product's `Bucket` (connectors/kit/budget.ts) with its queue. The queue there waits by promises, here by
 * the agenda; its order is stated again and held equal by caller.test.ts. Every policy calls through one of these per channel.
 */
import { Bucket } from '#connectors/kit/budget.ts';
import type { BudgetClass } from '#connectors/kit/ports.ts';
import type { Agenda } from './agenda.ts';
import type { ChannelLimits } from './channel.ts';

/** Every call costs the same. */
const cost = 1;

interface Waiter {
  kind: BudgetClass;
  order: number;
  go: () => void;
}

export class Caller {
  readonly #agenda: Agenda;
  readonly #bucket: Bucket;
  #waiters: Waiter[] = [];
  #arrivals = 0;
  /** The sleep that counts: an older one wakes nobody. */
  #sleep = 0;

  constructor(agenda: Agenda, { perSecond, burst }: ChannelLimits) {
    this.#agenda = agenda;
    this.#bucket = new Bucket({ ratePerSecond: perSecond, capacity: burst }, agenda.now);
  }

  /** @param abandoned the turn did not come within `withinMs`: nothing was sent */
  ask(kind: BudgetClass, go: () => void, patience?: { withinMs: number; abandoned: () => void }): void {
    const waiter: Waiter = { kind, order: this.#arrivals++, go };
    this.#waiters.push(waiter);
    if (patience)
      this.#agenda.after(patience.withinMs, () => {
        if (!this.#waiters.includes(waiter)) return;
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        this.#pump();
        patience.abandoned();
      });
    this.#pump();
  }

  /** The call is over, however it ended. */
  settle(): void {
    this.#bucket.settle(cost);
  }

  #pump(): void {
    this.#sleep += 1;
    while (this.#waiters.length > 0) {
      const next = this.#first();
      const waitMs = this.#bucket.waitMs(this.#agenda.now, next.kind, cost);
      if (waitMs > 0) {
        const sleep = this.#sleep;
        this.#agenda.after(waitMs, () => {
          if (sleep === this.#sleep) this.#pump();
        });
        return;
      }
      this.#waiters = this.#waiters.filter((waiter) => waiter !== next);
      this.#bucket.take(next.kind, cost);
      next.go();
    }
  }

  /** As BucketQueue has it. */
  #first(): Waiter {
    const rank = ({ kind }: Waiter): number => {
      if (kind === 'read') return this.#bucket.owesRead(cost) ? 0 : 2;
      return kind === 'urgent' ? 1 : 2;
    };
    return this.#waiters.reduce((best, waiter) => {
      const difference = rank(waiter) - rank(best);
      return difference < 0 || (difference === 0 && waiter.order < best.order) ? waiter : best;
    });
  }
}
