/** Freshness: stock that somebody else keeps and that grew too old is not offered; it resumes by itself. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { noteReading, readFreshness, setFreshness } from '#store/catalog/freshness.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';
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
  await stage.variant('CUP');
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const hour = 3_600_000;

async function inStep(action: 'zero' | 'suspend') {
  await stage.stock('CUP', 10);
  await stage.stock('CUP', 4, stage.east);
  const shop = await shopifyShop(stage, { CUP: [10, 4] });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  const limit = (limitMs: number | null) =>
    db.store.tenant(stage.orgId, (tx) =>
      setFreshness(tx, stage.orgId, 'EAST', { limitMs, action }, { actor: 'ann', now: stage.clock.now() }),
    );
  expect(await limit(hour)).toBe(true);
  await publisher.drain();
  return {
    shop,
    publisher,
    limit,
    main: () => stage.target(shop, shop.item('CUP'), shop.main),
    east: () => stage.target(shop, shop.item('CUP'), shop.east),
    writes: async () => (await shop.calls('inventorySetQuantities')).length,
    read: (at = stage.clock.now()) =>
      db.store.tenant(stage.orgId, (tx) =>
        noteReading(tx, stage.orgId, 'EAST', { at, by: 'warehouse', now: stage.clock.now() }),
      ),
    async later(ms: number) {
      stage.clock.advance(ms);
      await publisher.drain();
      stage.clock.advance(2_000);
      await publisher.drain();
    },
  };
}

test('past its limit a location shows 0 with the reason, others go on, and a reading brings it back by itself', async () => {
  const { shop, publisher, east, main, writes, read, later } = await inStep('zero');
  await later(hour - 60_000);
  expect(await writes()).toBe(0);
  expect(await east()).toMatchObject({ desired: 4, state: 'in_sync' });
  await later(60_000);
  expect(await shop.number('CUP', shop.east)).toBe(0);
  expect(await east()).toMatchObject({ desired: 0, state: 'suspended' });
  expect((await east()).reason).toMatch(
    /^Stock of EAST was last read at .*, longer ago than its limit of 60 minutes\.$/,
  );
  expect(await shop.number('CUP', shop.main)).toBe(10);
  expect(await main()).toMatchObject({ state: 'in_sync' });
  expect(await read(stage.clock.now() - 2 * hour)).toBe(true);
  await publisher.drain();
  expect(await shop.number('CUP', shop.east)).toBe(0);
  await read();
  await later(0);
  expect(await shop.number('CUP', shop.east)).toBe(4);
  expect(await east()).toMatchObject({ desired: 4, state: 'in_sync', reason: null });
});

test('suspend: nothing is written there while its stock is outdated, and what changed meanwhile is sent after the reading', async () => {
  const { shop, east, writes, read, later } = await inStep('suspend');
  await later(hour);
  expect(await east()).toMatchObject({ state: 'suspended' });
  await stage.stock('CUP', 1, stage.east);
  await later(2_000);
  expect(await shop.number('CUP', shop.east)).toBe(4);
  expect(await writes()).toBe(0);
  await read();
  await later(0);
  expect(await shop.number('CUP', shop.east)).toBe(1);
  expect(await east()).toMatchObject({ desired: 1, state: 'in_sync' });
});

test('each reading moves the limit; a location without one has no age', async () => {
  const { east, writes, read, later, limit } = await inStep('zero');
  for (let time = 0; time < 3; time += 1) {
    await later(hour / 2);
    await read();
  }
  expect(await writes()).toBe(0);
  expect(await db.store.tenant(stage.orgId, (tx) => readFreshness(tx, stage.orgId, stage.clock.now()))).toMatchObject([
    { location: 'EAST', limitMs: hour, action: 'zero', readBy: 'warehouse', outdated: false },
  ]);
  await limit(null);
  await later(10 * hour);
  expect(await writes()).toBe(0);
  expect(await east()).toMatchObject({ desired: 4, state: 'in_sync' });
  expect(await read()).toBe(false);
});
