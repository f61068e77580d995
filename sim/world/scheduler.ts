/**
 * The scheduler: one seed decides the order of everything that crosses a boundary.
 *
 * A flow runs until it stands at a boundary (a transaction, a leg of an outside call, a timer, a delivery). When all flows
 * stand, one pending step is picked by chance, done alone, and its flow goes on until it stands again:
 *
 *   stand still → what is ready? (steps; timers whose time has come) → pick one → do it → stand still …
 *                 nothing is ready → time jumps to the next timer
 *
 * A database transaction is one step, and nothing else happens during it. One that writes takes a millisecond or a few of
 * virtual time, so that two things rarely happen at the same instant, as outside.
 *
 * Timers may ring late, as on a busy machine: while nothing but polling happens, those of polls (an owner's short sleeps)
 * wait for growing strides (up to `longestStrideMs`), so that an hour costs tens of polls instead of thousands. Anything
 * interesting (something written, a delivery, an act) shortens them again, and during an outside call all ring in time.
 *
 * Owners are processes, simulators and the world. When a process is killed its steps and timers are gone, and what it still
 * waits for never comes.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock, Random } from '#core/effects.ts';
import type { Trace } from './trace.ts';

export interface Owner {
  readonly name: string;
  alive: boolean;
  /** Sleeps up to so long are polls. Default: none. */
  readonly pollsMs?: number;
  /** Stopped (SIGSTOP) until then: what it would do next waits, and all its timers are late. */
  frozenUntil?: number;
  /** What happens to it soon (store.ts, and here for `killed`). */
  mishap?: Mishap | null;
}

/**
 * killed        before its n-th step from now
 * killed_after  its n-th writing transaction from now commits, and nobody learns of it
 * commit_lost   the connection breaks at COMMIT of its n-th writing transaction: done, and the answer is lost
 * commit_undone the same, and it was not done
 * frozen_after  its n-th commit from now that is more than housekeeping; it learns of it when it wakes
 */
export interface Mishap {
  kind: 'killed' | 'killed_after' | 'commit_lost' | 'commit_undone' | 'frozen_after';
  /** Steps or writing transactions before it. */
  after: number;
  /** How long it is frozen. */
  forMs?: number;
}

/** One fewer to go. @returns whether it happens now */
export function strikes(owner: Owner, kinds: readonly Mishap['kind'][]): boolean {
  const { mishap } = owner;
  if (!mishap || !kinds.includes(mishap.kind)) return false;
  if (mishap.after > 0) {
    mishap.after -= 1;
    return false;
  }
  owner.mishap = null;
  return true;
}

export type StepKind = 'transaction' | 'call' | 'delivery' | 'act';

interface Step {
  owner: Owner;
  kind: StepKind;
  name: string;
  run(): Promise<void>;
}

interface Timer {
  owner: Owner;
  dueAt: number;
  isPoll: boolean;
  ring(): void;
}

const [shortestStrideMs, longestStrideMs] = [15_000, 300_000];
/** So many jumps without anything interesting before strides grow. */
const jumpsBeforeGrowing = 2;
/** While an outside call is under way. */
const duringCallsMs = 3_000;
/** Shorter sleeps are part of what is being done. */
const shortestPollMs = 150;

export class Scheduler {
  readonly #random: Random;
  readonly #trace: Trace;
  readonly #startedAt: number;
  #now: number;
  #steps: Step[] = [];
  #timers: Timer[] = [];
  #idleJumps = 0;
  #awaited = 0;
  #done = 0;
  /** Done after a step that asked for it (`show`), when all flows stand and before anything else happens. */
  onShow: () => Promise<void> = async () => undefined;
  #shown = false;
  /** Told of every kill. */
  onKill: (owner: Owner) => void = () => undefined;
  /** Time does not stride past it: the next act's time. */
  horizon = Number.POSITIVE_INFINITY;

  constructor(options: { random: Random; trace: Trace; startAt: number }) {
    this.#random = options.random;
    this.#trace = options.trace;
    this.#startedAt = options.startAt;
    this.#now = options.startAt;
  }

  /** Unix ms, the world's time. */
  get now(): number {
    return this.#now;
  }

  /** Steps done since the start. */
  get done(): number {
    return this.#done;
  }

  clock(owner: Owner): Clock {
    return {
      now: () => Math.floor(this.#now),
      monotonicMs: () => this.#now - this.#startedAt,
      sleep: (ms, signal) => this.#sleep(owner, ms, signal),
    };
  }

  /** Waits for its turn, then works; resolves with the work's result. For a dead owner never. */
  async step<T>(owner: Owner, kind: StepKind, name: string, work: () => Promise<T> | T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!owner.alive) return;
      const run = async () => {
        try {
          const result = await work();
          if (owner.alive) resolve(result);
        } catch (error) {
          if (owner.alive) reject(error);
        }
      };
      this.#steps.push({ owner, kind, name, run });
    });
  }

  /** This step is to be looked at. */
  show(): void {
    this.#shown = true;
  }

  /** Something happened that is more than polling. */
  stir(): void {
    this.#idleJumps = 0;
  }

  /** While it lasts (an outside call is under way) timers ring in time. */
  async exact<T>(work: Promise<T>): Promise<T> {
    this.#awaited += 1;
    try {
      return await work;
    } finally {
      this.#awaited -= 1;
    }
  }

  /** Time passes for everybody: what was just done took a moment. */
  spend(): void {
    this.#now += 1 + Math.floor(this.#random.next() * 3);
  }

  oneOf<T>(things: readonly T[]): T | undefined {
    return things[Math.floor(this.#random.next() * things.length)];
  }

  kill(owner: Owner): void {
    owner.alive = false;
    this.#steps = this.#steps.filter((step) => step.owner !== owner);
    this.#timers = this.#timers.filter((timer) => timer.owner !== owner);
    this.onKill(owner);
  }

  /** Goes on until `over` says so, asked whenever all flows stand. @returns false when nothing is left to happen */
  async run(over: () => boolean): Promise<boolean> {
    for (;;) {
      await standStill();
      if (this.#shown) {
        this.#shown = false;
        await this.onShow();
      }
      if (over()) return true;
      if (!(await this.#next())) return false;
    }
  }

  /** Whatever could go on now has gone on: polls, too, that time has strode past. */
  async still(): Promise<void> {
    await this.run(() => this.#ready().count === 0);
  }

  #ready() {
    const steps = this.#steps.filter((step) => !this.#isFrozen(step.owner));
    const due = this.#timers.filter((timer) => timer.dueAt <= this.#now && !this.#isFrozen(timer.owner));
    return { steps, due, count: steps.length + due.length };
  }

  async #next(): Promise<boolean> {
    const { steps, due, count } = this.#ready();
    if (count === 0) return this.#jump();
    const pick = Math.floor(this.#random.next() * count);
    const step = steps[pick];
    if (step) await this.#do(step);
    else this.#ring(due[pick - steps.length] as Timer);
    this.#done += 1;
    return true;
  }

  #isFrozen({ frozenUntil = 0 }: Owner): boolean {
    return frozenUntil > this.#now;
  }

  async #do(step: Step): Promise<void> {
    if (strikes(step.owner, ['killed'])) return this.kill(step.owner);
    this.#steps.splice(this.#steps.indexOf(step), 1);
    this.#trace.begin(this.#now, step.owner.name, step.kind, step.name);
    if (step.kind === 'delivery') this.stir();
    // One that waited for another boundary would hang; PostgreSQL ends it after a minute of idleness.
    await step.run();
    this.#trace.end();
  }

  #ring(timer: Timer): void {
    this.#timers.splice(this.#timers.indexOf(timer), 1);
    this.#trace.rang(timer.owner.name, this.#now - timer.dueAt);
    timer.ring();
  }

  #jump(): boolean {
    const growth = 2 ** Math.max(0, this.#idleJumps - jumpsBeforeGrowing);
    const stride = this.#awaited === 0 ? Math.min(longestStrideMs, shortestStrideMs * growth) : duringCallsMs;
    const times = [
      ...this.#timers.map(({ owner, dueAt, isPoll }) =>
        Math.max(owner.frozenUntil ?? 0, isPoll ? dueAt + stride : dueAt),
      ),
      ...this.#steps.map(({ owner }) => owner.frozenUntil ?? 0),
    ];
    const next = times.reduce((least, time) => Math.min(least, time), this.horizon);
    if (next === Number.POSITIVE_INFINITY) return false;
    this.#idleJumps += 1;
    this.#now = Math.max(this.#now, next);
    return true;
  }

  #sleep(owner: Owner, ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (!owner.alive) return;
      if (signal?.aborted) return resolve();
      const end = () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const isPoll = ms >= shortestPollMs && ms <= (owner.pollsMs ?? 0);
      // Whole milliseconds: a remainder too small for the clock would be slept for ever.
      const timer: Timer = { owner, dueAt: this.#now + Math.max(0, Math.ceil(ms)), isPoll, ring: end };
      const abort = () => {
        const index = this.#timers.indexOf(timer);
        if (index < 0) return;
        this.#timers.splice(index, 1);
        end();
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#timers.push(timer);
    });
  }
}

/** Promises settle between two turns of Node's own loop; a second turn for what they queued for the next one. */
async function standStill(): Promise<void> {
  await turn();
  await turn();
}
