/** Where the ledger was broken once: each test failed before its mend. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HoldId, holdOfLine, LineId, type LocationId, type VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, makeWorld, noon, numbers, run, testStore, type World } from './ledger.testing.ts';
import { availabilityAsOf, readStockPage } from './read.ts';
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
const max = 2_147_483_647;
const need = (variantId: VariantId, units: number, lineId = line(), locationId: LocationId | null = null) => ({
  lineId,
  variantId,
  units,
  locationId,
});
const sale = (...lines: ReturnType<typeof need>[]) => command({ kind: 'commit' as const, wish: false, lines });
const receive = (variantId: VariantId, units: number, locationId: LocationId) =>
  command({ kind: 'receive' as const, variantId, locationId, units });
const hold = (holdId: HoldId, variantId: VariantId, units: number, expiresAt: number | null = noon) =>
  command({
    kind: 'hold' as const,
    wish: false,
    origin: 'own' as const,
    expiresAt,
    lines: [{ holdId, variantId, units, locationId: null }],
  });

async function stocked(...units: number[]): Promise<{ world: World; v: VariantId; w: VariantId }> {
  const world = await makeWorld(db.owner);
  const [v, w] = world.variants as [VariantId, VariantId];
  const receipts = units.flatMap((n, i) => (n > 0 ? [receive(world.variants[i] as VariantId, n, world.main)] : []));
  if (receipts.length > 0) await run(store, world, receipts);
  return { world, v, w };
}

const sound = async (world: World) =>
  expect(await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId))).toMatchObject({ ok: true, faults: [] });
const dues = async (world: World) =>
  (await db.owner.query('select subject_id, due_at from due where org_id = $1', [world.orgId])).rows;
const openAlerts = async (world: World) =>
  (
    await db.owner.query('select kind, subject_id, details from alerts where org_id = $1 and resolved_at is null', [
      world.orgId,
    ])
  ).rows;
const waiting = async (world: World) =>
  (
    await db.owner.query<{ n: number }>(
      'select coalesce(sum(waiting), 0)::int as n from shortfalls where org_id = $1',
      [world.orgId],
    )
  ).rows[0]?.n;
const effects = async (world: World) =>
  (
    await db.owner.query<{ n: number }>('select count(*)::int as n from ledger_effects where org_id = $1', [
      world.orgId,
    ])
  ).rows[0]?.n;

describe('numbers beyond what the book holds', () => {
  const beyond: [string, (world: World, v: VariantId, lineId: LineId) => Command[]][] = [
    ['goods of a bucket', (world, v) => [receive(v, 1e9, world.main), receive(v, 1e9, world.main)]],
    [
      'goods that a transfer brings',
      (world, v) => [
        receive(v, 2e9, world.east),
        command({
          kind: 'transfer' as const,
          variantId: v,
          fromLocationId: world.east,
          toLocationId: world.main,
          units: 2e9,
        }),
      ],
    ],
    ['units owed to a line', (_, v, lineId) => [sale(need(v, 2e9, lineId)), sale(need(v, 2e9, lineId))]],
    [
      'units shipped for a line',
      (world, v, lineId) => [
        command({ kind: 'ship' as const, lineId, variantId: v, units: 2e9, locationId: world.main }),
        command({ kind: 'ship' as const, lineId, variantId: v, units: 2e9, locationId: world.main }),
      ],
    ],
  ];
  test.each(beyond)(
    '%s are refused with the number and the bound, together or one by one, and nothing of the batch is written',
    async (_, make) => {
      for (const how of ['together', 'one by one'] as const) {
        const { world, v } = await stocked(500_000_000);
        const batch = make(world, v, line());
        const before = await effects(world);
        if (how === 'one by one') for (const one of batch.slice(0, -1)) await run(store, world, [one]);
        const settled = await numbers(db.owner, world, v);
        await expect(run(store, world, how === 'together' ? batch : batch.slice(-1))).rejects.toMatchObject({
          code: 'domain.too_many',
        });
        expect(await numbers(db.owner, world, v)).toEqual(settled);
        if (how === 'together') expect(await effects(world)).toBe(before);
        await sound(world);
      }
    },
  );

  test('a variant whose places together hold more than one place can is still listed, and known at a past time', async () => {
    const { world, v } = await stocked(max);
    await run(store, world, [receive(v, max, world.east)]);
    await store.readOnly(world.orgId, async (tx) => {
      expect((await readStockPage(tx, world.orgId, { limit: 1 })).items).toMatchObject([{ available: 2 * max }]);
      expect((await availabilityAsOf(tx, world.orgId, [v], noon * 2)).map((p) => p.sellable)).toEqual([max, max]);
    });
  });
});

describe('commands that are no whole units', () => {
  test.each([0.5, -1, 0, Number.NaN])('releasing %d units is our mistake, and nothing is written', async (units) => {
    const { world, v } = await stocked(5);
    const lineId = line();
    await run(store, world, [sale(need(v, 3, lineId))]);
    await expect(
      run(store, world, [command({ kind: 'release' as const, claimId: lineId, lines: [{ variantId: v, units }] })]),
    ).rejects.toMatchObject({ code: 'assertion' });
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 3, 0] });
  });

  test.each([
    ['no key', { key: '' }],
    ['a key of 301 characters', { key: 'x'.repeat(301) }],
    ['no time', { businessAt: Number.NaN }],
  ])('a command with %s is our mistake', async (_, wrong) => {
    const { world, v } = await stocked(5);
    await expect(run(store, world, [{ ...receive(v, 1, world.main), ...wrong }])).rejects.toMatchObject({
      code: 'assertion',
    });
  });
});

describe('holds', () => {
  test('placed, expired and confirmed for another line in one batch, the hold is committed as a fact', async () => {
    const { world, v } = await stocked(3);
    const [holdId, lineId] = [HoldId(randomUUID()), line()];
    const answers = await run(store, world, [
      hold(holdId, v, 2),
      command({ kind: 'expire' as const, holdId }),
      command({ kind: 'confirm' as const, holdId, lineId }),
    ]);
    expect(answers.map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted']);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 2, 0] });
    await sound(world);
  });

  test('one variant of a hold shipped, the other still expires: its due row stays', async () => {
    const { world, v, w } = await stocked(3, 3);
    const lineId = line();
    const holdId = holdOfLine(lineId);
    await run(store, world, [
      command({
        kind: 'hold' as const,
        wish: false,
        origin: 'own' as const,
        expiresAt: noon + 1000,
        lines: [
          { holdId, variantId: v, units: 1, locationId: null },
          { holdId, variantId: w, units: 2, locationId: null },
        ],
      }),
    ]);
    await run(store, world, [command({ kind: 'ship' as const, lineId, variantId: v, units: 1, locationId: null })]);
    expect(await dues(world)).toEqual([{ subject_id: holdId, due_at: new Date(noon + 1000) }]);
    await run(store, world, [command({ kind: 'ship' as const, lineId, variantId: w, units: 2, locationId: null })]);
    expect(await dues(world)).toEqual([]);
    await sound(world);
  });

  test('a hold prolonged for another variant is prolonged whole: it expires at one time', async () => {
    const { world, v, w } = await stocked(3, 3);
    const holdId = HoldId(randomUUID());
    await run(store, world, [hold(holdId, v, 1, noon)]);
    await run(store, world, [hold(holdId, w, 1, noon + 1000)]);
    expect(await run(store, world, [command({ kind: 'expire' as const, holdId })], noon)).toEqual([
      { kind: 'nothing', reason: 'not_due' },
    ]);
    await run(store, world, [command({ kind: 'expire' as const, holdId })], noon + 1000);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 0, 0] });
    expect(await numbers(db.owner, world, w)).toEqual({ MAIN: [3, 0, 0] });
  });

  test('a hold prolonged for ever has no due row any more', async () => {
    const { world, v } = await stocked(3);
    const holdId = HoldId(randomUUID());
    await run(store, world, [hold(holdId, v, 1, noon)]);
    await run(store, world, [hold(holdId, v, 1, null)]);
    expect(await dues(world)).toEqual([]);
  });

  test('a confirmation of no lines is our mistake and forgets nothing', async () => {
    const { world, v } = await stocked(3);
    const holdId = HoldId(randomUUID());
    await run(store, world, [hold(holdId, v, 2), command({ kind: 'expire' as const, holdId })]);
    await expect(run(store, world, [command({ kind: 'confirm' as const, holdId, lines: [] })])).rejects.toMatchObject({
      code: 'assertion',
    });
    await run(store, world, [command({ kind: 'confirm' as const, holdId })]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 2, 0] });
  });
});

describe('oversell cases', () => {
  test('a case stays open while units of the line wait, whether as a hold or as owed', async () => {
    const { world, v } = await stocked();
    const lineId = line();
    await run(store, world, [hold(holdOfLine(lineId), v, 3, null)]);
    await run(store, world, [sale(need(v, 2, lineId))]);
    await run(store, world, [receive(v, 2, world.main)]);
    expect(await waiting(world)).toBe(3);
    expect(await openAlerts(world)).toMatchObject([{ kind: 'oversell', subject_id: lineId }]);
    await run(store, world, [receive(v, 3, world.main)]);
    expect(await openAlerts(world)).toEqual([]);
  });
});

describe('shipments without a place', () => {
  test('goods where no orders are served never leave for an order: they are found at the default place, with a warning', async () => {
    const { world, v } = await stocked();
    await run(store, world, [receive(v, 5, world.fba)]);
    await run(store, world, [
      command({ kind: 'ship' as const, lineId: line(), variantId: v, units: 2, locationId: null }),
    ]);
    expect(await numbers(db.owner, world, v)).toEqual({ FBA: [5, 0, 0] });
    expect(await openAlerts(world)).toMatchObject([{ kind: 'shipped_beyond_book' }]);
    await sound(world);
  });

  test('free goods of several places leave before anything is found or taken from a claim', async () => {
    const { world, v } = await stocked(4);
    await run(store, world, [receive(v, 2, world.east), sale(need(v, 2))]);
    await run(store, world, [command({ kind: 'ship' as const, variantId: v, units: 4, locationId: null })]);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [2, 2, 0] });
    expect(await openAlerts(world)).toEqual([]);
    expect(await waiting(world)).toBe(0);
    await sound(world);
  });
});

describe('as of a time before late facts', () => {
  test('a loss dated before the claims it displaced lowers the goods of then, never the claims below nothing', async () => {
    const { world, v } = await stocked();
    const at = (hours: number) => ({ businessAt: noon + hours * 3_600_000 });
    await run(store, world, [{ ...receive(v, 5, world.main), ...at(0) }]);
    await run(store, world, [{ ...sale(need(v, 5)), ...at(4) }]);
    await run(store, world, [
      { ...command({ kind: 'count' as const, variantId: v, locationId: world.main, set: 3 }), ...at(2) },
    ]);
    const past = (hours: number) =>
      store.readOnly(world.orgId, async (tx) =>
        (await availabilityAsOf(tx, world.orgId, [v], noon + hours * 3_600_000)).map((p) => [
          p.locationId === null ? 'waits' : 'MAIN',
          p.sellable,
          p.committed,
          p.waiting,
        ]),
      );
    expect(await past(1)).toEqual([['MAIN', 5, 0, 0]]);
    expect(await past(3)).toEqual([['MAIN', 3, 0, 0]]);
    expect(await past(4)).toEqual([
      ['MAIN', 3, 3, 0],
      ['waits', 0, 0, 2],
    ]);
  });
});

describe('what verify must see besides sums', () => {
  test('a shortfall that waits while a serving place has free goods is a fault; goods elsewhere are not', async () => {
    const { world, v } = await stocked();
    await run(store, world, [sale(need(v, 4)), receive(v, 9, world.fba)]);
    await sound(world);
    // As if a receipt had forgotten to fill: goods and their movement, but nobody got them.
    await db.owner.query(
      `with m as (insert into movements (org_id, id, variant_id, units, to_location, to_bucket, kind, reason, actor, effect_key, business_at)
         values ($1, gen_random_uuid(), $2, 3, $3, 'sellable', 'receipt', 'planted', 'test', 'planted', now()))
       insert into positions (org_id, variant_id, location_id, sellable) values ($1, $2, $3, 3)
       on conflict (org_id, variant_id, location_id) do update set sellable = 3`,
      [world.orgId, v, world.east],
    );
    const { faults } = await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId));
    expect(faults).toEqual([
      { kind: 'idle', sku: 'SKU-1', location: 'EAST', expected: 0, found: 3, what: 'free while 4 wait' },
    ]);
  });
});
