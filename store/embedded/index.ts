/**
 * The bundled PostgreSQL: `npm start` without a DATABASE_URL.
 *
 *   startEmbedded    the server's way: takes the data folder's lock, makes the cluster the first time, starts or adopts the
 *                    postmaster, watches it and starts it again when it dies, stops it in the end
 *   attachEmbedded   a command's way beside a running server: the URL if one answers, else null; changes nothing
 *
 * Everything commits with fsync on; the only way in is a socket in a private folder with a scram password. Called by
 * server/main.ts and the CLI. The traps and their answers stand with the code: account.ts, binaries.ts, cluster.ts,
 * postmaster.ts, lock.ts, sharing.ts.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { StoreError } from '#core/errors.ts';
import { chooseAccount } from './account.ts';
import type { BinaryPackage } from './binaries.ts';
import { findPackage, findSetpriv, provideBinaries } from './binaries.ts';
import { defaultShelter, ensureInitialised, knownCluster, ownerUrl, placeCluster, socketName } from './cluster.ts';
import type { DataDirInUse, DataDirLock, LockHolder } from './lock.ts';
import { lockDataDir } from './lock.ts';
import type { Launch, Postmaster } from './postmaster.ts';
import { endPostmaster, processAlive, runPostmaster } from './postmaster.ts';

export interface EmbeddedOptions {
  dataDir: string;
  log: (message: string) => void;
  /** The folder's lock when the caller already holds it; it stays the caller's. Else it is taken here, until `stop`. */
  lock?: DataDirLock;
  /** What others are told when the lock is taken here. */
  as?: LockHolder;
  /** PostgreSQL settings on top of `serverSettings`; for test runs. */
  settings?: Readonly<Record<string, string>>;
  /** Where PostgreSQL's programs lie; default: the installed package. */
  programs?: BinaryPackage;
  /** Where a cluster and programs go that the database's user cannot reach in their own place. Default /var/lib/syncstate. */
  shelter?: string;
  /** False leaves PostgreSQL running when this process is killed, for the next start to adopt (as on macOS). Default true. */
  dieWithParent?: boolean;
}

export interface EmbeddedPostgres {
  /** Of the owner, database `syncstate`; holds the password. */
  readonly url: string;
  /** The postmaster's process id now (it changes when it had to be started again). */
  readonly pid: number;
  /** True when the postmaster of a killed predecessor was taken over. */
  readonly adopted: boolean;
  /** Ends PostgreSQL: cleanly within 3 s, else at once (nothing committed is lost). A second call waits for the first. */
  stop(): Promise<void>;
}

/** The data folder has a living owner. `message` names its pid and the folder. */
export class DataDirInUseError extends Error {
  readonly inUse: DataDirInUse;
  constructor(inUse: DataDirInUse) {
    super(inUse.message);
    this.name = 'DataDirInUseError';
    this.inUse = inUse;
  }
}

const watchMs = 1_000;
const restartsInARow = 5;
const calmMs = 60_000;

async function ensureDatabase(url: string, maintenanceUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === '3D000')) throw error;
    const maker = new pg.Client({ connectionString: maintenanceUrl });
    await maker.connect();
    await maker.query('create database syncstate');
    await maker.end();
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Calls back once when the postmaster is gone; an adopted one is looked at every second. */
function onDeath(postmaster: Postmaster, gone: () => void): () => void {
  if (postmaster.child) {
    postmaster.child.once('exit', gone);
    return () => postmaster.child?.removeListener('exit', gone);
  }
  const timer = setInterval(() => {
    if (processAlive(postmaster.pid)) return;
    clearInterval(timer);
    gone();
  }, watchMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Keeps a postmaster running until told to stop; gives up after five deaths without a calm minute between them. */
class Supervisor {
  #postmaster: Postmaster;
  #unwatch: () => void;
  #stopping: Promise<void> | null = null;
  #restarting: Promise<void> = Promise.resolve();
  #deaths: number[] = [];
  readonly #launch: Launch;

  constructor(launch: Launch, postmaster: Postmaster) {
    this.#launch = launch;
    this.#postmaster = postmaster;
    this.#unwatch = this.#watch();
  }

  get postmaster(): Postmaster {
    return this.#postmaster;
  }

  #watch(): () => void {
    return onDeath(this.#postmaster, () => {
      if (!this.#stopping) this.#restarting = this.#restart();
    });
  }

  async #restart(): Promise<void> {
    while (!this.#stopping) {
      const now = performance.now();
      this.#deaths = [...this.#deaths.filter((at) => now - at < calmMs), now];
      if (this.#deaths.length > restartsInARow) {
        this.#launch.log(`PostgreSQL died ${restartsInARow} times within a minute: giving up`);
        return;
      }
      this.#launch.log(`PostgreSQL (process ${this.#postmaster.pid}) died: starting it again`);
      try {
        this.#postmaster = await runPostmaster(this.#launch);
        this.#unwatch = this.#watch();
        return;
      } catch (error) {
        this.#launch.log(error instanceof Error ? error.message : String(error));
      }
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    this.#unwatch();
    await this.#restarting;
    this.#unwatch();
    await endPostmaster(this.#postmaster.pid, 3_000);
  }
}

/**
 * @throws DataDirInUseError when another process holds the folder
 * @throws StoreError store.unavailable with PostgreSQL's or the file system's own words when it cannot be started
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const lock = options.lock ?? lockDataDir(options.dataDir, options.as);
  if (lock.kind === 'in_use') throw new DataDirInUseError(lock);
  const releaseOwn = () => (options.lock ? undefined : lock.release());
  try {
    const { supervisor, url, adopted } = await start(lock.folder, options);
    return {
      url,
      adopted,
      get pid() {
        return supervisor.postmaster.pid;
      },
      stop: () => supervisor.stop().finally(releaseOwn),
    };
  } catch (error) {
    releaseOwn();
    throw new StoreError(
      'store.unavailable',
      error instanceof Error ? error.message : String(error),
      { dataDir: lock.folder },
      error,
    );
  }
}

async function start(
  dataDir: string,
  options: EmbeddedOptions,
): Promise<{ supervisor: Supervisor; url: string; adopted: boolean }> {
  const { log, settings = {}, programs = findPackage(), shelter = defaultShelter, dieWithParent = true } = options;
  const account = chooseAccount(join(knownCluster(dataDir)?.home ?? join(dataDir, 'postgres'), 'data'));
  const cluster = placeCluster(dataDir, account, shelter);
  const binaries = provideBinaries(account, [shelter, cluster.home], programs);
  const made = await ensureInitialised(cluster, binaries, account);
  if (made === 'made') log(`made a PostgreSQL ${binaries.version} cluster in ${cluster.data}`);
  const launch: Launch = { cluster, binaries, account, setpriv: dieWithParent ? findSetpriv() : null, settings, log };
  const postmaster = await runPostmaster(launch);
  const supervisor = new Supervisor(launch, postmaster);
  const url = ownerUrl(cluster);
  try {
    await ensureDatabase(url, ownerUrl(cluster, 'postgres'));
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
  return { supervisor, url, adopted: postmaster.adopted };
}

/** The owner's URL of the database that runs on this data folder; null when none answers. Starts, locks and writes nothing. */
export async function attachEmbedded(dataDir: string): Promise<{ url: string } | null> {
  const cluster = knownCluster(resolve(dataDir));
  if (!cluster || !existsSync(join(cluster.socketDir, socketName))) return null;
  const url = ownerUrl(cluster);
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return { url };
  } catch {
    return null;
  } finally {
    await client.end().catch(() => undefined);
  }
}
