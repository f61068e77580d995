import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { LineId, type LocationId, type VariantId } from '#core/ids.ts';
import { mergeProducts } from '../catalog/bulk.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { commands } from './commands.testing.ts';
import { command, context, makeWorld, noon, numbers, run, testIds, testStore, type World } from './ledger.testing.ts';
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

const sound = async (world: World) =>
  expect(await store.readOnly(world.orgId, (tx) => verify(tx, world.orgId))).toMatchObject({ ok: true, faults: [] });
const sale = (v: VariantId, locationId: LocationId | null = null) =>
  command({
    kind: 'commit' as const,
    wish: false,
    lines: [{ lineId: LineId(testIds.uuid()), variantId: v, units: 1, locationId }],
  });

let deadlocks = 0;
/** None since the last look. The server counts a connection's deadlocks when it ends, at the latest. */
async function noDeadlocks(writers: Store): Promise<void> {
  await writers.end();
  const { rows } = await db.owner.query<{ n: number }>(
    'select deadlocks::int as n from pg_stat_database where datname = current_database()',
  );
  const before = deadlocks;
  deadlocks = rows[0]?.n ?? 0;
  expect(deadlocks - before).toBe(0);
}

/** Resolves when so many connections wait for a lock. */
const waiters = (n: number) =>
  vi.waitUntil(
    async () => {
      const { rows } = await db.owner.query<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return (rows[0]?.n ?? 0) >= n;
    },
    { timeout: 25_000, interval: 5 },
  );

test('100 channel orders at once for 50 units: exactly 50 are committed and 50 are short', async () => {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 50 })]);
  await Promise.all(Array.from({ length: 100 }, () => run(store, world, [sale(v)])));
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [50, 50, 0] });
  const { rows } = await db.owner.query(
    'select sum(waiting)::int as waiting, count(*)::int as lines from shortfalls where org_id = $1',
    [world.orgId],
  );
  expect(rows).toEqual([{ waiting: 50, lines: 50 }]);
  await sound(world);
});

test('first orders of a variant nobody ever stocked meet at a position made for them', async () => {
  const world = await makeWorld(db.owner);
  const v = world.variants[0] as VariantId;
  await Promise.all(Array.from({ length: 12 }, () => run(store, world, [sale(v)])));
  const { rows } = await db.owner.query('select sum(waiting)::int as waiting from shortfalls where org_id = $1', [
    world.orgId,
  ]);
  expect(rows).toEqual([{ waiting: 12 }]);
  await sound(world);
});

test('20 batches that make the first positions of 30 variants, each in its own order, never deadlock', async () => {
  const writers = testStore(db.appUrl);
  for (let round = 0; round < 3; round += 1) {
    const world = await makeWorld(db.owner, 30);
    const places = [world.main, world.east];
    await Promise.all(
      Array.from({ length: 20 }, (_, writer) => {
        const turned = [...world.variants.slice(writer), ...world.variants.slice(0, writer)];
        const batch = (writer % 2 === 0 ? turned : turned.reverse()).map((variantId, i) =>
          i % 3 === 0
            ? command({ kind: 'receive' as const, variantId, locationId: places[writer % 2] as LocationId, units: 3 })
            : sale(variantId, i % 3 === 1 ? null : world.east),
        );
        return run(writers, world, batch);
      }),
    );
    await sound(world);
  }
  await noDeadlocks(writers);
}, 60_000);

test('a position that appears while a batch waits for its locks is locked without waiting: nobody waits in a circle', async () => {
  const world = await makeWorld(db.owner, 2);
  const [v, w] = world.variants as [VariantId, VariantId];
  const writers = testStore(db.appUrl);
  await run(store, world, [
    command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 5 }),
    command({ kind: 'receive' as const, variantId: w, locationId: world.main, units: 5 }),
  ]);
  const [maker, gate] = [await db.owner.connect(), await db.owner.connect()];
  const hold = async (client: pg.PoolClient, variantId: VariantId) => {
    await client.query('begin');
    await client.query('select from positions where org_id = $1 and variant_id = $2 for update', [
      world.orgId,
      variantId,
    ]);
  };
  try {
    await hold(maker, v);
    await hold(gate, w);
    const both = run(writers, world, [sale(v), sale(w)]);
    await waiters(1);
    await maker.query('insert into positions (org_id, variant_id, location_id) values ($1, $2, $3)', [
      world.orgId,
      v,
      world.main,
    ]);
    await maker.query('commit');
    // Has v at MAIN, which sorts first, and waits for v at EAST, which `both` has, or is the next to have. Unless `both`, woken, comes for MAIN
    // first and finds it taken: then it gives back all and begins anew, and this is through before the gate opens.
    const second = run(writers, world, [sale(v)]);
    await Promise.race([waiters(2), second]);
    await gate.query('commit');
    const answers = [...(await both), ...(await second)];
    expect(answers.map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted']);
  } finally {
    maker.release(true);
    gate.release(true);
  }
  expect(await numbers(db.owner, world, v)).toEqual({ EAST: [5, 2, 0] });
  await sound(world);
  await noDeadlocks(writers);
}, 30_000);

test.each(['commits', 'gives up'])(
  'a position another transaction is making is waited for under locks, and nobody waits in a circle, when it %s',
  async (ending) => {
    const world = await makeWorld(db.owner, 2);
    const [v, w] = world.variants as [VariantId, VariantId];
    const writers = testStore(db.appUrl);
    await run(store, world, [command({ kind: 'receive' as const, variantId: w, locationId: world.main, units: 5 })]);
    const gate = await db.owner.connect();
    try {
      await gate.query('begin');
      await gate.query('insert into positions (org_id, variant_id, location_id) values ($1, $2, $3)', [
        world.orgId,
        v,
        world.main,
      ]);
      // Has w, and waits for whether v gets its position.
      const both = run(writers, world, [sale(v), sale(w)]);
      await waiters(1);
      // Waits for w; makes v at EAST afterwards.
      const second = run(writers, world, [sale(w), sale(v, world.east)]);
      await waiters(2);
      await gate.query(ending === 'commits' ? 'commit' : 'rollback');
      const answers = [...(await both), ...(await second)];
      expect(answers.map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted', 'posted']);
    } finally {
      gate.release();
    }
    expect(await numbers(db.owner, world, w)).toEqual({ MAIN: [5, 2, 0] });
    const { rows } = await db.owner.query(
      `select (select sum(waiting)::int from shortfalls where org_id = $1) as short,
         (select count(*)::int from positions where org_id = $1 and variant_id = $2) as places`,
      [world.orgId, v],
    );
    expect(rows).toEqual([{ short: 2, places: 2 }]);
    await sound(world);
    await noDeadlocks(writers);
  },
  30_000,
);

test('goods at a position that is made while a batch waits for those beside it are seen by that batch', async () => {
  const world = await makeWorld(db.owner, 1);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 1 })]);
  const [posted, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const first = store.tenant(world.orgId, async (tx) => {
    await post(
      tx,
      world.orgId,
      [command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 2 })],
      context,
    );
    posted.resolve();
    await go.promise;
  });
  await posted.promise;
  const second = run(store, world, [sale(v), sale(v), sale(v)]);
  await waiters(1);
  go.resolve();
  await first;
  expect((await second).map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted']);
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1, 1, 0], EAST: [2, 2, 0] });
  await sound(world);
});

test('first goods and a first sale of a variant at two places at once: the later waits for the earlier, and the sale gets its unit', async () => {
  const world = await makeWorld(db.owner, 2);
  for (const [i, v] of world.variants.entries()) {
    const [posted, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const receipt = command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 2 });
    const first = store.tenant(world.orgId, async (tx) => {
      const answers = await post(tx, world.orgId, [i === 0 ? receipt : sale(v)], context);
      posted.resolve();
      await go.promise;
      return answers;
    });
    await posted.promise;
    // Makes the variant's other position: neither row was there when the other was made.
    const second = run(store, world, [i === 0 ? sale(v) : receipt]);
    await waiters(1).finally(() => go.resolve());
    expect([...(await first), ...(await second)].map(({ kind }) => kind)).toEqual(['posted', 'posted']);
    expect(await numbers(db.owner, world, v)).toEqual({ EAST: [2, 1, 0] });
  }
  const { rows } = await db.owner.query('select waiting, filled from shortfalls where org_id = $1', [world.orgId]);
  expect(rows).toEqual([{ waiting: 0, filled: 1 }]);
  await sound(world);
});

test('first positions of variants that a file of products is just changing: neither waits for the other in a circle', async () => {
  const world = await makeWorld(db.owner, 10);
  const writers = testStore(db.appUrl);
  // By id the other way round than by SKU.
  const [two, ten] = [world.variants[1], world.variants[9]] as [VariantId, VariantId];
  const products = [
    { id: two, sku: 'SKU-2', title: 'Two', barcode: null },
    { id: ten, sku: 'SKU-10', title: 'Ten', barcode: null },
  ];
  const gate = await db.owner.connect();
  try {
    await gate.query('begin');
    await gate.query('select from variants where org_id = $1 and id = $2 for no key update', [world.orgId, ten]);
    const file = writers.tenant(world.orgId, (tx) => mergeProducts(tx, world.orgId, products, new Date(noon)));
    await waiters(1);
    const orders = run(writers, world, [sale(two), sale(ten)]);
    await waiters(2);
    await gate.query('commit');
    expect([...(await file).keys()].sort()).toEqual(['SKU-10', 'SKU-2']);
    expect((await orders).map(({ kind }) => kind)).toEqual(['posted', 'posted']);
  } finally {
    gate.release(true);
  }
  await sound(world);
  await noDeadlocks(writers);
}, 30_000);

test('a position beside one that another transaction has is not made: a lost race', async () => {
  const world = await makeWorld(db.owner, 1);
  const v = world.variants[0] as VariantId;
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.east, units: 1 })]);
  await store.tenant(world.orgId, async (tx) => {
    await post(tx, world.orgId, [sale(v)], context);
    await expect(
      db.owner.query('insert into positions (org_id, variant_id, location_id) values ($1, $2, $3)', [
        world.orgId,
        v,
        world.main,
      ]),
    ).rejects.toMatchObject({ code: '55P03' });
  });
  expect(await numbers(db.owner, world, v)).toEqual({ EAST: [1, 1, 0] });
  await sound(world);
});

test('a batch that waited decides by the numbers as they are now, of every position it waited for', async () => {
  const world = await makeWorld(db.owner, 2);
  const [v, w] = world.variants as [VariantId, VariantId];
  for (const variantId of [v, w])
    for (const locationId of [world.main, world.east])
      await run(store, world, [command({ kind: 'receive' as const, variantId, locationId, units: 3 })]);
  const [posted, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const take = (variantId: VariantId, units: number, locationId: LocationId | null) =>
    command({
      kind: 'commit' as const,
      wish: true,
      lines: [{ lineId: LineId(testIds.uuid()), variantId, units, locationId }],
    });
  const first = store.tenant(world.orgId, async (tx) => {
    const answers = await post(tx, world.orgId, [take(v, 2, world.main), take(w, 3, world.east)], context);
    posted.resolve();
    await go.promise;
    return answers;
  });
  await posted.promise;
  const second = run(store, world, [
    take(v, 2, world.main),
    take(v, 1, world.main),
    take(w, 1, world.east),
    take(w, 3, world.main),
  ]);
  await waiters(1);
  go.resolve();
  expect((await first).map(({ kind }) => kind)).toEqual(['posted', 'posted']);
  expect((await second).map(({ kind }) => kind)).toEqual(['insufficient', 'posted', 'insufficient', 'posted']);
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [3, 3, 0], EAST: [3, 0, 0] });
  expect(await numbers(db.owner, world, w)).toEqual({ MAIN: [3, 3, 0], EAST: [3, 3, 0] });
  await sound(world);
});

test('batches of several organizations, known and new positions mixed, each in its own order, never deadlock', async () => {
  const writers = testStore(db.appUrl);
  const worlds = await Promise.all(Array.from({ length: 4 }, () => makeWorld(db.owner, 6)));
  for (const world of worlds)
    await run(
      store,
      world,
      world.variants
        .slice(0, 3)
        .map((variantId) => command({ kind: 'receive' as const, variantId, locationId: world.main, units: 10 })),
    );
  const turned = <T>(list: readonly T[], by: number): T[] => {
    const at = by % list.length;
    const whole = [...list.slice(at), ...list.slice(0, at)];
    return by % 2 === 0 ? whole : whole.reverse();
  };
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, writer) => {
      const shares = turned(worlds, writer).map((world) => ({
        orgId: world.orgId,
        commands: turned(world.variants, writer).map((v, i) => sale(v, i % 2 === 0 ? null : world.east)),
      }));
      return writers.batch(
        worlds.map(({ orgId }) => orgId),
        (tx) => postBatch(tx, shares, context),
      );
    }),
  );
  expect(answers.flat(2).filter(({ kind }) => kind !== 'posted')).toEqual([]);
  for (const world of worlds) await sound(world);
  const { rows } = await db.owner.query(
    `select (select sum(open)::int from commitments where org_id = any ($1)) + (select sum(waiting)::int from shortfalls where org_id = any ($1)) as units`,
    [worlds.map(({ orgId }) => orgId)],
  );
  expect(rows).toEqual([{ units: 12 * 4 * 6 }]);
  await noDeadlocks(writers);
}, 60_000);

test('a variant that is named twice is refused at once, not looked at for ever', async () => {
  const world = await makeWorld(db.owner, 1);
  const [v] = world.variants as [VariantId];
  await run(store, world, [command({ kind: 'receive' as const, variantId: v, locationId: world.main, units: 1 })]);
  const shouted = v.toUpperCase() as VariantId;
  await expect(run(store, world, [sale(v), sale(shouted)])).rejects.toThrow('a variant is named twice');
  expect(await numbers(db.owner, world, v)).toEqual({ MAIN: [1, 0, 0] });
});

test('two batches that meet at their keys in opposite orders never wait in a circle: the later one finds the first results', async () => {
  const world = await makeWorld(db.owner, 2);
  const [v, w] = world.variants as [VariantId, VariantId];
  const writers = testStore(db.appUrl);
  const receipts = (variantId: VariantId, keys: string[]) =>
    keys.map((key) => command({ kind: 'receive' as const, variantId, locationId: world.main, units: 1, key }));
  const gate = await db.owner.connect();
  try {
    await gate.query('begin');
    await gate.query(`insert into ledger_effects (org_id, effect_key, result) values ($1, 'b', '{"n":"closed"}')`, [
      world.orgId,
    ]);
    const first = run(writers, world, receipts(v, ['a', 'b', 'c']));
    await waiters(1);
    const second = run(writers, world, receipts(w, ['c', 'a']));
    await waiters(2);
    await gate.query('rollback');
    expect((await first).map(({ kind }) => kind)).toEqual(['posted', 'posted', 'posted']);
    expect((await second).map(({ kind }) => kind)).toEqual(['duplicate', 'duplicate']);
  } finally {
    gate.release();
  }
  await noDeadlocks(writers);
}, 30_000);

test('20 batches with the same 200 keys, each in its own order and for its own variant, have 200 effects and never deadlock', async () => {
  const world = await makeWorld(db.owner, 20);
  const writers = testStore(db.appUrl);
  // A key that is used up meanwhile is a lost race: 19 of 20 repeat their batch, and find the first results.
  await Promise.all(
    world.variants.map((variantId, writer) => {
      const keys = Array.from({ length: 200 }, (_, i) => `shared:${(i * 7 + writer * 11) % 200}`);
      const receipt = (key: string) =>
        command({ kind: 'receive' as const, variantId, locationId: world.main, units: 1, key });
      return run(writers, world, (writer % 2 === 0 ? keys : keys.reverse()).map(receipt));
    }),
  );
  const { rows } = await db.owner.query(
    'select sum(units)::int as units, count(distinct effect_key)::int as keys from movements where org_id = $1',
    [world.orgId],
  );
  expect(rows).toEqual([{ units: 200, keys: 200 }]);
  await sound(world);
  await noDeadlocks(writers);
}, 60_000);

test('16 writers of mixed commands over the same few SKUs: no fault reaches a caller, and the ledger adds up', async () => {
  const world = await makeWorld(db.owner, 4);
  const ground = {
    variants: world.variants,
    places: [world.main, world.east, world.fba],
    claims: Array.from({ length: 6 }, () => testIds.uuid()),
  };
  await run(
    store,
    world,
    world.variants.map((variantId) =>
      command({ kind: 'receive' as const, variantId, locationId: world.main, units: 20 }),
    ),
  );
  const work = Array.from({ length: 16 }, (_, writer) =>
    fc
      .sample(commands(ground, `w${writer}`, 6), { seed: 100 + writer, numRuns: 12 })
      .map((batch, i) => batch.map((one) => ({ ...one, key: `${i}:${one.key}` }))),
  );
  await Promise.all(
    work.map(async (batches) => {
      for (const batch of batches) await run(store, world, batch, noon);
    }),
  );
  await sound(world);
}, 60_000);

test('the same key at the same instant from two processes has exactly one effect', async () => {
  const world = await makeWorld(db.owner, 2);
  const [v, w] = world.variants as [VariantId, VariantId];
  const keys = Array.from({ length: 30 }, (_, i) => `both:${i}`);
  // The second process posts the same keys for another variant: they meet at the key, not at a position.
  const child = (variantId: VariantId) =>
    new Promise<string[]>((resolve, reject) => {
      const process_ = fork(
        fileURLToPath(new URL('./poster.testing.ts', import.meta.url)),
        [db.appUrl, world.orgId, variantId, world.main, ...keys],
        { execArgv: [] },
      );
      process_.once('message', (kinds) => resolve(kinds as string[]));
      process_.once('exit', (code) => (code === 0 ? undefined : reject(new Error(`poster ended with ${code}`))));
    });
  const [one, two] = await Promise.all([child(v), child(w)]);
  for (const [i] of keys.entries()) expect([one[i], two[i]].sort()).toEqual(['duplicate', 'posted']);
  const { rows } = await db.owner.query(
    'select sum(units)::int as units, count(distinct effect_key)::int as keys from movements where org_id = $1',
    [world.orgId],
  );
  expect(rows).toEqual([{ units: 30, keys: 30 }]);
  await sound(world);
}, 30_000);
