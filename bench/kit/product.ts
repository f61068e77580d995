/** The product as a user runs it: `syncstate start` in a process of its own, embedded database, fsync on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
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

/** @param options.dataDir kept by the caller; default: a folder of its own that goes with it */
export async function startProduct(
  options: { env?: Record<string, string>; dataDir?: string } = {},
): Promise<Product> {
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
  return {
    url,
    dataDir,
    pid: child.pid ?? 0,
    ownerUrl: attached.url,
    owner,
    startedMs: Math.round(startedMs),
    settings: async () => ({ ...(await databaseSettings(owner)), ...processSettings(child.pid ?? 0) }),
    async stop() {
      await owner.end();
      child.kill('SIGTERM');
      await stopped(child);
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
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

/** Linux only: resident memory and processor time of the server process. */
export function processSettings(pid: number): { residentMiB?: number; cpuSeconds?: number } {
  try {
    const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return { residentMiB: Math.round(resident), cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return {};
  }
}
