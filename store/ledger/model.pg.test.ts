import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Command, Posted } from '#core/stock/movement.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { commands, now } from './commands.testing.ts';
import { makeWorld, run, testIds, testStore, type World } from './ledger.testing.ts';
import { Model } from './model.testing.ts';
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

async function stored(world: World): Promise<{ positions: Record<string, number[]>; open: string[] }> {
  const { rows } = await db.owner.query<{ key: string; n: number[] }>(
    `select variant_id || ' ' || location_id as key, array[sellable, damaged, quarantine, expired, incoming, committed, reserved] as n
     from positions where org_id = $1 and (sellable, damaged, quarantine, expired, incoming, committed, reserved) <> (0, 0, 0, 0, 0, 0, 0)`,
    [world.orgId],
  );
  const claims = await db.owner.query<{ claim: string }>(
    `select 'commitment ' || line_id || ' ' || variant_id || ' ' || location_id || ' ' || open as claim from commitments where org_id = $1 and open > 0
     union all select 'hold ' || hold_id || ' ' || variant_id || ' ' || location_id || ' ' || open from holds where org_id = $1 and open > 0
     union all select claim_kind || ' ' || line_id || ' ' || variant_id || ' waits ' || waiting from shortfalls where org_id = $1 and waiting > 0`,
    [world.orgId],
  );
  return {
    positions: Object.fromEntries(rows.map((row) => [row.key, row.n])),
    open: claims.rows.map((row) => row.claim).sort(),
  };
}

const brief = (answer: Posted) => ({
  kind: answer.kind,
  ...(answer.kind === 'nothing' ? { reason: answer.reason } : {}),
  ...(answer.kind === 'insufficient'
    ? { missing: answer.missing.map((m) => ({ variant: m.variantId, where: m.locationId, units: m.missing })) }
    : {}),
});

const claims = Array.from({ length: 5 }, () => testIds.uuid());

/** One organization lives through all batches: what one batch leaves behind is where the next begins. */
async function live(seed: number, batches: number, most: number): Promise<void> {
  const world = await makeWorld(db.owner, 2);
  const places = [world.main, world.fba, world.east];
  const model = new Model(places.map((id) => ({ id, serves: id !== world.fba })));
  const stock = world.variants.flatMap((variantId) =>
    places.map(
      (locationId): Command => ({
        kind: 'receive',
        variantId,
        locationId,
        units: 2,
        key: variantId + locationId,
        businessAt: now,
        reason: 'start',
      }),
    ),
  );
  for (const command of stock) model.apply(command, now);
  await run(store, world, stock);
  const ground = { variants: world.variants, places, claims };
  const all = fc.sample(fc.array(commands(ground, 'p', most), { minLength: batches, maxLength: batches }), {
    seed,
    numRuns: 1,
  })[0] as Command[][];
  for (const [i, batch] of all.entries()) {
    // Keys repeat within a few batches, not over the whole life: else soon everything would be a duplicate.
    const commandsOfBatch = batch.map((command) => ({ ...command, key: `${i >> 2}:${command.key}` }));
    const expected = commandsOfBatch.map((command) => model.apply(command, now));
    expect((await run(store, world, commandsOfBatch, now)).map(brief), `seed ${seed}, batch ${i}`).toEqual(expected);
    if (i % 10 !== 9) continue;
    expect(await stored(world), `seed ${seed}, after batch ${i}`).toEqual({
      positions: model.positions(),
      open: model.openClaims(),
    });
  }
  const verdict = await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId));
  expect(verdict.faults).toEqual([]);
}

test('1,000 random batches answer as the naive model does, leave its numbers and claims, and verify finds no fault', async () => {
  await Promise.all([live(11, 500, 10), live(12, 500, 10)]);
}, 60_000);
