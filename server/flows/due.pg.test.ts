import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HoldId, type VariantId } from '#core/ids.ts';
import {
  command,
  makeWorld,
  noon,
  numbers,
  run,
  testIds,
  testStore,
  type World,
} from '#store/ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Store } from '#store/tx.ts';
import { serveDue } from './due.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const hold = (holdId: HoldId, variantId: VariantId, expiresAt: number) =>
  command({
    kind: 'hold' as const,
    wish: true,
    origin: 'own' as const,
    expiresAt,
    lines: [{ holdId, variantId, units: 2, locationId: null }],
  });

async function stocked(): Promise<{ world: World; v: VariantId; holdId: HoldId }> {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 5 })]);
  return { world, v, holdId: HoldId(randomUUID()) };
}

const serve = (now: number, through: Store = store) =>
  serveDue({
    store: through,
    ids: testIds,
    random: { next: () => 0.5 },
    clock: { now: () => now, monotonicMs: () => now, sleep: async () => {} },
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} } as never,
  });
const dues = async (world: World) =>
  (await db.owner.query<{ due_at: Date }>('select due_at from due where org_id = $1', [world.orgId])).rows.map((row) =>
    row.due_at.getTime(),
  );

test('a hold placed again under its id, even until the same time, expires again', async () => {
  const { world, v, holdId } = await stocked();
  for (let life = 0; life < 3; life += 1) {
    await run(store, world, [hold(holdId, v, noon + 1000)]);
    await serve(noon + 999);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 2] });
    await serve(noon + 1000);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 0] });
    expect(await dues(world)).toEqual([]);
  }
});

test('a hold prolonged while the sweeper was on its way keeps its new time', async () => {
  const { world, v, holdId } = await stocked();
  await run(store, world, [hold(holdId, v, noon + 1000)]);
  const late: Store = {
    tenant: (orgId, fn, options) => store.tenant(orgId, fn, options),
    batch: (orgIds, fn, options) => store.batch(orgIds, fn, options),
    readOnly: (orgId, fn, options) => store.readOnly(orgId, fn, options),
    metrics: () => store.metrics(),
    end: () => store.end(),
    system: async (fn, options) => {
      const rows = await store.system(fn, options);
      await run(store, world, [hold(holdId, v, noon + 6000)]);
      return rows;
    },
  };
  await serve(noon + 1000, late);
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 4] });
  expect(await dues(world)).toEqual([noon + 6000]);
  await serve(noon + 6000);
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 0] });
});
