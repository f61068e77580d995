/**
 * The roles of the server process.
 *
 *   start    everything in one process (default): embedded database unless DATABASE_URL, demo, API, intake, publisher, runs
 *   server   API and intake only          ┐ any number of each against one PostgreSQL;
 *   worker   intake, publisher, runs      ┘ nothing that must be agreed on lives in process memory
 *
 * Order of a start: data folder's lock → database → migrations → demo simulators → listening → right numbers → /ready.
 * A stop (SIGTERM, SIGINT) ends in the reverse order within 5 s; a kill at any instruction loses nothing.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startEmbedded } from '#store/embedded/index.ts';
import { lockDataDirSoon } from '#store/embedded/lock.ts';
import { appUrl, migrate } from '#store/migrate.ts';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';

export type Role = 'start' | 'server' | 'worker';

export interface Running {
  /** Where the API listens; null for a worker. */
  url: string | null;
  /** The page, signed in as the demo; null without the demo. */
  openLink: string | null;
  deps: Deps;
  stop(): Promise<void>;
}

/** The start was refused; `message` says why and what to do. */
export class StartRefused extends Error {}

type Api = Awaited<ReturnType<typeof import('./api/app.ts').createApi>>;
type Undo = () => Promise<void> | void;

export async function run(role: Role, config: Config): Promise<Running> {
  const undo: Undo[] = [];
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await begin(role, config, undo, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function begin(role: Role, config: Config, undo: Undo[], stop: () => Promise<void>): Promise<Running> {
  const dataDir = resolve(config.dataDir);
  const database = openDatabase(role, config, dataDir, undo).then(async (ownerUrl) => {
    await migrate(ownerUrl);
    return ownerUrl;
  });
  // The database is made and started in processes of its own: meanwhile the rest of our code loads. It is waited for first, so
  // that a refused start is told as such and nothing is left running.
  const code = Promise.all([import('./api/app.ts'), import('./deps.ts')]);
  code.catch(() => undefined);
  const ownerUrl = await database;
  const [{ createApi }, { createDeps }] = await code;
  const deps = await createDeps({
    config,
    dataDir,
    appUrl: appUrl(ownerUrl),
    soleProcess: role === 'start' && config.databaseUrl === null,
  });
  undo.push(() => deps.end());

  let url: string | null = null;
  if (role !== 'worker') {
    const api = await createApi(deps.api);
    undo.push(async () => {
      deps.announceStop();
      await api.close();
    });
    await listen(api, config);
    const address = api.server.address();
    const port = typeof address === 'object' && address !== null ? address.port : config.port;
    const host = ['0.0.0.0', '::'].includes(config.host) ? '127.0.0.1' : config.host;
    url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  const demo =
    config.demo && role === 'start' && url !== null
      ? await (await import('./demo.ts')).openDemo(deps, dataDir, url)
      : null;
  if (demo) undo.push(() => demo.close());
  deps.intake.start();
  undo.push(() => deps.intake.stop());
  // In every process: one that answers calls notices that no worker works.
  deps.alarms.start();
  undo.push(() => deps.alarms.stop());
  if (role !== 'server') {
    deps.publisher.start();
    undo.push(() => deps.publisher.stop());
    deps.runs.start();
    undo.push(() => deps.runs.stop());
    deps.pruner.start();
    undo.push(() => deps.pruner.stop());
  }
  if (demo) await demo.settle();
  deps.ready();
  if (demo) writeAtomically(join(dataDir, 'demo.json'), `${JSON.stringify(demo.describe(), null, 2)}\n`);
  return { url, openLink: demo ? `${url}/#key=${demo.describe().apiKey}` : null, deps, stop };
}

async function openDatabase(role: Role, config: Config, dataDir: string, undo: Undo[]): Promise<string> {
  mkdirSync(dataDir, { recursive: true });
  if (role === 'start') {
    const lock = await lockDataDirSoon(dataDir);
    if ('message' in lock) throw new StartRefused(lock.message);
    undo.push(() => lock.release());
    rmSync(join(dataDir, 'demo.json'), { force: true });
    if (config.databaseUrl !== null) return config.databaseUrl;
    const embedded = await startEmbedded({ dataDir, lock, log: (message) => process.stderr.write(`${message}\n`) });
    undo.push(() => embedded.stop());
    return embedded.url;
  }
  if (config.databaseUrl === null)
    throw new StartRefused(
      `"syncstate ${role}" needs DATABASE_URL: the embedded database belongs to "syncstate start".`,
    );
  return config.databaseUrl;
}

async function listen(api: Api, config: Config): Promise<void> {
  try {
    await api.listen({ port: config.port, host: config.host });
  } catch (error) {
    if ((error as { code?: string }).code !== 'EADDRINUSE') throw error;
    throw new StartRefused(
      `Port ${config.port} on ${config.host} is taken. Stop what uses it, or start with another: PORT=${config.port + 1} npm start`,
    );
  }
}

function writeAtomically(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
