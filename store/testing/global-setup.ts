/**
 * One PostgreSQL for a vitest run, started when the first test asks for it: runs without database tests pay nothing.
 *
 * The main process keeps a small HTTP server on loopback; `testDatabase()` in the workers asks it for a database. It starts
 * the embedded PostgreSQL in a temporary folder (or uses SYNCSTATE_TEST_DATABASE_URL: the owner URL of any PostgreSQL >= 15,
 * whose role may CREATEDB), migrates one template, and makes every test database a copy of it.
 *
 * A killed run leaves nothing for long: the embedded server dies with its parent and its folder is removed by the next run;
 * databases on a given server carry the run's number, whose advisory lock only a living run holds.
 */
import { randomInt } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { startEmbedded } from '../embedded/index.ts';
import { lockDataDir } from '../embedded/lock.ts';
import { migrate } from '../migrate.ts';
import { scratchFolder, scratchRoot } from './scratch.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Base URL of the run's database maker. */
    testDatabases: string;
  }
}

const folderPrefix = 'syncstate-test-';
const databasePrefix = 'syncstate_test_';

interface TestCluster {
  /** Owner URL of a database that is always there. */
  url: string;
  stop(): Promise<void>;
}

/** Removes folders of runs that were killed; one whose lock is held belongs to a living run, a new one may be about to. */
function sweepFolders(scratch: string): void {
  for (const name of readdirSync(scratch)) {
    if (!name.startsWith(folderPrefix)) continue;
    try {
      if (Date.now() - statSync(join(scratch, name)).mtimeMs < 60_000) continue;
      const lock = lockDataDir(join(scratch, name));
      if (lock.kind === 'in_use') continue;
      lock.release();
      rmSync(join(scratch, name), { recursive: true, force: true });
    } catch {
      // Another user's folder: theirs to remove.
    }
  }
}

async function ownCluster(): Promise<TestCluster> {
  sweepFolders(scratchRoot());
  const dataDir = scratchFolder(folderPrefix);
  // Nothing outlives the run, so nothing waits for the disk; visibility and locking are the same. store/embedded tests the rest.
  const settings = {
    fsync: 'off',
    full_page_writes: 'off',
    wal_level: 'minimal',
    max_wal_senders: '0',
    max_connections: '200',
  };
  const embedded = await startEmbedded({ dataDir, log: () => undefined, settings });
  return {
    url: embedded.url,
    async stop() {
      await embedded.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const withDatabase = (url: string, name: string): string => {
  const parsed = new URL(url);
  parsed.pathname = `/${name}`;
  return parsed.toString();
};

/** Drops databases of runs whose lock nobody holds any more. */
async function sweepDatabases(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    'select datname as name from pg_database where datname like $1',
    [`${databasePrefix.replaceAll('_', '\\_')}%`],
  );
  for (const { name } of rows) {
    const run = name.slice(databasePrefix.length).split('_')[0];
    const { rows: free } = await client.query<{ free: boolean }>('select pg_try_advisory_lock($1::bigint) as free', [
      run,
    ]);
    if (!free[0]?.free) continue;
    await client.query(`drop database if exists "${name}" with (force)`);
    await client.query('select pg_advisory_unlock($1::bigint)', [run]);
  }
}

class DatabaseMaker {
  #cluster: Promise<{ cluster: TestCluster; client: pg.Client; template: string }> | null = null;
  #made = 0;
  readonly #run = randomInt(1, 2 ** 40);
  readonly #given: string | undefined;

  constructor(given: string | undefined) {
    this.#given = given;
  }

  #ready() {
    this.#cluster ??= this.#start();
    return this.#cluster;
  }

  async #start() {
    const cluster = this.#given ? { url: this.#given, stop: async () => undefined } : await ownCluster();
    const client = new pg.Client({ connectionString: cluster.url, application_name: 'syncstate tests' });
    client.on('error', () => undefined);
    await client.connect();
    if (this.#given) await sweepDatabases(client);
    await client.query('select pg_advisory_lock($1::bigint)', [this.#run]);
    const template = `${databasePrefix}${this.#run}_template`;
    await client.query(`create database "${template}"`);
    await migrate(withDatabase(cluster.url, template));
    return { cluster, client, template };
  }

  /** A copy of the migrated template, or an empty database. */
  async create(empty: boolean): Promise<string> {
    const { cluster, client, template } = await this.#ready();
    this.#made += 1;
    const name = `${databasePrefix}${this.#run}_${this.#made}`;
    // Copying files needs two checkpoints: nothing without fsync, slow on a server that has it.
    const strategy = this.#given ? 'wal_log' : 'file_copy';
    await client.query(
      `create database "${name}" template ${empty ? 'template1' : `"${template}"`} strategy ${strategy}`,
    );
    return withDatabase(cluster.url, name);
  }

  async drop(name: string): Promise<void> {
    if (!name.startsWith(`${databasePrefix}${this.#run}_`)) throw new Error(`not a database of this run: ${name}`);
    const { client } = await this.#ready();
    await client.query(`drop database if exists "${name}" with (force)`);
  }

  async stop(): Promise<void> {
    if (!this.#cluster) return;
    const { cluster, client } = await this.#cluster;
    if (this.#given) {
      const { rows } = await client.query<{ name: string }>(
        'select datname as name from pg_database where datname like $1',
        [`${databasePrefix.replaceAll('_', '\\_')}${this.#run}\\_%`],
      );
      for (const { name } of rows) await client.query(`drop database if exists "${name}" with (force)`);
    }
    await client.end();
    await cluster.stop();
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const maker = new DatabaseMaker(process.env.SYNCSTATE_TEST_DATABASE_URL || undefined);
  const server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? '').slice(1));
    const answer = request.method === 'DELETE' ? maker.drop(name).then(() => '') : maker.create(name === 'empty');
    answer.then(
      (text) => response.end(text),
      (error: unknown) => {
        response.statusCode = 500;
        response.end(error instanceof Error ? error.message : String(error));
      },
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  project.provide('testDatabases', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.closeAllConnections();
    server.close();
    await maker.stop();
  };
}
