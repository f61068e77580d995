/** One sale through a real server process, its JSON log and its database: one id finds every station. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { scratchFolder } from '#store/testing/scratch.ts';

interface Demo {
  url: string;
  apiKey: string;
  connections: { id: string; simulatorUrl: string; webhookUrl?: string }[];
}
interface Station {
  at: string;
  gapMs: number | null;
  station: string;
  text: string;
  correlationId: string | null;
  connectionId: string | null;
}
interface Trace {
  found: string;
  orders: { id: string; number: string; externalId: string }[];
  stations: Station[];
}

let db: TestDatabase;
let child: ChildProcess;
let demo: Demo;
let log = '';
const dataDir = scratchFolder('syncstate-trace-');

beforeAll(async () => {
  db = await testDatabase();
  child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, '..', 'apps', 'cli', 'main.ts'), 'start'],
    {
      env: {
        ...process.env,
        DATABASE_URL: db.ownerUrl,
        SYNCSTATE_DATA_DIR: dataDir,
        SYNCSTATE_DEMO: 'on',
        NODE_ENV: 'development',
        PORT: '0',
        LOG_LEVEL: 'debug',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  child.stderr?.on('data', (chunk) => (log += chunk));
  await until(() => existsSync(join(dataDir, 'demo.json')));
  demo = JSON.parse(readFileSync(join(dataDir, 'demo.json'), 'utf8')) as Demo;
});

afterAll(async () => {
  const ended = new Promise((done) => child.on('close', done));
  child.kill('SIGTERM');
  await ended;
  await db.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function until(there: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 50_000;
  while (!(await there())) {
    if (performance.now() > end) throw new Error(`not within 50 s: ${there.toString()}\n${log.slice(-2_000)}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function api<T>(path: string): Promise<T> {
  const answer = await fetch(`${demo.url}${path}`, { headers: { authorization: `Bearer ${demo.apiKey}` } });
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
}

test('one id finds the whole path of an order, in the log and in the database', async () => {
  const [shopA, , amazon] = demo.connections;
  const bought = await fetch(`${shopA?.simulatorUrl}/_sim/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ lines: [{ sku: 'DEMO-001', quantity: 1 }] }),
  });
  const { id: externalId } = (await bought.json()) as { id: string };
  const term = externalId.split('/').at(-1) ?? '';
  const path = () => api<Trace>(`/api/trace?q=${encodeURIComponent(term)}`);
  const kinds = (trace: Trace) => [...new Set(trace.stations.map(({ station }) => station))].sort();
  const all = ['answered', 'applied', 'called', 'claimed', 'placed', 'received', 'seen', 'sent'];
  const known = async () =>
    (
      await fetch(`${demo.url}/api/trace?q=${encodeURIComponent(term)}`, {
        headers: { authorization: `Bearer ${demo.apiKey}` },
      })
    ).ok;
  await until(known);
  await until(async () => {
    const trace = await path();
    return (
      all.every((kind) => kinds(trace).includes(kind)) &&
      trace.stations.some(({ connectionId, station }) => station === 'answered' && connectionId === amazon?.id)
    );
  });
  const trace = await path();
  expect(trace.found).toBe('order');
  expect(trace.orders.map((order) => order.externalId.endsWith(term))).toEqual([true]);
  expect(trace.stations[0]).toMatchObject({ station: 'placed', gapMs: null, connectionId: shopA?.id });
  expect(trace.stations[1]).toMatchObject({
    station: 'received',
    text: expect.stringMatching(/^webhook orders\/(create|paid) of .*: applied$/),
  });
  expect(trace.stations.slice(1).every(({ gapMs }) => gapMs !== null && gapMs >= 0)).toBe(true);

  const correlationId = trace.stations.find(({ station }) => station === 'applied')?.correlationId ?? '';
  expect(correlationId).toMatch(/^[0-9a-f-]{36}$/);
  const sent = trace.stations.filter(({ station }) => station === 'sent');
  // Told to the sibling shop and to Amazon; the shop of the sale took its unit itself.
  expect(new Set(sent.map(({ connectionId }) => connectionId))).toEqual(
    new Set(demo.connections.slice(1).map(({ id }) => id)),
  );
  expect(new Set(sent.map((station) => station.correlationId))).toEqual(new Set([correlationId]));
  expect((await api<Trace>(`/api/trace?q=${correlationId}`)).orders).toEqual(trace.orders);

  const lines = () =>
    log
      .split('\n')
      .filter((line) => line.includes(correlationId))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const stations = [
    'webhook received',
    'order applied',
    'attempt recorded',
    'outside call',
    'attempt answered',
    'number read',
  ];
  await until(() => stations.every((name) => lines().some(({ msg }) => msg === name)));
  for (const line of lines())
    expect(line).toMatchObject({ orgId: expect.any(String), connectionId: expect.any(String) });
  expect(lines().find(({ msg }) => msg === 'webhook received')).toMatchObject({
    correlationId,
    connectionId: shopA?.id,
    outcome: 'stored',
  });
  expect(lines().find(({ msg }) => msg === 'attempt recorded')).toMatchObject({
    correlationId,
    sku: 'DEMO-001',
    order: trace.orders[0]?.number,
  });

  const { items } = await api<{ items: { correlationIds: string[]; skus: string[]; callKey: string | null }[] }>(
    `/api/calls?correlationId=${correlationId}&sku=DEMO-001`,
  );
  expect(items.length).toBeGreaterThanOrEqual(2);
  expect(items.every((call) => call.correlationIds.includes(correlationId) && call.skus.includes('DEMO-001'))).toBe(
    true,
  );
  expect((await api<{ items: unknown[] }>(`/api/calls?correlationId=${correlationId}&sku=DEMO-002`)).items).toEqual([]);
  expect((await api<{ items: unknown[] }>('/api/calls?to=2020-01-01T00:00:00Z')).items).toEqual([]);
  const metrics = await (await fetch(`${demo.url}/metrics`)).text();
  const pairs = [...metrics.matchAll(/^syncstate_sale_to_sibling_seconds_count\{(.*)\} (\d+)$/gm)].map(
    ([, labels]) => labels,
  );
  for (const sibling of demo.connections.slice(1))
    for (const since of ['channel', 'receipt'])
      expect(pairs).toContain(`from="${shopA?.id}",to="${sibling.id}",since="${since}"`);
  expect(metrics).toContain(`syncstate_connection_up{connection="${amazon?.id}"} 1`);
  expect(metrics).not.toContain('DEMO-001');
  const health = await api<{ state: string; parts: { part: string; state: string }[] }>('/api/health');
  expect(health.parts.filter(({ state }) => state !== 'ok')).toEqual([]);

  expect((await api<Trace>('/api/trace?q=DEMO-001')).found).toBe('sku');
});

const told = (trace: Trace | null) =>
  (trace?.stations ?? [])
    .filter(({ station }) => station === 'received')
    .map(({ text }) => text.replace(/ of gid:[^:]*/, ''));

test('an event that came twice is told as the same again; an order whose events were lost, as found by the order sweep', async () => {
  const [shopA] = demo.connections;
  const fault = (kind: string, more: object = {}) =>
    fetch(`${shopA?.simulatorUrl}/_sim/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ kind, ...more }),
    });
  const buy = async (sku: string): Promise<string> => {
    const bought = await fetch(`${shopA?.simulatorUrl}/_sim/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ lines: [{ sku, quantity: 1 }] }),
    });
    return ((await bought.json()) as { id: string }).id.split('/').at(-1) ?? '';
  };
  const traceOf = async (term: string): Promise<Trace | null> => {
    const answer = await fetch(`${demo.url}/api/trace?q=${term}`, {
      headers: { authorization: `Bearer ${demo.apiKey}` },
    });
    return answer.ok ? ((await answer.json()) as Trace) : null;
  };

  await fault('duplicate', { match: { topic: 'orders/create' } });
  const twice = await buy('DEMO-004');
  const again = 'webhook orders/create: the same again, nothing changed';
  await until(async () => told(await traceOf(twice)).includes(again));
  const doubled = await traceOf(twice);
  expect(doubled?.stations.filter(({ station }) => station === 'claimed').length).toBe(1);

  await fetch(`${shopA?.simulatorUrl}/_sim/faults`, { method: 'DELETE' });
  await fault('drop');
  const lost = await buy('DEMO-005');
  const sync = await fetch(`${demo.url}/api/connections/${shopA?.id}/sync`, {
    method: 'POST',
    headers: { authorization: `Bearer ${demo.apiKey}` },
  });
  expect(sync.ok).toBe(true);
  await until(async () => (await traceOf(lost)) !== null);
  const swept = await traceOf(lost);
  expect(swept?.stations[0]).toMatchObject({ station: 'placed', text: expect.stringMatching(/^placed at /) });
  expect(told(swept)).toEqual(['order sweep: applied; no event had told of it']);
  await fetch(`${shopA?.simulatorUrl}/_sim/faults`, { method: 'DELETE' });
});

test('deliveries refused for their signature are noted at the connection, and nothing else of them is', async () => {
  const [shopA] = demo.connections;
  const noted = async () =>
    (
      await db.owner.query<{ n: number; id: string }>(
        'select id, webhooks_refused as n from connections where webhooks_refused > 0',
      )
    ).rows;
  for (let n = 0; n < 3; n += 1) {
    const answer = await fetch(shopA?.webhookUrl ?? '', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-shopify-topic': 'orders/create',
        'x-shopify-hmac-sha256': 'wrong',
      },
      body: '{"id":1}',
    });
    expect(answer.status).toBe(401);
  }
  await until(async () => (await noted()).length > 0);
  // Once a minute at most: the other two are counted in memory.
  expect(await noted()).toEqual([{ id: shopA?.id, n: 1 }]);
});
