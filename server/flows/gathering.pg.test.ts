/** What gathers in a burst, and what does not (gathering.ts), by the publisher and its lanes as a whole. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { failures, publishingStage, type Shop, type Stage, until } from './publishing.testing.ts';
import { shopifyShop } from './shopify-shop.testing.ts';

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

/** A running publisher whose loops see a burst from 1 ms on; its time stands until it is moved, the time of day when it is named. */
function underPressure(shop: Shop) {
  const burst: { atMs: number; now: number | null } = { atMs: 0, now: null };
  const publisher = stage.publisher([shop], {
    clock: { ...stage.clock, monotonicMs: () => burst.atMs, now: () => burst.now ?? stage.clock.now() },
    pressure: {
      applied: () => undefined,
      isHigh: () => burst.atMs > 0,
      isBurst: () => burst.atMs > 0,
      accepted: () => undefined,
      isFlood: () => false,
    },
  });
  publisher.start();
  return { publisher, burst };
}

const marks = async (): Promise<number> =>
  (await db.owner.query(`select count(*)::int as n from dirty_variants where org_id = $1`, [stage.orgId])).rows[0].n;

test('in a burst what may run out, or sells fast, is written at once, and what is far from it gathers for two seconds', async () => {
  await stage.variant('FEW');
  await stage.variant('FAST');
  await stage.variant('PLENTY');
  await stage.stock('FEW', 51);
  await stage.stock('FAST', 200);
  await stage.stock('PLENTY', 200);
  const shop = await shopifyShop(stage, { FEW: [51, 0], FAST: [200, 0], PLENTY: [200, 0] }, { places: ['MAIN'] });
  const shown = async (sku: string) => shop.number(sku, shop.main);
  const { publisher, burst } = underPressure(shop);
  for (const sku of ['FEW', 'FAST', 'PLENTY'])
    await until(async () => (await stage.target(shop, shop.item(sku), shop.main)).state === 'in_sync');
  burst.atMs = 1;
  await stage.sell('FEW', 1);
  await stage.sell('PLENTY', 2);
  publisher.wake();
  await until(async () => (await shown('FEW')) === 50);
  await stage.sell('FEW', 1);
  publisher.wake();
  await until(async () => (await shown('FEW')) === 49);
  for (let sale = 0; sale < 5; sale += 1) await stage.sell('FAST', 12);
  publisher.wake();
  await until(async () => (await shown('FAST')) === 140);
  expect(await shown('PLENTY')).toBe(200);
  expect(await marks()).toBe(1);
  burst.atMs = 2_500;
  await until(async () => (await shown('PLENTY')) === 198);
  expect(await marks()).toBe(0);
  await publisher.stop();
});

test('in a burst a bundle that is near its end is written at once, however many of its parts are left', async () => {
  await stage.variant('PART');
  await stage.stock('PART', 400);
  await stage.bundle('KIT', { PART: 100 });
  const shop = await shopifyShop(stage, { KIT: [4, 0] }, { places: ['MAIN'] });
  const { publisher, burst } = underPressure(shop);
  await until(async () => (await stage.target(shop, shop.item('KIT'), shop.main)).state === 'in_sync');
  burst.atMs = 1;
  await stage.sell('PART', 101);
  publisher.wake();
  await until(async () => (await shop.number('KIT', shop.main)) === 2);
  await publisher.stop();
});

test('in a burst a number that is far from running out is looked at up to ten seconds late; what may run out, or was asked for, at once', async () => {
  const stocks = { FEW: 50, ASKED: 200, PLENTY: 200 };
  for (const [sku, units] of Object.entries(stocks)) {
    await stage.variant(sku);
    await stage.stock(sku, units);
  }
  const shop = await shopifyShop(stage, { FEW: [50, 0], ASKED: [200, 0], PLENTY: [200, 0] }, { places: ['MAIN'] });
  const { publisher, burst } = underPressure(shop);
  for (const sku of Object.keys(stocks))
    await until(async () => (await stage.target(shop, shop.item(sku), shop.main)).state === 'in_sync');
  const due = async (sku: string): Promise<boolean> =>
    (
      await db.owner.query(`select read_due is not null as due from targets where org_id = $1 and stock_key = $2`, [
        stage.orgId,
        shop.item(sku),
      ])
    ).rows[0].due;
  burst.atMs = 1;
  burst.now = stage.clock.now();
  const makeDue = (sku: string, at: number) =>
    db.owner.query(
      `update targets set read_due = to_timestamp($3::float8 / 1000.0), version = version + 1 where org_id = $1 and stock_key = $2`,
      [stage.orgId, shop.item(sku), at],
    );
  await makeDue('PLENTY', burst.now - 9_999);
  await makeDue('ASKED', 0);
  await makeDue('FEW', burst.now);
  burst.atMs = 2_500;
  publisher.wake();
  await until(async () => !(await due('FEW')) && !(await due('ASKED')));
  expect(await due('PLENTY')).toBe(true);
  burst.now += 1;
  burst.atMs = 5_000;
  await until(async () => !(await due('PLENTY')));
  await publisher.stop();
});
