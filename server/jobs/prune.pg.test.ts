/** Old rows go, young and needed ones stay, and nothing that is locked is waited for. */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { uuidv7 } from '#core/uuid.ts';
import { realClock, type TestDatabase, testDatabase, testOrganization } from '#store/testing/database.ts';
import { createPruner, retention } from './prune.ts';

let db: TestDatabase;
let orgId: string;
const connectionId = randomUUID();
const targetId = randomUUID();
const now = Date.now();
const day = 86_400_000;
const idAt = (ms: number) => uuidv7(ms, randomBytes(10));
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const pruner = (batch = 500) =>
  createPruner({ store: db.store, clock: { ...realClock, now: () => now }, log, batch, pauseMs: 1 });
const count = async (table: string) =>
  (await db.owner.query<{ n: number }>(`select count(*)::int as n from ${table} where org_id = $1`, [orgId])).rows[0]
    ?.n;

beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'shopify', 'simulated', 'Shop', 't')`,
    [orgId, connectionId],
  );
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location) values ($1, $2, $3, 'MUG', 'L')`,
    [orgId, targetId, connectionId],
  );
});
afterAll(() => db.drop());

const call = (at: number) =>
  db.owner.query(
    `insert into outside_calls (org_id, id, connection_id, operation, method, url, took_ms, at) values ($1, $2, $3, 'x', 'GET', 'https://x', 1, $4)`,
    [orgId, idAt(at), connectionId, new Date(at)],
  );
const event = (at: number, state: string) =>
  db.owner.query(
    `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, next_at, state)
     values ($1, $2, $3, 'order', 'o', 't', 'webhook', $4, 'body', $5, $5, $6)`,
    [orgId, idAt(at), connectionId, randomBytes(32), new Date(at), state],
  );
const attempt = (at: number, outcome: string | null) =>
  db.owner.query(
    `insert into attempts (org_id, id, target_id, connection_id, value, call_key, lane, lease_generation, sent_at, derivation, outcome)
     values ($1, $2, $3, $4, 1, $2, $2, 1, $5, '[]', $6)`,
    [orgId, idAt(at), targetId, connectionId, new Date(at), outcome],
  );
const observation = (at: number) =>
  db.owner.query(
    `insert into observations (org_id, id, target_id, value, vendor_at, recorded_at, source, counted, verdict) values ($1, $2, $3, 1, $4, $4, 'read', true, 'first')`,
    [orgId, idAt(at), targetId, new Date(at)],
  );

test('old rows go in small batches; young, open, dead and newest ones stay', async () => {
  for (let n = 0; n < 7; n += 1) await call(now - 91 * day - n);
  await call(now - 89 * day);
  for (const state of ['done', 'superseded', 'duplicate', 'dead', 'waiting']) await event(now - 31 * day, state);
  await event(now - 29 * day, 'done');
  for (const outcome of ['applied', 'unknown', null]) await attempt(now - 181 * day, outcome);
  await attempt(now - day, 'applied');
  await observation(now - 190 * day);
  await observation(now - 185 * day);
  await db.owner.query(
    `insert into events (org_id, type, key, version, at) values ($1, 'stock', 'a', 1, $2), ($1, 'stock', 'b', 1, $3)`,
    [orgId, new Date(now - 2 * day), new Date(now)],
  );
  await db.owner.query(
    `insert into idempotency_keys (org_id, caller, method, path, key, body_hash, created_at) values ($1, 'c', 'POST', '/', 'a', 'x', $2), ($1, 'c', 'POST', '/', 'b', 'x', $3)`,
    [orgId, new Date(now - 31 * day), new Date(now)],
  );
  await db.owner.query(
    `insert into import_files (org_id, id, name, content, created_at) values ($1, $2, 'f', 'x', $3)`,
    [orgId, randomUUID(), new Date(now - 31 * day)],
  );
  for (const [run, finished] of [
    [randomUUID(), now - 91 * day],
    [randomUUID(), now - day],
  ] as const) {
    await db.owner.query(
      `insert into runs (org_id, id, kind, title, params, state, actor, created_at, finished_at) values ($1, $2, 'import-stock', 'x', '{}', 'done', 'cli', $3, $3)`,
      [orgId, run, new Date(finished)],
    );
    for (const item of [1, 2])
      await db.owner.query(
        `insert into run_items (org_id, run_id, item, outcome, subject) values ($1, $2, $3, 'done', 'MUG')`,
        [orgId, run, item],
      );
    await db.owner.query(`insert into run_files (org_id, run_id, part, content) values ($1, $2, 1, 'x')`, [orgId, run]);
    await db.owner.query(
      `insert into run_rows (org_id, run_id, phase, place, item, turn) values ($1, $2, 0, 2, 2, 0), ($1, $2, 0, 3, 3, 0)`,
      [orgId, run],
    );
  }
  const gone = await pruner(3).run();
  expect(gone).toEqual({
    outside_calls: 7,
    inbox: 3,
    idempotency_keys: 1,
    events: 1,
    observations: 1,
    attempts: 1,
    import_files: 1,
    catalog_pages: 0,
    run_files: 1,
    run_items: 2,
    run_rows: 2,
  });
  expect(await Promise.all(['outside_calls', 'inbox', 'attempts', 'observations', 'events'].map(count))).toEqual([
    1, 3, 3, 1, 1,
  ]);
  expect(Object.values(await pruner().run()).every((rows) => rows === 0)).toBe(true);
});

test('a second process prunes nothing meanwhile, and a locked row is passed over', async () => {
  await call(now - 91 * day);
  const other = await db.owner.connect();
  try {
    await other.query('begin');
    await other.query(`select pg_advisory_xact_lock(hashtextextended('syncstate.prune', 0))`);
    expect(await pruner().run()).toEqual({});
    await other.query('rollback');
    await other.query('begin');
    await other.query('select 1 from outside_calls where org_id = $1 order by at limit 1 for update', [orgId]);
    expect(await pruner().run()).toMatchObject({ outside_calls: 0 });
    await other.query('rollback');
  } finally {
    other.release();
  }
  expect(await pruner().run()).toMatchObject({ outside_calls: 1 });
});

test('the page on retention says what is pruned', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'retention.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) \| (.*) \|$/gm)].map(([, kind, days, what]) => ({
    kind,
    days: Number(days),
    what,
  }));
  expect(rows).toEqual([...retention]);
});
