/**
 * Budget: when a call may leave, so that a vendor's token bucket is used well and never emptied by unimportant work.
 *
 *   tokens(t) = min(capacity × 0.9, tokens + rate × 0.9 × slowdown × dt)
 *   order     = reads that are owed their share → urgent → (reads and bulk by arrival); first come first served within a class
 *   reserve   = reads and bulk leave `urgentReserve` of the bucket standing; urgent may use all of it
 *   share     = of every point granted to writes, a quarter is owed to reads, so that a storm of writes cannot starve
 *               the reads those writes depend on (a stale answer must be read back before it is tried again)
 *   slowdown  = halved by every refusal for rate (not below 1/16), won back in a minute
 *
 *   share     = several processes on one connection each use their part of rate and burst (sharing.ts); alone, all of it
 *
 * `Bucket` is the pure part (time comes in as a value), `createBudgets` adds waiting. One per connection, held by its
 * transport. The vendor's own count of what is left always wins over ours, less what is in flight and uncounted there.
 */
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { countedSingly, safety as SAFETY, type ShareClaim, type ShareGrant } from '#core/limits/shares.ts';
import type { BudgetClass, BudgetLimits, BudgetReport } from './ports.ts';

const DEFAULT_RESERVE = 0.3;
const READ_SHARE = 0.25;
const SLOWEST = 1 / 16;
const RECOVERY_MS = 60_000;
const LONGEST_WAIT_MS = 24 * 3_600_000;
/** How much more an urgent point says about who needs the bucket. */
const URGENT_WEIGHT = 4;
/** Below this part of the vendor's rate, and with nobody waiting, a bucket is hardly used. */
const RELAXED_BELOW = 0.25;
const weightOf = (budgetClass: BudgetClass): number => (budgetClass === 'urgent' ? URGENT_WEIGHT : 1);
/** Calls in flight together are refused together; that is one refusal. */
const SAME_REFUSAL_MS = 1_000;
/** A vendor we know nothing about: slow enough for anyone. */
const UNKNOWN_LIMITS: BudgetLimits = { ratePerSecond: 2, capacity: 10 };

export interface BudgetState {
  bucket: string;
  tokens: number;
  capacity: number;
  /** Points per second we allow ourselves now. */
  ratePerSecond: number;
  /** 1 = not slowed down. */
  slowdown: number;
  waiting: Record<BudgetClass, number>;
  inFlight: number;
}

/** One token bucket. Pure: every method takes the monotonic time in ms. */
export class Bucket {
  private rate: number;
  private capacity: number;
  private readonly reserve: number;
  private tokens: number;
  private slowdown = 1;
  private at: number;
  private blockedUntil = 0;
  private refusedAt = Number.NEGATIVE_INFINITY;
  private readCredit = 0;
  private inFlight = 0;
  /** Our part of rate and burst, 0–1. */
  private share = 1;
  /** The dearest call that waits: it may be saved up for beyond our part of the burst. */
  private wants = 0;
  private used = 0;
  /** Taken, and not yet confirmed to be known to the other processes. */
  private untold = 0;
  /** The vendor told rate or capacity to us. */
  private told = false;

  constructor(limits: BudgetLimits, nowMs: number) {
    this.rate = limits.ratePerSecond;
    this.capacity = Math.max(1, limits.capacity);
    this.reserve = limits.urgentReserve ?? DEFAULT_RESERVE;
    this.tokens = this.usable();
    this.at = nowMs;
  }

  /** True when reads are owed this cost: then they go before urgent writes. */
  owesRead(cost: number): boolean {
    return this.readCredit >= cost;
  }

  /** Milliseconds until a call of this class and cost may leave; 0 = now. */
  waitMs(nowMs: number, budgetClass: BudgetClass, cost: number): number {
    this.refill(nowMs);
    const blocked = Math.max(0, this.blockedUntil - nowMs);
    const needed = this.needed(budgetClass, cost);
    this.wants = Math.max(this.wants, needed);
    const missing = needed - this.tokens;
    if (missing <= 1e-9) return Math.ceil(blocked);
    // With no share yet nothing comes by itself: whoever brings one wakes the queue.
    return Math.min(LONGEST_WAIT_MS, Math.ceil(Math.max(blocked, (missing / this.effectiveRate()) * 1000)));
  }

  /** Takes the points of a call that `waitMs` let through. */
  take(budgetClass: BudgetClass, cost: number): void {
    this.tokens -= cost;
    this.inFlight += cost;
    this.wants = 0;
    this.untold += cost;
    this.used += cost * weightOf(budgetClass);
    const cap = this.usable() * READ_SHARE;
    this.readCredit =
      budgetClass === 'read' ? Math.max(0, this.readCredit - cost) : Math.min(cap, this.readCredit + cost * READ_SHARE);
  }

  /** The call never left: its points belong to the next one. */
  giveBack(nowMs: number, cost: number): void {
    this.refill(nowMs);
    this.tokens = Math.min(this.tokens + cost, this.room());
    this.confirmed(cost);
  }

  /** There was enough for what was taken: not so when the share had run out unnoticed. */
  covers(nowMs: number, cost: number): boolean {
    this.refill(nowMs);
    return this.tokens + cost >= Math.min(cost, this.usable()) - 1e-9;
  }

  /** The others know of it. */
  confirmed(points: number): void {
    this.untold = Math.max(0, this.untold - points);
  }

  /** A token here is so rare that each call is told of before it leaves. */
  isCounted(): boolean {
    return countedSingly(this.rate);
  }

  /** The call is over, however it ended. */
  settle(cost: number): void {
    this.inFlight = Math.max(0, this.inFlight - cost);
  }

  learn(nowMs: number, report: BudgetReport): void {
    this.refill(nowMs);
    if (report.ratePerSecond !== undefined && report.ratePerSecond > 0) this.rate = report.ratePerSecond;
    if (report.ratePerSecond !== undefined || report.capacity !== undefined) this.told = true;
    if (report.capacity !== undefined && report.capacity > 0) this.capacity = Math.max(1, report.capacity);
    if (report.available !== undefined)
      this.tokens = (report.available - this.capacity * (1 - SAFETY)) * this.share - this.inFlight;
    this.tokens = Math.min(this.tokens, this.room());
  }

  /** The vendor refused for rate: half speed, and nothing before `retryAfterMs`. */
  refused(nowMs: number, retryAfterMs: number): void {
    this.refill(nowMs);
    if (nowMs - this.refusedAt >= SAME_REFUSAL_MS) {
      this.slowdown = Math.max(SLOWEST, this.slowdown / 2);
      this.refusedAt = nowMs;
    }
    this.tokens = Math.min(this.tokens, 0);
    this.blockedUntil = Math.max(this.blockedUntil, nowMs + retryAfterMs);
  }

  /** Share of the usable bucket that is left, 0–1. */
  left(nowMs: number): number {
    this.refill(nowMs);
    return Math.max(0, Math.min(1, this.tokens / this.room()));
  }

  /** Our part from now on, and what it brings or takes in tokens. */
  setShare(nowMs: number, share: number, tokens: number, limits?: { rate: number; capacity: number }): void {
    this.refill(nowMs);
    if (limits && !this.told) {
      this.rate = limits.rate;
      this.capacity = limits.capacity;
    }
    this.share = share;
    this.tokens = Math.min(this.tokens + tokens, this.room());
  }

  /** What others are told of us; `used` counts points since it was last told, urgent ones fourfold. */
  tell(nowMs: number): Omit<ShareClaim, 'bucket' | 'demand' | 'refusals' | 'relaxed' | 'leaves' | 'lapsed'> & {
    used: number;
  } {
    this.refill(nowMs);
    const { rate, capacity, told, tokens, used } = this;
    const untold = this.isCounted() ? this.untold : null;
    this.used = 0;
    return { rate, capacity, told, tokens, used, untold, blockedForMs: Math.max(0, this.blockedUntil - nowMs) };
  }

  state(nowMs: number): Pick<BudgetState, 'tokens' | 'capacity' | 'ratePerSecond' | 'slowdown' | 'inFlight'> {
    this.refill(nowMs);
    const { tokens, capacity, slowdown, inFlight } = this;
    return { tokens, capacity, ratePerSecond: this.effectiveRate(), slowdown, inFlight };
  }

  private usable(): number {
    return Math.max(1, this.capacity * SAFETY);
  }

  private effectiveRate(): number {
    return this.rate * SAFETY * this.slowdown * this.share;
  }

  /** What we may hold: our part of the burst, and always enough for one call. */
  private room(): number {
    return this.share >= 1 ? this.usable() : Math.max(1, this.usable() * this.share, this.wants);
  }

  /** A cost above what the bucket can ever hold needs a full bucket, and leaves it in debt. */
  private needed(budgetClass: BudgetClass, cost: number): number {
    const floor =
      budgetClass === 'urgent' || (budgetClass === 'read' && this.owesRead(cost))
        ? 0
        : this.reserve * this.usable() * this.share;
    return Math.min(cost + floor, this.usable());
  }

  private refill(nowMs: number): void {
    const elapsed = Math.max(0, nowMs - this.at);
    if (elapsed === 0) return;
    this.at = nowMs;
    this.tokens = Math.min(this.room(), this.tokens + (this.effectiveRate() * elapsed) / 1000);
    this.slowdown = Math.min(1, this.slowdown + elapsed / RECOVERY_MS);
  }
}

interface Waiter {
  budgetClass: BudgetClass;
  cost: number;
  order: number;
  grant(): void;
}

export interface BudgetPermit {
  /** How long the call waited, ms. */
  waitedMs: number;
  /** Share of the bucket left after this call, 0–1. */
  left: number;
  release(): void;
  /** Instead: the call never left. */
  giveBack(): void;
}

/** The buckets of one connection. */
export interface Budgets {
  /** Waits for its turn. Throws connector.unavailable when the signal aborts first: nothing was sent. */
  acquire(bucket: string, budgetClass: BudgetClass, cost: number, signal: AbortSignal): Promise<BudgetPermit>;
  report(bucket: string, report: BudgetReport): void;
  /** A refusal for rate; `retryAfterMs` null when the vendor named none. */
  refused(bucket: string, retryAfterMs: number | null): void;
  state(): BudgetState[];
  /** Begins without a share: `grant` brings one. */
  restrict(bucket: string, share: number): void;
  /** What is asked of the other processes for this bucket. */
  claim(bucket: string, how: Pick<ShareClaim, 'leaves' | 'lapsed'>): ShareClaim;
  /** @param untold the claim's, which the others know now */
  grant(grant: ShareGrant, untold: number): void;
  /** Each call of this bucket is told of before it leaves. */
  isCounted(bucket: string): boolean;
  /** What a call of this cost took is there, as the others see it too. */
  covers(bucket: string, cost: number): boolean;
  /** Nobody waits, nothing is on its way. */
  isIdle(bucket: string): boolean;
  /** Told of each call that cannot go at once. */
  onWait(tell: (bucket: string) => void): void;
}

/**
 * @param limits buckets by name; a name that is not listed gets cautious limits (2/s, burst 10).
 */
export function createBudgets(clock: Clock, limits: Readonly<Record<string, BudgetLimits>>): Budgets {
  const queues = new Map<string, BucketQueue>();
  const told: ((bucket: string) => void)[] = [];
  const queueOf = (name: string): BucketQueue => {
    const found =
      queues.get(name) ??
      new BucketQueue(clock, new Bucket(limits[name] ?? UNKNOWN_LIMITS, clock.monotonicMs()), name, () => {
        for (const tell of told) tell(name);
      });
    queues.set(name, found);
    return found;
  };
  return {
    acquire: (bucket, budgetClass, cost, signal) => queueOf(bucket).acquire(budgetClass, cost, signal),
    report: (bucket, report) => queueOf(bucket).learn(report),
    refused: (bucket, retryAfterMs) => queueOf(bucket).refused(retryAfterMs ?? 1_000),
    state: () => [...queues.values()].map((queue) => queue.state()),
    restrict: (bucket, share) => queueOf(bucket).restrict(share),
    claim: (bucket, how) => queueOf(bucket).claim(how),
    grant: (grant, untold) => queueOf(grant.bucket).grant(grant, untold),
    isCounted: (bucket) => queueOf(bucket).isCounted(),
    covers: (bucket, cost) => queueOf(bucket).covers(cost),
    isIdle: (bucket) => queueOf(bucket).isIdle(),
    onWait: (tell) => void told.push(tell),
  };
}

/** Who waits for one bucket. States: idle (nobody waits) → pumping (one sleeper until the first in line may go) → idle. */
class BucketQueue {
  private readonly clock: Clock;
  private readonly bucket: Bucket;
  private readonly name: string;
  private waiters: Waiter[] = [];
  private arrivals = 0;
  private wake: AbortController | null = null;
  private refusals = 0;
  private refusalsKnown: number | null = null;
  private toldAt: number | null = null;
  private readonly waits: () => void;

  constructor(clock: Clock, bucket: Bucket, name: string, waits: () => void) {
    this.waits = waits;
    this.clock = clock;
    this.bucket = bucket;
    this.name = name;
  }

  async acquire(budgetClass: BudgetClass, cost: number, signal: AbortSignal): Promise<BudgetPermit> {
    const startedAt = this.clock.monotonicMs();
    if (signal.aborted) throw this.abandoned(budgetClass);
    if (this.waiters.length > 0 || this.bucket.waitMs(startedAt, budgetClass, cost) > 0)
      await this.wait(budgetClass, cost, signal);
    else this.bucket.take(budgetClass, cost);
    const now = this.clock.monotonicMs();
    let released = false;
    const release = () => {
      if (!released) this.bucket.settle(cost);
      released = true;
    };
    const giveBack = () => {
      if (!released) this.bucket.giveBack(this.clock.monotonicMs(), cost);
      release();
      this.wake?.abort();
    };
    return { waitedMs: now - startedAt, left: this.bucket.left(now), release, giveBack };
  }

  learn(report: BudgetReport): void {
    this.bucket.learn(this.clock.monotonicMs(), report);
    if (report.throttled) {
      this.refusals += 1;
      this.bucket.refused(this.clock.monotonicMs(), 0);
    }
    this.wake?.abort();
  }

  restrict(share: number): void {
    const now = this.clock.monotonicMs();
    const { tokens } = this.bucket.state(now);
    this.bucket.setShare(now, share, Math.min(0, -tokens));
    this.wake?.abort();
  }

  isCounted(): boolean {
    return this.bucket.isCounted();
  }

  covers(cost: number): boolean {
    return this.bucket.covers(this.clock.monotonicMs(), cost);
  }

  isIdle(): boolean {
    return this.waiters.length === 0 && this.bucket.state(this.clock.monotonicMs()).inFlight === 0;
  }

  claim({ leaves, lapsed }: Pick<ShareClaim, 'leaves' | 'lapsed'>): ShareClaim {
    const now = this.clock.monotonicMs();
    const first = this.toldAt === null;
    const seconds = Math.max(100, now - (this.toldAt ?? now - 1_000)) / 1_000;
    this.toldAt = leaves ? null : now;
    const { used, ...told } = this.bucket.tell(now);
    const waiting = this.waiters.reduce((sum, { cost, budgetClass }) => sum + cost * weightOf(budgetClass), 0);
    const { refusals } = this;
    this.refusals = 0;
    const demand = (used + waiting) / seconds;
    const relaxed = !first && waiting === 0 && refusals === 0 && demand < told.rate * RELAXED_BELOW;
    return { bucket: this.name, ...told, demand, refusals, relaxed, leaves, lapsed };
  }

  /** An answer to `claim`. A refusal of another process is ours as well. */
  grant({ share, tokens, refusals, blockedForMs, ...limits }: ShareGrant, untold: number): void {
    const now = this.clock.monotonicMs();
    this.bucket.confirmed(untold);
    if (this.refusalsKnown !== null && refusals > this.refusalsKnown) this.bucket.refused(now, blockedForMs);
    this.refusalsKnown = refusals;
    this.bucket.setShare(now, share, tokens, limits);
    this.wake?.abort();
  }

  refused(retryAfterMs: number): void {
    this.refusals += 1;
    this.bucket.refused(this.clock.monotonicMs(), retryAfterMs);
    this.wake?.abort();
  }

  state(): BudgetState {
    const count = (budgetClass: BudgetClass) =>
      this.waiters.filter((waiter) => waiter.budgetClass === budgetClass).length;
    const waiting = { urgent: count('urgent'), bulk: count('bulk'), read: count('read') };
    return { bucket: this.name, ...this.bucket.state(this.clock.monotonicMs()), waiting };
  }

  private wait(budgetClass: BudgetClass, cost: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        budgetClass,
        cost,
        order: this.arrivals++,
        grant: () => {
          signal.removeEventListener('abort', abandon);
          resolve();
        },
      };
      const abandon = () => {
        this.waiters = this.waiters.filter((other) => other !== waiter);
        this.wake?.abort();
        reject(this.abandoned(budgetClass));
      };
      signal.addEventListener('abort', abandon, { once: true });
      this.waiters.push(waiter);
      this.waits();
      if (this.wake) this.wake.abort();
      else void this.pump();
    });
  }

  private async pump(): Promise<void> {
    while (this.waiters.length > 0) {
      const next = this.first();
      const waitMs = this.bucket.waitMs(this.clock.monotonicMs(), next.budgetClass, next.cost);
      if (waitMs <= 0) {
        this.waiters = this.waiters.filter((waiter) => waiter !== next);
        this.bucket.take(next.budgetClass, next.cost);
        next.grant();
        continue;
      }
      this.wake = new AbortController();
      await this.clock.sleep(waitMs, this.wake.signal);
    }
    this.wake = null;
  }

  /** Whose turn it is. Nobody overtakes the first in line, or a dear call would starve behind cheap ones. */
  private first(): Waiter {
    const rank = (waiter: Waiter): number => {
      if (waiter.budgetClass === 'read') return this.bucket.owesRead(waiter.cost) ? 0 : 2;
      return waiter.budgetClass === 'urgent' ? 1 : 2;
    };
    return this.waiters.reduce((best, waiter) => {
      const difference = rank(waiter) - rank(best);
      return difference < 0 || (difference === 0 && waiter.order < best.order) ? waiter : best;
    });
  }

  private abandoned(budgetClass: BudgetClass): ConnectorError {
    const details = { bucket: this.name, budget: budgetClass, abandoned: true };
    return new ConnectorError(
      'connector.unavailable',
      `The deadline passed while waiting for the budget "${this.name}"; nothing was sent.`,
      details,
    );
  }
}
