/**
 * Slots for calls in flight: three classes that never wait for each other. Urgent and reads have all slots of the
 * connection, bulk leaves one; a vendor's own limits are the transport's budgets. What follows a call runs without its
 * slot, so that a call never waits for a slot its own forerunner holds.
 */
import type { BudgetClass } from '#connectors/kit/ports.ts';
import type { Clock } from '#core/effects.ts';

/** What to do after a call, once its slot is free. */
export type Next = (() => Promise<void>) | undefined;

export class LaneSlots {
  readonly #clock: Clock;
  readonly #callsInFlight: number;
  readonly #onChange: ((kind: BudgetClass, change: 1 | -1) => void) | undefined;
  readonly #inFlight: Record<BudgetClass, number> = { urgent: 0, bulk: 0, read: 0 };
  readonly #waiting: Record<BudgetClass, (() => Promise<void>)[]> = { urgent: [], bulk: [], read: [] };

  constructor(clock: Clock, callsInFlight: number, onChange?: (kind: BudgetClass, change: 1 | -1) => void) {
    this.#clock = clock;
    this.#onChange = onChange;
    this.#callsInFlight = callsInFlight;
  }

  waiting(kind: BudgetClass): number {
    return this.#waiting[kind].length;
  }

  /** @param work is told how long it waited */
  async run(kind: BudgetClass, work: (waitedMs: number) => Promise<Next>): Promise<void> {
    const since = this.#clock.monotonicMs();
    const next = await new Promise<Next>((resolve, reject) => {
      this.#waiting[kind].push(() => work(this.#clock.monotonicMs() - since).then(resolve, reject));
      this.#pump(kind);
    });
    await next?.();
  }

  #pump(kind: BudgetClass): void {
    const slots = kind === 'bulk' ? Math.max(1, this.#callsInFlight - 1) : this.#callsInFlight;
    while (this.#inFlight[kind] < slots) {
      const job = this.#waiting[kind].shift();
      if (!job) return;
      this.#inFlight[kind] += 1;
      this.#onChange?.(kind, 1);
      void job().finally(() => {
        this.#inFlight[kind] -= 1;
        this.#onChange?.(kind, -1);
        this.#pump(kind);
      });
    }
  }
}
