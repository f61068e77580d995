import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AssertionFault, StoreError } from '#core/errors.ts';
import type { TestDatabase } from './testing/database.ts';
import { realClock, realRandom, testDatabase, testOrganization } from './testing/database.ts';
import { openWire } from './testing/wire.ts';
import type { Store, Tx } from './tx.ts';
import { createStore, queryBuilder } from './tx.ts';

let db: TestDatabase;
let orgId: string;

beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  orgId = await testOrganization(db);
});

const addLocation = (tx: Tx, code: string) =>
  tx.query('insert into locations (org_id, id, code, name) values ($1, $2, $3, $3)', [orgId, randomUUID(), code]);
const codes = async () =>
  (await db.owner.query<{ code: string }>('select code from locations where org_id = $1 order by 1', [orgId])).rows.map(
    ({ code }) => code,
  );
const raise = (tx: Tx, code: string) =>
  tx.query(`do $$ begin raise exception 'made up' using errcode = '${code}'; end $$`);
const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'nothing was thrown',
    (error: unknown) => error,
  );

async function withStore<T>(url: string, fn: (store: Store) => Promise<T>, max = 1): Promise<T> {
  const store = createStore(url, { clock: realClock, random: realRandom, max });
  try {
    return await fn(store);
  } finally {
    await store.end();
  }
}

describe('scopes', () => {
  test('each sets exactly its organizations, and the connection carries none into the next transaction', () =>
    withStore(db.appUrl, async (store) => {
      const other = randomUUID();
      const orgs = async (tx: Tx) => (await tx.query<{ orgs: string[] }>('select app_orgs() as orgs')).rows[0]?.orgs;
      expect(await store.tenant(orgId, orgs)).toEqual([orgId]);
      expect(await store.batch([orgId, other, orgId], orgs)).toEqual([orgId, other]);
      expect(await store.system(orgs)).toEqual([]);
      expect(await store.readOnly(orgId, orgs)).toEqual([orgId]);
      expect(await store.system(orgs)).toEqual([]);
      // The setting ends with the transaction itself, not only when the next one sets its own.
      const after = await store.tenant(orgId, async (tx) => {
        await tx.query('commit');
        return orgs(tx);
      });
      expect(after).toEqual([]);
    }));

  test('an organization id that is no UUID is a mistake and reaches no statement', async () => {
    await expect(db.store.tenant(`' or true --`, (tx) => tx.query('select 1'))).rejects.toThrow(AssertionFault);
    await expect(db.store.batch([], (tx) => tx.query('select 1'))).rejects.toThrow(AssertionFault);
  });

  test('a read-only transaction writes nothing and sees one moment', async () => {
    await db.store.tenant(orgId, (tx) => addLocation(tx, 'MAIN'));
    const count = (tx: Tx) =>
      tx.query<{ n: number }>('select count(*) as n from locations').then(({ rows }) => rows[0]?.n);
    const seen = await db.store.readOnly(orgId, async (tx) => {
      const before = await count(tx);
      await db.store.tenant(orgId, (writer) => addLocation(writer, 'EAST'));
      return [before, await count(tx)];
    });
    expect(seen).toEqual([1, 1]);
    await expect(db.store.readOnly(orgId, (tx) => addLocation(tx, 'WEST'))).rejects.toMatchObject({ code: '25006' });
    expect(await codes()).toEqual(['EAST', 'MAIN']);
  });

  test('BEGIN travels with the first statement: two round trips for one statement', async () => {
    const wire = await openWire(db.appUrl);
    try {
      await withStore(wire.url, async (store) => {
        await store.system((tx) => tx.query('select 1'));
        let statementSent: () => void = () => undefined;
        const sent = new Promise<void>((done) => {
          statementSent = done;
        });
        wire.onRequest = (piece) => {
          if (piece.includes('the statement')) statementSent();
          return 'pass';
        };
        // No answer, not even BEGIN's, before the statement has been seen: a client that waits would wait for ever.
        wire.onAnswer = () => sent;
        const { rows } = await store.tenant(orgId, (tx) => tx.query(`select 'the statement' as text`));
        expect(rows).toEqual([{ text: 'the statement' }]);
      });
    } finally {
      wire.close();
    }
  });
});

describe('plans that are kept', () => {
  const pid = async (tx: Tx) => (await tx.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid;
  const many = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 12 }, work));

  test('stay on a quarter of the connections, which nothing else uses, and all together are no more than allowed', () =>
    withStore(
      db.appUrl,
      async (store) => {
        const [kept, others] = await Promise.all([
          many(() => store.tenant(orgId, pid, { keepPlans: true })),
          many(() => store.tenant(orgId, pid)),
        ]);
        expect(new Set(kept).size).toBe(2);
        expect(new Set(others).size).toBe(6);
        expect(new Set([...kept, ...others]).size).toBe(8);
        expect(store.metrics()).toMatchObject({ connections: 8, idle: 8, waiting: 0, committed: 24 });
      },
      8,
    ));

  test('share the connections of all others where there are few', () =>
    withStore(
      db.appUrl,
      async (store) => {
        await many(() => store.tenant(orgId, pid, { keepPlans: true }));
        expect(store.metrics()).toMatchObject({ connections: 7, idle: 7, committed: 12 });
      },
      7,
    ));
});

describe('an ordinary failure', () => {
  test('rolls back, passes the error unchanged, runs once and leaves the connection usable', () =>
    withStore(db.appUrl, async (store) => {
      let runs = 0;
      const failure = new Error('mine');
      const error = await caught(
        store.tenant(orgId, async (tx) => {
          runs += 1;
          await addLocation(tx, 'MAIN');
          throw failure;
        }),
      );
      expect(error).toBe(failure);
      expect(runs).toBe(1);
      expect(await codes()).toEqual([]);
      await store.tenant(orgId, (tx) => addLocation(tx, 'EAST'));
      expect(await codes()).toEqual(['EAST']);
      expect(store.metrics()).toMatchObject({
        connections: 1,
        idle: 1,
        waiting: 0,
        committed: 1,
        retried: 0,
        failed: 1,
      });
    }));

  test('that the function swallows is not committed in silence', async () => {
    const error = await caught(
      db.store.tenant(orgId, async (tx) => {
        await addLocation(tx, 'MAIN');
        await tx.query('select 1 / 0').catch(() => undefined);
      }),
    );
    expect(error).toBeInstanceOf(AssertionFault);
    expect(await codes()).toEqual([]);
  });

  test('a transaction used after its end is refused', async () => {
    let leaked: Tx | undefined;
    await db.store.tenant(orgId, async (tx) => {
      leaked = tx;
      await tx.query('select 1');
    });
    await expect(leaked?.query('select 1')).rejects.toThrow('a transaction is used after it ended');
  });
});

describe('a lost race', () => {
  test.each(['40001', '40P01', '55P03'])(
    '%s runs the whole function again, and only the last run counts',
    async (code) => {
      let runs = 0;
      await db.store.tenant(orgId, async (tx) => {
        runs += 1;
        await addLocation(tx, `RUN-${runs}`);
        if (runs < 3) await raise(tx, code);
      });
      expect(runs).toBe(3);
      expect(await codes()).toEqual(['RUN-3']);
    },
  );

  test('five times in a row is a conflict for the caller, with the last cause, and nothing is written', async () => {
    let runs = 0;
    const error = await caught(
      db.store.tenant(orgId, async (tx) => {
        runs += 1;
        await addLocation(tx, 'MAIN');
        await raise(tx, '40001');
      }),
    );
    expect(error).toMatchObject({ code: 'store.conflict', details: { attempts: 5 }, cause: { code: '40001' } });
    expect(runs).toBe(5);
    expect(await codes()).toEqual([]);
  });

  test('told by the function itself is run again; a mismatch is not', async () => {
    let runs = 0;
    await db.store.tenant(orgId, async (tx) => {
      runs += 1;
      await tx.query('select 1');
      if (runs === 1) throw new StoreError('store.conflict', 'somebody was faster');
    });
    expect(runs).toBe(2);
    await expect(
      db.store.tenant(orgId, async () => {
        runs += 1;
        throw new StoreError('store.mismatch', 'other content');
      }),
    ).rejects.toMatchObject({ code: 'store.mismatch' });
    expect(runs).toBe(3);
  });

  test('a unique violation is run again only on a constraint the caller names', async () => {
    await db.store.tenant(orgId, (tx) => addLocation(tx, 'MAIN'));
    const { constraint } = (await caught(db.store.tenant(orgId, (tx) => addLocation(tx, 'MAIN')))) as {
      constraint: string;
    };
    let runs = 0;
    const insert = (tx: Tx) => {
      runs += 1;
      return addLocation(tx, runs === 1 ? 'MAIN' : 'EAST');
    };
    await db.store.tenant(orgId, insert, { retryOn: [constraint] });
    expect(runs).toBe(2);
    expect(await codes()).toEqual(['EAST', 'MAIN']);
  });

  test('two transactions that lock the same rows in opposite order both end, each with its whole effect', async () => {
    await db.store.tenant(orgId, async (tx) => {
      await addLocation(tx, 'A');
      await addLocation(tx, 'B');
    });
    let runs = 0;
    let release: () => void = () => undefined;
    const bothHold = new Promise<void>((done) => {
      release = done;
    });
    let holding = 0;
    const addToBoth = (first: string, second: string, other: () => Promise<void> | undefined) =>
      db.store.tenant(orgId, async (tx) => {
        runs += 1;
        // The victim's second try could take its first row again before the other has woken, and meet it once more.
        if (runs > 2) await other();
        await tx.query('update locations set priority = priority + 1 where org_id = $1 and code = $2', [orgId, first]);
        holding += 1;
        if (holding === 2) release();
        await bothHold;
        await tx.query('update locations set priority = priority + 1 where org_id = $1 and code = $2', [orgId, second]);
      });
    const one: Promise<void> = addToBoth('A', 'B', () => two);
    const two: Promise<void> = addToBoth('B', 'A', () => one);
    await Promise.all([one, two]);
    expect(runs).toBe(3);
    const { rows } = await db.owner.query('select code, priority from locations where org_id = $1 order by 1', [orgId]);
    expect(rows).toEqual([
      { code: 'A', priority: 102 },
      { code: 'B', priority: 102 },
    ]);
  });
});

describe('a lost connection', () => {
  test('before COMMIT runs the function again on another connection: nothing had happened', () =>
    withStore(db.appUrl, async (store) => {
      let runs = 0;
      await store.tenant(orgId, async (tx) => {
        runs += 1;
        await addLocation(tx, `RUN-${runs}`);
        if (runs > 1) return;
        const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
        await db.owner.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
        await tx.query('select 1');
      });
      expect(runs).toBe(2);
      expect(await codes()).toEqual(['RUN-2']);
      expect(store.metrics()).toMatchObject({ committed: 1, retried: 1, failed: 0 });
    }));

  test.each([
    { idempotent: false, runs: 1, left: ['RUN-1'], outcome: 'unknown' },
    { idempotent: true, runs: 2, left: ['RUN-1', 'RUN-2'], outcome: 'committed' },
  ])(
    'during COMMIT is an unknown outcome: idempotent $idempotent',
    async ({ idempotent, runs: expectedRuns, left, outcome }) => {
      const wire = await openWire(db.appUrl);
      let cuts = 0;
      wire.onRequest = (piece) => (piece.includes('commit') && ++cuts === 1 ? 'cut' : 'pass');
      try {
        await withStore(wire.url, async (store) => {
          let runs = 0;
          const attempt = store.tenant(
            orgId,
            async (tx) => {
              runs += 1;
              await addLocation(tx, `RUN-${runs}`);
              return 'committed';
            },
            { idempotent },
          );
          if (idempotent) expect(await attempt).toBe(outcome);
          else
            expect(await caught(attempt)).toMatchObject({
              code: 'store.unavailable',
              details: { outcome, attempts: 1 },
            });
          expect(runs).toBe(expectedRuns);
        });
      } finally {
        wire.close();
      }
      expect(await codes()).toEqual(left);
    },
  );

  test('no database at all is store.unavailable after five tries, and the function never ran', () => {
    const nowhere = new URL(db.appUrl);
    nowhere.searchParams.delete('host');
    nowhere.host = '127.0.0.1:1';
    let runs = 0;
    return withStore(nowhere.toString(), async (store) => {
      const error = await caught(
        store.tenant(orgId, async () => {
          runs += 1;
        }),
      );
      expect(error).toMatchObject({
        code: 'store.unavailable',
        details: { outcome: 'nothing', attempts: 5 },
        cause: { code: 'ECONNREFUSED' },
      });
      expect(runs).toBe(0);
    });
  });
});

describe('values', () => {
  test('come out as documented', async () => {
    const { rows } = await db.store.system((tx) =>
      tx.query(`select 9007199254740991::int8 as int8, array[1, 2]::int8[] as int8s, '{}'::int8[] as none, 1.10::numeric as numeric,
        '2026-03-01T12:00:00.123456Z'::timestamptz as at, '2026-03-01'::date as day, '{"a":1}'::jsonb as json, '\\x0102'::bytea as bytes`),
    );
    expect(rows).toEqual([
      {
        int8: 9_007_199_254_740_991,
        int8s: [1, 2],
        none: [],
        numeric: '1.10',
        at: new Date('2026-03-01T12:00:00.123Z'),
        day: '2026-03-01',
        json: { a: 1 },
        bytes: Buffer.from([1, 2]),
      },
    ]);
  });

  test('an int8 without an exact number is an assertion, and the connection goes on', () =>
    withStore(db.appUrl, async (store) => {
      await expect(store.system((tx) => tx.query('select 9007199254740993::int8 as big'))).rejects.toThrow(
        AssertionFault,
      );
      expect((await store.system((tx) => tx.query('select 1 as one'))).rows).toEqual([{ one: 1 }]);
    }));

  test('named statements run as prepared ones, several at once too', () =>
    withStore(db.appUrl, async (store) => {
      const statement = { name: 'double', text: 'select $1::int * 2 as twice' };
      const answers = await store.system((tx) =>
        Promise.all([1, 2, 3].map((n) => tx.query<{ twice: number }>(statement, [n]))),
      );
      expect(answers.map(({ rows }) => rows[0]?.twice)).toEqual([2, 4, 6]);
      const { rows } = await store.system((tx) =>
        tx.query(`select name from pg_prepared_statements where name = 'double'`),
      );
      expect(rows).toEqual([{ name: 'double' }]);
    }));

  test('a built statement runs in the transaction', async () => {
    const build = queryBuilder<{ locations: { org_id: string; code: string } }>();
    const found = await db.store.tenant(orgId, async (tx) => {
      await addLocation(tx, 'MAIN');
      return tx.run(build.selectFrom('locations').select('code').where('org_id', '=', orgId));
    });
    expect(found).toEqual({ rows: [{ code: 'MAIN' }], rowCount: 1 });
  });

  test('a statement that runs too long is cut off where the caller says so', async () => {
    await expect(
      db.store.system((tx) => tx.query('select pg_sleep(10)'), { statementTimeoutMs: 50 }),
    ).rejects.toMatchObject({ code: '57014' });
  });
});
