import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HoldId, holdOfLine, LineId, type LocationId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, context, makeWorld, noon, numbers, run, testStore, type World } from './ledger.testing.ts';
import { post, postBatch } from './post.ts';
import { verify } from './verify.ts';

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
type Need = { lineId: LineId; variantId: VariantId; units: number; locationId: LocationId | null };
const need = (variantId: VariantId, units: number, lineId = line(), locationId: LocationId | null = null): Need => ({
  lineId,
  variantId,
  units,
  locationId,
});
const wish = (...lines: Need[]) => command({ kind: 'commit' as const, wish: true, lines });
const sale = (...lines: Need[]) => command({ kind: 'commit' as const, wish: false, lines });
const receive = (world: World, variantId: VariantId, units: number, locationId = world.main) =>
  command({ kind: 'receive' as const, variantId, locationId, units });

async function stocked(...units: number[]): Promise<{ world: World; v: VariantId; w: VariantId; x: VariantId }> {
  const world = await makeWorld(db.owner);
  const [v, w, x] = world.variants as [VariantId, VariantId, VariantId];
  const receipts = units.flatMap((n, i) => (n > 0 ? [receive(world, world.variants[i] as VariantId, n)] : []));
  if (receipts.length > 0) await run(store, world, receipts);
  return { world, v, w, x };
}

const waiting = async (world: World) =>
  (
    await db.owner.query<{ line_id: string; waiting: number; filled: number; cancelled: number }>(
      'select line_id, waiting, filled, cancelled from shortfalls where org_id = $1 order by seq',
      [world.orgId],
    )
  ).rows;
const alerts = async (world: World) =>
  (
    await db.owner.query(
      'select kind, severity, subject_id, resolved_at is not null as resolved from alerts where org_id = $1 order by created_at, id',
      [world.orgId],
    )
  ).rows;
const movements = async (world: World) =>
  (
    await db.owner.query(
      'select kind, reason, units, from_bucket, to_bucket from movements where org_id = $1 order by id',
      [world.orgId],
    )
  ).rows;
const sound = async (world: World) =>
  expect(await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId))).toMatchObject({ ok: true, faults: [] });

describe('batches (race 16)', () => {
  test('an order refused for its second line leaves the first line to the next order of the batch', async () => {
    const { world, v, w } = await stocked(1, 1);
    const [a, b] = await run(store, world, [wish(need(v, 1), need(w, 2)), wish(need(v, 1))]);
    expect(a).toEqual({ kind: 'insufficient', missing: [{ variantId: w, locationId: null, missing: 1 }] });
    expect(b?.kind).toBe('posted');
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1, 1, 0] });
    expect(await numbers(db.owner, world, w)).toEqual({ MAIN: [1, 0, 0] });
  });
});

describe('facts below the claims (race 17)', () => {
  test('a count below the claims posts: the newest commitment waits, with a critical case, and nothing is refused', async () => {
    const { world, v } = await stocked(10);
    const [old, young] = [line(), line()];
    await run(store, world, [sale(need(v, 5, old)), sale(need(v, 3, young))]);
    const [counted] = await run(store, world, [
      command({ kind: 'count' as const, variantId: v, locationId: world.main, set: 6 }),
    ]);
    expect(counted).toMatchObject({
      kind: 'posted',
      positions: [{ before: { sellable: 10, committed: 8 }, after: { sellable: 6, committed: 6 } }],
      claims: [
        { claim: 'commitment', claimId: young, delta: -2, event: 'displace' },
        { claim: 'shortfall', claimId: young, delta: 2, event: 'displace' },
      ],
    });
    expect(await waiting(world)).toEqual([{ line_id: young, waiting: 2, filled: 0, cancelled: 0 }]);
    expect(await alerts(world)).toEqual([
      { kind: 'oversell', severity: 'critical', subject_id: young, resolved: false },
    ]);
    await sound(world);
  });

  test('holds give way before commitments, even older ones', async () => {
    const { world, v } = await stocked(5);
    const held = HoldId(randomUUID());
    await run(store, world, [
      command({
        kind: 'hold' as const,
        wish: true,
        origin: 'own' as const,
        expiresAt: null,
        lines: [{ holdId: held, variantId: v, units: 2, locationId: null }],
      }),
      sale(need(v, 3)),
    ]);
    await run(store, world, [
      command({
        kind: 'adjust' as const,
        variantId: v,
        locationId: world.main,
        change: -1,
        fact: true,
        reason: 'lost',
      }),
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [4, 3, 1] });
    expect(await waiting(world)).toMatchObject([{ line_id: held, waiting: 1 }]);
  });

  test('a shipment beyond the book is found first, with a warning; the book ends at zero, never below', async () => {
    const { world, v } = await stocked(2);
    await run(store, world, [
      command({ kind: 'ship' as const, variantId: v, units: 5, locationId: world.main, reason: 'fba transfer' }),
    ]);
    expect((await movements(world)).slice(1)).toEqual([
      { kind: 'adjustment', reason: 'shipped_beyond_book', units: 3, from_bucket: null, to_bucket: 'sellable' },
      { kind: 'shipment', reason: 'fba transfer', units: 5, from_bucket: 'sellable', to_bucket: null },
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({});
    expect(await alerts(world)).toMatchObject([{ kind: 'shipped_beyond_book', severity: 'warning' }]);
    await sound(world);
  });

  test('our own adjustment, move and transfer are refused beyond what is free, and change nothing; displaceClaims lets them through', async () => {
    const { world, v } = await stocked(5);
    await run(store, world, [sale(need(v, 4))]);
    const before = await movements(world);
    const at = { variantId: v, locationId: world.main };
    const refused = await run(store, world, [
      command({ kind: 'adjust' as const, ...at, change: -2, fact: false }),
      command({ kind: 'move' as const, ...at, units: 2, from: 'sellable' as const, to: 'quarantine' as const }),
      command({
        kind: 'transfer' as const,
        variantId: v,
        fromLocationId: world.main,
        toLocationId: world.east,
        units: 2,
      }),
    ]);
    for (const answer of refused)
      expect(answer).toEqual({ kind: 'insufficient', missing: [{ variantId: v, locationId: world.main, missing: 1 }] });
    expect(await movements(world)).toEqual(before);
    await run(store, world, [
      command({
        kind: 'move' as const,
        ...at,
        units: 2,
        from: 'sellable' as const,
        to: 'quarantine' as const,
        displaceClaims: true,
      }),
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 3, 0] });
    expect(await waiting(world)).toMatchObject([{ waiting: 1 }]);
  });

  test('displaced units go to another serving location that has them before anybody is short', async () => {
    const { world, v } = await stocked(3);
    await run(store, world, [sale(need(v, 3)), receive(world, v, 5, world.east)]);
    await run(store, world, [command({ kind: 'count' as const, variantId: v, locationId: world.main, set: 1 })]);
    expect(await numbers(db.owner, world, v)).toEqual({ EAST: [5, 2, 0], MAIN: [1, 1, 0] });
    expect(await alerts(world)).toEqual([]);
    await sound(world);
  });
});

describe('one commit (race 18)', () => {
  test('what the caller writes beside the commands stands or falls with them', async () => {
    const { world, v } = await stocked(5);
    const order = sale(need(v, 2));
    const crash = store.tenant(world.orgId, async (tx) => {
      await post(tx, world.orgId, [order], context);
      throw new Error('killed between posting and commit');
    });
    await expect(crash).rejects.toThrow('killed');
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 0] });
    expect((await run(store, world, [order]))[0]?.kind).toBe('posted');
  });
});

describe('holds (races 21, 22)', () => {
  const hold = (world: World, v: VariantId, units: number, origin: 'own' | 'channel' = 'own') => {
    const lineId = line();
    const lines = [{ holdId: holdOfLine(lineId), variantId: v, units, locationId: null }];
    return {
      lineId,
      holdId: holdOfLine(lineId),
      place: run(store, world, [command({ kind: 'hold' as const, wish: false, origin, expiresAt: noon, lines })]),
    };
  };

  test('a hold for a channel order never expires by clock', async () => {
    const { world, v } = await stocked(5);
    const { holdId, place } = hold(world, v, 2, 'channel');
    await place;
    expect(await run(store, world, [command({ kind: 'expire' as const, holdId })], noon + 1e9)).toEqual([
      { kind: 'nothing', reason: 'channel_hold' },
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 0, 2] });
  });

  test('confirm and expire at the same instant: the first wins, the units are owed either way, never twice', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { world, v } = await stocked(5);
      const { holdId, place } = hold(world, v, 2);
      await place;
      await Promise.all([
        run(store, world, [command({ kind: 'expire' as const, holdId })]),
        run(store, world, [command({ kind: 'confirm' as const, holdId })]),
      ]);
      expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 2, 0] });
      await sound(world);
    }
  });

  test('a confirmation after expiry is a fact: sold on meanwhile, it becomes a shortfall, not a refusal', async () => {
    const { world, v } = await stocked(2);
    const { holdId, lineId, place } = hold(world, v, 2);
    await place;
    await run(store, world, [command({ kind: 'expire' as const, holdId }), sale(need(v, 1))]);
    expect((await run(store, world, [command({ kind: 'confirm' as const, holdId })]))[0]?.kind).toBe('posted');
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [2, 2, 0] });
    expect(await waiting(world)).toMatchObject([{ line_id: lineId, waiting: 1 }]);
    expect(await run(store, world, [command({ kind: 'confirm' as const, holdId })])).toEqual([
      { kind: 'nothing', reason: 'closed' },
    ]);
  });
});

describe('shortfalls (race 23)', () => {
  test('in one batch a receipt fills the older shortfall before the order behind it, and the case is resolved', async () => {
    const { world, v } = await stocked(0);
    const [old, young] = [line(), line()];
    await run(store, world, [sale(need(v, 3, old))]);
    await run(store, world, [receive(world, v, 5), sale(need(v, 5, young))]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 5, 0] });
    expect(await waiting(world)).toMatchObject([
      { line_id: old, waiting: 0, filled: 3 },
      { line_id: young, waiting: 3, filled: 0 },
    ]);
    expect(await alerts(world)).toMatchObject([
      { subject_id: old, resolved: true },
      { subject_id: young, resolved: false },
    ]);
    await sound(world);
  });

  test('an edit shrinks the shortfall before the commitment, and a cancelled order gives its goods to who waits', async () => {
    const { world, v } = await stocked(4);
    const [first, second] = [line(), line()];
    await run(store, world, [sale(need(v, 6, first)), sale(need(v, 3, second))]);
    await run(store, world, [
      command({ kind: 'release' as const, claimId: first, lines: [{ variantId: v, units: 3 }] }),
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [4, 4, 0] });
    expect(await waiting(world)).toMatchObject([
      { line_id: first, waiting: 0, cancelled: 2 },
      { line_id: second, waiting: 2, filled: 1 },
    ]);
    await run(store, world, [command({ kind: 'release' as const, claimId: first, lines: 'all' as const })]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [4, 3, 0] });
    expect((await alerts(world)).every((alert) => alert.resolved)).toBe(true);
    await sound(world);
  });

  test('goods at a location that serves no orders fill nothing', async () => {
    const { world, v } = await stocked(0);
    await run(store, world, [sale(need(v, 2)), receive(world, v, 5, world.fba)]);
    expect(await numbers(db.owner, world, v)).toEqual({ FBA: [5, 0, 0] });
    expect(await waiting(world)).toMatchObject([{ waiting: 2 }]);
  });
});

describe('bundles (race 24)', () => {
  test('three components of one line are three rows, routed together, and released by their rows', async () => {
    const { world, v, w, x } = await stocked(1, 2, 3);
    await run(store, world, [
      receive(world, v, 1, world.east),
      receive(world, w, 2, world.east),
      receive(world, x, 3, world.east),
    ]);
    const [one, two] = [line(), line()];
    const kit = (lineId: LineId) => sale(need(v, 1, lineId), need(w, 2, lineId), need(x, 3, lineId));
    await run(store, world, [sale(need(v, 1))]);
    await run(store, world, [kit(one)]);
    const rows = await db.owner.query(
      'select open from commitments where org_id = $1 and line_id = $2 and location_id = $3 order by open',
      [world.orgId, one, world.east],
    );
    expect(rows.rows).toEqual([{ open: 1 }, { open: 2 }, { open: 3 }]);
    await run(store, world, [kit(two), command({ kind: 'release' as const, claimId: one, lines: 'all' as const })]);
    expect(await numbers(db.owner, world, v)).toEqual({ EAST: [1, 1, 0], MAIN: [1, 1, 0] });
    expect(await waiting(world)).toMatchObject([{ line_id: two, waiting: 0, filled: 1 }]);
    await sound(world);
  });
});

describe('several organizations (races 29, 30)', () => {
  test('one batch over many organizations books each its own, also under one and the same key', async () => {
    const [a, b] = [await stocked(3), await stocked(3)];
    const order = (v: VariantId) =>
      command({ kind: 'commit' as const, wish: true, lines: [need(v, 2)], key: 'same key' });
    const shares = [
      { orgId: a.world.orgId, commands: [order(a.v), wish(need(a.v, 2))] },
      { orgId: b.world.orgId, commands: [order(b.v)] },
    ];
    const answers = await store.batch(
      shares.map((share) => share.orgId),
      (tx) => postBatch(tx, shares, context),
    );
    expect(answers.map((share) => share.map((answer) => answer.kind))).toEqual([
      ['posted', 'insufficient'],
      ['posted'],
    ]);
    expect(await numbers(db.owner, a.world, a.v)).toEqual({ MAIN: [3, 2, 0] });
    expect(await numbers(db.owner, b.world, b.v)).toEqual({ MAIN: [3, 2, 0] });
    await sound(a.world);
    await sound(b.world);
  });

  test('a command cannot reach a variant of another organization', async () => {
    const [a, b] = [await stocked(3), await stocked(3)];
    await expect(run(store, a.world, [wish(need(b.v, 1))])).rejects.toThrow();
    await expect(
      store.tenant(a.world.orgId, (tx) => post(tx, b.world.orgId, [wish(need(b.v, 1))], context)),
    ).rejects.toThrow();
    expect(await numbers(db.owner, b.world, b.v)).toEqual({ MAIN: [3, 0, 0] });
  });
});

describe('what the database refuses (P2)', () => {
  test('a bucket of −5, claims beyond goods, and any change or removal of movements, claim log and effects', async () => {
    const { world, v } = await stocked(5);
    await run(store, world, [sale(need(v, 3))]);
    const asApp = (sql: string) => store.tenant(world.orgId, (tx) => tx.query(sql));
    await expect(asApp('update positions set sellable = -5')).rejects.toMatchObject({ code: '23514' });
    await expect(asApp('update positions set committed = 6')).rejects.toMatchObject({ code: '23514' });
    for (const table of ['movements', 'claim_changes', 'ledger_effects']) {
      await expect(asApp(`update ${table} set org_id = org_id`)).rejects.toMatchObject({ code: '42501' });
      await expect(asApp(`delete from ${table}`)).rejects.toMatchObject({ code: '42501' });
    }
    for (const column of ['first_delta = 1', 'business_at = now()', 'effect_key = effect_key', 'seq = 1'])
      await expect(asApp(`update commitments set ${column}`)).rejects.toMatchObject({ code: '42501' });
    await expect(asApp('delete from commitments')).rejects.toMatchObject({ code: '42501' });
    await expect(asApp('delete from positions')).rejects.toMatchObject({ code: '42501' });
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 3, 0] });
  });

  test('no function of the ledger notifies: commits stay parallel (race 28)', async () => {
    const { rows } = await db.owner.query(
      `select proname from pg_proc where prosrc ~* '\\mnotify\\M|pg_notify|add_job' and pronamespace = 'public'::regnamespace`,
    );
    expect(rows).toEqual([]);
  });
});
