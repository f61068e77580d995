import { afterAll, beforeAll, expect, test } from 'vitest';
import { amazon } from '#connectors/amazon/index.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { tuned } from '#connectors/kit/tuning.ts';
import { createAmazonSimulator } from '#sim/amazon/index.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { createSimulatorHost, type SimulatorHost } from '#sim/kit/server.ts';
import { createConnection, mapLocation } from '#store/connections/connections.ts';
import { readDayCounts } from '#store/orders/counts.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { importCatalog } from './import-catalog.ts';
import { clock, ids, type Judge, judge, makeOrg, random, takeIn } from './intake.testing.ts';

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await createSimulatorHost({ clock });
});
afterAll(async () => {
  await host.close();
  await db.drop();
});

const credentials = {
  clientId: 'amzn1.application-oa2-client.sim',
  clientSecret: 'amzn1.oa2-cs.v1.sim',
  refreshToken: 'Atzr|sim-refresh',
};

async function until(what: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const end = clock.monotonicMs() + ms;
  while (!(await what())) {
    if (clock.monotonicMs() > end) throw new Error('it never happened');
    await clock.sleep(10);
  }
}

/** A seller with a subscribed queue, connected, its catalogue imported. */
async function seller(quantities: Record<string, number>) {
  const org = await makeOrg(db.owner, db.store, Object.keys(quantities));
  const seeded = seededRandom(5);
  const name = `amazon-${ids.uuid().slice(-6)}`;
  const simulator = await createAmazonSimulator({
    name,
    dir: null,
    clock,
    random: seeded,
    ids: seededIds(clock, seeded),
    profile: 'open',
    sellerId: 'A1SIMSELLER',
    marketplaceId: 'ATVPDKIKX0DER',
    ...credentials,
    catalog: Object.entries(quantities).map(([sku, quantity], n) => ({
      sku,
      asin: `B0SIM0000${n}`,
      title: sku,
      quantity,
      fulfillment: 'MFN' as const,
    })),
  });
  host.mount(simulator);
  const url = host.url(name);
  const settings = {
    sellerId: 'A1SIMSELLER',
    region: 'na',
    marketplaceIds: ['ATVPDKIKX0DER'],
    queueUrl: simulator.queueUrl(url),
    queueArn: simulator.queueArn,
    queueEndpoint: `${url}/sqs`,
    settleMs: 0,
    orderLagMs: 0,
  };
  const connectionId = ids.uuid();
  await db.store.tenant(org.orgId, async (tx) => {
    await createConnection(tx, org.orgId, {
      id: connectionId,
      platform: 'amazon',
      kind: 'simulated',
      name,
      baseUrl: url,
      settings,
      credentials: null,
      webhookSecrets: null,
      webhookFingerprints: [],
      webhookToken: ids.uuid(),
      createdAt: clock.now() - 3_600_000,
    });
    await mapLocation(tx, org.orgId, connectionId, 'DEFAULT', org.main);
  });
  const manifest = tuned(amazon.manifest, settings);
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl: url,
    allowedHosts: [],
    allowCustomEndpoints: true,
    budgets: createBudgets(clock, manifest.budgets),
    log: () => {},
  });
  const channel = amazon.open({
    connectionId,
    kind: 'simulated',
    baseUrl: url,
    settings,
    credentials,
    transport,
    clock,
    random,
  });
  const connection = { orgId: org.orgId, connectionId };
  await importCatalog({ store: db.store, clock, ids, openConnection: async () => ({ manifest, channel }) }, connection);
  await channel.subscriptions?.ensure(null, { budget: 'read', signal: AbortSignal.timeout(10_000) });
  for (const [sku, units] of Object.entries(quantities)) await org.stock(sku, units);
  const control = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${url}/_sim${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text === '' ? {} : JSON.parse(text);
  };
  return { org, connection, opened: { manifest, channel }, control, close: () => transport.close() };
}

test('queue messages are stored, removed at the vendor, and applied: held while pending, committed when paid, free when cancelled (race 21)', async () => {
  const { org, opened, control, close } = await seller({ A: 10 });
  const { intake } = takeIn(db.store, {
    opened: () => opened,
    connectorOf: (platform) => (platform === 'amazon' ? amazon : null),
    platforms: ['amazon'],
  });
  intake.start();
  const { id } = await control('/orders', { lines: [{ sku: 'A', quantity: 3 }], status: 'pending' });
  await until(async () => (await see.numbers(org, 'A')).reserved === 3);
  await control('/payments', { order: id });
  await until(async () => (await see.numbers(org, 'A')).committed === 3);
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 10, committed: 3, reserved: 0, short: 0 });
  await control('/cancellations', { order: id, restock: true });
  await until(async () => (await see.numbers(org, 'A')).committed === 0);
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 10, committed: 0, reserved: 0, short: 0 });
  await intake.stop();
  expect(
    await see.one('select count(*)::int as orders, max(status) as status from orders where org_id = $1', [org.orgId]),
  ).toEqual({ orders: 1, status: 'cancelled' });
  expect(await see.all(`select 1 from inbox where org_id = $1 and source = 'queue'`, [org.orgId])).not.toEqual([]);
  expect(
    await see.all(`select state from inbox where org_id = $1 and state in ('waiting', 'dead')`, [org.orgId]),
  ).toEqual([]);
  const left = await opened.channel.queue?.receive({
    budget: 'read',
    signal: new AbortController().signal,
    waitMs: 0,
    max: 10,
  });
  expect(left?.messages).toEqual([]);
  close();
});

test('a queue poller stops within a second in the middle of a long poll', async () => {
  const { opened, close } = await seller({ A: 1 });
  const { intake } = takeIn(db.store, {
    opened: () => opened,
    connectorOf: (platform) => (platform === 'amazon' ? amazon : null),
    platforms: ['amazon'],
  });
  intake.start();
  await clock.sleep(200);
  const begun = clock.monotonicMs();
  await intake.stop();
  expect(clock.monotonicMs() - begun).toBeLessThan(1_000);
  close();
});

test('yesterday’s orders are counted by reading their ids: one that neither queue nor sweep brought is named, fetched and booked', async () => {
  const { org, connection, opened, control, close } = await seller({ A: 10 });
  await control('/orders', { lines: [{ sku: 'A', quantity: 2 }], status: 'paid' });
  const ours = { opened: () => opened, connectorOf: () => amazon, platforms: ['amazon'], reading: false };
  // A day later: the order was placed yesterday, and Amazon counts closed days alone.
  const tomorrow = { ...clock, now: () => clock.now() + 86_400_000 };
  await db.owner.query(`update connections set created_at = created_at - interval '3 days' where id = $1`, [
    connection.connectionId,
  ]);
  const { intake } = takeIn(db.store, { ...ours, clock: tomorrow });
  intake.start();
  expect(await intake.look('order_counts', connection)).toMatchObject({ days: [expect.any(String)] });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  const days = await db.store.tenant(org.orgId, (tx) => readDayCounts(tx, org.orgId, connection.connectionId, 10));
  expect(days).toMatchObject([
    { channelCount: 1, heldCount: 1, difference: 0, method: 'pages', fetched: 1, missing: [{ found: true }] },
  ]);
  expect(await intake.look('order_counts', connection)).not.toBe(null);
  await intake.stop();
  close();
});
