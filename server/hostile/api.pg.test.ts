/**
 * Hostile input over HTTP, at every route the running server describes: path ids, query strings, bodies, idempotency keys; and
 * signed webhooks and queue messages, which nobody may refuse for what they say. The answer is never a 5xx, and the server
 * is alive, drained and adding up behind it.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';
import { hostileJson, hostileText } from './mutations.testing.ts';

const seed = 20_261_128;

interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  format?: string;
}

interface Operation {
  parameters?: { name: string; in: string; schema?: Schema }[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
}

let demo: Demo;
let routes: { method: string; path: string; operation: Operation }[];
beforeAll(async () => {
  demo = await startDemo();
  const { paths } = await demo.ok<{ paths: Record<string, Record<string, Operation>> }>('/api/openapi.json');
  routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
});
afterAll(() => demo?.stop());

/** A value that fits the schema well enough to be spoiled. */
function sampleOf(schema: Schema | undefined, depth = 0): unknown {
  if (!schema || depth > 6) return null;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const some = schema.anyOf?.[0] ?? schema.oneOf?.[0];
  if (some) return sampleOf(some, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'object' || schema.properties)
    return Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, known[name] ?? sampleOf(inner, depth + 1)]),
    );
  if (type === 'array') return [sampleOf(schema.items, depth + 1)];
  if (type === 'integer' || type === 'number') return 1;
  if (type === 'boolean') return true;
  return schema.format === 'date-time' ? '2026-11-20T10:00:00Z' : 'DEMO-001';
}

/** Values that lead past the first check. */
const known: Readonly<Record<string, unknown>> = {
  sku: 'DEMO-001',
  location: 'MAIN',
  from: 'MAIN',
  to: 'EAST',
  quantity: 1,
  reason: 'correction',
};

/** No stream of events: it does not end. */
const answers = () => routes.filter(({ path }) => path !== '/api/events');

// First: what hostile calls of the API are allowed to do (stop all pushes, say) would be in the way.
test('hostile deliveries, rightly signed, are kept or refused; each is tried, and a good order behind them is applied', async () => {
  const order = readFileSync(new URL('../../connectors/shopify/fixtures/orders-create.json', import.meta.url), 'utf8');
  const change = readFileSync(
    new URL('../../connectors/amazon/fixtures/order-change-unshipped.json', import.meta.url),
    'utf8',
  );
  const level =
    '{"inventory_item_id":271878346596884015,"location_id":24826418,"available":7,"updated_at":"2026-11-20T10:00:00Z"}';
  const statuses = new Set<number>();
  const topics = ['orders/create', 'orders/updated', 'refunds/create', 'inventory_levels/update'];
  for (const [n, body] of fc.sample(hostileJson([order, order, level]), { seed, numRuns: 120 }).entries()) {
    const answer = await demo.deliver('shopA', body.toString('utf8').slice(0, 4_000_000), {
      topic: topics[n % topics.length] ?? '',
    });
    statuses.add(answer.status);
  }
  expect([...statuses].sort()).toEqual([200, 400]);

  const { id: connectionId } = demo.connection('amazon');
  const { intake } = demo.running.deps.api;
  const before = { orgId: demo.demo.organizationId, connectionId, source: 'queue' as const, deliveryId: null };
  for (const [n, body] of fc.sample(hostileJson([change]), { seed, numRuns: 60 }).entries())
    await intake.receive({ ...before, kind: 'order', externalId: `902-${n}`, topic: 'ORDER_CHANGE', body });

  await demo.until(async () => {
    const { rows } = await demo.db.owner.query<{ untried: string }>(
      `select count(*) as untried from inbox where state = 'waiting' and attempts = 0 and not fetching`,
    );
    return rows[0]?.untried === '0';
  }, 60_000);
  const shown = await demo.shown('shopB', 'DEMO-010');
  await demo.sim('shopA', '/orders', { lines: [{ sku: 'DEMO-010', quantity: 1 }] });
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-010')) === (shown ?? 0) - 1, 60_000);
  expect((await demo.api('/ready')).status).toBe(200);
}, 150_000);

test('hostile path ids, queries, cursors and idempotency keys at every described route are answered, never with 5xx', async () => {
  const wrong: string[] = [];
  for (const { method, path, operation } of answers()) {
    const names = (operation.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name);
    const parts = fc.record({
      id: hostileText,
      query: fc.dictionary(fc.constantFrom(...names, 'cursor', '__proto__', 'limit'), hostileText, { maxKeys: 3 }),
      key: hostileText,
    });
    for (const { id, query, key } of fc.sample(parts, { seed, numRuns: 6 })) {
      const segment = encodeURIComponent(id.toWellFormed().slice(0, 1_500));
      const search = Object.entries(query).map(
        ([name, value]) => `${name}=${encodeURIComponent(value.toWellFormed().slice(0, 3_000))}`,
      );
      const header = key.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 4_000);
      const answer = await demo.api(`${path.replaceAll(/\{[^}]+\}/g, segment)}?${search.join('&')}`, {
        method,
        headers: method === 'GET' ? {} : { 'idempotency-key': header },
        ...(method === 'POST' ? { body: {} } : {}),
      });
      if (answer.status >= 500)
        wrong.push(
          `${answer.status} ${method} ${path} ${segment.slice(0, 200)} ${search.join('&').slice(0, 300)} ${answer.text}`,
        );
    }
  }
  expect(wrong).toEqual([]);
  expect(answers().length).toBeGreaterThan(60);
}, 120_000);

test('hostile bodies at every route that takes one are answered, never with 5xx', async () => {
  const wrong: string[] = [];
  let bodies = 0;
  for (const { method, path, operation } of answers()) {
    const schema = operation.requestBody?.content?.['application/json']?.schema;
    if (method === 'GET' || !schema) continue;
    const sample = JSON.stringify(sampleOf(schema));
    for (const body of fc.sample(hostileJson([sample]), { seed, numRuns: 25 })) {
      bodies += 1;
      const answer = await fetch(`${demo.url}${path.replaceAll(/\{[^}]+\}/g, 'DEMO-002')}`, {
        method,
        headers: { authorization: `Bearer ${demo.demo.apiKey}`, 'content-type': 'application/json' },
        body: new Uint8Array(body.subarray(0, 900_000)),
      });
      const text = await answer.text();
      if (answer.status >= 500)
        wrong.push(`${answer.status} ${method} ${path} ${body.toString('utf8').slice(0, 400)} ${text}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(bodies).toBeGreaterThan(200);
}, 120_000);
