/** Drift, sweeps, subscriptions and freshness as people see them: by API and command, beside the real server with its demo. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { type Ran, syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemoForCommands();
});
afterAll(async () => {
  await demo?.stop();
});

const run = (...argv: string[]): Promise<Ran> => syncstate('--org', 'demo', ...argv);
interface Item {
  id: string;
  state: string;
  cause: string;
  expected: number;
  observed: number;
  sku: string;
}
const drifts = (query = '') => demo.ok<{ items: Item[] }>(`/api/drift${query}`);

test('a number raised in the vendor admin is asked about, listed by API and command with evidence, and healed by a person', async () => {
  const [shop] = demo.demo.connections;
  if (!shop) throw new Error('no shop');
  const policy = await run('drift', 'policy', 'ask', '--connection', shop.name, '--json');
  expect(policy.json()).toEqual({ items: [{ scope: 'connection', id: shop.id, name: shop.name, drift: 'ask' }] });
  await fetch(`${shop.simulatorUrl}/_sim/stock`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sku: 'DEMO-009', location: 'MAIN', quantity: 120 }),
  });
  await demo.until(async () => (await drifts('?state=asked')).items.length === 1);
  const [found] = (await drifts(`?connectionId=${shop.id}&state=open`)).items;
  expect(found).toMatchObject({ sku: 'DEMO-009', expected: 100, observed: 120, state: 'asked' });
  expect((await drifts('?cause=lost_order')).items).toEqual([]);
  expect((await run('drift', 'list', '--state', 'open')).stdout).toContain('DEMO-009');
  const shown = await run('drift', 'show', found?.id ?? '');
  expect(shown.stdout).toContain('shows 120, expected 100');
  expect(shown.stdout).toMatch(/120, higher/);
  const healed = await demo.ok<{ state: string; decidedBy: string }>(`/api/drift/${found?.id}/heal`, { body: {} });
  expect(['healing', 'healed']).toContain(healed.state);
  await demo.until(async () => (await drifts('?state=healed')).items.length === 1);
  const again = await run('drift', 'dismiss', found?.id ?? '');
  expect([again.exit, again.stderr]).toEqual([1, expect.stringContaining('nothing is left to decide')]);
  expect((await run('drift', 'policy', 'inherit', '--connection', shop.name, '--json')).json()).toEqual({ items: [] });
});

test('the subscriptions of the demo are right, its orders counted, a stock sweep seen; freshness is set and taken back', async () => {
  const shop = demo.demo.connections.find(({ platform }) => platform === 'shopify');
  const amazon = demo.demo.connections.find(({ platform }) => platform === 'amazon');
  for (const connection of [shop, amazon]) {
    const subscriptions = () =>
      demo.ok<{ state: string; existing: string[]; silent: null }>(`/api/connections/${connection?.id}/subscriptions`);
    await demo.until(async () => (await subscriptions()).state === 'right');
    expect((await subscriptions()).existing).toContain(connection === amazon ? 'ORDER_CHANGE' : 'orders/create');
  }
  expect((await run('connection', 'show', shop?.name ?? '')).stdout).toContain('10 subscriptions, all as wanted.');
  const asked = await demo.ok<{ id: string; targets: number }>(`/api/connections/${shop?.id}/stock-sweeps`, {
    body: {},
  });
  const sweeps = () =>
    demo.ok<{ items: { id: string; finishedAt: string | null }[] }>(`/api/connections/${shop?.id}/stock-sweeps`);
  await demo.until(async () => (await sweeps()).items.find(({ id }) => id === asked.id)?.finishedAt != null);
  expect((await run('sweep', 'show', shop?.name ?? '')).stdout).toContain('as expected');
  const counts = await demo.ok<{ items: { difference: number | null }[] }>(`/api/connections/${shop?.id}/order-counts`);
  expect(counts.items.every(({ difference }) => difference === 0)).toBe(true);
  const set = await run('freshness', 'set', 'EAST', '6h', '--json');
  expect(set.json()).toMatchObject({
    items: [{ location: 'EAST', limitMs: 21_600_000, action: 'zero', outdated: false }],
  });
  await demo.ok('/api/freshness/readings', { body: { location: 'EAST' } });
  expect((await run('freshness', 'set', 'EAST', 'off')).stdout).toContain('No location has a limit');
  expect((await run('freshness', 'confirm', 'EAST')).exit).toBe(1);
});
