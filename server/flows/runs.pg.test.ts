/** Runs of imports on a real database: kills between any two steps, several runners, cancel, undo (P3, P10). */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ImportFormat, openImport } from '#server/files.ts';
import { retryDeadLetter } from '#store/attention/letters.ts';
import { context, makeWorld, testIds, testStore, type World } from '#store/ledger/ledger.testing.ts';
import { cancelRun, createRun, keepRunFile, releaseRun, takeRun } from '#store/runs/runs.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Store, Tx } from '#store/tx.ts';
import { type RunView, readRun } from '#store/views/runs.ts';
import { type ImportFileOptions, importFile } from './run-kinds/import-file.ts';
import { undoImport } from './run-kinds/undo-import.ts';
import { createRunner, type RunContext, type Runner } from './runs.ts';

let database: TestDatabase;
let store: Store;
let world: World;
let now = context.now;
const clock = {
  now: () => now,
  monotonicMs: () => performance.now(),
  sleep: (ms: number, signal?: AbortSignal) =>
    new Promise<void>((done) => {
      const timer = setTimeout(done, Math.min(ms, 20));
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        done();
      });
    }),
};
const quiet = { info() {}, warn() {}, error() {} };

beforeAll(async () => {
  database = await testDatabase();
  store = testStore(database.appUrl);
});
afterAll(async () => {
  await store.end();
  await database.drop();
});
beforeEach(async () => {
  world = await makeWorld(database.owner, 3);
});

const options: ImportFileOptions = {
  openFile: (bytes, kind, format) => openImport(bytes, kind, format as ImportFormat),
  compareAndSetOf: () => true,
};
/** Small enough that a short file is read in parts and has several steps. */
const inSmallSteps: typeof options = { ...options, rowsPerStep: [40, 20], rowsPerReading: 50 };
const kinds = {
  'import-stock': importFile('stock', options),
  'import-products': importFile('products', options),
  'import-mapping': importFile('mapping', options),
  'undo-import': undoImport(options),
};
const smallKinds = {
  ...kinds,
  'import-stock': importFile('stock', inSmallSteps),
  'import-mapping': importFile('mapping', inSmallSteps),
};

/**
 * @param dieAt the transaction (counted from 1) at which this process dies: before its commit, or right after it
 * @param began hears the number of each transaction
 */
function runner(
  dieAt: { tx: number; after: boolean } | null = null,
  on: Store = store,
  began: (tx: number) => void = () => {},
  of: typeof kinds = kinds,
): Runner {
  let count = 0;
  const dying: Store = {
    ...bound(store),
    async tenant<T>(orgId: string, fn: (tx: Tx) => Promise<T>, more?: { idempotent?: boolean }) {
      count += 1;
      began(count);
      if (dieAt === null || count < dieAt.tx) return on.tenant(orgId, fn, more);
      if (dieAt.after && count === dieAt.tx) await store.tenant(orgId, fn);
      throw Object.assign(new Error('killed'), { code: 'store.unavailable' });
    },
  };
  return createRunner({
    store: dying,
    clock,
    ids: testIds,
    log: quiet,
    kinds: of,
    wake() {},
    mapped: async () => {},
    leaseMs: 30_000,
  });
}
const bound = (of: Store): Store => ({
  tenant: (...args) => of.tenant(...args),
  batch: (...args) => of.batch(...args),
  system: (...args) => of.system(...args),
  readOnly: (...args) => of.readOnly(...args),
  metrics: () => of.metrics(),
  end: () => of.end(),
});

async function make(kind: keyof typeof kinds, csv: string, more: { dryRun?: boolean; mode?: 'set' | 'add' } = {}) {
  const id = testIds.uuid();
  await store.tenant(world.orgId, async (tx) => {
    await createRun(
      tx,
      world.orgId,
      {
        id,
        kind,
        connectionId: null,
        title: 'file',
        params: { format: 'auto', mode: more.mode ?? 'set' },
        dryRun: more.dryRun ?? false,
        actor: 'test',
        key: null,
        inverseOf: null,
        state: 'receiving',
      },
      now,
    );
    await keepRunFile(tx, world.orgId, id, 0, Buffer.from(csv), now);
    await releaseRun(tx, world.orgId, id);
  });
  return id;
}

async function undo(of: string, kind: string): Promise<string> {
  const id = testIds.uuid();
  const made = await store.tenant(world.orgId, (tx) =>
    createRun(
      tx,
      world.orgId,
      {
        id,
        kind: 'undo-import',
        connectionId: null,
        title: 'undo',
        params: { kind },
        dryRun: false,
        actor: 'test',
        key: null,
        inverseOf: of,
        state: 'waiting',
      },
      now,
    ),
  );
  return made.id;
}

const view = async (id: string): Promise<RunView> => {
  const found = await store.tenant(world.orgId, (tx) => readRun(tx, world.orgId, id, now));
  if (!found) throw new Error('no run');
  return found;
};
const sellable = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (
      await database.owner.query<{ sku: string; sellable: number }>(
        `select v.sku, sum(p.sellable)::int as sellable from positions p join variants v on v.org_id = p.org_id and v.id = p.variant_id
         where p.org_id = $1 group by v.sku having sum(p.sellable) <> 0 order by 1`,
        [world.orgId],
      )
    ).rows.map((row) => [row.sku, row.sellable]),
  );
const movements = async (): Promise<number> =>
  (await database.owner.query('select count(*)::int as n from movements where org_id = $1', [world.orgId])).rows[0].n;

async function products(count: number): Promise<void> {
  await database.owner.query(
    `insert into variants (org_id, id, sku) select $1, gen_random_uuid(), 'R-' || lpad(n::text, 5, '0') from generate_series(1, $2) n`,
    [world.orgId, count],
  );
}
const stockCsv = (count: number, units: number) =>
  `sku,quantity\n${Array.from({ length: count }, (_, i) => `R-${String(i + 1).padStart(5, '0')},${i % 50 === 7 ? 'many' : units}`).join('\n')}\n`;

test('killed before or after the commit of any of its steps, a run is taken up again: nothing twice, nothing skipped, the counts add up', async () => {
  await products(110);
  const csv = stockCsv(110, 4);
  let booked = 4;
  let last = 0;
  const whole = await make('import-stock', csv, { mode: 'add' });
  const counted = (tx: number) => {
    last = tx;
  };
  await runner(null, store, counted, smallKinds).execute(world.orgId, whole);
  expect(await view(whole)).toMatchObject({ state: 'done', succeeded: 107, failed: 3 });
  // Taking, reading, storing the rows three times, three steps, the error file, the end, forgetting the rows.
  expect(last).toBeGreaterThan(14);
  for (let tx = 1; tx <= last; tx += 1)
    for (const after of [false, true]) {
      const id = await make('import-stock', csv, { mode: 'add' });
      const before = await movements();
      await runner({ tx, after }, store, undefined, smallKinds)
        .execute(world.orgId, id)
        .catch(() => undefined);
      now += 60_000;
      await runner(null, store, undefined, smallKinds).drain();
      const found = await view(id);
      expect([tx, after, found.state, found.total, found.done, found.succeeded, found.failed, found.unchanged]).toEqual(
        [tx, after, 'done', 110, 110, 107, 3, 0],
      );
      booked += 4;
      expect(await movements()).toBe(before + 107);
      expect(new Set(Object.values(await sellable()))).toEqual(new Set([booked]));
      expect(found.errorFile).toMatch(/^\/api\/imports\/files\//);
    }
}, 120_000);

test('a dry run whose steps build on each other, killed at any of its transactions, tells each row once, and what it would be', async () => {
  await products(3);
  const [connection] = (
    await database.owner.query(
      `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, gen_random_uuid(), 'shopify', 'simulated', 'Shop', gen_random_uuid()) returning id`,
      [world.orgId],
    )
  ).rows;
  await database.owner.query(
    `insert into listings (org_id, id, connection_id, external_id, channel_sku, stock_key)
     select $1, gen_random_uuid(), $2, 'ch-' || n, 'ch-' || n, 'ch-' || n from generate_series(1, 3) n`,
    [world.orgId, connection.id],
  );
  // Two steps, most of whose rows fail: the second takes away what the first mapped, moves it, and maps it as it was.
  const row = (sku: number, listing: string) => `${sku === 0 ? '' : `R-0000${sku}`},Shop,${listing}`;
  const file = [
    ...[1, 2, 3].map((n) => row(n, `ch-${n}`)),
    ...Array.from({ length: 57 }, () => row(1, 'none')),
    row(0, 'ch-1'),
    row(1, 'ch-2'),
    row(3, 'ch-3'),
  ];
  const csv = `sku,connection,channel_sku\n${file.join('\n')}\n`;
  const items = async (id: string) =>
    (
      await database.owner.query<{ item: number; outcome: string; reason: string | null }>(
        'select item, outcome, reason from run_items where run_id = $1 order by item',
        [id],
      )
    ).rows;
  let last = 0;
  const whole = await make('import-mapping', csv, { dryRun: true });
  const counted = (tx: number) => {
    last = tx;
  };
  await runner(null, store, counted, smallKinds).execute(world.orgId, whole);
  const counts = { state: 'done', total: 63, succeeded: 5, failed: 57, unchanged: 1 };
  expect(await view(whole)).toMatchObject(counts);
  const expected = await items(whole);
  expect(new Set(expected.map(({ reason }) => reason))).toEqual(new Set([null, 'is not listed on Shop']));
  expect(expected.filter(({ outcome }) => outcome === 'done').map(({ item }) => item)).toEqual([2, 3, 4, 62, 63]);
  for (let tx = 1; tx <= last; tx += 1)
    for (const after of [false, true]) {
      const id = await make('import-mapping', csv, { dryRun: true });
      await runner({ tx, after }, store, undefined, smallKinds)
        .execute(world.orgId, id)
        .catch(() => undefined);
      now += 60_000;
      await runner(null, store, undefined, smallKinds).drain();
      expect([tx, after, await view(id)]).toMatchObject([tx, after, counts]);
      expect(await items(id)).toEqual(expected);
    }
  const mapped = await database.owner.query(
    'select count(*)::int as n from listings where org_id = $1 and variant_id is not null',
    [world.orgId],
  );
  expect(mapped.rows).toEqual([{ n: 0 }]);
  // What died after the end left its rows behind; whoever goes on with a run forgets them.
  const left = await database.owner.query(
    'select count(*)::int as n from run_rows w join runs r on r.id = w.run_id where r.org_id = $1 and r.taken > 1',
    [world.orgId],
  );
  expect(left.rows).toEqual([{ n: 0 }]);
}, 120_000);

test('a run that failed at any of its transactions and is tried again does what is left, once', async () => {
  await products(110);
  const csv = stockCsv(110, 4);
  const kind = smallKinds['import-stock'];
  let count = 0;
  const failing = (at: number): Runner => {
    count = 0;
    const counting: Store = {
      ...bound(store),
      tenant(...args) {
        count += 1;
        return count === at ? Promise.reject(new Error('a mistake of ours')) : store.tenant(...args);
      },
    };
    const execute = (held: RunContext) => kind.execute({ ...held, store: counting });
    return runner(null, store, undefined, { ...smallKinds, 'import-stock': { ...kind, execute } });
  };
  await failing(0).execute(world.orgId, await make('import-stock', csv, { mode: 'add' }));
  const last = count;
  let booked = 4;
  let failures = 0;
  for (let at = 1; at <= last; at += 1) {
    const id = await make('import-stock', csv, { mode: 'add' });
    await failing(at).execute(world.orgId, id);
    // What a file's reader asks for behind the last failed row is not needed.
    if ((await view(id)).state === 'failed') {
      failures += 1;
      expect(await view(id)).toMatchObject({ errorCode: 'assertion', message: 'a mistake of ours' });
      const by = { actor: 'test', now, ids: testIds };
      expect(await store.tenant(world.orgId, (tx) => retryDeadLetter(tx, world.orgId, `run:${id}`, by))).toBe(true);
      await failing(0).execute(world.orgId, id);
    }
    const { state, errorCode, total, succeeded, failed, unchanged } = await view(id);
    expect([at, state, errorCode, total, succeeded, failed, unchanged]).toEqual([at, 'done', null, 110, 107, 3, 0]);
    booked += 4;
    expect(new Set(Object.values(await sellable()))).toEqual(new Set([booked]));
  }
  expect(failures).toBeGreaterThan(12);
}, 120_000);

test('a run that the release before began goes on: what it did counts once, and only the other rows are done', async () => {
  await products(30);
  const id = await make('import-stock', stockCsv(30, 5), { mode: 'add' });
  const run = await store.tenant(world.orgId, (tx) =>
    takeRun(tx, world.orgId, id, { holder: testIds.uuid(), now, forMs: 30_000 }),
  );
  // Its first step told the row that cannot be read; its second had booked one row, and died.
  await database.owner.query(
    `update runs set mark = '[0, 1]', total = 30, failed = 1, succeeded = 1, unchanged = 3 where id = $1`,
    [id],
  );
  await database.owner.query(
    `insert into run_items (org_id, run_id, item, outcome, subject, field, value, reason, undo) values
       ($1, $2, 9, 'failed', 'R-00008', 'quantity', 'many', 'must be a whole number', null),
       ($1, $2, 2, 'done', 'R-00001', null, null, null, '[{"units": 5}]')`,
    [world.orgId, id],
  );
  expect(run?.mark).toBe(null);
  now += 31_000;
  await runner().drain();
  expect(await view(id)).toMatchObject({ state: 'done', total: 30, succeeded: 29, failed: 1, unchanged: 0 });
  expect(await movements()).toBe(28);
  expect((await sellable())['R-00001']).toBe(undefined);
});

test('steps whose commits nobody answered are tried again and counted once, in an import and in its undo', async () => {
  await products(450);
  /** Every transaction that may be repeated is committed, and then tried again as if its answer had been lost. */
  const forgetful: Store = {
    ...bound(store),
    async tenant<T>(orgId: string, fn: (tx: Tx) => Promise<T>, more?: { idempotent?: boolean }) {
      const first = await store.tenant(orgId, fn, more);
      return more?.idempotent ? store.tenant(orgId, fn, more) : first;
    },
  };
  const taken = async (id: string) => {
    for (let round = 0; round < 8; round += 1) {
      await runner(null, round < 6 ? forgetful : store).execute(world.orgId, id);
      now += 60_000;
    }
    const { state, total, succeeded, failed } = await view(id);
    return { state, total, succeeded, failed };
  };
  const id = await make('import-stock', stockCsv(450, 3));
  expect(await taken(id)).toEqual({ state: 'done', total: 450, succeeded: 441, failed: 9 });
  expect(await movements()).toBe(441);
  expect(await taken(await undo(id, 'import-stock'))).toEqual({ state: 'done', total: 441, succeeded: 441, failed: 0 });
  expect(await movements()).toBe(882);
  expect(await sellable()).toEqual({});
}, 30_000);

test('a run left by a dead holder is stuck until its lease has run out, then one of two runners has it', async () => {
  await products(1);
  const id = await make('import-stock', 'sku,quantity\nR-00001,5\n');
  await store.tenant(world.orgId, (tx) => takeRun(tx, world.orgId, id, { holder: testIds.uuid(), now, forMs: 30_000 }));
  await runner().drain();
  expect((await view(id)).state).toBe('running');
  now += 30_001;
  expect((await view(id)).state).toBe('stuck');
  const taken = await Promise.all([runner().execute(world.orgId, id), runner().execute(world.orgId, id)]);
  expect(taken.toSorted()).toEqual([false, true]);
  expect(await view(id)).toMatchObject({ state: 'done', taken: 2, succeeded: 1 });
});

test('cancelled before it begins it never begins; cancelled while it runs it stops at a step, and what is done can be taken back', async () => {
  await products(6_000);
  const never = await make('import-stock', stockCsv(10, 3));
  expect(await store.tenant(world.orgId, (tx) => cancelRun(tx, world.orgId, never, now))).toBe(true);
  await runner().drain();
  expect(await view(never)).toMatchObject({ state: 'cancelled', done: 0 });
  expect(await store.tenant(world.orgId, (tx) => cancelRun(tx, world.orgId, never, now + 1))).toBe(false);

  const id = await make('import-stock', stockCsv(6_000, 3));
  const going = runner().execute(world.orgId, id);
  while ((await view(id)).succeeded === 0) await new Promise((done) => setTimeout(done, 5));
  await store.tenant(world.orgId, (tx) => cancelRun(tx, world.orgId, id, now));
  await going;
  const stopped = await view(id);
  expect(stopped.state).toBe('cancelled');
  expect(stopped.done).toBeGreaterThan(0);
  expect(stopped.done).toBeLessThan(6_000);
  expect(Object.keys(await sellable())).toHaveLength(stopped.succeeded);
  const inverse = await undo(id, 'import-stock');
  await runner().drain();
  expect(await view(inverse)).toMatchObject({ state: 'done', succeeded: stopped.succeeded, failed: 0 });
  expect(await view(id)).toMatchObject({ state: 'undone', undoneBy: inverse });
  expect(await sellable()).toEqual({});
}, 60_000);

test('undo takes back what a stock file did, row by row, and names what is gone meanwhile; killed in the middle it goes on', async () => {
  await products(300);
  await runner().execute(world.orgId, await make('import-stock', stockCsv(300, 2)));
  const before = await sellable();
  const id = await make('import-stock', `${stockCsv(300, 9)}R-00001,12\nR-00001,1\n`);
  await runner().execute(world.orgId, id);
  expect((await sellable())['R-00002']).toBe(9);
  expect((await sellable())['R-00001']).toBe(1);
  await runner().execute(world.orgId, await make('import-stock', 'sku,quantity\nR-00002,3\n'));
  const inverse = await undo(id, 'import-stock');
  await runner({ tx: 4, after: true })
    .execute(world.orgId, inverse)
    .catch(() => undefined);
  now += 60_000;
  await runner().drain();
  expect(await view(inverse)).toMatchObject({ state: 'done', succeeded: 295, failed: 1, inverseOf: id });
  const { rows } = await database.owner.query('select subject, reason from run_items where run_id = $1', [inverse]);
  expect(rows).toEqual([{ subject: 'R-00002', reason: '4 of its units are sold, held or moved by now' }]);
  expect(await sellable()).toEqual({ ...before, 'R-00002': 3 });
  // A second undo of the same run is the first one.
  expect(await undo(id, 'import-stock')).toBe(inverse);
});

test('undo of a product file: new products go unless something refers to them, others are as they were unless changed since', async () => {
  await runner().execute(
    world.orgId,
    await make('import-products', 'sku,title,barcode\nP-1,One,111\nP-2,Two,\nPART,Part,\n'),
  );
  const file =
    'sku,title,barcode,components\nP-1,One again,222,\nP-2,Two again,,\nNEW-1,New,,\nNEW-2,New too,,\nKIT,Kit,,PART:2\n';
  const id = await make('import-products', file);
  await runner().execute(world.orgId, id);
  expect(await view(id)).toMatchObject({ succeeded: 5, failed: 0 });
  await database.owner.query(`update variants set title = 'By hand' where org_id = $1 and sku = 'P-2'`, [world.orgId]);
  await runner().execute(world.orgId, await make('import-stock', 'sku,quantity\nNEW-2,1\n'));
  const inverse = await undo(id, 'import-products');
  await runner().drain();
  expect(await view(inverse)).toMatchObject({ succeeded: 3, failed: 2 });
  const { rows } = await database.owner.query('select subject, reason from run_items where run_id = $1 order by item', [
    inverse,
  ]);
  expect(rows).toEqual([
    { subject: 'P-2', reason: 'was changed since, or is gone' },
    { subject: 'NEW-2', reason: 'it has movements by now' },
  ]);
  const left = await database.owner.query(
    `select sku, title, barcode from variants where org_id = $1 and sku !~ '^S-?[0-9]' and sku in ('P-1', 'P-2', 'NEW-1', 'NEW-2', 'KIT', 'PART') order by sku`,
    [world.orgId],
  );
  expect(left.rows).toEqual([
    { sku: 'NEW-2', title: 'New too', barcode: null },
    { sku: 'P-1', title: 'One', barcode: '111' },
    { sku: 'P-2', title: 'By hand', barcode: null },
    { sku: 'PART', title: 'Part', barcode: null },
  ]);
});

test('a mapping file maps, moves and takes away; rows that point nowhere are named; undo maps as before', async () => {
  const [connection] = (
    await database.owner.query(
      `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, gen_random_uuid(), 'shopify', 'simulated', 'Shop', gen_random_uuid()) returning id`,
      [world.orgId],
    )
  ).rows;
  await products(3);
  for (const n of [1, 2, 3])
    await database.owner.query(
      `insert into listings (org_id, id, connection_id, external_id, channel_sku, stock_key) values ($1, gen_random_uuid(), $2, $3, $3, $3)`,
      [world.orgId, connection.id, `ch-${n}`],
    );
  const mapped = async () =>
    (
      await database.owner.query(
        `select l.channel_sku, v.sku from listings l left join variants v on v.id = l.variant_id where l.org_id = $1 order by 1`,
        [world.orgId],
      )
    ).rows.map((row) => `${row.channel_sku}=${row.sku ?? ''}`);
  await runner().execute(world.orgId, await make('import-mapping', 'sku,channel_sku\nR-00001,ch-1\n'));
  const file =
    'sku,connection,channel_sku\nR-00002,shop,ch-1\n,Shop,ch-3\nR-00003,Shop,ch-2\nR-00003,Shop,none\nR-9,Shop,ch-3\nR-00001,Nowhere,ch-3\n,Shop,\n';
  const id = await make('import-mapping', file);
  await runner().execute(world.orgId, id);
  expect(await view(id)).toMatchObject({ total: 7, succeeded: 2, unchanged: 1, failed: 4 });
  expect(await mapped()).toEqual(['ch-1=R-00002', 'ch-2=R-00003', 'ch-3=']);
  const { rows } = await database.owner.query(
    `select item, field, reason from run_items where run_id = $1 and outcome = 'failed' order by item`,
    [id],
  );
  expect(rows).toEqual([
    { item: 5, field: 'channel_sku', reason: 'is not listed on Shop' },
    { item: 6, field: 'sku', reason: 'is not known; import it as a product first' },
    { item: 7, field: 'connection', reason: 'is not known' },
    { item: 8, field: 'channel_sku', reason: 'is missing' },
  ]);
  await undo(id, 'import-mapping');
  await runner().drain();
  expect(await mapped()).toEqual(['ch-1=R-00001', 'ch-2=', 'ch-3=']);
});

test('a dry run counts and refuses exactly what the next live run does, whatever the file, and books nothing', async () => {
  await products(12);
  const row = fc.record({
    sku: fc.oneof(
      fc.integer({ min: 1, max: 14 }).map((n) => `R-${String(n).padStart(5, '0')}`),
      fc.constant(''),
    ),
    quantity: fc.oneof(
      fc.integer({ min: -4, max: 2_000 }).map(String),
      fc.constantFrom('', 'x', '2147483647', '999999999'),
    ),
    location: fc.constantFrom('', 'MAIN', 'NOWHERE'),
  });
  const outcome = ({ succeeded, failed, unchanged, total }: RunView) => ({ succeeded, failed, unchanged, total });
  const items = async (id: string) =>
    (
      await database.owner.query(
        'select item, outcome, field, value, reason from run_items where run_id = $1 order by item',
        [id],
      )
    ).rows;
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1, maxLength: 40 }),
      fc.constantFrom('set', 'add'),
      async (rows, mode) => {
        const csv = `sku,quantity,location\n${rows.map((one) => `${one.sku},${one.quantity},${one.location}`).join('\n')}\n`;
        const before = [await sellable(), await movements()];
        const dry = await make('import-stock', csv, { dryRun: true, mode: mode as 'set' });
        await runner().execute(world.orgId, dry);
        expect([await sellable(), await movements()]).toEqual(before);
        const live = await make('import-stock', csv, { mode: mode as 'set' });
        await runner().execute(world.orgId, live);
        expect(outcome(await view(live))).toEqual(outcome(await view(dry)));
        expect(await items(live)).toEqual(await items(dry));
      },
    ),
    { numRuns: 25 },
  );
}, 60_000);

test('a row beyond what one place can hold fails alone', async () => {
  await products(3);
  await runner().execute(
    world.orgId,
    await make('import-stock', 'sku,quantity\nR-00002,1000000000\n', { mode: 'add' }),
  );
  await runner().execute(
    world.orgId,
    await make('import-stock', 'sku,quantity\nR-00002,1000000000\n', { mode: 'add' }),
  );
  const id = await make('import-stock', 'sku,quantity\nR-00001,5\nR-00002,1000000000\nR-00003,7\n', { mode: 'add' });
  await runner().execute(world.orgId, id);
  expect(await view(id)).toMatchObject({ state: 'done', succeeded: 2, failed: 1 });
  expect(await sellable()).toEqual({ 'R-00001': 5, 'R-00002': 2_000_000_000, 'R-00003': 7 });
});

test('a file that cannot be read ends the run with the reason, and an unknown kind does, too', async () => {
  const id = await make('import-stock', 'name,count\nx,1\n');
  await runner().execute(world.orgId, id);
  expect(await view(id)).toMatchObject({
    state: 'failed',
    errorCode: 'import.unreadable',
    message: 'The header must name the column sku and quantity. Found: name, count',
    done: 0,
  });
});

test('an upload that died with its process ends as failed after a minute, and its key is free for another try', async () => {
  const upload = (id: string) =>
    store.tenant(world.orgId, (tx) =>
      createRun(
        tx,
        world.orgId,
        {
          id,
          kind: 'import-stock',
          connectionId: null,
          title: 'file',
          params: {},
          dryRun: false,
          actor: 'test',
          key: 'delivery',
          inverseOf: null,
          state: 'receiving',
        },
        now,
      ),
    );
  const dead = testIds.uuid();
  await upload(dead);
  await store.tenant(world.orgId, (tx) => keepRunFile(tx, world.orgId, dead, 0, Buffer.from('sku,quan'), now));
  now += 59_000;
  await runner().drain();
  expect((await view(dead)).state).toBe('receiving');
  now += 2_000;
  await runner().drain();
  expect(await view(dead)).toMatchObject({
    state: 'failed',
    errorCode: 'run.upload_lost',
    message: 'The upload broke off; nothing was booked. Send the file again.',
  });
  // The upload was only slow after all: what comes later is refused, not half kept.
  await expect(
    store.tenant(world.orgId, (tx) => keepRunFile(tx, world.orgId, dead, 1, Buffer.from('tity'), now)),
  ).rejects.toMatchObject({ code: 'store.mismatch' });
  expect(await upload(testIds.uuid())).toMatchObject({ isNew: true });
});
