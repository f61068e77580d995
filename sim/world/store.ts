/**
 * The store of one simulated process: every transaction is one step of the scheduler, with the world's time inside.
 *
 * Around the real store (real SQL, roles and row security); only waiting for the turn and the time are added.
 */
import type { CompiledQuery } from 'kysely';
import { StoreError } from '#core/errors.ts';
import { createStore, type Statement, type Store, type Tx } from '#store/tx.ts';
import { type Owner, type Scheduler, strikes } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** Connects as the app role; transactions run at once, one after the other, at the world's time. */
export function plainStore(appUrl: string, scheduler: Scheduler): Store {
  const clock = { now: () => scheduler.now, monotonicMs: () => 0, sleep: async () => undefined };
  const store = createStore(appUrl, { clock, random: { next: () => 0.5 }, max: 1 });
  let told = 0;
  const timed =
    <T>(fn: (tx: Tx) => Promise<T>) =>
    async (tx: Tx): Promise<T> => {
      const now = Math.floor(scheduler.now);
      // Kept by the one connection until it changes; sent ahead of the first statement, without a round trip of its own.
      if (now !== told) tx.query(`set world.now to '${now}'`).catch(() => undefined);
      told = 0;
      const result = await fn(prepared(tx));
      told = now;
      return result;
    };
  return {
    tenant: (orgId, fn, options) => store.tenant(orgId, timed(fn), options),
    batch: (orgIds, fn, options) => store.batch(orgIds, timed(fn), options),
    system: (fn, options) => store.system(timed(fn), options),
    readOnly: (orgId, fn, options) => store.readOnly(orgId, timed(fn), options),
    metrics: () => store.metrics(),
    end: () => store.end(),
  };
}

const named = new Map<string, Statement>();

/** Every statement is prepared: it is parsed and planned once in a run instead of each time. */
function prepared(tx: Tx): Tx {
  const query: Tx['query'] = (statement, values) => {
    if (typeof statement !== 'string') return tx.query(statement, values);
    const known = named.get(statement) ?? { name: `world-${named.size}`, text: statement };
    named.set(statement, known);
    return tx.query(known, values);
  };
  return {
    query,
    async run<R>(asked: { compile(): CompiledQuery<R> }) {
      const { sql, parameters } = asked.compile();
      return (await query(sql, parameters)) as Awaited<ReturnType<typeof tx.run<R>>>;
    },
  };
}

/** Thrown inside a transaction so that it is rolled back as if its connection had broken. */
class Cut extends Error {}

const idlePauseMs = 100;
const mostAttempts = 5;

/**
 * @param inner `plainStore`, shared by all processes: one transaction at a time
 * A connection that breaks at COMMIT is answered as the real store answers it (store/tx.ts): again when the function is
 * idempotent, else `store.unavailable` with an unknown outcome.
 */
export function steppedStore(inner: Store, scheduler: Scheduler, owner: Owner, trace: Trace): Store {
  const clock = scheduler.clock(owner);

  async function once<T>(
    scope: string,
    fn: (tx: Tx) => Promise<T>,
    go: (fn: (tx: Tx) => Promise<T>) => Promise<T>,
  ): Promise<{ result: T } | 'lost'> {
    const done = await scheduler.step(owner, 'transaction', scope, async () => {
      const written = new Map<string, number>();
      let lost = false;
      let result: T | undefined;
      try {
        result = await go(async (tx) => {
          const inside = await fn(watched(tx, written, trace));
          if (written.size === 0) return inside;
          lost = strikes(owner, ['commit_lost']);
          if (strikes(owner, ['commit_undone'])) throw new Cut();
          return inside;
        });
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
        trace.note('NOT COMMITTED: the connection broke');
        return 'lost' as const;
      }
      const frozenMs = owner.mishap?.forMs ?? 0;
      const changes = [...written].map(([table, rows]) => `${table}:${rows}`);
      if (changes.length > 0) {
        trace.note(changes.join(' '));
        scheduler.spend();
      }
      if (written.has('attempts')) scheduler.show();
      const isMore = [...written.keys()].some((table) => !housekeeping.has(table));
      if (isMore) scheduler.stir();
      if (lost) trace.note('COMMITTED, the answer is lost');
      if (written.size > 0 && strikes(owner, ['killed_after'])) {
        trace.note('COMMITTED, then killed');
        scheduler.kill(owner);
      }
      if (isMore && strikes(owner, ['frozen_after'])) {
        trace.note(`COMMITTED, then frozen for ${frozenMs} ms`);
        owner.frozenUntil = scheduler.now + frozenMs;
      }
      return lost ? ('lost' as const) : { result: result as T };
    });
    if ((owner.frozenUntil ?? 0) > scheduler.now) await scheduler.step(owner, 'call', 'learns of its commit', () => {});
    return done;
  }

  async function transaction<T>(
    scope: string,
    isIdempotent: boolean,
    fn: (tx: Tx) => Promise<T>,
    go: (fn: (tx: Tx) => Promise<T>) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const done = await once(scope, fn, go);
      if (done !== 'lost') return done.result;
      if (!isIdempotent || attempt >= mostAttempts)
        throw new StoreError('store.unavailable', 'the connection broke during COMMIT', {
          outcome: 'unknown',
          attempts: attempt,
        });
      await clock.sleep(idlePauseMs * attempt);
    }
  }

  return {
    tenant: (orgId, fn, options) =>
      transaction('tenant', options?.idempotent === true, fn, (inside) => inner.tenant(orgId, inside, options)),
    batch: (orgIds, fn, options) =>
      transaction('batch', options?.idempotent === true, fn, (inside) => inner.batch(orgIds, inside, options)),
    system: (fn, options) =>
      transaction('system', options?.idempotent === true, fn, (inside) => inner.system(inside, options)),
    readOnly: (orgId, fn, options) =>
      transaction('readOnly', true, fn, (inside) => inner.readOnly(orgId, inside, options)),
    metrics: () => inner.metrics(),
    end: async () => undefined,
  };
}

/** Written by mere polling: turns, leases, marks of looks that found nothing. */
const housekeeping = new Set(['connection_watches', 'connections', 'lanes']);

function watched(tx: Tx, written: Map<string, number>, trace: Trace): Tx {
  const seen = (sql: string, rowCount: number) => {
    trace.mix(`${sql.length}:${rowCount};`);
    if (rowCount === 0) return;
    for (const table of tablesWritten(sql)) written.set(table, (written.get(table) ?? 0) + rowCount);
  };
  return {
    async query<R extends object>(statement: string | Statement, values?: readonly unknown[]) {
      const answer = await tx.query<R>(statement, values);
      seen(typeof statement === 'string' ? statement : statement.text, answer.rowCount);
      return answer;
    },
    async run<R>(query: { compile(): CompiledQuery<R> }) {
      const { sql, parameters } = query.compile();
      const answer = (await tx.query(sql, parameters)) as Awaited<ReturnType<typeof tx.run<R>>>;
      seen(sql, answer.rowCount);
      return answer;
    },
  };
}

const known = new Map<string, string[]>();

function tablesWritten(sql: string): string[] {
  const before = known.get(sql);
  if (before) return before;
  const found = [...sql.matchAll(/\b(?:insert into|update|delete from)\s+(?:only\s+)?([a-z_]+)\b/gi)]
    .map(([, table]) => table ?? '')
    .filter((table) => !/^(?:set|of|skip|nowait)$/i.test(table));
  const tables = [...new Set(found)];
  known.set(sql, tables);
  return tables;
}
