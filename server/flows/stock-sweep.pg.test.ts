/** Stock sweeps are seen: what they read and how it compared; and they are complete whoever is killed in between. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { deleteConnection } from '#store/connections/connections.ts';
import { readStockSweeps } from '#store/listings/sweeps.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';
import { shopifyShop, type TestShopify } from './shopify-shop.testing.ts';

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

const skus = ['A', 'B', 'C', 'D', 'E'];
const sweeps = (shop: TestShopify) =>
  db.store.tenant(stage.orgId, (tx) => readStockSweeps(tx, stage.orgId, shop.connection.connectionId, 10));

async function inStep() {
  for (const sku of skus) {
    await stage.variant(sku);
    await stage.stock(sku, 10);
  }
  const shop = await shopifyShop(stage, Object.fromEntries(skus.map((sku) => [sku, [10, 0]])), { places: ['MAIN'] });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  stage.clock.advance(10_000);
  await publisher.drain();
  stage.clock.advance(2_000);
  return { shop, publisher };
}

test('a sweep says how many numbers it read and how they compared, and the next one finds all as expected', async () => {
  const { shop, publisher } = await inStep();
  await shop.edit('B', 7);
  await shop.edit('C', 14);
  await publisher.requestStockSweep(shop.connection);
  expect(await sweeps(shop)).toMatchObject([{ askedBy: 'request', targets: 5, read: 0, finishedAt: null }]);
  await publisher.drain();
  expect(await sweeps(shop)).toMatchObject([
    {
      targets: 5,
      read: 5,
      asExpected: 3,
      lower: 1,
      higher: 1,
      missing: 0,
      undecided: 0,
      otherwise: 0,
      superseded: false,
    },
  ]);
  expect((await sweeps(shop))[0]?.finishedAt).not.toBe(null);
  stage.clock.advance(2_000);
  await publisher.requestStockSweep(shop.connection);
  await publisher.drain();
  expect((await sweeps(shop))[0]).toMatchObject({ read: 5, asExpected: 5, lower: 0, higher: 0 });
});

test('a process killed in the middle of a sweep leaves the rest to the next; every number is read, each counted once', async () => {
  const { shop, publisher } = await inStep();
  await publisher.requestStockSweep(shop.connection);
  await publisher.stop();
  let reads = 0;
  const dying = stage.lane(shop, {
    slice: 2,
    hooks: {
      afterRead: () => {
        reads += 1;
        if (reads === 2) dying.abandon();
      },
    },
  });
  await dying.drain();
  expect((await sweeps(shop))[0]).toMatchObject({ targets: 5, finishedAt: null });
  expect((await sweeps(shop))[0]?.read).toBeLessThan(5);
  stage.clock.advance(120_000);
  await db.owner.query(`update lanes set expires_at = '-infinity', quiet_until = null where connection_id = $1`, [
    shop.connection.connectionId,
  ]);
  await stage.publisher([shop]).drain();
  expect((await sweeps(shop))[0]).toMatchObject({ targets: 5, read: 5, asExpected: 5, otherwise: 0 });
  expect((await sweeps(shop))[0]?.finishedAt).not.toBe(null);
});

test('a number that an event showed meanwhile owes no look; the sweep ends with it counted as seen otherwise', async () => {
  const { shop, publisher } = await inStep();
  await publisher.requestStockSweep(shop.connection);
  expect(await stage.webhook(shop, 'A', shop.main, 10, stage.clock.now())).toBe('as_expected');
  await publisher.drain();
  stage.clock.advance(11_000);
  await publisher.drain();
  const [sweep] = await sweeps(shop);
  expect(sweep?.finishedAt).not.toBe(null);
  expect((sweep?.read ?? 0) + (sweep?.otherwise ?? 0)).toBe(5);
  const { rows } = await db.owner.query(`select 1 from due where org_id = $1 and kind = 'stock_sweep'`, [stage.orgId]);
  expect(rows).toEqual([]);
});

test('a sweep and a drift of a connection that is deleted are not looked after for ever', async () => {
  const { shop, publisher } = await inStep();
  const { rows } = await db.owner.query('select id from targets where org_id = $1 limit 1', [stage.orgId]);
  const driftId = stage.ids.uuid();
  await db.owner.query(
    `insert into drifts (org_id, id, connection_id, target_id, state, cause, expected, observed, units, found_at, last_at, observed_at)
     values ($1, $2, $3, $4, 'found', 'unknown', 10, 8, -2, now(), now(), now() + interval '100 years')`,
    [stage.orgId, driftId, shop.connection.connectionId, rows[0].id],
  );
  const at = new Date(stage.clock.now());
  await db.owner.query(`insert into due (org_id, kind, subject_id, due_at) values ($1, 'drift', $2, $3)`, [
    stage.orgId,
    driftId,
    at,
  ]);
  await publisher.requestStockSweep(shop.connection);
  await db.store.tenant(stage.orgId, (tx) =>
    deleteConnection(tx, stage.orgId, shop.connection.connectionId, stage.clock.now()),
  );
  stage.clock.advance(11_000);
  await publisher.drain();
  expect((await db.owner.query('select kind from due where org_id = $1', [stage.orgId])).rows).toEqual([]);
});
