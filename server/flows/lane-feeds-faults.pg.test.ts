/** Feeds when something breaks: the vendor, the network, the process (races 5 to 8, P4, P10). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { expandDirty } from '#store/listings/expand.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { type FeedStage, feedStage } from './feeds.testing.ts';
import type { FeedStep, Publisher } from './publisher-types.ts';
import { feedSteps } from './publisher-types.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';
import { shopifyShop } from './shopify-shop.testing.ts';

/** What is waited for comes by itself, however slow the machine is. */
const patienceMs = 90_000;
vi.setConfig({ testTimeout: 2 * patienceMs });

let db: TestDatabase;
let stage: Stage;
let many: FeedStage;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

/** All, and those of them that change: as few as make a feed. */
const [all, some] = [24, 20];
const fed = () => many.skus.slice(0, some);
async function changed(options: Parameters<typeof feedStage>[2] = {}): Promise<Publisher> {
  many = await feedStage(stage, all, options);
  const publisher = stage.publisher([many.shop]);
  await many.stock(fed(), 70);
  return publisher;
}

/** Time passes until every number is right; each SKU's writes that reached the vendor. */
async function untilRight(publisher: Publisher, stepMs = 30_000): Promise<void> {
  for (let round = 0; round < 40; round += 1) {
    await publisher.drain();
    const states = await many.states();
    if (states.in_sync === all) return;
    stage.clock.advance(stepMs);
  }
  throw new Error(`not right: ${JSON.stringify([await many.states(), await many.feeds()])}`);
}

async function allRight(): Promise<void> {
  const numbers = await many.numbers();
  expect(many.skus.map((sku) => numbers.get(sku))).toEqual(many.skus.map((_, index) => (index < some ? 70 : 100)));
}

const alerts = async () =>
  (
    await db.owner.query(
      `select kind, count(*)::int as n, count(resolved_at)::int as over from alerts where org_id = $1 group by kind`,
      [stage.orgId],
    )
  ).rows;

describe('what the vendor does to a feed', () => {
  test('refused rows stand rejected in its words, each with its alert; the others go on', async () => {
    const publisher = await changed();
    await many.shop.fault({ kind: 'half_batch', times: 1 });
    await publisher.drain();
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 14, rejected: 10 });
    expect(await many.feeds()).toMatchObject([{ state: 'done', rows: some, accepted: 10, rejected: 10, unknown: 0 }]);
    const { rows } = await db.owner.query(
      `select distinct t.reason, a.error_code, a.error from targets t join attempts a on a.org_id = t.org_id and a.target_id = t.id
       where t.org_id = $1 and t.state = 'rejected'`,
      [stage.orgId],
    );
    expect(rows).toEqual([
      { reason: 'Invalid parameters provided.', error_code: 'BAD_REQUEST', error: 'Invalid parameters provided.' },
    ]);
    expect(await alerts()).toEqual([{ kind: 'listing_rejected', n: 10, over: 0 }]);
    // Left alone until something changes; a change is tried singly.
    await publisher.drain();
    const { skus } = { skus: (await rejectedSkus()).slice(0, 1) };
    await many.callsSince();
    await many.stock(skus, 65);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ patchListingsItem: 1 });
    expect((await many.numbers()).get(skus[0] ?? '')).toBe(65);
  });

  async function rejectedSkus(): Promise<string[]> {
    const { rows } = await db.owner.query(
      `select stock_key from targets where org_id = $1 and state = 'rejected' order by 1`,
      [stage.orgId],
    );
    return rows.map(({ stock_key }) => stock_key);
  }

  test('one that never ends: after its limit an alert, its numbers unknown, read back and written singly; no other feed; at its late end all are read once more', async () => {
    const publisher = await changed({ bulk: { bulkStuckMs: 600_000 }, settleMs: 1_000 });
    await many.shop.fault({ kind: 'feed_stuck', times: 1 });
    await publisher.drain();
    await publisher.drain();
    stage.clock.advance(300_000);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 4, settling: some });
    stage.clock.advance(301_000);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 4, unknown: some });
    expect((await many.feeds())[0]).toMatchObject({ state: 'stuck', unknown: some });
    expect((await stage.target(many.shop, 'SKU-0001', 'DEFAULT')).reason).toContain(
      'has not ended feed 900000000001 within 10 min;',
    );
    expect(await alerts()).toEqual([{ kind: 'feed_stuck', n: 1, over: 0 }]);
    expect(await many.callsSince()).not.toHaveProperty('patchListingsItem');
    stage.clock.advance(5_000);
    await publisher.drain();
    stage.clock.advance(5_000);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ patchListingsItem: some });
    expect(await many.states()).toEqual({ in_sync: all });
    await allRight();
    await many.stock(fed(), 80);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ patchListingsItem: some });
    await untilRight(publisher, 2_000);
    // It ends after all, and has overwritten some of what was written since: found without waiting for a sweep.
    for (const sku of many.skus.slice(0, 3)) await many.shop.control('/stock', { sku, quantity: 70 });
    endsAs('done');
    stage.clock.advance(60_000);
    await publisher.drain();
    expect((await many.feeds())[0]).toMatchObject({
      state: 'done',
      reason: 'Ended long after it was given up: its numbers were read again.',
    });
    stage.clock.advance(5_000);
    await publisher.drain();
    // Units missing may be sold ones, until orders are read past them.
    await stage.readOrdersTo(many.shop, stage.clock.now());
    await untilRight(publisher, 3_000);
    expect([...(await many.numbers()).values()].filter((n) => n === 80)).toHaveLength(some);
    expect(await alerts()).toEqual([{ kind: 'feed_stuck', n: 1, over: 1 }]);
  });

  /** No fault of the simulator ends a feed so: its answer is changed on the way. */
  function endsAs(state: 'fatal' | 'done'): void {
    const { bulk } = many.shop.opened.channel.stock;
    if (!bulk) throw new Error('no feeds');
    const { status } = bulk;
    bulk.status = async (id, call) => ({
      ...(await status(id, call)),
      state,
      resultId: null,
      endedAt: stage.clock.now(),
    });
  }

  test('one that the vendor breaks off: some, none or all are written, so every number is read before anything is sent', async () => {
    const publisher = await changed();
    endsAs('fatal');
    await publisher.drain();
    await many.callsSince();
    stage.clock.advance(2_000);
    await publisher.drain();
    expect((await many.feeds())[0]).toMatchObject({ state: 'fatal', unknown: some });
    const calls = await many.callsSince();
    expect(calls).not.toHaveProperty('downloadDocument');
    await untilRight(publisher, 1_000);
    expect(await many.callsSince()).not.toHaveProperty('patchListingsItem');
    await allRight();
  });

  test('429 on its start: nothing was sent, its numbers are written singly, and no feed is tried for a while', async () => {
    const publisher = await changed();
    await many.shop.fault({ kind: 'status', match: { operation: 'createFeed' }, status: 429, times: 9 });
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ createFeed: 1, patchListingsItem: some });
    expect(await many.feeds()).toMatchObject([{ state: 'not_sent', submission_id: null }]);
    await allRight();
    await many.stock(fed(), 60);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ patchListingsItem: some });
    expect(await many.feeds()).toHaveLength(1);
  });

  test('a refusal of its start is told in an alert and costs nothing: its numbers are written singly', async () => {
    const publisher = await changed();
    await many.shop.fault({ kind: 'status', match: { operation: 'createFeed' }, status: 400, times: 1 });
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ createFeed: 1, patchListingsItem: some });
    expect(await alerts()).toEqual([{ kind: 'feed_refused', n: 1, over: 0 }]);
    await untilRight(publisher, 1_000);
    await allRight();
  });
});

test('Amazon hangs and then fails: the shop beside it is right at once, Amazon’s numbers stand in a named state, and are right once it answers', async () => {
  many = await feedStage(stage, all);
  const shop = await shopifyShop(stage, { 'SKU-0000': [100, 0], 'SKU-0001': [100, 0] }, { places: ['MAIN'] });
  const calm = stage.publisher([many.shop, shop]);
  await calm.drain();
  await calm.stop();
  await many.callsSince();
  await many.shop.fault({ kind: 'timeout_before', ms: 500, times: 3 });
  await many.shop.fault({ kind: 'status', status: 503 });
  await many.stock(fed(), 70);
  const publisher = stage.publisher([many.shop, shop], { pollMs: 20 });
  const from = performance.now();
  publisher.start();
  publisher.wake();
  const beside = () => stage.target(shop, shop.item('SKU-0001'), shop.main);
  while (
    ((await beside()).observed !== 70 || (await beside()).state !== 'in_sync') &&
    performance.now() - from < patienceMs
  )
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await shop.number('SKU-0000', shop.main)).toBe(70);
  expect(await beside()).toMatchObject({ state: 'in_sync', observed: 70 });
  expect([...(await many.numbers()).values()]).toEqual(Array(all).fill(100));
  await publisher.stop();
  const states = Object.keys(await many.states());
  expect(states.filter((state) => !['in_sync', 'pending', 'unknown', 'unreachable'].includes(state))).toEqual([]);
  await many.shop.control('/faults', undefined, 'DELETE');
  const again = stage.publisher([many.shop, shop]);
  stage.clock.advance(60_000);
  await untilRight(again);
  await allRight();
});

describe('a call without an answer', () => {
  const kinds = ['timeout_before', 'timeout_after'] as const;
  test.each(
    (
      [
        ['createFeedDocument', { feed: 0, patches: some }, { feed: 0, patches: some }],
        ['uploadDocument', { feed: 0, patches: some }, { feed: 0, patches: some }],
        ['createFeed', { feed: 0, patches: some }, { feed: 1, patches: 0 }],
        ['getFeed', { feed: 1, patches: 0 }, { feed: 1, patches: 0 }],
        ['getFeedDocument', { feed: 1, patches: 0 }, { feed: 1, patches: 0 }],
        ['downloadDocument', { feed: 1, patches: 0 }, { feed: 1, patches: 0 }],
      ] as const
    ).flatMap(([operation, ...writes]) => kinds.map((kind, index) => [operation, kind, writes[index]] as const)),
  )('%s, %s: every number is written once and right', async (operation, kind, writes) => {
    const publisher = await changed();
    await many.shop.fault({ kind, match: { operation }, times: operation === 'createFeed' ? 1 : 4, ms: 20 });
    await untilRight(publisher);
    await allRight();
    const calls = await many.shop.calls();
    const feed = calls.filter((call) => call.operation === 'createFeed' && call.applied).length;
    expect({ feed, patches: calls.filter((call) => call.operation === 'patchListingsItem').length }).toEqual(writes);
    expect(await alerts()).toEqual([]);
  });
});

describe('killed right after', () => {
  const outcome: Record<FeedStep, { feeds: string[]; createFeed: number; patches: number }> = {
    gathered: { feeds: ['not_sent', 'done'], createFeed: 1, patches: 0 },
    read: { feeds: ['not_sent', 'done'], createFeed: 1, patches: 0 },
    recorded: { feeds: ['not_sent'], createFeed: 0, patches: some },
    prepared: { feeds: ['not_sent'], createFeed: 0, patches: some },
    submitted: { feeds: ['done'], createFeed: 1, patches: 0 },
    named: { feeds: ['done'], createFeed: 1, patches: 0 },
    reported: { feeds: ['done'], createFeed: 1, patches: 0 },
    booked: { feeds: ['done'], createFeed: 1, patches: 0 },
  };

  test.each(feedSteps)(
    'it was %s: the next one goes on from what is stored, and every number is written once',
    async (step) => {
      await changed();
      let reached = false;
      const killed = stage.lane(many.shop, {
        hooks: {
          feed: (at) => {
            if (at !== step) return;
            reached = true;
            return new Promise<void>(() => undefined);
          },
        },
      });
      await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
      void killed.drain();
      const end = performance.now() + patienceMs;
      while (!reached && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if ((await many.feeds())[0]?.state !== 'submitted' || reached) continue;
        stage.clock.advance(2_000);
        void killed.drain();
      }
      expect(reached).toBe(true);
      killed.abandon();
      await db.owner.query(`update lanes set expires_at = now() - interval '1 second' where org_id = $1`, [
        stage.orgId,
      ]);
      await untilRight(stage.publisher([many.shop]));
      await allRight();
      const calls = await many.shop.calls();
      const patches = calls.filter(({ operation }) => operation === 'patchListingsItem').length;
      const createFeed = calls.filter(({ operation }) => operation === 'createFeed').length;
      // One that was begun after the last was done, and found nothing left to say, is none.
      const states = (await many.feeds()).map(({ state }) => state);
      const done = states.indexOf('done');
      expect(states.slice(done + 1).filter((state) => state !== 'not_sent')).toEqual([]);
      const feeds = done === -1 ? states : states.slice(0, done + 1);
      expect({ feeds, createFeed, patches }).toEqual(outcome[step]);
      const { rows } = await db.owner.query(
        `select count(*)::int as n from targets where org_id = $1 and feed_id is not null`,
        [stage.orgId],
      );
      expect(rows).toEqual([{ n: 0 }]);
    },
  );
});
