/**
 * The lane: the one coordinator of a connection's writes, under a lease.
 *
 *   idle → (woken) holds the lease → claims a slice → decides → reads and writes in flight → … → idle, lease given back
 *
 * Rules: an attempt is committed before its call · at most one call per target in flight · urgent calls have slots of
 * their own, so that nothing urgent waits behind bulk · right before each send the lease must outlast the request, by
 * our monotonic clock · a lane that lost its lease books everything it sent since as unknown · no HTTP in a transaction ·
 * a mark is cleared only at the version that was handled.
 *
 * Made by publisher.ts, one per connection; several processes may have one for the same connection, the lease decides.
 */
import type { BudgetClass, Manifest } from '#connectors/kit/ports.ts';
import { ConnectorError, StoreError } from '#core/errors.ts';
import { isUrgent } from '#core/stock/urgency.ts';
import { type AttemptResult, type LaneHold, recordAttempts, recordOutcomes } from '#store/listings/attempts.ts';
import { acquireLane, releaseLane } from '#store/listings/lease.ts';
import { settlePauses } from '#store/listings/listings.ts';
import { recordReads } from '#store/listings/observations.ts';
import { type Alert, announce, type Finding, raiseAlerts, recordFindings, resolveAlerts, setConnectionState } from '#store/listings/states.ts';
import { loadWork, type Work, type WorkTarget } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import { decide, firstTurn, type PlannedSend, type Turn } from './lane-decision.ts';
import { resultsOf, resultsOfFailure, type SentRow } from './lane-outcome.ts';
import type { Lane, LaneOptions, SentCall } from './publisher-types.ts';

/** Rounds a target may take in one turn (read, write, stale, read, write …) before it waits. */
const roundsPerTurn = 8;
/** Unreachable is said after this many calls in a row failed to get there. */
const failuresToUnreachable = 3;
const longestBackOffMs = 30_000;
/** Orders of a connection with presumed sales are asked for this often. */
const sweepAskMs = 1_000;
/** How long a computed number may wait for its slot. */
const computedForMs = 100;

interface SendCall {
  budget: 'urgent' | 'bulk';
  sends: PlannedSend[];
}

type Slots = Record<BudgetClass, number>;
/** What to do after a call, once its slot is free. */
type Next = (() => Promise<void>) | undefined;

export function createLane(options: LaneOptions): Lane {
  return new ConnectionLane(options);
}

class ConnectionLane implements Lane {
  readonly connection;
  readonly #options: LaneOptions;
  readonly #holder: string;
  readonly #leaseMs: number;
  readonly #busy = new Set<string>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #inFlight: Slots = { urgent: 0, bulk: 0, read: 0 };
  readonly #queues: Record<BudgetClass, (() => Promise<void>)[]> = { urgent: [], bulk: [], read: [] };
  /** By class: not before this monotonic time. */
  readonly #slowUntil: Slots = { urgent: 0, bulk: 0, read: 0 };
  #lease: { generation: number; untilMono: number } | null = null;
  #everHeld = false;
  #quietUntilMono = 0;
  #failures = 0;
  #askedSweepAt = Number.NEGATIVE_INFINITY;
  #dead = false;
  #running = false;
  #loop: Promise<void> | null = null;
  #woken = false;
  #wakeUp: (() => void) | null = null;
  readonly #stopping = new AbortController();

  constructor(options: LaneOptions) {
    this.#options = options;
    this.connection = options.connection;
    this.#holder = options.ids.uuid();
    this.#leaseMs = options.leaseMs ?? 2 * options.opened.manifest.requestTimeoutMs + 1_000;
  }

  wake(): void {
    this.#woken = true;
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
    await this.#giveBack();
  }

  abandon(): void {
    this.#dead = true;
    this.#running = false;
    this.#stopping.abort();
    this.wake();
  }

  async drain(): Promise<void> {
    for (let round = 0; round < 10_000 && !this.#dead; round += 1) {
      const found = await this.#round();
      if (!found && this.#tasks.size === 0) return;
      if (!found) await Promise.race(this.#tasks);
    }
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (this.#running) {
      this.#woken = false;
      const found = await this.#round().catch((error: unknown) => this.#failed(error));
      if (found || this.#woken || !this.#running) continue;
      const idle = new AbortController();
      this.#wakeUp = () => idle.abort();
      const before = clock.monotonicMs();
      if (!this.#woken) await clock.sleep(this.#leaseMs / 3, idle.signal);
      this.#wakeUp = null;
      if (!this.#woken && this.#tasks.size === 0 && clock.monotonicMs() - before > 0) await this.#giveBack().catch((error: unknown) => this.#failed(error));
    }
  }

  #failed(error: unknown): false {
    const { log } = this.#options;
    const brief = error instanceof StoreError ? error.code : 'unexpected';
    log.error({ ...this.connection, code: brief, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'A lane failed; it goes on shortly.');
    if (!this.#dead) this.#slow(['urgent', 'bulk', 'read'], 500);
    return false;
  }

  /** One look for work. @returns whether anything was claimed. */
  async #round(): Promise<boolean> {
    const { clock, opened } = this.#options;
    const mono = clock.monotonicMs();
    if (this.#dead || mono < this.#slowUntil.urgent) return false;
    const hold = await this.#hold(false);
    if (!hold) return false;
    const urgentOnly = this.#queues.bulk.length > 0 || mono < this.#slowUntil.bulk;
    const limit = urgentOnly ? opened.manifest.stock.urgentRows * 4 : (this.#options.slice ?? sliceOf(opened.manifest));
    const work = await this.#tx((tx) =>
      loadWork(tx, hold.orgId, hold.connectionId, clock.now(), { kind: 'claim', limit, exclude: [...this.#busy], urgentOnly, openWrites: true }),
    );
    if (this.#dead || !work.connection) return false;
    this.#askForOrders(work.connection.unseen);
    if (work.connection.state === 'unauthorized') return false;
    if (work.connection.paused) {
      await this.#tx((tx) => settlePauses(tx, hold.orgId, hold.connectionId, null, clock.now()));
      return false;
    }
    const picked = work.targets.filter((target) => target.picked);
    if (picked.length === 0) return false;
    for (const { id } of picked) this.#busy.add(id);
    this.#task(picked.map(({ id }) => id), () => this.#handle(work, firstTurn));
    // Calls are on their way; what else waits is claimed while they are.
    return true;
  }

  #askForOrders(unseen: boolean): void {
    if (!unseen) return;
    const mono = this.#options.clock.monotonicMs();
    if (mono - this.#askedSweepAt < sweepAskMs) return;
    this.#askedSweepAt = mono;
    this.#options.requestOrderSweep?.(this.connection);
  }

  #tx<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#options.store.tenant(this.connection.orgId, work);
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
        this.wake();
      });
    this.#tasks.add(task);
  }

  // ── the lease ──

  async #hold(fresh: boolean): Promise<LaneHold | null> {
    const { clock, store, opened, connection } = this.#options;
    const asked = clock.monotonicMs();
    const enough = this.#lease !== null && this.#lease.untilMono - asked > this.#leaseMs / 2;
    if (!enough || fresh) {
      const takeAtOnce = this.#options.soleProcess === true && !this.#everHeld;
      const times = { ttlMs: this.#leaseMs, requestTimeoutMs: opened.manifest.requestTimeoutMs, takeAtOnce };
      const lease = await store.tenant(connection.orgId, (tx) => acquireLane(tx, connection.orgId, connection.connectionId, this.#holder, times));
      if (!lease || this.#dead) {
        this.#lease = null;
        return null;
      }
      this.#everHeld = true;
      if (this.#lease?.generation !== lease.generation) this.#quietUntilMono = asked + lease.quietMs;
      this.#lease = { generation: lease.generation, untilMono: asked + this.#leaseMs };
    }
    return this.#lease && { ...connection, holder: this.#holder, generation: this.#lease.generation };
  }

  /** Our own view of the lease: the request must be over before anybody else may send. */
  #mayStillSend(): boolean {
    const { clock, opened } = this.#options;
    return this.#lease !== null && this.#lease.untilMono - clock.monotonicMs() > opened.manifest.requestTimeoutMs;
  }

  async #giveBack(): Promise<void> {
    if (!this.#lease || this.#dead) return;
    const { generation } = this.#lease;
    this.#lease = null;
    await this.#tx((tx) => releaseLane(tx, this.connection.orgId, this.connection.connectionId, this.#holder, generation));
  }

  // ── deciding ──

  async #again(ids: readonly string[], turn: Turn): Promise<void> {
    if (ids.length === 0 || this.#dead) return;
    const { clock, connection } = this.#options;
    const work = await this.#tx((tx) => loadWork(tx, connection.orgId, connection.connectionId, clock.now(), { kind: 'ids', ids }));
    if (work.connection && work.connection.state !== 'unauthorized') await this.#handle(work, { ...turn, round: turn.round + 1 });
  }

  /** Settles every picked target of this work: what it starts, it waits for. */
  async #handle(work: Work, turn: Turn): Promise<void> {
    const { clock, opened } = this.#options;
    if (this.#dead) return;
    const now = clock.now();
    if (turn.round >= roundsPerTurn) return this.#postpone(work, now);
    const mono = clock.monotonicMs();
    const quietUntil = mono < this.#quietUntilMono ? now + (this.#quietUntilMono - mono) : null;
    const decisions = decide(work, { now, monotonicMs: mono, manifest: opened.manifest, quietUntil, turn });
    await Promise.all([
      this.#find(work, decisions.findings, now),
      ...this.#readCalls(decisions.reads, now).map((targets) => this.#queued('read', () => this.#read(targets, turn))),
      ...this.#sendCalls(decisions.sends, turn.maxRows).map((call) => this.#queued(call.budget, (waitedMs) => this.#send(call, turn, waitedMs))),
    ]);
  }

  async #find(work: Work, findings: Finding[], now: number, alerts: Alert[] = []): Promise<void> {
    if (findings.length === 0) return;
    const { orgId } = this.connection;
    const before = new Map(work.targets.map((target) => [target.id, target]));
    const changed = findings.filter((one) => {
      const target = before.get(one.targetId);
      return !target || target.state !== one.state || (one.desired !== null && target.desired !== one.desired) || one.releaseUnseen;
    });
    const right = findings.filter(({ state, targetId }) => state === 'in_sync' && before.get(targetId)?.state !== 'in_sync');
    await this.#tx(async (tx) => {
      await recordFindings(tx, orgId, findings, now);
      if (changed.length > 0) await announce(tx, orgId, changed.map(({ targetId }) => targetId));
      if (alerts.length > 0) await raiseAlerts(tx, orgId, alerts, now);
      if (right.length > 0) await resolveAlerts(tx, orgId, 'listing_rejected', right.map(({ targetId }) => targetId), now);
    });
  }

  /** Too many rounds without an end: something moves faster than we look. It stays dirty and waits a second. */
  async #postpone(work: Work, now: number): Promise<void> {
    const findings = work.targets
      .filter(({ picked }) => picked)
      .map(({ id }): Finding => ({ targetId: id, desired: null, steps: null, state: 'pending', reason: 'The channel’s number changes faster than it can be compared; trying again.', handledVersion: null, nextTryAt: now + 1_000, releaseUnseen: false, readDue: 'keep' }));
    await this.#find(work, findings, now);
  }

  // ── calls ──

  /** Without compare-and-set a write follows right after its read: those are read in calls as small as the writes. */
  #readCalls(targets: readonly WorkTarget[], now: number): WorkTarget[][] {
    const { compareAndSet, readRows, urgentRows } = this.#options.opened.manifest.stock;
    const before = targets.filter((target) => !compareAndSet && target.dirty && !(target.readDue !== null && target.readDue <= now));
    const looks = targets.filter((target) => !before.includes(target));
    return [...chunks(before, urgentRows), ...chunks(looks, readRows)];
  }

  /** Urgent first, in small calls; a call names one channel location where the vendor wants that. */
  #sendCalls(sends: readonly PlannedSend[], maxRows: number): SendCall[] {
    const { urgentRows, bulkRows, oneLocationPerCall } = this.#options.opened.manifest.stock;
    const ordered = [...sends].sort((a, b) => a.urgency - b.urgency);
    return (['urgent', 'bulk'] as const).flatMap((budget) => {
      const mine = ordered.filter((send) => isUrgent(send.urgency) === (budget === 'urgent'));
      const places = oneLocationPerCall ? [...new Set(mine.map(({ target }) => target.channelLocation))] : [null];
      return places.flatMap((place) =>
        chunks(
          mine.filter(({ target }) => place === null || target.channelLocation === place),
          Math.min(maxRows, budget === 'urgent' ? urgentRows : bulkRows),
        ).map((chunk) => ({ budget, sends: chunk })),
      );
    });
  }

  /** Waits for a slot of its class; urgent calls have all slots, bulk leaves one. What follows the call runs without the slot. */
  async #queued(kind: BudgetClass, work: (waitedMs: number) => Promise<Next>): Promise<void> {
    const since = this.#options.clock.monotonicMs();
    const next = await new Promise<Next>((resolve, reject) => {
      this.#queues[kind].push(() => work(this.#options.clock.monotonicMs() - since).then(resolve, reject));
      this.#pump(kind);
    });
    await next?.();
  }

  #pump(kind: BudgetClass): void {
    const { callsInFlight } = this.#options.opened.manifest.stock;
    const slots = kind === 'bulk' ? Math.max(1, callsInFlight - 1) : callsInFlight;
    while (this.#inFlight[kind] < slots) {
      const job = this.#queues[kind].shift();
      if (!job) return;
      this.#inFlight[kind] += 1;
      void job().finally(() => {
        this.#inFlight[kind] -= 1;
        this.#pump(kind);
      });
    }
  }

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
    if (clock.monotonicMs() < this.#slowUntil.read) return () => this.#again(targetIds, { ...turn, readFailed: new Set(targetIds) });
    let readings: Awaited<ReturnType<typeof opened.channel.stock.read>>;
    try {
      const refs = targets.map(({ stockKey, channelLocation }) => ({ stockKey, channelLocation }));
      readings = await this.#deadline((signal) => opened.channel.stock.read(refs, { budget: 'read', signal }));
    } catch (error) {
      return this.#dead ? undefined : () => this.#readFailed(targets, turn, error);
    }
    await hooks?.afterRead?.(targetIds);
    if (this.#dead) return;
    await this.#reached();
    const at = clock.monotonicMs();
    const now = clock.now();
    const found = targets.map((target) => ({
      target,
      reading: readings.find(({ ref }) => ref.stockKey === target.stockKey && ref.channelLocation === target.channelLocation),
    }));
    const seen = found.flatMap(({ target, reading }) => {
      const value = reading?.kind === 'quantity' || reading?.kind === 'read_only' ? reading.value : null;
      return reading && reading.kind !== 'missing' && value !== null ? [{ targetId: target.id, value, vendorAt: reading.vendorAt, askedAt: target.seenVersion }] : [];
    });
    const { settleMs, rejectAfterSettles } = opened.manifest.stock;
    const { orgId, connectionId } = this.connection;
    const results = await this.#tx((tx) => recordReads(tx, orgId, connectionId, seen, { ids, now, settle: { settleMs, rejectAfter: rejectAfterSettles } }));
    if ([...results.values()].some(({ gap }) => gap > 0)) this.#askForOrders(true);
    return () => this.#afterRead(found, results, turn, at, now);
  }

  async #afterRead(
    found: { target: WorkTarget; reading: { kind: string; value?: number | null; reason?: string } | undefined }[],
    results: Awaited<ReturnType<typeof recordReads>>,
    turn: Turn,
    at: number,
    now: number,
  ): Promise<void> {
    const reads = new Map(turn.reads);
    const findings: Finding[] = [];
    const alerts: Alert[] = [];
    const on: string[] = [];
    for (const { target, reading } of found) {
      const result = results.get(target.id);
      const base = { targetId: target.id, desired: null, steps: null, nextTryAt: null, releaseUnseen: false, readDue: 'clear' as const };
      if (reading?.kind === 'read_only') {
        findings.push({ ...base, state: 'read_only', reason: 'The channel keeps this number itself.', handledVersion: target.dirtyVersion, readOnly: true });
      } else if (reading?.kind !== 'quantity') {
        const reason = reading?.reason ?? 'The channel does not know this number.';
        findings.push({ ...base, state: 'rejected', reason, handledVersion: target.dirtyVersion });
        alerts.push(this.#rejectedAlert(target, reason));
      } else if (result?.rejected) {
        const reason = `The channel accepted ${target.pendingValue ?? 'a number'} and still shows ${reading.value}: it was never applied.`;
        findings.push({ ...base, state: 'rejected', reason, handledVersion: target.dirtyVersion });
        alerts.push(this.#rejectedAlert(target, reason));
      } else {
        reads.set(target.id, { value: reading.value ?? 0, at, verdict: result?.verdict ?? 'old' });
        on.push(target.id);
      }
    }
    await this.#find({ connection: null, targets: found.map(({ target }) => target), listings: [], variants: [], places: [], policies: [] }, findings, now, alerts);
    await this.#again(on, { ...turn, reads });
  }

  #rejectedAlert(target: WorkTarget, reason: string): Alert {
    return {
      id: this.#options.ids.uuid(),
      kind: 'listing_rejected',
      severity: 'warning',
      message: `The channel refuses the number of ${target.stockKey}: ${reason}`,
      subjectKind: 'target',
      subjectId: target.id,
      details: { stockKey: target.stockKey, channelLocation: target.channelLocation },
    };
  }

  async #readFailed(targets: WorkTarget[], turn: Turn, error: unknown): Promise<void> {
    const ids = targets.map(({ id }) => id);
    const failure = error instanceof ConnectorError ? error : null;
    if (failure?.code === 'connector.unauthorized') return this.#unauthorized(failure.message);
    if (failure?.code === 'connector.rate_limited') this.#slow(['read'], failure.retryAfterMs ?? 1_000);
    else await this.#unreachable(error instanceof Error ? error.message : 'The read failed.');
    await this.#again(ids, { ...turn, readFailed: new Set([...turn.readFailed, ...ids]) });
  }

  async #send(call: SendCall, turn: Turn, waitedMs: number): Promise<Next> {
    const { clock, ids } = this.#options;
    if (this.#dead) return;
    // What was computed long ago is computed again, in the slot it now has.
    const fresh = waitedMs > computedForMs ? await this.#recompute(call, turn) : { call, rest: undefined };
    const { sends, budget } = fresh.call;
    if (sends.length === 0) return fresh.rest;
    const hold = await this.#hold(false);
    if (!hold) return fresh.rest;
    const rows: SentRow[] = sends.map((send) => ({ attemptId: ids.uuid(), send }));
    const key = ids.uuid();
    const recorded = await this.#tx((tx) => recordAttempts(tx, hold, key, rows.map(draftOf), clock.now()));
    if (this.#dead) return;
    if (!recorded) {
      this.#lease = null;
      return fresh.rest;
    }
    const sent = rows.filter(({ send }) => recorded.has(send.target.id));
    const moved = rows.filter(({ send }) => !recorded.has(send.target.id)).map(({ send }) => send.target.id);
    const next = sent.length > 0 ? await this.#call(hold, key, budget, sent, turn) : undefined;
    return async () => {
      await Promise.all([fresh.rest?.(), this.#again(moved, turn), next?.()]);
    };
  }

  /** The same targets as of now; those that need something else than this call go on by themselves. */
  async #recompute(call: SendCall, turn: Turn): Promise<{ call: SendCall; rest: Next }> {
    const { clock, connection, opened } = this.#options;
    const ids = call.sends.map(({ target }) => target.id);
    const work = await this.#tx((tx) => loadWork(tx, connection.orgId, connection.connectionId, clock.now(), { kind: 'ids', ids }));
    const mono = clock.monotonicMs();
    const quietUntil = mono < this.#quietUntilMono ? clock.now() + (this.#quietUntilMono - mono) : null;
    const { sends } = decide(work, { now: clock.now(), monotonicMs: mono, manifest: opened.manifest, quietUntil, turn });
    const others = ids.filter((id) => !sends.some(({ target }) => target.id === id));
    return { call: { ...call, sends }, rest: others.length > 0 ? () => this.#again(others, { ...turn, round: turn.round - 1 }) : undefined };
  }

  async #call(hold: LaneHold, key: string, budget: 'urgent' | 'bulk', rows: SentRow[], turn: Turn): Promise<Next> {
    const { clock, opened, hooks } = this.#options;
    const call: SentCall = { key, budget, rows: rows.map(({ send }) => ({ targetId: send.target.id, stockKey: send.target.stockKey, channelLocation: send.target.channelLocation, value: send.value, from: send.from })) };
    await hooks?.beforeSend?.(call);
    if (this.#dead) return;
    if (!this.#mayStillSend()) {
      const renewed = await this.#hold(true);
      if (this.#dead) return;
      if (!renewed || renewed.generation !== hold.generation || !this.#mayStillSend()) {
        await this.#notSent(renewed ?? hold, rows);
        return;
      }
    }
    await hooks?.atSend?.(call);
    const writes = call.rows.map(({ stockKey, channelLocation, value, from }) => ({ ref: { stockKey, channelLocation }, value, from }));
    this.#measure(rows);
    let results: AttemptResult[];
    let then: ReturnType<typeof resultsOfFailure>['then'] = { kind: 'again' };
    try {
      const outcomes = await this.#deadline((signal) => opened.channel.stock.write(writes, key, { budget, signal }));
      results = resultsOf(rows, outcomes, opened.manifest, clock.now());
    } catch (error) {
      ({ results, then } = resultsOfFailure(rows, error, opened.manifest, clock.now(), this.#failures >= failuresToUnreachable - 1));
    }
    await hooks?.afterSend?.(call);
    if (this.#dead) return;
    await this.#book(hold, results);
    await hooks?.afterRecord?.(call);
    return () => this.#follow(results, then, turn);
  }

  #measure(rows: readonly SentRow[]): void {
    const { metrics, clock } = this.#options;
    if (!metrics?.sent) return;
    const now = clock.now();
    for (const { send } of rows) if (send.target.dirtySince !== null) metrics.sent(this.connection, now - send.target.dirtySince);
  }

  async #book(hold: LaneHold, results: readonly AttemptResult[]): Promise<void> {
    const { clock, metrics } = this.#options;
    const now = clock.now();
    const refused = results.filter(({ outcome }) => outcome === 'rejected');
    const right = results.filter(({ outcome, state }) => outcome === 'applied' && state === 'in_sync').map(({ targetId }) => targetId);
    const held = await this.#tx(async (tx) => {
      const still = await recordOutcomes(tx, hold, results, now);
      await announce(tx, hold.orgId, results.map(({ targetId }) => targetId));
      if (refused.length > 0) await raiseAlerts(tx, hold.orgId, refused.map((one) => this.#refusedAlert(one)), now);
      if (right.length > 0) await resolveAlerts(tx, hold.orgId, 'listing_rejected', right, now);
      return still;
    });
    for (const { outcome } of results) metrics?.outcome?.(this.connection, held ? outcome : 'unknown');
    if (!held) this.#lease = null;
  }

  #refusedAlert(result: AttemptResult): Alert {
    return { id: this.#options.ids.uuid(), kind: 'listing_rejected', severity: 'warning', message: `The channel refuses this number: ${result.reason ?? 'no reason given'}`, subjectKind: 'target', subjectId: result.targetId, details: { code: result.errorCode, value: result.value } };
  }

  /** The lease would not outlast the request: nothing went out. */
  async #notSent(hold: LaneHold, rows: readonly SentRow[]): Promise<void> {
    const now = this.#options.clock.now();
    const results = rows.map(({ attemptId, send }): AttemptResult => ({
      attemptId, targetId: send.target.id, outcome: 'not_sent', value: send.value, from: send.from, seq: send.target.effectSeq, vendorAt: null, dirtyVersion: send.target.dirtyVersion,
      state: 'pending', reason: null, errorCode: 'lease', settlesAt: null, settleMs: 0, nextTryAt: null,
    }));
    await this.#tx((tx) => recordOutcomes(tx, hold, results, now));
    this.#lease = null;
  }

  async #follow(results: readonly AttemptResult[], then: ReturnType<typeof resultsOfFailure>['then'], turn: Turn): Promise<void> {
    if (then.kind === 'unauthorized') return this.#unauthorized(then.reason);
    if (then.kind === 'slow') return this.#slow(['urgent', 'bulk'], then.forMs);
    if (then.kind === 'unavailable') return this.#unreachable(then.reason);
    if (!results.every(({ outcome }) => outcome === 'unknown')) await this.#reached();
    const again = results.filter(({ outcome, settlesAt }) => outcome === 'stale' || outcome === 'not_applied' || (outcome === 'unknown' && settlesAt === null));
    const nobodyNamed = then.kind === 'halve' || (results.length > 1 && results.every(({ outcome }) => outcome === 'not_applied'));
    const blameless = again.filter(({ outcome }) => outcome === 'not_applied').map(({ targetId }) => targetId);
    const toRead = again.filter(({ outcome }) => outcome !== 'not_applied').map(({ targetId }) => targetId);
    const maxRows = nobodyNamed ? Math.ceil(results.length / 2) : turn.maxRows;
    // Halving makes progress every time: it does not count as a round of going in circles.
    const round = nobodyNamed ? turn.round - 1 : turn.round;
    await Promise.all([this.#again(blameless, { ...turn, maxRows, round }), this.#again(toRead, { ...firstTurn, round: turn.round })]);
  }

  // ── the connection as a whole ──

  #slow(kinds: readonly BudgetClass[], forMs: number): void {
    const { clock, random } = this.#options;
    const until = clock.monotonicMs() + forMs * (1 + random.next() / 4);
    for (const kind of kinds) this.#slowUntil[kind] = Math.max(this.#slowUntil[kind], until);
    this.#wakeAt(until);
  }

  #wakeAt(mono: number): void {
    const { clock } = this.#options;
    void clock.sleep(Math.max(0, mono - clock.monotonicMs()), this.#stopping.signal).then(() => this.wake());
  }

  async #unreachable(reason: string): Promise<void> {
    const { clock, ids, log } = this.#options;
    this.#failures += 1;
    this.#slow(['urgent', 'bulk', 'read'], Math.min(longestBackOffMs, 100 * 2 ** this.#failures));
    if (this.#failures !== failuresToUnreachable) return;
    log.warn({ ...this.connection, reason }, 'The channel cannot be reached.');
    const { orgId, connectionId } = this.connection;
    await this.#tx(async (tx) => {
      await setConnectionState(tx, orgId, connectionId, 'unreachable', reason, clock.now());
      await raiseAlerts(tx, orgId, [{ id: ids.uuid(), kind: 'connection_unreachable', severity: 'warning', message: `The channel cannot be reached: ${reason}`, subjectKind: 'connection', subjectId: connectionId }], clock.now());
    });
  }

  async #reached(): Promise<void> {
    const { clock } = this.#options;
    if (this.#failures === 0) return;
    const wasSaid = this.#failures >= failuresToUnreachable;
    this.#failures = 0;
    if (!wasSaid) return;
    const { orgId, connectionId } = this.connection;
    await this.#tx(async (tx) => {
      await setConnectionState(tx, orgId, connectionId, 'connected', null, clock.now());
      await resolveAlerts(tx, orgId, 'connection_unreachable', [connectionId], clock.now());
    });
  }

  async #unauthorized(reason: string): Promise<void> {
    const { clock, ids, log } = this.#options;
    const { orgId, connectionId } = this.connection;
    log.warn({ ...this.connection, reason }, 'The channel no longer accepts our authorisation.');
    await this.#tx(async (tx) => {
      const changed = await setConnectionState(tx, orgId, connectionId, 'unauthorized', reason, clock.now());
      if (changed) await raiseAlerts(tx, orgId, [{ id: ids.uuid(), kind: 'connection_unauthorized', severity: 'critical', message: `The channel no longer accepts our authorisation: ${reason}. Nothing is published there until it is renewed; nothing is lost.`, subjectKind: 'connection', subjectId: connectionId }], clock.now());
    });
  }
}

function draftOf({ attemptId, send }: SentRow) {
  return {
    attemptId,
    targetId: send.target.id,
    value: send.value,
    from: send.from,
    seenVersion: send.target.seenVersion,
    effectSeq: send.target.effectSeq,
    derivation: send.steps,
    desired: send.desired,
    blind: send.blind,
  };
}

/** Without compare-and-set no more is taken than can be read and written while the reading is fresh. */
const sliceOf = ({ stock }: Manifest): number => (stock.compareAndSet ? Math.max(100, stock.bulkRows) : 4 * stock.callsInFlight);

function chunks<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let start = 0; start < items.length; start += size) parts.push(items.slice(start, start + size));
  return parts;
}
