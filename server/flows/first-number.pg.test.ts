/** A number that is read for the first time hides what was sold before: it is not raised before orders are known past it (P6). */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { applyChannelEffects } from '#store/listings/effects.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { explain } from './explain.ts';
import { takeIn } from './intake.testing.ts';
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
  stage = await publishingStage(db, { ordersFollow: false });
  await stage.variant('MUG');
  await stage.stock('MUG', 6);
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

interface Shelf {
  shop: Shop;
  stockKey: string;
  place: string;
}
const shelves: Record<'shopify' | 'amazon', (units: number) => Promise<Shelf>> = {
  async shopify(units) {
    const shop = await shopifyShop(stage, { MUG: [units, 0] }, { places: ['MAIN'] });
    return { shop, stockKey: shop.item('MUG'), place: shop.main };
  },
  async amazon(units) {
    return { shop: await amazonShop(stage, { MUG: units }), stockKey: 'MUG', place: 'DEFAULT' };
  },
};
const channels = ['shopify', 'amazon'] as const;

const writes = async (shop: Shop) =>
  (await shop.calls()).filter(({ operation }) => /inventorySetQuantities|patchListingsItem/.test(operation)).length;
const target = ({ shop, stockKey, place }: Shelf) => stage.target(shop, stockKey, place);
const alerts = async () => (await db.owner.query('select kind from alerts where org_id = $1', [stage.orgId])).rows;
const wholeSecond = (at: number) => Math.floor(at / 1000) * 1000;

async function told({ shop, place }: Shelf) {
  const targets = await db.store.readOnly(stage.orgId, (tx) =>
    explain(tx, stage.orgId, 'MUG', null, stage.clock.now()),
  );
  return targets?.find(
    ({ connectionId, channelLocation }) => connectionId === shop.connection.connectionId && channelLocation === place,
  )?.channel;
}
const raiseAfter = async (shelf: Shelf) => {
  const at = (await told(shelf))?.raiseAfter;
  return at == null ? null : Date.parse(at);
};

test.each(channels)(
  'what was sold at %s before its number was first read is not given back, and the number goes up once orders are known past it',
  async (channel) => {
    const shelf = await shelves[channel](6);
    const { shop } = shelf;
    const publisher = stage.publisher([shop]);
    await shop.order('MUG', 1);
    const soldAt = wholeSecond(stage.clock.now());
    stage.clock.advance(3_000);
    await publisher.drain();
    stage.clock.advance(3_000);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(5);
    expect(await writes(shop)).toBe(0);
    const first = await raiseAfter(shelf);
    expect(first).not.toBeNull();
    expect(await target(shelf)).toMatchObject({
      state: 'pending',
      reason: `Seen at ${new Date(first ?? 0).toISOString()}: the channel’s orders up to then are being read before it is raised.`,
      desired: 6,
      expected: 5,
      unseen: 0,
      dirty: false,
    });
    expect(await alerts()).toEqual([]);

    // More goods do not change that; orders up to that very second do not either.
    await stage.stock('MUG', 9);
    await stage.readOrdersTo(shop, (first ?? 0) + 999);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(5);

    await stage.importSale(shop, 'MUG', 1, soldAt);
    await stage.readOrdersTo(shop, wholeSecond(first ?? 0) + 1_000);
    await publisher.drain();
    stage.clock.advance(3_000);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(8);
    expect(await writes(shop)).toBe(1);
    expect(await target(shelf)).toMatchObject({ state: 'in_sync', desired: 8, expected: 8, unseen: 0 });
    expect(await raiseAfter(shelf)).toBeNull();
    const { rows } = await db.owner.query('select raise_after from targets where org_id = $1', [stage.orgId]);
    expect(rows).toEqual([{ raise_after: null }]);
    expect(await alerts()).toEqual([]);
  },
);

test.each(channels)(
  'a first number at %s is cut at once, and not raised again before orders are known past it',
  async (channel) => {
    const shelf = await shelves[channel](9);
    const { shop } = shelf;
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(6);
    const first = await raiseAfter(shelf);
    await stage.stock('MUG', 8);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(6);
    expect(await raiseAfter(shelf)).toBe(first);
    await stage.stock('MUG', 4);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(4);
    await stage.stock('MUG', 8);
    await stage.readOrdersTo(shop, (first ?? 0) + 1_000);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(8);
    expect(await writes(shop)).toBe(3);
  },
);

test('a first number that is right is in sync at once, whatever is known of orders', async () => {
  const shelf = await shelves.shopify(6);
  await stage.publisher([shelf.shop]).drain();
  expect(await target(shelf)).toMatchObject({ state: 'in_sync', reason: null });
  expect(await writes(shelf.shop)).toBe(0);
});

test('whoever read it first may be killed: its successor does not raise it either', async () => {
  const shelf = await shelves.shopify(4);
  const lane = stage.lane(shelf.shop, { soleProcess: true, hooks: { afterReadRecord: () => lane.abandon() } });
  await stage.publisher([shelf.shop], { openConnection: async () => null }).drain();
  await lane.drain();
  expect(await target(shelf)).toMatchObject({ observed: 4 });
  await stage.publisher([shelf.shop], { soleProcess: true }).drain();
  stage.clock.advance(60_000);
  await stage.publisher([shelf.shop], { soleProcess: true }).drain();
  expect(await shelf.shop.number('MUG')).toBe(4);
  expect(await writes(shelf.shop)).toBe(0);
  expect(await target(shelf)).toMatchObject({ state: 'pending', desired: 6 });
});

test('what is held is worked for: a sweep is asked for as soon as one can reach past it, once, and frees it', async () => {
  const shelf = await shelves.shopify(4);
  const { shop } = shelf;
  const { lagMs } = shop.opened.manifest.orders;
  const asked: unknown[] = [];
  const { intake } = takeIn(db.store, { clock: stage.clock, ids: stage.ids, opened: () => shop.opened });
  const requestOrderSweep = (ref: Shop['connection']) => void asked.push(intake.requestSweep(ref));
  const publisher = stage.publisher([shop], { requestOrderSweep });
  await publisher.drain();
  stage.clock.advance(lagMs - 10_000);
  await publisher.drain();
  await publisher.stop();
  expect(asked).toEqual([]);
  stage.clock.advance(12_000);
  stage.publisher([shop], { requestOrderSweep, soleProcess: true }).start();
  await until(async () => (await shop.number('MUG')) === 6);
  expect(asked).toHaveLength(1);
  expect(await Promise.all(asked)).toMatchObject([{ kind: 'done' }]);
  await until(async () => (await target(shelf)).state === 'in_sync');
  expect(await writes(shop)).toBe(1);
  await intake.stop();
});

test('what Amazon may have given back of a cancelled order hides no sale: the number goes up once orders are known past it', async () => {
  const shelf = await shelves.amazon(6);
  const { shop } = shelf;
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.readOrdersTo(shop, wholeSecond(stage.clock.now()) + 1_000);
  stage.clock.advance(5_000);
  const order = await shop.order('MUG', 2);
  const soldAt = wholeSecond(stage.clock.now());
  await stage.importSale(shop, 'MUG', 2, soldAt);
  stage.clock.advance(3_000);
  // Back on offer, and sold again by an order that nobody tells us of.
  await shop.control('/cancellations', { order, restock: true });
  await shop.order('MUG', 2);
  const at = wholeSecond(stage.clock.now());
  expect(await shop.number('MUG')).toBe(4);
  stage.clock.advance(3_000);
  // What was claimed is free again; by how much the number rose Amazon does not say.
  await stage.stock('MUG', 8);
  const cancelled = { stockKey: 'MUG', channelLocation: null, units: null, at, earliestAt: soldAt };
  await db.store.tenant(stage.orgId, (tx) =>
    applyChannelEffects(tx, stage.orgId, shop.connection.connectionId, [cancelled], {
      now: stage.clock.now(),
      ids: stage.ids,
    }),
  );
  await publisher.drain();
  expect(await target(shelf)).toMatchObject({ state: 'pending', desired: 6, expected: 4, unseen: 0 });
  const seen = (await raiseAfter(shelf)) ?? 0;
  expect(seen).toBeGreaterThan(at);
  await stage.importSale(shop, 'MUG', 2, at);
  await stage.readOrdersTo(shop, seen + 1_000);
  await publisher.drain();
  stage.clock.advance(3_000);
  await publisher.drain();
  expect(await target(shelf)).toMatchObject({ state: 'in_sync', desired: 4, expected: 4, unseen: 0 });
  expect(await shop.number('MUG')).toBe(4);
  expect(await writes(shop)).toBe(0);
  expect(await alerts()).toEqual([]);
});

test('a gap at Amazon asks for its orders as soon as a search can reach past it, and not before: searches are rare there', async () => {
  const shelf = await shelves.amazon(6);
  const { shop } = shelf;
  const asked: number[] = [];
  const publisher = stage.publisher([shop], { requestOrderSweep: () => void asked.push(stage.clock.now()) });
  await publisher.drain();
  await stage.readOrdersTo(shop, wholeSecond(stage.clock.now()) + 1_000);
  stage.clock.advance(5_000);
  await shop.order('MUG', 2);
  await stage.stock('MUG', 5);
  const before = stage.clock.now();
  await publisher.drain();
  expect(await target(shelf)).toMatchObject({ unseen: 2 });
  const { lagMs } = shop.opened.manifest.orders;
  for (let passed = 0; passed < lagMs + 10_000; passed += 10_000) {
    stage.clock.advance(10_000);
    await publisher.drain();
  }
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.filter((at) => at < wholeSecond(before) + lagMs)).toEqual([]);
});
