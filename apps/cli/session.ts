/**
 * How a command reaches the database, beside a running server or without one:
 *
 *   url       DATABASE_URL is set: that one
 *   attached  the data folder's embedded database runs (its server does): through its socket, nothing locked or written
 *   started   nothing runs on the folder: the embedded database is started for this command and stopped after it
 *
 * A server that is about to start or stop holds the folder for a moment without a database that answers: waited for.
 * Everything else (store, organization, the server's wiring) is opened on first use, so that small commands stay quick.
 */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Clock, Ids } from '#core/effects.ts';
import { uuidv7 } from '#core/uuid.ts';
import { type Config, readConfig } from '#server/config.ts';
import type { Deps } from '#server/deps.ts';
import { type Installation, type Organization, readInstallation } from '#store/administration.ts';
import { attachEmbedded, DataDirInUseError, startEmbedded } from '#store/embedded/index.ts';
import { shareEmbedded, whenUnshared } from '#store/embedded/sharing.ts';
import { appUrl, migrate } from '#store/migrate.ts';
import { classifyFault, createStore, type Store } from '#store/tx.ts';
import { CommandError, type Output, usage } from './output.ts';

/** Options every command takes. */
export interface GlobalOptions {
  json?: boolean;
  org?: string;
  dataDir?: string;
}

export type Reached = 'url' | 'attached' | 'started';

export interface Database {
  ownerUrl: string;
  reached: Reached;
  close(): Promise<void>;
}

export interface Session {
  readonly config: Config;
  readonly dataDir: string;
  readonly reached: Reached;
  readonly ownerUrl: string;
  readonly installation: Installation;
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  /** The organization named by --org, or the only one. */
  organization(): Organization;
  /** The server's own wiring on this database: connectors, flows, secrets. Nothing of it runs by itself. */
  deps(): Promise<Deps>;
}

export const clock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
};
export const ids: Ids = { uuid: () => uuidv7(Date.now(), randomBytes(10)) };
const random = { next: () => Math.random() };

/** What a person did from a terminal, in movements, audit and timelines. */
export const actor = 'cli';

const patienceMs = 10_000;

/** The server's own configuration; a command is quiet unless LOG_LEVEL says otherwise. */
export function configOf(options: GlobalOptions): Config {
  const given = process.env;
  return readConfig({
    ...given,
    ...(options.dataDir === undefined ? {} : { SYNCSTATE_DATA_DIR: options.dataDir }),
    LOG_LEVEL: given.LOG_LEVEL ?? 'fatal',
  });
}

export async function openDatabase(config: Config, note: (line: string) => void): Promise<Database> {
  if (config.databaseUrl !== null)
    return { ownerUrl: config.databaseUrl, reached: 'url', close: async () => undefined };
  const dataDir = resolve(config.dataDir);
  const until = performance.now() + patienceMs;
  for (;;) {
    const attached = await attach(dataDir);
    if (attached) return attached;
    try {
      const embedded = await startEmbedded({ dataDir, as: 'command', log: () => undefined });
      const close = () =>
        whenUnshared(embedded.url, () => embedded.stop(), {
          patienceMs,
          waiting: () => note('Another command still uses the database that this one started: waiting for it to end.'),
        });
      return { ownerUrl: embedded.url, reached: 'started', close };
    } catch (error) {
      if (!(error instanceof DataDirInUseError)) throw error;
      if (performance.now() > until)
        throw new CommandError(
          'cli.no_database',
          `${error.message} No embedded database answers there. If that server uses a database of its own, set DATABASE_URL as it has.`,
        );
      await clock.sleep(200);
    }
  }
}

/** The folder's running database, kept running for this command; null when there is none, or it is about to stop. */
async function attach(dataDir: string): Promise<Database | null> {
  const attached = await attachEmbedded(dataDir);
  if (!attached) return null;
  const letGo = await shareEmbedded(attached.url).catch((error) => {
    if (classifyFault(error) === 'connection') return null;
    throw error;
  });
  return letGo && { ownerUrl: attached.url, reached: 'attached', close: letGo };
}

/** Opens the database and looks at it; again when the server that it belongs to ended in between. */
async function openInstalled(
  config: Config,
  output: Output,
): Promise<{ database: Database; installation: Installation }> {
  for (let tries = 1; ; tries += 1) {
    const database = await openDatabase(config, output.note);
    try {
      return { database, installation: await openInstallation(database, output) };
    } catch (error) {
      await database.close();
      const gone = classifyFault(error) === 'connection';
      if (database.reached !== 'attached' || !gone || tries >= 5) throw error;
      await clock.sleep(200);
    }
  }
}

/** Opens, does the work, and always closes what was opened. */
export async function withSession<T>(
  options: GlobalOptions,
  output: Output,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const config = configOf(options);
  const dataDir = resolve(config.dataDir);
  const { database, installation } = await openInstalled(config, output);
  const closing: (() => Promise<void>)[] = [() => database.close()];
  try {
    const store = createStore(appUrl(database.ownerUrl), { clock, random, max: 4 });
    closing.push(() => store.end());
    let deps: Promise<Deps> | null = null;
    const wire = async (): Promise<Deps> => {
      const { createDeps } = await import('#server/deps.ts');
      const made = await createDeps({
        config,
        dataDir,
        appUrl: appUrl(database.ownerUrl),
        soleProcess: database.reached === 'started',
      });
      closing.push(() => made.end());
      return made;
    };
    return await work({
      config,
      dataDir,
      reached: database.reached,
      ownerUrl: database.ownerUrl,
      installation,
      store,
      clock,
      ids,
      organization: () => chooseOrganization(installation.organizations, options.org),
      deps() {
        deps ??= wire();
        return deps;
      },
    });
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** A database nobody else uses is brought to this release; one that others use is not changed behind their backs. */
async function openInstallation(database: Database, output: Output): Promise<Installation> {
  const found = await readInstallation(database.ownerUrl);
  if (found.pending.length === 0) return found;
  if (database.reached !== 'started')
    throw new CommandError(
      'cli.not_migrated',
      `The database lacks ${found.pending.length} migration(s) of this release (first: ${found.pending[0]}). Run: syncstate migrate`,
    );
  if (found.applied.length > 0) output.note(`Bringing the database to this release: ${found.pending.join(', ')}`);
  await migrate(database.ownerUrl);
  return readInstallation(database.ownerUrl);
}

/** By slug or id; the only one when none is named. */
export function chooseOrganization(organizations: readonly Organization[], named: string | undefined): Organization {
  const list = organizations.map(({ slug }) => slug).join(', ');
  if (named !== undefined) {
    const found = organizations.find(({ id, slug }) => slug === named || id === named.toLowerCase());
    if (found) return found;
    throw new CommandError(
      'cli.not_found',
      `There is no organization "${named}". ${list === '' ? 'None exists yet.' : `There are: ${list}`}`,
    );
  }
  const [only, second] = organizations;
  if (!only)
    throw new CommandError(
      'cli.no_organization',
      'There is no organization yet. Make one: syncstate org create "My shop"',
    );
  if (second) throw usage(`There are several organizations: name one with --org. There are: ${list}`);
  return only;
}
