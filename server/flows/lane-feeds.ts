/**
 * A lane's feeds: many changed numbers as one document that the vendor works off by itself (core/stock/way.ts decides when).
 *
 *   gathering   targets set aside (`targets.feed_id`), read as a whole, decided again       killed: given up, nothing was sent
 *   submitting  attempts committed → document stored → submit                                killed: looked for at the vendor
 *   submitted   looked at until it ends                                                      killed: looked at again
 *     done        its report, row by row: accepted → settle time → read back; refused → `rejected` in the vendor's words;
 *                 not told → unknown, read back
 *     cancelled   it never started: nothing was written, its numbers travel singly
 *     fatal       some, none or all: unknown, read back
 *   stuck       not ended in time: an alert, its numbers are unknown, read back, and travel singly. It is looked at to its end all
 *               the same, and then they are read once more: it may have overwritten what was written since
 *
 * A submit without an answer is looked for in the vendor's list. What is there, exactly one, is ours; what is not there after a
 * while never arrived; several of them are waited for, and then everything is read back.
 *
 * P6: every number is read before the document is built, so what was sold before that reading is not given back. Units
 * sold between that reading and the end of the work can be: that window is kept with the feed (`read_at`, `applied_by`), only
 * numbers that stand it go in, and the read-back after it puts right what it did.
 *
 * Used by lane.ts, one at a time per connection, under its lease.
 */
import type { BulkLimits, BulkOutcome, BulkStatus, CallOptions, StockBulkPort } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import { goalOf } from '#core/stock/next-write.ts';
import { chooseWay, cutInBulk, fitsBulk } from '#core/stock/way.ts';
import { type AttemptResult, type LaneHold, recordAttempts, recordOutcomes } from '#store/listings/attempts.ts';
import {
  beginFeed,
  changedInFeed,
  changeFeed,
  countFeed,
  type FeedAttempt,
  type FeedChange,
  type FeedRow,
  feedOutlook,
  feedResult,
  holdLease,
  knownSubmissions,
  nameFeed,
  openFeedAttempts,
  openFeeds,
  releaseTargets,
  rereadFeed,
  sayOfTargets,
} from '#store/listings/feeds.ts';
import { recordReads } from '#store/listings/observations.ts';
import { type Alert, announce, type Finding, raiseAlerts, resolveAlerts } from '#store/listings/states.ts';
import { loadWork, type Work, type WorkTarget } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import { decide, finding, firstTurn, numbersOf, type PlannedSend, type Turn } from './lane-decision.ts';
import type { LaneHealth } from './lane-health.ts';
import type { LaneLease } from './lane-lease.ts';
import { afterReading, chunks, draftOf, numbersRead, pairReadings, refusals } from './lane-plan.ts';
import type { FeedStep, LaneOptions } from './publisher-types.ts';

export interface LaneFeedsOptions extends LaneOptions {
  lease: LaneLease;
  health: LaneHealth;
  /** The lane is dead or stopping: nothing more is begun. */
  stopped(): boolean;
  deadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  find(targets: readonly WorkTarget[], findings: readonly Finding[], alerts?: readonly Alert[]): Promise<void>;
}

/** Loaded, decided and booked so many at once. */
const rowsAtOnce = 500;
/** Calls that read the numbers of a feed, at once: the vendor's own budget is what limits them. */
const readsAtOnce = 5;
/** A submit that the vendor's list does not show by then never arrived: assumed. */
const listedWithinMs = 120_000;
/** Our clock and the vendor's may differ by this much: a feed from before the submit is not it. */
const clocksApartMs = 60_000;
/** A report that cannot be fetched for this long is given up: the numbers themselves are read. */
const reportWithinMs = 3_600_000;
/** Of an open feed when the connection no longer makes any. */
const followOnly: Pick<BulkLimits, 'lookFirstMs' | 'lookAtMostMs' | 'stuckMs'> = {
  lookFirstMs: 2_000,
  lookAtMostMs: 60_000,
  stuckMs: 8 * 3_600_000,
};

class LeaseLost extends Error {}

interface Gathered {
  reads: Map<string, { value: number; at: number; verdict: string }>;
  /** The vendor's time of the earliest of them. */
  readAt: number | null;
}

export class LaneFeeds {
  readonly #options: LaneFeedsOptions;
  #busy = false;
  /** Changes of numbers in the open feed that were looked at, by target. */
  readonly #judged = new Map<string, number>();

  constructor(options: LaneFeedsOptions) {
    this.#options = options;
  }

  /**
   * The next thing to do about a feed, or null.
   * @param backlog the lane's slice was full: more waits than it takes at once
   * @param exclude targets in the lane's hands
   */
  async next(hold: LaneHold, backlog: boolean, exclude: readonly string[]): Promise<(() => Promise<void>) | null> {
    const { clock, opened } = this.#options;
    const port = opened.channel.stock.bulk;
    if (!port || this.#busy) return null;
    const now = clock.now();
    const open = await this.#tx((tx) => openFeeds(tx, hold.orgId, hold.connectionId));
    const current = open.find(({ state }) => state !== 'stuck');
    if (current?.state === 'gathering') return this.#alone(() => this.#giveUp(hold, current));
    const due = open.find(({ lookAt }) => lookAt === null || lookAt <= now);
    if (due) return this.#alone(() => this.#look(hold, due, port));
    if (current) {
      const changed = await this.#changed(current);
      return changed.length > 0 ? this.#alone(() => this.#cuts(hold, current, port, changed)) : null;
    }
    const { bulk } = opened.manifest.stock;
    if (!bulk || !backlog || open.length > 0) return null;
    const rows = await this.#way(bulk, now);
    if (rows === 0) return null;
    // Set aside before the lane claims again, or both would have them in hand.
    const feedId = this.#options.ids.uuid();
    const wanted = { leastUnits: bulk.leastUnits, rows, exclude, now };
    const targetIds = await this.#tx((tx) => beginFeed(tx, hold, feedId, wanted));
    return targetIds.length === 0 ? null : this.#alone(() => this.#make(hold, feedId, targetIds, bulk, port));
  }

  #alone(work: () => Promise<void>): () => Promise<void> {
    this.#busy = true;
    return () =>
      work().finally(() => {
        this.#busy = false;
      });
  }

  #tx<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#options.store.tenant(this.#options.connection.orgId, work);
  }

  /** @returns whether to go on */
  async #after(step: FeedStep): Promise<boolean> {
    await this.#options.hooks?.feed?.(step);
    return !this.#options.stopped();
  }

  #call<T>(budget: CallOptions['budget'], work: (options: CallOptions) => Promise<T>): Promise<T> {
    return this.#options.deadline((signal) => work({ budget, signal }));
  }

  // ── making one ──

  /** How many rows a feed may have now; 0 = everything travels singly. */
  async #way(bulk: BulkLimits, now: number): Promise<number> {
    const { orgId, connectionId } = this.#options.connection;
    const since = now - Math.max(bulk.everyMs, bulk.windowMs);
    const outlook = await this.#tx((tx) =>
      feedOutlook(tx, orgId, connectionId, { leastUnits: bulk.leastUnits, most: bulk.rowsMin, since, now }),
    );
    const way = chooseWay({ ...outlook, open: false, now }, bulk);
    return way.kind === 'bulk' ? way.rows : 0;
  }

  async #make(
    hold: LaneHold,
    feedId: string,
    targetIds: readonly string[],
    bulk: BulkLimits,
    port: StockBulkPort,
  ): Promise<void> {
    const { log, connection } = this.#options;
    if (!(await this.#after('gathered'))) return;
    const gathered = await this.#readAll(feedId, targetIds);
    if (!(await this.#after('read'))) return;
    const sends = await this.#record(hold, feedId, targetIds, gathered, bulk);
    if (sends === null || !(await this.#after('recorded'))) return;
    log.info({ ...connection, feedId, rows: sends.length }, 'A feed is being submitted.');
    await this.#submit(hold, feedId, sends, bulk, port);
  }

  async #readAll(feedId: string, targetIds: readonly string[]): Promise<Gathered> {
    const { opened, connection } = this.#options;
    const gathered: Gathered = { reads: new Map(), readAt: null };
    const { readRows } = opened.manifest.stock;
    for (const part of chunks(targetIds, readRows * readsAtOnce)) {
      if (this.#options.stopped()) break;
      const work = await this.#load(part, connection);
      const mine = work.targets.filter((target) => target.feedId === feedId);
      await Promise.all(chunks(mine, readRows).map((targets) => this.#read(targets, gathered)));
    }
    return gathered;
  }

  #load(ids: readonly string[], { orgId, connectionId }: LaneOptions['connection']): Promise<Work> {
    return this.#tx((tx) => loadWork(tx, orgId, connectionId, this.#options.clock.now(), { kind: 'ids', ids }));
  }

  /** What cannot be read just now is not in the feed: that is all. */
  async #read(targets: WorkTarget[], gathered: Gathered): Promise<void> {
    const { clock, ids, opened, connection } = this.#options;
    const { settleMs, rejectAfterSettles } = opened.manifest.stock;
    const refs = targets.map(({ stockKey, channelLocation }) => ({ stockKey, channelLocation }));
    let found: ReturnType<typeof pairReadings>;
    try {
      found = pairReadings(targets, await this.#call('read', (call) => opened.channel.stock.read(refs, call)));
    } catch (error) {
      return this.#unauthorized(error);
    }
    const mono = clock.monotonicMs();
    const context = { ids, now: clock.now(), settle: { settleMs, rejectAfter: rejectAfterSettles } };
    const observed = numbersRead(found);
    const results = await this.#tx((tx) =>
      recordReads(tx, connection.orgId, connection.connectionId, observed, context),
    );
    const { findings, alerts, numbers } = afterReading(found, results, ids, context.now);
    await this.#options.find(targets, findings, alerts);
    for (const { targetId, value, verdict } of numbers) gathered.reads.set(targetId, { value, at: mono, verdict });
    for (const { vendorAt } of observed) gathered.readAt = Math.min(gathered.readAt ?? vendorAt, vendorAt);
  }

  async #unauthorized(error: unknown): Promise<void> {
    if (error instanceof ConnectorError && error.code === 'connector.unauthorized')
      await this.#options.health.unauthorized(error.message);
  }

  /** Commits the intent. What needs no document, or none so slow, travels singly from here on. @returns null when there is no feed. */
  async #record(
    hold: LaneHold,
    feedId: string,
    targetIds: readonly string[],
    gathered: Gathered,
    bulk: BulkLimits,
  ): Promise<(PlannedSend & { messageId: number })[] | null> {
    const noted: { targets: WorkTarget[]; findings: Finding[] } = { targets: [], findings: [] };
    const sends = await this.#tx(async (tx) => {
      noted.findings = [];
      const planned = (await this.#plan(tx, feedId, targetIds, gathered, bulk, noted)).map((send, index) => ({
        ...send,
        messageId: index + 1,
      }));
      const now = this.#options.clock.now();
      const few = planned.length < Math.ceil(bulk.rowsMin / 2);
      const recorded = few ? new Set<string>() : await this.#recordAll(tx, hold, feedId, planned, bulk, now);
      const rest = targetIds.filter((id) => !recorded.has(id));
      await releaseTargets(tx, hold.orgId, feedId, rest);
      if (recorded.size === 0) {
        const reason = `Only ${planned.length} of ${targetIds.length} numbers fit: they travel singly.`;
        await changeFeed(tx, hold.orgId, feedId, {
          state: 'not_sent',
          reason,
          endedAt: now,
          retryAt: now + bulk.windowMs,
        });
        return null;
      }
      const { readAt } = gathered;
      const change = { state: 'submitting' as const, rows: recorded.size, submittedAt: now, readAt };
      await changeFeed(tx, hold.orgId, feedId, change);
      return planned.filter(({ target }) => recorded.has(target.id));
    }).catch((error: unknown) => {
      if (!(error instanceof LeaseLost)) throw error;
      this.#options.lease.lost();
      return null;
    });
    await this.#options.find(noted.targets, noted.findings);
    return sends;
  }

  /** All numbers of the feed as of now, after their readings. */
  async #plan(
    tx: Tx,
    feedId: string,
    targetIds: readonly string[],
    { reads }: Gathered,
    bulk: BulkLimits,
    noted: { targets: WorkTarget[]; findings: Finding[] },
  ): Promise<PlannedSend[]> {
    const { clock, connection, opened } = this.#options;
    const turn: Turn = { ...firstTurn, reads };
    const sends: PlannedSend[] = [];
    for (const ids of chunks(
      targetIds.filter((id) => reads.has(id)),
      rowsAtOnce,
    )) {
      const now = clock.now();
      const work = await loadWork(tx, connection.orgId, connection.connectionId, now, { kind: 'ids', ids });
      const times = { now, monotonicMs: clock.monotonicMs(), readForMs: bulk.readForMs };
      const decisions = decide(work, { ...times, manifest: opened.manifest, quietUntil: null, turn });
      sends.push(...decisions.sends.filter(({ target, value }) => target.feedId === feedId && fitsBulk(value, bulk)));
      noted.targets.push(...work.targets);
      noted.findings.push(...decisions.findings);
    }
    return sends;
  }

  async #recordAll(
    tx: Tx,
    hold: LaneHold,
    feedId: string,
    sends: readonly (PlannedSend & { messageId: number })[],
    bulk: BulkLimits,
    now: number,
  ): Promise<Set<string>> {
    const recorded = new Set<string>();
    // Nothing that is read meanwhile proves anything; after this the feed is stuck and said to be.
    const settlesAt = now + bulk.stuckMs + this.#options.opened.manifest.stock.settleMs;
    for (const part of chunks(sends, rowsAtOnce)) {
      const drafts = part.map(({ messageId, ...send }) => ({
        ...draftOf({ attemptId: this.#options.ids.uuid(), send }),
        messageId,
      }));
      const done = await recordAttempts(tx, hold, feedId, drafts, now, { id: feedId, settlesAt });
      if (!done) throw new LeaseLost();
      for (const id of done) recorded.add(id);
    }
    return recorded;
  }

  async #submit(
    hold: LaneHold,
    feedId: string,
    sends: readonly (PlannedSend & { messageId: number })[],
    bulk: BulkLimits,
    port: StockBulkPort,
  ): Promise<void> {
    const { lease } = this.#options;
    const rows = sends.map(({ messageId, target: { stockKey, channelLocation }, value }) => ({
      messageId,
      ref: { stockKey, channelLocation },
      value,
    }));
    let submissionId: string;
    try {
      const { documentId, left } = await this.#call('bulk', (call) => port.prepare(rows, call));
      if (!(await this.#after('prepared'))) return;
      if (left.length === rows.length)
        return await this.#notSent(hold, feedId, 'None of its numbers can travel in a feed.', bulk.everyMs);
      await this.#leaveOut(hold, feedId, new Set(left));
      await this.#tx((tx) => changeFeed(tx, hold.orgId, feedId, { documentId, rows: rows.length - left.length }));
      const renewed = await lease.hold(true);
      if (renewed?.generation !== hold.generation || !lease.mayStillSend() || this.#options.stopped()) return;
      ({ submissionId } = await this.#call('bulk', (call) => port.submit(documentId, call)));
    } catch (error) {
      return this.#submitFailed(hold, feedId, error, bulk);
    }
    if (!(await this.#after('submitted'))) return;
    await this.#named(feedId, submissionId, bulk.lookFirstMs);
    await this.#options.health.reached();
    await this.#after('named');
  }

  async #named(feedId: string, submissionId: string, lookMs: number): Promise<void> {
    const { clock, connection } = this.#options;
    const reason = `In feed ${submissionId}, which the channel works off by itself; it is read back after that.`;
    await this.#tx(async (tx) => {
      await nameFeed(tx, connection.orgId, feedId, submissionId, clock.now() + lookMs);
      await sayOfTargets(tx, connection.orgId, feedId, 'settling', reason, clock.now());
    });
  }

  async #submitFailed(hold: LaneHold, feedId: string, error: unknown, bulk: BulkLimits): Promise<void> {
    const failure = error instanceof ConnectorError ? error : null;
    const words = error instanceof Error ? error.message : 'The call failed.';
    switch (failure?.code) {
      case 'connector.rate_limited':
        return this.#notSent(hold, feedId, words, Math.max(failure.retryAfterMs ?? 0, bulk.windowMs));
      case 'connector.unavailable':
        return this.#notSent(hold, feedId, words, 60_000);
      case 'connector.unauthorized':
        await this.#notSent(hold, feedId, words, 60_000);
        return this.#unauthorized(error);
      case 'connector.rejected':
        await this.#notSent(hold, feedId, words, bulk.everyMs);
        return this.#alert(
          'feed_refused',
          `The channel refuses a feed: ${words} Its numbers are written singly.`,
          feedId,
        );
      default:
        // It may be there: looked for at the next look.
        return this.#tx((tx) =>
          changeFeed(tx, hold.orgId, feedId, {
            reason: `${words} It is being looked for.`,
            lookAt: this.#options.clock.now() + this.#options.opened.manifest.requestTimeoutMs,
          }),
        );
    }
  }

  // ── giving up ──

  /** Set aside by a predecessor, or by us before something broke: nothing was sent. */
  async #giveUp(hold: LaneHold, feed: FeedRow): Promise<void> {
    const now = this.#options.clock.now();
    await this.#tx(async (tx) => {
      if (!(await holdLease(tx, hold))) return;
      await releaseTargets(tx, hold.orgId, feed.id, null);
      const reason = 'Given up before anything was sent.';
      await changeFeed(tx, hold.orgId, feed.id, { state: 'not_sent', reason, endedAt: now });
    });
  }

  async #notSent(hold: LaneHold, feedId: string, reason: string, retryMs: number): Promise<void> {
    const now = this.#options.clock.now();
    await this.#book(hold, feedId, (attempt) => feedResult(attempt, { errorCode: 'feed_not_sent', reason }), {
      state: 'not_sent',
      reason,
      endedAt: now,
      retryAt: now + retryMs,
    });
  }

  async #leaveOut(hold: LaneHold, feedId: string, left: ReadonlySet<number>): Promise<void> {
    if (left.size === 0) return;
    const now = this.#options.clock.now();
    await this.#tx(async (tx) => {
      const attempts = await openFeedAttempts(tx, hold.orgId, feedId, Number.MAX_SAFE_INTEGER);
      const results = attempts.filter(({ messageId }) => left.has(messageId)).map((one) => feedResult(one, {}));
      await recordOutcomes(tx, hold, results, now);
      await releaseTargets(
        tx,
        hold.orgId,
        feedId,
        results.map(({ targetId }) => targetId),
      );
    });
  }

  // ── following one ──

  async #look(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    try {
      if (feed.submissionId === null) return await this.#findLost(hold, feed, port);
      const status = await this.#call('read', (call) => port.status(feed.submissionId ?? '', call));
      await this.#follow(hold, feed, status, port);
    } catch (error) {
      if (!(error instanceof ConnectorError)) throw error;
      await this.#unauthorized(error);
      if (this.#overdue(feed)) return this.#stuck(hold, feed);
      await this.#later(feed);
    }
  }

  #limits(): typeof followOnly {
    return this.#options.opened.manifest.stock.bulk ?? followOnly;
  }

  #overdue(feed: FeedRow): boolean {
    return (
      feed.state !== 'stuck' &&
      this.#options.clock.now() - (feed.submittedAt ?? feed.createdAt) >= this.#limits().stuckMs
    );
  }

  #later(feed: FeedRow, more: FeedChange = {}): Promise<void> {
    const { clock, connection } = this.#options;
    const { lookFirstMs, lookAtMostMs } = this.#limits();
    const waitMs = Math.min(lookAtMostMs, lookFirstMs * 2 ** Math.min(feed.looks, 20));
    const change = { lookAt: clock.now() + waitMs, looks: feed.looks + 1, ...more };
    return this.#tx((tx) => changeFeed(tx, connection.orgId, feed.id, change));
  }

  async #follow(hold: LaneHold, feed: FeedRow, status: BulkStatus, port: StockBulkPort): Promise<void> {
    const ended = status.state === 'done' || status.state === 'cancelled' || status.state === 'fatal';
    if (!ended) {
      if (status.state === 'queued' && (feed.cancelAskedAt !== null || this.#overdue(feed)))
        return this.#cancel(hold, feed, port);
      return this.#overdue(feed) ? this.#stuck(hold, feed) : this.#later(feed);
    }
    if (feed.state === 'stuck') return this.#endedLate(feed, status);
    const now = this.#options.clock.now();
    const end = { endedAt: now, appliedBy: status.endedAt };
    if (status.state === 'cancelled') {
      const reason = 'The feed was cancelled before it started; this number is written singly.';
      await this.#book(hold, feed.id, (one) => feedResult(one, { errorCode: 'feed_cancelled', reason }), {
        state: 'cancelled',
        reason: 'Cancelled before it started: nothing was written.',
        ...end,
      });
    } else if (status.state === 'fatal') {
      const reason = 'The channel broke off the feed; whether this number was written is being read.';
      await this.#book(hold, feed.id, (one) => this.#unknown(one, reason, status), { state: 'fatal', reason, ...end });
    } else await this.#report(hold, feed, status, end, port);
  }

  /** What the report says, row by row. Without one nothing is believed: the numbers are read. */
  async #report(
    hold: LaneHold,
    feed: FeedRow,
    status: BulkStatus,
    end: FeedChange,
    port: StockBulkPort,
  ): Promise<void> {
    const attempts = await this.#tx((tx) => openFeedAttempts(tx, hold.orgId, feed.id, Number.MAX_SAFE_INTEGER));
    const outcomes = await this.#outcomes(feed, status, attempts, port);
    if (!outcomes || !(await this.#after('reported'))) return;
    const byMessage = new Map(outcomes.map((outcome) => [outcome.messageId, outcome]));
    const resultOf = (attempt: FeedAttempt) => this.#resultOf(attempt, byMessage.get(attempt.messageId), status);
    if (await this.#book(hold, feed.id, resultOf, { state: 'done', reason: null, ...end })) await this.#after('booked');
  }

  async #outcomes(
    feed: FeedRow,
    status: BulkStatus,
    attempts: readonly FeedAttempt[],
    port: StockBulkPort,
  ): Promise<BulkOutcome[] | null> {
    const rows = attempts.map(({ messageId, stockKey }) => ({ messageId, stockKey }));
    const missing = (reason: string) => rows.map(({ messageId }) => ({ messageId, kind: 'missing' as const, reason }));
    const { resultId } = status;
    if (resultId === null) return missing('The channel gives no report of the feed.');
    try {
      return await this.#call('read', (call) => port.outcomes(resultId, { sent: feed.rows, rows }, call));
    } catch (error) {
      const failure = error instanceof ConnectorError ? error : null;
      if (failure === null) throw error;
      const late = this.#options.clock.now() - (status.endedAt ?? status.createdAt) > reportWithinMs;
      if (failure.code === 'connector.unreadable' || failure.code === 'connector.rejected' || late)
        return missing(`The channel’s report of the feed cannot be read: ${failure.message}`);
      await this.#unauthorized(error);
      await this.#later(feed);
      return null;
    }
  }

  #resultOf(attempt: FeedAttempt, outcome: BulkOutcome | undefined, status: BulkStatus): AttemptResult {
    const { settleMs } = this.#options.opened.manifest.stock;
    switch (outcome?.kind) {
      case 'accepted':
        return feedResult(attempt, {
          outcome: 'accepted',
          state: settleMs > 0 ? 'settling' : 'sent',
          vendorAt: status.endedAt ?? this.#options.clock.now(),
          settlesAt: this.#options.clock.now() + settleMs,
          settleMs,
          reason: 'Accepted by the channel in a feed; it is read back after the settle time.',
        });
      case 'rejected':
        return feedResult(attempt, {
          outcome: 'rejected',
          state: 'rejected',
          errorCode: outcome.code,
          reason: outcome.reason,
        });
      case 'not_applied':
        return feedResult(attempt, { outcome: 'not_applied', reason: outcome.reason });
      default:
        return this.#unknown(attempt, outcome?.reason ?? 'The report does not name this number.', status);
    }
  }

  #unknown(attempt: FeedAttempt, reason: string, status: { endedAt: number | null }): AttemptResult {
    const { settleMs } = this.#options.opened.manifest.stock;
    const now = this.#options.clock.now();
    return feedResult(attempt, {
      outcome: 'unknown',
      state: 'unknown',
      errorCode: 'connector.outcome_unknown',
      reason,
      vendorAt: status.endedAt ?? now,
      settlesAt: now + Math.max(settleMs, 250),
      settleMs,
    });
  }

  /** Every open row gets its outcome and travels singly again; some hundred a commit, so that it goes on after a kill. */
  async #book(
    hold: LaneHold,
    feedId: string,
    resultOf: (attempt: FeedAttempt) => AttemptResult,
    end: FeedChange,
  ): Promise<boolean> {
    const { clock, ids, metrics, connection } = this.#options;
    const { orgId } = connection;
    for (;;) {
      const left = await this.#tx(async (tx) => {
        if (!(await holdLease(tx, hold))) return null;
        const attempts = await openFeedAttempts(tx, orgId, feedId, rowsAtOnce);
        const results = attempts.map(resultOf);
        const targetIds = results.map(({ targetId }) => targetId);
        if (results.length > 0) {
          await recordOutcomes(tx, hold, results, clock.now());
          await announce(tx, orgId, targetIds);
          await raiseAlerts(tx, orgId, refusals(ids, results), clock.now());
        }
        if (results.length < rowsAtOnce) {
          await releaseTargets(tx, orgId, feedId, null);
          await changeFeed(tx, orgId, feedId, end);
          await countFeed(tx, orgId, feedId);
        } else await releaseTargets(tx, orgId, feedId, targetIds);
        return results;
      });
      if (left === null) {
        this.#options.lease.lost();
        return false;
      }
      for (const { outcome } of left) metrics?.outcome?.(connection, outcome);
      if (left.length < rowsAtOnce) return true;
    }
  }

  // ── what went wrong ──

  async #findLost(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    const { clock, connection, lease } = this.#options;
    const submittedAt = feed.submittedAt ?? feed.createdAt;
    const listed = await this.#call('read', (call) => port.since(submittedAt - clocksApartMs, call));
    const known = await this.#tx((tx) => knownSubmissions(tx, connection.orgId, connection.connectionId));
    const candidates = listed.filter(({ submissionId }) => !known.has(submissionId));
    const [only] = candidates;
    if (only && candidates.length === 1) return this.#named(feed.id, only.submissionId, 0);
    if (only) {
      // Whose is whose nobody can tell: all of them end first.
      const open = candidates.some(({ state }) => !['done', 'cancelled', 'fatal'].includes(state));
      if (open) return this.#overdue(feed) ? this.#stuck(hold, feed) : this.#later(feed);
      const reason =
        'Its submit had no answer, and the channel lists several that may be it; its numbers are being read.';
      const now = clock.now();
      await this.#book(hold, feed.id, (one) => this.#unknown(one, reason, only), {
        state: 'fatal',
        reason,
        endedAt: now,
      });
      return;
    }
    const quiet = lease.quietUntil();
    if (clock.now() - submittedAt < listedWithinMs || (quiet !== null && clock.now() < quiet)) return this.#later(feed);
    await this.#notSent(hold, feed.id, 'Its submit had no answer, and the channel knows nothing of it.', 60_000);
  }

  /** Not ended in time: said, read back, and its numbers travel singly. */
  async #stuck(hold: LaneHold, feed: FeedRow): Promise<void> {
    const { stuckMs } = this.#limits();
    const hours = Math.round(stuckMs / 360_000) / 10;
    const name = feed.submissionId ?? 'without a name';
    const reason = `The channel has not ended feed ${name} within ${hours} h; the number is being read back.`;
    const change = { state: 'stuck' as const, reason, lookAt: this.#options.clock.now() + this.#limits().lookAtMostMs };
    if (!(await this.#book(hold, feed.id, (one) => this.#unknown(one, reason, { endedAt: null }), change))) return;
    const message = `The channel has not ended feed ${name} of ${feed.rows} numbers within ${hours} h. They are read back and written singly; no other feed is made until it ends.`;
    await this.#alert('feed_stuck', message, feed.id);
  }

  async #endedLate(feed: FeedRow, status: BulkStatus): Promise<void> {
    const { clock, connection } = this.#options;
    const now = clock.now();
    await this.#tx(async (tx) => {
      if (status.state !== 'cancelled') await rereadFeed(tx, connection.orgId, feed.id, now);
      const state = status.state === 'done' ? 'done' : status.state === 'cancelled' ? 'cancelled' : 'fatal';
      const reason = 'Ended long after it was given up: its numbers were read again.';
      await changeFeed(tx, connection.orgId, feed.id, { state, reason, endedAt: now, appliedBy: status.endedAt });
      await resolveAlerts(tx, connection.orgId, 'feed_stuck', [connection.connectionId], now);
    });
  }

  async #cancel(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    const again = feed.cancelAskedAt !== null && this.#overdue(feed);
    await this.#call('urgent', (call) => port.cancel(feed.submissionId ?? '', call));
    if (again) return this.#stuck(hold, feed);
    await this.#later(feed, {
      cancelAskedAt: this.#options.clock.now(),
      ...(feed.cancelAskedAt === null && { lookAt: this.#options.clock.now() }),
    });
  }

  // ── urgent cuts of numbers in it ──

  async #changed(feed: FeedRow): Promise<string[]> {
    if (feed.state !== 'submitted' && feed.state !== 'submitting') return [];
    const changed = await this.#tx((tx) => changedInFeed(tx, this.#options.connection.orgId, feed.id));
    return changed
      .filter(({ id, dirtyVersion }) => this.#judged.get(id) !== dirtyVersion)
      .slice(0, rowsAtOnce)
      .map(({ id }) => id);
  }

  async #cuts(hold: LaneHold, feed: FeedRow, port: StockBulkPort, ids: readonly string[]): Promise<void> {
    const work = await this.#load(ids, this.#options.connection);
    const numbers = numbersOf(work);
    const inFeed = work.targets.filter((target) => target.picked && target.feedId === feed.id);
    const goals = new Map(
      inFeed.map((target) => {
        const unseen = target.unseenReleased ? 0 : target.unseen;
        return [target.id, goalOf(numbers.get(target.id)?.desired ?? 0, unseen)];
      }),
    );
    const urgent = inFeed.filter(
      ({ id, pendingValue }) =>
        cutInBulk({ value: pendingValue ?? 0, goal: goals.get(id) ?? 0, started: true }) === 'wait',
    );
    const started = urgent.length > 0 ? await this.#started(feed, port) : true;
    if (!started) {
      this.#options.log.info(
        { ...this.#options.connection, feedId: feed.id, cuts: urgent.length },
        'A feed is cancelled for urgent cuts.',
      );
      return this.#cancel(hold, feed, port);
    }
    const findings = inFeed.map((target) => {
      const number = numbers.get(target.id);
      const goal = goals.get(target.id) ?? 0;
      return finding(target, {
        state: 'settling',
        reason: waitingWords(feed, goal, urgent.includes(target)),
        handled: false,
        readDue: 'keep',
        desired: number?.desired ?? 0,
        steps: number?.steps ?? [],
      });
    });
    await this.#options.find(work.targets, findings);
    for (const { id, dirtyVersion } of inFeed) this.#judged.set(id, dirtyVersion);
  }

  /** Whether it can no longer be taken back. What cannot be asked just now counts as started: it is asked again at its next look. */
  async #started(feed: FeedRow, port: StockBulkPort): Promise<boolean> {
    const { submissionId } = feed;
    if (submissionId === null) return true;
    return this.#call('urgent', (call) => port.status(submissionId, call)).then(
      ({ state }) => state !== 'queued',
      () => true,
    );
  }

  async #alert(kind: string, message: string, feedId: string): Promise<void> {
    const { clock, ids, connection, log } = this.#options;
    const { orgId, connectionId } = connection;
    log.warn({ ...connection, feedId, kind }, message);
    const severity = 'warning' as const;
    const subject = { subjectKind: 'connection', subjectId: connectionId };
    await this.#tx((tx) =>
      raiseAlerts(
        tx,
        orgId,
        [{ id: ids.uuid(), kind, severity, message, ...subject, details: { feedId } }],
        clock.now(),
      ),
    );
  }
}

function waitingWords(feed: FeedRow, goal: number, urgent: boolean): string {
  const name = feed.submissionId ?? 'whose submit is being looked for';
  return urgent
    ? `To be cut to ${goal}: it waits for feed ${name}, which the channel is working off and which can no longer be taken back.`
    : `To be ${goal} after feed ${name}, which the channel is working off.`;
}
