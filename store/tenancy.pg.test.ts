/**
 * P7, read off the catalogue: a table or function that a later migration adds fails here until it keeps the rules of
 * docs/migrations.md. What is exempt is exempt by name.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestDatabase } from './testing/database.ts';
import { testDatabase } from './testing/database.ts';
import type { Tx } from './tx.ts';

/** Belongs to no tenant. */
const exemptTables = ['schema_migrations', 'installation_push_stop'];
/** Schemas of other programs, with roles of their own. */
const exemptSchemas = ['auth', 'graphile_worker'];

/** Tables whose rows the app role may never change or never delete. Everything else has all four rights. */
const fewerRights: Record<string, string> = {
  audit: 'INSERT SELECT',
  catalog_pages: 'DELETE INSERT SELECT',
  claim_changes: 'INSERT SELECT',
  // Its counts may change (updatableColumns), not what it was at first.
  commitments: 'INSERT SELECT',
  events: 'DELETE INSERT SELECT',
  holds: 'INSERT SELECT UPDATE',
  import_file_parts: 'DELETE INSERT SELECT',
  import_files: 'DELETE INSERT SELECT',
  ledger_effects: 'INSERT SELECT',
  movements: 'INSERT SELECT',
  observations: 'DELETE INSERT SELECT',
  order_events: 'INSERT SELECT',
  outside_calls: 'DELETE INSERT SELECT',
  positions: 'INSERT SELECT UPDATE',
  run_files: 'DELETE INSERT SELECT',
  shortfalls: 'INSERT SELECT UPDATE',
};

/** The system scope, whole: each function with what it takes and what it gives back. Ids, keys and limits only. */
const systemFunctions: Record<string, string> = {
  'system_alarm_figures(p_now timestamp with time zone, p_since timestamp with time zone)':
    'TABLE(org_id uuid, calls double precision, calls_failed double precision, waiting double precision, oldest_seconds double precision, has_open boolean)',
  'system_claim_inbox(max_keys integer, at timestamp with time zone)':
    'TABLE(org_id uuid, connection_id uuid, kind text, external_id text)',
  'system_dirty_orgs()': 'TABLE(org_id uuid)',
  'system_due(p_now timestamp with time zone, p_limit integer)': 'TABLE(org_id uuid, kind text, subject_id uuid)',
  'system_feeds_due(p_now timestamp with time zone)': 'TABLE(org_id uuid, connection_id uuid)',
  'system_figures(p_now timestamp with time zone)':
    'TABLE(org_id uuid, connection_id uuid, figure text, value double precision)',
  'system_find_api_key(key_hash bytea, at timestamp with time zone DEFAULT now())':
    'TABLE(org_id uuid, id uuid, rate_per_minute integer)',
  'system_find_connection_by_token(wanted_platform text, token text)':
    'TABLE(org_id uuid, id uuid, shares_secret boolean)',
  'system_find_connections_by_shop(wanted_platform text, shop text)':
    'TABLE(org_id uuid, id uuid, shares_secret boolean)',
  'system_find_due_order_sweeps(platforms text[], every_ms bigint[], at timestamp with time zone, max_rows integer)':
    'TABLE(org_id uuid, id uuid)',
  'system_find_due_watches(p_kind text, p_platforms text[], p_now timestamp with time zone, p_limit integer)':
    'TABLE(org_id uuid, connection_id uuid)',
  'system_find_foreign_bodies(connection_ids uuid[], hashes bytea[])': 'TABLE(ordinal bigint)',
  'system_lanes_with_work(p_now timestamp with time zone)': 'TABLE(org_id uuid, connection_id uuid)',
  'system_list_connections(platforms text[])': 'TABLE(org_id uuid, id uuid, platform text)',
  'system_prune(p_kind text, p_before timestamp with time zone, p_limit integer)': 'integer',
  'system_open_runs(p_now timestamp with time zone, p_limit integer)': 'TABLE(org_id uuid, id uuid, kind text)',
  'system_publishing_connections()': 'TABLE(org_id uuid, connection_id uuid)',
  'system_resume_pushes()': 'boolean',
  'system_stop_pushes(p_by text, p_reason text, p_at timestamp with time zone)': 'boolean',
};

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

async function ask<R extends object>(text: string, values: unknown[] = []): Promise<R[]> {
  return (await db.owner.query<R>(text, values)).rows;
}

/** Tables of tenants: every table that is not exempt, whatever its schema. */
const tenantTables = async (): Promise<string[]> => {
  const rows = await ask<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all ($1)
       and c.relname <> all ($2) order by 1`,
    [exemptSchemas, exemptTables],
  );
  return rows.map(({ name }) => name);
};

describe('every tenant table', () => {
  test('begins its primary key with org_id', async () => {
    const rows = await ask<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c
       join pg_index i on i.indrelid = c.oid and i.indisprimary
       join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
       where c.oid = any ($1::regclass[]) and a.attname = 'org_id' and a.atttypid = 'uuid'::regtype order by 1`,
      [await tenantTables()],
    );
    expect(rows.map(({ name }) => name)).toEqual(await tenantTables());
  });

  test('begins every unique index with org_id', async () => {
    const wrong = await ask(
      `select i.indexrelid::regclass::text as index from pg_index i
       left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
       where i.indrelid = any ($1::regclass[]) and i.indisunique and a.attname is distinct from 'org_id'`,
      [await tenantTables()],
    );
    expect(wrong).toEqual([]);
  });

  test('begins every foreign key with org_id on both sides', async () => {
    const wrong = await ask(
      `select f.conrelid::regclass::text as table, f.conname as key from pg_constraint f
       join pg_attribute here on here.attrelid = f.conrelid and here.attnum = f.conkey[1]
       join pg_attribute there on there.attrelid = f.confrelid and there.attnum = f.confkey[1]
       where f.contype = 'f' and f.conrelid = any ($1::regclass[]) and (here.attname, there.attname) <> ('org_id', 'org_id')`,
      [await tenantTables()],
    );
    expect(wrong).toEqual([]);
  });

  test('has row security with exactly our policy, for everybody and every command', async () => {
    const rule = '(org_id = ANY (( SELECT app_orgs() AS app_orgs)::uuid[]))';
    const rows = await ask<{ name: string; policies: unknown }>(
      `select c.oid::regclass::text as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
         (select json_agg(json_build_array(p.polname, p.polcmd, p.polpermissive, p.polroles::oid[]::text,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)))
          from pg_policy p where p.polrelid = c.oid) as policies
       from pg_class c where c.oid = any ($1::regclass[]) order by 1`,
      [await tenantTables()],
    );
    const tenant = ['tenant', '*', true, '{0}', rule, rule];
    expect(rows).toEqual(
      (await tenantTables()).map((name) => ({ name, enabled: true, forced: false, policies: [tenant] })),
    );
  });

  test('gives the app role the rights it was made with, and everybody else none', async () => {
    const rows = await ask<{ name: string; rights: string }>(
      `select c.oid::regclass::text as name, string_agg(g.privilege_type, ' ' order by g.privilege_type) as rights
       from pg_class c, aclexplode(c.relacl) g
       where c.oid = any ($1::regclass[]) and g.grantee = 'syncstate_app'::regrole group by 1 order by 1`,
      [await tenantTables()],
    );
    const all = 'DELETE INSERT SELECT UPDATE';
    expect(rows).toEqual((await tenantTables()).map((name) => ({ name, rights: fewerRights[name] ?? all })));
    const others = await ask(
      `select c.oid::regclass::text as name, g.grantee::regrole::text as grantee from pg_class c, aclexplode(c.relacl) g
       where c.relnamespace = 'public'::regnamespace and g.grantee not in (c.relowner, 'syncstate_app'::regrole)`,
    );
    expect(others).toEqual([]);
  });

  test('is never shown past row security by a view', async () => {
    const wrong = await ask(
      `select c.oid::regclass::text as view from pg_class c
       where c.relnamespace = 'public'::regnamespace and (c.relkind = 'm'
         or (c.relkind = 'v' and not coalesce(c.reloptions::text[] @> array['security_invoker=true'], false)))`,
    );
    expect(wrong).toEqual([]);
  });
});

describe('system functions', () => {
  test('are exactly these, with these results', async () => {
    const rows = await ask<{ signature: string; result: string }>(
      `select p.proname || '(' || pg_get_function_arguments(p.oid) || ')' as signature, pg_get_function_result(p.oid) as result
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where p.prosecdef and n.nspname !~ '^pg_' and n.nspname <> all ($1)`,
      [exemptSchemas],
    );
    expect(Object.fromEntries(rows.map(({ signature, result }) => [signature, result]))).toEqual(systemFunctions);
  });

  test('are named system_, have a fixed search path ending in pg_temp, and nobody but the app role may call them', async () => {
    const wrong = await ask(
      `select p.oid::regprocedure::text as function from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where p.prokind = 'f' and (p.prosecdef or p.proname like 'system\\_%') and n.nspname !~ '^pg_' and n.nspname <> all ($1) and not (
         p.prosecdef and p.proname like 'system\\_%'
         and p.proconfig in (array['search_path=pg_catalog, public, pg_temp'], array['search_path=public, pg_temp'])
         and (select array_agg(g.grantee::regrole::text order by 1) from aclexplode(p.proacl) g where g.grantee <> p.proowner)
             = array['syncstate_app'])`,
      [exemptSchemas],
    );
    expect(wrong).toEqual([]);
  });
});

describe('the app role', () => {
  test('is who the tests run as, is bound by row security, owns nothing and belongs to no other role', async () => {
    const [me] = await db.store.system(
      async (tx) =>
        (
          await tx.query(`select current_user::text as me, session_user::text as login, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
            (select count(*) from pg_class where relowner = r.oid) as tables, (select count(*) from pg_proc where proowner = r.oid) as functions,
            (select count(*) from pg_auth_members where member = r.oid) as memberships
            from pg_roles r where r.rolname = current_user`)
        ).rows,
    );
    expect(me).toEqual({
      me: 'syncstate_app',
      login: 'syncstate_app',
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      tables: 0,
      functions: 0,
      memberships: 0,
    });
  });

  test('cannot make tables, switch row security off for itself, or become the owner', async () => {
    const refusals: [string, string][] = [
      ['create table mine (id integer)', '42501'],
      ['alter table positions disable row level security', '42501'],
      ['create policy open on positions using (true)', '42501'],
      ['truncate movements', '42501'],
      [
        `set session authorization ${(await ask<{ owner: string }>('select current_user as owner'))[0]?.owner}`,
        '42501',
      ],
    ];
    for (const [text, code] of refusals)
      await expect(
        db.store.system((tx) => tx.query(text)),
        text,
      ).rejects.toMatchObject({ code });
  });
});

/**
 * One row per tenant in every table, whatever its columns: checks, foreign keys and triggers are taken off this database
 * first, since only row security is being judged.
 */
describe('another tenant', () => {
  const [mine, theirs, nobody] = [randomUUID(), randomUUID(), randomUUID()];
  const inserts = new Map<string, (orgId: string) => { text: string; values: unknown[] }>();

  /** A value of a type; a type without one fails the test, so that it gets one. */
  function sample(type: string, column: string): unknown {
    const samples: Record<string, () => unknown> = {
      uuid: () => randomUUID(),
      text: () => randomUUID(),
      integer: () => 1,
      bigint: () => 1,
      boolean: () => false,
      'timestamp with time zone': () => new Date(Date.UTC(2026, 0, 1)),
      date: () => '2026-01-01',
      json: () => '{}',
      jsonb: () => '{}',
      bytea: () => Buffer.alloc(32),
      numeric: () => '1',
      xid8: () => '1',
      smallint: () => 1,
      'double precision': () => 1,
      interval: () => '1 second',
    };
    const make = type.endsWith('[]') ? () => [] : samples[type];
    if (!make) throw new Error(`no sample value for ${column} of type ${type}`);
    return make();
  }

  beforeAll(async () => {
    const constraints = await ask<{ table: string; name: string }>(
      `select conrelid::regclass::text as table, conname as name from pg_constraint
       where contype in ('f', 'c') and conrelid = any ($1::regclass[])`,
      [await tenantTables()],
    );
    for (const { table, name } of constraints)
      await db.owner.query(`alter table ${table} drop constraint "${name}" cascade`);
    for (const table of await tenantTables()) await db.owner.query(`alter table ${table} disable trigger user`);
    const columns = await ask<{ table: string; column: string; type: string }>(
      `select attrelid::regclass::text as table, attname as column, format_type(atttypid, atttypmod) as type from pg_attribute
       where attrelid = any ($1::regclass[]) and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = '' order by attnum`,
      [await tenantTables()],
    );
    for (const table of await tenantTables()) {
      const own = columns.filter((row) => row.table === table);
      const names = own.map(({ column }) => `"${column}"`).join(', ');
      const marks = own.map((_, index) => `$${index + 1}`).join(', ');
      inserts.set(table, (orgId) => ({
        text: `insert into ${table} (${names}) values (${marks})`,
        values: own.map(({ column, type }) => (column === 'org_id' ? orgId : sample(type, `${table}.${column}`))),
      }));
    }
    for (const insert of inserts.values()) for (const orgId of [mine, theirs]) await db.owner.query(insert(orgId));
  });

  const scopes: Record<string, { visible: string[]; run: <T>(fn: (tx: Tx) => Promise<T>) => Promise<T> }> = {
    tenant: { visible: [mine], run: (fn) => db.store.tenant(mine, fn) },
    batch: { visible: [mine], run: (fn) => db.store.batch([mine, nobody], fn) },
    'read only': { visible: [mine], run: (fn) => db.store.readOnly(mine, fn) },
    system: { visible: [], run: (fn) => db.store.system(fn) },
  };
  const changing = ['tenant', 'batch', 'system'] as const;

  test.each(Object.keys(scopes))('is not seen in any table: %s scope', async (name) => {
    const scope = scopes[name];
    for (const table of inserts.keys()) {
      const seen = await scope?.run(
        async (tx) => (await tx.query<{ org_id: string }>(`select org_id from ${table}`)).rows,
      );
      expect(
        seen?.map(({ org_id }) => org_id),
        table,
      ).toEqual(scope?.visible);
    }
  });

  const rightsOf = (table: string) => fewerRights[table] ?? 'DELETE INSERT SELECT UPDATE';
  const everything = async () =>
    Object.fromEntries(
      await Promise.all(
        [...inserts.keys()].map(
          async (table) => [table, await ask(`select t::text from ${table} t order by 1`)] as const,
        ),
      ),
    );

  test.each(changing)('is not written, changed, taken over or deleted in any table: %s scope', async (name) => {
    const scope = scopes[name];
    const before = await everything();
    for (const [table, insert] of inserts) {
      const forTheirs = insert(theirs);
      await expect(
        scope?.run((tx) => tx.query(forTheirs.text, forTheirs.values)),
        `insert into ${table}`,
      ).rejects.toMatchObject({ code: '42501' });
      for (const [right, text] of [
        ['UPDATE', `update ${table} set org_id = org_id where org_id = '${theirs}'`],
        ['DELETE', `delete from ${table} where org_id = '${theirs}'`],
      ] as const) {
        const attempt = scope?.run((tx) => tx.query(text));
        if (rightsOf(table).includes(right)) expect((await attempt)?.rowCount, text).toBe(0);
        else await expect(attempt, text).rejects.toMatchObject({ code: '42501' });
      }
      if (scope?.visible.length === 0 || !rightsOf(table).includes('UPDATE')) continue;
      await expect(
        scope?.run((tx) => tx.query(`update ${table} set org_id = $1`, [theirs])),
        `give away ${table}`,
      ).rejects.toMatchObject({ code: '42501' });
    }
    expect(await everything()).toEqual(before);
  });

  test('is seen beside mine when a batch names both, and the next transaction on the same connection forgets them', async () => {
    const seen = (scope: (fn: (tx: Tx) => Promise<string[]>) => Promise<string[]>) =>
      scope(async (tx) =>
        (await tx.query<{ org_id: string }>('select org_id from organizations')).rows.map(({ org_id }) => org_id),
      );
    expect((await seen((fn) => db.store.batch([mine, theirs], fn))).sort()).toEqual([mine, theirs].sort());
    expect(await seen((fn) => db.store.system(fn))).toEqual([]);
    expect((await db.app.query('select org_id from organizations')).rows).toEqual([]);
  });
});

test('a key is found by its hash while it lives, and its hash and name are not given away', async () => {
  const fresh = await testDatabase();
  try {
    const [orgId, live, revoked, expired] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const hash = (byte: number) => Buffer.alloc(32, byte);
    await fresh.owner.query(`insert into organizations (org_id, name, slug) values ($1, 'A', 'a')`, [orgId]);
    await fresh.owner.query(
      `insert into api_keys (org_id, id, name, hash, rate_per_minute, expires_at, revoked_at) values
       ($1, $2, 'live', $5, 6000, '2026-06-01T00:00:00Z', null), ($1, $3, 'revoked', $6, null, null, '2026-01-01T00:00:00Z'),
       ($1, $4, 'expired', $7, null, '2026-01-01T00:00:00Z', null)`,
      [orgId, live, revoked, expired, hash(1), hash(2), hash(3)],
    );
    const find = (key: Buffer, at: string) =>
      fresh.store.system(async (tx) => (await tx.query('select * from system_find_api_key($1, $2)', [key, at])).rows);
    expect(await find(hash(1), '2026-05-31T23:59:59Z')).toEqual([{ org_id: orgId, id: live, rate_per_minute: 6000 }]);
    expect(await find(hash(1), '2026-06-01T00:00:00Z')).toEqual([]);
    expect(await find(hash(2), '2025-01-01T00:00:00Z')).toEqual([]);
    expect(await find(hash(3), '2026-01-02T00:00:00Z')).toEqual([]);
    expect(await find(hash(9), '2026-01-02T00:00:00Z')).toEqual([]);
  } finally {
    await fresh.drop();
  }
});
