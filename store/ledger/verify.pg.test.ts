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
      `delete from claim_changes where org_id = $1 and variant_id = $2 and claim = 'hold' and $3::uuid is not null`,
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

  const strange = "'00000000-0000-4000-8000-000000000001'";
  const misplaced: [string, string, string[]][] = [
    [
      'a movement to a place nobody knows',
      `update movements set to_location = ${strange} where org_id = $1 and variant_id = $2 and to_bucket = 'damaged' and to_location = $3`,
      ['bucket SKU-1 MAIN damaged 0 2', 'bucket SKU-1 - damaged 2 0', 'orphan SKU-1 - movement 0 2'],
    ],
    [
      'a movement booked twice',
      `insert into movements (org_id, id, variant_id, units, from_location, from_bucket, to_location, to_bucket, kind, reason, actor, effect_key, business_at)
       select org_id, gen_random_uuid(), variant_id, units, from_location, from_bucket, to_location, to_bucket, kind, reason, actor, effect_key, business_at
       from movements where org_id = $1 and variant_id = $2 and to_bucket = 'expired' and to_location = $3`,
      ['bucket SKU-1 MAIN expired 2 1'],
    ],
    [
      'an orphaned commitment',
      `insert into commitments (org_id, line_id, variant_id, location_id, open, seq) select $1, ${strange}, $2, ${strange}, 2, 1 where $3::uuid is not null`,
      [
        `claim_log SKU-1 - commitment ${strange} 0 2`,
        'committed SKU-1 - committed 2 0',
        'orphan SKU-1 - commitment 0 2',
      ],
    ],
    [
      'an orphaned hold',
      `insert into holds (org_id, hold_id, variant_id, location_id, open, seq, origin) select $1, ${strange}, $2, ${strange}, 2, 1, 'own' where $3::uuid is not null`,
      [`claim_log SKU-1 - hold ${strange} 0 2`, 'orphan SKU-1 - hold 0 2', 'reserved SKU-1 - reserved 2 0'],
    ],
    [
      'a shortfall of a variant that has no position',
      `insert into shortfalls (org_id, line_id, variant_id, claim_kind, waiting, seq)
       select $1, ${strange}, (select id from variants where org_id = $1 and sku = 'SKU-3'), 'commitment', 2, 1 where ($2::uuid, $3::uuid) is not null`,
      [`claim_log SKU-3 - shortfall ${strange} 0 2`, 'orphan SKU-3 - shortfall 0 2'],
    ],
    [
      'a commitment that grew beside its position and its log',
      `update commitments set open = open + 1 where org_id = $1 and variant_id = $2 and location_id = $3`,
      ['claim_log SKU-1 MAIN commitment * 3 4', 'committed SKU-1 MAIN committed 4 3'],
    ],
    [
      'a first entry of the log that was changed in its row',
      `update commitments set first_delta = first_delta + 1 where org_id = $1 and variant_id = $2 and location_id = $3`,
      ['claim_log SKU-1 MAIN commitment * 4 3'],
    ],
    [
      'a log of a claim that has no row',
      `insert into claim_changes (org_id, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at)
       values ($1, 'commitment', ${strange}, $2, $3, 1, 'commit', 'test', 'planted', now())`,
      [`claim_log SKU-1 MAIN commitment ${strange} 1 0`],
    ],
    [
      'units moved between two places in the book only',
      `update positions set sellable = sellable + case location_id when $3 then -1 else 1 end where org_id = $1 and variant_id = $2`,
      ['bucket SKU-1 EAST sellable 1 2', 'bucket SKU-1 MAIN sellable 10 9'],
    ],
    [
      'units that wait although a serving place has them free',
      `with m as (insert into movements (org_id, id, variant_id, units, to_location, to_bucket, kind, reason, actor, effect_key, business_at)
         select $1, gen_random_uuid(), v.id, 3, $3, 'sellable', 'receipt', 'planted', 'test', 'planted', now()
         from variants v where v.org_id = $1 and v.sku = 'SKU-2' and $2::uuid is not null returning variant_id)
       update positions p set sellable = 3 from m where p.org_id = $1 and p.variant_id = m.variant_id and p.location_id = $3`,
      ['idle SKU-2 MAIN free while 5 wait 0 3'],
    ],
  ];
  test.each(misplaced)('finds %s, with what follows from it and nothing else', async (_, sql, expected) => {
    const world = await busyWorld();
    await db.owner.query(sql, [world.orgId, world.variants[0], world.main]);
    const { ok, faults } = await verdict(world);
    expect(ok).toBe(false);
    const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
    const told = faults.map((f) => `${f.kind} ${f.sku} ${f.location || '-'} ${f.what} ${f.expected} ${f.found}`);
    const wanted = expected.map((text) => text.replaceAll(strange, '*'));
    expect(told.map((text) => text.replace(uuid, '*')).sort()).toEqual(wanted.sort());
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
