/** Rows that wait for their steps in the database: the same steps as in memory, whoever stores them and however often (P3, P10). */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stepsInMemory, type WaitingRow } from '#core/catalog/import-steps.ts';
import { context, makeWorld, testIds, testStore, type World } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { readRun } from '../views/runs.ts';
import { beginReading, findLastRows, forgetRows, keepRows, readStepRows, readSteps } from './rows.ts';
import { createRun, finishRun, type HeldRun, takeRun } from './runs.ts';

let database: TestDatabase;
let store: Store;
let world: World;
const { now } = context;

beforeAll(async () => {
  database = await testDatabase();
  store = testStore(database.appUrl);
  world = await makeWorld(database.owner, 1);
});
afterAll(async () => {
  await store.end();
  await database.drop();
});

async function held(): Promise<HeldRun> {
  const id = testIds.uuid();
  const run = { id, kind: 'import-stock', connectionId: null, title: 'file', params: {}, dryRun: false };
  const more = { actor: 'test', key: null, inverseOf: null, state: 'waiting' as const };
  const taken = await store.tenant(world.orgId, async (tx) => {
    await createRun(tx, world.orgId, { ...run, ...more }, now);
    return takeRun(tx, world.orgId, id, { holder: testIds.uuid(), now, forMs: 30_000 });
  });
  if (taken === null) throw new Error('nobody else takes it');
  return taken;
}

const said = (row: number, turn: number, sku: string | null, phase: number): WaitingRow => ({
  row,
  turn,
  sku,
  phase: sku === null ? 0 : phase,
  says: sku === null ? null : { row, sku, location: null, quantity: row },
  refused: sku === null ? { subject: '', field: 'sku', value: '', reason: 'is missing' } : null,
});

test('steps follow from the file alone: in the database as in memory, in whatever portions its rows were stored', async () => {
  const records = fc.array(
    fc.record({
      sku: fc.constantFrom('A', 'B', "c'ä", 'D', 'E', 'F', 'G', 'H', null),
      phase: fc.constantFrom(0, 0, 0, 1),
      turns: fc.constantFrom(1, 1, 2),
    }),
    { minLength: 1, maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(
      records,
      fc.integer({ min: 1, max: 7 }),
      fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 })),
      async (file, portion, sizes) => {
        const rows = file.flatMap(({ sku, phase, turns }, at) =>
          Array.from({ length: turns }, (_, turn) => said(at + 2, turn, sku, phase)),
        );
        const run = await held();
        const inDatabase = await store.tenant(world.orgId, async (tx) => {
          for (let from = 0; from < rows.length; from += portion)
            await keepRows(tx, run, rows.slice(from, from + portion), from + portion);
          const steps: WaitingRow[][] = [];
          for (const range of await readSteps(tx, run, sizes)) steps.push(await readStepRows(tx, run, range));
          const last = await findLastRows(tx, run, ['A', "c'ä", 'Z']);
          return { steps, last };
        });
        const steps = stepsInMemory(sizes, rows);
        expect(inDatabase.steps).toEqual(steps);
        const lastOf = (sku: string) => steps.flat().findLast((row) => row.sku === sku);
        for (const sku of ['A', "c'ä", 'Z']) {
          const { phase, says } = lastOf(sku) ?? {};
          expect(inDatabase.last.get(sku)).toEqual(phase === undefined ? undefined : { phase, says });
        }
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);

test('rows stored twice are there once; who lost the run stores nothing; what is forgotten is gone, and only of this run', async () => {
  const run = await held();
  const other = await held();
  const rows = [said(2, 0, 'A', 0), said(3, 0, 'B', 0), said(4, 0, null, 0)];
  const tenant = <T>(fn: Parameters<typeof store.tenant<T>>[1]) => store.tenant(world.orgId, fn);
  await tenant((tx) => keepRows(tx, other, rows, 3));
  for (const _ of [1, 2]) await tenant((tx) => keepRows(tx, run, rows, 3));
  const kept = async (of: HeldRun) =>
    (await tenant((tx) => readSteps(tx, of, [10]))).length === 0
      ? []
      : tenant((tx) => readStepRows(tx, of, { phase: 0, from: 2, to: 9 }));
  expect(await kept(run)).toEqual(rows);
  expect(await tenant((tx) => readRun(tx, world.orgId, run.id, now))).toMatchObject({
    state: 'running',
    total: null,
    message: 'Its file is being read: 3 rows so far; nothing is booked yet.',
  });
  expect(await tenant((tx) => beginReading(tx, run))).toBe(false);
  expect(await kept(run)).toEqual([]);
  await tenant((tx) => keepRows(tx, run, rows, 3));
  await tenant((tx) => finishRun(tx, run, { state: 'cancelled', code: null, message: null, errorFile: null, now }));
  await expect(tenant((tx) => keepRows(tx, run, [said(5, 0, 'C', 0)], 4))).rejects.toMatchObject({
    code: 'store.mismatch',
  });
  expect(await kept(run)).toEqual(rows);
  expect(await tenant((tx) => forgetRows(tx, run))).toBe(false);
  expect([await kept(run), await kept(other)]).toEqual([[], rows]);
});
