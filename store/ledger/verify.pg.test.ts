import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HoldId, LineId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, makeWorld, noon, run, testStore, type World } from './ledger.testing.ts';
import { type Fault, verify } from './verify.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
  // Faults can only be planted where the database no longer refuses them.
  await db.owner.query(
    `do $$ declare c record; begin
       for c in select conname from pg_constraint where conrelid = 'positions'::regclass and contype = 'c' loop
         execute format('alter table positions drop constraint %I', c.conname);
       end loop; end $$`,
  );
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

/** One variant at MAIN: sellable 10, damaged 2, quarantine 1, expired 1, incoming 4, committed 3, reserved 2; EAST 1; a shortfall of 5 of the second variant. */
async function busyWorld(): Promise<World> {
  const world = await makeWorld(db.owner);
  const [v, w] = world.variants as [VariantId, VariantId];
  const receive = (
    locationId: World['main'],
    units: number,
    bucket: 'sellable' | 'damaged' | 'quarantine' | 'expired' | 'incoming' = 'sellable',
  ) => command({ kind: 'receive' as const, variantId: v, locationId, units, bucket });
  await run(store, world, [
    receive(world.main, 11),
    receive(world.main, 2, 'damaged'),
    receive(world.main, 1, 'quarantine'),
    receive(world.main, 1, 'expired'),
    receive(world.main, 4, 'incoming'),
    command({
      kind: 'transfer' as const,
      variantId: v,
      fromLocationId: world.main,
      toLocationId: world.east,
      units: 1,
    }),
    command({
      kind: 'commit' as const,
      wish: false,
      lines: [{ lineId: LineId(randomUUID()), variantId: v, units: 3, locationId: null }],
    }),
    command({
      kind: 'hold' as const,
      wish: true,
      origin: 'own' as const,
      expiresAt: noon + 1000,
      lines: [{ holdId: HoldId(randomUUID()), variantId: v, units: 2, locationId: null }],
    }),
    command({
      kind: 'commit' as const,
      wish: false,
      lines: [{ lineId: LineId(randomUUID()), variantId: w, units: 5, locationId: null }],
    }),
  ]);
  return world;
}

const verdict = (world: World) => store.readOnly(world.orgId, (tx) => verify(tx, world.orgId));

describe('verify', () => {
  test('a ledger that adds up has no faults, and says what it looked at', async () => {
    const world = await busyWorld();
    expect(await verdict(world)).toEqual({ ok: true, checked: { positions: 3, movements: 6, claims: 3 }, faults: [] });
  });

  const off = (column: string) =>
    `update positions set ${column} = ${column} + 1 where org_id = $1 and variant_id = $2 and location_id = $3`;
  const planted: [string, string, Omit<Fault, 'sku' | 'location'>[]][] = [
    ['sellable one off', off('sellable'), [{ kind: 'bucket', what: 'sellable', expected: 10, found: 11 }]],
    ['damaged one off', off('damaged'), [{ kind: 'bucket', what: 'damaged', expected: 2, found: 3 }]],
    ['quarantine one off', off('quarantine'), [{ kind: 'bucket', what: 'quarantine', expected: 1, found: 2 }]],
    ['expired one off', off('expired'), [{ kind: 'bucket', what: 'expired', expected: 1, found: 2 }]],
    ['incoming one off', off('incoming'), [{ kind: 'bucket', what: 'incoming', expected: 4, found: 5 }]],
    ['committed one off', off('committed'), [{ kind: 'committed', what: 'committed', expected: 3, found: 4 }]],
    ['reserved one off', off('reserved'), [{ kind: 'reserved', what: 'reserved', expected: 2, found: 3 }]],
    [
      'a missing movement',
      `delete from movements where org_id = $1 and variant_id = $2 and to_location = $3 and to_bucket = 'damaged'`,
      [{ kind: 'bucket', what: 'damaged', expected: 0, found: 2 }],
    ],
    [
      'a missing position',
      `delete from positions where org_id = $1 and variant_id = $2 and location_id <> $3`,
      [
        { kind: 'bucket', what: 'sellable', expected: 1, found: 0 },
        { kind: 'orphan', what: 'movement', expected: 0, found: 1 },
      ],
    ],
    [
      'a negative bucket',
      `update positions set damaged = -1 where org_id = $1 and variant_id = $2 and location_id = $3`,
      [
        { kind: 'bucket', what: 'damaged', expected: 2, found: -1 },
        { kind: 'negative', what: 'damaged', expected: 0, found: -1 },
      ],
    ],
    [
      'claims beyond goods',
      `with more as (update commitments set open = open + 9 where org_id = $1 and variant_id = $2 returning line_id)
       update positions set committed = committed + 9 where org_id = $1 and variant_id = $2 and location_id = $3`,
      [
        { kind: 'claim_log', what: expect.stringMatching(/^commitment /), expected: 3, found: 12 },
        { kind: 'negative', what: 'available', expected: 0, found: -4 },
      ],
    ],
    [
      'a lost line of the claim log',
      `delete from claim_events where org_id = $1 and variant_id = $2 and claim = 'hold' and $3::uuid is not null`,
      [{ kind: 'claim_log', what: expect.stringMatching(/^hold /), expected: 0, found: 2 }],
    ],
  ];
  test.each(planted)('finds %s, names place and numbers, and nothing else', async (_, sql, expected) => {
    const world = await busyWorld();
    await db.owner.query(sql, [world.orgId, world.variants[0], world.main]);
    const { ok, faults } = await verdict(world);
    expect(ok).toBe(false);
    expect(faults.map(({ sku: _sku, location: _location, ...fault }) => fault)).toEqual(expected);
    expect(new Set(faults.map((fault) => fault.sku))).toEqual(new Set(['SKU-1']));
    expect(['MAIN', 'EAST']).toContain(faults[0]?.location);
  });

  test('finds a shortfall that is not in the log, and sees only its own organization', async () => {
    const [world, other] = [await busyWorld(), await busyWorld()];
    await db.owner.query('update shortfalls set waiting = 1 where org_id = $1', [world.orgId]);
    expect((await verdict(world)).faults).toEqual([
      {
        kind: 'claim_log',
        sku: 'SKU-2',
        location: '',
        what: expect.stringMatching(/^shortfall /),
        expected: 5,
        found: 1,
      },
    ]);
    expect((await verdict(other)).ok).toBe(true);
  });
});
