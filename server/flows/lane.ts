/**
 * A lane: the one coordinator of a connection's numbers, under a lease. Again and again:
 *
 *   look (loadWork) → decide (lane-decision) → read or write in slots → book → the same targets again, until nothing is left
 *
 * One turn of a target ends with nothing to do, or waits. Beside it: lane-lease (who may write), lane-health (when the channel refuses
 * or does not answer), lane-slots (calls in flight), lane-writing (one call's writes), lane-feeds (documents of many).
 */
import { ConnectorError, StoreError } from '#core/errors.ts';
import { instantMs } from '#core/stock/observe.ts';
import { fewUnits } from '#core/stock/urgency.ts';
import { type Refusal, settleRefused, tellRefused } from '#store/attention/rejected.ts';
import { applyDriftSteps } from '#store/drift/decide.ts';
import { endHealed, releaseToDrift } from '#store/drift/record.ts';
import { type AttemptResult, recordAttempts } from '#store/listings/attempts.ts';
import { settlePauses } from '#store/listings/halts.ts';
import { recordReads } from '#store/listings/observations.ts';
import { recordShadow } from '#store/listings/shadow.ts';
import { announce, type Finding, recordFindings, settleUnauthorized } from '#store/listings/states.ts';
import { tallySwept } from '#store/listings/sweeps.ts';
import { anyTarget, loadWork, type Pick, type Work, type WorkTarget } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import { Asking, Gathering, plentyUnits } from './gathering.ts';
import { type Decisions, decide, firstTurn, type Turn } from './lane-decision.ts';
import { LaneFeeds } from './lane-feeds.ts';
import { LaneHealth } from './lane-health.ts';
import { LaneLease } from './lane-lease.ts';
import type { SentRow } from './lane-outcome.ts';
import {
  afterReading,
  draftOf,
  drifting,
  driftSteps,
  numbersRead,
  pairReadings,
  postponed,
  readCalls,
  type SendCall,
  sendCalls,
  sliceOf,
  sweptLooks,
  visible,
} from './lane-plan.ts';
import { LaneSlots, type Next } from './lane-slots.ts';
import { LaneWriting, type MadeCall } from './lane-writing.ts';
import type { Lane, LaneOptions } from './publisher-types.ts';
import { restAfter } from './pulse.ts';
import { tellRead, tellSent } from './telling.ts';
import { traceOf, tracing } from './tracing.ts';

/** Rounds a target may take in one turn (read, write, stale, read, write …) before it waits. */
const roundsPerTurn = 8;
/** What a channel took and never applied is sent again after this, and as many settle times as it was given before. */
const soonestAgainMs = 60_000;
/** A probe reads few orders: whether it may is the question. */
const probedOrdersMs = 1_000;
/** How long a computed number may wait for its slot. */
const computedForMs = 100;

export function createLane(options: LaneOptions): Lane {
  return new ConnectionLane(options);
}

class ConnectionLane implements Lane {
  readonly connection;
  readonly #options: LaneOptions;
  readonly #lease: LaneLease;
  readonly #leaseMs: number;
  readonly #slots: LaneSlots;
  readonly #health: LaneHealth;
  readonly #feeds: LaneFeeds;
  readonly #writing: LaneWriting;
  readonly #gathering: Gathering;
  readonly #asking: Asking;
  readonly #booking: Asking;
  readonly #busy = new Set<string>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #ended = 0;
  #askedAt = Number.NEGATIVE_INFINITY;
  #dead = false;
  #running = false;
  #loop: Promise<void> | null = null;
  #woken = false;
  /** The last look took all it may: more waits. */
  #fullSlice = false;
  #wakeUp: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.connection = options.connection;
    const { manifest } = options.opened;
    const { store, clock, connection, soleProcess = false } = options;
    const { requestTimeoutMs } = manifest;
    this.#gathering = new Gathering(clock, options.pressure);
    this.#asking = new Asking(clock, options.pressure, options.opened.manifest.orders.askEveryMs);
    this.#booking = new Asking(clock, undefined);
    this.#leaseMs = options.leaseMs ?? 2 * requestTimeoutMs + 1_000;
    this.#lease = new LaneLease({
      store,
      clock,
      connection,
      holder: options.ids.uuid(),
      ttlMs: this.#leaseMs,
      requestTimeoutMs,
      soleProcess,
    });
    this.#slots = new LaneSlots(clock, manifest.stock.callsInFlight, (kind, change) =>
      options.metrics?.inFlight?.(connection, kind, change),
    );
    this.#health = new LaneHealth(options, () => this.wake(), this.#stopping.signal);
    this.#writing = new LaneWriting({
      ...options,
      lease: this.#lease,
      unreachable: () => this.#health.unreachable,
      dead: () => this.#dead,
      deadline: (work) => this.#deadline(work),
    });
    this.#feeds = new LaneFeeds({
      ...options,
      lease: this.#lease,
      health: this.#health,
      stopped: () => this.#dead || this.#stopping.signal.aborted,
      deadline: (work) => this.#deadline(work),
      find: (targets, findings, refused) => this.#find(targets, findings, refused),
    });
  }

  wake(forAll = false): void {
    this.#woken = true;
    if (forAll) this.#gathering.end();
    this.#wakeUp?.();
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#stopping.abort();
    this.wake();
    if (this.#dead) return;
    await this.#loop;
    await Promise.all(this.#tasks);
    await this.#lease.giveBack();
  }

  abandon(): void {
    this.#dead = true;
    this.#running = false;
    this.#stopping.abort();
    this.wake();
  }

  async drain(): Promise<void> {
    for (let round = 0; round < 10_000 && !this.#dead; round += 1) {
      const ended = this.#ended;
      const found = await this.#round();
      // A task that ended while we looked may have left work that the look did not see.
      if (!found && this.#tasks.size === 0 && this.#ended === ended) return;
      if (!found && this.#tasks.size > 0) await Promise.race(this.#tasks);
    }
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (this.#running) {
      this.#woken = false;
      const began = clock.monotonicMs();
      const found = await this.#round().catch((error: unknown) => this.#failed(error));
      const burst = !this.#fullSlice && this.#options.pressure?.isHigh();
      if ((found || this.#gathering.on) && this.#running)
        await clock.sleep(restAfter(clock.monotonicMs() - began, burst), this.#stopping.signal);
      if (found || this.#woken || !this.#running) continue;
      const idle = new AbortController();
      this.#wakeUp = () => idle.abort();
      const before = clock.monotonicMs();
      const gathered = this.#gathering.on;
      if (!this.#woken) await clock.sleep(gathered ? this.#gathering.leftMs() : this.#leaseMs / 3, idle.signal);
      this.#wakeUp = null;
      if (!gathered && !this.#woken && this.#tasks.size === 0 && clock.monotonicMs() - before > 0)
        await this.#lease.giveBack().catch((error: unknown) => this.#failed(error));
    }
  }

  #failed(error: unknown): false {
    const { log } = this.#options;
    const brief = error instanceof StoreError ? error.code : 'unexpected';
    log.error(
      {
        ...this.connection,
        code: brief,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      },
      'A lane failed; it goes on shortly.',
    );
    if (!this.#dead) this.#health.pause(500);
    return false;
  }

  /** One look for work. @returns whether anything was claimed. */
  async #round(): Promise<boolean> {
    const { clock, opened } = this.#options;
    this.#gathering.on = false;
    if (this.#dead || this.#health.isSlow('urgent')) return false;
    const hold = await this.#lease.hold();
    if (!hold || this.#dead) return false;
    const urgentOnly = this.#slots.waiting('bulk') > 0 || this.#health.isSlow('bulk');
    const limit = urgentOnly ? opened.manifest.stock.urgentRows * 4 : (this.#options.slice ?? sliceOf(opened.manifest));
    const exclude = [...this.#busy];
    // A look that could not take all goes on at once.
    if (this.#fullSlice || !this.#running) this.#gathering.end();
    const below = urgentOnly ? fewUnits : this.#gathering.look() ? plentyUnits : null;
    const orFast = !urgentOnly && below !== null;
    const lateLooks = this.#gathering.lateLooks();
    const work = await this.#load({ kind: 'claim', limit, exclude, below, orFast, openWrites: true, lateLooks });
    if (this.#dead || !work.connection) return false;
    this.#askForOrders(work);
    this.#health.told(work.connection.state);
    if (work.connection.state === 'unauthorized') {
      await this.#tx((tx) => settleUnauthorized(tx, hold.orgId, hold.connectionId, clock.now()));
      if (this.#health.asksAgain()) await this.#probe();
      return false;
    }
    const picked = work.targets.filter((target) => target.picked);
    this.#fullSlice = picked.length >= limit;
    const feeding = await this.#feeds.next(hold, picked.length >= limit, [...this.#busy]);
    if (this.#dead) return false;
    if (feeding) {
      // What was claimed may now travel in a feed: claimed again without it.
      this.#task([], feeding);
      return true;
    }
    if (work.connection.paused) {
      await this.#tx((tx) => settlePauses(tx, hold.orgId, hold.connectionId, null, clock.now()));
      return false;
    }
    if (picked.length === 0) {
      if (work.connection.state === 'unreachable' && this.#busy.size === 0) await this.#probe();
      return false;
    }
    for (const { id } of picked) this.#busy.add(id);
    this.#task(
      picked.map(({ id }) => id),
      () => this.#handle(work, firstTurn),
    );
    // Calls are on their way; what else waits is claimed while they are.
    return true;
  }

  /**
   * A channel that refused us, or could not be reached, is asked now and then whether it still does: nobody else would
   * notice that it has ended when nothing waits to be sent. Stock and orders: what refused us may have been either.
   */
  async #probe(): Promise<void> {
    const { clock, connection, opened } = this.#options;
    const ref = await this.#tx((tx) => anyTarget(tx, connection.orgId, connection.connectionId));
    if (this.#dead || !ref) return;
    try {
      await this.#deadline((signal) => opened.channel.stock.read([ref], { budget: 'read', signal }));
      await this.#deadline((signal) =>
        opened.channel.orders.changedSince(clock.now() - probedOrdersMs, null, { budget: 'read', signal }),
      );
    } catch (error) {
      return this.#dead ? undefined : this.#refused(error);
    }
    if (!this.#dead) await this.#health.working();
  }

  async #refused(error: unknown): Promise<void> {
    const failure = error instanceof ConnectorError ? error : null;
    if (failure?.code === 'connector.unauthorized') await this.#health.unauthorized(failure.message);
    else if (failure?.code === 'connector.rate_limited')
      await this.#health.limited(['urgent', 'bulk', 'read'], failure.retryAfterMs ?? 1_000);
    else await this.#health.notReached(error instanceof Error ? error.message : 'The read failed.');
  }

  /** What these numbers wait for: sales that are presumed, and lines that wait to be booked. */
  #askForOrders(work: Work): void {
    const { requestOrderSweep, completeUnmapped } = this.#options;
    const { askOrders = false, gapsAfter = null, raisesAfter = null } = work.connection ?? {};
    const dear = this.#options.opened.manifest.orders.askEveryMs !== undefined;
    const gapsWait = askOrders && (!dear || this.#reachesPast(gapsAfter));
    if (this.#asking.now(gapsWait || this.#raisesWait(raisesAfter))) {
      this.#askedAt = this.#options.clock.monotonicMs();
      requestOrderSweep?.(this.connection);
    }
    const waits = work.targets.some(({ picked, unbooked }) => picked && unbooked > 0);
    if (this.#booking.now(waits)) completeUnmapped?.(this.connection);
  }

  /** Numbers are held for their orders, and a sweep would reach past the first of them. One per lag: it is the channel's pace. */
  #raisesWait(after: number | null): boolean {
    const { clock, opened } = this.#options;
    return this.#reachesPast(after) && clock.monotonicMs() - this.#askedAt >= opened.manifest.orders.lagMs;
  }

  /** A sweep that begins now would know the orders past then. */
  #reachesPast(after: number | null): boolean {
    const { clock, opened } = this.#options;
    return after !== null && clock.now() >= after + opened.manifest.orders.lagMs + instantMs;
  }

  #tx<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#options.store.tenant(this.connection.orgId, work);
  }

  #load(pick: Pick): Promise<Work> {
    const { store, clock, connection } = this.#options;
    const { orgId, connectionId } = connection;
    return store.tenant(orgId, (tx) => loadWork(tx, orgId, connectionId, clock.now(), pick), { keepPlans: true });
  }

  /** Runs and keeps track; `ids` are free again when it ends, whatever it came to. */
  #task(ids: readonly string[], work: () => Promise<void>): void {
    const task: Promise<void> = work()
      .catch((error: unknown) => {
        this.#failed(error);
      })
      .finally(() => {
        for (const id of ids) this.#busy.delete(id);
        this.#tasks.delete(task);
        this.#ended += 1;
        this.wake();
      });
    this.#tasks.add(task);
  }

  // ── deciding ──

  async #again(ids: readonly string[], turn: Turn): Promise<void> {
    if (ids.length === 0 || this.#dead) return;
    const work = await this.#load({ kind: 'ids', ids });
    this.#askForOrders(work);
    if (work.connection && work.connection.state !== 'unauthorized')
      await this.#handle(work, { ...turn, round: turn.round + 1 });
  }

  /** Settles every picked target of this work: what it starts, it waits for. */
  async #handle(work: Work, turn: Turn): Promise<void> {
    const { clock, opened } = this.#options;
    if (this.#dead) return;
    const now = clock.now();
    if (turn.round >= roundsPerTurn) return this.#find(work.targets, postponed(work, now + 1_000));
    const mono = clock.monotonicMs();
    const decisions = decide(work, {
      now,
      monotonicMs: mono,
      manifest: opened.manifest,
      quietUntil: this.#lease.quietUntil(),
      limited: this.#health.isLimited,
      turn,
      lateLooks: this.#gathering.lateLooks(),
    });
    await this.#drift(decisions);
    await Promise.all([
      this.#again(
        decisions.released.map(({ id }) => id),
        turn,
      ),
      this.#find(work.targets, decisions.findings),
      ...readCalls(decisions.reads, opened.manifest, now).map((targets) =>
        this.#slots.run('read', () => this.#read(targets, turn)),
      ),
      ...sendCalls(decisions.sends, opened.manifest, turn.maxRows).map((call) =>
        this.#slots.run(call.budget, (waitedMs) => this.#send(call, turn, waitedMs)),
      ),
    ]);
  }

  /** Gaps that were no sales, and what the policy makes of drifts: committed before anything follows from it. */
  async #drift({ released, drifts }: Decisions): Promise<void> {
    if (released.length === 0 && drifts.length === 0) return;
    const { clock, ids } = this.#options;
    const { orgId } = this.connection;
    const context = { ids, now: clock.now() };
    await this.#tx(async (tx) => {
      await releaseToDrift(
        tx,
        orgId,
        released.map(({ id }) => id),
        context,
      );
      await applyDriftSteps(tx, orgId, driftSteps(drifts), context);
    });
  }

  async #find(
    targets: readonly WorkTarget[],
    findings: readonly Finding[],
    refused: readonly Refusal[] = [],
  ): Promise<void> {
    if (findings.length === 0) return;
    const { orgId, connectionId } = this.connection;
    const now = this.#options.clock.now();
    const changed = visible(findings, targets);
    const right = findings.filter(({ state, targetId }) => state === 'in_sync' && changed.includes(targetId));
    const rightIds = right.map(({ targetId }) => targetId);
    await this.#tx(async (tx) => {
      await Promise.all([recordFindings(tx, orgId, findings, now), announce(tx, orgId, changed)]);
      await recordShadow(tx, orgId, connectionId, findings, { now, ids: this.#options.ids });
      await tellRefused(tx, orgId, connectionId, refused, { now, ids: this.#options.ids });
      await settleRefused(tx, orgId, connectionId, rightIds, now);
      await endHealed(tx, orgId, drifting(findings, targets), now);
    });
  }

  // ── calls ──

  async #deadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, opened } = this.#options;
    const limit = new AbortController();
    const done = new AbortController();
    void clock.sleep(opened.manifest.requestTimeoutMs, done.signal).then(() => limit.abort());
    try {
      return await work(limit.signal);
    } finally {
      done.abort();
    }
  }

  async #read(targets: WorkTarget[], turn: Turn): Promise<Next> {
    const { clock, opened, hooks, ids } = this.#options;
    if (this.#dead) return;
    const targetIds = targets.map(({ id }) => id);
    if (this.#health.isSlow('read')) return () => this.#again(targetIds, { ...turn, readFailed: new Set(targetIds) });
    let readings: Awaited<ReturnType<typeof opened.channel.stock.read>>;
    try {
      const refs = targets.map(({ stockKey, channelLocation }) => ({ stockKey, channelLocation }));
      readings = await this.#deadline((signal) =>
        tracing.run(traceOf(targets), () => opened.channel.stock.read(refs, { budget: 'read', signal })),
      );
    } catch (error) {
      return this.#dead ? undefined : () => this.#readFailed(targets, turn, error);
    }
    await hooks?.afterRead?.(targetIds);
    if (this.#dead) return;
    await this.#health.reached();
    const at = clock.monotonicMs();
    const found = pairReadings(targets, readings);
    const { settleMs, rejectAfterSettles } = opened.manifest.stock;
    const againMs = Math.max(soonestAgainMs, rejectAfterSettles * settleMs);
    const { orgId, connectionId } = this.connection;
    const context = { ids, now: clock.now(), settle: { settleMs, rejectAfter: rejectAfterSettles } };
    const results = await this.#tx(async (tx) => {
      const seen = await recordReads(tx, orgId, connectionId, numbersRead(found), context);
      await tallySwept(tx, orgId, sweptLooks(found, seen), context.now);
      return seen;
    });
    tellRead(this.#options, found, results);
    await hooks?.afterReadRecord?.(targetIds);
    if (this.#dead) return;
    return async () => {
      const { findings, refusals, numbers } = afterReading(found, results, context.now + againMs);
      await this.#find(targets, findings, refusals);
      const reads = new Map(turn.reads);
      for (const { targetId, value, verdict } of numbers) reads.set(targetId, { value, at, verdict });
      await this.#again(
        numbers.map(({ targetId }) => targetId),
        { ...turn, reads },
      );
    };
  }

  async #readFailed(targets: WorkTarget[], turn: Turn, error: unknown): Promise<void> {
    const ids = targets.map(({ id }) => id);
    const failure = error instanceof ConnectorError ? error : null;
    if (failure?.code === 'connector.unauthorized') return this.#health.unauthorized(failure.message);
    if (failure?.code === 'connector.rate_limited') await this.#health.limited(['read'], failure.retryAfterMs ?? 1_000);
    else await this.#health.notReached(error instanceof Error ? error.message : 'The read failed.');
    await this.#again(ids, { ...turn, readFailed: new Set([...turn.readFailed, ...ids]) });
  }

  async #send(call: SendCall, turn: Turn, waitedMs: number): Promise<Next> {
    const { clock, ids } = this.#options;
    if (this.#dead) return;
    // What was computed long ago is computed again, in the slot it now has.
    const fresh = waitedMs > computedForMs ? await this.#recompute(call, turn) : { call, rest: undefined };
    const { sends, budget } = fresh.call;
    if (sends.length === 0) return fresh.rest;
    const hold = await this.#lease.hold();
    if (!hold || this.#dead) return fresh.rest;
    const rows: SentRow[] = sends.map((send) => ({ attemptId: ids.uuid(), send }));
    const key = ids.uuid();
    const askedAt = clock.monotonicMs();
    const recorded = await this.#tx((tx) => recordAttempts(tx, hold, key, rows.map(draftOf), clock.now()));
    if (this.#dead) return;
    if (!recorded) {
      this.#lease.lost();
      return fresh.rest;
    }
    const sent = rows.filter(({ send }) => recorded.has(send.target.id));
    const moved = rows.filter(({ send }) => !recorded.has(send.target.id)).map(({ send }) => send.target.id);
    tellSent(this.#options, sent, key);
    const made = sent.length > 0 ? await this.#writing.make(hold, key, budget, sent, askedAt) : null;
    return async () => {
      await Promise.all([
        fresh.rest?.(),
        this.#again(moved, turn),
        made ? this.#follow(made.results, made.followUp, turn) : undefined,
      ]);
    };
  }

  /** The same targets as of now; those that need something else than this call go on by themselves. */
  async #recompute(call: SendCall, turn: Turn): Promise<{ call: SendCall; rest: Next }> {
    const { clock, opened } = this.#options;
    const ids = call.sends.map(({ target }) => target.id);
    const work = await this.#load({ kind: 'ids', ids });
    const mono = clock.monotonicMs();
    const { sends } = decide(work, {
      now: clock.now(),
      monotonicMs: mono,
      manifest: opened.manifest,
      quietUntil: this.#lease.quietUntil(),
      limited: this.#health.isLimited,
      turn,
    });
    const others = ids.filter((id) => !sends.some(({ target }) => target.id === id));
    return {
      call: { ...call, sends },
      rest: others.length > 0 ? () => this.#again(others, { ...turn, round: turn.round - 1 }) : undefined,
    };
  }

  async #follow(results: readonly AttemptResult[], followUp: MadeCall['followUp'], turn: Turn): Promise<void> {
    if (followUp.kind === 'withdrawn')
      return this.#again(
        results.map(({ targetId }) => targetId),
        { ...turn, round: turn.round - 1 },
      );
    if (followUp.kind === 'unauthorized') return this.#health.unauthorized(followUp.reason);
    if (followUp.kind === 'slow') return this.#health.limited(['urgent', 'bulk'], followUp.forMs);
    if (followUp.kind === 'unavailable') return this.#health.notReached(followUp.reason);
    if (!results.every(({ outcome }) => outcome === 'unknown')) await this.#health.reached();
    const again = results.filter(
      ({ outcome, settlesAt }) =>
        outcome === 'stale' || outcome === 'not_applied' || (outcome === 'unknown' && settlesAt === null),
    );
    const nobodyNamed =
      followUp.kind === 'halve' || (results.length > 1 && results.every(({ outcome }) => outcome === 'not_applied'));
    const blameless = again.filter(({ outcome }) => outcome === 'not_applied').map(({ targetId }) => targetId);
    const toRead = again.filter(({ outcome }) => outcome !== 'not_applied').map(({ targetId }) => targetId);
    const maxRows = nobodyNamed ? Math.ceil(results.length / 2) : turn.maxRows;
    // Halving makes progress every time: it does not count as a round of going in circles.
    const round = nobodyNamed ? turn.round - 1 : turn.round;
    await Promise.all([
      this.#again(blameless, { ...turn, maxRows, round }),
      this.#again(toRead, { ...firstTurn, round: turn.round }),
    ]);
  }
}
