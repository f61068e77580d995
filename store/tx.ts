/**
 * Transactions in the three scopes of tenancy. Every statement of the server runs inside one of them, as the role
 * `syncstate_app`, which sees only rows of the transaction's organizations (row security, migrations/0001).
 *
 *   tenant    one organization
 *   batch     a list of organizations; every statement also joins on org_id
 *   system    none: only the `system_…` functions answer, and they return ids
 *   readOnly  one organization, one snapshot (repeatable read): several reads that must agree with each other
 *
 * A transaction is read committed and costs two round trips plus one per further statement: BEGIN travels with the first
 * statement. `fn` may run several times, so it does nothing but database work and builds its result afresh each time.
 *
 * What is run again, whole, at most 5 times in all, after a jittered pause:
 *   lost races       40001, 40P01, 55P03, StoreError store.conflict, and 23505 on the constraints the caller names
 *   lost connection  before COMMIT was sent: nothing happened. After it the outcome is unknown: again only if the caller
 *                    says that its function is idempotent, else store.unavailable with details.outcome = 'unknown'
 *
 * Nothing is retried anywhere else in store. Called by flows, routes and jobs through server/deps.ts.
 *
 * Values: int8 → number (throws beyond 2^53), numeric → string, timestamptz → Date (milliseconds: cursors compare the text),
 * date and timestamp → string, uuid → string, bytea → Buffer, jsonb → parsed.
 */
import type { CompiledQuery } from 'kysely';
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import pg from 'pg';
import type { Clock, Random } from '#core/effects.ts';
import { AssertionFault, assert, StoreError } from '#core/errors.ts';

/** A prepared statement: parsed once per connection. One name always means the same text. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface Rows<R> {
  rows: R[];
  /** Rows returned or affected. */
  rowCount: number;
}

export interface Tx {
  /** One statement. A string is parsed every time; give hot ones a name. */
  query<R extends object = Record<string, unknown>>(
    statement: string | Statement,
    values?: readonly unknown[],
  ): Promise<Rows<R>>;
  /** A statement built with `queryBuilder`. */
  run<R>(query: { compile(): CompiledQuery<R> }): Promise<Rows<R>>;
}

export interface TxOptions {
  /** Doing it twice is the same as doing it once: it may run again after an unknown outcome. */
  idempotent?: boolean;
  /** Unique constraints whose violation is a lost race of this function (two that insert the same first row). */
  retryOn?: readonly string[];
  /** Longest time for one statement, instead of the store's default. */
  statementTimeoutMs?: number;
  /**
   * Named statements keep the plan that was made without their values. For large ones whose plan does not depend on them
   * (LATERAL from the keys on): planned anew each time they cost more than they take. A plan belongs to one connection and goes
   * when one of its tables is analyzed, so these transactions have a few connections of their own.
   */
  keepPlans?: boolean;
}

export interface StoreMetrics {
  /** Connections open, of them idle, and callers waiting for one. */
  connections: number;
  idle: number;
  waiting: number;
  /** Since the start. */
  committed: number;
  retried: number;
  failed: number;
  /** Of the failed: statements beyond their time. */
  timedOut: number;
  /** Statements slower than `slowMs`. */
  slow: number;
}

export interface Store {
  tenant<T>(orgId: string, fn: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  /** @param orgIds at least one; duplicates do no harm */
  batch<T>(orgIds: readonly string[], fn: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  system<T>(fn: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  readOnly<T>(orgId: string, fn: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>;
  metrics(): StoreMetrics;
  /** Waits for running transactions, then closes all connections. */
  end(): Promise<void>;
}

export interface StoreOptions {
  clock: Clock;
  random: Random;
  /** Connections at most; default 10. */
  max?: number;
  /** Default 60 s. */
  statementTimeoutMs?: number;
  /** Longest time for one statement by scope, instead of `statementTimeoutMs`. */
  scopeTimeoutsMs?: Partial<Record<Scope, number>>;
  /** From this on a statement is slow, and told. */
  slowMs?: number;
  onSlow?(slow: SlowStatement): void;
}

export const scopes = ['tenant', 'batch', 'system', 'readOnly'] as const;
export type Scope = (typeof scopes)[number];

/** From so many connections on, a part of them keeps the plans of `keepPlans`. */
const sharedBelow = 8;
const keepingPart = 4;

/** Never its parameters: they hold names and addresses. */
export interface SlowStatement {
  /** Its name, or the beginning of its text. */
  statement: string;
  ms: number;
  /** null: it failed. */
  rows: number | null;
  scope: Scope;
  orgs: number;
}

const attempts = 5;
/** Doubled each time. A race is over in no time; a database that is started again needs up to a second. */
const firstPauseMs = { race: 5, connection: 100 };
/** After this long without a connection the caller is told, whatever attempts are left. */
const longestOutageMs = 15_000;
const defaultStatementTimeoutMs = 60_000;
/** A lock that is not ours after this long is a mistake of somebody's; the whole function is run again. */
const lockTimeoutMs = 10_000;
const idleInTransactionTimeoutMs = 60_000;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** int8 as a number; larger ones would lose digits silently, and nothing of ours is that large. */
export function parseInt8(text: string): number {
  const value = Number(text);
  assert(Number.isSafeInteger(value), 'an int8 beyond 2^53 has no exact number', { value: text });
  return value;
}

const parsers = new Map<number, (text: string) => unknown>([
  [20, parseInt8],
  [
    1016,
    (text) =>
      text === '{}'
        ? []
        : text
            .slice(1, -1)
            .split(',')
            .map((part) => (part === 'NULL' ? null : parseInt8(part))),
  ],
  [1082, (text) => text],
  [1114, (text) => text],
]);

/** How values come out of the database, for any other client of ours (pg's own settings stay untouched). */
export const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format !== 'binary' ? parsers.get(oid) : undefined) ??
    pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/** Builds statements for `tx.run`; it has no connection of its own. */
export const queryBuilder = <DB>(): Kysely<DB> =>
  new Kysely<DB>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  });

const lostRaces = new Set(['40001', '40P01', '55P03']);
/** Shutdown, crash and not-yet-up of the server (57P0x), connection exceptions (08), too many connections. */
const lostConnectionStates = /^(?:57P0[123]|08...|53300)$/;
const lostConnectionCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const lostConnectionMessages =
  /^(?:Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect|timeout expired)/;

type Fault = 'race' | 'connection' | 'other';

/** What a thrown value means for the transaction it came out of. Pure. */
export function classifyFault(error: unknown, retryOn: readonly string[] = []): Fault {
  if (error instanceof StoreError) return error.code === 'store.conflict' ? 'race' : 'other';
  if (!(error instanceof Error)) return 'other';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (lostRaces.has(code)) return 'race';
  if (code === '23505') return 'constraint' in error && retryOn.includes(String(error.constraint)) ? 'race' : 'other';
  if (lostConnectionStates.test(code) || lostConnectionCodes.has(code)) return 'connection';
  return lostConnectionMessages.test(error.message) ? 'connection' : 'other';
}

function beginText(mode: string, orgIds: readonly string[], options: TxOptions): string {
  for (const id of orgIds) assert(uuid.test(id), 'an organization id is a UUID', { id });
  const timeout = options.statementTimeoutMs;
  const limit = timeout === undefined ? '' : `; set local statement_timeout to ${Math.trunc(timeout)}`;
  const plans = options.keepPlans === true ? '; set local plan_cache_mode to force_generic_plan' : '';
  return `${mode}; set local app.orgs to '${orgIds.join(',')}'${limit}${plans}`;
}

/** COMMIT was sent and no answer came. */
class CommitLost extends Error {}

/** Looks at how long the statements of one transaction take. */
interface Watch {
  begin(): number;
  end(begun: number, statement: string | Statement, rows: number | null): void;
}

class OpenTx implements Tx {
  readonly #client: pg.PoolClient;
  readonly #watch: Watch | null;
  #open = true;

  constructor(client: pg.PoolClient, watch: Watch | null) {
    this.#client = client;
    this.#watch = watch;
  }

  async query<R extends object>(statement: string | Statement, values?: readonly unknown[]): Promise<Rows<R>> {
    assert(this.#open, 'a transaction is used after it ended');
    const config = typeof statement === 'string' ? { text: statement } : { name: statement.name, text: statement.text };
    const begun = this.#watch?.begin();
    let answered: number | null = null;
    try {
      const { rows, rowCount } = await this.#client.query<R>(
        values === undefined ? config : { ...config, values: [...values] },
      );
      answered = rowCount ?? rows.length;
      return { rows, rowCount: answered };
    } finally {
      if (begun !== undefined) this.#watch?.end(begun, statement, answered);
    }
  }

  async run<R>(query: { compile(): CompiledQuery<R> }): Promise<Rows<R>> {
    const { sql, parameters } = query.compile();
    return (await this.query(sql, parameters)) as Rows<R>;
  }

  close(): void {
    this.#open = false;
  }
}

function openPool(appUrl: string, max: number, options: StoreOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: appUrl,
    max,
    application_name: 'syncstate',
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 30_000,
    // BEGIN is sent without waiting for its answer.
    pipeline: true,
    statement_timeout: options.statementTimeoutMs ?? defaultStatementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    types,
  });
  // An idle connection that breaks is dropped by the pool; whoever needs one gets a new one or the error.
  pool.on('error', () => undefined);
  // The pool listens only while a connection is idle; one that breaks between two of its hands would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

class PoolStore implements Store {
  readonly #pool: pg.Pool;
  /** For transactions that keep their plans; with few connections the same. */
  readonly #planned: pg.Pool;
  readonly #clock: Clock;
  readonly #random: Random;
  #committed = 0;
  #retried = 0;
  #failed = 0;
  #timedOut = 0;
  #slow = 0;
  readonly #options: StoreOptions;

  constructor(appUrl: string, options: StoreOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    const { max = 10 } = options;
    const keeping = max < sharedBelow ? 0 : Math.floor(max / keepingPart);
    this.#pool = openPool(appUrl, max - keeping, options);
    this.#planned = keeping === 0 ? this.#pool : openPool(appUrl, keeping, options);
  }

  tenant<T>(orgId: string, fn: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
    return this.#run('tenant', 'begin', [orgId], fn, options);
  }

  async batch<T>(orgIds: readonly string[], fn: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
    assert(orgIds.length > 0, 'a batch has at least one organization');
    return this.#run('batch', 'begin', [...new Set(orgIds)], fn, options);
  }

  system<T>(fn: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
    return this.#run('system', 'begin', [], fn, options);
  }

  readOnly<T>(orgId: string, fn: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
    const mode = 'begin isolation level repeatable read read only';
    return this.#run('readOnly', mode, [orgId], fn, { ...options, idempotent: true });
  }

  metrics(): StoreMetrics {
    const pools = [...new Set([this.#pool, this.#planned])];
    const sum = (pick: (pool: pg.Pool) => number) => pools.reduce((total, pool) => total + pick(pool), 0);
    return {
      connections: sum((pool) => pool.totalCount),
      idle: sum((pool) => pool.idleCount),
      waiting: sum((pool) => pool.waitingCount),
      committed: this.#committed,
      retried: this.#retried,
      failed: this.#failed,
      timedOut: this.#timedOut,
      slow: this.#slow,
    };
  }

  async end(): Promise<void> {
    await Promise.all([...new Set([this.#pool, this.#planned])].map((pool) => pool.end()));
  }

  #watch(scope: Scope, orgs: number): Watch | null {
    const { slowMs, onSlow } = this.#options;
    if (slowMs === undefined) return null;
    return {
      begin: () => this.#clock.monotonicMs(),
      end: (begun, statement, rows) => {
        const ms = this.#clock.monotonicMs() - begun;
        if (ms < slowMs) return;
        this.#slow += 1;
        const name =
          typeof statement === 'string' ? statement.replace(/\s+/g, ' ').trim().slice(0, 120) : statement.name;
        onSlow?.({ statement: name, ms: Math.round(ms), rows, scope, orgs });
      },
    };
  }

  async #run<T>(
    scope: Scope,
    mode: string,
    orgIds: readonly string[],
    fn: (tx: Tx) => Promise<T>,
    options: TxOptions,
  ): Promise<T> {
    const timeout = options.statementTimeoutMs ?? this.#options.scopeTimeoutsMs?.[scope];
    const begin = beginText(
      mode,
      orgIds,
      timeout === undefined ? options : { ...options, statementTimeoutMs: timeout },
    );
    const watch = this.#watch(scope, orgIds.length);
    const started = this.#clock.monotonicMs();
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await this.#once(options.keepPlans ? this.#planned : this.#pool, begin, fn, watch);
        this.#committed += 1;
        return result;
      } catch (error) {
        const fault = error instanceof CommitLost ? 'connection' : classifyFault(error, options.retryOn);
        const lastingOutage = fault === 'connection' && this.#clock.monotonicMs() - started > longestOutageMs;
        const safe = !(error instanceof CommitLost) || options.idempotent === true;
        if (fault === 'other' || !safe || lastingOutage || attempt >= attempts) {
          this.#failed += 1;
          if ((error as { code?: unknown }).code === '57014') this.#timedOut += 1;
          throw settled(error, fault, attempt);
        }
        this.#retried += 1;
        await this.#clock.sleep(firstPauseMs[fault] * 2 ** (attempt - 1) * (0.5 + this.#random.next()));
      }
    }
  }

  async #once<T>(pool: pg.Pool, begin: string, fn: (tx: Tx) => Promise<T>, watch: Watch | null): Promise<T> {
    const client = await pool.connect();
    const tx = new OpenTx(client, watch);
    let broken: Error | undefined;
    const remember = (error: Error) => (broken = error);
    client.on('error', remember);
    const begun = client.query(begin);
    // Seen below; without this an early failure of fn would leave it unhandled.
    begun.catch(() => undefined);
    try {
      const result = await fn(tx);
      tx.close();
      await begun;
      await commit(client);
      return result;
    } catch (error) {
      tx.close();
      if (classifyFault(error) === 'connection' || error instanceof CommitLost) broken ??= error as Error;
      else await client.query('rollback').catch(remember);
      throw error;
    } finally {
      client.removeListener('error', remember);
      client.release(broken);
    }
  }
}

async function commit(client: pg.PoolClient): Promise<void> {
  let command: string;
  try {
    ({ command } = await client.query('commit'));
  } catch (error) {
    if (classifyFault(error) === 'connection')
      throw new CommitLost('the connection broke during COMMIT', { cause: error });
    throw error;
  }
  if (command !== 'COMMIT')
    throw new AssertionFault('a failed statement was swallowed: the transaction was rolled back', { command });
}

/** The server has no room for it (class 53): the statement did nothing, and nothing changes until somebody makes room. */
const outOfRoom: Readonly<Record<string, string>> = {
  '53100': 'the disk of the database is full',
  '53200': 'the database is out of memory',
};

/** What the caller gets when no attempt is left. Other faults (a broken rule, our mistake) pass unchanged. */
function settled(error: unknown, fault: Fault, attempt: number): unknown {
  const room = outOfRoom[(error as { code?: string }).code ?? ''];
  if (room !== undefined)
    return new StoreError('store.unavailable', room, { outcome: 'nothing', attempts: attempt }, error);
  if (error instanceof CommitLost)
    return new StoreError('store.unavailable', error.message, { outcome: 'unknown', attempts: attempt }, error.cause);
  if (fault === 'connection')
    return new StoreError(
      'store.unavailable',
      'the database cannot be reached',
      { outcome: 'nothing', attempts: attempt },
      error,
    );
  if (fault === 'race' && !(error instanceof StoreError))
    return new StoreError('store.conflict', 'the transaction lost every race', { attempts: attempt }, error);
  return error;
}

/** @param appUrl login of the app role: `appUrl(ownerUrl)` of store/roles.ts */
export function createStore(appUrl: string, options: StoreOptions): Store {
  return new PoolStore(appUrl, options);
}
