/** Each alarm in a drill: it begins once, however many processes look, and ends by itself. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { uuidv7 } from '#core/uuid.ts';
import { realClock, type TestDatabase, testDatabase, testOrganization } from '#store/testing/database.ts';
import { createAlarms, judgeAlarms } from './alarms.ts';

let db: TestDatabase;
let orgId: string;
const connectionId = randomUUID();
let now = Date.now();
const limits = { errorPercent: 5, waitSeconds: 60, queueDepth: 100 };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const ids = {
  uuid: () =>
    uuidv7(
      now,
      new Uint8Array(10).map(() => Math.floor(Math.random() * 256)),
    ),
};
const process = () => createAlarms({ store: db.store, clock: { ...realClock, now: () => now }, ids, log, limits });

beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
  await testOrganization(db);
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'shopify', 'simulated', 'Shop', 't')`,
    [orgId, connectionId],
  );
});
beforeEach(async () => {
  now += 3_600_000;
  for (const table of ['alerts', 'inbox', 'outside_calls', 'targets']) await db.owner.query(`delete from ${table}`);
});
afterAll(() => db.drop());

const alerts = async () =>
  (
    await db.owner.query(
      'select org_id = $1 as ours, kind, severity, message, count, resolved_at is null as open from alerts order by created_at',
      [orgId],
    )
  ).rows;
const calls = (n: number, status: number | null, error: string | null = null) =>
  db.owner.query(
    `insert into outside_calls (org_id, id, connection_id, operation, method, url, took_ms, status, error_code, at)
     select $1, gen_random_uuid(), $2, 'x', 'GET', 'https://x', 1, $3, $4, $5 from generate_series(1, $6)`,
    [orgId, connectionId, status, error, new Date(now), n],
  );
const events = (n: number, dueAt: number, more = 'false') =>
  db.owner.query(
    `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, next_at, fetching)
     select $1, gen_random_uuid(), $2, 'order', g::text, 'x', 'webhook', '\\x00', '{}', $3, $3, ${more} from generate_series(1, $4) g`,
    [orgId, connectionId, new Date(dueAt), n],
  );
const number = (state: string, dirtyAt: number) =>
  db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id, state, dirty_version, dirty_since)
     values ($1, gen_random_uuid(), $2, $3, 'L', (select id from variants where org_id = $1 limit 1), $3, 1, $4)`,
    [orgId, connectionId, state, new Date(dirtyAt)],
  );

test('more than 5 % failed calls: one critical alert from two processes, quiet while it lasts, over when the window has passed', async () => {
  await calls(95, 200);
  await calls(5, null, 'timeout');
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  await calls(1, 503);
  const looks = await Promise.all([process().run(), process().run(), process().run()]);
  expect(looks.reduce((sum, { raised }) => sum + raised, 0)).toBe(1);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  expect(await alerts()).toEqual([
    {
      ours: true,
      kind: 'errors_high',
      severity: 'critical',
      message:
        '6 of 101 calls to the channels failed within 5 minutes (5.9 %, the limit is 5 %). Numbers follow later than usual; nothing is lost.',
      count: 1,
      open: true,
    },
  ]);
  now += 300_001;
  const over = await Promise.all([process().run(), process().run()]);
  expect(over.reduce((sum, { ended }) => sum + ended, 0)).toBe(1);
  expect(await alerts()).toMatchObject([{ open: false }]);
});

test('a refusal for rate is no failure, and of few calls nothing is said', async () => {
  await calls(80, 200);
  await calls(20, 429);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  await db.owner.query('delete from outside_calls');
  await calls(19, 500);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  expect(await alerts()).toEqual([]);
});

test('an event that waits for more than 60 s: alarmed, and over once it is applied; one that is being read, or waits out its pause, is not late', async () => {
  await events(1, now - 600_000, 'true');
  await events(1, now + 60_000);
  await events(1, now - 59_000);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  now += 2_000;
  expect(await process().run()).toEqual({ raised: 1, ended: 0 });
  expect(await alerts()).toMatchObject([
    {
      kind: 'work_waiting',
      severity: 'critical',
      message: 'The oldest work has waited 61 s (the limit is 60 s): channels may show too much meanwhile.',
    },
  ]);
  await db.owner.query(`update inbox set state = 'done'`);
  expect(await process().run()).toEqual({ raised: 0, ended: 1 });
  expect(await alerts()).toMatchObject([{ open: false }]);
});

test('a number that waits for more than 60 s is late too, but not one that is refused, paused, or of a stopped connection', async () => {
  await db.owner.query(
    `insert into variants (org_id, id, sku, title) values ($1, gen_random_uuid(), 'MUG', 'Mug') on conflict do nothing`,
    [orgId],
  );
  await number('rejected', now - 600_000);
  await number('paused', now - 600_000);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  await number('pending', now - 61_000);
  await db.owner.query(`update connections set state = 'unauthorized'`);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  await db.owner.query(`update connections set state = 'connected'`);
  expect(await process().run()).toEqual({ raised: 1, ended: 0 });
  await db.owner.query(`update targets set handled_version = dirty_version`);
  expect(await process().run()).toEqual({ raised: 0, ended: 1 });
});

test('a queue deeper than its limit: alarmed, over when it is worked off', async () => {
  await events(100, now);
  expect(await process().run()).toEqual({ raised: 0, ended: 0 });
  await events(1, now);
  expect(await process().run()).toEqual({ raised: 1, ended: 0 });
  expect(await alerts()).toMatchObject([
    {
      kind: 'queue_deep',
      severity: 'warning',
      message: '101 events and numbers wait (the limit is 100). They are worked off, cuts first.',
    },
  ]);
  await db.owner.query(`update inbox set state = 'done'`);
  expect(await process().run()).toEqual({ raised: 0, ended: 1 });
});

test('exactly at a limit nothing is said', () => {
  const figures = { orgId, calls: 100, callsFailed: 5, waiting: 100, oldestSeconds: 60, hasOpen: false };
  expect(judgeAlarms(figures, limits)).toEqual({ errors_high: null, work_waiting: null, queue_deep: null });
});
