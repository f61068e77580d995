/**
 * What happened, in order, as lines a person can read and as one hash: two runs of one seed must agree in every byte.
 * Lines hold names, keys and numbers of the world only; nothing of the machine (real times, process ids, ports).
 */
import { createHash } from 'node:crypto';

const keptLines = 20_000;

export class Trace {
  readonly #hash = createHash('sha256');
  readonly #keep: boolean;
  readonly #startAt: number;
  readonly #told: ((line: string) => void) | undefined;
  #lines: string[] = [];
  #open: string[] | null = null;
  #loud = false;

  /** @param options.told is given every line as it is finished */
  constructor(options: { startAt: number; keep: boolean; told?: ((line: string) => void) | undefined }) {
    this.#startAt = options.startAt;
    this.#keep = options.keep;
    this.#told = options.told;
  }

  begin(at: number, owner: string, kind: string, name: string): void {
    this.#open = [`${(at - this.#startAt).toFixed(0)} ${owner} ${kind} ${name}`];
    this.#loud = kind !== 'transaction';
  }

  /** More about the step under way; without one, nothing. @param loud worth a line: something was changed */
  note(text: string, loud = true): void {
    this.#open?.push(text);
    this.#loud ||= loud;
  }

  end(): void {
    const line = (this.#open ?? []).join(' ');
    this.#open = null;
    this.#hash.update(`${line}\n`);
    if (this.#loud) this.#show(line);
  }

  rang(owner: string, lateMs: number): void {
    this.#hash.update(`${owner} timer ${lateMs.toFixed(0)}\n`);
  }

  /** A line of its own. */
  add(line: string): void {
    this.#hash.update(`${line}\n`);
    this.#show(line);
  }

  /** Into the hash alone. */
  mix(text: string): void {
    this.#hash.update(text);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  hash(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }

  #show(line: string): void {
    this.#told?.(line);
    if (!this.#keep) return;
    this.#lines.push(line);
    if (this.#lines.length > 2 * keptLines) this.#lines = this.#lines.slice(-keptLines);
  }
}
