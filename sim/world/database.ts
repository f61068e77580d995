/**
 * Databases of the world: a real PostgreSQL in which time and chance are the seed's, and no production code knows it.
 *
 * The template has its own `now()`, `clock_timestamp()`, `gen_random_uuid()` … in schema public, and a search path with
 * public before pg_catalog, set before it is migrated: column defaults and function bodies then bind to these.
 * Functions that fix their own search path are given the world's. `bound.world.test.ts` proves that nothing is left over.
 *
 *   world.now   setting of each transaction, Unix ms: what every clock of the database says during it
 *   world_draws sequence: the n-th draw of chance is a hash of n, so equal runs draw alike
 *
 * A seed gets a copy of the template (25 ms in memory), not an organization in a shared database: rows of other seeds
 * would change what plans and unordered reads do, and their due rows would be found by the system scope. Autovacuum is
 * off: statistics that appear at some moment change plans, and with them the order of rows.
 */
import pg from 'pg';
import { migrate } from '#store/migrate.ts';
import { appUrl } from '#store/roles.ts';

export interface WorldDatabases {
  /** A fresh, migrated database for one run of a seed. */
  make(): Promise<WorldDatabase>;
  close(): Promise<void>;
}

export interface WorldDatabase {
  ownerUrl: string;
  appUrl: string;
  drop(): Promise<void>;
}

const path = 'public, pg_catalog';

/** The world's clock and chance; what the database's own are called. */
export const replaced = [
  'now',
  'clock_timestamp',
  'transaction_timestamp',
  'statement_timestamp',
  'gen_random_uuid',
  'random',
] as const;

const instant = `select pg_catalog.to_timestamp(pg_catalog.current_setting('world.now')::float8 / 1000.0)`;
const clockAndChance = `
  create sequence world_draws;
  grant usage on sequence world_draws to public;
  create function now() returns timestamptz language sql stable as $$ ${instant} $$;
  create function transaction_timestamp() returns timestamptz language sql stable as $$ ${instant} $$;
  create function statement_timestamp() returns timestamptz language sql stable as $$ ${instant} $$;
  create function clock_timestamp() returns timestamptz language sql volatile as $$ ${instant} $$;
  create function gen_random_uuid() returns uuid language sql volatile as
    $$ select pg_catalog.md5('world ' || pg_catalog.nextval('public.world_draws'))::uuid $$;
  create function random() returns float8 language sql volatile as
    $$ select (pg_catalog.hashint8extended(pg_catalog.nextval('public.world_draws'), 1) & 9007199254740991) / 9007199254740992.0 $$;
`;

/** Before any seed's time begins. */
const templateNow = Date.UTC(2026, 0, 1);

const functionsWithOwnPath = `
  select format('alter function %s set search_path = ${path}, pg_temp', p.oid::regprocedure) as statement
  from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proconfig is not null
    and exists (select from unnest(p.proconfig) c where c like 'search_path=%')`;

const tablesThatVacuum = `
  select format('alter table %s set (autovacuum_enabled = off)', c.oid::regclass) as statement
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'`;

export function withDatabase(url: string, name: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${name}`;
  return parsed.toString();
}

/** Makes the template in an empty database. @param ownerUrl of that database */
export async function prepareTemplate(ownerUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl, application_name: 'syncstate world' });
  await client.connect();
  try {
    const name = new URL(ownerUrl).pathname.slice(1);
    await client.query(`alter database "${name}" set search_path = ${path}`);
    await client.query(`alter database "${name}" set world.now = '${templateNow}'`);
    await client.query(`set search_path = ${path}`);
    await client.query(clockAndChance);
    await migrate(ownerUrl);
    for (const find of [functionsWithOwnPath, tablesThatVacuum]) {
      const { rows } = await client.query<{ statement: string }>(find);
      for (const { statement } of rows) await client.query(statement);
    }
  } finally {
    await client.end();
  }
}

/** @param template owner URL of an empty database on a server where its role may make databases; it is used up */
export async function openWorldDatabases(template: string): Promise<WorldDatabases> {
  await prepareTemplate(template);
  const source = new URL(template).pathname.slice(1);
  // The template itself may not be connected to while it is copied.
  const client = new pg.Client({ connectionString: withDatabase(template, 'postgres') });
  client.on('error', () => undefined);
  await client.connect();
  let made = 0;
  return {
    async make() {
      made += 1;
      const name = `${source}_w${made}`;
      await client.query(`create database "${name}" template "${source}" strategy file_copy`);
      // Settings of a database stay with it, not with its copies.
      await client.query(`alter database "${name}" set search_path = ${path}`);
      await client.query(`alter database "${name}" set world.now = '${templateNow}'`);
      await client.query(`alter database "${name}" set plan_cache_mode = force_generic_plan`);
      const ownerUrl = withDatabase(template, name);
      return {
        ownerUrl,
        appUrl: appUrl(ownerUrl),
        drop: async () => {
          await client.query(`drop database if exists "${name}" with (force)`);
        },
      };
    },
    close: () => client.end(),
  };
}
