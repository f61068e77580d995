/** Taking an import back while the world goes on: edits, sales, cancelled undos, files that say several things in one row (P1, P3). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ImportFormat, openImport } from '#server/files.ts';
import { context, makeWorld, testIds, testStore, type World } from '#store/ledger/ledger.testing.ts';
import { cancelRun, createRun, keepRunFile, type NewRun, releaseRun } from '#store/runs/runs.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Store } from '#store/tx.ts';
import { readRun, readRunItems } from '#store/views/runs.ts';
import { type ImportFileOptions, importFile } from './run-kinds/import-file.ts';
import { undoImport } from './run-kinds/undo-import.ts';
import { createRunner, type Runner } from './runs.ts';

let database: TestDatabase;
let store: Store;
let world: World;
const now = context.now;
const clock = {
  now: () => now,
  monotonicMs: () => performance.now(),
  sleep: async (_ms: number, signal?: AbortSignal) =>
    new Promise<void>((done) => {
      const timer = setTimeout(done, 20);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        done();
      });
    }),
};
const options: ImportFileOptions = {
  openFile: (bytes, kind, format) => openImport(bytes, kind, format as ImportFormat),
  compareAndSetOf: () => true,
};

/** @param onStep after the transaction of each step of an undoing */
const runner = (onStep: () => Promise<unknown> = async () => {}): Runner =>
  createRunner({
    store,
    clock,
    ids: testIds,
    log: { info() {}, warn() {}, error() {} },
    kinds: {
      'import-stock': importFile('stock', options),
      'import-products': importFile('products', options),
      'undo-import': {
        execute: (held) =>
          undoImport(options).execute({
            ...held,
            store: {
              ...held.store,
              tenant: async (orgId, fn, more) => {
                const result = await store.tenant(orgId, fn, more);
                await onStep();
                return result;
              },
            } as Store,
          }),
      },
    },
    wake() {},
    mapped: async () => {},
  });

beforeAll(async () => {
  database = await testDatabase();
  store = testStore(database.appUrl);
});
afterAll(async () => {
  await store.end();
  await database.drop();
});
beforeEach(async () => {
  world = await makeWorld(database.owner, 3);
});

const newRun = (run: Pick<NewRun, 'kind' | 'state' | 'inverseOf' | 'params'>): NewRun => ({
  id: testIds.uuid(),
  connectionId: null,
  title: 'file',
  dryRun: false,
  actor: 'test',
  key: null,
  ...run,
});

async function view(id: string) {
  const found = await store.tenant(world.orgId, (tx) => readRun(tx, world.orgId, id, now));
  if (found === null) throw new Error('no run');
  return found;
}

async function imported(kind: 'import-stock' | 'import-products', csv: string, mode = 'set'): Promise<string> {
  const run = newRun({ kind, state: 'receiving', inverseOf: null, params: { mode } });
  await store.tenant(world.orgId, async (tx) => {
    await createRun(tx, world.orgId, run, now);
    await keepRunFile(tx, world.orgId, run.id, 0, Buffer.from(csv), now);
    await releaseRun(tx, world.orgId, run.id);
  });
  await runner().execute(world.orgId, run.id);
  return run.id;
}

async function undoing(of: string): Promise<string> {
  const { kind } = await view(of);
  const run = newRun({ kind: 'undo-import', state: 'waiting', inverseOf: of, params: { kind } });
  return (await store.tenant(world.orgId, (tx) => createRun(tx, world.orgId, run, now))).id;
}

async function undone(of: string): Promise<{ state: string; succeeded: number; failed: number; reasons: string[] }> {
  const id = await undoing(of);
  await runner().execute(world.orgId, id);
  const { state, succeeded, failed } = await view(id);
  const page = { limit: 100, after: null, outcome: 'failed' };
  const { items } = await store.tenant(world.orgId, (tx) => readRunItems(tx, world.orgId, id, page));
  return { state, succeeded, failed, reasons: items.map(({ subject, reason }) => `${subject} ${reason}`) };
}

async function units(): Promise<Record<string, number>> {
  const { rows } = await database.owner.query<{ place: string; n: number }>(
    `select v.sku || ' ' || l.code as place, p.sellable::int as n from positions p join variants v on v.org_id = p.org_id and v.id = p.variant_id
     join locations l on l.org_id = p.org_id and l.id = p.location_id where p.org_id = $1 order by 1`,
    [world.orgId],
  );
  return Object.fromEntries(rows.map(({ place, n }) => [place, n]));
}

const titles = async () =>
  (
    await database.owner.query<{ told: string }>(
      `select sku || ': ' || title || coalesce(' ' || barcode, '') || coalesce((select ' = ' || string_agg(c.sku || ' x ' || b.units, ', ' order by c.sku)
         from bundle_components b join variants c on c.org_id = b.org_id and c.id = b.component_id
         where b.org_id = v.org_id and b.variant_id = v.id and b.valid_to is null), '') as told
       from variants v where org_id = $1 and sku !~ '^SKU' order by sku`,
      [world.orgId],
    )
  ).rows.map(({ told }) => told);

test('an undo that was cancelled half-way and asked for again takes nothing back twice', async () => {
  await database.owner.query(
    `insert into variants (org_id, id, sku) select $1, gen_random_uuid(), 'U-' || lpad(n::text, 3, '0') from generate_series(1, 450) n`,
    [world.orgId],
  );
  const file = `sku,quantity\n${Array.from({ length: 450 }, (_, n) => `U-${String(n + 1).padStart(3, '0')},10`).join('\n')}\n`;
  await imported('import-stock', file, 'add');
  const second = await imported('import-stock', file, 'add');
  const first = await undoing(second);
  let steps = 0;
  await runner(async () => {
    steps += 1;
    if (steps !== 2) return;
    await store.tenant(world.orgId, (tx) => cancelRun(tx, world.orgId, first, now));
    await new Promise((done) => setTimeout(done, 200));
  }).execute(world.orgId, first);
  expect(await view(first)).toMatchObject({ state: 'cancelled', succeeded: 200 });
  expect(await undone(second)).toEqual({ state: 'done', succeeded: 450, failed: 0, reasons: [] });
  expect(new Set(Object.values(await units()))).toEqual(new Set([10]));
});

test('undoing a product file leaves what it never wrote as it was edited since: titles, barcodes and bundles', async () => {
  await imported('import-products', 'sku,title,barcode,components\nA,Apple,1,\nB,Bread,2,\nKIT,Kit,3,A:1\n');
  const barcodes = await imported('import-products', 'sku,barcode\nA,11\nKIT,33\n');
  await imported('import-products', 'sku,title,components\nA,Apple of today,\nKIT,Kit of today,B:2\n');
  expect(await undone(barcodes)).toMatchObject({ succeeded: 2, failed: 0 });
  expect(await titles()).toEqual(['A: Apple of today 1', 'B: Bread 2', 'KIT: Kit of today 3 = B x 2']);
});

test('undoing a product file refuses a bundle that was put together anew since, and changes nothing of it', async () => {
  await imported('import-products', 'sku,title,components\nA,Apple,\nB,Bread,\nKIT,Kit,A:1\n');
  const second = await imported('import-products', 'sku,title,components\nKIT,Box,A:2\n');
  await imported('import-products', 'sku,components\nKIT,B:5\n');
  expect(await undone(second)).toMatchObject({ failed: 1, reasons: ['KIT was changed since, or is gone'] });
  expect(await titles()).toEqual(['A: Apple', 'B: Bread', 'KIT: Box = B x 5']);
});

test('a row that counts one SKU at several places books each, and the undo takes each back', async () => {
  const header = 'Handle,Title,Option1 Name,Option1 Value,SKU,HS Code,COO,MAIN,EAST';
  const id = await imported(
    'import-stock',
    `${header}\nx,X,Title,Default Title,SKU-1,,,5,7\ny,Y,Title,Default Title,SKU-2,,,-3,2\n`,
  );
  expect(await view(id)).toMatchObject({ state: 'done', total: 4, succeeded: 3, failed: 1 });
  expect(await units()).toMatchObject({ 'SKU-1 MAIN': 5, 'SKU-1 EAST': 7, 'SKU-2 EAST': 2 });
  expect(await undone(id)).toMatchObject({ state: 'done', failed: 0, reasons: [] });
  expect(new Set(Object.values(await units()))).toEqual(new Set([0]));
});

test('a count that a sale came after is taken back by the units it changed, never by what the shelf was', async () => {
  await imported('import-stock', 'sku,quantity\nSKU-1,10\n');
  const count = await imported('import-stock', 'sku,quantity\nSKU-1,4\n');
  await imported('import-stock', 'sku,quantity\nSKU-1,-3\n', 'add');
  expect(await undone(count)).toMatchObject({ succeeded: 1, failed: 0 });
  expect(await units()).toEqual({ 'SKU-1 MAIN': 7 });
});

test('an import whose items were pruned is not called taken back', async () => {
  const id = await imported('import-stock', 'sku,quantity\nSKU-1,10\n');
  await database.owner.query('delete from run_items where run_id = $1', [id]);
  expect(await undone(id)).toMatchObject({ state: 'failed', succeeded: 0 });
  expect(await view(id)).toMatchObject({ state: 'done', undoneBy: null });
  expect(await units()).toEqual({ 'SKU-1 MAIN': 10 });
});
