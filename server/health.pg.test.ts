/** Each part says what is wrong with it, in words, and only that part. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, realRandom, type TestDatabase, testDatabase, testOrganization } from '#store/testing/database.ts';
import { createStore } from '#store/tx.ts';
import { readFigures } from '#store/views/figures.ts';
import { createHealth, type Health, type HealthSources } from './health.ts';

let db: TestDatabase;
let orgId: string;
const connectionId = randomUUID();

beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token, orders_swept_at, stock_swept_at)
     values ($1, $2, 'shopify', 'simulated', 'Shop', 't', now(), now())`,
    [orgId, connectionId],
  );
});
afterAll(() => db.drop());

const check = (more: Partial<HealthSources> = {}): Promise<Health> =>
  createHealth({
    store: db.store,
    clock: realClock,
    figures: () => readFigures(db.store, Date.now()),
    databaseFolder: '/tmp',
    openBreakers: () => [],
    pendingMigrations: 0,
    ...more,
  }).check(orgId);
const ill = ({ parts }: Health) =>
  parts.filter(({ state }) => state !== 'ok').map(({ part, state, reason }) => [part, state, reason]);

test('where all is well every part is ok', async () => {
  const health = await check();
  expect([health.state, ill(health)]).toEqual(['ok', []]);
  expect(health.parts.map(({ part }) => part)).toEqual([
    'database',
    'clock',
    'database pool',
    'migrations',
    'disk',
    'inbox',
    'Shop: access',
    'Shop: lane',
    'Shop: order sweep',
    'Shop: stock sweep',
  ]);
});

test('a database that does not answer is down, and nothing is said of what cannot be seen', async () => {
  const url = new URL(db.appUrl);
  url.pathname = '/no_such_database';
  const store = createStore(url.href, { clock: realClock, random: realRandom, max: 1 });
  const health = await check({ store });
  await store.end();
  expect([health.state, ill(health).map(([part, state]) => [part, state])]).toEqual(['down', [['database', 'down']]]);
  expect(health.parts[0]?.reason).toContain('does not answer: database "no_such_database" does not exist');
});

test('a refused access, late sweeps, an open breaker, waiting events, a clock apart and missing migrations are each named', async () => {
  await db.owner.query(
    `update connections set state = 'unauthorized', state_reason = 'token revoked', orders_swept_at = now() - interval '2 hours' where id = $1`,
    [connectionId],
  );
  await db.owner.query(
    `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, next_at)
     values ($1, $2, $3, 'order', 'o', 't', 'webhook', 'x', 'x', now() - interval '11 minutes', now())`,
    [orgId, randomUUID(), connectionId],
  );
  const health = await check({
    openBreakers: () => [connectionId],
    pendingMigrations: 2,
    clock: { ...realClock, now: () => Date.now() + 7_000 },
  });
  expect(health.state).toBe('down');
  expect(ill(health).map(([part, state]) => [part, state])).toEqual([
    ['clock', 'degraded'],
    ['migrations', 'down'],
    ['inbox', 'down'],
    ['Shop: access', 'down'],
    ['Shop: order sweep', 'degraded'],
    ['Shop: breaker', 'degraded'],
  ]);
  expect(health.parts.find(({ part }) => part === 'inbox')?.reason).toBe('1 events wait, the oldest for 11 min');
  expect(health.parts.find(({ part }) => part === 'Shop: access')?.reason).toContain('unauthorized: token revoked');
  const since = Date.parse(health.parts.find(({ part }) => part === 'inbox')?.since ?? '');
  expect(Math.abs(Date.now() - 660_000 - since)).toBeLessThan(30_000);
});
