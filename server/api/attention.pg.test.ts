/** Returns, mapping, alerts, dead letters, connections and simulated purchases over HTTP. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';
import { nextId, shopOrder } from '../testing/shop-order.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

const back = (body: Record<string, unknown>) => demo.api<Returned>('/webhook/amazon/return', { body });
interface Returned {
  ok: boolean;
  processed: boolean;
  synced: boolean;
  action: string;
  inventoryAfter: number;
  broadcastAfter: number;
  alert: { id: string; kind: string; severity: string; message: string } | null;
}
interface Item {
  onHand: number;
  available: number;
  positions: { location: string; sellable: number; damaged: number; quarantine: number }[];
}
const item = (sku: string) => demo.ok<Item>(`/api/inventory/${sku}`);
const main = async (sku: string, location = 'MAIN') =>
  (await item(sku)).positions.find((one) => one.location === location);

test.each([
  ['SELLABLE', 'restocked', { sellable: 102, damaged: 0, quarantine: 0 }, null],
  ['customer damaged', 'damaged', { sellable: 100, damaged: 2, quarantine: 0 }, 'warning'],
  ['WAREHOUSE_DAMAGED', 'damaged', { sellable: 100, damaged: 2, quarantine: 0 }, 'critical'],
  ['CARRIER_DAMAGED', 'damaged', { sellable: 100, damaged: 2, quarantine: 0 }, 'critical'],
  ['UNKNOWN', 'quarantined', { sellable: 100, damaged: 0, quarantine: 2 }, 'warning'],
  ['UNSELLABLE', 'none', { sellable: 100, damaged: 0, quarantine: 0 }, 'warning'],
])('a return that is %s is %s, once per returnOrderId', async (disposition, action, numbers, severity) => {
  const sku = `DEMO-00${['SELLABLE', 'customer damaged', 'WAREHOUSE_DAMAGED', 'CARRIER_DAMAGED', 'UNKNOWN', 'UNSELLABLE'].indexOf(disposition) + 1}`;
  const body = {
    sku,
    quantity: 2,
    disposition,
    returnOrderId: `R-${sku}`,
    orderId: '111-1',
    reason: 'too small',
    returnedAt: '2026-01-02T03:04:05Z',
  };
  const first = await back(body);
  expect(Object.keys(first.body)).toEqual([
    'ok',
    'processed',
    'synced',
    'action',
    'inventoryAfter',
    'broadcastAfter',
    'alert',
  ]);
  expect(first).toMatchObject({
    status: 200,
    body: {
      ok: true,
      processed: true,
      synced: action === 'restocked',
      action,
      inventoryAfter: numbers.sellable,
      broadcastAfter: numbers.sellable,
    },
  });
  expect(first.body.alert === null ? null : [Object.keys(first.body.alert), first.body.alert.severity]).toEqual(
    severity === null ? null : [['id', 'kind', 'severity', 'message'], severity],
  );
  expect(await main(sku)).toMatchObject(numbers);
  const alerts = (await demo.ok<{ count: number }>('/api/alerts')).count;
  const again = await back(body);
  expect(again).toMatchObject({
    status: 200,
    body: { ok: true, processed: false, action: 'duplicate', alert: null, inventoryAfter: numbers.sellable },
  });
  expect(await main(sku)).toMatchObject(numbers);
  expect((await demo.ok<{ count: number }>('/api/alerts')).count).toBe(alerts);
});

test('a return goes to the place it names, FBA to the FBA place; without an order there is no line limit', async () => {
  expect(
    (await back({ sku: 'DEMO-007', quantity: 500, disposition: 'SELLABLE', location: 'EAST' })).body,
  ).toMatchObject({ action: 'restocked', inventoryAfter: 600 });
  expect(await main('DEMO-007', 'EAST')).toMatchObject({ sellable: 500 });
  expect(
    (await back({ sku: 'DEMO-FBA', quantity: 1, disposition: 'SELLABLE', fulfillment: 'FBA' })).body,
  ).toMatchObject({ action: 'restocked', inventoryAfter: 41 });
  expect(await main('DEMO-FBA', 'FBA')).toMatchObject({ sellable: 41 });
});

test.each([
  [{ quantity: 0 }, 400],
  [{ quantity: 1.5 }, 400],
  [{ quantity: '1' }, 400],
  [{ disposition: 'MELTED' }, 400],
  [{ disposition: undefined }, 400],
  [{ returnedAt: 'yesterday' }, 400],
  [{ returnOrderId: '' }, 400],
  [{ returnOrderId: 'a\u0000' }, 400],
  [{ fulfillment: 'DHL' }, 400],
  [{ location: 'MOON' }, 422],
  [{ sku: 'KIT-2' }, 422],
  [{ sku: 'NO-SUCH' }, 404],
])('a return with %j is refused with %i and books nothing', async (change, status) => {
  expect((await back({ sku: 'DEMO-008', quantity: 1, disposition: 'SELLABLE', ...change })).status).toBe(status);
  expect(await item('DEMO-008')).toMatchObject({ onHand: 100 });
});

test('a SKU is mapped to an ASIN; another SKU’s listing is not taken; nobody is guessed among several accounts', async () => {
  expect((await demo.api('/api/mapping/DEMO-001')).body).toMatchObject({ sku: 'DEMO-001', asin: 'B0DEMO0001' });
  await demo.ok('/api/products/bulk', { body: [{ sku: 'NEW-1' }, { sku: 'NEW-2' }] });
  expect((await demo.api('/api/mapping/NEW-1')).status).toBe(404);
  const mapped = await demo.api<{ mappedAt: string }>('/api/mapping', { body: { sku: 'NEW-1', asin: 'b0new00001' } });
  expect([mapped.status, Object.keys(mapped.body), mapped.body]).toEqual([
    200,
    ['sku', 'asin', 'mappedAt'],
    { sku: 'NEW-1', asin: 'B0NEW00001', mappedAt: mapped.body.mappedAt },
  ]);
  expect((await demo.api('/api/mapping/NEW-1')).body).toEqual(mapped.body);
  expect(await demo.api('/api/mapping', { body: { sku: 'NEW-2', asin: 'B0DEMO0001' } })).toMatchObject({
    status: 409,
    body: { code: 'domain.stock_key_taken' },
  });
  expect((await demo.api('/api/mapping/DEMO-001')).body).toMatchObject({ sku: 'DEMO-001', asin: 'B0DEMO0001' });
  for (const asin of ['', 'B0', 'B0DEMO00011', 'B0DEMO-001', 7])
    expect([asin, (await demo.api('/api/mapping', { body: { sku: 'NEW-2', asin } })).status]).toEqual([asin, 400]);
  expect(
    (
      await demo.api('/api/mapping', {
        body: { sku: 'NEW-2', asin: 'B0NEW00002', connectionId: demo.connection('shopA').id },
      })
    ).status,
  ).toBe(404);
  const second = randomUUID();
  await demo.db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token, paused_at) values ($1, $2, 'amazon', 'live', 'Second account', $3, now())`,
    [demo.demo.organizationId, second, randomUUID()],
  );
  const named = { sku: 'NEW-2', asin: 'B0NEW00002' };
  expect(await demo.api('/api/mapping', { body: named })).toMatchObject({
    status: 422,
    body: { code: 'domain.ambiguous_connection' },
  });
  expect((await demo.api('/api/mapping/NEW-2')).status).toBe(404);
  expect(
    (await demo.api('/api/mapping', { body: { ...named, connectionId: demo.connection('amazon').id } })).status,
  ).toBe(200);
  const live = await demo.api(`/api/connections/${second}/purchases`, {
    body: { lines: [{ sku: 'DEMO-001', quantity: 1 }] },
  });
  expect([live.status, live.body.code]).toEqual([409, 'domain.not_simulated']);
  await demo.db.owner.query('update connections set deleted_at = now() where id = $1', [second]);
});

test('a simulated buyer buys at a simulated connection; more than the channel shows is refused by it', async () => {
  const path = `/api/connections/${demo.connection('shopB').id}/purchases`;
  const bought = await demo.api<{ order: string }>(path, { body: { lines: [{ sku: 'DEMO-009', quantity: 2 }] } });
  expect([bought.status, typeof bought.body.order]).toEqual([201, 'string']);
  await demo.until(async () => (await item('DEMO-009')).available === 98);
  const refused = await demo.api(path, { body: { lines: [{ sku: 'DEMO-ZERO', quantity: 1 }] } });
  expect([refused.status, refused.body.code]).toEqual([409, 'domain.refused_by_channel']);
  for (const lines of [[], [{ sku: 'DEMO-009', quantity: 0 }], [{ sku: 'DEMO-009', quantity: 1_001 }], 'x'])
    expect((await demo.api(path, { body: { lines } })).status).toBe(400);
});

interface Alerts {
  count: number;
  unreadCount: number;
  items: { id: string; severity: string; readAt: string | null; createdAt: string }[];
  alerts: unknown[];
  nextCursor: string | null;
}
test('alerts: unread, by severity, in pages; read once; unknown and odd ids are 404 or 400', async () => {
  const unread = await demo.ok<Alerts>('/api/alerts/unread');
  expect(Object.keys(unread)).toEqual(['count', 'unreadCount', 'items', 'alerts', 'nextCursor']);
  expect(unread.alerts).toEqual(unread.items);
  expect([unread.count, unread.unreadCount]).toEqual([unread.items.length, unread.items.length]);
  const critical = await demo.ok<Alerts>('/api/alerts/severity/critical');
  expect(critical.items.map(({ severity }) => severity)).toEqual(critical.items.map(() => 'critical'));
  expect(critical.count).toBeGreaterThanOrEqual(2);
  const page = await demo.ok<Alerts>('/api/alerts?limit=2');
  const next = await demo.ok<Alerts>(`/api/alerts?limit=2&cursor=${page.nextCursor}`);
  expect(new Set([...page.items, ...next.items].map(({ id }) => id)).size).toBe(4);
  const found = await demo.ok<Alerts>('/api/alerts?search=quarantine');
  expect(found.count).toBe(1);
  const id = unread.items[0]?.id;
  expect((await demo.api(`/api/alerts/${id}/read`, { body: {} })).body).toEqual({ ok: true, id });
  expect((await demo.api(`/api/alerts/${id}/read`, { body: {} })).status).toBe(200);
  expect((await demo.ok<Alerts>('/api/alerts/unread')).unreadCount).toBe(unread.unreadCount - 1);
  for (const odd of [randomUUID(), 'x', '%20'])
    expect((await demo.api(`/api/alerts/${odd}/read`, { body: {} })).status).toBe(404);
  expect((await demo.api('/api/alerts/%00/read', { body: {} })).status).toBe(400);
});

test('what cannot be applied becomes a dead letter with its bytes; retried it is tried again, discarded it is gone and never applied', async () => {
  const twice = nextId();
  const bad = await shopOrder(demo, 'shopA', [
    { sku: 'DEMO-010', quantity: 1, id: twice },
    { sku: 'DEMO-010', quantity: 1, id: twice },
  ]);
  await demo.deliver('shopA', bad.text);
  interface Dead {
    items: {
      id: string;
      externalId: string;
      payload: string;
      attempts: number;
      reason: string;
      connectionId: string;
    }[];
  }
  const dead = () => demo.ok<Dead>('/api/dead-letters?kind=event');
  await demo.until(async () => (await dead()).items.length === 1, 15_000);
  const [letter] = (await dead()).items;
  expect(letter).toMatchObject({
    externalId: bad.externalId,
    payload: bad.text,
    connectionId: demo.connection('shopA').id,
  });
  expect(letter?.attempts).toBeGreaterThan(0);
  expect((await demo.ok<Dead>('/api/dead-letters?search=nothing-like-it')).items).toEqual([]);
  const path = `/api/dead-letters/${letter?.id}`;
  expect((await demo.api(`${path}/retry`, { body: {} })).status).toBe(202);
  expect((await demo.api(`${path}/retry`, { body: {} })).status).toBe(404);
  await demo.until(async () => (await dead()).items.length === 1, 15_000);
  expect((await demo.api(`${path}/discard`, { body: {} })).body).toEqual({ ok: true, id: letter?.id });
  expect((await demo.api(`${path}/discard`, { body: {} })).status).toBe(404);
  expect((await dead()).items).toEqual([]);
  expect(await item('DEMO-010')).toMatchObject({ onHand: 100, available: 100 });
}, 40_000);

test('connections are shown with their backlog and never with a secret', async () => {
  const { text, body } = await demo.api<{ items: Record<string, unknown>[] }>('/api/connections');
  expect(body.items.map(({ name }) => name)).toEqual(['Shopify Demo A', 'Shopify Demo B', 'Amazon Demo']);
  expect(body.items.map(({ kind }) => kind)).toEqual(['simulated', 'simulated', 'simulated']);
  for (const { webhookSecret, webhookUrl, accessToken } of demo.demo.connections)
    for (const secret of [webhookSecret, webhookUrl?.split('/').at(-1), accessToken])
      if (secret) expect(text).not.toContain(secret);
  const synced = await demo.api(`/api/connections/${demo.connection('amazon').id}/sync`, { body: {} });
  expect([synced.status, synced.body]).toEqual([202, { ok: true, connectionId: demo.connection('amazon').id }]);
});
