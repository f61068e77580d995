/**
 * A feed, from targets set aside to the vendor's name for it: read as a whole, decided again, attempts committed, document stored,
 * submitted. Up to the submit nothing has changed at the vendor, and whatever breaks leaves its numbers to travel singly.
 */
import type { BulkLimits, StockBulkPort } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import { goalOf } from '#core/stock/next-write.ts';
import { fitsBulk } from '#core/stock/way.ts';
import { type LaneHold, recordAttempts, recordOutcomes } from '#store/listings/attempts.ts';
import { changeFeed, feedResult, openFeedAttempts, releaseTargets } from '#store/listings/feeds.ts';
import { mayLeave } from '#store/listings/halts.ts';
import { recordReads } from '#store/listings/observations.ts';
import type { Finding } from '#store/listings/states.ts';
import { loadWork, type WorkTarget } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import { type FeedDesk, rowsAtOnce } from './feed-desk.ts';
import { decide, firstTurn, numbersOf, type PlannedSend, type Turn } from './lane-decision.ts';
import { afterReading, chunks, draftOf, numbersRead, pairReadings } from './lane-plan.ts';

/** Calls that read the numbers of a feed, at once: the vendor's own budget is what limits them. */
const readsAtOnce = 5;

class LeaseLost extends Error {}

interface Gathered {
  reads: Map<string, { value: number; at: number; verdict: string }>;
  /** The vendor's time of the earliest of them. */
  readAt: number | null;
}

export class FeedMaker {
  readonly #desk: FeedDesk;

  constructor(desk: FeedDesk) {
    this.#desk = desk;
  }

  async make(
    hold: LaneHold,
    feedId: string,
    targetIds: readonly string[],
    bulk: BulkLimits,
    port: StockBulkPort,
  ): Promise<void> {
    const { log, connection } = this.#desk.options;
    if (!(await this.#desk.after('gathered'))) return;
    const wanted = await this.#sieve(hold, feedId, targetIds, bulk);
    if (wanted.length === 0) return;
    const gathered = await this.#readAll(feedId, wanted);
    if (!(await this.#desk.after('read'))) return;
    const sends = await this.#record(hold, feedId, wanted, gathered, bulk);
    if (sends === null || !(await this.#desk.after('recorded'))) return;
    log.info({ ...connection, feedId, rows: sends.length }, 'A feed is being submitted.');
    await this.#submit(hold, feedId, sends, bulk, port);
  }

  /** What is right as it stands, or too low, needs no reading for a feed: it is noted, and travels singly. @returns the rest, or none. */
  async #sieve(hold: LaneHold, feedId: string, targetIds: readonly string[], bulk: BulkLimits): Promise<string[]> {
    const { clock, opened } = this.#desk.options;
    const wanted: string[] = [];
    for (const ids of chunks(targetIds, rowsAtOnce)) {
      const work = await this.#desk.load(ids);
      const times = { now: clock.now(), monotonicMs: clock.monotonicMs() };
      const decisions = decide(work, {
        ...times,
        manifest: opened.manifest,
        quietUntil: null,
        limited: false,
        turn: firstTurn,
      });
      await this.#desk.options.find(work.targets, decisions.findings);
      const numbers = numbersOf(work);
      const open = [...decisions.reads, ...decisions.sends.map(({ target }) => target)];
      wanted.push(
        ...open
          .filter(({ id, unseen, unbooked }) =>
            fitsBulk(goalOf(numbers.get(id)?.desired ?? 0, unseen + unbooked), bulk),
          )
          .map(({ id }) => id),
      );
    }
    const enough = wanted.length >= Math.ceil(bulk.rowsMin / 2);
    const kept = new Set(wanted);
    const rest = enough ? targetIds.filter((id) => !kept.has(id)) : targetIds;
    await this.#desk.tx(async (tx) => {
      await releaseTargets(tx, hold.orgId, feedId, rest);
      if (!enough) await this.#tooFew(tx, hold, feedId, wanted.length, targetIds.length, bulk);
    });
    return enough ? wanted : [];
  }

  async #tooFew(tx: Tx, hold: LaneHold, feedId: string, fit: number, of: number, bulk: BulkLimits): Promise<void> {
    const now = this.#desk.options.clock.now();
    const reason = `Only ${fit} of ${of} numbers are to travel in a feed: they are written singly.`;
    const change = { state: 'not_sent' as const, reason, endedAt: now, retryAt: now + bulk.windowMs };
    await changeFeed(tx, hold.orgId, feedId, change);
  }

  async #readAll(feedId: string, targetIds: readonly string[]): Promise<Gathered> {
    const { opened } = this.#desk.options;
    const gathered: Gathered = { reads: new Map(), readAt: null };
    const { readRows } = opened.manifest.stock;
    for (const part of chunks(targetIds, readRows * readsAtOnce)) {
      if (this.#desk.options.stopped()) break;
      const work = await this.#desk.load(part);
      const mine = work.targets.filter((target) => target.feedId === feedId);
      await Promise.all(chunks(mine, readRows).map((targets) => this.#read(targets, gathered)));
    }
    return gathered;
  }

  /** What cannot be read just now is not in the feed: that is all. */
  async #read(targets: WorkTarget[], gathered: Gathered): Promise<void> {
    const { clock, ids, opened, connection } = this.#desk.options;
    const { settleMs, rejectAfterSettles } = opened.manifest.stock;
    const refs = targets.map(({ stockKey, channelLocation }) => ({ stockKey, channelLocation }));
    let found: ReturnType<typeof pairReadings>;
    try {
      found = pairReadings(targets, await this.#desk.call('read', (call) => opened.channel.stock.read(refs, call)));
    } catch (error) {
      return this.#desk.unauthorized(error);
    }
    const mono = clock.monotonicMs();
    const context = { ids, now: clock.now(), settle: { settleMs, rejectAfter: rejectAfterSettles } };
    const observed = numbersRead(found);
    const results = await this.#desk.tx((tx) =>
      recordReads(tx, connection.orgId, connection.connectionId, observed, context),
    );
    const { findings, refusals, numbers } = afterReading(found, results, context.now);
    await this.#desk.options.find(targets, findings, refusals);
    for (const { targetId, value, verdict } of numbers) gathered.reads.set(targetId, { value, at: mono, verdict });
    for (const { vendorAt } of observed) gathered.readAt = Math.min(gathered.readAt ?? vendorAt, vendorAt);
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
    const sends = await this.#desk
      .tx(async (tx) => {
        noted.findings = [];
        const planned = (await this.#plan(tx, feedId, targetIds, gathered, bulk, noted)).map((send, index) => ({
          ...send,
          messageId: index + 1,
        }));
        const now = this.#desk.options.clock.now();
        const few = planned.length < Math.ceil(bulk.rowsMin / 2);
        const recorded = few ? new Set<string>() : await this.#recordAll(tx, hold, feedId, planned, bulk, now);
        const rest = targetIds.filter((id) => !recorded.has(id));
        await releaseTargets(tx, hold.orgId, feedId, rest);
        if (recorded.size === 0) {
          await this.#tooFew(tx, hold, feedId, planned.length, targetIds.length, bulk);
          return null;
        }
        const { readAt } = gathered;
        const change = { state: 'submitting' as const, rows: recorded.size, submittedAt: now, readAt };
        await changeFeed(tx, hold.orgId, feedId, change);
        return planned.filter(({ target }) => recorded.has(target.id));
      })
      .catch((error: unknown) => {
        if (!(error instanceof LeaseLost)) throw error;
        this.#desk.options.lease.lost();
        return null;
      });
    await this.#desk.options.find(noted.targets, noted.findings);
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
    const { clock, connection, opened } = this.#desk.options;
    const turn: Turn = { ...firstTurn, reads };
    const sends: PlannedSend[] = [];
    for (const ids of chunks(
      targetIds.filter((id) => reads.has(id)),
      rowsAtOnce,
    )) {
      const now = clock.now();
      const work = await loadWork(tx, connection.orgId, connection.connectionId, now, { kind: 'ids', ids });
      const times = { now, monotonicMs: clock.monotonicMs(), readForMs: bulk.readForMs };
      const decisions = decide(work, { ...times, manifest: opened.manifest, quietUntil: null, limited: false, turn });
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
    const settlesAt = now + bulk.stuckMs + this.#desk.options.opened.manifest.stock.settleMs;
    for (const part of chunks(sends, rowsAtOnce)) {
      const drafts = part.map(({ messageId, ...send }) => ({
        ...draftOf({ attemptId: this.#desk.options.ids.uuid(), send }),
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
    const { lease } = this.#desk.options;
    const rows = sends.map(({ messageId, target: { stockKey, channelLocation }, value }) => ({
      messageId,
      ref: { stockKey, channelLocation },
      value,
    }));
    let submissionId: string;
    try {
      const { documentId, left } = await this.#desk.call('bulk', (call) => port.prepare(rows, call));
      if (!(await this.#desk.after('prepared'))) return;
      if (left.length === rows.length)
        return await this.#desk.notSent(hold, feedId, 'None of its numbers can travel in a feed.', bulk.everyMs);
      await this.#leaveOut(hold, feedId, new Set(left));
      await this.#desk.tx((tx) => changeFeed(tx, hold.orgId, feedId, { documentId, rows: rows.length - left.length }));
      const renewed = await lease.hold(true);
      if (renewed?.generation !== hold.generation || !lease.mayStillSend() || this.#desk.options.stopped()) return;
      const ids = sends.map(({ target }) => target.id);
      const leave = () => this.#desk.tx((tx) => mayLeave(tx, hold, ids));
      ({ submissionId } = await this.#desk.call('bulk', (call) =>
        port.submit(documentId, { ...call, mayLeave: leave }),
      ));
    } catch (error) {
      return this.#submitFailed(hold, feedId, error, bulk);
    }
    if (!(await this.#desk.after('submitted'))) return;
    await this.#desk.named(feedId, submissionId, bulk.lookFirstMs);
    await this.#desk.options.health.reached();
    await this.#desk.after('named');
  }

  async #submitFailed(hold: LaneHold, feedId: string, error: unknown, bulk: BulkLimits): Promise<void> {
    const failure = error instanceof ConnectorError ? error : null;
    const words = error instanceof Error ? error.message : 'The call failed.';
    switch (failure?.code) {
      case 'connector.rate_limited':
        return this.#desk.notSent(hold, feedId, words, Math.max(failure.retryAfterMs ?? 0, bulk.windowMs));
      case 'connector.unavailable':
        return this.#desk.notSent(hold, feedId, words, 60_000);
      case 'connector.unauthorized':
        await this.#desk.notSent(hold, feedId, words, 60_000);
        return this.#desk.unauthorized(error);
      case 'connector.rejected':
        await this.#desk.notSent(hold, feedId, words, Math.max(bulk.everyMs, bulk.windowMs));
        return this.#desk.alert(
          'feed_refused',
          `The channel refuses a feed: ${words} Its numbers are written singly.`,
          feedId,
        );
      default:
        // It may be there: looked for at the next look.
        return this.#desk.tx((tx) =>
          changeFeed(tx, hold.orgId, feedId, {
            reason: `${words} It is being looked for.`,
            lookAt: this.#desk.options.clock.now() + this.#desk.options.opened.manifest.requestTimeoutMs,
          }),
        );
    }
  }

  async #leaveOut(hold: LaneHold, feedId: string, left: ReadonlySet<number>): Promise<void> {
    if (left.size === 0) return;
    const now = this.#desk.options.clock.now();
    await this.#desk.tx(async (tx) => {
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
}
