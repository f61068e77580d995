/**
 * What an order costs, counted: 3,000 orders over the 300 listings of one shop, a sibling shop beside it, in steps of our own instead
 * of as fast as it goes: a window's deliveries come in, all of them are applied, all numbers written; after two seconds the next one.
 *
 * So statements, row versions and bytes of the write-ahead log are the same on a busy machine (within a few in a hundred), and two
 * versions of the product can be compared by them. Processor time beside them grows when others share the machine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { createApi } from '#server/api/app.ts';
import { readConfig } from '#server/config.ts';
import { createDeps } from '#server/deps.ts';
import { startEmbedded } from '#store/embedded/index.ts';
import { appUrl } from '#store/migrate.ts';
import { sell } from './burst.ts';
import { pause, round } from './kit/figures.ts';
import type { Post } from './kit/load.ts';
import { type Market, openMarket } from './kit/market.ts';
import {
  databaseSeconds,
  databaseSettings,
  letStatementsBeCounted,
  postmasterOf,
  type TableTotal,
  tableTotals,
  takeStatements,
} from './kit/product.ts';
import type { BenchResult } from './run.ts';

const skus = 300;
const orders = 3_000;
const windows = 7;
const windowMs = 2_050;
/** Deliveries under way at once. */
const inFlight = 32;

/** The product without anything that runs by itself. */
async function openQuietly(dataDir: string) {
  const embedded = await startEmbedded({ dataDir, log: () => undefined });
  const config = readConfig({
    SYNCSTATE_DATA_DIR: dataDir,
    SYNCSTATE_DEMO: 'off',
    NODE_ENV: 'development',
    LOG_LEVEL: 'warn',
    PORT: '0',
  });
  const deps = await createDeps({ config, dataDir, appUrl: appUrl(embedded.url), soleProcess: true });
  // It is a burst from the first order to the last, however long the steps take.
  deps.pressure.isBurst = () => burst;
  // A sweep is then not asked for within half a minute; here it would read the shop's orders beside their events.
  deps.intake.requestSweep = () => Promise.resolve({ kind: 'gone' });
  const api = await createApi(deps.api);
  const owner = new pg.Pool({ connectionString: embedded.url, max: 2 });
  owner.on('error', () => undefined);
  const postmaster = await postmasterOf(owner);
  let burst = true;
  return {
    calm: () => {
      burst = false;
    },
    deps,
    owner,
    ownerUrl: embedded.url,
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return { server: (user + system) / 1e6, database: databaseSeconds(postmaster) };
    },
    async deliver(posts: readonly Post[]): Promise<void> {
      const left = [...posts].reverse();
      const line = async () => {
        for (let next = left.pop(); next; next = left.pop()) {
          const { path, headers, body } = next;
          const { statusCode } = await api.inject({ method: 'POST', url: path, headers, payload: body });
          if (statusCode !== 200) throw new Error(`a delivery was answered ${statusCode}`);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, line));
    },
    async settle(): Promise<void> {
      await deps.intake.drain();
      await deps.publisher.drain();
    },
    async stop(): Promise<void> {
      await owner.end();
      await deps.publisher.stop();
      await deps.intake.stop();
      await api.close();
      await deps.end();
      await embedded.stop();
    },
  };
}

type Quiet = Awaited<ReturnType<typeof openQuietly>>;

export async function run(): Promise<BenchResult> {
  const dataDir = mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  let market: Market | undefined;
  try {
    await letStatementsBeCounted(dataDir);
    market = await openMarket({ skus, shops: 2, units: 1_000, profile: 'open', latencyMs: 0 }, dataDir);
    const posts = await sell(market, orders, skus);
    const { product } = market;
    await product.stop();
    const quiet = await openQuietly(dataDir);
    market.product = { ...product, ...quiet };
    return await measure(market, quiet, posts);
  } finally {
    await market?.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function measure(market: Market, quiet: Quiet, posts: readonly Post[]): Promise<BenchResult> {
  const walAt = async (): Promise<number> =>
    Number((await quiet.owner.query(`select pg_current_wal_insert_lsn() - '0/0' as at`)).rows[0]?.at);
  const marks = await Promise.all(market.shopNames.map((name) => market.calls(name)));
  await quiet.owner.query('checkpoint');
  await takeStatements(quiet.owner);
  const [tables, wal, cpu] = [await tableTotals(quiet.owner, 100), await walAt(), quiet.cpu()];
  const perWindow = Math.ceil(posts.length / windows);
  for (let from = 0; from < posts.length; from += perWindow) {
    await quiet.deliver(posts.slice(from, from + perWindow));
    await quiet.settle();
    await pause(windowMs);
  }
  quiet.calm();
  await quiet.settle();
  await quiet.deliver(await market.take());
  await quiet.settle();
  const counts = await Promise.all(
    market.shopNames.map((name, index) => market.calls(name, marks[index]?.next ?? 0).then((calls) => calls.counts)),
  );
  const [used, walUsed] = [quiet.cpu(), (await walAt()) - wal];
  if (!(await market.settled())) throw new Error(`not converged: ${JSON.stringify(await market.backlog())}`);
  const wrong = await market.differences();
  if (wrong.length > 0) throw new Error(`not converged: ${wrong.slice(0, 3).join('; ')}`);
  const statements = await takeStatements(quiet.owner, 1_000);
  // The counters of rows are told up to a second late.
  await pause(1_500);
  const written = since(tables, await tableTotals(quiet.owner, 100));
  const sum = (pick: (one: (typeof statements)[number]) => number) =>
    statements.reduce((total, one) => total + pick(one), 0);
  const per = (value: number) => round(value / orders, 3);
  const versions = written.reduce((total, one) => total + one.inserted + one.updated, 0);
  return {
    title: `What an order costs, ${orders} over ${skus} listings of two shops, in ${windows} windows`,
    rows: [
      {
        figure: 'each order',
        statements: per(sum(({ calls }) => calls)),
        planned: per(sum(({ plans }) => plans)),
        pages: per(sum(({ pages }) => pages)),
        'row versions': per(versions),
        'of them hot': per(written.reduce((total, { hot }) => total + hot, 0)),
        'WAL bytes': Math.round(walUsed / orders),
        'statements ms': per(sum(({ ms, planMs }) => ms + planMs)),
        'database ms': per((used.database - cpu.database) * 1_000),
        'server ms': per((used.server - cpu.server) * 1_000),
      },
    ],
    settings: {
      ...(await databaseSettings(quiet.owner)),
      deliveries: posts.length,
      calls: counts,
      statements: statements.slice(0, 60),
      tables: written,
    },
  };
}

function since(before: readonly TableTotal[], now: readonly TableTotal[]): TableTotal[] {
  return now
    .map((one) => {
      const old = before.find(({ table }) => table === one.table);
      const less = (key: 'inserted' | 'updated' | 'hot' | 'deleted') => one[key] - (old?.[key] ?? 0);
      return {
        table: one.table,
        inserted: less('inserted'),
        updated: less('updated'),
        hot: less('hot'),
        deleted: less('deleted'),
      };
    })
    .filter(({ inserted, updated, deleted }) => inserted + updated + deleted > 0)
    .sort((a, b) => b.inserted + b.updated - (a.inserted + a.updated));
}
