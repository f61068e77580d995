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
import type { BulkLimits, StockBulkPort } from '#connectors/kit/ports.ts';
import { goalOf } from '#core/stock/next-write.ts';
import { chooseWay, cutInBulk } from '#core/stock/way.ts';
import type { LaneHold } from '#store/listings/attempts.ts';
import { beginFeed, changedInFeed, type FeedRow, feedOutlook, openFeeds } from '#store/listings/feeds.ts';
import { FeedDesk, type LaneFeedsOptions, rowsAtOnce } from './feed-desk.ts';
import { FeedFollower } from './feed-following.ts';
import { FeedMaker } from './feed-making.ts';
import { finding, numbersOf } from './lane-decision.ts';

export class LaneFeeds {
  readonly #desk: FeedDesk;
  readonly #maker: FeedMaker;
  readonly #follower: FeedFollower;
  #busy = false;
  /** Changes of numbers in the open feed that were looked at, by target. */
  readonly #judged = new Map<string, number>();

  constructor(options: LaneFeedsOptions) {
    this.#desk = new FeedDesk(options);
    this.#maker = new FeedMaker(this.#desk);
    this.#follower = new FeedFollower(this.#desk);
  }

  /**
   * The next thing to do about a feed, or null.
   * @param backlog the lane's slice was full: more waits than it takes at once
   * @param exclude targets in the lane's hands
   */
  async next(hold: LaneHold, backlog: boolean, exclude: readonly string[]): Promise<(() => Promise<void>) | null> {
    const { clock, opened } = this.#desk.options;
    const port = opened.channel.stock.bulk;
    if (!port || this.#busy) return null;
    const now = clock.now();
    const open = await this.#desk.tx((tx) => openFeeds(tx, hold.orgId, hold.connectionId));
    const current = open.find(({ state }) => state !== 'stuck');
    if (current?.state === 'gathering') return this.#alone(() => this.#desk.giveUp(hold, current));
    const due = open.find(({ lookAt }) => lookAt === null || lookAt <= now);
    if (due) return this.#alone(() => this.#follower.look(hold, due, port));
    if (current) {
      const changed = await this.#changed(current);
      return changed.length > 0 ? this.#alone(() => this.#cuts(hold, current, port, changed)) : null;
    }
    const { bulk } = opened.manifest.stock;
    if (!bulk || !backlog || open.length > 0) return null;
    const rows = await this.#way(bulk, now);
    if (rows === 0) return null;
    // Set aside before the lane claims again, or both would have them in hand.
    const feedId = this.#desk.options.ids.uuid();
    const wanted = { leastUnits: bulk.leastUnits, rows, exclude, now };
    const targetIds = await this.#desk.tx((tx) => beginFeed(tx, hold, feedId, wanted));
    return targetIds.length === 0 ? null : this.#alone(() => this.#maker.make(hold, feedId, targetIds, bulk, port));
  }

  #alone(work: () => Promise<void>): () => Promise<void> {
    this.#busy = true;
    return () =>
      work().finally(() => {
        this.#busy = false;
      });
  }

  /** How many rows a feed may have now; 0 = everything travels singly. */
  async #way(bulk: BulkLimits, now: number): Promise<number> {
    const { orgId, connectionId } = this.#desk.options.connection;
    const since = now - Math.max(bulk.everyMs, bulk.windowMs);
    const outlook = await this.#desk.tx((tx) =>
      feedOutlook(tx, orgId, connectionId, { leastUnits: bulk.leastUnits, most: bulk.rowsMin, since, now }),
    );
    const way = chooseWay({ ...outlook, open: false, now }, bulk);
    return way.kind === 'bulk' ? way.rows : 0;
  }

  async #changed(feed: FeedRow): Promise<string[]> {
    if (feed.state !== 'submitted' && feed.state !== 'submitting') return [];
    const changed = await this.#desk.tx((tx) => changedInFeed(tx, this.#desk.options.connection.orgId, feed.id));
    return changed
      .filter(({ id, dirtyVersion }) => this.#judged.get(id) !== dirtyVersion)
      .slice(0, rowsAtOnce)
      .map(({ id }) => id);
  }

  async #cuts(hold: LaneHold, feed: FeedRow, port: StockBulkPort, ids: readonly string[]): Promise<void> {
    const work = await this.#desk.load(ids);
    const numbers = numbersOf(work);
    const inFeed = work.targets.filter((target) => target.picked && target.feedId === feed.id);
    const goals = new Map(
      inFeed.map((target) => {
        const unseen = target.unseenReleased ? 0 : target.unseen;
        return [target.id, goalOf(numbers.get(target.id)?.desired ?? 0, unseen + target.unbooked)];
      }),
    );
    const urgent = inFeed.filter(
      ({ id, pendingValue }) =>
        cutInBulk({ value: pendingValue ?? 0, goal: goals.get(id) ?? 0, started: true }) === 'wait',
    );
    const started = urgent.length > 0 ? await this.#started(feed, port) : true;
    if (!started) {
      this.#desk.options.log.info(
        { ...this.#desk.options.connection, feedId: feed.id, cuts: urgent.length },
        'A feed is cancelled for urgent cuts.',
      );
      return this.#follower.cancel(hold, feed, port);
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
    await this.#desk.options.find(work.targets, findings);
    for (const { id, dirtyVersion } of inFeed) this.#judged.set(id, dirtyVersion);
  }

  /** Whether it can no longer be taken back. What cannot be asked just now counts as started: it is asked again at its next look. */
  async #started(feed: FeedRow, port: StockBulkPort): Promise<boolean> {
    const { submissionId } = feed;
    if (submissionId === null) return true;
    return this.#desk
      .call('urgent', (call) => port.status(submissionId, call))
      .then(
        ({ state }) => state !== 'queued',
        () => true,
      );
  }
}

function waitingWords(feed: FeedRow, goal: number, urgent: boolean): string {
  const name = feed.submissionId ?? 'whose submit is being looked for';
  return urgent
    ? `To be cut to ${goal}: it waits for feed ${name}, which the channel is working off and which can no longer be taken back.`
    : `To be ${goal} after feed ${name}, which the channel is working off.`;
}
