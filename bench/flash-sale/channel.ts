/**
 * A channel as the sale sees it: its own numbers, which its buyers lower at once, and an API with a limit.
 *
 *   buyer   number > 0 → sold, number − 1; else turned away
 *   write   arrives after half the latency, is answered after all of it. It is carried out as a whole or not at all: a row
 *           whose `from` is not the number answers stale, the rows beside it `not_applied`. `from` null: whatever stands there
 *   read    the numbers as they are when it arrives
 *   limit   a token bucket; a call beyond it would be refused, and here is an error: every policy keeps to it
 *   time    whole seconds, as vendors tell it
 *
 * Every change of a number is told (`onLevel`), own writes included, as a stock webhook would.
 */
import { assert } from '#core/errors.ts';
import type { Agenda } from './agenda.ts';

export interface ChannelLimits {
  /** Calls the vendor gives back per second, and the most it holds. */
  perSecond: number;
  burst: number;
}

export interface ChannelSpec extends ChannelLimits {
  name: string;
  latencyMs: number;
}

export interface WriteRow {
  sku: number;
  value: number;
  /** null = whatever stands there. */
  from: number | null;
}

export type RowOutcome = 'applied' | 'stale' | 'not_applied';

export interface LevelChange {
  sku: number;
  value: number;
  /** Vendor's time. */
  at: number;
}

export const vendorTime = (now: number): number => Math.floor(now / 1_000) * 1_000;

export class Channel {
  readonly spec: ChannelSpec;
  readonly calls = { read: 0, write: 0, stale: 0 };
  readonly #agenda: Agenda;
  readonly #numbers: Int32Array;
  #tokens: number;
  #tokensAt: number;
  onLevel: (change: LevelChange) => void = () => undefined;

  constructor(agenda: Agenda, spec: ChannelSpec, numbers: readonly number[]) {
    this.#agenda = agenda;
    this.spec = spec;
    this.#numbers = Int32Array.from(numbers);
    this.#tokens = spec.burst;
    this.#tokensAt = agenda.now;
  }

  number(sku: number): number {
    return this.#numbers[sku] ?? 0;
  }

  /** @returns whether it was sold */
  buy(sku: number): boolean {
    const number = this.number(sku);
    if (number <= 0) return false;
    this.#change(sku, number - 1);
    return true;
  }

  write(rows: readonly WriteRow[], answer: (outcomes: RowOutcome[], vendorAt: number) => void): void {
    this.#call('write', () => {
      const stale = rows.map(({ sku, from }) => from !== null && from !== this.number(sku));
      const refused = stale.includes(true);
      if (refused) this.calls.stale += 1;
      else for (const { sku, value } of rows) this.#change(sku, value);
      const at = vendorTime(this.#agenda.now);
      const outcomes = stale.map((is): RowOutcome => (is ? 'stale' : refused ? 'not_applied' : 'applied'));
      return () => answer(outcomes, at);
    });
  }

  read(skus: readonly number[], answer: (numbers: number[], vendorAt: number) => void): void {
    this.#call('read', () => {
      const numbers = skus.map((sku) => this.number(sku));
      const at = vendorTime(this.#agenda.now);
      return () => answer(numbers, at);
    });
  }

  #call(kind: 'read' | 'write', carryOut: () => () => void): void {
    this.calls[kind] += 1;
    this.#spend();
    const half = this.spec.latencyMs / 2;
    this.#agenda.after(half, () => {
      const answer = carryOut();
      this.#agenda.after(half, answer);
    });
  }

  #spend(): void {
    const { burst, perSecond } = this.spec;
    const elapsed = this.#agenda.now - this.#tokensAt;
    this.#tokensAt = this.#agenda.now;
    this.#tokens = Math.min(burst, this.#tokens + (elapsed * perSecond) / 1_000) - 1;
    assert(this.#tokens >= -1e-6, 'a call beyond the limit', { channel: this.spec.name, tokens: this.#tokens });
  }

  #change(sku: number, value: number): void {
    if (value === this.#numbers[sku]) return;
    this.#numbers[sku] = value;
    this.onLevel({ sku, value, at: vendorTime(this.#agenda.now) });
  }
}
