import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testStore } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { type Alert, raiseAlerts, resolveAlerts } from './alerts.ts';
import { settleRefused, tellRefused } from './rejected.ts';

let db: TestDatabase;
let store: Store;
const orgId = randomUUID();
const now = Date.UTC(2026, 0, 5, 12);
const by = { ids: { uuid: () => randomUUID() as string }, now };

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
  await db.owner.query(`insert into organizations (org_id, slug, name) values ($1, 'alerts', 'Alerts')`, [orgId]);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const about = (id: string, message = 'Not reached.'): Alert => ({
  kind: 'connection_unreachable',
  message,
  subject: { kind: 'connection', id },
});
const raise = (...alerts: Alert[]) => store.tenant(orgId, (tx) => raiseAlerts(tx, orgId, alerts, by));
const rows = async (...subjects: string[]) =>
  (
    await db.owner.query(
      `select kind, severity, message, count, read_at is not null as read, resolved_at is not null as over from alerts
       where org_id = $1 and subject_id = any($2) order by created_at, resolved_at nulls last, id`,
      [orgId, subjects],
    )
  ).rows;
const told = async (id: string | undefined) =>
  (
    await db.owner.query(
      `select version::int from events where org_id = $1 and type = 'alert' and key = $2 order by seq`,
      [orgId, id],
    )
  ).rows.map(({ version }) => version);

test('the same alert raised by twelve at once is one row that counts twelve, and every raise is told once', async () => {
  const [a, b] = [randomUUID(), randomUUID()];
  const raised = await Promise.all(
    Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? raise(about(a), about(b)) : raise(about(b), about(a)))),
  );
  expect(new Set(raised.flat()).size).toBe(2);
  const one = {
    kind: 'connection_unreachable',
    severity: 'warning',
    message: 'Not reached.',
    count: 12,
    read: false,
    over: false,
  };
  expect(await rows(a, b)).toEqual([one, one]);
  expect(await told(raised[0]?.[0])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

test('twice in one call is one; it is unread again only when it says something else; after its end the next is a new one', async () => {
  const id = randomUUID();
  const read = () =>
    db.owner.query('update alerts set read_at = now() where org_id = $1 and subject_id = $2', [orgId, id]);
  await raise(about(id, 'first'), about(id, 'second'));
  await read();
  await raise(about(id, 'second'));
  expect(await rows(id)).toMatchObject([{ message: 'second', count: 2, read: true }]);
  await raise(about(id, 'third'));
  expect(await rows(id)).toMatchObject([{ message: 'third', count: 3, read: false }]);
  const end = () => store.tenant(orgId, (tx) => resolveAlerts(tx, orgId, 'connection_unreachable', [id], now));
  await Promise.all([end(), end()]);
  await raise(about(id, 'again'));
  expect(await rows(id)).toMatchObject([
    { message: 'third', over: true },
    { message: 'again', count: 1, over: false },
  ]);
});

test('5,000 refused numbers of a connection are 21 alerts; the connection’s own ends with the last refused number', async () => {
  const connectionId = randomUUID();
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'shopify', 'simulated', 'Refusing', 'refusing')`,
    [orgId, connectionId],
  );
  const { rows: made } = await db.owner.query<{ id: string }>(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, state)
     select $1, gen_random_uuid(), $2, 'k' || n, 'l', 'rejected' from generate_series(1, 5000) n returning id`,
    [orgId, connectionId],
  );
  const refused = made.map(({ id }) => ({ targetId: id, message: `No such item ${id}.` }));
  const tell = (from: number, to: number) =>
    store.tenant(orgId, (tx) => tellRefused(tx, orgId, connectionId, refused.slice(from, to), by));
  for (let n = 0; n < 5000; n += 500) await tell(n, n + 500);
  await tell(0, 30);
  const open = async () =>
    (
      await db.owner.query(
        `select kind, count(*)::int as n, max(count) as most from alerts where org_id = $1 and resolved_at is null and kind like 'listing%' group by kind order by kind`,
        [orgId],
      )
    ).rows;
  expect(await open()).toEqual([
    { kind: 'listing_rejected', n: 20, most: 2 },
    { kind: 'listings_rejected', n: 1, most: 11 },
  ]);
  expect(await rows(connectionId)).toMatchObject([
    { message: expect.stringMatching(/^The channel refuses 5000 numbers of this connection; the last: No such item /) },
  ]);
  const right = async (ids: string[]) => {
    await db.owner.query(`update targets set state = 'in_sync' where org_id = $1 and id = any($2)`, [orgId, ids]);
    await store.tenant(orgId, (tx) => settleRefused(tx, orgId, connectionId, ids, now));
  };
  const all = made.map(({ id }) => id);
  await right(all.slice(1));
  expect(await open()).toMatchObject([{ n: 1 }, { kind: 'listings_rejected', n: 1 }]);
  await right(all.slice(0, 1));
  expect(await open()).toEqual([]);
});
