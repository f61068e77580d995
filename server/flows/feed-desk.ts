/**
 * What making and following a feed share (lane-feeds.ts): one transaction's worth of booking, when to look again, and how a feed
 * is given up. Everything that books is fenced by the lane's lease.
 */
import type { BulkLimits, CallOptions } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import { raiseAlerts } from '#store/attention/alerts.ts';
import { type Refusal, tellRefused } from '#store/attention/rejected.ts';
import { openDrifts } from '#store/drift/record.ts';
import { type AttemptResult, type LaneHold, recordOutcomes } from '#store/listings/attempts.ts';
import {
  changeFeed,
  countFeed,
  type FeedAttempt,
  type FeedChange,
  type FeedRow,
  feedResult,
  holdLease,
  nameFeed,
  openFeedAttempts,
  releaseTargets,
  sayOfTargets,
} from '#store/listings/feeds.ts';
import { announce, type Finding } from '#store/listings/states.ts';
import { loadWork, type Work, type WorkTarget } from '#store/listings/work.ts';
import type { Tx } from '#store/tx.ts';
import type { LaneHealth } from './lane-health.ts';
import type { LaneLease } from './lane-lease.ts';
import { refusals, refusedDrifts } from './lane-plan.ts';
import type { FeedStep, LaneOptions } from './publisher-types.ts';

export interface LaneFeedsOptions extends LaneOptions {
  lease: LaneLease;
  health: LaneHealth;
  /** The lane is dead or stopping: nothing more is begun. */
  stopped(): boolean;
  deadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  find(targets: readonly WorkTarget[], findings: readonly Finding[], refused?: readonly Refusal[]): Promise<void>;
}

/** Loaded, decided and booked so many at once. */
export const rowsAtOnce = 500;
/** Of an open feed when the connection no longer makes any. */
const followOnly: Pick<BulkLimits, 'lookFirstMs' | 'lookAtMostMs' | 'stuckMs'> = {
  lookFirstMs: 2_000,
  lookAtMostMs: 60_000,
  stuckMs: 8 * 3_600_000,
};

export class FeedDesk {
  readonly options: LaneFeedsOptions;

  constructor(options: LaneFeedsOptions) {
    this.options = options;
  }

  tx<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.options.store.tenant(this.options.connection.orgId, work);
  }

  /** @returns whether to go on */
  async after(step: FeedStep): Promise<boolean> {
    await this.options.hooks?.feed?.(step);
    return !this.options.stopped();
  }

  call<T>(budget: CallOptions['budget'], work: (options: CallOptions) => Promise<T>): Promise<T> {
    return this.options.deadline((signal) => work({ budget, signal }));
  }

  load(ids: readonly string[]): Promise<Work> {
    const { orgId, connectionId } = this.options.connection;
    return this.tx((tx) => loadWork(tx, orgId, connectionId, this.options.clock.now(), { kind: 'ids', ids }));
  }

  async unauthorized(error: unknown): Promise<void> {
    if (error instanceof ConnectorError && error.code === 'connector.unauthorized')
      await this.options.health.unauthorized(error.message);
  }

  limits(): typeof followOnly {
    return this.options.opened.manifest.stock.bulk ?? followOnly;
  }

  overdue(feed: FeedRow): boolean {
    return (
      feed.state !== 'stuck' && this.options.clock.now() - (feed.submittedAt ?? feed.createdAt) >= this.limits().stuckMs
    );
  }

  later(feed: FeedRow, more: FeedChange = {}): Promise<void> {
    const { clock, connection } = this.options;
    const { lookFirstMs, lookAtMostMs } = this.limits();
    const waitMs = Math.min(lookAtMostMs, lookFirstMs * 2 ** Math.min(feed.looks, 20));
    const change = { lookAt: clock.now() + waitMs, looks: feed.looks + 1, ...more };
    return this.tx((tx) => changeFeed(tx, connection.orgId, feed.id, change));
  }

  async named(feedId: string, submissionId: string, lookMs: number): Promise<void> {
    const { clock, connection } = this.options;
    const reason = `In feed ${submissionId}, which the channel works off by itself; it is read back after that.`;
    await this.tx(async (tx) => {
      await nameFeed(tx, connection.orgId, feedId, submissionId, clock.now() + lookMs);
      await sayOfTargets(tx, connection.orgId, feedId, 'settling', reason, clock.now());
    });
  }

  /** Set aside by a predecessor, or by us before something broke: nothing was sent. */
  async giveUp(hold: LaneHold, feed: FeedRow): Promise<void> {
    const now = this.options.clock.now();
    await this.tx(async (tx) => {
      if (!(await holdLease(tx, hold))) return;
      await releaseTargets(tx, hold.orgId, feed.id, null);
      const reason = 'Given up before anything was sent.';
      await changeFeed(tx, hold.orgId, feed.id, { state: 'not_sent', reason, endedAt: now });
    });
  }

  async notSent(hold: LaneHold, feedId: string, reason: string, retryMs: number): Promise<void> {
    const now = this.options.clock.now();
    await this.book(hold, feedId, (attempt) => feedResult(attempt, { errorCode: 'feed_not_sent', reason }), {
      state: 'not_sent',
      reason,
      endedAt: now,
      retryAt: now + retryMs,
    });
  }

  /** Every open row gets its outcome and travels singly again; some hundred a commit, so that it goes on after a kill. */
  async book(
    hold: LaneHold,
    feedId: string,
    resultOf: (attempt: FeedAttempt) => AttemptResult,
    end: FeedChange,
  ): Promise<boolean> {
    const { clock, ids, metrics, connection } = this.options;
    const { orgId } = connection;
    for (;;) {
      const left = await this.tx(async (tx) => {
        if (!(await holdLease(tx, hold))) return null;
        const attempts = await openFeedAttempts(tx, orgId, feedId, rowsAtOnce);
        const results = attempts.map(resultOf);
        const targetIds = results.map(({ targetId }) => targetId);
        if (results.length > 0) {
          await recordOutcomes(tx, hold, results, clock.now());
          await announce(tx, orgId, targetIds);
          await tellRefused(tx, orgId, connection.connectionId, refusals(results), { ids, now: clock.now() });
          await openDrifts(tx, orgId, refusedDrifts(results, clock.now()), { ids, now: clock.now() });
        }
        if (results.length < rowsAtOnce) {
          await releaseTargets(tx, orgId, feedId, null);
          await changeFeed(tx, orgId, feedId, end);
          await countFeed(tx, orgId, feedId);
        } else await releaseTargets(tx, orgId, feedId, targetIds);
        return results;
      });
      if (left === null) {
        this.options.lease.lost();
        return false;
      }
      for (const { outcome } of left) metrics?.outcome?.(connection, outcome);
      if (left.length < rowsAtOnce) return true;
    }
  }

  async alert(kind: 'feed_stuck' | 'feed_refused', message: string, feedId: string): Promise<void> {
    const { clock, ids, connection, log } = this.options;
    const { orgId, connectionId } = connection;
    log.warn({ ...connection, feedId, kind }, message);
    const subject = { kind: 'connection', id: connectionId };
    await this.tx((tx) =>
      raiseAlerts(tx, orgId, [{ kind, message, subject, details: { feedId } }], { ids, now: clock.now() }),
    );
  }
}
