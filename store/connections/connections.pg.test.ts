import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, type TestDatabase, testDatabase, testOrganization } from '../testing/database.ts';
import {
  createConnection,
  deleteConnection,
  getConnection,
  listConnections,
  mapLocation,
  type NewConnection,
  updateConnection,
} from './connections.ts';
import { findWebhookConnection } from './resolve.ts';
import { findDueSweeps, finishSweep, leaseSweep, takeSweep } from './sweeps.ts';

let db: TestDatabase;
let orgId: string;
let made = 0;

beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
});
afterAll(() => db.drop());

const uuid = (): string => {
  made += 1;
  return `00000000-0000-7000-8000-${String(made).padStart(12, '0')}`;
};

async function connect(more: Partial<NewConnection> = {}): Promise<NewConnection> {
  const connection: NewConnection = {
    id: uuid(),
    platform: 'shopify',
    kind: 'live',
    name: 'Shop',
    baseUrl: null,
    settings: {},
    credentials: Buffer.from('sealed'),
    webhookSecrets: Buffer.from('sealed too'),
    webhookFingerprints: [Buffer.from('print')],
    webhookToken: `token-${made}`,
    createdAt: realClock.now(),
    ...more,
  };
  await db.store.tenant(orgId, (tx) => createConnection(tx, orgId, connection));
  return connection;
}

test('a connection is what was stored; a change touches what it names and nothing else', async () => {
  const { id } = await connect({ settings: { shopDomain: 'a.myshopify.com' } });
  await db.store.tenant(orgId, (tx) =>
    updateConnection(tx, orgId, id, { baseUrl: 'http://127.0.0.1:1', credentials: Buffer.from('new') }),
  );
  expect(await db.store.tenant(orgId, (tx) => getConnection(tx, orgId, id))).toMatchObject({
    name: 'Shop',
    baseUrl: 'http://127.0.0.1:1',
    settings: { shopDomain: 'a.myshopify.com' },
    credentials: Buffer.from('new'),
    webhookSecrets: Buffer.from('sealed too'),
    state: 'connected',
    pausedAt: null,
  });
});

test('a deleted connection is not found, not listed, has no secrets, and its address is nobody’s', async () => {
  const { id, webhookToken } = await connect();
  expect(await findWebhookConnection(db.store, 'shopify', webhookToken, null)).toMatchObject({ id });
  expect(await db.store.tenant(orgId, (tx) => deleteConnection(tx, orgId, id, realClock.now()))).toBe(true);
  expect(await db.store.tenant(orgId, (tx) => deleteConnection(tx, orgId, id, realClock.now()))).toBe(false);
  expect(await db.store.tenant(orgId, (tx) => getConnection(tx, orgId, id))).toBe(null);
  expect((await db.store.tenant(orgId, (tx) => listConnections(tx, orgId))).map((one) => one.id)).not.toContain(id);
  expect(await findWebhookConnection(db.store, 'shopify', webhookToken, null)).toBe(null);
  const { rows } = await db.owner.query('select credentials, webhook_secrets from connections where id = $1', [id]);
  expect(rows).toEqual([{ credentials: null, webhook_secrets: null }]);
});

test('another organization cannot read, change or delete it', async () => {
  const { id } = await connect();
  const other = await testOrganization(db);
  expect(await db.store.tenant(other, (tx) => getConnection(tx, orgId, id))).toBe(null);
  expect(await db.store.tenant(other, (tx) => updateConnection(tx, orgId, id, { name: 'Mine now' }))).toBe(false);
  expect(await db.store.tenant(other, (tx) => deleteConnection(tx, orgId, id, realClock.now()))).toBe(false);
  expect(await db.store.tenant(orgId, (tx) => getConnection(tx, orgId, id))).toMatchObject({ name: 'Shop' });
});

test('a location of ours stands behind one place of a connection: mapping it again moves it', async () => {
  const { id } = await connect();
  const location = uuid();
  await db.owner.query(`insert into locations (org_id, id, code, name) values ($1, $2, 'L', 'L')`, [orgId, location]);
  for (const place of ['here', 'there'])
    await db.store.tenant(orgId, (tx) => mapLocation(tx, orgId, id, place, location));
  const { rows } = await db.owner.query('select channel_location from connection_locations where connection_id = $1', [
    id,
  ]);
  expect(rows).toEqual([{ channel_location: 'there' }]);
});

test('a location mapped anew has the numbers of its connection made anew, once there are any', async () => {
  const [{ id }, other] = [await connect(), await connect()];
  const location = uuid();
  await db.owner.query(`insert into locations (org_id, id, code, name) values ($1, $2, 'M', 'M')`, [orgId, location]);
  const map = (place: string) => db.store.tenant(orgId, (tx) => mapLocation(tx, orgId, id, place, location));
  const marked = async () =>
    (
      await db.owner.query(
        'select scope, scope_id, version from dirty_policies where org_id = $1 and scope_id = any ($2)',
        [orgId, [id, other.id]],
      )
    ).rows;
  await map('here');
  expect(await marked()).toEqual([]);
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, compare_and_set) values ($1, $2, $3, 'k', 'here', true)`,
    [orgId, uuid(), id],
  );
  await map('there');
  await map('here');
  expect(await marked()).toEqual([{ scope: 'connection', scope_id: id, version: '2' }]);
});

test('a sweep has one holder at a time; its mark moves forward only', async () => {
  const { id } = await connect();
  const now = realClock.now();
  const take = (at: number) => db.store.tenant(orgId, (tx) => takeSweep(tx, orgId, id, at, at + 30_000));
  const finish = (readTo: number | null) => db.store.tenant(orgId, (tx) => finishSweep(tx, orgId, id, { readTo, now }));
  expect(await take(now)).toMatchObject({ readTo: null });
  expect(await take(now + 1)).toBe(null);
  expect(await take(now + 30_000)).toMatchObject({ readTo: null });
  await finish(now);
  expect(await take(now)).toMatchObject({ readTo: now });
  await finish(now - 60_000);
  expect(await take(now)).toMatchObject({ readTo: now });
  await finish(null);
  expect(await take(now)).toMatchObject({ readTo: now });
});

test('due are connections whose interval has passed, that nobody sweeps, and that are authorised', async () => {
  const now = realClock.now();
  const every = new Map([['amazon', 60_000]]);
  const due = async (at: number) => (await findDueSweeps(db.store, every, at, 10)).map((one) => one.connectionId);
  const { id } = await connect({ platform: 'amazon' });
  expect(await due(now)).toEqual([id]);
  await db.store.tenant(orgId, (tx) => leaseSweep(tx, orgId, id, now + 5_000));
  expect(await due(now)).toEqual([]);
  await db.store.tenant(orgId, (tx) => finishSweep(tx, orgId, id, { readTo: now, now }));
  expect(await due(now + 59_000)).toEqual([]);
  expect(await due(now + 60_000)).toEqual([id]);
  await db.owner.query(`update connections set state = 'unauthorized' where id = $1`, [id]);
  expect(await due(now + 60_000)).toEqual([]);
});
