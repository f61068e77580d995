/** Imports while orders come in: neither stops the other, and the ledger adds up (P1, P2; the order of locks). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RawRow } from '#core/catalog/import-rows.ts';
import { stepsInMemory, waitingRows } from '#core/catalog/import-steps.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { applyStep, importProducts, importStock, tryOut } from './import-rows.ts';
import { clock, ids, line, makeConnection, makeOrg, order, takeIn } from './intake.testing.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const skus = Array.from({ length: 1_200 }, (_, n) => `S-${String(n).padStart(4, '0')}`);
const rows = (values: Record<string, string>[]): RawRow[] => values.map((one, at) => ({ row: at + 2, values: one }));
const deps = () => ({ store: db.store, clock, ids, wake() {}, mapped() {} });
const at = () => Math.floor(clock.now() / 1000) * 1000;
const deadlocks = async () =>
  (
    await db.owner.query<{ n: number }>(
      'select pg_stat_force_next_flush(), deadlocks::int as n from pg_stat_database where datname = current_database()',
    )
  ).rows[0]?.n;

test('thousand-row steps, each in the file’s own order, and orders of the same SKUs never deadlock, and every unit adds up', async () => {
  const org = await makeOrg(db.owner, db.store, skus);
  const connection = await makeConnection(db.owner, db.store, org, {});
  const { bring } = takeIn(db.store);
  const before = await deadlocks();
  const add = (order_: readonly string[], key: string) =>
    importStock(deps(), rows(order_.map((sku) => ({ sku, quantity: '2' }))), 'add', {
      orgId: org.orgId,
      actor: 'test',
      key,
      dryRun: false,
    });
  await add(skus, 'first');
  const imports = [skus, skus.toReversed(), skus.toSorted(() => -1), [...skus.slice(600), ...skus.slice(0, 600)]];
  const orders = async (from: number) => {
    for (let n = 0; n < 25; n += 1) {
      const pick = [1, 7, 1_100, 401].map((step) => skus[(from * 131 + n * 17 + step) % skus.length] ?? '');
      await bring(
        connection,
        order(
          `${from}-${n}`,
          at(),
          pick.map((sku) => line(sku, 1)),
        ),
      );
    }
  };
  const results = await Promise.all([...imports.map((one, n) => add(one, `n${n}`)), orders(1), orders(2), orders(3)]);
  expect(results.slice(0, 4)).toMatchObject(imports.map(() => ({ succeeded: 1_200, failed: 0 })));
  expect(await deadlocks()).toBe(before);
  const { rows: sums } = await db.owner.query(
    `select sum(sellable)::int as sellable, sum(committed)::int as committed, (select sum(c.open)::int from commitments c where c.org_id = $1) as claimed,
       (select count(*)::int from shortfalls where org_id = $1) as short
     from positions where org_id = $1`,
    [org.orgId],
  );
  expect(sums).toEqual([{ sellable: 12_000, committed: 300, claimed: 300, short: 0 }]);
}, 60_000);

test('a dry run of products is as many short transactions as the live run, and counts the same, bundles of new parts too', async () => {
  const org = await makeOrg(db.owner, db.store, ['OLD']);
  const plain = Array.from({ length: 4_100 }, (_, n) => ({ sku: `P-${n}`, title: `Product ${n}` }));
  const kits = Array.from({ length: 250 }, (_, n) => ({
    sku: `K-${n}`,
    components: n === 7 ? 'P-1:2; NONE' : n === 8 ? 'K-1' : `P-${n}:1; OLD:2`,
  }));
  const file = rows([...kits, ...plain]);
  const run = async (dryRun: boolean) => {
    const sizes: number[] = [];
    const counting = {
      ...deps(),
      store: {
        ...deps().store,
        tenant: async (orgId: string, fn, more) => {
          sizes.push(1);
          return db.store.tenant(orgId, fn, more);
        },
      } as typeof db.store,
    };
    const result = await importProducts(counting, file, { orgId: org.orgId, actor: 't', key: 'k', dryRun });
    return { ...result, errorFile: null, transactions: sizes.length - (dryRun ? 0 : 1) };
  };
  const dry = await run(true);
  expect(dry).toMatchObject({ rows: 4_350, succeeded: 4_348, failed: 2, transactions: 5 });
  expect((await db.owner.query('select sku from variants where org_id = $1', [org.orgId])).rows).toEqual([
    { sku: 'OLD' },
  ]);
  expect(await run(false)).toEqual(dry);
});

test('a dry run of mappings holds up no order of their listings and SKUs, however long it takes', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'B']);
  const connection = await makeConnection(db.owner, db.store, org, {});
  const { bring } = takeIn(db.store);
  for (const sku of ['A', 'B']) await org.stock(sku, 9);
  const file = rows([
    { sku: '', channel_sku: 'A' },
    { sku: 'A', channel_sku: 'B' },
  ]);
  const context = {
    orgId: org.orgId,
    actor: 'test',
    key: 'dry',
    dryRun: true,
    clock,
    ids,
    compareAndSetOf: () => true,
  };
  const waiting = file.flatMap((row) => waitingRows('mapping', 'set', { rows: [row], errors: [] }));
  const around = { find: async () => new Map() };
  await db.store.tenant(org.orgId, (tx) =>
    tryOut(tx, async () => {
      for (const step of stepsInMemory([500], waiting))
        expect((await applyStep(tx, 'mapping', step, 'set', around, context)).outcomes).toMatchObject([
          { outcome: 'done' },
          { outcome: 'done' },
        ]);
      const brought = bring(
        connection,
        order(
          '1',
          at(),
          ['A', 'B'].map((sku) => line(sku, 1)),
        ),
      ).then(() => 'brought');
      expect(await Promise.race([brought, new Promise((done) => setTimeout(done, 5_000, 'held up'))])).toBe('brought');
    }),
  );
});
