/** One organization that lives through random batches beside the naive model (model.testing.ts), posted together or one by one. For tests. */
import fc from 'fast-check';
import type pg from 'pg';
import { expect } from 'vitest';
import type { Command, Posted } from '#core/stock/movement.ts';
import type { Store } from '../tx.ts';
import { commands, now } from './commands.testing.ts';
import { context, makeWorld, run, testIds, type World } from './ledger.testing.ts';
import { Model } from './model.testing.ts';
import { post } from './post.ts';
import { availabilityAsOf } from './read.ts';
import { verify } from './verify.ts';

async function stored(owner: pg.Pool, world: World): Promise<{ positions: Record<string, number[]>; open: string[] }> {
  const { rows } = await owner.query<{ key: string; n: number[] }>(
    `select variant_id || ' ' || location_id as key, array[sellable, damaged, quarantine, expired, incoming, committed, reserved] as n
     from positions where org_id = $1 and (sellable, damaged, quarantine, expired, incoming, committed, reserved) <> (0, 0, 0, 0, 0, 0, 0)`,
    [world.orgId],
  );
  const claims = await owner.query<{ claim: string }>(
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

/** What must follow from the claims: open cases, due rows, and the past rebuilt from the logs up to the last word. Differences, hence none. */
const followsFromClaims = `
  (select 'case', dedupe_key from alerts where org_id = $1 and kind = 'oversell' and resolved_at is null
   except select 'case', 'oversell:' || line_id || ':' || variant_id from shortfalls where org_id = $1 and waiting > 0)
  union all
  (select 'no case', 'oversell:' || line_id || ':' || variant_id from shortfalls where org_id = $1 and waiting > 0
   except select 'no case', dedupe_key from alerts where org_id = $1 and kind = 'oversell' and resolved_at is null)
  union all
  (select 'due', subject_id || ' ' || due_at from due where org_id = $1
   except select 'due', hold_id || ' ' || expires_at from holds where org_id = $1 and open > 0
   except select 'due', line_id || ' ' || expires_at from shortfalls where org_id = $1 and waiting > 0 and claim_kind = 'hold')
  union all
  ((select 'no due', hold_id || ' ' || expires_at from holds where org_id = $1 and open > 0 and expires_at is not null
    union select 'no due', line_id || ' ' || expires_at from shortfalls
      where org_id = $1 and waiting > 0 and claim_kind = 'hold' and expires_at is not null)
   except select 'no due', subject_id || ' ' || due_at from due where org_id = $1)`;

/** One by one in order: each command in a call of its own. */
async function singly(store: Store, world: World, batch: readonly Command[]): Promise<Posted[]> {
  return store.tenant(world.orgId, async (tx) => {
    const answers: Posted[] = [];
    for (const one of batch) answers.push(...(await post(tx, world.orgId, [one], { ...context, now })));
    return answers;
  });
}

/** What one batch leaves behind is where the next begins: answers after each batch, numbers and claims after every tenth, verify at the end. */
export async function live(
  { owner, store }: { owner: pg.Pool; store: Store },
  { seed, batches, most, how }: { seed: number; batches: number; most: number; how: 'together' | 'singly' },
): Promise<void> {
  const world = await makeWorld(owner, 2);
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
    const posted = how === 'singly' ? singly(store, world, commandsOfBatch) : run(store, world, commandsOfBatch, now);
    expect((await posted).map(brief), `seed ${seed}, batch ${i}, ${how}`).toEqual(expected);
    if (i % 10 !== 9) continue;
    expect(await stored(owner, world), `seed ${seed}, after batch ${i}, ${how}`).toEqual({
      positions: model.positions(),
      open: model.openClaims(),
    });
    expect(
      (await owner.query(followsFromClaims, [world.orgId])).rows,
      `seed ${seed}, after batch ${i}, ${how}`,
    ).toEqual([]);
    const past = await store.readOnly(world.orgId, (tx) =>
      availabilityAsOf(tx, world.orgId, world.variants, now + 1_000_000),
    );
    const sums = past.filter((p) => p.locationId !== null && p.sellable + p.committed + p.reserved > 0);
    expect(
      Object.fromEntries(sums.map((p) => [`${p.variantId} ${p.locationId}`, [p.sellable, p.committed, p.reserved]])),
    ).toEqual(
      Object.fromEntries(
        Object.entries(model.positions())
          .map(([key, n]) => [key, [n[0], n[5], n[6]]] as const)
          .filter(([, n]) => n.some((units) => units !== 0)),
      ),
    );
  }
  const { rows: found } = await owner.query<{ units: number }>(
    `select coalesce(sum(units), 0)::int as units from movements where org_id = $1 and reason like '%_beyond_book'`,
    [world.orgId],
  );
  expect(found).toEqual([{ units: model.found }]);
  const verdict = await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId));
  expect(verdict.faults).toEqual([]);
}
