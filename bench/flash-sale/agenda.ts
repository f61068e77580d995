/** Virtual time in whole milliseconds: what is to happen is done in the order of its time, and of its arrival within one instant. */
import type { Clock } from '#core/effects.ts';

interface Entry {
  at: number;
  turn: number;
  work: () => void;
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.turn < b.turn);

export class Agenda {
  now: number;
  #turns = 0;
  /** A binary heap: the next entry first. */
  readonly #heap: Entry[] = [];

  constructor(now: number) {
    this.now = now;
  }

  at(time: number, work: () => void): void {
    const entry = { at: Math.max(Math.ceil(time), this.now), turn: this.#turns++, work };
    const heap = this.#heap;
    let place = heap.push(entry) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const other = heap[above] as Entry;
      if (!before(entry, other)) break;
      heap[place] = other;
      place = above;
    }
    heap[place] = entry;
  }

  after(ms: number, work: () => void): void {
    this.at(this.now + ms, work);
  }

  /** Until nothing is left to happen. */
  run(): void {
    for (let next = this.#take(); next; next = this.#take()) {
      this.now = next.at;
      next.work();
    }
  }

  /** The same where what happens goes on in promises. @param quiet resolves when all of them rest, waiting for time */
  async runPromises(quiet: () => Promise<void>, isOver: () => boolean = () => false): Promise<void> {
    await quiet();
    for (let next = this.#take(); next && !isOver(); next = this.#take()) {
      this.now = next.at;
      next.work();
      await quiet();
    }
  }

  #take(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const least = right < heap.length && before(heap[right] as Entry, heap[left] as Entry) ? right : left;
      if (!before(heap[least] as Entry, last)) break;
      heap[place] = heap[least] as Entry;
      place = least;
    }
    heap[place] = last;
    return first;
  }
}

/** The agenda as the product's own parts want to see time. */
export const clockOf = (agenda: Agenda): Clock => ({
  now: () => agenda.now,
  monotonicMs: () => agenda.now,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      agenda.after(ms, resolve);
      signal?.addEventListener('abort', () => resolve());
    }),
});
