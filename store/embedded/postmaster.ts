/**
 * One postmaster on a cluster: found, started, watched, ended.
 *
 * What may already be there when we come (the data folder's lock is ours, so nobody else starts one meanwhile):
 *
 *   nothing            start
 *   stale files        their process is gone, or is not a postmaster of this folder (the id was reused): disarm, start
 *   an orphan          its parent was killed and it lived on: adopted when its settings are ours, else ended
 *   one going down     waited for, then start
 *
 * A pid file is disarmed by writing an impossible process id into it, never by deleting it: its other lines let PostgreSQL
 * see that backends of a killed postmaster are still writing, and it must wait for them.
 * The postmaster is asked to die with its parent (`setpriv --pdeathsig QUIT`; immediate shutdown is what fsync is for), and
 * runs in a session of its own so that Ctrl-C or a signal to our process group does not reach it before our own shutdown.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fchownSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { Account } from './account.ts';
import type { Binaries } from './binaries.ts';
import type { Cluster } from './cluster.ts';
import { ownerUrl, socketName } from './cluster.ts';

export interface Postmaster {
  pid: number;
  adopted: boolean;
  /** Null when adopted: not our child, seen only by its pid. */
  child: ChildProcess | null;
}

/** For two cores and a small machine; all of it can be read back with `show`. */
export const serverSettings: Readonly<Record<string, string>> = {
  listen_addresses: '',
  max_connections: '100',
  shared_buffers: '128MB',
  effective_cache_size: '512MB',
  wal_buffers: '16MB',
  max_wal_size: '1GB',
  min_wal_size: '128MB',
  checkpoint_timeout: '10min',
  random_page_cost: '1.1',
  // Two cores serve many short transactions: no query takes both, no extra processes wait for reads.
  max_parallel_workers_per_gather: '0',
  io_method: 'sync',
  jit: 'off',
  autovacuum_naptime: '15s',
  // A backend whose client was killed gives up within a second instead of finishing for nobody.
  client_connection_check_interval: '1s',
  password_encryption: 'scram-sha-256',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
};

const impossiblePid = 2_147_483_646;
const logLimitBytes = 10_000_000;

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

interface PidFile {
  pid: number;
  /** starting, stopping, ready, standby; '' when not written yet. */
  status: string;
}

function readPidFile(cluster: Cluster): PidFile | null {
  try {
    const lines = readFileSync(join(cluster.data, 'postmaster.pid'), 'utf8').split('\n');
    const pid = Math.abs(Number(lines[0]));
    return Number.isInteger(pid) && pid > 0 ? { pid, status: (lines[7] ?? '').trim() } : null;
  } catch {
    return null;
  }
}

export function processAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** A killed orphan whose new parent never collects it is dead for us. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'Z';
  } catch {
    return false;
  }
}

/** Whether the process is a PostgreSQL working in this cluster's folder. Linux: by its folder; else by its name. */
function isPostmasterOf(pid: number, cluster: Cluster): boolean {
  if (!processAlive(pid)) return false;
  if (process.platform === 'linux') {
    try {
      const here = statSync(cluster.data);
      const there = statSync(`/proc/${pid}/cwd`);
      return (
        here.ino === there.ino && here.dev === there.dev && /(^|\/)postgres/.test(readlinkSync(`/proc/${pid}/exe`))
      );
    } catch {
      return false;
    }
  }
  return /postgres/.test(spawnSync('ps', ['-o', 'comm=', '-p', String(pid)], { encoding: 'utf8' }).stdout ?? '');
}

/**
 * Makes what a dead postmaster left harmless without hiding from PostgreSQL what else it says. PostgreSQL itself would be
 * stopped by a process id that lives again as somebody else, or by a dead process that a container's first process never
 * collects.
 */
function disarmLeftovers(cluster: Cluster): void {
  const pidFile = join(cluster.data, 'postmaster.pid');
  if (existsSync(pidFile))
    writeFileSync(pidFile, readFileSync(pidFile, 'utf8').replace(/^[^\n]*/, String(impossiblePid)));
  for (const name of [socketName, `${socketName}.lock`]) rmSync(join(cluster.socketDir, name), { force: true });
}

function settingsOf(cluster: Cluster, extra: Readonly<Record<string, string>>): [string, string][] {
  const all = {
    ...serverSettings,
    ...extra,
    unix_socket_directories: cluster.socketDir,
    unix_socket_permissions: '0700',
  };
  return Object.entries(all);
}

/** Names a set of settings and programs; kept in the server itself, so that an orphan can be asked for it. */
function launchMark(settings: [string, string][], binaries: Binaries): string {
  return createHash('sha256')
    .update(JSON.stringify([binaries.version, settings]))
    .digest('hex')
    .slice(0, 16);
}

/** One statement on a short connection; null when the server does not let us in (yet). */
async function ask(url: string, text: string): Promise<Record<string, unknown> | null> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(text)).rows[0] ?? null;
  } catch {
    return null;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function waitFor(what: () => boolean, timeoutMs: number, stepMs = 10): Promise<boolean> {
  for (const end = performance.now() + timeoutMs; ; ) {
    if (what()) return true;
    if (performance.now() > end) return false;
    await pause(stepMs);
  }
}

/** Ends a postmaster: fast shutdown, and when that takes too long an immediate one (nothing committed is lost by it). */
export async function endPostmaster(pid: number, patienceMs: number): Promise<void> {
  for (const [signal, ms] of [
    ['SIGINT', patienceMs],
    ['SIGQUIT', 6_000],
  ] as const) {
    if (!processAlive(pid)) return;
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    if (await waitFor(() => !processAlive(pid), ms)) return;
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop.`);
}

/** What is already running on the cluster: adopted when it fits, ended when it does not, null when nothing is left. */
async function settlePredecessor(
  cluster: Cluster,
  mark: string,
  log: (message: string) => void,
): Promise<Postmaster | null> {
  const found = readPidFile(cluster);
  if (found && isPostmasterOf(found.pid, cluster)) {
    log(`found a PostgreSQL without its parent (process ${found.pid})`);
    const settled = () => !processAlive(found.pid) || readPidFile(cluster)?.status === 'ready';
    if (found.status !== 'stopping') await waitFor(settled, 60_000);
    if (readPidFile(cluster)?.status === 'ready' && processAlive(found.pid)) {
      const answer = await ask(
        ownerUrl(cluster, 'postgres'),
        `select current_setting('syncstate.launch', true) as mark`,
      );
      if (answer?.mark === mark) return { pid: found.pid, adopted: true, child: null };
      log('its settings are not ours: ending it');
    }
    await endPostmaster(found.pid, 20_000);
  }
  disarmLeftovers(cluster);
  return null;
}

function openLog(cluster: Cluster, account: Account): number {
  const path = join(cluster.home, 'postgres.log');
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > logLimitBytes) renameSync(path, `${path}.1`);
  const file = openSync(path, 'a', 0o600);
  if (account.foreign) fchownSync(file, account.uid, account.gid);
  return file;
}

function logTail(cluster: Cluster, from: number): string {
  const text = readFileSync(join(cluster.home, 'postgres.log'));
  return text
    .subarray(Math.max(from, text.length - 3_000))
    .toString('utf8')
    .trim();
}

export interface Launch {
  cluster: Cluster;
  binaries: Binaries;
  account: Account;
  setpriv: string | null;
  /** On top of `serverSettings`. */
  settings: Readonly<Record<string, string>>;
  log: (message: string) => void;
}

async function launchOnce(launch: Launch, mark: string): Promise<Postmaster | { failed: string }> {
  const { cluster, binaries, account, setpriv } = launch;
  const args = ['-D', cluster.data, '-c', `syncstate.launch=${mark}`];
  for (const [name, value] of settingsOf(cluster, launch.settings)) args.push('-c', `${name}=${value}`);
  const [program, ...rest] = setpriv
    ? [setpriv, '--pdeathsig', 'QUIT', '--', binaries.postgres, ...args]
    : [binaries.postgres, ...args];
  const logFile = openLog(cluster, account);
  const logStart = statSync(join(cluster.home, 'postgres.log')).size;
  const identity = account.foreign ? { uid: account.uid, gid: account.gid } : {};
  const child = spawn(program ?? '', rest, {
    ...identity,
    cwd: '/',
    detached: true,
    env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
    stdio: ['ignore', logFile, logFile],
  });
  closeSync(logFile);
  let ended: string | null = null;
  child.on('error', (error) => (ended = error.message));
  child.on('exit', (code, signal) => (ended ??= `exit ${code ?? signal}`));
  child.unref();
  const ready = () => {
    const file = readPidFile(cluster);
    return file?.pid === child.pid && file?.status === 'ready';
  };
  // Recovery after a kill replays at most max_wal_size; five minutes is a disk that does not answer.
  await waitFor(() => ended !== null || ready(), 300_000, 5);
  if (ended === null && ready() && child.pid !== undefined) return { pid: child.pid, adopted: false, child };
  if (ended === null && child.pid !== undefined) await endPostmaster(child.pid, 5_000);
  return { failed: `${ended ?? 'not ready within five minutes'}\n${logTail(cluster, logStart)}` };
}

/** A running postmaster on the cluster, ours or adopted. Throws with PostgreSQL's own words when it does not start. */
export async function runPostmaster(launch: Launch): Promise<Postmaster> {
  const mark = launchMark(settingsOf(launch.cluster, launch.settings), launch.binaries);
  const predecessor = await settlePredecessor(launch.cluster, mark, launch.log);
  if (predecessor) return predecessor;
  for (let attempt = 1; ; attempt += 1) {
    const result = await launchOnce(launch, mark);
    if (!('failed' in result)) return result;
    // Backends of a killed postmaster notice its death within moments and then let go of the shared memory.
    const leftovers = /still in use|shared memory block/.test(result.failed);
    if (!leftovers || attempt >= 50) throw new Error(`PostgreSQL did not start: ${result.failed}`);
    await pause(100);
  }
}
