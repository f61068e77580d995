/** Lanes on a channel with compare-and-set and several locations (races 2, 3b, 3c, 5, 8, 14, 15b; P4, P6). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expandDirty } from '#store/listings/expand.ts';
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
  await stage.variant('CUP');
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const cup = (shop: TestShopify, place = shop.main) => stage.target(shop, shop.item('CUP'), place);
const writes = async (shop: TestShopify) => (await shop.calls('inventorySetQuantities')).length;
const numberAt = (shop: TestShopify, sku = 'CUP', place = shop.main) => shop.number(sku, place);

async function inStep(main: number, east = 0, options: Parameters<typeof shopifyShop>[2] = {}) {
  await stage.stock('CUP', main);
  if (east > 0) await stage.stock('CUP', east, stage.east);
  const shop = await shopifyShop(stage, { CUP: [main, east] }, options);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  expect(await cup(shop)).toMatchObject({ desired: main, expected: main, state: 'in_sync' });
  expect(await writes(shop)).toBe(0);
  stage.clock.advance(10_000);
  await publisher.drain();
  return { shop, publisher };
}

test('a sale elsewhere is one call, and the number is really read afterwards', async () => {
  const { shop, publisher } = await inStep(10);
  await stage.sell('CUP', 1);
  await publisher.drain();
  expect(await numberAt(shop)).toBe(9);
  expect(await writes(shop)).toBe(1);
  expect(await cup(shop)).toMatchObject({
    desired: 9,
    expected: 9,
    accepted: 9,
    observed: 9,
    observed_source: 'write',
    state: 'in_sync',
  });
  stage.clock.advance(2_000);
  await publisher.drain();
  expect(await cup(shop)).toMatchObject({ observed: 9, observed_source: 'read', state: 'in_sync' });
  expect(await writes(shop)).toBe(1);
});

test('an order of this shop costs it no call: its own number is already right', async () => {
  const { shop, publisher } = await inStep(10);
  const soldAt = stage.clock.now();
  await shop.order('CUP', 2);
  const calls = (await shop.calls()).length;
  await stage.importSale(shop, 'CUP', 2, soldAt);
  await publisher.drain();
  expect((await shop.calls()).length).toBe(calls);
  expect(await cup(shop)).toMatchObject({ desired: 8, expected: 8, unseen: 0, state: 'in_sync' });
  expect(await stage.webhook(shop, 'CUP', shop.main, 8, soldAt)).toBe('as_expected');
  await publisher.drain();
  expect((await shop.calls()).length).toBe(calls);
});

describe('race 2: a sale we have not heard of', () => {
  test('a raise after it answers stale, and is sent without the sold unit', async () => {
    const { shop, publisher } = await inStep(10);
    const soldAt = stage.clock.now();
    await shop.order('CUP', 1);
    await stage.stock('CUP', 12);
    await publisher.drain();
    expect(await numberAt(shop)).toBe(11);
    expect(await cup(shop)).toMatchObject({ desired: 12, expected: 11, unseen: 1, state: 'pending' });
    expect((await stage.attempts(shop)).map(({ value, from_value, outcome }) => [value, from_value, outcome])).toEqual([
      [12, 10, 'stale'],
      [11, 9, 'applied'],
    ]);
    await stage.importSale(shop, 'CUP', 1, soldAt);
    await publisher.drain();
    expect(await numberAt(shop)).toBe(11);
    expect(await cup(shop)).toMatchObject({ desired: 11, unseen: 0, state: 'in_sync' });
  });

  test('a number that overtakes its order is not "healed", and asks for the orders', async () => {
    const { shop, publisher } = await inStep(10);
    const asked: string[] = [];
    const soldAt = stage.clock.now();
    await shop.order('CUP', 1);
    expect(await stage.webhook(shop, 'CUP', shop.main, 9, soldAt)).toBe('unseen_sale');
    await publisher.stop();
    const watching = stage.publisher([shop], { requestOrderSweep: ({ connectionId }) => asked.push(connectionId) });
    await watching.drain();
    expect(await writes(shop)).toBe(0);
    expect(await numberAt(shop)).toBe(9);
    expect(asked).toEqual([shop.connection.connectionId]);
    await stage.importSale(shop, 'CUP', 1, soldAt);
    await watching.drain();
    expect(await writes(shop)).toBe(0);
    expect(await cup(shop)).toMatchObject({ desired: 9, expected: 9, unseen: 0, state: 'in_sync' });
  });

  test('once orders are read past the gap it was an edit, and is healed', async () => {
    const { shop, publisher } = await inStep(10);
    await shop.edit('CUP', 7);
    await stage.webhook(shop, 'CUP', shop.main, 7, stage.clock.now());
    await publisher.drain();
    expect(await numberAt(shop)).toBe(7);
    await stage.readOrdersTo(shop, stage.clock.now() + 2_000);
    await publisher.drain();
    expect(await numberAt(shop)).toBe(10);
    expect(await cup(shop)).toMatchObject({ unseen: 0, state: 'in_sync' });
  });
});

test('race 3b: a number raised at the channel is never taken for sales and is put right', async () => {
  const { shop, publisher } = await inStep(10);
  await shop.edit('CUP', 14);
  expect(await stage.webhook(shop, 'CUP', shop.main, 14, stage.clock.now())).toBe('higher');
  await publisher.drain();
  expect(await numberAt(shop)).toBe(10);
  expect(await cup(shop)).toMatchObject({ unseen: 0, state: 'in_sync' });
});

test('policy "ask": a raised number stands in drifted and nothing is written until someone decides', async () => {
  const { shop, publisher } = await inStep(10);
  await stage.policy('connection', shop.connection.connectionId, { drift: 'ask' });
  await shop.edit('CUP', 14);
  await publisher.requestStockSweep(shop.connection);
  await publisher.drain();
  expect(await cup(shop)).toMatchObject({ state: 'drifted', observed: 14 });
  expect(await writes(shop)).toBe(0);
});

describe('race 3c: an order does not say which location it took from', () => {
  test('where only one location offers anything, it was that one', async () => {
    const { shop, publisher } = await inStep(10, 0);
    const soldAt = stage.clock.now();
    await shop.order('CUP', 1);
    await stage.importSale(shop, 'CUP', 1, soldAt, null);
    expect(await cup(shop)).toMatchObject({ expected: 9 });
    expect(await cup(shop, shop.east)).toMatchObject({ expected: 0 });
    await publisher.drain();
    expect(await writes(shop)).toBe(0);
  });

  test('else both numbers are read before anything is said, and no false gap remains', async () => {
    const { shop, publisher } = await inStep(6, 4);
    const soldAt = stage.clock.now();
    await shop.order('CUP', 1, { location: 'EAST' });
    await stage.importSale(shop, 'CUP', 1, soldAt, null);
    expect(await cup(shop)).toMatchObject({ expected: null });
    expect(await cup(shop, shop.east)).toMatchObject({ expected: null });
    await publisher.drain();
    // Our ledger routed the unit from MAIN, the shop took it at EAST: both numbers follow the ledger, nothing is presumed.
    expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([5, 4]);
    expect(await cup(shop)).toMatchObject({ desired: 5, unseen: 0, state: 'in_sync' });
    expect(await cup(shop, shop.east)).toMatchObject({ desired: 4, unseen: 0, state: 'in_sync' });
    const { rows } = await db.owner.query(`select * from unplaced_effects where org_id = $1`, [stage.orgId]);
    expect(rows).toEqual([]);
  });

  test('units of unknown place that may be another number’s explain no sale there: nothing is raised before it is known whose it was', async () => {
    const { shop, publisher } = await inStep(5, 5);
    const soldAt = stage.clock.now();
    // One is sold at MAIN and nobody tells us; two at EAST, whose order does not say where.
    await shop.order('CUP', 1, { location: 'MAIN' });
    await shop.order('CUP', 2, { location: 'EAST' });
    await stage.importSale(shop, 'CUP', 2, soldAt, null);
    stage.clock.advance(2_000);
    // MAIN's own number comes first: one of the two could be its.
    await stage.webhook(shop, 'CUP', shop.main, 4, stage.clock.now());
    expect(await cup(shop)).toMatchObject({ expected: 4, unseen: 0 });
    await stage.stock('CUP', 12);
    const before = await writes(shop);
    await publisher.drain();
    stage.clock.advance(2_000);
    await publisher.drain();
    expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([4, 3]);
    expect(await writes(shop)).toBe(before);
    expect(await cup(shop)).toMatchObject({ desired: 10, expected: 4, unseen: 0, state: 'pending', dirty: false });
    expect(await cup(shop, shop.east)).toMatchObject({ desired: 5, expected: 3, unseen: 1, state: 'pending' });

    await stage.importSale(shop, 'CUP', 1, soldAt, null);
    await stage.readOrdersTo(shop, stage.clock.now() + 2_000);
    stage.clock.advance(3_000);
    await publisher.drain();
    stage.clock.advance(3_000);
    await publisher.drain();
    expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([9, 5]);
    expect(await cup(shop)).toMatchObject({ desired: 9, unseen: 0, state: 'in_sync' });
    expect(await cup(shop, shop.east)).toMatchObject({ desired: 5, unseen: 0, state: 'in_sync' });
  });

  test('a number that is not read yet holds its neighbours only until it is', async () => {
    const { shop, publisher } = await inStep(5, 5);
    const soldAt = stage.clock.now();
    await shop.order('CUP', 2, { location: 'EAST' });
    await stage.importSale(shop, 'CUP', 2, soldAt, null);
    await stage.stock('CUP', 12);
    await publisher.drain();
    stage.clock.advance(2_000);
    await publisher.drain();
    // Nothing is known of this connection's orders: what was lacking is explained to the unit.
    expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([10, 5]);
    const { rows } = await db.owner.query(`select * from unplaced_effects where org_id = $1`, [stage.orgId]);
    expect(rows).toEqual([]);
  });
});

test('race 5: with compare-and-set the late write of a frozen lane answers stale and changes nothing', async () => {
  const { shop, publisher } = await inStep(10);
  await publisher.stop();
  await stage.sell('CUP', 5);
  await expand();
  let wake: () => void = () => undefined;
  const frozen = new Promise<void>((resolve) => (wake = resolve));
  const first = stage.lane(shop, { hooks: { atSend: () => frozen } });
  const asleep = first.drain();
  await until(async () => (await stage.attempts(shop)).length === 1);
  await db.owner.query(`update lanes set expires_at = now() - interval '1 second' where org_id = $1`, [stage.orgId]);
  await stage.sell('CUP', 3);
  await expand();
  const second = stage.lane(shop);
  await second.drain();
  stage.clock.advance(120_000);
  await second.drain();
  expect(await numberAt(shop)).toBe(2);
  wake();
  await asleep;
  await second.drain();
  expect(await numberAt(shop)).toBe(2);
  expect(await cup(shop)).toMatchObject({ expected: 2, unseen: 0, state: 'in_sync' });
  // What the successor has proven of the frozen lane's write stays proven.
  const sent = (await stage.attempts(shop)).map(({ value, outcome }) => [value, outcome]);
  expect(sent).toEqual([
    [5, 'proven_not_applied'],
    [2, 'applied'],
  ]);
});

test('race 14: a late webhook that equals expected confirms nothing', async () => {
  const { shop, publisher } = await inStep(10);
  const early = stage.clock.now() - 5_000;
  await stage.sell('CUP', 1);
  await publisher.drain();
  expect(await stage.webhook(shop, 'CUP', shop.main, 10, early)).toBe('old');
  expect(await cup(shop)).toMatchObject({ observed: 9, expected: 9, unseen: 0 });
  const writesBefore = await writes(shop);
  await publisher.drain();
  expect(await writes(shop)).toBe(writesBefore);
});

test('race 14: a number below 0 is not pushed up to 0', async () => {
  const { shop, publisher } = await inStep(2, 0, { policy: 'CONTINUE' });
  const soldAt = stage.clock.now();
  await shop.order('CUP', 5, { oversell: true, location: 'MAIN' });
  expect(await numberAt(shop)).toBe(-3);
  await stage.importSale(shop, 'CUP', 5, soldAt, shop.main);
  await publisher.drain();
  expect(await writes(shop)).toBe(0);
  expect(await numberAt(shop)).toBe(-3);
  expect(await cup(shop)).toMatchObject({ desired: 0, expected: -3, state: 'in_sync' });
  await stage.stock('CUP', 9);
  await publisher.drain();
  // 9 on the shelf, 5 owed: 4 may be offered.
  expect(await numberAt(shop)).toBe(4);
  expect((await stage.attempts(shop)).at(-1)).toMatchObject({ value: 4, from_value: -3, outcome: 'applied' });
});

test('race 15b: a buffer over two locations is held back once', async () => {
  const { shop, publisher } = await inStep(5, 5);
  await stage.policy('variant', stage.variants.CUP as string, { buffer: 5 });
  await publisher.drain();
  expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([0, 5]);
  await stage.policy('variant', stage.variants.CUP as string, { buffer: 0, shareBp: 5000 });
  await publisher.drain();
  expect([await numberAt(shop), await numberAt(shop, 'CUP', shop.east)]).toEqual([2, 3]);
});

describe('race 8: one bad row among many', () => {
  const skus = Array.from({ length: 60 }, (_, index) => `SKU-${String(index).padStart(3, '0')}`);

  async function shelf() {
    for (const sku of skus) await stage.variant(sku);
    for (const sku of skus) await stage.stock(sku, 50);
    const shop = await shopifyShop(stage, Object.fromEntries(skus.map((sku) => [sku, [50, 0] as [number, number]])), {
      places: ['MAIN'],
    });
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    stage.clock.advance(10_000);
    return { shop, publisher };
  }

  test('a stale row is dropped, the rest goes again at once under a new key, only the stale one is read', async () => {
    const { shop, publisher } = await shelf();
    await shop.order('SKU-007', 1);
    for (const sku of skus) await stage.stock(sku, 60);
    const before = (await shop.calls()).length;
    await publisher.drain();
    for (const sku of skus) expect(await numberAt(shop, sku)).toBe(sku === 'SKU-007' ? 59 : 60);
    const calls = (await shop.calls()).slice(before);
    const sent = calls.filter(({ operation }) => operation === 'inventorySetQuantities');
    expect(sent.length).toBe(3);
    expect(calls.length - sent.length).toBe(1);
    const keys = new Set((await stage.attempts(shop)).map(({ call_key }) => call_key));
    expect(keys.size).toBe(3);
    expect(await stage.target(shop, shop.item('SKU-007'), shop.main)).toMatchObject({
      desired: 60,
      unseen: 1,
      state: 'pending',
    });
  });

  test('a refused row is rejected with an alert, and stops nobody else', async () => {
    const { shop, publisher } = await shelf();
    const gone = 'gid://shopify/InventoryItem/999999999';
    await db.owner.query(`update targets set stock_key = $2 where org_id = $1 and stock_key = $3`, [
      stage.orgId,
      gone,
      shop.item('SKU-009'),
    ]);
    await db.owner.query(`update listings set stock_key = $2 where org_id = $1 and stock_key = $3`, [
      stage.orgId,
      gone,
      shop.item('SKU-009'),
    ]);
    for (const sku of skus) await stage.stock(sku, 40);
    await publisher.drain();
    for (const sku of skus) if (sku !== 'SKU-009') expect(await numberAt(shop, sku)).toBe(40);
    expect(await stage.target(shop, gone, shop.main)).toMatchObject({ state: 'rejected' });
    const { rows } = await db.owner.query(`select kind from alerts where org_id = $1 and resolved_at is null`, [
      stage.orgId,
    ]);
    expect(rows).toEqual([{ kind: 'listing_rejected' }]);
    const before = (await shop.calls()).length;
    await publisher.requestStockSweep(shop.connection);
    await publisher.drain();
    // A gap that orders have been read past does not make it tried for ever either.
    await db.owner.query(
      `update targets set unseen = 2, unseen_at = now() - interval '1 minute' where org_id = $1 and stock_key = $2`,
      [stage.orgId, gone],
    );
    await stage.readOrdersTo(shop, stage.clock.now());
    await publisher.drain();
    expect((await stage.target(shop, gone, shop.main)).unseen).toBe(0);
    // One write of it, and one read for all; the channel does not know it.
    expect((await shop.calls()).length).toBeLessThanOrEqual(before + 2);
  });
});

async function expand(): Promise<void> {
  await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
}

async function until(check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 8_000;
  while (!(await check())) {
    if (performance.now() > end) throw new Error('it did not happen in 8 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
