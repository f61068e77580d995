/**
 * The three scopes of a transaction (ARCHITECTURE.md, Tenancy), in one place:
 *
 *   tenant(org)   one organization is set; row security shows only its rows
 *   batch(orgs)   several are set; every statement must join on org_id itself
 *   system()      none is set: only SECURITY DEFINER functions named system_* return anything, and they return ids
 *
 * All run as syncstate_app, read committed, and are repeated as a whole on a lost race, never inside.
 * Types: int8 arrives as a number (an unsafe one throws), numeric as a string, timestamptz as Date, jsonb parsed.
 */
import pg from 'pg';
import { CodedError, StoreError } from '#core/errors.ts';
import type { Random } from '#core/effects.ts';

pg.types.setTypeParser(20, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} is beyond what a number holds`);
  return value;
});

export interface Tx {
  /** `name`: prepared once per connection; use it for hot statements. */
  query<Row extends object = Record<string, unknown>>(text: string | { name: string; text: string }, values?: readonly unknown[]): Promise<{ rows: Row[]; rowCount: number | null }>;
}

export interface TxOptions {
  /** The function may run again although its first commit may have happened (every effect in it is keyed). */
  idempotent?: boolean;
  /** Unique constraints whose violation is a lost race: the whole function is repeated. */
  retryOn?: readonly string[];
}

export interface Store {
  tenant<T>(orgId: string, work: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  batch<T>(orgIds: readonly string[], work: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  system<T>(work: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  /** One moment in time: repeatable read, read only. */
  snapshot<T>(orgId: string, work: (tx: Tx) => Promise<T>): Promise<T>;
  ping(): Promise<boolean>;
  stats(): { total: number; idle: number; waiting: number };
  end(): Promise<void>;
}

const attempts = 5;
const lostRaces = new Set(['40001', '40P01', '55P03']);
const lostConnections = new Set(['57P01', '57P02', '57P03', '08000', '08001', '08003', '08004', '08006', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT']);

const isLost = (error: unknown): boolean => {
  const { code, message } = error as { code?: string; message?: string };
  return (code !== undefined && lostConnections.has(code)) || /Connection terminated|timeout exceeded when trying to connect/.test(message ?? '');
};

export function createStore(appUrl: string, options: { max?: number; random?: Random; onError?: (error: Error) => void } = {}): Store {
  const pool = new pg.Pool({ connectionString: appUrl, max: options.max ?? 12, idleTimeoutMillis: 30_000, connectionTimeoutMillis: 10_000 });
  pool.on('error', (error) => options.onError?.(error));
  const chance = () => options.random?.next() ?? 0.5;

  async function once<T>(begin: string, orgIds: readonly string[] | null, work: (tx: Tx) => Promise<T>): Promise<T> {
    let client: pg.PoolClient;
    try {
      client = await pool.connect();
    } catch (cause) {
      throw new StoreError('store.unavailable', 'The database cannot be reached.', {}, cause);
    }
    let broken: Error | undefined;
    let committing = false;
    try {
      // BEGIN and the scope travel in one round trip.
      await client.query(orgIds === null ? begin : `${begin}; select set_config('app.orgs', '{${orgIds.map(checkedUuid).join(',')}}', true)`);
      const tx: Tx = {
        query: (text, values) =>
          (typeof text === 'string' ? client.query(text, values as unknown[]) : client.query({ ...text, values: values as unknown[] })) as never,
      };
      const result = await work(tx);
      committing = true;
      await client.query('commit');
      return result;
    } catch (error) {
      if (isLost(error)) {
        broken = error as Error;
        throw new StoreError('store.unavailable', 'The database connection was lost.', { committing }, error);
      }
      await client.query('rollback').catch((cause: Error) => {
        broken = cause;
      });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async function run<T>(begin: string, orgIds: readonly string[] | null, work: (tx: Tx) => Promise<T>, { idempotent = false, retryOn = [] }: TxOptions = {}): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await once(begin, orgIds, work);
      } catch (error) {
        const { code, constraint } = error as { code?: string; constraint?: string };
        const race =
          (code !== undefined && lostRaces.has(code)) ||
          (code === '23505' && constraint !== undefined && retryOn.includes(constraint)) ||
          (error instanceof CodedError && error.code === 'store.conflict');
        const lost = error instanceof StoreError && error.code === 'store.unavailable' && (idempotent || error.details.committing !== true);
        if (attempt >= attempts || !(race || (lost && idempotent))) {
          if (code !== undefined && lostRaces.has(code)) throw new StoreError('store.conflict', 'Lost the same race too often.', { attempt }, error);
          throw error;
        }
        await new Promise<void>((resolve) => pauses(resolve, 2 ** attempt * 4 * (0.5 + chance())));
      }
    }
  }

  return {
    tenant: (orgId, work, txOptions) => run('begin', [orgId], work, txOptions),
    batch: (orgIds, work, txOptions) => run('begin', orgIds, work, txOptions),
    system: (work, txOptions) => run('begin', null, work, txOptions),
    snapshot: (orgId, work) => run('begin isolation level repeatable read read only', [orgId], work),
    async ping() {
      try {
        await pool.query('select 1');
        return true;
      } catch {
        return false;
      }
    },
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    end: () => pool.end(),
  };
}

/** The organization list is text inside the statement, so nothing but a UUID may enter it. */
function checkedUuid(id: string): string {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id)) throw new StoreError('store.mismatch', 'Not an organization id.', { id });
  return id;
}

const pauses: (resolve: () => void, ms: number) => void = globalThis.setTimeout;
