/** The edge from outside: who may call, what is refused and how, before any rule of stock is asked. */
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

const problemKeys = ['type', 'title', 'status', 'code', 'detail'];
const uuid = '01a1fd66-a0dc-7833-b271-5dd737f90357';

/** A request as it is typed: no normalising of the path, no waiting for the body to be sent. */
function raw(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(demo.url);
    const sent = httpRequest({ hostname, port, method, path, headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Every route of the running server that is not said to be public, as method and a path that fits it. */
function routesOf(openapi: {
  paths: Record<string, Record<string, { security?: unknown[] }>>;
}): { method: string; path: string; security: unknown[] | undefined }[] {
  return Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      method: method.toUpperCase(),
      path: path.replace('{level}', 'critical').replaceAll(/\{[^}]+\}/g, uuid),
      security,
    })),
  );
}

test('every documented route answers 401 without a key, with a wrong one and with a bad body, before anything else', async () => {
  const { body: openapi } = await demo.api<Parameters<typeof routesOf>[0]>('/api/openapi.json', { key: null });
  const routes = routesOf(openapi);
  const closed = routes.filter(({ security }) => security === undefined);
  expect(routes.filter(({ security }) => security !== undefined).map(({ path }) => path)).toEqual([
    '/health',
    '/ready',
    '/metrics',
  ]);
  expect(closed.length).toBeGreaterThan(35);
  for (const { method, path } of closed) {
    for (const key of [null, 'sk_demo_wrong', `${demo.demo.apiKey}x`]) {
      const answer = await demo.api(path, {
        method,
        key,
        ...(method === 'POST' ? { body: '{ not json', headers: { 'content-type': 'application/json' } } : {}),
      });
      expect([answer.status, answer.body.code, method, path]).toEqual([401, 'api.unauthorized', method, path]);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(Object.keys(answer.body)).toEqual(problemKeys);
    }
  }
});

test('every route of the running server is documented or public', async () => {
  const printed: string[] = [];
  const { createApi } = await import('./app.ts');
  const app = await createApi(demo.running.deps.api);
  try {
    // A tree: four columns per level, each line a piece of the path and, at its end, the methods.
    const pieces: string[] = [];
    for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
      const match = /^([│ ├└─]*)(\S*)(?: \(([A-Z, ]+)\))?$/.exec(line);
      if (!match || line.trim() === '') continue;
      const level = (match[1] ?? '').length / 4;
      pieces.splice(level - 1, pieces.length, match[2] ?? '');
      for (const method of match[3]?.split(', ') ?? []) printed.push(`${method} ${pieces.join('')}`);
    }
  } finally {
    await app.close();
  }
  const { body } = await demo.api<{ paths: Record<string, Record<string, unknown>> }>('/api/openapi.json');
  const documented = new Set(
    Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{([^}]+)\}/g, ':$1')}`),
    ),
  );
  const hidden = printed.filter(
    (route) => !route.startsWith('HEAD ') && !route.startsWith('OPTIONS ') && !documented.has(route),
  );
  expect(
    hidden.filter(
      (route) =>
        !/^GET \/(docs|assets|$|[\w.-]+\.(js|svg|html|css|ico|png|json|webmanifest)$|api\/openapi\.json)/.test(route) &&
        !/^POST \/webhook\/:platform(\/:token)?$/.test(route),
    ),
  ).toEqual([]);
  expect(printed.length).toBeGreaterThan(40);
});

test.each([
  ['GET', '/api'],
  ['GET', '/api/'],
  ['GET', '/api/nothing'],
  ['DELETE', '/api/inventory/DEMO-001'],
  ['GET', '/nothing'],
  ['GET', '/admin/api'],
  ['GET', '/%61pi/inventory'],
  ['GET', '/api/inventory/%zz'],
  ['GET', '//api/inventory'],
  ['GET', '/health/../api/inventory'],
  ['GET', '/webhook/../api/inventory'],
  ['POST', '/webhook/amazon/return'],
  ['GET', `/api/inventory/${'x'.repeat(5_000)}`],
])('%s %.60s without a key is 401', async (method, path) => {
  const answer = await raw(
    method,
    path,
    method === 'POST' ? { 'content-type': 'application/json' } : {},
    method === 'POST' ? '{"sku":' : undefined,
  );
  expect(answer.status).toBe(path === '/webhook/../api/inventory' ? 404 : 401);
  expect(answer.text).not.toContain('DEMO-');
});

test('what does not exist is 404 with a key; a path that cannot be decoded is 400', async () => {
  const key = { authorization: `Bearer ${demo.demo.apiKey}` };
  for (const path of ['/api/nothing', '/nothing', '/api']) expect((await raw('GET', path, key)).status).toBe(404);
  const broken = await raw('GET', '/api/inventory/%zz', key);
  expect([broken.status, (JSON.parse(broken.text) as { code: string }).code]).toEqual([400, 'api.invalid']);
});

test('the public paths answer anybody', async () => {
  for (const path of ['/health', '/ready', '/metrics', '/docs', '/api/openapi.json'])
    expect([path, (await fetch(`${demo.url}${path}`)).status]).toEqual([path, 200]);
  expect((await demo.api('/ready', { key: null })).body).toEqual({ ready: true });
  expect((await demo.api('/health', { key: null })).body.ok).toBe(true);
  expect((await demo.api('/api/auth/sign-in', { key: null, body: {} })).status).toBe(404);
});

test('the description is OpenAPI 3.1 with every reference found, unique parameters and one credential', async () => {
  const { body } = await demo.api<{
    openapi: string;
    info: { title: string; version: string };
    paths: Record<
      string,
      Record<
        string,
        { parameters?: { name: string; in: string }[]; responses: Record<string, { description: string }> }
      >
    >;
    components: Record<string, Record<string, unknown>>;
    security: unknown;
  }>('/api/openapi.json', { key: null });
  expect(body.openapi).toMatch(/^3\.1\.\d$/);
  expect(body.info.title).toBe('SyncState');
  expect(body.security).toEqual([{ key: [] }]);
  expect(body.components.securitySchemes).toEqual({ key: { type: 'http', scheme: 'bearer' } });
  for (const [, ref] of JSON.stringify(body).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const found = (ref ?? '')
      .split('/')
      .reduce<unknown>(
        (at, part) => (at as Record<string, unknown> | undefined)?.[part.replaceAll('~1', '/').replaceAll('~0', '~')],
        body,
      );
    expect([ref, typeof found]).toEqual([ref, 'object']);
  }
  for (const [path, methods] of Object.entries(body.paths)) {
    const names = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
    for (const [method, operation] of Object.entries(methods)) {
      const parameters = operation.parameters ?? [];
      expect([path, method, parameters.filter((one) => one.in === 'path').map(({ name }) => name)]).toEqual([
        path,
        method,
        names,
      ]);
      expect(new Set(parameters.map((one) => `${one.in} ${one.name}`)).size).toBe(parameters.length);
      expect(Object.keys(operation.responses).length).toBeGreaterThan(0);
      for (const response of Object.values(operation.responses)) expect(typeof response.description).toBe('string');
    }
  }
});

test('another organization sees nothing of ours: its lists are empty, our ids and SKUs are 404 and stay as they were', async () => {
  const { key } = await demo.stranger();
  const connection = demo.connection('shopA');
  const item = await demo.ok<{ listings: { id: string }[] }>('/api/inventory/DEMO-001');
  const before = await demo.ok('/api/connections');
  expect((await demo.api('/api/inventory', { key })).body).toEqual({ items: [], nextCursor: null, totalSkus: 0 });
  expect((await demo.api<{ items: unknown[] }>('/api/connections', { key })).body.items).toEqual([]);
  expect(
    (await demo.api<{ items: { code: string }[] }>('/api/locations', { key })).body.items.map(({ code }) => code),
  ).toEqual(['MAIN']);
  for (const path of ['/api/orders', '/api/movements', '/api/alerts', '/api/dead-letters'])
    expect([path, (await demo.api<{ items: unknown[] }>(path, { key })).body.items]).toEqual([path, []]);
  const foreign: [string, Record<string, unknown>?][] = [
    ['/api/inventory/DEMO-001'],
    ['/api/inventory/DEMO-001/explain'],
    ['/api/buffer/DEMO-001'],
    ['/api/mapping/DEMO-001'],
    [`/api/connections/${connection.id}`],
    [`/api/connections/${connection.id}/pause`, {}],
    [`/api/connections/${connection.id}/resume`, {}],
    [`/api/connections/${connection.id}/sync`, {}],
    [`/api/connections/${connection.id}/purchases`, { lines: [{ sku: 'DEMO-001', quantity: 1 }] }],
    [`/api/listings/${item.listings[0]?.id}/pause`, {}],
    [`/api/listings/${item.listings[0]?.id}/resume`, {}],
    ['/api/inventory/adjustments', { sku: 'DEMO-001', set: 1, reason: 'cycle_count' }],
    ['/api/receipts', { sku: 'DEMO-001', quantity: 1 }],
    ['/api/counts', { sku: 'DEMO-001', quantity: 1 }],
    ['/api/holds', { sku: 'DEMO-001', quantity: 1 }],
    ['/api/transfers', { sku: 'DEMO-001', from: 'MAIN', to: 'EAST', quantity: 1 }],
    ['/api/buffer/DEMO-001', { buffer: 5 }],
    ['/api/mapping', { sku: 'DEMO-001', asin: 'B0DEMO0001' }],
    ['/webhook/amazon/return', { sku: 'DEMO-001', quantity: 1, disposition: 'SELLABLE' }],
    [`/api/orders/${uuid}`],
    [`/api/alerts/${uuid}/read`, {}],
    [`/api/dead-letters/${uuid}/retry`, {}],
    [`/api/dead-letters/${uuid}/discard`, {}],
    [`/api/imports/files/${uuid}`],
  ];
  for (const [path, body] of foreign) {
    const answer = await demo.api(path, { key, ...(body ? { body } : {}) });
    expect([path, answer.status, answer.body.code]).toEqual([path, 404, 'api.not_found']);
  }
  expect(await demo.ok('/api/connections')).toEqual(before);
  expect((await demo.ok('/api/inventory/DEMO-001')).onHand).toBe(100);
});

test.each([
  ['/api/inventory?limit=0', 'limit'],
  ['/api/inventory?limit=501', 'limit'],
  ['/api/inventory?limit=ten', 'limit'],
  ['/api/inventory?limit=1.5', 'limit'],
  ['/api/inventory?cursor=%00%01garbled', 'cursor'],
  ['/api/inventory?cursor=WzEsMl0', 'cursor'],
  ['/api/inventory?search=%00', 'search'],
  ['/api/inventory?location=%00', 'location'],
  ['/api/movements?cursor=WyJhIiwiYiJd', 'cursor'],
  ['/api/movements?cursor=WyJtb3ZlbWVudHMiLCJhIiwiYiJd', 'cursor'],
  ['/api/orders?cursor=e30', 'cursor'],
  ['/api/orders?connectionId=7', 'connectionId'],
  ['/api/orders?externalId=%00', 'externalId'],
  ['/api/alerts/unread?cursor=xx', 'cursor'],
  ['/api/alerts/severity/loud', 'level'],
  ['/api/dead-letters?limit=-1', 'limit'],
  ['/api/locations?cursor=xx', 'cursor'],
  ['/api/connections?limit=0', 'limit'],
  ['/api/inventory/DEMO-001/explain?listing=7', 'listing'],
  ['/api/inventory/DEMO-001/explain?at=yesterday', 'at'],
])('%s is a 400 that names %s', async (path, field) => {
  const answer = await demo.api<{ code: string; errors: { field: string }[] }>(path);
  expect([answer.status, answer.body.code, answer.body.errors.map((error) => error.field)]).toEqual([
    400,
    'api.invalid',
    [field],
  ]);
});

test('a cursor of one list is a 400 at another, and pages join without gap or double', async () => {
  const first = await demo.ok<{ items: { sku: string }[]; nextCursor: string; totalSkus: number }>(
    '/api/inventory?limit=7',
  );
  expect(first.totalSkus).toBe(29);
  for (const path of [
    '/api/movements',
    '/api/orders',
    '/api/alerts',
    '/api/dead-letters',
    '/api/locations',
    '/api/connections',
  ])
    expect([path, (await demo.api(`${path}?cursor=${first.nextCursor}`)).status]).toEqual([path, 400]);
  const skus = first.items.map(({ sku }) => sku);
  for (let cursor: string | null = first.nextCursor; cursor !== null; ) {
    const page: { items: { sku: string }[]; nextCursor: string | null } = await demo.ok(
      `/api/inventory?limit=7&cursor=${cursor}`,
    );
    skus.push(...page.items.map(({ sku }) => sku));
    cursor = page.nextCursor;
  }
  expect(skus).toEqual([...skus].sort());
  expect([skus.length, new Set(skus).size]).toEqual([29, 29]);
  const movements = await demo.ok<{ items: { id: string }[]; nextCursor: string }>('/api/movements?limit=20');
  const next = await demo.ok<{ items: { id: string }[]; nextCursor: string | null }>(
    `/api/movements?limit=20&cursor=${movements.nextCursor}`,
  );
  expect(new Set([...movements.items, ...next.items].map(({ id }) => id)).size).toBe(
    movements.items.length + next.items.length,
  );
  const locations = await demo.ok<{ items: { code: string }[]; nextCursor: string }>('/api/locations?limit=2');
  expect(locations.items.map(({ code }) => code)).toEqual(['MAIN', 'EAST']);
  expect(
    await demo.ok<{ items: { code: string }[] }>(`/api/locations?limit=2&cursor=${locations.nextCursor}`),
  ).toMatchObject({ items: [{ code: 'FBA' }], nextCursor: null });
});

test('a wrong content type is 415, a body beyond the limit 413, bytes that are not JSON 400: nothing is booked', async () => {
  const good = { sku: 'DEMO-002', set: 7, reason: 'cycle_count' };
  const adjust = (init: Parameters<Demo['api']>[1]) =>
    demo.api('/api/inventory/adjustments', { method: 'POST', ...init });
  for (const type of [
    'text/plain',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
  ]) {
    const answer = await adjust({ body: JSON.stringify(good), headers: { 'content-type': type } });
    expect([type, answer.status, answer.body.code]).toEqual([type, 415, 'api.unknown_type']);
  }
  expect(
    (
      await raw(
        'POST',
        '/api/inventory/adjustments',
        { authorization: `Bearer ${demo.demo.apiKey}`, 'content-length': '3' },
        '{}\n',
      )
    ).status,
  ).toBe(415);
  const big = await adjust({ body: { ...good, note: 'x'.repeat(1_100_000) } });
  expect([big.status, big.body.code]).toEqual([413, 'api.too_large']);
  for (const body of ['{', '[1,', '"\u0001', '{"sku":"DEMO-002"}}', '{"__proto__":{"sku":"x"}}']) {
    const answer = await adjust({ body, headers: { 'content-type': 'application/json' } });
    expect([body, answer.status, answer.body.code]).toEqual([body, 400, 'api.invalid']);
  }
  for (const body of ['null', '[]', '7', '"x"', '{}', ''])
    expect([body, (await adjust({ body, headers: { 'content-type': 'application/json' } })).status]).toEqual([
      body,
      400,
    ]);
  expect((await demo.ok('/api/inventory/DEMO-002')).onHand).toBe(100);
});

test('a call without a body may name JSON as its type', async () => {
  const path = `/api/connections/${demo.connection('shopB').id}/resume`;
  expect((await demo.api(path, { method: 'POST', headers: { 'content-type': 'application/json' } })).status).toBe(200);
  expect((await demo.api(path, { method: 'POST' })).status).toBe(200);
});

test('a key with a limit gets 429 with Retry-After; the demo key has none', async () => {
  const { key, orgId } = await demo.stranger();
  await demo.db.owner.query('update api_keys set rate_per_minute = 3 where org_id = $1', [orgId]);
  const statuses: number[] = [];
  for (let call = 0; call < 5; call += 1) statuses.push((await demo.api('/api/locations', { key })).status);
  expect(statuses).toEqual([200, 200, 200, 429, 429]);
  const limited = await demo.api('/api/locations', { key });
  expect(limited.body.code).toBe('api.rate_limited');
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(Number(limited.headers.get('retry-after'))).toBeLessThanOrEqual(60);
});

test('a revoked and an expired key are 401', async () => {
  const { key, orgId } = await demo.stranger();
  expect((await demo.api('/api/locations', { key })).status).toBe(200);
  await demo.db.owner.query(`update api_keys set expires_at = now() - interval '1 second' where org_id = $1`, [orgId]);
  expect((await demo.api('/api/locations', { key })).status).toBe(401);
  await demo.db.owner.query('update api_keys set expires_at = null, revoked_at = now() where org_id = $1', [orgId]);
  expect((await demo.api('/api/locations', { key })).status).toBe(401);
});

const adjustment = { sku: 'DEMO-003', change: -1, reason: 'correction' };
const keyed = (key: string, body: unknown = adjustment) =>
  demo.api('/api/inventory/adjustments', { body, headers: { 'idempotency-key': key } });
const sellable = async (sku: string) => (await demo.ok<{ physical: number }>(`/api/inventory/${sku}`)).physical;

test('the same Idempotency-Key gives the first answer again and books once; another body is 422', async () => {
  const before = await sellable('DEMO-003');
  const first = await keyed('k1');
  expect([first.status, first.body]).toEqual([200, { sku: 'DEMO-003', location: 'MAIN', before, after: before - 1 }]);
  expect(first.headers.get('idempotency-replayed')).toBe(null);
  const again = await keyed('k1');
  expect([again.status, again.body]).toEqual([200, first.body]);
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  const other = await keyed('k1', { ...adjustment, change: -2 });
  expect([other.status, other.body.code]).toEqual([422, 'store.mismatch']);
  expect(await sellable('DEMO-003')).toBe(before - 1);
});

test('a refusal is replayed as the same refusal; another path, method or caller is another key', async () => {
  const refused = { sku: 'DEMO-ZERO', change: -1, reason: 'correction' };
  const first = await keyed('k2', refused);
  expect([first.status, first.body.code]).toEqual([409, 'domain.insufficient']);
  const again = await keyed('k2', refused);
  expect([again.status, again.body, again.headers.get('idempotency-replayed')]).toEqual([409, first.body, 'true']);
  expect(again.headers.get('content-type')).toContain('application/problem+json');
  const elsewhere = await demo.api('/api/receipts', {
    body: { sku: 'DEMO-003', quantity: 1 },
    headers: { 'idempotency-key': 'k2' },
  });
  expect([elsewhere.status, elsewhere.headers.get('idempotency-replayed')]).toEqual([200, null]);
});

test('a key of 255 characters is taken, 256 and none are 400, and a body that is refused as such is not kept', async () => {
  expect((await keyed('k'.repeat(255))).status).toBe(200);
  const long = await keyed('k'.repeat(256));
  expect([long.status, long.body.code]).toEqual([400, 'api.invalid']);
  expect((await keyed('')).status).toBe(400);
  expect((await keyed('k3', { sku: 'DEMO-003' })).status).toBe(400);
  expect((await keyed('k3')).status).toBe(200);
});

test('twenty at once with one key book once: one runs, the others replay it or are told it still runs', async () => {
  const before = await sellable('DEMO-004');
  const answers = await Promise.all(Array.from({ length: 20 }, () => keyed('k4', { ...adjustment, sku: 'DEMO-004' })));
  for (const { status, body } of answers)
    expect([status, body.code]).toEqual(status === 200 ? [200, undefined] : [409, 'store.conflict']);
  expect(
    answers.filter(({ status, headers }) => status === 200 && headers.get('idempotency-replayed') === null),
  ).toHaveLength(1);
  expect(await sellable('DEMO-004')).toBe(before - 1);
});

test('a first call that died is taken over after 30 s, and what it booked is not booked again', async () => {
  const before = await sellable('DEMO-005');
  const body = { ...adjustment, sku: 'DEMO-005' };
  const first = await keyed('k5', body);
  // It died after the booking and before its answer was kept.
  const died = (age: string) =>
    demo.db.owner.query(
      `update idempotency_keys set status = null, response = null, created_at = now() - $1::interval where key = 'k5'`,
      [age],
    );
  await died('10 seconds');
  const early = await keyed('k5', body);
  expect([early.status, early.body.code]).toEqual([409, 'store.conflict']);
  await died('31 seconds');
  const taken = await keyed('k5', body);
  expect([taken.status, taken.body, taken.headers.get('idempotency-replayed')]).toEqual([200, first.body, null]);
  expect(await sellable('DEMO-005')).toBe(before - 1);
});
