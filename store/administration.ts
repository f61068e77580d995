/**
 * What only the owner's login can answer: questions about the installation as a whole, before an organization is chosen.
 *
 * Row security is enabled and not forced, so the owner of the tables sees every organization; the server never uses this
 * login after migrating. Called by the command line, which has DATABASE_URL (or the data folder) and so is trusted with it.
 */

import { join } from 'node:path';
import pg from 'pg';
import { pendingMigrations, readMigrations } from './migrate.ts';

export interface Organization {
  id: string;
  slug: string;
  name: string;
  createdAt: string;
}

export interface Installation {
  /** "18.4", "15.8 (Debian …)" */
  serverVersion: string;
  /** The database's clock, Unix ms. */
  now: number;
  /** Names of migration files, in order. */
  applied: string[];
  pending: string[];
  /** By creation; empty while `pending` names the first migration. */
  organizations: Organization[];
}

/**
 * One connection, a few reads.
 * @throws MigrationError when an applied migration's file has changed; pg's error when the database cannot be reached
 */
export async function readInstallation(
  ownerUrl: string,
  folder = join(import.meta.dirname, 'migrations'),
): Promise<Installation> {
  const client = new pg.Client({
    connectionString: ownerUrl,
    application_name: 'syncstate command',
    connectionTimeoutMillis: 10_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows: facts } = await client.query<{ version: string; now: Date; migrated: boolean; known: boolean }>(
      `select current_setting('server_version') as version, clock_timestamp() as now,
         to_regclass('schema_migrations') is not null as migrated, to_regclass('organizations') is not null as known`,
    );
    const fact = facts[0] ?? { version: 'unknown', now: new Date(0), migrated: false, known: false };
    const applied = fact.migrated
      ? (
          await client.query<{ name: string; sha256: string }>(
            'select name, sha256 from schema_migrations order by name',
          )
        ).rows
      : [];
    const organizations = fact.known
      ? (
          await client.query<Organization>(
            `select org_id as id, slug, name, to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt"
             from organizations order by created_at, slug`,
          )
        ).rows
      : [];
    return {
      serverVersion: fact.version,
      now: fact.now.getTime(),
      applied: applied.map(({ name }) => name),
      pending: pendingMigrations(readMigrations(folder), applied).map(({ name }) => name),
      organizations,
    };
  } finally {
    await client.end().catch(() => undefined);
  }
}
