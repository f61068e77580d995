import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { type CatalogHooks, type CatalogImportOptions, importCatalog } from './import-catalog.ts';
import { publishingStage, type Shop, type Stage } from './publishing.testing.ts';

let db: TestDatabase;
let stage: Stage;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const optionsOf = (shop: Shop, more: Partial<CatalogImportOptions> = {}): CatalogImportOptions => ({
  store: db.store,
  clock: stage.clock,
  ids: stage.ids,
  openConnection: async () => shop.opened,
  ...more,
});
const seller = async (count: number) => {
  stage = await publishingStage(db);
  return amazonShop(stage, Object.fromEntries(Array.from({ length: count }, (_, n) => [`S${n}`, n])));
};
const listings = async () =>
  (await db.owner.query('select channel_sku from listings where org_id = $1', [stage.orgId])).rowCount;

test('a refusal for rate in the middle of Amazon is waited for as long as it says, and no page is lost', async () => {
  const shop = await seller(45);
  const waits: number[] = [];
  const clock = { ...stage.clock, sleep: async (ms: number) => void waits.push(ms) };
  const hooks: CatalogHooks = {
    async beforePage(page) {
      if (page === 1)
        await shop.fault({ kind: 'status', status: 429, times: 1, match: { operation: 'searchListingsItems' } });
    },
  };
  const report = await importCatalog(optionsOf(shop, { clock, hooks }), shop.connection);
  expect(report).toMatchObject({ pages: 3, processed: 45, newListings: 45, unmapped: 45, gone: 0 });
  expect(waits).toEqual([2000]);
  expect(await listings()).toBe(45);
  await stage.close();
});

test('a page mark that Amazon no longer takes begins the walk again, and nothing is counted twice', async () => {
  const shop = await seller(45);
  let refused = false;
  const hooks: CatalogHooks = {
    async beforePage(page) {
      if (page !== 1 || refused) return;
      refused = true;

      await shop.fault({ kind: 'status', status: 400, times: 1, match: { operation: 'searchListingsItems' } });
    },
  };
  const report = await importCatalog(optionsOf(shop, { hooks }), shop.connection);
  expect(report).toMatchObject({ pages: 4, processed: 45, newListings: 45 });
  expect(await listings()).toBe(45);
  await stage.close();
});
