/** The last units stand on one channel only: real lanes, real simulators. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { setPolicy } from '#store/catalog/policies.ts';
import { deleteConnection } from '#store/connections/connections.ts';
import { pauseConnection, resumeConnection } from '#store/listings/halts.ts';
import { mapListing } from '#store/listings/listings.ts';
import { settleScarcity } from '#store/listings/scarcity.ts';
import { setShadow } from '#store/listings/shadow.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { readWindows } from '#store/views/window.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { explain } from './explain.ts';
import type { Publisher } from './publisher-types.ts';
import { failures, publishingStage, type Shop, type Stage } from './publishing.testing.ts';
import { shopifyShop, type TestShopify } from './shopify-shop.testing.ts';

let db: TestDatabase;
let stage: Stage;
let a: TestShopify;
let b: TestShopify;
let amazon: Shop;
let publisher: Publisher;

beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
  for (const sku of ['MUG', 'CUP']) await stage.variant(sku);
  await stage.bundle('SET', { MUG: 2, CUP: 1 });
  await stage.stock('MUG', 20);
  await stage.stock('CUP', 20);
  a = await shopifyShop(stage, { MUG: [20, 0], CUP: [20, 0], SET: [10, 0] }, { name: 'shop-a' });
  b = await shopifyShop(stage, { MUG: [20, 0], CUP: [20, 0], SET: [10, 0] }, { name: 'shop-b' });
  amazon = await amazonShop(stage, { MUG: 20 });
  await priority(b, 10);
  publisher = stage.publisher([a, b, amazon]);
  await publisher.drain();
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const priority = (shop: Shop, value: number) =>
  db.owner.query('update connections set priority = $3 where org_id = $1 and id = $2', [
    stage.orgId,
    shop.connection.connectionId,
    value,
  ]);

async function limit(
  scope: 'organization' | 'connection' | 'variant',
  scopeId: string,
  lastUnits: number | null,
  lastUnitsTo: 'priority' | 'sales' | null = null,
): Promise<void> {
  await db.store.tenant(stage.orgId, (tx) =>
    setPolicy(
      tx,
      stage.orgId,
      { scope, scopeId },
      { lastUnits, lastUnitsTo },
      { actor: 'test', now: stage.clock.now(), id: stage.ids.uuid() },
    ),
  );
}

async function settled(): Promise<void> {
  await publisher.drain();
  stage.clock.advance(60_000);
  await publisher.drain();
}

const shown = async (sku: string): Promise<number[]> => [
  await a.number(sku, a.main),
  await b.number(sku, b.main),
  ...(sku === 'MUG' ? [await amazon.number(sku)] : []),
];

const episodes = async () =>
  (
    await db.owner.query<{ name: string; last_units: number; available: number; open: boolean }>(
      `select c.name, e.last_units, e.available, e.valid_to is null as open from scarcity_episodes e
       join connections c on c.id = e.connection_id where e.org_id = $1 order by e.valid_from, e.id`,
      [stage.orgId],
    )
  ).rows;

test('at the limit the last units stay on the connection of highest priority, every other shows 0, and plenty opens all again', async () => {
  await limit('organization', stage.orgId, 3);
  await settled();
  expect(await shown('MUG')).toEqual([20, 20, 20]);
  await stage.sell('MUG', 16);
  await settled();
  expect(await shown('MUG')).toEqual([4, 4, 4]);
  await stage.sell('MUG', 1);
  await settled();
  expect(await shown('MUG')).toEqual([0, 3, 0]);
  // Not at 5 = 3 + ⌈3 / 2⌉: it does not flap.
  await stage.stock('MUG', 22);
  await settled();
  expect(await shown('MUG')).toEqual([0, 5, 0]);
  await stage.stock('MUG', 23);
  await settled();
  expect(await shown('MUG')).toEqual([6, 6, 6]);
  expect(await episodes()).toEqual([{ name: 'shop-b', last_units: 3, available: 3, open: false }]);
});

test('a bundle is withheld where a scarce part of it is not offered', async () => {
  await limit('variant', stage.variants.CUP ?? '', 4);
  await stage.sell('CUP', 16);
  await settled();
  expect(await shown('CUP')).toEqual([0, 4]);
  expect(await shown('SET')).toEqual([0, 4]);
  expect(await shown('MUG')).toEqual([20, 20, 20]);
});

test('by sales: the connection that sold more lately has the last units, and the choice stays when that changes', async () => {
  await limit('organization', stage.orgId, 2, 'sales');
  const order = async (shop: Shop, units: number) => {
    const orderId = stage.ids.uuid();
    await db.owner.query(
      `insert into orders (org_id, id, connection_id, external_id, number, status, payment, fulfillment, channel_version, content_hash, placed_at)
       values ($1, $2, $3, $2::uuid::text, '#1', 'confirmed', 'paid', 'unfulfilled', now(), '', to_timestamp($4::float8 / 1000.0))`,
      [stage.orgId, orderId, shop.connection.connectionId, stage.clock.now()],
    );
    await db.owner.query(
      `insert into order_lines (org_id, id, order_id, external_id, variant_id, ordered, wanted) values ($1, $2, $3, '1', $4, $5, $5)`,
      [stage.orgId, stage.ids.uuid(), orderId, stage.variants.MUG, units],
    );
  };
  await order(a, 9);
  await order(b, 4);
  await stage.sell('MUG', 18);
  await settled();
  expect(await shown('MUG')).toEqual([2, 0, 0]);
  await order(b, 40);
  await stage.sell('MUG', 1);
  await settled();
  expect(await shown('MUG')).toEqual([1, 0, 0]);
});

test('a connection set to 0 shows its number whatever the others do', async () => {
  await limit('organization', stage.orgId, 5);
  await limit('connection', amazon.connection.connectionId, 0);
  await stage.sell('MUG', 16);
  await settled();
  expect(await shown('MUG')).toEqual([0, 4, 4]);
});

test('switching it on finds what is scarce already, switching it off opens everything, and each step explains itself', async () => {
  await stage.sell('MUG', 18);
  await settled();
  expect(await shown('MUG')).toEqual([2, 2, 2]);
  const before = stage.clock.now();
  await limit('organization', stage.orgId, 2);
  await settled();
  expect(await shown('MUG')).toEqual([0, 2, 0]);
  const during = stage.clock.now();
  await limit('organization', stage.orgId, null);
  await settled();
  expect(await shown('MUG')).toEqual([2, 2, 2]);
  const tell = async (at: number) =>
    (await db.store.readOnly(stage.orgId, (tx) => explain(tx, stage.orgId, 'MUG', null, stage.clock.now(), at)))
      ?.filter(
        ({ connection, channelLocation }) => connection !== 'amazon' && [a.main, b.main].includes(channelLocation),
      )
      .map(({ connection, desired, steps }) => [connection, desired, steps.at(-1)?.label])
      .sort();
  expect(await tell(before)).toEqual([
    ['shop-a', 2, 'available'],
    ['shop-b', 2, 'available'],
  ]);
  expect(await tell(during)).toEqual([
    ['shop-a', 0, 'the last 2 of MUG are offered on shop-b only'],
    ['shop-b', 2, 'available'],
  ]);
});

test('what another organization set, or has scarce, changes nothing here', async () => {
  const other = await publishingStage(db);
  try {
    await other.variant('MUG');
    await db.store.tenant(other.orgId, (tx) =>
      setPolicy(
        tx,
        other.orgId,
        { scope: 'organization', scopeId: other.orgId },
        { lastUnits: 50 },
        { actor: 'test', now: other.clock.now(), id: other.ids.uuid() },
      ),
    );
    await stage.sell('MUG', 19);
    await settled();
    expect(await shown('MUG')).toEqual([1, 1, 1]);
    expect(await episodes()).toEqual([]);
  } finally {
    await other.close();
  }
});

test('the window of a channel is measured from the sale to its corrected number, with what it can oversell meanwhile', async () => {
  const soldAt = stage.clock.now();
  const cause = (from: Shop, ago: number) =>
    JSON.stringify([
      { key: 'k', from: from.connection.connectionId, soldAt: soldAt - ago, receivedAt: soldAt - ago + 5 },
    ]);
  const attempt = async (shop: Shop, causes: string, outcome: string) =>
    db.owner.query(
      `insert into attempts (org_id, id, target_id, connection_id, value, call_key, lane, lease_generation, sent_at, derivation, outcome, finished_at, causes)
       select org_id, $3, id, connection_id, 1, $3, $3, 1, to_timestamp($4::float8 / 1000.0), '[]', $5, to_timestamp($4::float8 / 1000.0), $6
       from targets where org_id = $1 and connection_id = $2 limit 1`,
      [stage.orgId, shop.connection.connectionId, stage.ids.uuid(), soldAt, outcome, causes],
    );
  for (const ago of [40, 60, 80]) await attempt(b, cause(a, ago), 'applied');
  // Its own sale, a refused write and one of hours ago say nothing of the window.
  await attempt(b, cause(b, 900), 'applied');
  await attempt(b, cause(a, 900), 'rejected');
  await attempt(b, cause(a, 7_200_000), 'applied');
  const sold = async (shop: Shop, units: number, at: number) => {
    const orderId = stage.ids.uuid();
    await db.owner.query(
      `insert into orders (org_id, id, connection_id, external_id, number, status, payment, fulfillment, channel_version, content_hash, placed_at)
       values ($1, $2, $3, $2::uuid::text, '#1', 'confirmed', 'paid', 'unfulfilled', now(), '', to_timestamp($4::float8 / 1000.0))`,
      [stage.orgId, orderId, shop.connection.connectionId, at],
    );
    await db.owner.query(
      `insert into order_lines (org_id, id, order_id, external_id, variant_id, ordered, wanted) values ($1, $2, $3, '1', $4, $5, $5)`,
      [stage.orgId, stage.ids.uuid(), orderId, stage.variants.MUG, units],
    );
  };
  const second = Math.floor(soldAt / 1_000) * 1_000 - 60_000;
  await sold(b, 2, second + 100);
  await sold(b, 3, second + 900);
  await sold(b, 4, second + 1_100);
  const windows = await db.store.tenant(stage.orgId, (tx) => readWindows(tx, stage.orgId, null, soldAt));
  expect(windows.map(({ connection, ...window }) => [connection, window])).toMatchObject([
    ['amazon', { samples: 0, p50Ms: null, p99Ms: null, canOversell: 0, sku: null, overOffered: 0 }],
    ['shop-a', { samples: 0, p50Ms: null, p99Ms: null, canOversell: 0, sku: null, overOffered: 0 }],
    [
      'shop-b',
      { samples: 3, p50Ms: 60, p99Ms: 80, p50OursMs: 55, p99OursMs: 75, canOversell: 5, sku: 'MUG', overOffered: 0 },
    ],
  ]);
});

const map = async (shop: Shop, sku: string, to: string | null) => {
  const { rows } = await db.owner.query<{ id: string }>(
    'select id from listings where org_id = $1 and connection_id = $2 and channel_sku = $3',
    [stage.orgId, shop.connection.connectionId, sku],
  );
  await db.store.tenant(stage.orgId, (tx) =>
    mapListing(tx, stage.orgId, rows[0]?.id ?? '', to, {
      ids: stage.ids,
      now: stage.clock.now(),
      compareAndSet: true,
    }),
  );
};

test('the chosen listing is unmapped: the last units go to the next connection with no further change of stock', async () => {
  await limit('organization', stage.orgId, 3);
  await stage.sell('MUG', 17);
  await settled();
  expect(await shown('MUG')).toEqual([0, 3, 0]);
  await map(b, 'MUG', null);
  await map(b, 'SET', null);
  await settled();
  expect((await episodes()).filter(({ open }) => open).map(({ name }) => name)).not.toContain('shop-b');
  expect([await a.number('MUG', a.main), await amazon.number('MUG')].sort()).toEqual([0, 3]);
});

test('the chosen connection is deleted: the last units go to the next one', async () => {
  await limit('organization', stage.orgId, 3);
  await stage.sell('MUG', 17);
  await settled();
  expect(await shown('MUG')).toEqual([0, 3, 0]);
  await db.store.tenant(stage.orgId, (tx) =>
    deleteConnection(tx, stage.orgId, b.connection.connectionId, stage.clock.now()),
  );
  await settled();
  expect([await a.number('MUG', a.main), await amazon.number('MUG')].sort()).toEqual([0, 3]);
});

test('a second connection that begins to offer scarce units shares none of them', async () => {
  await limit('organization', stage.orgId, 3);
  await map(a, 'CUP', null);
  await map(a, 'SET', null);
  await stage.sell('CUP', 17);
  await settled();
  expect(await b.number('CUP', b.main)).toBe(3);
  await map(a, 'CUP', stage.variants.CUP ?? '');
  await settled();
  expect(await shown('CUP')).toEqual([0, 3]);
});

test('what became scarce while no connection could be written is given to one of them when they go on', async () => {
  await limit('variant', stage.variants.CUP ?? '', 3);
  const shops = [a, b];
  const acting = () => ({ actor: 'test', now: stage.clock.now(), ids: stage.ids });
  const pause = { reason: null, until: null };
  for (const { connection } of shops)
    await db.store.tenant(stage.orgId, (tx) =>
      pauseConnection(tx, stage.orgId, connection.connectionId, pause, acting()),
    );
  await stage.sell('CUP', 17);
  await settled();
  for (const { connection } of shops)
    await db.store.tenant(stage.orgId, (tx) => resumeConnection(tx, stage.orgId, connection.connectionId, acting()));
  await settled();
  expect((await shown('CUP')).sort()).toEqual([0, 3]);
});

test('two processes that find the same units scarce at once begin one episode, and neither fails', async () => {
  await limit('organization', stage.orgId, 3);
  await settled();
  await stage.sell('MUG', 17);
  await stage.sell('CUP', 17);
  const judge = () =>
    db.store.tenant(stage.orgId, (tx) =>
      settleScarcity(tx, stage.orgId, { variantIds: [], every: true }, { now: stage.clock.now(), ids: stage.ids }),
    );
  let second: Promise<unknown> = Promise.resolve();
  await db.store.tenant(stage.orgId, async (tx) => {
    await settleScarcity(tx, stage.orgId, { variantIds: [], every: true }, { now: stage.clock.now(), ids: stage.ids });
    second = judge().then(
      () => 'judged',
      (error: unknown) => error,
    );
    const waiting = `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    await expect.poll(async () => (await db.owner.query(waiting)).rows[0].n, { timeout: 20_000 }).toBe(1);
  });
  expect(await second).toBe('judged');
  expect((await episodes()).map(({ name, open }) => [name, open])).toEqual([
    ['shop-b', true],
    ['shop-b', true],
  ]);
});

test('units that become scarce because a connection is looked at anew are cut at every other connection too', async () => {
  await limit('variant', stage.variants.CUP ?? '', 3);
  const { connectionId } = b.connection;
  const inShadow = (on: boolean) =>
    db.store.tenant(stage.orgId, (tx) =>
      setShadow(tx, stage.orgId, connectionId, on, { actor: 'test', now: stage.clock.now(), ids: stage.ids }),
    );
  const unauthorized = (state: string) =>
    db.owner.query('update connections set state = $3 where org_id = $1 and id = $2', [
      stage.orgId,
      a.connection.connectionId,
      state,
    ]);
  await inShadow(true);
  await unauthorized('unreachable');
  await stage.sell('CUP', 17);
  await settled();
  await unauthorized('connected');
  await settled();
  expect(await shown('CUP')).toEqual([3, 20]);
  await inShadow(false);
  await settled();
  expect((await shown('CUP')).sort()).toEqual([0, 3]);
});
