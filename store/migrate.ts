/**
 * Migrations: brings a database from whatever release to this one. Forward only, files in order, each in its own
 * transaction, each recorded with the hash of its text; a file that was applied must never change.
 *
 * Any number of processes may call it at once: one migrates under the database's advisory lock, the others wait and find
 * nothing to do. A database that is ahead of this release (the next one already migrated it) is left alone: migrations keep
 * the previous release working (docs/migrations.md).
 *
 * Called at every start by server/main.ts, by `syncstate migrate`, and by the test databases' template.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { ensureAppRole, MigrationError } from './roles.ts';

export { appUrl, MigrationError } from './roles.ts';

const oldestVersion = 15;
/** "syncstate" folded into a bigint; any constant would do, as long as no other program in the database takes it. */
const lockKey = '7814331702115230053';

export interface Migration {
  name: string;
  sql: string;
  sha256: string;
}

/** The migrations of a folder in order. Throws MigrationError when a name or number is wrong. */
export function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const numbers = new Set<string>();
  return names.map((name) => {
    const number = /^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1];
    if (number === undefined)
      throw new MigrationError('migrate.files', `${name}: a migration is named NNNN_words.sql.`);
    if (numbers.has(number)) throw new MigrationError('migrate.files', `${name}: number ${number} is taken twice.`);
    numbers.add(number);
    const sql = readFileSync(join(folder, name), 'utf8');
    return { name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
  });
}

interface AppliedRow {
  name: string;
  sha256: string;
}

/**
 * What is left to apply. Pure.
 * Throws MigrationError when an applied file has changed, or when an unapplied one comes before an applied one (it would
 * meet a schema its author never saw).
 */
export function pendingMigrations(files: readonly Migration[], applied: readonly AppliedRow[]): Migration[] {
  const hashes = new Map(applied.map(({ name, sha256 }) => [name, sha256]));
  const last = [...hashes.keys()].sort().at(-1) ?? '';
  const pending: Migration[] = [];
  for (const file of files) {
    const hash = hashes.get(file.name);
    if (hash === undefined) {
      if (file.name < last)
        throw new MigrationError(
          'migrate.order',
          `${file.name} was not applied but ${last} was: give it the next number.`,
        );
      pending.push(file);
    } else if (hash !== file.sha256) {
      throw new MigrationError(
        'migrate.changed',
        `${file.name} has changed since it was applied: restore it and write a new migration.`,
        { applied: hash, file: file.sha256 },
      );
    }
  }
  return pending;
}

async function checkVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: number; text: string }>(
    `select current_setting('server_version_num')::int as number, current_setting('server_version') as text`,
  );
  const version = rows[0];
  if (!version || version.number < oldestVersion * 10_000)
    throw new MigrationError(
      'migrate.version',
      `SyncState needs PostgreSQL ${oldestVersion} or later; this is ${version?.text ?? 'unknown'}.`,
    );
}

async function applyOne(client: pg.Client, { name, sql, sha256 }: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(sql);
    await client.query('insert into schema_migrations (name, sha256) values ($1, $2)', [name, sha256]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw new MigrationError(
      'migrate.failed',
      `${name} failed: ${error instanceof Error ? error.message : String(error)}`,
      { name },
      error,
    );
  }
}

async function applyPending(client: pg.Client, folder: string): Promise<string[]> {
  await client.query(`create table if not exists schema_migrations (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now())`);
  const { rows } = await client.query<AppliedRow>('select name, sha256 from schema_migrations');
  const pending = pendingMigrations(readMigrations(folder), rows);
  for (const migration of pending) await applyOne(client, migration);
  return pending.map(({ name }) => name);
}

/**
 * Makes the app role if needed and applies what is pending.
 * @returns names of the files this call applied, in order; [] when there was nothing to do or another process did it
 * @throws MigrationError `migrate.*`, whose message says what to do; pg's error when the database cannot be reached
 */
export async function migrate(
  ownerUrl: string,
  folder = join(import.meta.dirname, 'migrations'),
): Promise<{ applied: string[] }> {
  const client = new pg.Client({ connectionString: ownerUrl, application_name: 'syncstate migrate' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await checkVersion(client);
    await client.query('select pg_advisory_lock($1)', [lockKey]);
    await ensureAppRole(client, ownerUrl);
    return { applied: await applyPending(client, folder) };
  } finally {
    // The lock goes with the connection.
    await client.end().catch(() => undefined);
  }
}
