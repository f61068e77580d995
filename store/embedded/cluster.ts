/**
 * Where the cluster of a data folder lies, its password, and how it is made.
 *
 *   <data folder>/postgres.json   where the rest is (0600): { home, socketDir, made }; inside the folder relative to it, so
 *                                 that the folder can be moved
 *   <data folder>/postgres.key    the owner's password (0600)
 *   <home>/data                   PostgreSQL's own folder, owned by the account that runs it
 *   <home>/postgres.log           what PostgreSQL has to say
 *   <socketDir>/.s.PGSQL.5432     the only way in; no TCP
 *
 * `home` is <data folder>/postgres, unless the account cannot walk there because a parent folder is closed to it: then it
 * is made under /var/lib/syncstate and the data folder remembers it for ever. A folder is made under another name and
 * renamed when complete, so that a kill in the middle leaves nothing that looks finished.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { Account } from './account.ts';
import { canEnter } from './account.ts';
import type { Binaries } from './binaries.ts';
import { findUnshare } from './binaries.ts';

export interface Cluster {
  dataDir: string;
  home: string;
  /** PGDATA. */
  data: string;
  socketDir: string;
  password: string;
}

interface Recorded {
  /** As written: relative to the data folder, or absolute when outside. */
  home: string;
  socketDir: string;
  /** The cluster was complete once: from then on a missing one is a loss, never a reason to make an empty one. */
  made: boolean;
}

/** The shelter: where clusters go whose own data folder is out of reach, and copies of the programs. */
export const defaultShelter = '/var/lib/syncstate';
export const socketName = '.s.PGSQL.5432';
/** Bytes of a socket's whole path; macOS has the smallest room (104 with the closing zero). */
const longestSocketPath = 103;
const ownerName = 'syncstate';

/** Writes a file of ours so that a kill leaves the old one or the new one, whole. */
function writeWhole(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600, flush: true });
  renameSync(draft, path);
  syncFolder(join(path, '..'));
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function readRecorded(dataDir: string): Recorded | null {
  const path = join(dataDir, 'postgres.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Recorded) : null;
}

/** The URL of the cluster's owner. The host part is for parsers that insist on one; the socket folder is what counts. */
export function ownerUrl(cluster: Pick<Cluster, 'password' | 'socketDir'>, database = ownerName): string {
  return `postgres://${ownerName}:${cluster.password}@localhost/${database}?host=${encodeURIComponent(cluster.socketDir)}`;
}

/** What a data folder says of its cluster; null when it has none yet. Changes nothing. */
export function knownCluster(dataDir: string): Cluster | null {
  const recorded = readRecorded(dataDir);
  return recorded && existsSync(join(dataDir, 'postgres.key')) ? locate(dataDir, recorded) : null;
}

function locate(dataDir: string, recorded: Recorded): Cluster {
  const home = resolve(dataDir, recorded.home);
  const password = readFileSync(join(dataDir, 'postgres.key'), 'utf8').trim();
  return { dataDir, home, data: join(home, 'data'), socketDir: resolve(dataDir, recorded.socketDir), password };
}

/** Paths below the data folder are kept relative to it. */
function asRecorded(dataDir: string, path: string): string {
  const inside = relative(dataDir, path);
  return inside.startsWith('..') || isAbsolute(inside) ? path : inside;
}

/** Lets others walk through a folder of ours (they still cannot list it). A foreign folder is left as it is. */
function letThrough(folder: string): void {
  const { mode, uid } = statSync(folder);
  if (uid === process.getuid?.() && (mode & 0o011) !== 0o011) chmodSync(folder, (mode & 0o777) | 0o011);
}

function chooseHome(dataDir: string, account: Account, shelter: string): string {
  if (!account.foreign) return join(dataDir, 'postgres');
  letThrough(dataDir);
  if (canEnter(dataDir, account)) return join(dataDir, 'postgres');
  const hash = createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 16);
  mkdirSync(shelter, { recursive: true, mode: 0o711 });
  letThrough(shelter);
  if (!canEnter(shelter, account))
    throw new Error(
      `User ${account.name ?? account.uid} reaches neither ${dataDir} nor ${shelter}: open one of them (chmod o+x) or set DATABASE_URL.`,
    );
  // A random part: the folder of an earlier data folder of this path may be in use by one that was moved away.
  return join(shelter, `${hash}-${randomBytes(4).toString('hex')}`);
}

/** A folder of the account's own, 0700; made again when somebody else's lies there. */
function privateFolder(path: string, account: Account): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (account.foreign) chownSync(path, account.uid, account.gid);
  chmodSync(path, 0o700);
}

/** Beside the cluster, unless the path is too long for a socket: then a folder in /tmp, kept while it is still the account's. */
function chooseSocketDir(home: string, previous: string | undefined, account: Account): string {
  const near = join(home, 'socket');
  if (Buffer.byteLength(join(near, socketName)) <= longestSocketPath) return near;
  const info = previous === undefined || previous === near ? undefined : lstatSync(previous, { throwIfNoEntry: false });
  if (previous !== undefined && info?.isDirectory() && info.uid === account.uid) return previous;
  // Made with mkdir (not recursive), so that nobody can have put a folder of theirs there before.
  const far = `/tmp/syncstate-${randomBytes(6).toString('hex')}`;
  mkdirSync(far, { mode: 0o700 });
  return far;
}

function makeHome(dataDir: string, home: string, account: Account): void {
  mkdirSync(home, { recursive: true, mode: 0o711 });
  if (!account.foreign) return;
  if (home === join(dataDir, 'postgres')) letThrough(dataDir);
  letThrough(home);
  if (!canEnter(home, account))
    throw new Error(
      `User ${account.name ?? account.uid}, who runs the database, does not reach ${home} any more: chmod o+x the closed folder above it.`,
    );
}

/** The cluster of a data folder; decides and records where it lies the first time. The caller holds the folder's lock. */
export function placeCluster(dataDir: string, account: Account, shelter: string): Cluster {
  const before = readRecorded(dataDir);
  const home = before ? resolve(dataDir, before.home) : chooseHome(dataDir, account, shelter);
  if (before?.made && !existsSync(join(home, 'data', 'PG_VERSION')))
    throw new Error(
      `The database of ${dataDir} was in ${home} and is gone: bring it back, or empty the data folder to start anew.`,
    );
  makeHome(dataDir, home, account);
  const socketDir = chooseSocketDir(home, before ? resolve(dataDir, before.socketDir) : undefined, account);
  privateFolder(socketDir, account);
  const key = join(dataDir, 'postgres.key');
  if (!existsSync(key)) writeWhole(key, `${randomBytes(24).toString('base64url')}\n`);
  const recorded: Recorded = {
    home: asRecorded(dataDir, home),
    socketDir: asRecorded(dataDir, socketDir),
    made: before?.made ?? false,
  };
  record(dataDir, before, recorded);
  return locate(dataDir, recorded);
}

function record(dataDir: string, before: Recorded | null, now: Recorded): void {
  if (JSON.stringify(before) !== JSON.stringify(now))
    writeWhole(join(dataDir, 'postgres.json'), `${JSON.stringify(now)}\n`);
}

function run(command: readonly string[], account: Account): Promise<{ code: number | null; output: string }> {
  const [program = '', ...args] = command;
  return new Promise((done, fail) => {
    const identity = account.foreign ? { uid: account.uid, gid: account.gid } : {};
    const child = spawn(program, args, {
      ...identity,
      cwd: '/',
      env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) =>
      fail(
        existsSync(program)
          ? new Error(`${program} does not run on this system (it needs glibc): set DATABASE_URL.`, { cause: error })
          : error,
      ),
    );
    child.on('close', (code) => done({ code, output }));
  });
}

/** initdb needs a name for its user; a container's bare uid has none, but may borrow one in a namespace of its own. */
function initCommand(account: Account): string[] {
  if (account.name !== null) return [];
  const borrowed = findUnshare(65_534);
  if (borrowed) return borrowed;
  throw new Error(
    `User id ${account.uid} has no entry in /etc/passwd, which PostgreSQL's initdb needs: add one, or set DATABASE_URL.`,
  );
}

/**
 * Makes the cluster if there is none: UTF-8, the built-in C.UTF-8 collation (the same order on every machine), scram only.
 * Refuses a cluster of another major version.
 */
export async function ensureInitialised(
  cluster: Cluster,
  binaries: Binaries,
  account: Account,
): Promise<'made' | 'found'> {
  const version = join(cluster.data, 'PG_VERSION');
  if (existsSync(version)) {
    const major = Number.parseInt(readFileSync(version, 'utf8'), 10);
    if (major !== binaries.major)
      throw new Error(
        `The database in ${cluster.data} is of PostgreSQL ${major}, the programs are ${binaries.version}: install the matching release.`,
      );
    return 'found';
  }
  const nursery = join(cluster.home, 'nursery');
  rmSync(nursery, { recursive: true, force: true });
  privateFolder(nursery, account);
  const passwordFile = join(nursery, 'password');
  writeFileSync(passwordFile, cluster.password, { mode: 0o600 });
  if (account.foreign) chownSync(passwordFile, account.uid, account.gid);
  const { code, output } = await run(
    [
      ...initCommand(account),
      binaries.initdb,
      `--pgdata=${join(nursery, 'data')}`,
      `--username=${ownerName}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--no-instructions',
    ],
    account,
  );
  if (code !== 0) throw new Error(`initdb failed (${code ?? 'killed'}):\n${output.trim().slice(-2_000)}`);
  renameSync(join(nursery, 'data'), cluster.data);
  syncFolder(cluster.home);
  rmSync(nursery, { recursive: true, force: true });
  const before = readRecorded(cluster.dataDir);
  if (before) record(cluster.dataDir, before, { ...before, made: true });
  return 'made';
}
