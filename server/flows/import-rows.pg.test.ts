import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RawRow } from '#core/catalog/import-rows.ts';
import { context, makeWorld, testIds, testStore, type World } from '#store/ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Store } from '#store/tx.ts';
import { type ImportDeps, importProducts, importStock } from './import-rows.ts';

let database: TestDatabase;
let store: Store;
let world: World;
let woken = 0;
let deps: ImportDeps;

beforeAll(async () => {
  database = await testDatabase();
  store = testStore(database.appUrl);
  world = await makeWorld(database.owner, 3);
  deps = {
    store,
    clock: { now: () => context.now, monotonicMs: () => 0, sleep: async () => {} },
    ids: testIds,
    wake: () => {
      woken += 1;
    },
    mapped: () => {},
  };
});
afterAll(async () => {
  await store.end();
  await database.drop();
});

const rows = (...values: Record<string, string>[]): RawRow[] =>
  values.map((value, index) => ({ row: index + 2, values: value }));
const sellable = async (sku: string): Promise<Record<string, number>> => {
  const { rows: found } = await database.owner.query<{ code: string; sellable: number }>(
    'select l.code, p.sellable from positions p join variants v on v.id = p.variant_id join locations l on l.id = p.location_id where v.org_id = $1 and v.sku = $2',
    [world.orgId, sku],
  );
  return Object.fromEntries(found.map((row) => [row.code, row.sellable]));
};
const options = (key: string, dryRun = false) => ({ orgId: world.orgId, actor: 'test', key, dryRun });

test('a product file adds and changes by SKU, and the same file again changes nothing', async () => {
  const file = rows({ sku: 'IMP-1', title: 'One' }, { sku: 'IMP-2', title: 'Two' }, { sku: 'IMP/#% é', title: 'Odd' });
  expect(await importProducts(deps, file, options('p1'))).toEqual({
    rows: 3,
    succeeded: 3,
    failed: 0,
    unchanged: 0,
    errors: [],
    errorFile: null,
  });
  expect(await importProducts(deps, file, options('p2'))).toEqual({
    rows: 3,
    succeeded: 0,
    failed: 0,
    unchanged: 3,
    errors: [],
    errorFile: null,
  });
});

test('bundle components must be known, and must not be bundles; the rest of the file lands', async () => {
  const file = rows(
    { sku: 'IMP-KIT', title: 'Kit', components: 'IMP-1:2; IMP-2' },
    { sku: 'IMP-BAD', title: 'Bad', components: 'NOBODY:1' },
    { sku: 'IMP-NEST', title: 'Nest', components: 'IMP-KIT:1' },
  );
  const result = await importProducts(deps, file, options('p3'));
  expect({ ...result, errorFile: null }).toEqual({
    rows: 3,
    succeeded: 1,
    failed: 2,
    unchanged: 0,
    errors: [
      { row: 3, field: 'components', value: 'NOBODY:1', reason: 'NOBODY is not known' },
      { row: 4, field: 'components', value: 'IMP-KIT:1', reason: 'IMP-KIT is itself a bundle' },
    ],
    errorFile: null,
  });
  expect(result.errorFile).toMatch(/^\/api\/imports\/files\/[0-9a-f-]{36}$/);
});

test('a dry run counts exactly what the live run then does, and books nothing', async () => {
  const file = rows(
    { sku: 'IMP-1', quantity: '7' },
    { sku: 'IMP-2', quantity: '-1' },
    { sku: 'IMP-2', quantity: '4', location: 'NOWHERE' },
    { sku: 'NOBODY', quantity: '4' },
    { sku: 'IMP-KIT', quantity: '4' },
    { sku: 'IMP-1', quantity: '7' },
  );
  const before = woken;
  const dry = await importStock(deps, file, 'set', options('s1', true));
  expect(await sellable('IMP-1')).toEqual({});
  expect(woken).toBe(before);
  const live = await importStock(deps, file, 'set', options('s1'));
  expect({ ...live, errorFile: null }).toEqual({ ...dry, errorFile: null });
  expect(dry).toEqual({
    rows: 6,
    succeeded: 1,
    failed: 4,
    unchanged: 1,
    errors: [
      { row: 3, field: 'quantity', value: '-1', reason: 'must not be negative' },
      { row: 4, field: 'location', value: 'NOWHERE', reason: 'is not known' },
      { row: 5, field: 'sku', value: 'NOBODY', reason: 'is not known; import it as a product first' },
      { row: 6, field: 'sku', value: 'IMP-KIT', reason: 'is a bundle: its stock is that of its components' },
    ],
    errorFile: null,
  });
  expect(Object.values(await sellable('IMP-1'))).toEqual([7]);
});

test('the same import again, after a crash, adds nothing twice', async () => {
  const file = rows({ sku: 'IMP-2', quantity: '5' }, { sku: 'IMP-2', quantity: '-2' });
  expect(await importStock(deps, file, 'add', options('again'))).toMatchObject({
    rows: 2,
    succeeded: 2,
    failed: 0,
    unchanged: 0,
  });
  expect(await importStock(deps, file, 'add', options('again'))).toMatchObject({
    rows: 2,
    succeeded: 2,
    failed: 0,
    unchanged: 0,
  });
  expect(Object.values(await sellable('IMP-2'))).toEqual([3]);
});

test('adding fewer than are free is refused with the missing units, in a dry run too', async () => {
  const file = rows({ sku: 'IMP-2', quantity: '-9' });
  for (const dryRun of [true, false])
    expect(await importStock(deps, file, 'add', options('less', dryRun))).toMatchObject({
      succeeded: 0,
      failed: 1,
      errors: [{ row: 2, field: 'quantity', value: '-9', reason: '6 more than is free' }],
    });
  expect(Object.values(await sellable('IMP-2'))).toEqual([3]);
});
