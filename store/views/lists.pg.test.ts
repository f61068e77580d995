/** Lists under row security, as the app role: what a page reads must not grow with the organization, nor with its neighbours. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeWorld, testStore, type World } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store, Tx } from '../tx.ts';
import { readItems } from './inventory.ts';
import { readMovements } from './movements.ts';

let db: TestDatabase;
let store: Store;
let large: World;
let small: World;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl, 1);
  large = await makeWorld(db.owner, 3_000);
  small = await makeWorld(db.owner, 300);
  await db.owner.query(
    `insert into movements (org_id, id, variant_id, units, to_location, to_bucket, kind, reason, actor, effect_key, business_at)
     select v.org_id, gen_random_uuid(), v.id, 1, l.id, 'sellable', 'receipt', 'received', 'test', v.id || ':' || n,
       timestamptz '2026-01-01' + (hashtext(v.id::text || n) & 16777215) * interval '1 second'
     from variants v join locations l on l.org_id = v.org_id and l.is_default, generate_series(1, 20) n`,
  );
  await db.owner.query('analyze');
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

/** Rows each table gave for what `ask` reads. */
async function rowsRead(world: World, ask: (tx: Tx) => Promise<unknown>): Promise<Record<string, number>> {
  return store.tenant(world.orgId, async (tx) => {
    const read = async () => {
      const { rows } = await tx.query<{ relname: string; n: number }>(
        `select relname, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_xact_user_tables where relname in ('movements', 'variants')`,
      );
      return new Map(rows.map(({ relname, n }) => [relname, n]));
    };
    const before = await read();
    await ask(tx);
    return Object.fromEntries([...(await read())].map(([name, n]) => [name, n - (before.get(name) ?? 0)]));
  });
}

const newest = { sku: null, search: null, limit: 50, after: null };

test('the newest movements are read in their order, for a large and a small organization', async () => {
  for (const world of [large, small]) {
    const read = await rowsRead(world, (tx) => readMovements(tx, world.orgId, newest));
    expect([read.movements, (read.movements ?? 0) <= 60]).toEqual([read.movements, true]);
  }
});

test('a page of the inventory reads its own rows, wherever it begins', async () => {
  const page = { limit: 50, search: null, location: null };
  for (const after of [null, 'SKU-2']) {
    const read = await rowsRead(large, (tx) => readItems(tx, large.orgId, { ...page, after }));
    // The page, and counting once over the organization's SKUs.
    expect([read.variants, (read.variants ?? 0) <= 3_000 + 120]).toEqual([read.variants, true]);
  }
});

test('a search looks at each SKU once and still counts them all', async () => {
  const search = { limit: 50, after: null, search: 'sku-29', location: null };
  const read = await rowsRead(large, (tx) => readItems(tx, large.orgId, search));
  expect([read.variants, (read.variants ?? 0) <= 3_000 + 120]).toEqual([read.variants, true]);
  const found = await store.tenant(large.orgId, (tx) => readItems(tx, large.orgId, search));
  expect([found.items.length, found.totalSkus, found.items[0]?.sku]).toEqual([50, 111, 'SKU-29']);
  const last = await store.tenant(large.orgId, (tx) => readItems(tx, large.orgId, { ...search, after: 'SKU-2998' }));
  expect([last.items.map(({ sku }) => sku), last.totalSkus, last.next]).toEqual([['SKU-2999'], 111, null]);
  const none = await store.tenant(large.orgId, (tx) => readItems(tx, large.orgId, { ...search, after: 'SKU-2999' }));
  expect([none.items, none.totalSkus]).toEqual([[], 111]);
});

test('a search for movements reads what it names: by the beginning of a SKU, a reference or a reason, in any of three spellings', async () => {
  const [first] = (
    await db.owner.query<{ id: string }>(
      `update movements set reference = 'PO-7 late', reason = 'Recount' where org_id = $1 and id = (select min(id::text)::uuid from movements where org_id = $1) returning id`,
      [large.orgId],
    )
  ).rows;
  const search = (text: string, sku: string | null = null) =>
    store.tenant(large.orgId, (tx) => readMovements(tx, large.orgId, { sku, search: text, limit: 50, after: null }));
  for (const text of ['PO-7', 'po-7', 'PO-7 late', 'Recount'])
    expect([text, (await search(text)).items.map(({ id }) => id)]).toEqual([text, [first?.id]]);
  expect((await search('7 late')).items).toEqual([]);
  const ofSku = await search('sku-2999');
  expect([ofSku.items.length, ...new Set(ofSku.items.map(({ sku }) => sku))]).toEqual([20, 'SKU-2999']);
  expect((await search('received', 'SKU-2999')).items.map(({ id }) => id)).toEqual(ofSku.items.map(({ id }) => id));
  expect((await search('%')).items).toEqual([]);
  const ask = (text: string) =>
    rowsRead(large, (tx) => readMovements(tx, large.orgId, { sku: null, search: text, limit: 50, after: null }));
  expect((await ask('sku-2999')).movements).toBeLessThanOrEqual(60);
  // Nearly everything begins with it: the newest page is met on the way back.
  expect((await ask('received')).movements).toBeLessThanOrEqual(2 * 2_001 + 200);
});

const pageOf = (search: string, after: [string, string] | null) =>
  store.tenant(large.orgId, (tx) => readMovements(tx, large.orgId, { sku: null, search, limit: 8, after }));

test('pages of a search for movements follow one another, whether it names few or most of them', async () => {
  for (const [text, many] of [
    ['SKU-2998', 20],
    ['received', 60_000 - 1],
  ] as const) {
    const seen: string[] = [];
    let after: [string, string] | null = null;
    for (let n = 0; n < 3 && (n === 0 || after); n += 1) {
      const page: Awaited<ReturnType<typeof readMovements>> = await pageOf(text, after);
      seen.push(...page.items.map(({ businessAt, id }) => `${businessAt} ${id}`));
      after = page.next;
    }
    expect([text, seen.length]).toEqual([text, Math.min(24, many)]);
    expect(seen).toEqual([...seen].sort().reverse());
    expect(new Set(seen).size).toBe(seen.length);
  }
});
