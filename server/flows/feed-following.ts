/**
 * A submitted feed, to its end (lane-feeds.ts has the states): looked at with growing pauses, its report booked row by row; one whose
 * submit had no answer is looked for; one that does not end is said to be stuck.
 */

import type { BulkOutcome, BulkStatus, StockBulkPort } from '#connectors/kit/ports.ts';
import { inTime } from '#core/duration.ts';
import { ConnectorError } from '#core/errors.ts';
import { resolveAlerts } from '#store/attention/alerts.ts';
import type { LaneHold } from '#store/listings/attempts.ts';
import {
  changeFeed,
  type FeedAttempt,
  type FeedChange,
  type FeedRow,
  feedResult,
  knownSubmissions,
  openFeedAttempts,
  rereadFeed,
} from '#store/listings/feeds.ts';
import type { FeedDesk } from './feed-desk.ts';
import { type FeedEnd, resultOfRow, unknownRow } from './feed-outcome.ts';

/** A submit that the vendor's list does not show by then never arrived: assumed. */
const listedWithinMs = 120_000;
/** Our clock and the vendor's may differ by this much: a feed from before the submit is not it. */
const clocksApartMs = 60_000;
/** A report that cannot be fetched for this long is given up: the numbers themselves are read. */
const reportWithinMs = 3_600_000;

export class FeedFollower {
  readonly #desk: FeedDesk;

  constructor(desk: FeedDesk) {
    this.#desk = desk;
  }

  async look(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    try {
      if (feed.submissionId === null) return await this.#findLost(hold, feed, port);
      const status = await this.#desk.call('read', (call) => port.status(feed.submissionId ?? '', call));
      await this.#follow(hold, feed, status, port);
    } catch (error) {
      if (!(error instanceof ConnectorError)) throw error;
      await this.#desk.unauthorized(error);
      if (this.#desk.overdue(feed)) return this.#stuck(hold, feed);
      await this.#desk.later(feed);
    }
  }

  async #follow(hold: LaneHold, feed: FeedRow, status: BulkStatus, port: StockBulkPort): Promise<void> {
    const ended = status.state === 'done' || status.state === 'cancelled' || status.state === 'fatal';
    if (!ended) {
      if (status.state === 'queued' && (feed.cancelAskedAt !== null || this.#desk.overdue(feed)))
        return this.cancel(hold, feed, port);
      return this.#desk.overdue(feed) ? this.#stuck(hold, feed) : this.#desk.later(feed);
    }
    if (feed.state === 'stuck') return this.#endedLate(feed, status);
    const now = this.#desk.options.clock.now();
    const end = { endedAt: now, appliedBy: status.endedAt };
    if (status.state === 'cancelled') {
      const reason = 'The feed was cancelled before it started; this number is written singly.';
      await this.#desk.book(hold, feed.id, (one) => feedResult(one, { errorCode: 'feed_cancelled', reason }), {
        state: 'cancelled',
        reason: 'Cancelled before it started: nothing was written.',
        ...end,
      });
    } else if (status.state === 'fatal') {
      const reason = 'The channel broke off the feed; whether this number was written is being read.';
      await this.#desk.book(hold, feed.id, (one) => unknownRow(one, reason, this.#end(status.endedAt)), {
        state: 'fatal',
        reason,
        ...end,
      });
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
    const attempts = await this.#desk.tx((tx) => openFeedAttempts(tx, hold.orgId, feed.id, Number.MAX_SAFE_INTEGER));
    const outcomes = await this.#outcomes(feed, status, attempts, port);
    if (!outcomes || !(await this.#desk.after('reported'))) return;
    const byMessage = new Map(outcomes.map((outcome) => [outcome.messageId, outcome]));
    const resultOf = (attempt: FeedAttempt) =>
      resultOfRow(attempt, byMessage.get(attempt.messageId), this.#end(status.endedAt));
    if (await this.#desk.book(hold, feed.id, resultOf, { state: 'done', reason: null, ...end }))
      await this.#desk.after('booked');
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
      return await this.#desk.call('read', (call) => port.outcomes(resultId, { sent: feed.rows, rows }, call));
    } catch (error) {
      const failure = error instanceof ConnectorError ? error : null;
      if (failure === null) throw error;
      const late = this.#desk.options.clock.now() - (status.endedAt ?? status.createdAt) > reportWithinMs;
      if (failure.code === 'connector.unreadable' || failure.code === 'connector.rejected' || late)
        return missing(`The channel’s report of the feed cannot be read: ${failure.message}`);
      await this.#desk.unauthorized(error);
      await this.#desk.later(feed);
      return null;
    }
  }

  async #findLost(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    const { clock, connection, lease } = this.#desk.options;
    const submittedAt = feed.submittedAt ?? feed.createdAt;
    const listed = await this.#desk.call('read', (call) => port.since(submittedAt - clocksApartMs, call));
    const known = await this.#desk.tx((tx) => knownSubmissions(tx, connection.orgId, connection.connectionId));
    const candidates = listed.filter(({ submissionId }) => !known.has(submissionId));
    const [only] = candidates;
    if (only && candidates.length === 1) return this.#desk.named(feed.id, only.submissionId, 0);
    if (only) {
      // Whose is whose nobody can tell: all of them end first.
      const open = candidates.some(({ state }) => !['done', 'cancelled', 'fatal'].includes(state));
      if (open) return this.#desk.overdue(feed) ? this.#stuck(hold, feed) : this.#desk.later(feed);
      const reason =
        'Its submit had no answer, and the channel lists several that may be it; its numbers are being read.';
      const now = clock.now();
      await this.#desk.book(hold, feed.id, (one) => unknownRow(one, reason, this.#end(only.endedAt)), {
        state: 'fatal',
        reason,
        endedAt: now,
      });
      return;
    }
    const quiet = lease.quietUntil();
    if (clock.now() - submittedAt < listedWithinMs || (quiet !== null && clock.now() < quiet))
      return this.#desk.later(feed);
    await this.#desk.notSent(hold, feed.id, 'Its submit had no answer, and the channel knows nothing of it.', 60_000);
  }

  /** Not ended in time: said, read back, and its numbers travel singly. */
  async #stuck(hold: LaneHold, feed: FeedRow): Promise<void> {
    const { stuckMs } = this.#desk.limits();
    const limit = inTime(stuckMs);
    const name = feed.submissionId ?? 'without a name';
    const reason = `The channel has not ended feed ${name} within ${limit}; the number is being read back.`;
    const change = {
      state: 'stuck' as const,
      reason,
      lookAt: this.#desk.options.clock.now() + this.#desk.limits().lookAtMostMs,
    };
    if (!(await this.#desk.book(hold, feed.id, (one) => unknownRow(one, reason, this.#end(null)), change))) return;
    const message = `The channel has not ended feed ${name} of ${feed.rows} numbers within ${limit}. They are read back and written singly; no other feed is made until it ends.`;
    await this.#desk.alert('feed_stuck', message, feed.id);
  }

  async #endedLate(feed: FeedRow, status: BulkStatus): Promise<void> {
    const { clock, connection } = this.#desk.options;
    const now = clock.now();
    await this.#desk.tx(async (tx) => {
      if (status.state !== 'cancelled') await rereadFeed(tx, connection.orgId, feed.id, now);
      const state = status.state === 'done' ? 'done' : status.state === 'cancelled' ? 'cancelled' : 'fatal';
      const reason = 'Ended long after it was given up: its numbers were read again.';
      await changeFeed(tx, connection.orgId, feed.id, { state, reason, endedAt: now, appliedBy: status.endedAt });
      await resolveAlerts(tx, connection.orgId, 'feed_stuck', [connection.connectionId], now);
    });
  }

  async cancel(hold: LaneHold, feed: FeedRow, port: StockBulkPort): Promise<void> {
    const again = feed.cancelAskedAt !== null && this.#desk.overdue(feed);
    await this.#desk.call('urgent', (call) => port.cancel(feed.submissionId ?? '', call));
    if (again) return this.#stuck(hold, feed);
    await this.#desk.later(feed, {
      cancelAskedAt: this.#desk.options.clock.now(),
      ...(feed.cancelAskedAt === null && { lookAt: this.#desk.options.clock.now() }),
    });
  }

  #end(endedAt: number | null): FeedEnd {
    const { clock, opened } = this.#desk.options;
    return { endedAt, now: clock.now(), settleMs: opened.manifest.stock.settleMs };
  }
}
