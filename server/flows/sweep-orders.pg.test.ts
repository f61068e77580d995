import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConnectorError } from '#core/errors.ts';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, line, makeOrg, order, takeIn, webhookServer } from './intake.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './intake-shop.testing.ts';
import { deliveryOf } from './sweep-orders.ts';

// What is waited for comes by itself, however slow the machine is.
vi.setConfig({ testTimeout: 120_000 });

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;
const shops: SimulatedShop[] = [];

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await openHost();
});
// A test that fails does not go on taking in the orders of the next one.
const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const intake of running.splice(0)) await intake.stop();
});
afterAll(async () => {
  for (const shop of shops) await shop.close();
  await host.close();
  await db.drop();
});

async function setting(quantities: Record<string, number>, more: Parameters<typeof takeIn>[1] = {}) {
  const org = await makeOrg(db.owner, db.store, Object.keys(quantities));
  const shop = await simulatedShop(db.owner, db.store, org, quantities, host);
  shops.push(shop);
  for (const [sku, units] of Object.entries(quantities)) await org.stock(sku, units);
  const taken = takeIn(db.store, { opened: () => shop.opened, ...more });
  running.push(taken.intake);
  return { org, shop, ...taken };
}

const buy = async (shop: SimulatedShop, sku: string, quantity: number): Promise<string> =>
  String((await shop.control('/orders', { lines: [{ sku, quantity }], status: 'paid' })).id);

async function until(what: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const end = clock.monotonicMs() + ms;
  while (!(await what())) {
    if (clock.monotonicMs() > end) throw new Error('it never happened');
    await clock.sleep(10);
  }
}

/** The order as the channel shows it now. */
async function shown(shop: SimulatedShop, id: string) {
  const found = await shop.opened.channel.orders.get(id, { budget: 'read', signal: new AbortController().signal });
  if (!found) throw new Error('the channel shows no such order');
  return found;
}

const readTo = async (org: { orgId: string }) =>
  (
    await see.one<{ at: Date | null }>('select orders_read_to as at from connections where org_id = $1', [org.orgId])
  ).at?.getTime() ?? null;

test('a sale at the channel arrives by its webhook, signed, and is committed', async () => {
  const { org, shop, intake } = await setting({ A: 10 });
  const server = await webhookServer(intake);
  intake.start();
  await shop.opened.channel.subscriptions?.ensure(`${server.url}/webhook/shopify/${shop.connection.token}`, {
    budget: 'read',
    signal: new AbortController().signal,
  });
  await buy(shop, 'A', 3);
  await until(async () => (await see.numbers(org, 'A')).committed === 3);
  expect(server.answers.every((status) => status === 200)).toBe(true);
  await intake.stop();
  await server.close();
  expect(
    await see.one('select count(*)::int as orders, max(revision) as revision from orders where org_id = $1', [
      org.orgId,
    ]),
  ).toEqual({ orders: 1, revision: 1 });
});

test('an order whose webhook was lost is found by the sweep; sweeping again stores nothing (P3)', async () => {
  const { org, shop, intake } = await setting({ A: 10 });
  await buy(shop, 'A', 2);
  intake.start();
  const before = clock.now();
  const first = await intake.requestSweep(shop.connection);
  expect(first).toMatchObject({ kind: 'done', stored: 1 });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(await readTo(org)).toBeGreaterThan(before - 2_000);
  const second = await intake.requestSweep(shop.connection);
  expect(second).toMatchObject({ kind: 'done', seen: 1, stored: 0 });
  await intake.stop();
  expect(await see.one('select count(*)::int as rows from inbox where org_id = $1', [org.orgId])).toEqual({ rows: 1 });
});

test('the mark moves only when every order of the sweep is applied: what is stored is not known yet', async () => {
  const { org, shop, intake } = await setting({ A: 10 });
  await buy(shop, 'A', 2);
  const other = takeIn(db.store, { opened: () => shop.opened });
  // This process stores but does not drain.
  const sweep = other.intake.requestSweep(shop.connection);
  await until(async () => (await see.all('select 1 from inbox where org_id = $1', [org.orgId])).length === 1);
  await clock.sleep(50);
  expect(await readTo(org)).toBe(null);
  await intake.drain();
  expect(await sweep).toMatchObject({ kind: 'done', stored: 1 });
  expect(await readTo(org)).not.toBe(null);
  await other.intake.stop();
});

test('a dead letter holds the mark until it is decided', async () => {
  const { org, shop, intake } = await setting({ A: 10 });
  await intake.receive(
    deliveryOf(shop.connection, order('gid://shopify/Order/1', clock.now(), [line('A', 1, { wanted: 0.5 })])),
  );
  intake.start();
  await until(
    async () => (await see.all(`select 1 from inbox where org_id = $1 and state = 'dead'`, [org.orgId])).length === 1,
  );
  expect(await intake.requestSweep(shop.connection)).toMatchObject({ kind: 'incomplete', reason: 'dead' });
  expect(await readTo(org)).toBe(null);
  await db.owner.query(`update inbox set state = 'superseded' where org_id = $1 and state = 'dead'`, [org.orgId]);
  expect(await intake.requestSweep(shop.connection)).toMatchObject({ kind: 'done' });
  expect(await readTo(org)).not.toBe(null);
  await intake.stop();
});

test('many requests at once share one sweep after the one that runs', async () => {
  const { shop, intake } = await setting({ A: 10 });
  intake.start();
  const before = await shop.calls('orders');
  const results = await Promise.all(Array.from({ length: 20 }, () => intake.requestSweep(shop.connection)));
  expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(['done']));
  const operations = await fetch(`${shop.url}/_sim/calls?since=0`).then(
    (response) => response.json() as Promise<{ calls: { operation: string }[] }>,
  );
  // Counting the day's orders is a watch of its own and may come in between.
  const sweeps = operations.calls.filter(({ operation }) => operation === 'orders').length;
  expect(sweeps).toBeGreaterThanOrEqual(1);
  expect(sweeps).toBeLessThanOrEqual(4);
  expect(before).toBe(0);
  await intake.stop();
});

test('two processes sweep one connection one after the other, not at the same time', async () => {
  const { shop, intake } = await setting({ A: 10 });
  let inside = 0;
  let most = 0;
  const counted = {
    ...shop.opened,
    channel: {
      ...shop.opened.channel,
      orders: {
        ...shop.opened.channel.orders,
        changedSince: async (...given: Parameters<typeof shop.opened.channel.orders.changedSince>) => {
          inside += 1;
          most = Math.max(most, inside);
          await clock.sleep(50);
          const page = await shop.opened.channel.orders.changedSince(...given);
          inside -= 1;
          return page;
        },
      },
    },
  };
  const [a, b] = [takeIn(db.store, { opened: () => counted }), takeIn(db.store, { opened: () => counted })];
  const results = await Promise.all([a.intake.requestSweep(shop.connection), b.intake.requestSweep(shop.connection)]);
  expect(results.map(({ kind }) => kind)).toEqual(['done', 'done']);
  expect(most).toBe(1);
  await intake.stop();
});

test('a turn that a killed predecessor left is taken at once by a process that is certainly alone', async () => {
  const { org, shop, intake } = await setting({ A: 10 }, { soleProcess: true });
  await db.owner.query(`update connections set order_sweep_lease = now() + interval '25 s' where org_id = $1`, [
    org.orgId,
  ]);
  const begun = clock.monotonicMs();
  expect(await intake.requestSweep(shop.connection)).toMatchObject({ kind: 'done' });
  expect(clock.monotonicMs() - begun).toBeLessThan(5_000);
  await intake.stop();
});

test('equal version, other content: the order is read again and the channel decides', async () => {
  const { org, shop, intake, bring, outcomes } = await setting({ A: 10 });
  const id = await buy(shop, 'A', 2);
  const truth = await shown(shop, id);
  await bring(shop.connection, {
    ...truth,
    lines: truth.lines.map((one) => ({ ...one, ordered: 4, wanted: 4, taken: 4 })),
  });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 4 });
  await bring(shop.connection, {
    ...truth,
    lines: truth.lines.map((one) => ({ ...one, ordered: 5, wanted: 5, taken: 5 })),
  });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(outcomes.fetch).toBe(1);
  expect(await see.all('select source, state from inbox where org_id = $1 order by id', [org.orgId])).toEqual([
    { source: 'poll', state: 'done' },
    { source: 'poll', state: 'superseded' },
    { source: 'fetch', state: 'done' },
  ]);
  await intake.stop();
});

test('"it changed" reads the order; the same news about a version we have reads nothing', async () => {
  const { org, shop, intake, webhook, outcomes } = await setting({ A: 10 });
  const id = await buy(shop, 'A', 2);
  const bare = id.split('/').pop();
  const edited = (at: string) =>
    `{"order_edit":{"id":1,"order_id":${bare},"created_at":"${at}","committed_at":"${at}","line_items":{"additions":[],"removals":[]}}}`;
  await webhook(shop.connection, 'orders/edited', edited(new Date(clock.now()).toISOString()));
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  await webhook(shop.connection, 'orders/edited', edited(new Date(clock.now() - 3_600_000).toISOString()));
  await intake.drain();
  expect(outcomes.fetch).toBe(1);
  expect(
    (await see.all('select state from inbox where org_id = $1 order by id', [org.orgId])).map((row) => row.state),
  ).toEqual(['superseded', 'done', 'superseded']);
});

test('an order the channel does not show is asked for a few times, and then nothing has changed', async () => {
  const { org, shop, intake, webhook, log } = await setting({ A: 10 });
  await webhook(
    shop.connection,
    'orders/edited',
    `{"order_edit":{"id":1,"order_id":999999,"committed_at":"2026-11-21T00:00:00Z"}}`,
  );
  const isWaiting = async () =>
    (await see.all(`select 1 from inbox where org_id = $1 and state = 'waiting'`, [org.orgId])).length > 0;
  // A read that did not get through is none of the five.
  while (await isWaiting()) {
    await intake.drain();
    await db.owner.query(
      `update inbox set next_at = now() - interval '1 hour' where org_id = $1 and state = 'waiting'`,
      [org.orgId],
    );
  }
  expect(await see.all('select state, attempts, error from inbox where org_id = $1', [org.orgId])).toEqual([
    { state: 'done', attempts: 5, error: 'the channel shows no such order' },
  ]);
  expect(await see.all('select 1 from orders where org_id = $1', [org.orgId])).toEqual([]);
  expect(log).toEqual([]);
});

test('a signed whole order is applied from its payload although the channel cannot show it', async () => {
  const { org, intake, shop, bring, outcomes } = await setting({ A: 10 });
  const [listing] = await see.all<{ variant_external_id: string }>(
    'select variant_external_id from listings where org_id = $1',
    [org.orgId],
  );
  await bring(
    shop.connection,
    order('gid://shopify/Order/404', clock.now(), [
      line('A', 1, { stockKey: null, variantExternalId: listing?.variant_external_id ?? '' }),
    ]),
  );
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  expect(outcomes.fetch ?? 0).toBe(0);
  await intake.stop();
});

test('a read that fails is repeated without being counted against the row; a dead token stops the connection', async () => {
  const { org, shop, intake, webhook } = await setting({ A: 10 });
  const id = await buy(shop, 'A', 2);
  await shop.control('/faults', { kind: 'status', status: 503, times: 50 });
  const body = `{"order_edit":{"id":1,"order_id":${id.split('/').pop()},"committed_at":"${new Date(clock.now()).toISOString()}"}}`;
  await webhook(shop.connection, 'orders/edited', body);
  await intake.drain();
  expect(await see.one('select state, attempts, error_code from inbox where org_id = $1', [org.orgId])).toEqual({
    state: 'waiting',
    attempts: 0,
    error_code: 'connector.unavailable',
  });
  await fetch(`${shop.url}/_sim/faults`, { method: 'DELETE' });
  intake.start();
  // The breaker is open for a moment.
  await until(async () => (await see.numbers(org, 'A')).committed === 2);
  await intake.stop();
  expect(await see.one(`select max(attempts) as attempts from inbox where org_id = $1`, [org.orgId])).toEqual({
    attempts: 0,
  });
  const refused = takeIn(db.store, {
    openConnection: async () => {
      throw new ConnectorError('connector.unauthorized', 'The token is dead.');
    },
  });
  expect(await refused.intake.requestSweep(shop.connection)).toMatchObject({
    kind: 'failed',
    code: 'connector.unauthorized',
  });
  expect(await see.one('select state from connections where org_id = $1', [org.orgId])).toEqual({
    state: 'unauthorized',
  });
  await refused.intake.stop();
});

test('due sweeps run by themselves and book orders whose mapping appeared elsewhere', async () => {
  const { org, shop, intake } = await setting({ A: 10, B: 10 });
  await db.owner.query(`update listings set variant_id = null where org_id = $1 and channel_sku = 'B'`, [org.orgId]);
  await buy(shop, 'B', 2);
  intake.start();
  await until(
    async () => (await see.all('select 1 from orders where org_id = $1 and unmapped', [org.orgId])).length === 1,
  );
  await db.owner.query(`update listings set variant_id = $2 where org_id = $1 and channel_sku = 'B'`, [
    org.orgId,
    org.variants.B,
  ]);
  await until(
    async () =>
      (await see.all('select 1 from connections where org_id = $1 and orders_swept_at is not null', [org.orgId]))
        .length === 1,
  );
  await db.owner.query('update connections set orders_swept_at = null where org_id = $1', [org.orgId]);
  await until(async () => (await see.numbers(org, 'B')).committed === 2);
  await intake.stop();
});
