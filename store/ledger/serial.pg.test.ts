/** Postings at once answer and leave what they would one after the other, in the order in which they had their locks: judged by the naive model. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StoreError } from '#core/errors.ts';
import { LineId, LocationId, type VariantId } from '#core/ids.ts';
import type { Command, Posted } from '#core/stock/movement.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { command, context, makeWorld, noon, testIds, testStore, type World } from './ledger.testing.ts';
import { Model } from './model.testing.ts';
import { post } from './post.ts';
import { verify } from './verify.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
  await db.owner.query('create sequence posting; grant usage on sequence posting to syncstate_app');
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

interface Entry {
  place: number;
  batch: readonly Command[];
  answers: Posted[];
}

/** Posts, and takes a number while all locks are held. A race that is lost again and again is run again: a caller would. */
async function enter(world: World, batch: readonly Command[], inSavepoint: boolean): Promise<Entry> {
  for (;;) {
    try {
      return await store.tenant(world.orgId, async (tx) => {
        if (inSavepoint) await tx.query('savepoint posting');
        const answers = await post(tx, world.orgId, batch, context);
        const { rows } = await tx.query<{ place: number }>(`select nextval('posting') as place`);
        return { place: rows[0]?.place ?? 0, batch, answers };
      });
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'store.conflict') throw error;
    }
  }
}

const judged = (answer: Posted) => ({
  kind: answer.kind,
  ...(answer.kind === 'insufficient'
    ? { missing: answer.missing.map((m) => ({ variant: m.variantId, where: m.locationId, units: m.missing })) }
    : {}),
});

test('8 writers at once at the first positions of variants, at six places, have one order in which their answers are right', async () => {
  const world = await makeWorld(db.owner, 40);
  const more = Array.from({ length: 3 }, () => LocationId(testIds.uuid()));
  for (const [i, id] of more.entries())
    await db.owner.query(`insert into locations (org_id, id, code, name, priority) values ($1, $2, $3, $3, $4)`, [
      world.orgId,
      id,
      `L${i}`,
      200 + i,
    ]);
  const places = [world.main, world.fba, world.east, ...more];
  let last = 7;
  const below = (n: number) => {
    last = (last * 48_271) % 2_147_483_647;
    return last % n;
  };
  const place = () => places[below(places.length)] as LocationId;
  const random = (variantId: VariantId): Command =>
    below(2) === 0
      ? command({ kind: 'receive' as const, variantId, locationId: place(), units: 2 })
      : command({
          kind: 'commit' as const,
          wish: below(10) === 0,
          lines: [
            {
              lineId: LineId(testIds.uuid()),
              variantId,
              units: 1 + below(3),
              locationId: below(5) === 0 ? place() : null,
            },
          ],
        });
  const log: Entry[] = [];
  for (let i = 0; i < world.variants.length; i += 2) {
    const pair = world.variants.slice(i, i + 2);
    const batches = Array.from({ length: 8 }, () =>
      Array.from({ length: 1 + below(2) }, () => random(pair[below(2)] as VariantId)),
    );
    log.push(...(await Promise.all(batches.map((batch, writer) => enter(world, batch, writer % 3 === 0)))));
  }
  const model = new Model(places.map((id) => ({ id, serves: id !== world.fba })));
  for (const { place: at, batch, answers } of log.toSorted((a, b) => a.place - b.place))
    expect(answers.map(judged), `${at}`).toEqual(batch.map((one) => model.apply(one, noon)));
  const { rows } = await db.owner.query<{ at: string; n: number[] }>(
    `select variant_id || ' ' || location_id as at, array[sellable, damaged, quarantine, expired, incoming, committed, reserved] as n
     from positions where org_id = $1 and sellable > 0`,
    [world.orgId],
  );
  expect(Object.fromEntries(rows.map(({ at, n }) => [at, n]))).toEqual(model.positions());
  const verdict = await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId));
  expect(verdict.faults).toEqual([]);
}, 120_000);
