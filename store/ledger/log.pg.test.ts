/** The claim log: a commitment's first entry stands in its own row, all others beside it, and `claim_events` is both. */
import { randomUUID } from 'node:crypto';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LineId, type VariantId } from '#core/ids.ts';
import { appUrl, migrate } from '../migrate.ts';
import { emptyDatabase, type TestDatabase, testDatabase } from '../testing/database.ts';
import { scratchFolder } from '../testing/scratch.ts';
import type { Store } from '../tx.ts';
import { command, makeWorld, run, testStore, type World } from './ledger.testing.ts';
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

const sale = (variantId: VariantId, units: number, lineId = LineId(randomUUID())) =>
  command({ kind: 'commit' as const, wish: false, lines: [{ lineId, variantId, units, locationId: null }] });

/** What the log says, in its order, and how much of it stands in `claim_changes`. */
async function log(owner: pg.Pool, { orgId }: World): Promise<{ entries: string[]; changes: number }> {
  const { rows } = await owner.query<{ entry: string }>(
    `select claim || ' ' || event || ' ' || delta as entry from claim_events where org_id = $1 order by seq`,
    [orgId],
  );
  const { rows: changes } = await owner.query<{ n: number }>(
    'select count(*)::int as n from claim_changes where org_id = $1',
    [orgId],
  );
  return { entries: rows.map(({ entry }) => entry), changes: changes[0]?.n ?? -1 };
}

const sound = async (of: Store, world: World) =>
  expect(await of.readOnly(world.orgId, (tx) => verify(tx, world.orgId))).toMatchObject({ ok: true, faults: [] });

test('an order with goods behind it is one row per line, which knows who, when and by which command', async () => {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 5 })]);
  const order = sale(v, 3);
  await run(store, world, [order]);
  expect(await log(db.owner, world)).toEqual({ entries: ['commitment commit 3'], changes: 0 });
  const { rows } = await db.owner.query(
    'select open, first_delta, first_event, actor, effect_key, business_at from commitments where org_id = $1',
    [world.orgId],
  );
  expect(rows).toEqual([
    {
      open: 3,
      first_delta: 3,
      first_event: 'commit',
      actor: 'test',
      effect_key: order.key,
      business_at: new Date(order.businessAt),
    },
  ]);
  await sound(store, world);
});

test('what befalls a claim later, in the same batch or another, follows its first entry and leaves that as it was', async () => {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  const lineId = LineId(randomUUID());
  await run(store, world, [
    command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 5 }),
    sale(v, 3, lineId),
    command({ kind: 'release' as const, claimId: lineId, lines: [{ variantId: v, units: 1 }] }),
  ]);
  expect(await log(db.owner, world)).toEqual({ entries: ['commitment commit 3', 'commitment release -1'], changes: 1 });
  await run(store, world, [
    command({ kind: 'ship' as const, lineId, variantId: v, units: 2, locationId: null }),
    sale(v, 1, lineId),
  ]);
  expect(await log(db.owner, world)).toEqual({
    entries: ['commitment commit 3', 'commitment release -1', 'commitment ship -2', 'commitment commit 1'],
    changes: 3,
  });
  await sound(store, world);
});

test('a row that is not the beginning of its claim has no entry of its own: the log keeps its order', async () => {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  // Waits for goods first; both rows are made by one batch.
  await run(store, world, [
    sale(v, 2),
    command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 2 }),
  ]);
  expect(await log(db.owner, world)).toEqual({
    entries: ['shortfall short 2', 'shortfall fill -2', 'commitment fill 2'],
    changes: 3,
  });
  const { rows } = await db.owner.query('select open, first_delta, first_seq from commitments where org_id = $1', [
    world.orgId,
  ]);
  expect(rows).toEqual([{ open: 2, first_delta: null, first_seq: null }]);
  await sound(store, world);
});

test('claims made before a commitment carried its first entry keep their log', async () => {
  const empty = await emptyDatabase();
  const folder = scratchFolder('syncstate-migrations-');
  const owner = new pg.Pool({ connectionString: empty.ownerUrl, max: 1 });
  // A connection that the database's end cuts before it has closed, in the pool's hands or between them.
  owner.on('error', () => undefined);
  owner.on('connect', (client) => client.on('error', () => undefined));
  try {
    const whole = join(import.meta.dirname, '..', 'migrations');
    for (const name of readdirSync(whole)) if (name < '0103') cpSync(join(whole, name), join(folder, name));
    await migrate(empty.ownerUrl, folder);
    const world = await makeWorld(owner);
    const v = world.variants[0] as VariantId;
    const lineId = LineId(randomUUID());
    await owner.query(
      'insert into positions (org_id, variant_id, location_id, sellable, committed) values ($1, $2, $3, 5, 2)',
      [world.orgId, v, world.main],
    );
    await owner.query(
      `insert into movements (org_id, id, variant_id, units, to_location, to_bucket, kind, reason, actor, effect_key, business_at)
       values ($1, gen_random_uuid(), $2, 5, $3, 'sellable', 'receipt', 'test', 'test', 'old', now())`,
      [world.orgId, v, world.main],
    );
    await owner.query(
      'insert into commitments (org_id, line_id, variant_id, location_id, open, seq) values ($1, $2, $3, $4, 2, nextval($5))',
      [world.orgId, lineId, v, world.main, 'ledger_seq'],
    );
    await owner.query(
      `insert into claim_events (org_id, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at)
       values ($1, 'commitment', $2, $3, $4, 2, 'commit', 'test', 'old', now())`,
      [world.orgId, lineId, v, world.main],
    );
    await migrate(empty.ownerUrl);
    const upgraded = testStore(appUrl(empty.ownerUrl), 2);
    try {
      await sound(upgraded, world);
      await run(upgraded, world, [
        command({ kind: 'ship' as const, lineId, variantId: v, units: 1, locationId: null }),
        sale(v, 1, lineId),
      ]);
      expect(await log(owner, world)).toEqual({
        entries: ['commitment commit 2', 'commitment ship -1', 'commitment commit 1'],
        changes: 3,
      });
      await sound(upgraded, world);
    } finally {
      await upgraded.end();
    }
  } finally {
    await owner.end();
    await empty.drop();
    rmSync(folder, { recursive: true });
  }
});

test('the release before posts while its database is migrated: neither waits for the other in a circle, whatever it has first', async () => {
  const empty = await emptyDatabase();
  const folder = scratchFolder('syncstate-migrations-');
  const owner = new pg.Pool({ connectionString: empty.ownerUrl, max: 3 });
  owner.on('error', () => undefined);
  owner.on('connect', (client) => client.on('error', () => undefined));
  try {
    const whole = join(import.meta.dirname, '..', 'migrations');
    for (const name of readdirSync(whole)) if (name < '0103') cpSync(join(whole, name), join(folder, name));
    await migrate(empty.ownerUrl, folder);
    const world = await makeWorld(owner);
    const v = world.variants[0] as VariantId;
    await owner.query('insert into positions (org_id, variant_id, location_id) values ($1, $2, $3)', [
      world.orgId,
      v,
      world.main,
    ]);
    const lock = 'select from positions for no key update';
    const read = 'select from commitments';
    const write = `insert into claim_events (org_id, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at)
       select org_id, 'shortfall', gen_random_uuid(), variant_id, null, 1, 'short', 'test', 'old', now() from positions`;
    // An order's posting begins with its positions, a release with the claims it names.
    const [order, release] = [await owner.connect(), await owner.connect()];
    try {
      for (const [client, first] of [
        [order, lock],
        [release, read],
      ] as const) {
        await client.query('begin');
        await client.query(first);
      }
      const migrated = migrate(empty.ownerUrl);
      await expect
        .poll(
          async () =>
            (
              await owner.query(
                `select from pg_stat_activity where datname = current_database() and application_name = 'syncstate migrate' and wait_event_type = 'Lock'`,
              )
            ).rowCount,
          { timeout: 25_000 },
        )
        .toBe(1);
      for (const [client, second] of [
        [order, read],
        [release, lock],
      ] as const) {
        await client.query(second);
        await client.query(write);
        await client.query('commit');
      }
      expect((await migrated).applied).toContain('0103_ledger_lean.sql');
    } finally {
      order.release(true);
      release.release(true);
    }
    const { rows } = await owner.query('select claim, delta from claim_events where org_id = $1', [world.orgId]);
    expect(rows).toEqual([
      { claim: 'shortfall', delta: 1 },
      { claim: 'shortfall', delta: 1 },
    ]);
  } finally {
    await owner.end();
    await empty.drop();
    rmSync(folder, { recursive: true });
  }
}, 60_000);
