import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { importCatalog } from './import-catalog.ts';
import { clock, ids, type Judge, judge, makeOrg } from './intake.testing.ts';
import { openHost, simulatedShop } from './intake-shop.testing.ts';

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

test('a catalogue becomes listings: mapped where the SKU is ours, kept unmapped where not, and the same again', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'B']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1, B: 2, STRANGE: 3 }, host);
  const listings = () =>
    see.all('select channel_sku, variant_id, fulfilled_by from listings where org_id = $1 order by channel_sku', [
      org.orgId,
    ]);
  const expected = [
    { channel_sku: 'A', variant_id: org.variants.A, fulfilled_by: 'us' },
    { channel_sku: 'B', variant_id: org.variants.B, fulfilled_by: 'us' },
    { channel_sku: 'STRANGE', variant_id: null, fulfilled_by: 'us' },
  ];
  expect(await listings()).toEqual(expected);
  const again = await importCatalog(
    { store: db.store, clock, ids, openConnection: async () => shop.opened },
    shop.connection,
  );
  expect(again).toEqual({ listings: 3, mapped: 2, refused: [] });
  expect(await listings()).toEqual(expected);
  await shop.close();
});

test('what a person mapped stays mapped, although the SKU says otherwise', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'OTHER']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host);
  await db.owner.query('update listings set variant_id = $2 where org_id = $1', [org.orgId, org.variants.OTHER]);
  await importCatalog({ store: db.store, clock, ids, openConnection: async () => shop.opened }, shop.connection);
  expect(await see.all('select variant_id from listings where org_id = $1', [org.orgId])).toEqual([
    { variant_id: org.variants.OTHER },
  ]);
  await shop.close();
});

test('a connection that cannot be opened imports nothing', async () => {
  expect(
    await importCatalog(
      { store: db.store, clock, ids, openConnection: async () => null },
      { orgId: ids.uuid(), connectionId: ids.uuid() },
    ),
  ).toBe(null);
});
