/** The runner with kinds made for the purpose: long ones, failing ones, ones that end their process (P10). */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { CodedError } from '#core/errors.ts';
import { context, makeWorld, testIds, testStore, type World } from '#store/ledger/ledger.testing.ts';
import { cancelRun, createRun, takeRun } from '#store/runs/runs.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Store } from '#store/tx.ts';
import { readRun } from '#store/views/runs.ts';
import { receive } from '../api/routes/imports.ts';
import { createRunner, type RunKind, type Runner } from './runs.ts';

let database: TestDatabase;
let store: Store;
let a: World;
let b: World;
let now = context.now;
const clock = {
  now: () => now,
  monotonicMs: () => performance.now(),
  sleep: (ms: number, signal?: AbortSignal) =>
    new Promise<void>((done) => {
      const timer = setTimeout(done, Math.min(ms, 20));
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        done();
      });
    }),
};

beforeAll(async () => {
  database = await testDatabase();
  store = testStore(database.appUrl);
});
afterAll(async () => {
  await store.end();
  await database.drop();
});
beforeEach(async () => {
  await database.owner.query('truncate runs cascade');
  a = await makeWorld(database.owner, 1);
  b = await makeWorld(database.owner, 1);
});

const runner = (kinds: Record<string, RunKind>): Runner =>
  createRunner({
    store,
    clock,
    ids: testIds,
    log: { info() {}, warn() {}, error() {} },
    kinds,
    wake() {},
    mapped: async () => {},
  });

async function make(world: World, kind: string): Promise<string> {
  const run = { id: testIds.uuid(), kind, connectionId: null, title: kind, params: {}, dryRun: false };
  const more = { actor: 'test', key: null, inverseOf: null, state: 'waiting' as const };
  now += 1;
  await store.tenant(world.orgId, (tx) => createRun(tx, world.orgId, { ...run, ...more }, now));
  return run.id;
}

async function view(world: World, id: string) {
  const found = await store.tenant(world.orgId, (tx) => readRun(tx, world.orgId, id, now));
  if (found === null) throw new Error('no run');
  return found;
}

async function until(is: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    if (await is()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error('it never came to it');
}

const atOnce: RunKind = { execute: async () => ({ message: null, errorFile: null }) };
/** Steps for ever, until it is told to stop. */
const endless: RunKind = {
  async execute({ run, store: own, advance }) {
    const step = { succeeded: 1, failed: 0, unchanged: 0, items: [] };
    for (;;) {
      await own.tenant(run.orgId, (tx) => advance(tx, step));
      await new Promise((done) => setTimeout(done, 5));
    }
  },
};
const failing = (code: string, message = code): RunKind => ({
  async execute() {
    throw Object.assign(new Error(message), { code });
  },
});

test('one organization’s many long runs hold up no other organization’s run', async () => {
  const long = [];
  for (let n = 0; n < 60; n += 1) long.push(await make(a, 'long'));
  const short = await make(b, 'short');
  const running = runner({ long: endless, short: atOnce });
  running.start();
  try {
    await until(async () => (await view(b, short)).state === 'done');
    expect((await view(a, long[0] ?? '')).state).toBe('running');
    expect((await view(a, long[59] ?? '')).state).toBe('waiting');
  } finally {
    await running.stop();
  }
}, 30_000);

test('a runner that stops gives its runs back: the next one goes on at once, where it was', async () => {
  const id = await make(a, 'long');
  const first = runner({ long: endless });
  first.start();
  await until(async () => (await view(a, id)).done > 2);
  const begun = performance.now();
  await first.stop();
  expect(performance.now() - begun).toBeLessThan(2_000);
  const left = await view(a, id);
  expect(left).toMatchObject({ state: 'waiting', taken: 1 });
  await runner({ long: atOnce }).drain();
  expect(await view(a, id)).toMatchObject({ state: 'done', taken: 2, done: left.done });
});

test('a run that was to be cancelled when its holder died never takes another step', async () => {
  const id = await make(a, 'long');
  await store.tenant(a.orgId, (tx) => takeRun(tx, a.orgId, id, { holder: testIds.uuid(), now, forMs: 30_000 }));
  await store.tenant(a.orgId, (tx) => cancelRun(tx, a.orgId, id, now));
  now += 31_000;
  await runner({ long: endless }).drain();
  expect(await view(a, id)).toMatchObject({ state: 'cancelled', done: 0 });
});

test('a run whose channel never answers says so while it waits, and can be cancelled', async () => {
  const id = await make(a, 'away');
  const running = runner({ away: failing('connector.unavailable', 'The shop does not answer.') });
  await running.drain();
  expect(await view(a, id)).toMatchObject({ state: 'running', message: 'Waits: The shop does not answer.', taken: 1 });
  await running.drain();
  expect((await view(a, id)).taken).toBe(1);
  await store.tenant(a.orgId, (tx) => cancelRun(tx, a.orgId, id, now));
  now += 31_000;
  await running.drain();
  expect((await view(a, id)).state).toBe('cancelled');
});

test('a reason that no database can hold ends the run all the same', async () => {
  const id = await make(a, 'odd');
  await runner({ odd: failing('import.unreadable', 'Found: s\0ku \uD800') }).drain();
  expect(await view(a, id)).toMatchObject({
    state: 'failed',
    errorCode: 'import.unreadable',
    message: 'Found: sku \uFFFD',
  });
});

test('what the database refuses is said in words before its own', async () => {
  const id = await make(a, 'odd');
  const execute = async (): Promise<never> => {
    await store.tenant(a.orgId, (tx) => tx.query(`select 'x'::integer`));
    throw new Error('it did not refuse');
  };
  await runner({ odd: { ...atOnce, execute } }).drain();
  expect(await view(a, id)).toMatchObject({
    state: 'failed',
    errorCode: 'database.22P02',
    message:
      'Its data breaks a rule that we hold for every order. (invalid input syntax for type integer: "x"; database.22P02)',
  });
});

test('a run that ends its process five times in a row at the same place is given up, one that only waits for its channel is not', async () => {
  const deadly = await make(a, 'deadly');
  const away = await make(b, 'away');
  const running = runner({ deadly: atOnce, away: failing('connector.rate_limited') });
  for (let time = 1; time <= 5; time += 1) {
    await store.tenant(a.orgId, (tx) => takeRun(tx, a.orgId, deadly, { holder: testIds.uuid(), now, forMs: 30_000 }));
    await running.execute(b.orgId, away);
    now += 31_000;
  }
  await running.execute(b.orgId, away);
  expect((await view(b, away)).state).toBe('running');
  await running.drain();
  expect(await view(a, deadly)).toMatchObject({
    state: 'failed',
    errorCode: 'run.given_up',
    message: 'Its worker died five times at the same place; it was given up. What was done until then stays done.',
  });
});

test('an upload that is slow, but alive, is not given up', async () => {
  const run = { id: testIds.uuid(), kind: 'import', connectionId: null, title: 'slow', params: {}, dryRun: false };
  const more = { actor: 'test', key: null, inverseOf: null, state: 'receiving' as const };
  await store.tenant(a.orgId, (tx) => createRun(tx, a.orgId, { ...run, ...more }, now));
  const running = runner({ import: atOnce });
  async function* trickle() {
    for (let n = 0; n < 30; n += 1) {
      yield Buffer.from(`row ${n}\n`);
      now += 10_000;
      await running.drain();
    }
  }
  await receive({ store, clock }, a.orgId, run.id, Readable.from(trickle()));
  expect((await view(a, run.id)).state).toBe('waiting');
  const { rows } = await database.owner.query<{ text: string }>(
    `select string_agg(convert_from(content, 'utf8'), '' order by part) as text from run_files where run_id = $1`,
    [run.id],
  );
  expect(rows[0]?.text).toBe(Array.from({ length: 30 }, (_, n) => `row ${n}\n`).join(''));
});

test('every code with which a run can fail is listed in docs/errors.md, and none stands beside a run that did not', async () => {
  const codes = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const unknown = await make(a, 'odd');
  const one = await runner({}).execute(a.orgId, unknown);
  expect([one, await view(a, unknown)]).toMatchObject([true, { state: 'failed', errorCode: 'run.unknown_kind' }]);
  const thrown = { refused: new CodedError('run.not_connected', 'gone'), plain: new Error('ours') };
  for (const [kind, error] of Object.entries(thrown)) {
    const id = await make(a, kind);
    const execute = () => Promise.reject(error);
    await runner({ [kind]: { execute } }).execute(a.orgId, id);
    const { errorCode } = await view(a, id);
    expect(errorCode).toBe(kind === 'refused' ? 'run.not_connected' : 'assertion');
    expect(codes).toContain(`\`${errorCode}\``);
  }
  const done = await make(a, 'fine');
  await runner({ fine: atOnce }).execute(a.orgId, done);
  expect(await view(a, done)).toMatchObject({ state: 'done', errorCode: null });
});
