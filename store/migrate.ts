/**
 * Migrations: forward only, each file in its own transaction, recorded with its sha256.
 * Safe from any number of processes at once: the first takes an advisory lock, the others wait and find nothing to do.
 */
import { createHash, createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

const folder = join(import.meta.dirname, 'migrations');
const lockKey = 7_311_205_119;

/** The app role's login on the same database, derived from the owner's, so that every process with the same owner URL agrees. */
export function appUrl(ownerUrl: string): string {
  const url = new URL(ownerUrl);
  url.username = 'syncstate_app';
  url.password = appPassword(ownerUrl);
  return url.toString();
}

function appPassword(ownerUrl: string): string {
  return createHmac('sha256', decodeURIComponent(new URL(ownerUrl).password)).update('syncstate_app role password').digest('base64url');
}

export async function migrate(ownerUrl: string): Promise<{ applied: string[] }> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  const applied: string[] = [];
  try {
    const { rows: version } = await client.query<{ v: number }>(`select current_setting('server_version_num')::int as v`);
    if ((version[0]?.v ?? 0) < 150_000) throw new Error('SyncState needs PostgreSQL 15 or newer.');
    await client.query('select pg_advisory_lock($1)', [lockKey]);
    await ensureAppRole(client, ownerUrl);
    await client.query('create table if not exists schema_migrations (name text primary key, sha256 text not null, applied_at timestamptz not null default now())');
    const { rows } = await client.query<{ name: string; sha256: string }>('select name, sha256 from schema_migrations');
    const known = new Map(rows.map(({ name, sha256 }) => [name, sha256]));
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.sql')).sort()) {
      const sql = readFileSync(join(folder, name), 'utf8');
      const sha256 = createHash('sha256').update(sql).digest('hex');
      const before = known.get(name);
      if (before === sha256) continue;
      if (before !== undefined) throw new Error(`Migration ${name} was applied with other content. Migrations are never edited: add a new one.`);
      await client.query('begin');
      try {
        await client.query(sql);
        await client.query('insert into schema_migrations (name, sha256) values ($1, $2)', [name, sha256]);
        await client.query('commit');
      } catch (cause) {
        await client.query('rollback');
        throw new Error(`Migration ${name} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
      applied.push(name);
    }
    return { applied };
  } finally {
    await client.end();
  }
}

async function ensureAppRole(client: pg.Client, ownerUrl: string): Promise<void> {
  const password = client.escapeLiteral(appPassword(ownerUrl));
  for (const statement of [
    `do $do$ begin create role syncstate_app login nosuperuser nobypassrls nocreatedb nocreaterole; exception when duplicate_object or unique_violation then null; end $do$`,
    `do $do$ begin alter role syncstate_app password ${password}; exception when others then if sqlerrm not like '%concurrently updated%' then raise; end if; end $do$`,
    `grant usage on schema public to syncstate_app`,
  ])
    await client.query(statement);
}
