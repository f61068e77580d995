/**
 * Sharing: how this process keeps to a vendor's limits together with the other processes that work on the same connection.
 *
 * A busy connection's call costs no question. Each bucket in use holds a share (core/limits/shares.ts) that is asked for again twice
 * a second, all buckets of a connection in one question, and given back after ten seconds in which nobody called or waited. Breaker
 * transitions travel with it, and at once when they happen. A call after a quiet second asks first, so that none leaves on older news.
 * Where tokens are rare (`countedSingly`) each call is told of before it leaves, and what cannot be told of does not leave.
 *
 *   resting  → first call: one question, waited for at most 300 ms → sharing
 *   relaxed    hardly used: a small share, asked for again every 10 s; a call that has to wait asks at once → sharing
 *   sharing  → asked again every 500 ms → … → idle for 10 s (and not tight) → given back → resting
 *   orphaned   the database was not heard in time: a tenth of the rate, until it is (never more than the vendor allows: the others
 *              use nine tenths)
 *
 * Used by the transport. The question itself is store/connections/limits.ts, through server/deps.ts.
 */
import type { Clock } from '#core/effects.ts';
import {
  type BreakerClaim,
  type BreakerGrant,
  orphanShare,
  relaxedLeaseMs,
  type ShareClaim,
  type ShareGrant,
  shareLeaseMs,
} from '#core/limits/shares.ts';
import type { Breaker, BreakerTransition } from './breaker.ts';
import type { Budgets } from './budget.ts';

const askEveryMs = 500;
const relaxedEveryMs = 10_000;
/** What was heard of the others is news for this long. */
const newsMs = 1_000;
const restAfterMs = 10_000;
const firstAnswerMs = 300;
/** Whoever opened the breaker probes; the others only if nothing was heard of that. */
const graceMs = 1_000;

/** Asks the other processes, through the database. Rejects when that is not possible just now. */
export interface SharedLimits {
  exchange(asked: {
    claims: readonly ShareClaim[];
    breaker: BreakerClaim;
  }): Promise<{ grants: ShareGrant[]; breaker: BreakerGrant }>;
}

export interface Sharing {
  /** Right away unless this is the bucket's first call for a while. */
  ready(bucket: string): Promise<void> | undefined;
  /** The token was taken: may the call leave? Right away unless tokens of this bucket are rare. */
  told(bucket: string, cost: number, signal: AbortSignal): Promise<boolean> | true;
  /** Something the others should know at once. */
  urge(): void;
  transition(transition: BreakerTransition): void;
  close(): Promise<void>;
}

interface Held {
  usedAt: number;
  until: number;
  orphaned: boolean;
  tight: boolean;
  relaxed: boolean;
}

export function createSharing(options: {
  clock: Clock;
  budgets: Budgets;
  breaker: Breaker;
  limits: SharedLimits;
}): Sharing {
  return new BucketSharing(options);
}

class BucketSharing implements Sharing {
  readonly #options: Parameters<typeof createSharing>[0];
  readonly #held = new Map<string, Held>();
  #epoch = 0;
  #transition: BreakerTransition | null = null;
  #asking: Promise<void> | null = null;
  /** Questions begun, and the last of them that was answered. */
  #begun = 0;
  #answered = 0;
  #again = false;
  #loop: Promise<void> | null = null;
  #closed = false;
  #heardAt = Number.NEGATIVE_INFINITY;
  #wake: AbortController | null = null;

  constructor(options: Parameters<typeof createSharing>[0]) {
    this.#options = options;
    options.budgets.onWait((bucket) => {
      if (this.#held.get(bucket)?.relaxed) this.urge();
    });
  }

  ready(bucket: string): Promise<void> | undefined {
    const { clock, budgets } = this.#options;
    const now = clock.monotonicMs();
    const held = this.#held.get(bucket);
    if (held) {
      held.usedAt = now;
      if (now > held.until) this.#orphan(bucket, held);
      return now - this.#heardAt > newsMs && !held.orphaned ? this.#askPatiently() : undefined;
    }
    if (this.#closed) return undefined;
    this.#held.set(bucket, { usedAt: now, until: now, orphaned: true, tight: false, relaxed: false });
    budgets.restrict(bucket, orphanShare);
    this.#loop ??= this.#run();
    return this.#askPatiently();
  }

  told(bucket: string, cost: number, signal: AbortSignal): Promise<boolean> | true {
    return this.#options.budgets.isCounted(bucket) ? this.#tell(bucket, cost, signal) : true;
  }

  async #tell(bucket: string, cost: number, signal: AbortSignal): Promise<boolean> {
    // A question that is on its way began before the token was taken.
    const next = this.#begun + 1;
    await unlessAborted(this.#ask(), signal);
    return this.#answered >= next && this.#held.has(bucket) && this.#options.budgets.covers(bucket, cost);
  }

  #askPatiently(): Promise<void> {
    const patience = new AbortController();
    const enough = this.#options.clock.sleep(firstAnswerMs, patience.signal);
    return Promise.race([this.#ask(), enough]).finally(() => patience.abort());
  }

  urge(): void {
    if (this.#held.size > 0) void this.#ask();
  }

  transition(transition: BreakerTransition): void {
    this.#transition = transition;
    this.urge();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.abort();
    await this.#loop;
    await this.#asking;
    if (this.#held.size > 0) await this.#exchange();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#closed && this.#held.size > 0) {
      const relaxed = [...this.#held.values()].every((held) => held.relaxed);
      this.#wake = new AbortController();
      await clock.sleep(relaxed ? relaxedEveryMs : askEveryMs, this.#wake.signal);
      if (!this.#closed && !this.#wake.signal.aborted) await this.#ask();
    }
    this.#loop = null;
  }

  /** One question at a time; what comes up while it is on its way is asked right after it. */
  #ask(): Promise<void> {
    if (this.#asking) {
      this.#again = true;
      return this.#asking;
    }
    const asking = this.#askUntilQuiet().finally(() => {
      this.#asking = null;
    });
    this.#asking = asking;
    return asking;
  }

  async #askUntilQuiet(): Promise<void> {
    do {
      this.#again = false;
      await this.#exchange();
    } while (this.#again && !this.#closed);
  }

  async #exchange(): Promise<void> {
    const { clock, budgets, limits } = this.#options;
    const asked = clock.monotonicMs();
    this.#begun += 1;
    const number = this.#begun;
    const leaving = new Set(
      [...this.#held]
        .filter(
          ([bucket, { usedAt, tight }]) =>
            this.#closed || (!tight && asked - usedAt > restAfterMs && budgets.isIdle(bucket)),
        )
        .map(([name]) => name),
    );
    const claims = [...this.#held].map(([bucket, { orphaned }]) =>
      budgets.claim(bucket, { leaves: leaving.has(bucket), lapsed: orphaned }),
    );
    const transition = this.#transition;
    const answered = new AbortController();
    void this.#watch(answered.signal);
    try {
      const { grants, breaker } = await limits.exchange({ claims, breaker: { epoch: this.#epoch, transition } });
      this.#heardAt = clock.monotonicMs();
      this.#answered = number;
      for (const grant of grants) {
        const claim = claims.find((one) => one.bucket === grant.bucket);
        if (claim) this.#take(grant, claim, asked);
      }
      // The loop sleeps anew: what was relaxed may be busy now.
      this.#wake?.abort();
      this.#adopt(breaker, transition);
    } catch {
      // Not heard: shares run out by themselves, and the next question comes soon. The store's own trouble is logged where it is met.
    } finally {
      answered.abort();
    }
  }

  #take(grant: ShareGrant, { leaves, relaxed, untold }: ShareClaim, asked: number): void {
    const { budgets } = this.#options;
    const held = this.#held.get(grant.bucket);
    if (!held) return;
    budgets.grant(grant, untold ?? 0);
    if (leaves && held.usedAt <= asked) this.#held.delete(grant.bucket);
    // Used again while its share was on the way back: it asks anew.
    else if (leaves) this.#again = true;
    held.until = asked + (relaxed ? relaxedLeaseMs : shareLeaseMs);
    held.relaxed = relaxed && !grant.tight;
    held.orphaned = false;
    held.tight = grant.tight;
  }

  #adopt(told: BreakerGrant, sent: BreakerTransition | null): void {
    const { breaker } = this.#options;
    if (this.#transition === sent) this.#transition = null;
    if (told.epoch === this.#epoch) return;
    const ours = sent !== null && told.epoch === this.#epoch + 1 && told.state === sent.state;
    this.#epoch = told.epoch;
    if (ours && (told.mine || told.state === 'closed')) return;
    if (told.state === 'closed') breaker.adopt({ state: 'closed' });
    else
      breaker.adopt({ state: 'open', forMs: told.remainingMs + (told.mine || told.remainingMs === 0 ? 0 : graceMs) });
  }

  /** While no answer comes, shares run out. */
  async #watch(answered: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (const [bucket, held] of this.#held) {
      if (held.orphaned) continue;
      await clock.sleep(Math.max(0, held.until - clock.monotonicMs()), answered);
      if (answered.aborted) return;
      this.#orphan(bucket, held);
    }
  }

  #orphan(bucket: string, held: Held): void {
    if (held.orphaned) return;
    held.orphaned = true;
    this.#options.budgets.restrict(bucket, orphanShare);
  }
}

/** Waits for it, but no longer than until the signal. */
async function unlessAborted(what: Promise<void>, signal: AbortSignal): Promise<void> {
  let enough = () => {};
  const aborted = new Promise<void>((done) => {
    enough = done;
    signal.addEventListener('abort', enough, { once: true });
    if (signal.aborted) done();
  });
  await Promise.race([what, aborted]).finally(() => signal.removeEventListener('abort', enough));
}
