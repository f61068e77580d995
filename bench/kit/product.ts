/** The product as a user runs it: `syncstate start` in a process of its own, embedded database, fsync on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { attachEmbedded } from '#store/embedded/index.ts';
import { until } from './figures.ts';

export interface Product {
  url: string;
  dataDir: string;
  pid: number;
  ownerUrl: string;
  /** Sees every organization. */
  owner: pg.Pool;
  /** Milliseconds from the launch until /ready answered 200. */
  startedMs: number;
  /** Processor seconds used so far by the server and by its database; figures that a busy machine changes little. */
  cpu(): { server: number; database: number };
  /** Read back from the running database and process. */
  settings(): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
}

const launcher = join(import.meta.dirname, '..', '..', 'apps', 'cli', 'main.ts');

/** BENCH_CPU_PROFILE names a folder: the server leaves a CPU profile there when it stops. */
const profiling = (): string[] => {
  const folder = process.env.BENCH_CPU_PROFILE;
  return folder ? ['--cpu-prof', `--cpu-prof-dir=${folder}`] : [];
};

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const stopped = (child: ChildProcess) =>
  new Promise<void>((resolve) => (child.exitCode === null ? child.once('exit', () => resolve()) : resolve()));

/** BENCH_STATEMENTS=1: the database counts what it runs (pg_stat_statements); it costs a little itself. */
export const countingStatements = (): boolean => process.env.BENCH_STATEMENTS === '1';

/** The counter must be there when the database starts: a first start makes the cluster and writes it down. */
export async function letStatementsBeCounted(dataDir: string): Promise<void> {
  const { owner, stop } = await launch({ dataDir });
  await owner.query(`alter system set shared_preload_libraries = 'pg_stat_statements'`);
  await owner.query('alter system set pg_stat_statements.track_planning = on');
  await owner.query('create extension if not exists pg_stat_statements');
  await stop();
}

/** @param options.dataDir kept by the caller; default: a folder of its own that goes with it */
export async function startProduct(options: { env?: Record<string, string>; dataDir?: string } = {}): Promise<Product> {
  if (!countingStatements() || options.dataDir !== undefined) return launch(options);
  const dataDir = mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  await letStatementsBeCounted(dataDir);
  const product = await launch({ ...options, dataDir });
  return {
    ...product,
    async stop() {
      await product.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

async function launch(options: { env?: Record<string, string>; dataDir?: string } = {}): Promise<Product> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const from = performance.now();
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...profiling(), launcher, 'start'], {
    env: {
      ...process.env,
      DATABASE_URL: '',
      SYNCSTATE_DEMO: 'off',
      NODE_ENV: 'development',
      LOG_LEVEL: 'warn',
      ...options.env,
      PORT: String(port),
      SYNCSTATE_DATA_DIR: dataDir,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ready = async () => {
    if (child.exitCode !== null) throw new Error('the server did not start');
    return fetch(`${url}/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
  };
  await until('the server is ready', ready, 120_000, 10);
  const startedMs = performance.now() - from;
  const attached = await attachEmbedded(dataDir);
  if (!attached) throw new Error('the embedded database does not answer');
  const owner = new pg.Pool({ connectionString: attached.url, max: 2 });
  // A connection that the ending database closes first.
  owner.on('error', () => undefined);
  const postmaster = await postmasterOf(owner);
  return {
    url,
    dataDir,
    pid: child.pid ?? 0,
    ownerUrl: attached.url,
    owner,
    startedMs: Math.round(startedMs),
    cpu: () => cpuOf(child.pid ?? 0, postmaster),
    settings: async () => ({ ...(await databaseSettings(owner)), residentMiB: residentMiB(child.pid ?? 0) }),
    async stop() {
      await owner.end();
      child.kill('SIGTERM');
      await stopped(child);
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export interface StatementTotal {
  statement: string;
  calls: number;
  ms: number;
  /** How often it was planned anew, and for how long. */
  plans: number;
  planMs: number;
  rows: number;
  /** 8 KiB pages touched in memory or read. */
  pages: number;
  /** Of the write-ahead log. */
  walKiB: number;
}

/** What ran since the last call, dearest first. */
export async function takeStatements(owner: pg.Pool, most = 40): Promise<StatementTotal[]> {
  const { rows } = await owner.query<StatementTotal>(
    `select regexp_replace(left(query, 110), '\\s+', ' ', 'g') as statement, calls::int, round(total_exec_time)::int as ms, plans::int, round(total_plan_time)::int as "planMs", rows::int,
       (shared_blks_hit + shared_blks_read)::int as pages, round(wal_bytes / 1024)::int as "walKiB"
     from pg_stat_statements order by total_exec_time + total_plan_time desc limit $1`,
    [most],
  );
  await owner.query('select pg_stat_statements_reset()');
  return rows;
}

export interface TableTotal {
  table: string;
  inserted: number;
  updated: number;
  /** Of the updated: without touching an index. */
  hot: number;
  deleted: number;
}

/** Rows written since the database was made, most first; it lags up to a second behind. */
export async function tableTotals(owner: pg.Pool, most = 14): Promise<TableTotal[]> {
  const { rows } = await owner.query<TableTotal>(
    `select relname as table, n_tup_ins::int as inserted, n_tup_upd::int as updated, n_tup_hot_upd::int as hot, n_tup_del::int as deleted
     from pg_stat_user_tables order by n_tup_ins + n_tup_upd + n_tup_del desc limit $1`,
    [most],
  );
  return rows;
}

export async function databaseSettings(owner: pg.Pool): Promise<Record<string, unknown>> {
  const { rows } = await owner.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes',
       'shared_buffers', 'max_wal_size', 'checkpoint_timeout')`,
  );
  const { rows: clients } = await owner.query<{ connections: number }>(
    `select count(*)::int as connections from pg_stat_activity where application_name = 'syncstate' and usename = 'syncstate_app'`,
  );
  return {
    ...Object.fromEntries(rows.map(({ name, setting }) => [name, setting])),
    poolConnectionsOpen: clients[0]?.connections ?? 0,
  };
}

export async function postmasterOf(owner: pg.Pool): Promise<number> {
  const { rows } = await owner.query<{ pid: number }>(
    `select (regexp_split_to_array(pg_read_file('postmaster.pid'), '\\n'))[1]::int as pid`,
  );
  return rows[0]?.pid ?? 0;
}

/** Linux only; 0 elsewhere. */
export function residentMiB(pid: number): number {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);
  } catch {
    return 0;
  }
}

/** Processor seconds of a process, its threads and its ended children; Linux only, 0 elsewhere. */
export function cpuSeconds(pid: number): number {
  const stat = statOf(pid);
  return stat ? stat.own + stat.ended : 0;
}

/** Parent, and processor seconds of its own and of its ended children; null for a process that is gone. */
function statOf(pid: number | string): { parent: number; own: number; ended: number } | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    const ticks = (index: number) => Number(fields[index]) / 100;
    return { parent: Number(fields[1]), own: ticks(11) + ticks(12), ended: ticks(13) + ticks(14) };
  } catch {
    return null;
  }
}

/** Linux only; 0 elsewhere. */
function cpuOf(server: number, postmaster: number): { server: number; database: number } {
  return { server: statOf(server)?.own ?? 0, database: databaseSeconds(postmaster) };
}

/** Processor seconds of a database: the postmaster's and all its children's, also of those that ended. */
export function databaseSeconds(postmaster: number): number {
  if (!existsSync('/proc/self/stat')) return 0;
  const main = statOf(postmaster);
  const children = readdirSync('/proc').flatMap((name) => {
    const stat = /^\d+$/.test(name) ? statOf(name) : null;
    return stat?.parent === postmaster ? [stat.own] : [];
  });
  return (main?.own ?? 0) + (main?.ended ?? 0) + children.reduce((sum, own) => sum + own, 0);
}
