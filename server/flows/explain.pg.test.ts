/** A published number taken apart as it was at a past time: mapping, places and policy of then, not of now (P8). */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { setPolicy } from '#store/catalog/policies.ts';
import { mapLocation } from '#store/connections/connections.ts';
import { mapListing } from '#store/listings/listings.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { explain } from './explain.ts';
import type { Publisher } from './publisher-types.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';
import { shopifyShop, type TestShopify } from './shopify-shop.testing.ts';

let db: TestDatabase;
let stage: Stage;
let shop: TestShopify;
let publisher: Publisher;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
  await stage.variant('MUG');
  await stage.variant('CUP');
  await stage.stock('MUG', 10);
  await stage.stock('CUP', 4);
  await stage.stock('MUG', 3, stage.east);
  shop = await shopifyShop(stage, { MUG: [10, 3] });
  publisher = stage.publisher([shop]);
  await publisher.drain();
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

/** Desired numbers at MAIN and EAST of the shop; null: the SKU had no listing (or did not exist) then. */
async function told(sku: string, at: number | null): Promise<(number | undefined)[] | null> {
  const targets = await db.store.readOnly(stage.orgId, (tx) =>
    explain(tx, stage.orgId, sku, null, stage.clock.now(), at),
  );
  const at_ = (place: string) => targets?.find(({ channelLocation }) => channelLocation === place)?.desired;
  return targets === null || targets.length === 0 ? null : [at_(shop.main), at_(shop.east)];
}

/** A moment that lies between what was done before and after it; the database's own clock included. */
async function moment(): Promise<number> {
  await new Promise((done) => setTimeout(done, 5));
  const now = stage.clock.now();
  await new Promise((done) => setTimeout(done, 5));
  return now;
}

const map = async (sku: string | null) => {
  const { rows } = await db.owner.query('select id from listings where org_id = $1', [stage.orgId]);
  const context = { ids: stage.ids, now: stage.clock.now(), compareAndSet: true };
  await db.store.tenant(stage.orgId, (tx) =>
    mapListing(tx, stage.orgId, rows[0].id, sku === null ? null : (stage.variants[sku] ?? null), context),
  );
};

test('a listing that stood for another SKU is explained as that SKU’s number of then', async () => {
  const first = await moment();
  await map('CUP');
  const second = await moment();
  await map(null);
  const third = await moment();
  await map('MUG');
  const now = await moment();
  expect(await Promise.all([first, second, third, now, null].map((at) => told('MUG', at)))).toEqual([
    [10, 3],
    null,
    null,
    [10, 3],
    [10, 3],
  ]);
  expect(await Promise.all([first, second, third, now, null].map((at) => told('CUP', at)))).toEqual([
    null,
    [4, 0],
    null,
    null,
    null,
  ]);
});

test('a location that moved to another place of the channel counts where it stood then', async () => {
  const before = await moment();
  await db.store.tenant(stage.orgId, (tx) =>
    mapLocation(tx, stage.orgId, shop.connection.connectionId, shop.main, stage.east),
  );
  expect(await told('MUG', before)).toEqual([10, 3]);
  expect(await told('MUG', await moment())).toEqual([13, 0]);
});

test('goods, claims, buffer and what had been seen and sent are those of then', async () => {
  const before = await moment();
  stage.clock.advance(5_000);
  await stage.sell('MUG', 2);
  const by = { actor: 'test', now: stage.clock.now(), id: stage.ids.uuid() };
  const scope = { scope: 'variant' as const, scopeId: stage.variants.MUG ?? '' };
  await db.store.tenant(stage.orgId, (tx) => setPolicy(tx, stage.orgId, scope, { buffer: 1 }, by));
  await publisher.drain();
  const between = await moment();
  stage.clock.advance(5_000);
  await stage.sell('MUG', 5);
  await publisher.drain();
  expect(await told('MUG', before)).toEqual([10, 3]);
  expect(await told('MUG', between)).toEqual([7, 3]);
  expect(await told('MUG', null)).toEqual([2, 3]);
  const seen = async (at: number) =>
    (await db.store.readOnly(stage.orgId, (tx) => explain(tx, stage.orgId, 'MUG', null, stage.clock.now(), at)))?.find(
      ({ channelLocation }) => channelLocation === shop.main,
    )?.past;
  expect(await seen(before)).toMatchObject({ observed: 10, sent: null, outcome: null });
  expect(await seen(between)).toMatchObject({ sent: 7, outcome: 'applied' });
});
