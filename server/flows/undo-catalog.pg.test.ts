import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { mapListing } from '#store/listings/listings.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { type CatalogRequest, importCatalog } from './import-catalog.ts';
import { clock, ids, type Judge, judge, line, makeOrg, type Org, order, takeIn } from './intake.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './intake-shop.testing.ts';
import { type UndoOptions, undoCatalogImport } from './undo-catalog.ts';

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await openHost();
});
afterAll(async () => {
  await host.close();
  await db.drop();
});

const undo = (org: Org, id: string, more: Partial<UndoOptions> = {}) =>
  undoCatalogImport({ store: db.store, clock, ids, compareAndSet: true, ...more }, org.orgId, id);
const imported = async (shop: SimulatedShop, request: CatalogRequest = {}) => {
  const id = ids.uuid();
  await importCatalog({ store: db.store, clock, ids, openConnection: async () => shop.opened }, shop.connection, {
    id,
    ...request,
  });
  return id;
};
const set = (org: Org, sql: string, ...values: unknown[]) => db.owner.query(sql, [org.orgId, ...values]);
/** All that an import may touch, ids left out where they are new each time. */
const state = async (org: Org) => ({
  listings: await see.all(
    `select channel_sku, title, variant_id, fulfilled_by, not_writable from listings where org_id = $1 order by channel_sku`,
    [org.orgId],
  ),
  targets: await see.all(
    'select stock_key, channel_location, variant_id, state from targets where org_id = $1 order by 1, 2',
    [org.orgId],
  ),
  products: await see.all('select id, sku, title, barcode from variants where org_id = $1 order by sku', [org.orgId]),
});

test('undone at once, an import leaves everything as it was before, mappings and products included', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'B']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1, B: 2 }, host);
  await set(org, `update listings set variant_id = null, title = 'Old' where org_id = $1 and channel_sku = 'B'`);
  await set(
    org,
    `update targets set variant_id = null, state = 'unmapped' where org_id = $1 and variant_id = $2`,
    org.variants.B,
  );
  await shop.control('/products', { sku: 'N1' });
  const before = await state(org);
  const id = await imported(shop, { createProducts: true });
  expect((await state(org)).products).toHaveLength(3);
  expect(await undo(org, id)).toEqual({
    removed: 1,
    unmapped: 0,
    restored: 1,
    unchanged: 1,
    kept: 0,
    refusals: [],
    productsRemoved: 1,
    productsKept: 0,
    productRefusals: [],
  });
  expect(await state(org)).toEqual(before);
  expect(await undo(org, id)).toMatchObject({ removed: 1, restored: 1, kept: 0 });
  expect(await state(org)).toEqual(before);
  await shop.close();
});

test('what somebody did since stays, each with its reason, and the rest goes', async () => {
  const org = await makeOrg(db.owner, db.store, ['OURS']);
  const skus = { SOLD: 5, PAUSED: 1, OTHER: 1, POLICY: 1, STOCKED: 1, RENAMED: 1, PLAIN: 1 };
  const shop = await simulatedShop(db.owner, db.store, org, skus, host, { imported: false });
  const id = await imported(shop, { createProducts: true });
  const taken = takeIn(db.store, { opened: () => shop.opened });
  await taken.bring(shop.connection, order('1', clock.now(), [line('SOLD', 1, { stockKey: null })]));
  await set(org, `update listings set paused_at = now() where org_id = $1 and channel_sku = 'PAUSED'`);
  const [other] = await see.all<{ id: string }>(`select id from listings where org_id = $1 and channel_sku = 'OTHER'`, [
    org.orgId,
  ]);
  const context = { ids, now: clock.now(), compareAndSet: true };
  await db.store.tenant(org.orgId, (tx) =>
    mapListing(tx, org.orgId, other?.id ?? '', org.variants.OURS ?? '', context),
  );
  await set(
    org,
    `insert into policies (org_id, id, scope, scope_id, buffer, valid_from, actor)
     select org_id, $2, 'listing', id, 1, now(), 'test' from listings where org_id = $1 and channel_sku = 'POLICY'`,
    ids.uuid(),
  );
  await set(
    org,
    `insert into positions (org_id, variant_id, location_id) select org_id, id, $2 from variants where org_id = $1 and sku = 'STOCKED'`,
    org.main,
  );
  await set(
    org,
    `update variants set title = 'Better', updated_at = now() + interval '1 s' where org_id = $1 and sku = 'RENAMED'`,
  );
  expect(await undo(org, id)).toEqual({
    removed: 3,
    unmapped: 1,
    restored: 0,
    unchanged: 0,
    kept: 3,
    refusals: [
      { channelSku: 'OTHER', reason: 'it was changed since' },
      { channelSku: 'PAUSED', reason: 'somebody paused it since' },
      { channelSku: 'POLICY', reason: 'it has a setting of its own' },
      { channelSku: 'SOLD', reason: 'it stays: orders name it' },
    ],
    productsRemoved: 2,
    productsKept: 5,
    productRefusals: [
      { channelSku: 'PAUSED', reason: 'a listing is mapped to it' },
      { channelSku: 'POLICY', reason: 'a listing is mapped to it' },
      { channelSku: 'RENAMED', reason: 'it was changed since' },
      { channelSku: 'SOLD', reason: 'it has stock or had some' },
      { channelSku: 'STOCKED', reason: 'it has stock or had some' },
    ],
  });
  const left = await state(org);
  expect(left.listings.map(({ channel_sku, variant_id }) => [channel_sku, variant_id !== null])).toEqual([
    ['OTHER', true],
    ['PAUSED', true],
    ['POLICY', true],
    ['SOLD', false],
  ]);
  expect(left.products.map(({ sku }) => sku)).toEqual(['OURS', 'PAUSED', 'POLICY', 'RENAMED', 'SOLD', 'STOCKED']);
  await shop.close();
});

test('a listing through which numbers were sent stays for the history, unmapped', async () => {
  const org = await makeOrg(db.owner, db.store, ['A']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
  const id = await imported(shop);
  await set(
    org,
    `insert into attempts (org_id, id, target_id, connection_id, value, call_key, lane, lease_generation, sent_at, derivation, outcome)
     select org_id, $2, id, connection_id, 1, $2, $2, 1, now(), '[]', 'applied' from targets where org_id = $1 limit 1`,
    ids.uuid(),
  );
  expect(await undo(org, id)).toMatchObject({
    removed: 0,
    unmapped: 1,
    refusals: [{ channelSku: 'A', reason: 'it stays: numbers were sent through it' }],
  });
  expect(await see.all('select distinct state, variant_id from targets where org_id = $1', [org.orgId])).toEqual([
    { state: 'unmapped', variant_id: null },
  ]);
  await shop.close();
});

test('what a later table holds on to is kept, not an end to the whole', async () => {
  const org = await makeOrg(db.owner, db.store, []);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1, B: 1 }, host, { imported: false });
  const id = await imported(shop, { createProducts: true });
  await db.owner.query(
    'create table later_news (org_id uuid, variant_id uuid, foreign key (org_id, variant_id) references variants (org_id, id))',
  );
  await set(org, `insert into later_news select org_id, id from variants where org_id = $1 and sku = 'B'`);
  expect(await undo(org, id)).toMatchObject({
    removed: 2,
    productsRemoved: 1,
    productsKept: 1,
    productRefusals: [{ channelSku: 'B', reason: 'it is in use' }],
  });
  await db.owner.query('drop table later_news');
  await shop.close();
});

test('an undoing that died between any two commits goes on and ends the same', async () => {
  const org = await makeOrg(db.owner, db.store, ['I1']);
  const many = Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`I${n + 1}`, n]));
  const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
  const before = await state(org);
  const id = await imported(shop, { createProducts: true });
  let deaths = 0;
  for (let allowed = 1; ; allowed += 1) {
    let commits = 0;
    const report = await undo(org, id, {
      afterCommit() {
        commits += 1;
        if (commits === 1 && deaths < 5) throw new Error('killed');
      },
    }).catch(() => null);
    if (report) {
      expect(report).toMatchObject({ removed: 250, productsRemoved: 249, kept: 0, productsKept: 0 });
      break;
    }
    deaths += 1;
    expect(allowed).toBeLessThan(10);
  }
  expect(deaths).toBe(5);
  expect(await state(org)).toEqual(before);
  await shop.close();
});

test('a dry run cannot be undone, nor what never was', async () => {
  const org = await makeOrg(db.owner, db.store, ['A']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
  const id = await imported(shop, { dryRun: true });
  await expect(undo(org, id)).rejects.toMatchObject({ code: 'domain.not_undoable' });
  await expect(undo(org, ids.uuid())).rejects.toMatchObject({ code: 'domain.not_undoable' });
  await shop.close();
});
