/**
 * The faults a merchant meets, one after the other on the running product: what the command line says of each while it
 * lasts (that is all a new user has), that nothing else is held up, and that everything is right again by itself.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { syncstate } from '#apps/cli/cli.testing.ts';
import { startDemoForCommands } from '#apps/cli/demo.testing.ts';
import { verify } from '#store/ledger/verify.ts';
import type { Demo, Place } from './testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemoForCommands();
});
afterAll(async () => {
  await demo?.stop();
});
afterEach(async () => {
  for (const place of ['shopA', 'shopB', 'amazon'] as const) await demo.sim(place, '/faults', undefined, 'DELETE');
  await syncstate('alerts', 'read', '--all');
  const { organizationId } = demo.demo;
  expect(await demo.db.store.readOnly(organizationId, (tx) => verify(tx, organizationId))).toMatchObject({
    ok: true,
    faults: [],
  });
});

const fault = (place: Place, body: object) => demo.sim(place, '/faults', body);
const buy = (place: Place, sku: string, quantity = 1) =>
  demo.sim<{ id: string }>(place, '/orders', { lines: [{ sku, quantity }] });
const says = async (pattern: RegExp, ...argv: string[]): Promise<void> => {
  let said = '';
  await demo
    .until(async () => {
      const ran = await syncstate(...argv);
      said = ran.stdout + ran.stderr;
      return pattern.test(said);
    }, 12_000)
    .catch(() => expect(said).toMatch(pattern));
};
const shows = (sku: string, units: number, ...places: Place[]) =>
  Promise.all(places.map((place) => demo.until(async () => (await demo.shown(place, sku)) === units, 60_000)));
const applied = async (place: Place, operation: string, sku: string) =>
  (await demo.writes(place)).filter(
    (call) => call.operation === operation && call.applied && JSON.stringify([call.path, call.body]).includes(sku),
  ).length;

test('a revoked token: told with what to do, the others go on, and it resumes by itself when access is back', async () => {
  await fault('shopB', { kind: 'revoke' });
  await buy('shopA', 'DEMO-001');
  await says(
    /Shopify Demo B +DEMO-001 .* 99 +100 .* unauthorized +The access token is no longer valid/,
    'stock',
    'DEMO-001',
  );
  await says(/Shopify Demo B +shopify +simulated +unauthorized/, 'connection', 'list');
  await says(
    /critical .*no longer accepts our authorisation: The access token is no longer valid/,
    'alerts',
    'list',
    '--unread',
  );
  await says(/FAILED .*Shopify Demo B: unauthorized[\s\S]*→ Renew its credentials/, 'doctor');
  await shows('DEMO-001', 99, 'amazon');
  expect(await demo.shown('shopB', 'DEMO-001')).toBe(100);
  await demo.sim('shopB', '/faults', undefined, 'DELETE');
  await shows('DEMO-001', 99, 'shopA', 'shopB', 'amazon');
  await says(/Shopify Demo B +shopify +simulated +connected/, 'connection', 'list');
});

test('a storm of 429: the waiting number says why, an alert says it lasts, the others go on', async () => {
  await fault('amazon', { kind: 'status', status: 429, retryAfter: 1 });
  await buy('shopA', 'DEMO-002');
  await says(
    /Amazon Demo +DEMO-002 +DEFAULT +99 +100 +100 +pending +The channel limits our calls/,
    'stock',
    'DEMO-002',
  );
  await shows('DEMO-002', 99, 'shopA', 'shopB');
  await says(/warning .*The channel limits our calls again and again/, 'alerts', 'list', '--unread');
  expect(await demo.shown('amazon', 'DEMO-002')).toBe(100);
  await demo.sim('amazon', '/faults', undefined, 'DELETE');
  await shows('DEMO-002', 99, 'amazon');
  expect(await applied('amazon', 'patchListingsItem', 'DEMO-002')).toBe(1);
});

test('a channel that answers 503 to everything: unreachable with the reason, and right again by itself', async () => {
  await fault('shopB', { kind: 'status', status: 503 });
  await buy('shopA', 'DEMO-003');
  await says(/Shopify Demo B +shopify +simulated +unreachable/, 'connection', 'list');
  await says(/warning .*The channel cannot be reached/, 'alerts', 'list', '--unread');
  await shows('DEMO-003', 99, 'shopA', 'amazon');
  await demo.sim('shopB', '/faults', undefined, 'DELETE');
  await shows('DEMO-003', 99, 'shopB');
  await says(/Shopify Demo B +shopify +simulated +connected/, 'connection', 'list');
});

test.each([
  ['before', 'shopB', 'inventorySetQuantities', 'DEMO-004'],
  ['after', 'shopB', 'inventorySetQuantities', 'DEMO-005'],
  ['before', 'amazon', 'patchListingsItem', 'DEMO-006'],
  ['after', 'amazon', 'patchListingsItem', 'DEMO-007'],
] as const)(
  'a write that times out %s %s applied it (%s) is read back and ends right, applied once',
  async (when, place, operation, sku) => {
    await fault(place, { kind: `timeout_${when}`, match: { operation }, times: 1, ms: 300 });
    await buy('shopA', sku);
    await says(
      new RegExp(`${place === 'amazon' ? 'Amazon Demo' : 'Shopify Demo B'} +${sku} .* (sent|unknown|in_sync)`),
      'stock',
      sku,
    );
    await shows(sku, 99, 'shopA', 'shopB', 'amazon');
    await says(
      new RegExp(`${place === 'amazon' ? 'Amazon Demo' : 'Shopify Demo B'} +${sku} .* 99 +99 +99 +in_sync`),
      'stock',
      sku,
    );
    const ours = await demo.ok<{ listings: { stockKey: string; connectionId: string }[] }>(`/api/inventory/${sku}`);
    const { stockKey } = ours.listings.find(({ connectionId }) => connectionId === demo.connection(place).id) ?? {
      stockKey: '',
    };
    expect(await applied(place, operation, stockKey)).toBe(1);
  },
  90_000,
);

test('a batch of which the channel applies half: every row is proven, the other half is sent again', async () => {
  await fault('shopB', { kind: 'half_batch', times: 1 });
  const skus = ['DEMO-008', 'DEMO-009', 'DEMO-010', 'DEMO-011'];
  await demo.ok('/api/inventory/bulk?mode=set', { body: skus.map((sku) => ({ sku, quantity: 61, location: 'MAIN' })) });
  for (const sku of skus) await shows(sku, 61, 'shopA', 'shopB', 'amazon');
  await demo.until(
    async () =>
      (await demo.ok<{ items: { targets: Record<string, number> }[] }>('/api/connections')).items.every(({ targets }) =>
        Object.keys(targets).every((state) => ['in_sync', 'unmapped', 'read_only'].includes(state)),
      ),
    60_000,
  );
});

test('webhooks dropped: a sync finds the order; doubled, reordered and delayed: each order is one', async () => {
  await fault('shopA', { kind: 'drop' });
  await buy('shopA', 'DEMO-012', 3);
  await new Promise((done) => setTimeout(done, 500));
  expect(await demo.ok('/api/inventory/DEMO-012')).toMatchObject({ available: 100, committed: 0 });
  expect((await syncstate('sync', 'demo-a')).exit).toBe(0);
  expect(await demo.ok('/api/inventory/DEMO-012')).toMatchObject({ available: 97, committed: 3 });
  await demo.sim('shopA', '/faults', undefined, 'DELETE');
  await fault('shopA', { kind: 'duplicate' });
  await fault('shopA', { kind: 'reorder' });
  await fault('shopA', { kind: 'delay', ms: 400 });
  for (let i = 0; i < 5; i += 1) await buy('shopA', 'DEMO-012');
  await shows('DEMO-012', 92, 'shopA', 'shopB', 'amazon');
  expect(await demo.ok('/api/inventory/DEMO-012')).toMatchObject({ available: 92, committed: 8 });
}, 90_000);
