/**
 * Whether a database is one we can run on, asked with the owner's login before anything else: version, rights, roles, and whether a
 * connection keeps its session (a pooler in transaction mode does not, and locks, prepared statements and settings go astray).
 */
import pg from 'pg';
import { appRole } from './roles.ts';

export interface Fitness {
  versionNum: number;
  version: string;
  /** May create what a first start creates. */
  mayCreate: boolean;
  /** The role the server logs in as exists; null: nothing was migrated yet. */
  appRole: boolean | null;
  keepsSession: boolean;
}

interface Asker {
  query<R extends pg.QueryResultRow>(text: string): Promise<{ rows: R[] }>;
}

const pidOf = async (client: Asker): Promise<number> =>
  (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0;

/** While `b` holds a transaction, `a` must still be on the session it was on: a pooler has given it away by then. */
export async function keepsSession(a: Asker, b: Asker): Promise<boolean> {
  const before = await pidOf(a);
  await b.query('begin');
  try {
    await pidOf(b);
    return (await pidOf(a)) === before;
  } finally {
    await b.query('rollback');
  }
}

/** @throws pg's error when the database cannot be reached */
export async function readFitness(ownerUrl: string): Promise<Fitness> {
  const [a, b] = [0, 1].map(() => {
    const client = new pg.Client({
      connectionString: ownerUrl,
      application_name: 'syncstate command',
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', () => undefined);
    return client;
  }) as [pg.Client, pg.Client];
  try {
    await a.connect();
    await b.connect();
    const { rows } = await a.query<{ num: number; version: string; may: boolean; role: boolean; migrated: boolean }>(
      `select current_setting('server_version_num')::int as num, current_setting('server_version') as version,
         has_schema_privilege('public', 'create') as may, exists (select from pg_roles where rolname = '${appRole}') as role,
         to_regclass('schema_migrations') is not null as migrated`,
    );
    const [row] = rows;
    return {
      versionNum: row?.num ?? 0,
      version: row?.version ?? 'unknown',
      mayCreate: row?.may ?? false,
      appRole: row?.migrated === true ? row.role : null,
      keepsSession: await keepsSession(a, b),
    };
  } finally {
    await Promise.all([a.end(), b.end()].map((end) => end.catch(() => undefined)));
  }
}
