import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HoldId, LineId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, makeWorld, noon, numbers, run, testStore, type World } from './ledger.testing.ts';

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

const line = () => LineId(randomUUID());
const holdId = () => HoldId(randomUUID());

async function stocked(units: number): Promise<{ world: World; v: VariantId }> {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units })]);
  return { world, v };
}

describe('posting', () => {
  test('a receipt makes units sellable, writes one movement, marks the variant and tells the event stream', async () => {
    const { world, v } = await stocked(5);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 0] });
    const movements = await db.owner.query(
      'select units, from_bucket, to_bucket, kind, actor from movements where org_id = $1',
      [world.orgId],
    );
    expect(movements.rows).toEqual([
      { units: 5, from_bucket: null, to_bucket: 'sellable', kind: 'receipt', actor: 'test' },
    ]);
    const dirty = await db.owner.query('select variant_id, version::int, hint from dirty_variants where org_id = $1', [
      world.orgId,
    ]);
    expect(dirty.rows).toEqual([{ variant_id: v, version: 1, hint: 5 }]);
    const events = await db.owner.query(
      'select type, key, version::int, variants, versions::int[] from events where org_id = $1',
      [world.orgId],
    );
    expect(events.rows).toEqual([{ type: 'stock', key: '', version: 0, variants: [v], versions: [1] }]);
  });

  test('two orders want the last unit: one commits, the other is insufficient and writes nothing', async () => {
    const { world, v } = await stocked(1);
    const order = () =>
      command({
        kind: 'commit' as const,
        wish: true,
        lines: [{ lineId: line(), variantId: v, units: 1, locationId: null }],
      });
    const [first, second] = await run(store, world, [order(), order()]);
    expect(first?.kind).toBe('posted');
    expect(second).toEqual({ kind: 'insufficient', missing: [{ variantId: v, locationId: null, missing: 1 }] });
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1, 1, 0] });
    const effects = await db.owner.query('select count(*)::int as n from ledger_effects where org_id = $1', [
      world.orgId,
    ]);
    expect(effects.rows).toEqual([{ n: 2 }]);
  });

  test('the same key twice returns the first result and leaves one row', async () => {
    const { world, v } = await stocked(5);
    const order = command({
      kind: 'commit' as const,
      wish: false,
      lines: [{ lineId: line(), variantId: v, units: 2, locationId: null }],
    });
    const [first, sameBatch] = await run(store, world, [order, order]);
    const [later] = await run(store, world, [order]);
    expect(sameBatch).toEqual({ kind: 'duplicate', first });
    expect(later).toEqual({ kind: 'duplicate', first });
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 2, 0] });
  });

  test('an own hold expires when its time has passed, not before, and its due row goes with it', async () => {
    const { world, v } = await stocked(5);
    const id = holdId();
    await run(store, world, [
      command({
        kind: 'hold' as const,
        origin: 'own' as const,
        expiresAt: noon + 1000,
        wish: true,
        lines: [{ holdId: id, variantId: v, units: 3, locationId: null }],
      }),
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 3] });
    const due = () =>
      db.owner.query('select kind, due_at from due where org_id = $1 and subject_id = $2', [world.orgId, id]);
    expect((await due()).rows).toEqual([{ kind: 'hold', due_at: new Date(noon + 1000) }]);
    const expire = {
      kind: 'expire' as const,
      key: `hold:${id}:expire`,
      businessAt: noon,
      reason: 'expired',
      holdId: id,
    };
    expect(await run(store, world, [expire], noon + 999)).toEqual([{ kind: 'nothing', reason: 'not_due' }]);
    expect((await run(store, world, [expire], noon + 1000))[0]?.kind).toBe('posted');
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 0] });
    expect((await due()).rows).toEqual([]);
  });

  test('texts of people travel unchanged: quotes, backslashes, braces, line ends and the word NULL', async () => {
    const { world, v } = await stocked(1);
    const odd = 'a "b" \\ {c,d}\n\tNULL ü 🚲';
    const receipt = command({
      kind: 'receive' as const,
      variantId: v,
      locationId: world.main,
      units: 1,
      key: odd,
      reason: 'NULL',
      reference: odd,
      actor: odd,
    });
    expect((await run(store, world, [receipt]))[0]?.kind).toBe('posted');
    const { rows } = await db.owner.query(
      'select effect_key, reason, reference, actor from movements where org_id = $1 and effect_key = $2',
      [world.orgId, odd],
    );
    expect(rows).toEqual([{ effect_key: odd, reason: 'NULL', reference: odd, actor: odd }]);
    expect((await run(store, world, [receipt]))[0]?.kind).toBe('duplicate');
  });

  test('a batch of none, of 201, or with units that are not whole is our mistake, and nothing is written', async () => {
    const { world, v } = await stocked(1);
    const one = (units: number) => command({ kind: 'receive' as const, variantId: v, locationId: world.main, units });
    await expect(run(store, world, [])).rejects.toMatchObject({ code: 'assertion' });
    await expect(
      run(
        store,
        world,
        Array.from({ length: 201 }, () => one(1)),
      ),
    ).rejects.toMatchObject({ code: 'assertion' });
    for (const units of [0, -1, 1.5, 2 ** 31])
      await expect(run(store, world, [one(1), one(units)])).rejects.toMatchObject({ code: 'assertion' });
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1, 0, 0] });
  });
});
