/** Feeds on a simulated Amazon: many changed numbers as one document, followed to its report (C-24, C-26, C-32, U-37; race 1; P6). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { type FeedStage, feedStage } from './feeds.testing.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';

let db: TestDatabase;
let stage: Stage;
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

const made = { createFeedDocument: 1, uploadDocument: 1, createFeed: 1 };
const reported = { getFeed: 1, getFeedDocument: 1, downloadDocument: 1 };

async function count(many: FeedStage, of: Record<number, number>): Promise<void> {
  const numbers = [...(await many.numbers()).values()];
  const found = Object.fromEntries([...new Set(numbers)].map((n) => [n, numbers.filter((one) => one === n).length]));
  expect(found).toEqual(of);
}

const target = (many: FeedStage, sku: string) => stage.target(many.shop, sku, 'DEFAULT');

describe('many changed numbers', () => {
  test('1,000 changed of 5,000 travel as one feed: read in bulk, submitted once, followed, read back; 107 calls in all', {
    timeout: 120_000,
  }, async () => {
    const many = await feedStage(stage, 5_000, { bulk: { bulkRowsMin: 500 } });
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 1_000), 70);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({ 'lwa.token': 1, searchListingsItems: 50, ...made });
    expect(await many.states()).toEqual({ in_sync: 4_000, settling: 1_000 });
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({ ...reported, searchListingsItems: 50 });
    expect(await many.states()).toEqual({ in_sync: 5_000 });
    expect(await many.feeds()).toMatchObject([
      { state: 'done', rows: 1_000, accepted: 1_000, rejected: 0, unknown: 0 },
    ]);
    await count(many, { 70: 1_000, 100: 4_000 });
    await publisher.drain();
    expect(await many.callsSince()).toEqual({});
  });

  test('981 SKUs, 10 changed: 10 writes, each after its own reading, and no feed', async () => {
    const many = await feedStage(stage, 981, { bulk: { bulkRowsMin: 1_500 } });
    await many.stock(many.skus.slice(100, 110), 70);
    await stage.publisher([many.shop]).drain();
    const calls = await many.callsSince();
    expect(calls.patchListingsItem).toBe(10);
    expect(calls).not.toHaveProperty('createFeed');
    await count(many, { 70: 10, 100: 971 });
    expect(await many.feeds()).toEqual([]);
  });

  test('what is low among many is written singly at once, the rest travels: no SKU both ways', async () => {
    const many = await feedStage(stage, 60);
    await many.stock(many.skus.slice(0, 40), 70);
    await many.stock(many.skus.slice(40, 43), 0);
    await many.stock(many.skus.slice(43, 45), 2);
    await many.stock(many.skus.slice(45, 47), 9);
    const publisher = stage.publisher([many.shop]);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ ...made, patchListingsItem: 7 });
    await count(many, { 70: 40, 0: 3, 2: 2, 9: 2, 100: 13 });
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 60 });
    const { rows } = await db.owner.query(
      `select count(*)::int as attempts, count(distinct target_id)::int as targets, count(feed_id)::int as fed from attempts where org_id = $1`,
      [stage.orgId],
    );
    expect(rows).toEqual([{ attempts: 47, targets: 47, fed: 40 }]);
  });

  test('a change that comes while a number is in a feed waits for its end, says so, and is then written singly', async () => {
    const many = await feedStage(stage, 40);
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 30), 70);
    await publisher.drain();
    await many.callsSince();
    await many.stock(['SKU-0003'], 60);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({});
    expect(await target(many, 'SKU-0003')).toMatchObject({ desired: 60, state: 'settling', dirty: true });
    expect((await target(many, 'SKU-0003')).reason).toBe(
      'To be 60 after feed 900000000001, which the channel is working off.',
    );
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject({ ...reported, patchListingsItem: 1 });
    expect((await many.numbers()).get('SKU-0003')).toBe(60);
    expect(await many.states()).toEqual({ in_sync: 40 });
  });

  test('a stock sweep while numbers are in a feed neither proves nor disturbs anything', async () => {
    const many = await feedStage(stage, 40);
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 30), 70);
    await publisher.drain();
    await publisher.requestStockSweep(many.shop.connection);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 10, settling: 30 });
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.states()).toEqual({ in_sync: 40 });
    expect((await many.callsSince()).createFeed).toBe(1);
  });

  test('a feed is made only when the vendor’s pauses allow it: until then everything is written singly', async () => {
    const many = await feedStage(stage, 60, { bulk: { bulkEveryMs: 1_200_000 } });
    const publisher = stage.publisher([many.shop]);
    const change = async (units: number) => {
      await many.stock(many.skus.slice(0, 40), units);
      await publisher.drain();
      stage.clock.advance(5_000);
      await publisher.drain();
      const { createFeed = 0, patchListingsItem = 0 } = await many.callsSince();
      return { createFeed, patchListingsItem };
    };
    expect(await change(70)).toEqual({ createFeed: 1, patchListingsItem: 0 });
    expect(await change(60)).toEqual({ createFeed: 0, patchListingsItem: 40 });
    stage.clock.advance(1_200_000);
    expect(await change(50)).toEqual({ createFeed: 1, patchListingsItem: 0 });
    await count(many, { 50: 40, 100: 20 });
  });

  test.each([
    ['paused', `update connections set paused_at = now() where org_id = $1`],
    ['in shadow mode', `update connections set shadow_at = now() where org_id = $1`],
  ])('a connection that is %s makes no feed', async (_, sql) => {
    const many = await feedStage(stage, 40);
    await db.owner.query(sql, [stage.orgId]);
    await many.stock(many.skus.slice(0, 30), 70);
    await stage.publisher([many.shop]).drain();
    const written = Object.keys(await many.callsSince()).filter((one) => /create|upload|patch/.test(one));
    expect(written).toEqual([]);
    expect(await many.feeds()).toEqual([]);
  });

  test('an open feed is followed to its end while its connection is paused', async () => {
    const many = await feedStage(stage, 40);
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 30), 70);
    await publisher.drain();
    await db.owner.query(`update connections set paused_at = now() where org_id = $1`, [stage.orgId]);
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.feeds()).toMatchObject([{ state: 'done', accepted: 30 }]);
  });
});

describe('P6', () => {
  test('what the channel sold before the feed’s reading is not given back, whatever our stock says', async () => {
    const many = await feedStage(stage, 40);
    const publisher = stage.publisher([many.shop]);
    await many.shop.order('SKU-0005', 25);
    await many.stock(many.skus.slice(0, 30), 120);
    await publisher.drain();
    stage.clock.advance(2_000);
    await publisher.drain();
    // Seen at the reading: 25 presumed sold are held back until their order is known.
    expect((await many.numbers()).get('SKU-0005')).toBe(95);
    expect(await target(many, 'SKU-0005')).toMatchObject({ desired: 120, unseen: 25, state: 'pending' });
    await count(many, { 120: 29, 95: 1, 100: 10 });
  });

  test('what is sold between reading and application is overwritten, that window is kept with the feed, and the order that tells puts it right', async () => {
    const many = await feedStage(stage, 40, { profile: 'vendor', settleMs: 120_000 });
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 30), 70);
    await publisher.drain();
    stage.clock.advance(30_000);
    const soldAt = stage.clock.now();
    await many.shop.order('SKU-0007', 6);
    stage.clock.advance(400_000);
    await publisher.drain();
    expect((await many.numbers()).get('SKU-0007')).toBe(70);
    stage.clock.advance(130_000);
    await publisher.drain();
    expect(await target(many, 'SKU-0007')).toMatchObject({ expected: 70, unseen: 0, state: 'in_sync' });
    await stage.importSale(many.shop, 'SKU-0007', 6, soldAt);
    await publisher.drain();
    stage.clock.advance(130_000);
    await publisher.drain();
    expect((await many.numbers()).get('SKU-0007')).toBe(64);
    const { rows } = await db.owner.query(
      `select read_at <= to_timestamp($2::float8 / 1000) as before, applied_by > to_timestamp($2::float8 / 1000) as after,
         extract(epoch from applied_by - read_at)::int between 360 and 480 as minutes from feeds where org_id = $1`,
      [stage.orgId, soldAt],
    );
    expect(rows).toEqual([{ before: true, after: true, minutes: true }]);
  });
});

describe('an urgent cut of a number in a feed', () => {
  test('takes back a feed that still queues, and goes out at once; the others are written singly', async () => {
    const many = await feedStage(stage, 40, { profile: 'vendor', settleMs: 120_000, bulk: { bulkEveryMs: 1_200_000 } });
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 25), 70);
    await publisher.drain();
    expect(await many.callsSince()).toMatchObject(made);
    // The feed keeps its time in the queue; other calls need not wait for the plan.
    await many.shop.control('/profile', { profile: 'open' });
    await many.stock(['SKU-0002'], 0);
    await publisher.drain();
    for (let round = 0; round < 20 && (await many.feeds())[0]?.state !== 'cancelled'; round += 1) {
      stage.clock.advance(1_000);
      await publisher.drain();
    }
    expect(await many.feeds()).toMatchObject([
      { state: 'cancelled', reason: 'Cancelled before it started: nothing was written.' },
    ]);
    expect(await many.callsSince()).toMatchObject({ cancelFeed: 1 });
    for (let round = 0; round < 30 && (await many.states()).in_sync !== 40; round += 1) {
      stage.clock.advance(60_000);
      await publisher.drain();
    }
    expect(await many.states()).toEqual({ in_sync: 40 });
    await count(many, { 0: 1, 70: 24, 100: 15 });
    expect(await many.callsSince()).not.toHaveProperty('createFeed');
  });

  test('waits, named with its reason, for a feed that is being worked off, is never patched beside it, and follows right after', async () => {
    const many = await feedStage(stage, 40, { profile: 'vendor', settleMs: 120_000 });
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 25), 70);
    await publisher.drain();
    stage.clock.advance(70_000);
    await publisher.drain();
    await many.callsSince();
    await many.stock(['SKU-0002'], 0);
    await publisher.drain();
    stage.clock.advance(1_000);
    await publisher.drain();
    const calls = await many.callsSince();
    expect(calls).not.toHaveProperty('patchListingsItem');
    expect(calls).not.toHaveProperty('cancelFeed');
    expect(await target(many, 'SKU-0002')).toMatchObject({ desired: 0, state: 'settling', dirty: true });
    expect((await target(many, 'SKU-0002')).reason).toBe(
      'To be cut to 0: it waits for feed 900000000001, which the channel is working off and which can no longer be taken back.',
    );
    stage.clock.advance(360_000);
    await publisher.drain();
    expect((await many.feeds())[0]?.state).toBe('done');
    expect(await many.callsSince()).toMatchObject({ patchListingsItem: 1 });
    stage.clock.advance(130_000);
    await publisher.drain();
    stage.clock.advance(130_000);
    await publisher.drain();
    expect((await many.numbers()).get('SKU-0002')).toBe(0);
    expect(await many.states()).toEqual({ in_sync: 40 });
  });
});
