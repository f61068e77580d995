/**
 * A process that can die between any two of its effects, for tests that kill it at every one of them.
 *
 * An effect is a database transaction that wrote (a boundary before its commit and one after it) or an outside call (one
 * before it leaves and one after it was answered, before the answer is used). Boundaries are numbered as they are passed.
 * At the number `dieAt` the process dies: transactions under way are rolled back, calls under way arrive or not and are
 * answered to nobody, and nothing of it goes on: whatever it still waits for never comes.
 */
import type { Transport } from '#connectors/kit/ports.ts';
import type { ConnectionTransport } from '#connectors/kit/transport.ts';
import type { Clock } from '#core/effects.ts';
import type { Store, Tx } from '#store/tx.ts';

export interface Mortal {
  store: Store;
  clock: Clock;
  over(way: ConnectionTransport): Transport;
  /** Boundaries passed, by name, in order. */
  readonly passed: readonly string[];
  readonly dead: boolean;
  /** @returns false when it died before the work was done */
  lives(work: () => Promise<void>): Promise<boolean>;
  /** Nothing of it is left at the database or on the wire. */
  buried(): Promise<void>;
}

class Killed extends Error {}
/** Each its own: what waits for it goes with it. */
const never = (): Promise<never> => new Promise(() => undefined);

export function mortal(given: { store: Store; clock: Clock; dieAt: number | null }): Mortal {
  const passed: string[] = [];
  const underWay = new Set<Promise<unknown>>();
  const ways: ConnectionTransport[] = [];
  let dead = false;
  let died: () => void = () => undefined;
  const death = new Promise<void>((resolve) => {
    died = resolve;
  });

  function pass(boundary: string): void {
    if (!dead) {
      passed.push(boundary);
      dead = passed.length === given.dieAt;
      if (dead) died();
    }
    if (dead) throw new Killed(boundary);
  }

  /** What is refused to a dead process is not told to it either. */
  async function effect<T>(work: () => Promise<T>): Promise<T> {
    if (dead) return never();
    const running = work();
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    underWay.add(settled);
    void settled.then(() => underWay.delete(settled));
    try {
      const result = await running;
      return dead ? never() : result;
    } catch (error) {
      if (dead) return never();
      throw error;
    }
  }

  function transaction<T>(fn: (tx: Tx) => Promise<T>, run: (fn: (tx: Tx) => Promise<T>) => Promise<T>): Promise<T> {
    return effect(async () => {
      let name: string | null = null;
      const result = await run(async (tx) => {
        const written: string[] = [];
        const inside = await fn(watched(tx, written));
        const { rows } = await tx.query<{ wrote: boolean }>(
          'select pg_current_xact_id_if_assigned() is not null as wrote',
        );
        name = rows[0]?.wrote ? [...new Set(written)].join(' ') : null;
        if (name !== null) pass(`${name}: before its commit`);
        return inside;
      });
      if (name !== null) pass(`${name}: after its commit`);
      return result;
    });
  }

  const watched = (tx: Tx, written: string[]): Tx => ({
    async query(statement, values) {
      if (dead) throw new Killed();
      written.push(...tablesWritten(typeof statement === 'string' ? statement : statement.text));
      return tx.query(statement, values);
    },
    async run(query) {
      if (dead) throw new Killed();
      written.push(...tablesWritten(query.compile().sql));
      return tx.run(query);
    },
  });

  return {
    passed,
    get dead() {
      return dead;
    },
    store: {
      tenant: (orgId, fn, options) => transaction(fn, (inside) => given.store.tenant(orgId, inside, options)),
      batch: (orgIds, fn, options) => transaction(fn, (inside) => given.store.batch(orgIds, inside, options)),
      system: (fn, options) => transaction(fn, (inside) => given.store.system(inside, options)),
      readOnly: (orgId, fn, options) => transaction(fn, (inside) => given.store.readOnly(orgId, inside, options)),
      metrics: () => given.store.metrics(),
      end: async () => undefined,
    },
    clock: {
      now: () => given.clock.now(),
      monotonicMs: () => given.clock.monotonicMs(),
      async sleep(ms, signal) {
        await given.clock.sleep(ms, signal);
        if (dead) await never();
      },
    },
    over(way) {
      ways.push(way);
      return {
        report: (bucket, report) => way.report(bucket, report),
        request: (call) =>
          effect(async () => {
            pass(`${call.operation}: before it leaves`);
            // Its question may be one that a dead process gets no answer to: then nothing leaves.
            const asked = async () =>
              (await Promise.race([call.mayLeave?.() ?? true, death.then(() => false)])) && !dead;
            const answer = await way.request({ ...call, mayLeave: asked });
            pass(`${call.operation}: after its answer`);
            return answer;
          }),
      };
    },
    async lives(work) {
      return Promise.race([work().then(() => !dead), death.then(() => false)]);
    },
    async buried() {
      while (underWay.size > 0) await Promise.all(underWay);
      await Promise.all(ways.map((way) => way.close()));
    },
  };
}

const tablesWritten = (sql: string): string[] =>
  [...sql.matchAll(/\b(?:insert into|update|delete from)\s+(?:only\s+)?([a-z_]+)\b(?!\s+skip)/gi)]
    .map(([, table]) => table ?? '')
    .filter((table) => !/^(?:set|of|skip|nowait)$/i.test(table));
