/** What changes while a lane's call is on its way: orders, restocks, mappings, policies, the connection itself (P3, P4, P6). */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { deleteConnection } from '#store/connections/connections.ts';
import { applyChannelEffects } from '#store/listings/effects.ts';
import { expandDirty } from '#store/listings/expand.ts';
import { mapListing } from '#store/listings/listings.ts';
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
const sent = async (shop: TestShopify) =>
  (await stage.attempts(shop)).map(({ value, from_value, outcome }) => [value, from_value, outcome]);
const expand = () => db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));

async function inStep(main: number, east = 0) {
  await stage.stock('CUP', main);
  if (east > 0) await stage.stock('CUP', east, stage.east);
  const shop = await shopifyShop(stage, { CUP: [main, east] });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  stage.clock.advance(10_000);
  await publisher.drain();
  expect(await cup(shop)).toMatchObject({ desired: main, expected: main, state: 'in_sync' });
  await publisher.stop();
  return shop;
}

/** A lane whose first call does `meanwhile` at the given moment. */
async function during(
  shop: TestShopify,
  moment: 'beforeSend' | 'atSend' | 'afterSend' | 'afterRecord',
  meanwhile: () => Promise<void>,
) {
  let first = true;
  await expand();
  const lane = stage.lane(shop, {
    hooks: {
      [moment]: async () => {
        if (!first) return;
        first = false;
        await meanwhile();
      },
    },
  });
  await lane.drain();
  expect(first).toBe(false);
  await expand();
  await lane.drain();
  return lane;
}

const restock = (shop: TestShopify, units: number, at: number, earliestAt: number) =>
  db.store.tenant(stage.orgId, (tx) =>
    applyChannelEffects(
      tx,
      stage.orgId,
      shop.connection.connectionId,
      [{ stockKey: shop.item('CUP'), channelLocation: shop.main, units: -units, at, earliestAt }],
      { now: stage.clock.now() },
    ),
  );

test.each(['atSend', 'afterSend'] as const)(
  'an order imported %s is in the number once, neither lost nor counted twice',
  async (moment) => {
    const shop = await inStep(10);
    await stage.stock('CUP', 12);
    const lane = await during(shop, moment, async () => {
      const soldAt = stage.clock.now();
      await shop.order('CUP', 1);
      await stage.importSale(shop, 'CUP', 1, soldAt, shop.main);
    });
    stage.clock.advance(5_000);
    await lane.drain();
    expect(await shop.number('CUP', shop.main)).toBe(11);
    expect(await cup(shop)).toMatchObject({ desired: 11, expected: 11, unseen: 0, state: 'in_sync' });
  },
);

test('a webhook of a sale that leaves just what a cut on its way would: the cut answers stale and the unit stays sold', async () => {
  const shop = await inStep(10);
  await stage.sell('CUP', 1);
  const soldAt = stage.clock.now();
  const lane = await during(shop, 'atSend', async () => {
    await shop.order('CUP', 1);
    expect(await stage.webhook(shop, 'CUP', shop.main, 9, soldAt)).toBe('settling');
  });
  expect((await sent(shop))[0]).toEqual([9, 10, 'stale']);
  expect(await shop.number('CUP', shop.main)).toBe(8);
  await stage.stock('CUP', 13);
  await expand();
  await lane.drain();
  // 13 − 1 sold elsewhere − 1 sold here and not known yet.
  expect(await shop.number('CUP', shop.main)).toBe(11);
  await stage.importSale(shop, 'CUP', 1, soldAt, shop.main);
  await expand();
  await lane.drain();
  expect(await shop.number('CUP', shop.main)).toBe(11);
  expect(await cup(shop)).toMatchObject({ desired: 11, unseen: 0, state: 'in_sync' });
});

test('a sale and its restock around our call, told late and in one version, leave the number right', async () => {
  const shop = await inStep(10);
  await stage.sell('CUP', 2);
  const soldAt = stage.clock.now();
  await shop.order('CUP', 1);
  await stage.webhook(shop, 'CUP', shop.main, 9, soldAt);
  const lane = await during(shop, 'atSend', async () => {
    await shop.edit('CUP', 10);
    await stage.importSale(shop, 'CUP', 1, soldAt, shop.main);
    await stage.stock('CUP', 11);
    await restock(shop, 1, stage.clock.now(), soldAt);
  });
  stage.clock.advance(5_000);
  await lane.drain();
  await stage.readOrdersTo(shop, stage.clock.now());
  stage.clock.advance(5_000);
  await lane.drain();
  expect(await cup(shop)).toMatchObject({ unseen: 0, state: 'in_sync' });
  expect(await shop.number('CUP', shop.main)).toBe((await cup(shop)).desired);
});

test.each(['beforeSend', 'atSend', 'afterRecord'] as const)(
  'a listing mapped to another variant %s shows that one’s number in the end',
  async (moment) => {
    const other = await stage.variant('BOWL');
    await stage.stock('BOWL', 3);
    const shop = await inStep(10);
    await stage.sell('CUP', 1);
    await during(shop, moment, async () => {
      const { rows } = await db.owner.query(`select id from listings where org_id = $1`, [stage.orgId]);
      await db.store.tenant(stage.orgId, (tx) =>
        mapListing(tx, stage.orgId, rows[0].id, other, { ids: stage.ids, now: stage.clock.now(), compareAndSet: true }),
      );
    });
    expect(await shop.number('CUP', shop.main)).toBe(3);
    expect(await cup(shop)).toMatchObject({ desired: 3, expected: 3, unseen: 0, state: 'in_sync', dirty: false });
  },
);

test('a buffer changed twice within a lane’s turn ends at the last one, whichever commit came between', async () => {
  const shop = await inStep(10);
  await stage.policy('organization', stage.orgId, { buffer: 2 });
  await during(shop, 'beforeSend', async () => {
    await stage.policy('organization', stage.orgId, { buffer: 5 });
    await expand();
    await stage.policy('organization', stage.orgId, { buffer: 1 });
  });
  expect(await shop.number('CUP', shop.main)).toBe(9);
  expect(await cup(shop)).toMatchObject({ desired: 9, expected: 9, state: 'in_sync', dirty: false });
});

test('the parts of a bundle changed while its number is on the way: the new parts count', async () => {
  await stage.variant('LID');
  await stage.stock('LID', 4);
  const set = await stage.bundle('SET', { CUP: 1 });
  const shop = await inStep(10);
  await stage.list(shop, [{ sku: 'SET', stockKey: 'unused', externalId: 'none' }]).catch(() => undefined);
  await db.owner.query(`update listings set variant_id = $2 where org_id = $1 and channel_sku = 'CUP'`, [
    stage.orgId,
    set,
  ]);
  await db.owner.query(`delete from listings where org_id = $1 and channel_sku = 'SET'`, [stage.orgId]);
  await db.owner.query(`delete from targets where org_id = $1 and stock_key = 'unused'`, [stage.orgId]);
  await db.owner.query(`update targets set variant_id = $2 where org_id = $1`, [stage.orgId, set]);
  await stage.sell('CUP', 1);
  await during(shop, 'beforeSend', async () => {
    await db.owner.query(
      `insert into bundle_components (org_id, variant_id, component_id, units, valid_from) values ($1, $2, $3, 2, now())`,
      [stage.orgId, set, stage.variants.LID],
    );
    await stage.stock('LID', 5);
  });
  expect(await shop.number('CUP', shop.main)).toBe(2);
  expect(await cup(shop)).toMatchObject({ desired: 2, state: 'in_sync', dirty: false });
});

test('a connection deleted with work waiting and a call on its way is never written again, and nobody loops over it', async () => {
  const shop = await inStep(10);
  await stage.sell('CUP', 1);
  const lane = await during(shop, 'beforeSend', async () => {
    await stage.sell('CUP', 2);
    await db.store.tenant(stage.orgId, (tx) =>
      deleteConnection(tx, stage.orgId, shop.connection.connectionId, stage.clock.now()),
    );
  });
  const calls = (await shop.calls()).length;
  await stage.sell('CUP', 3);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  stage.clock.advance(120_000);
  await publisher.drain();
  await lane.drain();
  expect((await shop.calls()).length).toBe(calls);
  const { rows } = await db.owner.query(`select 1 from dirty_variants where org_id = $1`, [stage.orgId]);
  expect(rows).toEqual([]);
});

test('units presumed sold that never get an order heal exactly once', async () => {
  const shop = await inStep(10);
  await shop.edit('CUP', 7);
  expect(await stage.webhook(shop, 'CUP', shop.main, 7, stage.clock.now())).toBe('unseen_sale');
  const lane = stage.lane(shop);
  await lane.drain();
  expect(await sent(shop)).toEqual([]);
  await stage.readOrdersTo(shop, stage.clock.now() + 2_000);
  for (let look = 0; look < 4; look += 1) {
    await lane.drain();
    stage.clock.advance(3_000);
  }
  expect(await sent(shop)).toEqual([[10, 7, 'applied']]);
  expect(await cup(shop)).toMatchObject({ desired: 10, expected: 10, unseen: 0, state: 'in_sync' });
});

test('P6: an old order of unknown place that every level has already explains no sale after it', async () => {
  const shop = await inStep(6, 4);
  await stage.stock('CUP', 7);
  const soldAt = stage.clock.now();
  await shop.order('CUP', 1, { location: 'MAIN' });
  // Placed before both numbers were read: it is in them.
  await stage.importSale(shop, 'CUP', 1, stage.clock.now() - 60_000, null);
  expect(await cup(shop)).toMatchObject({ expected: 6 });
  expect(await cup(shop, shop.east)).toMatchObject({ expected: 4 });
  const { rows } = await db.owner.query(`select * from unplaced_effects where org_id = $1`, [stage.orgId]);
  expect(rows).toEqual([]);
  const publisher = stage.publisher([shop]);
  await stage.stock('CUP', 9);
  await publisher.drain();
  // 9 less the old order, less the one we have not heard of.
  expect(await shop.number('CUP', shop.main)).toBe(7);
  await stage.importSale(shop, 'CUP', 1, soldAt, shop.main);
  await publisher.drain();
  expect(await shop.number('CUP', shop.main)).toBe(7);
  expect(await cup(shop)).toMatchObject({ desired: 7, unseen: 0, state: 'in_sync' });
});
