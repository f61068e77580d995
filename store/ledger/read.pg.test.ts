import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LineId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, context, makeWorld, noon, run, testStore } from './ledger.testing.ts';
import { post } from './post.ts';
import { stockPage } from './queries.ts';
import {
  availabilityAsKnown,
  availabilityAsOf,
  readClaims,
  readPositions,
  readShortfalls,
  readStockPage,
} from './read.ts';

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

const hour = 3_600_000;

describe('reading', () => {
  test('positions, claims and shortfalls say what was posted', async () => {
    const world = await makeWorld(db.owner);
    const [v, w] = world.variants as [VariantId, VariantId];
    const lineId = LineId(randomUUID());
    await run(store, world, [
      command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 4 }),
      command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 2 }),
      command({
        kind: 'commit' as const,
        wish: false,
        lines: [
          { lineId, variantId: v, units: 3, locationId: null },
          { lineId, variantId: w, units: 1, locationId: null },
        ],
      }),
    ]);
    await store.readOnly(world.orgId, async (tx) => {
      expect(
        (await readPositions(tx, world.orgId, [v])).map(({ location, sellable, committed }) => [
          location,
          sellable,
          committed,
        ]),
      ).toEqual([
        ['MAIN', 2, 2],
        ['EAST', 4, 1],
      ]);
      expect(
        (await readClaims(tx, world.orgId, [lineId])).map(({ claim, locationId, open }) => [claim, locationId, open]),
      ).toEqual([
        ['commitment', world.main, 2],
        ['commitment', world.east, 1],
        ['shortfall', null, 1],
      ]);
      const [short] = await readShortfalls(tx, world.orgId, { limit: 10 });
      expect(short).toMatchObject({ claimId: lineId, sku: 'SKU-2', waiting: 1, becomes: 'commitment' });
      expect(
        await readShortfalls(tx, world.orgId, { limit: 10, after: { variantId: w, seq: short?.seq ?? 0 } }),
      ).toEqual([]);
    });
  });

  test('a past business time is rebuilt from movements and the claim log (race 27)', async () => {
    const world = await makeWorld(db.owner);
    const v = world.variants[0] as VariantId;
    const lineId = LineId(randomUUID());
    const at = (hours: number) => ({ businessAt: noon + hours * hour });
    await run(store, world, [
      command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 5, ...at(0) }),
    ]);
    await run(store, world, [
      command({
        kind: 'commit' as const,
        wish: false,
        lines: [{ lineId, variantId: v, units: 7, locationId: null }],
        ...at(1),
      }),
    ]);
    await run(store, world, [
      command({ kind: 'ship' as const, lineId, variantId: v, units: 2, locationId: null, ...at(2) }),
    ]);
    await run(store, world, [command({ kind: 'release' as const, claimId: lineId, lines: 'all' as const, ...at(3) })]);
    const past = (hours: number) =>
      store.readOnly(world.orgId, async (tx) =>
        (await availabilityAsOf(tx, world.orgId, [v], noon + hours * hour)).map((p) => [
          p.locationId === null ? 'waits' : 'MAIN',
          p.sellable,
          p.committed,
          p.waiting,
        ]),
      );
    expect(await past(-1)).toEqual([]);
    expect(await past(0)).toEqual([['MAIN', 5, 0, 0]]);
    expect(await past(1)).toEqual([
      ['MAIN', 5, 5, 0],
      ['waits', 0, 0, 2],
    ]);
    expect(await past(2)).toEqual([
      ['MAIN', 3, 3, 0],
      ['waits', 0, 0, 2],
    ]);
    expect(await past(3)).toEqual([['MAIN', 3, 0, 0]]);
  });

  test('as known at a time is refused while a transaction that began before it still runs, and has one answer afterwards', async () => {
    const world = await makeWorld(db.owner);
    const v = world.variants[0] as VariantId;
    const receipt = () =>
      command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 1, businessAt: noon });
    await run(store, world, [receipt()]);
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let begun = () => {};
    const started = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const late = store.tenant(world.orgId, async (tx) => {
      await post(tx, world.orgId, [receipt()], context);
      begun();
      await gate;
    });
    await started;
    // Recorded times have microseconds: the next whole millisecond is surely later.
    const now = Date.now() + 1;
    expect((await availabilityAsKnown(store, world.orgId, [v], noon, now)).kind).toBe('not_final');
    release();
    await late;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await availabilityAsKnown(store, world.orgId, [v], noon, now)).toMatchObject({
      kind: 'known',
      positions: [{ sellable: 2 }],
    });
  });

  test('pages follow the SKU in byte order, and a prefix narrows them', async () => {
    const world = await makeWorld(db.owner, 12);
    const page = (after: string | null, prefix = '') =>
      store.readOnly(world.orgId, async (tx) => {
        const { items, next } = await readStockPage(tx, world.orgId, { limit: 5, after, prefix });
        return [items.map((item) => item.sku), next];
      });
    expect(await page(null)).toEqual([['SKU-1', 'SKU-10', 'SKU-11', 'SKU-12', 'SKU-2'], 'SKU-2']);
    expect(await page('SKU-7')).toEqual([['SKU-8', 'SKU-9'], null]);
    expect(await page(null, 'SKU-1')).toEqual([['SKU-1', 'SKU-10', 'SKU-11', 'SKU-12'], null]);
  });

  test('the page of 50 among 20,000 SKUs reads an index as the app role, not the table (race 34)', async () => {
    const world = await makeWorld(db.owner, 20_000);
    await db.owner.query('analyze variants');
    const plan = await store.readOnly(world.orgId, async (tx) => {
      const { rows } = await tx.query<{ 'QUERY PLAN': string }>(
        `explain (analyze, buffers, costs off, timing off) ${stockPage}`,
        [world.orgId, 'SKU-15', 'SKU-1', 'SKU-1\u{10FFFF}', 51],
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    });
    expect(plan).toMatch(/Index (Only )?Scan using variants_org_id_sku_key/);
    expect(plan).not.toMatch(/Seq Scan on variants/);
    expect(Number(/Buffers: shared hit=(\d+)/.exec(plan)?.[1])).toBeLessThan(400);
  });
});
