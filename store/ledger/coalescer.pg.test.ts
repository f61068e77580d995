import { afterAll, beforeAll, expect, test } from 'vitest';
import { LineId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { type Coalescer, createCoalescer } from './coalescer.ts';
import { command, makeWorld, noon, numbers, run, testIds, testStore, type World } from './ledger.testing.ts';

let db: TestDatabase;
let store: Store;
let transactions = 0;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
  await db.owner.query(`create table written (org_id uuid, key text, answer text)`);
  await db.owner.query(`grant select, insert on written to syncstate_app`);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

/** The rows written beside each command: its key and the kind of its answer. A row "poison" fails the transaction. */
function coalescer(): Coalescer<string> {
  transactions = 0;
  return createCoalescer<string>({
    store,
    ids: testIds,
    clock: {
      now: () => noon,
      monotonicMs: () => performance.now(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    },
    async write(tx, orgId, done) {
      transactions += 1;
      if (done.some(({ unit }) => unit.row === 'poison')) throw new Error('poison');
      await tx.query('insert into written select $1, * from unnest($2::text[], $3::text[])', [
        orgId,
        done.map(({ unit }) => unit.row),
        done.map(({ answer }) => answer.kind),
      ]);
    },
  });
}

const wish = (v: VariantId, row: string) => ({
  command: command({
    kind: 'commit' as const,
    wish: true,
    lines: [{ lineId: LineId(testIds.uuid()), variantId: v, units: 1, locationId: null }],
  }),
  actor: 'key:1',
  row,
});

async function stocked(units: number): Promise<{ world: World; v: VariantId }> {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units })]);
  return { world, v };
}

const writtenFor = async (world: World) =>
  (
    await db.owner.query<{ key: string; answer: string }>(
      'select key, answer from written where org_id = $1 order by key',
      [world.orgId],
    )
  ).rows;

test('commands submitted together share one transaction, and each caller gets its own answer and row', async () => {
  const { world, v } = await stocked(7);
  const single = coalescer();
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => single.submit(world.orgId, wish(v, `row ${i}`))),
  );
  expect(answers.map((answer) => answer.kind)).toEqual([...Array(7).fill('posted'), ...Array(3).fill('insufficient')]);
  expect(transactions).toBe(1);
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [7, 7, 0] });
  expect((await writtenFor(world)).map((row) => row.answer)).toEqual(answers.map((answer) => answer.kind));
  await single.stop();
});

test('one throwing unit fails alone: the batch is halved, all others are posted with their rows', async () => {
  const { world, v } = await stocked(50);
  const single = coalescer();
  const answers = await Promise.allSettled(
    Array.from({ length: 16 }, (_, i) => single.submit(world.orgId, wish(v, i === 5 ? 'poison' : `row ${i}`))),
  );
  expect(answers.map((answer) => answer.status)).toEqual(
    Array.from({ length: 16 }, (_, i) => (i === 5 ? 'rejected' : 'fulfilled')),
  );
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [50, 15, 0] });
  expect(await writtenFor(world)).toHaveLength(15);
  // 16, 8, 4, 2, 1 with the culprit and their four sound halves.
  expect(transactions).toBe(9);
  await single.stop();
});

test('organizations never share a transaction: a fault of one leaves the other in its first batch', async () => {
  const [one, two] = [await stocked(5), await stocked(5)];
  const single = coalescer();
  const answers = await Promise.allSettled([
    single.submit(one.world.orgId, wish(one.v, 'poison')),
    single.submit(two.world.orgId, wish(two.v, 'row')),
  ]);
  expect(answers.map((answer) => answer.status)).toEqual(['rejected', 'fulfilled']);
  expect(transactions).toBe(2);
  expect(await numbers(db.owner, two.world, two.v)).toEqual({ MAIN: [5, 1, 0] });
  expect(await numbers(db.owner, one.world, one.v)).toEqual({ MAIN: [5, 0, 0] });
  await single.stop();
});

test('more than 200 waiting commands go in batches of 200; stopping answers all of them and takes no more', async () => {
  const { world, v } = await stocked(1000);
  const single = coalescer();
  const answers = Promise.all(Array.from({ length: 450 }, (_, i) => single.submit(world.orgId, wish(v, `row ${i}`))));
  await single.stop();
  expect((await answers).every((answer) => answer.kind === 'posted')).toBe(true);
  expect(transactions).toBe(3);
  await expect(single.submit(world.orgId, wish(v, 'late'))).rejects.toMatchObject({ code: 'store.unavailable' });
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1000, 450, 0] });
});
