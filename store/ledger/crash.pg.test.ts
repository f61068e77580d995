/** A server that dies between two statements of a posting: nothing of it is there, and the transaction that is run again has one effect. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LineId, type VariantId } from '#core/ids.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store, Tx } from '../tx.ts';
import { command, context, makeWorld, numbers, run, testStore } from './ledger.testing.ts';
import { post } from './post.ts';
import { verify } from './verify.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl, 2);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const order = (variantId: VariantId, units: number) =>
  command({
    kind: 'commit' as const,
    wish: false,
    lines: [{ lineId: LineId(randomUUID()), variantId, units, locationId: null }],
  });

test.each(['ledger_take', 'ledger_load_claims', 'ledger_skus', 'ledger_book', 'the end'])(
  'the connection dies right before %s: nothing is there, and once more has one effect',
  async (where) => {
    const world = await makeWorld(db.owner);
    const v = world.variants[0] as VariantId;
    const at = { variantId: v, locationId: world.main };
    await run(store, world, [command({ kind: 'receive' as const, ...at, units: 5 }), order(v, 5)]);
    // Displaces (a second look at the claims), fills another variant's shortfall, and commits.
    const w = world.variants[1] as VariantId;
    await run(store, world, [order(w, 2)]);
    const batch = [
      command({ kind: 'count' as const, ...at, set: 3 }),
      command({ kind: 'receive' as const, variantId: w, locationId: world.east, units: 3 }),
      order(w, 1),
    ];
    let deaths = 0;
    const die = async (tx: Tx) => {
      deaths += 1;
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
      await db.owner.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
      expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [5, 5, 0] });
      expect(await numbers(db.owner, world, w)).toEqual({});
    };
    const answers = await store.tenant(world.orgId, async (tx) => {
      const dying: Tx = {
        run: (query) => tx.run(query),
        async query(statement, values) {
          if (typeof statement !== 'string' && statement.name === where && deaths === 0) await die(tx);
          return tx.query(statement, values);
        },
      };
      const posted = await post(dying, world.orgId, batch, context);
      if (where === 'the end' && deaths === 0) {
        await die(tx);
        await tx.query('select 1');
      }
      return posted;
    });
    expect(deaths).toBe(1);
    expect(answers.map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted']);
    expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 3, 0] });
    expect(await numbers(db.owner, world, w)).toEqual({ EAST: [3, 3, 0] });
    expect((await run(store, world, batch)).map(({ kind }) => kind)).toEqual(['duplicate', 'duplicate', 'duplicate']);
    expect((await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId))).faults).toEqual([]);
  },
);
