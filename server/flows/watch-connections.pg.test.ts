/** What connections are watched for: orders counted per day, subscriptions kept right, silence told from quiet. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { askWatch, readWatch, setWebhookUrl } from '#store/connections/watches.ts';
import { readDayCounts } from '#store/orders/counts.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, makeOrg, takeIn, webhookServer } from './intake.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './intake-shop.testing.ts';

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;
const shops: SimulatedShop[] = [];

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await openHost();
});
afterAll(async () => {
  for (const shop of shops) await shop.close();
  await host.close();
  await db.drop();
});

/** Ours runs a few minutes ahead, so that what was just placed is past every lag. */
const ahead = { ...clock, now: () => clock.now() + 200_000 };

async function setting(quantities: Record<string, number>) {
  const org = await makeOrg(db.owner, db.store, Object.keys(quantities));
  const shop = await simulatedShop(db.owner, db.store, org, quantities, host);
  shops.push(shop);
  for (const [sku, units] of Object.entries(quantities)) await org.stock(sku, units);
  const { intake } = takeIn(db.store, { opened: () => shop.opened, clock: ahead, reading: false });
  intake.start();
  const { orgId, connectionId } = shop.connection;
  return {
    org,
    shop,
    intake,
    counts: () => db.store.tenant(orgId, (tx) => readDayCounts(tx, orgId, connectionId, 10)),
    watch: (kind: 'subscriptions' | 'order_counts') =>
      db.store.tenant(orgId, (tx) => readWatch(tx, orgId, connectionId, kind)),
    alerts: () =>
      see.all(
        `select kind, resolved_at is null as open from alerts where org_id = $1 and kind like 'subscription%' order by created_at`,
        [orgId],
      ),
    subscribe: (url: string) => db.store.tenant(orgId, (tx) => setWebhookUrl(tx, orgId, connectionId, url)),
    look: (kind: 'subscriptions' | 'order_counts') => intake.look(kind, shop.connection),
  };
}

const buy = async (shop: SimulatedShop, sku: string, quantity: number): Promise<string> =>
  String((await shop.control('/orders', { lines: [{ sku, quantity }], status: 'paid' })).id);

async function until(what: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const end = clock.monotonicMs() + ms;
  while (!(await what())) {
    if (clock.monotonicMs() > end) throw new Error('it never happened');
    await clock.sleep(10);
  }
}

test('a lost order shows in the daily count, is named, fetched and booked; counted again the day is equal in one call', async () => {
  const { org, shop, intake, counts, look } = await setting({ A: 10 });
  await buy(shop, 'A', 1);
  await intake.requestSweep(shop.connection);
  await look('order_counts');
  const equal = await counts();
  expect(equal.map(({ difference }) => difference).every((one) => one === 0)).toBe(true);
  expect(equal.reduce((sum, { heldCount }) => sum + heldCount, 0)).toBe(1);
  expect(equal.every(({ method }) => method === 'count')).toBe(true);
  const lost = await buy(shop, 'A', 2);
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  await look('order_counts');
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 3 });
  const found = (await counts()).filter(({ missing }) => missing.length > 0);
  expect(found).toMatchObject([{ difference: 0, method: 'pages', fetched: 1, missing: [{ found: true }], extra: [] }]);
  expect(found[0]?.missing[0]?.externalId).toContain(lost.replace(/^.*\//, ''));
  const pages = await shop.calls('orders');
  await look('order_counts');
  expect(await shop.calls('orders')).toBe(pages);
  expect((await counts()).find(({ day }) => day === found[0]?.day)).toMatchObject({
    difference: 0,
    method: 'count',
    missing: [{ found: true }],
    fetched: 1,
  });
  await intake.stop();
});

test('two processes look at once: one has the turn, the other leaves it; a killed one’s turn is over with its lease', async () => {
  const { shop, intake, look, watch } = await setting({ A: 10 });
  const other = takeIn(db.store, { opened: () => shop.opened, clock: ahead, reading: false });
  const found = await Promise.all([look('order_counts'), other.intake.look('order_counts', shop.connection)]);
  expect(found.filter((one) => one !== null).length).toBeGreaterThanOrEqual(1);
  await db.owner.query(
    `update connection_watches set lease_until = to_timestamp($2::float8 / 1000), next_at = '-infinity' where connection_id = $1`,
    [shop.connection.connectionId, ahead.now() + 60_000],
  );
  expect(await look('order_counts')).toBe(null);
  await db.owner.query(`update connection_watches set lease_until = '-infinity' where connection_id = $1`, [
    shop.connection.connectionId,
  ]);
  expect(await look('order_counts')).not.toBe(null);
  expect(await watch('order_counts')).toMatchObject({ failures: 0, error: null });
  await intake.stop();
});

test('a subscription that is gone, and one that points elsewhere, are made anew with an alert naming them', async () => {
  const { shop, intake, look, watch, alerts, subscribe } = await setting({ A: 10 });
  const url = 'http://127.0.0.1:9/webhook/shopify/here';
  expect(await look('subscriptions')).toMatchObject({ state: 'no_address' });
  await subscribe(url);
  expect(await look('subscriptions')).toMatchObject({ state: 'repaired', url, removed: [] });
  expect(await look('subscriptions')).toMatchObject({ state: 'right', created: [] });
  expect(await alerts()).toEqual([]);
  // Somebody points everything to another address of ours.
  await shop.opened.channel.subscriptions?.ensure('http://127.0.0.1:9/webhook/shopify/elsewhere', {
    budget: 'read',
    signal: new AbortController().signal,
  });
  const repaired = (await look('subscriptions')) as { created: string[]; removed: string[] };
  expect(repaired.created).toContain('orders/create');
  expect(repaired.removed[0]).toMatch(/elsewhere \(another address of ours\)$/);
  expect(await alerts()).toEqual([{ kind: 'subscription_repaired', open: true }]);
  const { message } = await see.one<{ message: string }>(
    `select message from alerts where org_id = $1 and kind = 'subscription_repaired'`,
    [shop.connection.orgId],
  );
  expect(message).toContain('made anew: orders/create');
  expect(await watch('subscriptions')).toMatchObject({ result: { state: 'repaired', url } });
  await intake.stop();
});

test('orders that only a sweep finds while everything is subscribed mean silence, with them as evidence; an event ends it', async () => {
  const { shop, intake, look, watch, alerts, subscribe } = await setting({ A: 10 });
  // Nobody listens there.
  await subscribe('http://127.0.0.1:9/webhook/shopify/nobody');
  await look('subscriptions');
  expect(await look('subscriptions')).toMatchObject({ state: 'right', silent: null });
  await db.owner.query(
    `update connection_watches set created_at = created_at - interval '1 hour' where connection_id = $1`,
    [shop.connection.connectionId],
  );
  await buy(shop, 'A', 2);
  await intake.requestSweep(shop.connection);
  // A sweep that had to find something asks for a look, once its event has had its time.
  const asked = Date.parse((await watch('subscriptions'))?.nextAt ?? '');
  expect(asked).toBeLessThan(ahead.now() + 122_000);
  expect(await look('subscriptions')).toMatchObject({ state: 'right', silent: null });
  await db.owner.query(`update inbox set received_at = received_at - interval '10 minutes' where connection_id = $1`, [
    shop.connection.connectionId,
  ]);
  expect(await look('subscriptions')).toMatchObject({ state: 'right', silent: { lastEventAt: null, orders: [{}] } });
  expect(await alerts()).toEqual([{ kind: 'subscription_silent', open: true }]);
  const server = await webhookServer(intake);
  await subscribe(`${server.url}/webhook/shopify/${shop.connection.token}`);
  await look('subscriptions');
  await buy(shop, 'A', 1);
  await until(
    async () =>
      (
        await see.all(`select 1 from inbox where connection_id = $1 and source = 'webhook'`, [
          shop.connection.connectionId,
        ])
      ).length > 0,
  );
  expect(await look('subscriptions')).toMatchObject({ silent: null });
  expect(await alerts()).toEqual([{ kind: 'subscription_silent', open: false }]);
  await intake.stop();
  await server.close();
});

test('an authorisation that is given back has the subscriptions looked at', async () => {
  const { shop, intake, look, watch } = await setting({ A: 1 });
  const { orgId, connectionId } = shop.connection;
  await look('subscriptions');
  expect(Date.parse((await watch('subscriptions'))?.nextAt ?? '')).toBeGreaterThan(ahead.now());
  for (const state of ['unauthorized', 'connected'])
    await db.owner.query('update connections set state = $2 where id = $1', [connectionId, state]);
  const { due } = await see.one<{ due: boolean }>(
    `select next_at = '-infinity' as due from connection_watches where connection_id = $1`,
    [connectionId],
  );
  expect(due).toBe(true);
  await db.store.tenant(orgId, (tx) => askWatch(tx, orgId, connectionId, 'order_counts', 0));
  expect(await watch('order_counts')).toBe(null);
  await intake.stop();
});
