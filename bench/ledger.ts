/**
 * How many commands a second the ledger takes, in batches of 200 by one writer, of 100 by two and of 50 by four, durable (fsync as configured, read back below), through
 * `post` as the server calls it: row security on, claim log, effects, dirty marks and events included.
 *
 * Yardsticks beside each figure, on the same server and in turn with it: the same commands, each in its own transaction, on the
 * same connection; and `pgbench -N` at 8 connections (one row of 100,000 changed, read and noted per transaction).
 * Cases: one-line orders for one SKU (a hot row); one-line and three-line orders over 100,000 SKUs; three-line orders over 50 SKUs.
 * Bars: hot row >= 10 x one by one; 100,000 SKUs: commands >= 2 x pgbench, orders of three lines >= 1 x. WAL bytes say what is written.
 */
import pg from 'pg';
import { LineId, type VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { command, context, makeWorld, testIds, testStore, type World } from '#store/ledger/ledger.testing.ts';
import { post } from '#store/ledger/post.ts';
import { appUrl } from '#store/migrate.ts';
import type { Store, Tx } from '#store/tx.ts';
import { met, round } from './kit/figures.ts';
import { openPgbench } from './kit/pgbench.ts';
import { databaseSettings } from './kit/product.ts';
import { scratchDatabase } from './kit/scratch-database.ts';
import type { BenchResult } from './run.ts';

/** More writers take smaller batches: two of 200 orders over 100,000 SKUs nearly always want a position in common, and wait. */
const ways = [
  { writers: 1, batchSize: 200 },
  { writers: 2, batchSize: 100 },
  { writers: 4, batchSize: 50 },
] as const;
const stock = 100_000_000;

interface Case {
  name: string;
  skus: number;
  lines: number;
  /** Commands measured in batches, and one by one. */
  commands: number;
  single: number;
  bar: { times: number; of: 'one by one' | 'pgbench' } | null;
}

type Figure = BenchResult['rows'][number];

const cases: readonly Case[] = [
  { name: '1 line, hot row', skus: 1, lines: 1, commands: 12000, single: 400, bar: { times: 10, of: 'one by one' } },
  {
    name: '1 line, 100k SKUs',
    skus: 100_000,
    lines: 1,
    commands: 12000,
    single: 400,
    bar: { times: 2, of: 'pgbench' },
  },
  { name: '3 lines, 50 SKUs', skus: 50, lines: 3, commands: 8000, single: 300, bar: null },
  {
    name: '3 lines, 100k SKUs',
    skus: 100_000,
    lines: 3,
    commands: 8000,
    single: 300,
    bar: { times: 1, of: 'pgbench' },
  },
];

function order(variants: readonly VariantId[], lines: number): Command {
  const picked = new Set<VariantId>();
  while (picked.size < lines) picked.add(variants[Math.floor(Math.random() * variants.length)] as VariantId);
  return command({
    kind: 'commit' as const,
    wish: false,
    lines: [...picked].map((variantId) => ({ lineId: LineId(testIds.uuid()), variantId, units: 1, locationId: null })),
  });
}

const batchOf = (world: World, { lines }: Case, size: number) =>
  Array.from({ length: size }, () => order(world.variants, lines));

/** Goods for every SKU, straight into the tables: loading them is not what is measured. */
async function stockUp(owner: pg.Pool, world: World): Promise<void> {
  await owner.query(
    'insert into positions (org_id, variant_id, location_id, sellable) select $1, v, $2, $3 from unnest($4::uuid[]) v',
    [world.orgId, world.main, stock, world.variants],
  );
  await owner.query('vacuum analyze positions');
}

/** Times each statement of a transaction by its name. */
function timed(tx: Tx, spent: Map<string, number>): Tx {
  return {
    ...tx,
    run: (query) => tx.run(query),
    query: async (statement, values) => {
      const from = performance.now();
      const rows = await tx.query(statement, values);
      const name = typeof statement === 'string' ? 'other' : statement.name;
      spent.set(name, (spent.get(name) ?? 0) + performance.now() - from);
      return rows as never;
    },
  };
}

interface Yardsticks {
  pgbench(): Promise<number>;
  /** Bytes of WAL so far. */
  written(): Promise<number>;
}

async function measure(
  store: Store,
  world: World,
  one: Case,
  { writers, batchSize }: (typeof ways)[number],
  { pgbench, written }: Yardsticks,
): Promise<Figure> {
  const spent = new Map<string, number>();
  let inside = 0;
  const postAll = (commands: Command[]) =>
    store.tenant(world.orgId, async (tx) => {
      const from = performance.now();
      await post(writers === 1 ? timed(tx, spent) : tx, world.orgId, commands, context);
      inside += performance.now() - from;
    });
  const batches = one.commands / batchSize;
  for (let i = 0; i < 8; i += 1) await postAll(batchOf(world, one, 200));
  const work = Array.from({ length: batches }, () => batchOf(world, one, batchSize));
  const others = [await pgbench()];
  const before = await written();
  spent.clear();
  inside = 0;
  const from = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async () => {
      for (let batch = work.pop(); batch; batch = work.pop()) await postAll(batch);
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  const bytes = ((await written()) - before) / one.commands;
  others.push(await pgbench());
  const other = (others[0] ?? 0) / 2 + (others[1] ?? 0) / 2;
  const batched = { load: spent.get('ledger_take') ?? 0, write: spent.get('ledger_book') ?? 0, inside };
  const singles = Array.from({ length: one.single }, () => order(world.variants, one.lines));
  const singleFrom = performance.now();
  for (const single of singles) await postAll([single]);
  const yardstick = one.single / ((performance.now() - singleFrom) / 1000);
  const perSecond = one.commands / seconds;
  const alone = (ms: number) => (writers === 1 ? round(ms / batches) : '');
  return {
    case: one.name,
    writers,
    batch: batchSize,
    'commands/s': Math.round(perSecond),
    'lines/s': Math.round(perSecond * one.lines),
    'ms/batch': round((seconds * 1000 * writers) / batches),
    'load ms': alone(batched.load),
    'decide ms': alone(batched.inside - batched.load - batched.write),
    'write ms': alone(batched.write),
    'commit ms': alone(seconds * 1000 - batched.inside),
    'WAL bytes': Math.round(bytes),
    'one by one/s': Math.round(yardstick),
    'x one by one': round(perSecond / yardstick),
    'pgbench/s': Math.round(other),
    ratio: round(perSecond / other),
    bar: one.bar ? `>= ${one.bar.times} x ${one.bar.of}` : '',
    is: one.bar ? met(perSecond >= one.bar.times * (one.bar.of === 'pgbench' ? other : yardstick)) : '',
  };
}

/** Figures with the settings read back from the server they were measured on. `decide` is all of our own work, encoding included. */
export async function run(): Promise<BenchResult> {
  const { url, stop } = await scratchDatabase();
  const owner = new pg.Pool({ connectionString: url, max: 2 });
  owner.on('error', () => undefined);
  const store = testStore(appUrl(url), 4);
  try {
    const other = await openPgbench(url, async (name) => {
      await owner.query(`drop database if exists ${name}`);
      await owner.query(`create database ${name}`);
    });
    const yardsticks: Yardsticks = {
      pgbench: async () => ('missing' in other ? Number.NaN : other.perSecond(1)),
      async written() {
        const { rows } = await owner.query<{ bytes: string }>(
          `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes`,
        );
        return Number(rows[0]?.bytes);
      },
    };
    const rows: Figure[] = [];
    for (const one of cases) {
      for (const way of one.skus === 1 ? [ways[0]] : ways) {
        const world = await makeWorld(owner, one.skus);
        await stockUp(owner, world);
        rows.push(await measure(store, world, one, way, yardsticks));
      }
    }
    const settings = {
      ...(await databaseSettings(owner)),
      pgbench: 'missing' in other ? other.missing : '-N -c 8 -j 1 -M prepared, scale 1',
    };
    return {
      title: `The ledger: channel orders in batches, beside one by one and pgbench`,
      rows,
      settings,
    };
  } finally {
    await store.end();
    await owner.end();
    await stop();
  }
}
