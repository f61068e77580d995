/**
 * Every limit of a write, over HTTP. One table of all write routes of the running server: for each field what is
 * refused, for each route what no body may be. Every refusal is the exact status and code, names its field, and changes nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verify } from '#store/ledger/verify.ts';
import { type Answer, type Demo, startDemo } from '../testing/demo.ts';

let demo: Demo;
let before: unknown;
beforeAll(async () => {
  demo = await startDemo();
  await demo.quiet();
  before = await everything();
});
afterAll(() => demo?.stop());

const tables = [
  ...[
    'positions',
    'movements',
    'commitments',
    'holds',
    'shortfalls',
    'ledger_effects',
    'orders',
    'order_lines',
    'variants',
    'listings',
  ],
  ...[
    'locations',
    'runs',
    'audit',
    'alerts',
    'inbox',
    'drifts',
    'publish_policies',
    'scarcity_policies',
    'stock_limits',
  ],
];

/** Rows and contents of what a write could have changed, as the owner sees it; columns that time alone moves aside. */
async function everything(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const { rows } = await demo.db.owner.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_name = any($1) order by 1`,
    [tables],
  );
  for (const { name } of rows) {
    const { rows: sums } = await demo.db.owner.query<{ sum: string }>(
      `select count(*) || ' ' || coalesce(md5(string_agg(x.t, '|' order by x.t)), '') as sum from (select (to_jsonb(t) - 'last_at' - 'count')::text as t from ${name} t) x`,
    );
    found[name] = sums[0]?.sum ?? '';
  }
  const { rows: paused } = await demo.db.owner
    .query('select id, paused_at, shadow_since is null as live from connections order by id')
    .catch(() => demo.db.owner.query('select id, paused_at from connections order by id'));
  found.connections = JSON.stringify(paused);
  return found;
}

const unchanged = async () => {
  expect(await everything()).toEqual(before);
  const { organizationId } = demo.demo;
  expect(await demo.db.store.readOnly(organizationId, (tx) => verify(tx, organizationId))).toMatchObject({
    ok: true,
    faults: [],
  });
};

type Bad = readonly unknown[];
const absent = Symbol('absent');
const notText: Bad = [5, true, null, {}, ['DEMO-001']];
const badText: Bad = ['a\0b', '\ud800', 'x\udfff'];
const badSku: Bad = [...notText, ...badText, '', '   ', 'x'.repeat(201), 'x'.repeat(1_000)];
const notWhole: Bad = ['5', '', 1.5, null, true, [], {}, 1e300, -1.5];
const limits = {
  sku: [...badSku, absent],
  /** Of an order or a return. */
  lineUnits: [...notWhole, 0, -1, 1_000_001, absent],
  units: [...notWhole, 0, -1, 1_000_000_001, absent],
  quantity: [...notWhole, -1, 1_000_000_001, absent],
  buffer: [...notWhole, -1, 1_000_001],
  location: [...notText, ...badText, '', 'x'.repeat(101)],
  reason: [5, {}, ...badText, 'x'.repeat(501)],
  text: [5, {}, ...badText, 'x'.repeat(1_001)],
  uuid: ['7', 5, {}, 'x'.repeat(1_000), 'a\0b'],
  seconds: [...notWhole, 0, -1, 31_536_001],
  optional: ['5', 1.5, true, [], {}, 1e300, -1, 1_000_000_001],
  notText: [...notText, ''],
  reference: [true, {}, null, [], '', 'x'.repeat(101), 0, -1, 1.5, ...badText],
  choice: ['nonsense', 5, null, {}, 'x'.repeat(1_000)],
  flag: ['yes', 5, {}],
  time: ['yesterday', '2026-13-01T00:00:00Z', 5, {}],
} satisfies Record<string, Bad>;

interface Route {
  /** A body that is right but for the fields below; absent: the route takes none, or a file. */
  body?: Record<string, unknown>;
  fields?: Record<string, keyof typeof limits>;
  /** A path parameter that is an id: an unknown one is 404. */
  id?: true;
  /** Where the path needs something else. */
  path?: string;
  /** The body may be left out, so null is one. */
  optional?: true;
}

const someone = '01a1fd66-a0dc-7833-b271-5dd737f90357';
const sku = 'DEMO-001';
const byId: Route = { id: true };
const routes: Record<string, Route> = {
  'POST /api/inventory/adjustments': {
    body: { sku, set: 1, reason: 'cycle_count' },
    fields: { sku: 'sku', set: 'quantity', reason: 'choice', location: 'location', note: 'text' },
  },
  'POST /api/receipts': {
    body: { sku, quantity: 1 },
    fields: { sku: 'sku', quantity: 'units', location: 'location', reference: 'text' },
  },
  'POST /api/counts': {
    body: { sku, quantity: 1 },
    fields: { sku: 'sku', quantity: 'quantity', location: 'location', note: 'text' },
  },
  'POST /api/transfers': {
    body: { sku, from: 'MAIN', to: 'EAST', quantity: 1 },
    fields: { sku: 'sku', quantity: 'units', from: 'location', to: 'location', reference: 'text' },
  },
  'POST /api/holds': {
    body: { sku, quantity: 1 },
    fields: { sku: 'sku', quantity: 'units', location: 'location', reference: 'text', expiresInSeconds: 'seconds' },
  },
  'POST /api/buffer/{sku}': {
    path: `/api/buffer/${sku}`,
    body: { buffer: 1 },
    fields: { buffer: 'buffer', bufferQty: 'buffer' },
  },
  'POST /api/mapping': {
    body: { sku, asin: 'B0DEMO0001' },
    fields: { sku: 'sku', asin: 'choice', connectionId: 'uuid' },
  },
  'PUT /api/scarcity': { body: { lastUnits: 3 }, fields: { lastUnits: 'optional', connectionId: 'uuid' } },
  'POST /api/inventory/bulk': {},
  'POST /api/products/bulk': {},
  'POST /api/imports': {},
  'POST /api/runs/{id}/cancel': byId,
  'POST /api/runs/{id}/undo': byId,
  'POST /api/connections/{id}/sync': byId,
  'POST /api/connections/{id}/purchases': {
    ...byId,
    body: { lines: [{ sku, quantity: 1 }] },
    fields: { lines: 'choice' },
  },
  'POST /api/connections/{id}/import': {
    ...byId,
    optional: true,
    body: { mode: 'full' },
    fields: { mode: 'choice', dryRun: 'flag', createProducts: 'flag', zeroIsRight: 'flag' },
  },
  'POST /api/connections/{id}/pause': {
    ...byId,
    optional: true,
    body: {},
    fields: { reason: 'reason', until: 'time' },
  },
  'POST /api/connections/{id}/resume': byId,
  'POST /api/connections/{id}/shadow': { ...byId, body: { on: true }, fields: { on: 'flag' } },
  'POST /api/listings/{id}/pause': { ...byId, optional: true, body: {}, fields: { reason: 'reason', until: 'time' } },
  'POST /api/listings/{id}/resume': byId,
  'POST /api/listings/{id}/sync': byId,
  'POST /api/listings/{id}/preview': {
    ...byId,
    optional: true,
    body: { quantity: 1 },
    fields: { quantity: 'optional' },
  },
  'POST /api/pushes/stop': { optional: true, body: {}, fields: { reason: 'reason' } },
  'POST /api/pushes/resume': {},
  'POST /api/drift/policy': { body: { scope: 'organization', drift: 'ask' }, fields: { scope: 'choice', id: 'uuid' } },
  'POST /api/drift/{id}/heal': byId,
  'POST /api/drift/{id}/adopt': byId,
  'POST /api/drift/{id}/dismiss': byId,
  'POST /api/freshness': {
    body: { location: 'MAIN', limitMs: null },
    fields: { location: 'location', limitMs: 'flag', action: 'choice' },
  },
  'POST /api/freshness/readings': { body: { location: 'MAIN' }, fields: { location: 'location', at: 'time' } },
  'POST /api/connections/{id}/subscriptions': byId,
  'POST /api/connections/{id}/order-counts': byId,
  'POST /api/connections/{id}/stock-sweeps': byId,
  'POST /api/alerts/{id}/read': byId,
  'PATCH /api/dead-letters/{id}': { ...byId, body: { payload: '{}' }, fields: { payload: 'notText' } },
  'POST /api/dead-letters/{id}/retry': byId,
  'POST /api/dead-letters/{id}/discard': byId,
  'POST /api/dead-letters/retry': { body: { ids: [someone] }, fields: { ids: 'choice' } },
  'POST /api/dead-letters/discard': { body: { ids: [someone] }, fields: { ids: 'choice' } },
  'POST /api/dead-letters/purge': {
    body: { olderThanDays: 3_000 },
    fields: { olderThanDays: 'units', kind: 'choice', class: 'choice', connectionId: 'uuid' },
  },
  'POST /webhook/amazon/return': {
    body: { sku, quantity: 1, disposition: 'SELLABLE' },
    fields: {
      sku: 'sku',
      quantity: 'lineUnits',
      disposition: 'choice',
      reason: 'reason',
      orderId: 'text',
      returnedAt: 'time',
      location: 'location',
    },
  },
  // The predecessor's report of an order; with a key and without a signature.
  'POST /webhook/shopify': {
    body: { orderId: 'L-1', items: [{ sku, quantity: 1 }] },
    fields: { items: 'choice', orderId: 'reference' },
  },
};

const entries = Object.entries(routes).map(([name, route]) => {
  const [method = '', template = ''] = name.split(' ');
  return { name, method, template, path: route.path ?? template.replace('{id}', someone), ...route };
});
const withBody = entries.filter((route) => route.body !== undefined);

type Refusal = { code?: string; errors?: { field: string }[] };
const send = (
  route: { method: string; path: string },
  body: unknown,
  headers: Record<string, string> = { 'content-type': 'application/json' },
) =>
  demo.api<Refusal>(route.path, {
    method: route.method,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers,
  });
const said = ({ status, body }: Answer<Refusal>) => [status, body?.code];

test('every write route of the running server stands in this table', async () => {
  const { paths } = await demo.ok<{ paths: Record<string, Record<string, unknown>> }>('/api/openapi.json');
  const writes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).flatMap((method) => (method === 'get' ? [] : [`${method.toUpperCase()} ${path}`])),
  );
  expect(
    Object.keys(routes)
      .filter((name) => name !== 'POST /webhook/shopify')
      .sort(),
  ).toEqual(writes.sort());
});

describe('a field beyond its limit is a 400 that names it', () => {
  test.each(withBody)(
    '$name',
    async (route) => {
      const wrong: unknown[] = [];
      for (const [field, kind] of Object.entries(route.fields ?? {}))
        for (const value of limits[kind]) {
          const body = { ...route.body, [field]: value };
          if (value === absent) delete (body as Record<string, unknown>)[field];
          // A buffer goes by two names, and an adjustment sets or changes: the other is taken away.
          if (field === 'bufferQty') delete (body as Record<string, unknown>).buffer;
          const answer = await send(route, body);
          const fields = answer.body?.errors?.map((error) => error.field) ?? [];
          if (
            answer.status !== 400 ||
            answer.body.code !== 'api.invalid' ||
            !fields.some((one) => one === field || one.startsWith(`${field}.`))
          )
            wrong.push([
              field,
              value === absent ? 'absent' : String(JSON.stringify(value)).slice(0, 40),
              answer.status,
              answer.body?.code,
              fields,
            ]);
        }
      expect(wrong).toEqual([]);
      await unchanged();
    },
    60_000,
  );

  test.each([
    ['POST /webhook/shopify', { orderId: 'L-1', items: [] }, 'items'],
    ['POST /webhook/shopify', { orderId: 'x'.repeat(101), items: [{ sku, quantity: 1 }] }, 'orderId'],
    ['POST /webhook/shopify', { orderId: '', items: [{ sku, quantity: 1 }] }, 'orderId'],
    ...limits.lineUnits.map(
      (quantity) =>
        ['POST /webhook/shopify', { orderId: 'L-1', items: [{ sku, quantity }] }, 'items.0.quantity'] as const,
    ),
    ...limits.sku.map(
      (bad) =>
        ['POST /webhook/shopify', { orderId: 'L-1', items: [{ sku: bad, quantity: 1 }] }, 'items.0.sku'] as const,
    ),
    ...limits.lineUnits.map(
      (quantity) =>
        ['POST /api/connections/{id}/purchases', { lines: [{ sku, quantity }] }, 'lines.0.quantity'] as const,
    ),
    ['POST /webhook/amazon/return', { sku, quantity: 1, disposition: 'SELLABLE', orderId: 'x'.repeat(101) }, 'orderId'],
    ['POST /api/inventory/adjustments', { sku, change: 0, reason: 'correction' }, 'change'],
    ['POST /api/inventory/adjustments', { sku, change: 1.5, reason: 'correction' }, 'change'],
    ['POST /api/inventory/adjustments', { sku, change: 1_000_000_001, reason: 'correction' }, 'change'],
  ] as const)('%s %j names %s', async (name, body, field) => {
    const route = entries.find((one) => one.name === name);
    const answer = await send(route ?? entries[0] ?? { method: '', path: '' }, body);
    expect([...said(answer), [...new Set(answer.body.errors?.map((error) => error.field))]]).toEqual([
      400,
      'api.invalid',
      [field],
    ]);
  });
});

const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
const json = { 'content-type': 'application/json' };

describe('a body that is none is refused before anything is read from it', () => {
  test.each(withBody)(
    '$name',
    async (route) => {
      const body = JSON.stringify(route.body);
      const polluted = [
        `{"__proto__":{"admin":true},${body.slice(1)}`,
        `{"constructor":{"prototype":{"admin":true}},${body.slice(1)}`,
      ].map((one) => one.replace(',}', '}'));
      const cases: [string, unknown, Record<string, string>, number, string][] = [
        ['not JSON', '{ not json', json, 400, 'api.invalid'],
        ['cut off', body.slice(0, -1), json, 400, 'api.invalid'],
        ['a list', '[]', json, 400, 'api.invalid'],
        ['a text', '"text"', json, 400, 'api.invalid'],
        ['a number', '7', json, 400, 'api.invalid'],
        ['nested 50,000 deep', deep, json, 400, 'api.invalid'],
        ['a key that would change all objects', polluted[0], json, 400, 'api.invalid'],
        ['the same by another way', polluted[1], json, 400, 'api.invalid'],
        ['more than a megabyte', `{"x":"${'x'.repeat(1_100_000)}"}`, json, 413, 'api.too_large'],
        ['XML', '<a/>', { 'content-type': 'application/xml' }, 415, 'api.unknown_type'],
        ['plain text', 'text', { 'content-type': 'text/plain' }, 415, 'api.unknown_type'],
        ['a form', 'sku=1', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'api.unknown_type'],
      ];
      const wrong: unknown[] = [];
      for (const [what, sent, headers, ...usual] of cases) {
        // A channel's address takes any bytes; what is no report is refused all the same.
        const [status, code] = route.name === 'POST /webhook/shopify' ? [400, 'api.invalid'] : usual;
        const answer = await send(route, sent, headers);
        if (answer.status !== status || answer.body?.code !== code)
          wrong.push([what, answer.status, answer.body?.code]);
      }
      expect(wrong).toEqual([]);
      expect(({} as Record<string, unknown>).admin).toBeUndefined();
      await unchanged();
    },
    60_000,
  );
});

test('an id that is unknown, foreign to its form, endless or undecodable is 404 or 400 at every route that takes one', async () => {
  const wrong: unknown[] = [];
  for (const route of entries.filter(({ id }) => id))
    for (const [id, statuses] of [
      [someone, [404]],
      ['7', [404, 400]],
      ['x'.repeat(1_000), [404, 400]],
      ['%00', [404, 400]],
      ['..%2f..', [404, 400]],
    ] as const) {
      const answer = await send({ method: route.method, path: route.template.replace('{id}', id) }, route.body ?? {});
      if (!(statuses as readonly number[]).includes(answer.status))
        wrong.push([route.name, id.slice(0, 20), answer.status, answer.body?.code]);
    }
  expect(wrong).toEqual([]);
  await unchanged();
});

test.each(['POST /api/inventory/bulk', 'POST /api/products/bulk'])(
  '%s: a file of no rows, of bytes or of another type is refused whole',
  async (name) => {
    const [method = '', path = ''] = name.split(' ');
    for (const [body, type] of [
      ['', 'text/csv'],
      ['\u0000\u0001\u0002', 'text/csv'],
      ['<a/>', 'application/xml'],
    ] as const) {
      const answer = await send({ method, path }, body, { 'content-type': type });
      expect([body, answer.status >= 400 && answer.status < 500, answer.headers.get('content-type')]).toEqual([
        body,
        true,
        expect.stringContaining('application/problem+json'),
      ]);
    }
  },
);

test('what is within the limits at their very edge is taken: special characters, a SKU of 200 characters as unknown', async () => {
  const odd = [
    "DEMO'; drop table positions; --",
    '<script>',
    '../../etc/passwd',
    'ÄÖÜ 茶 🫖',
    '%',
    '_',
    'x'.repeat(200),
  ];
  for (const one of odd) {
    const answer = await send({ method: 'POST', path: '/api/receipts' }, { sku: one, quantity: 1 });
    expect([one, ...said(answer)]).toEqual([one, 404, 'api.not_found']);
  }
  expect(
    said(
      await send(
        { method: 'POST', path: '/webhook/amazon/return' },
        {
          sku: 'x'.repeat(200),
          quantity: 1_000_000,
          disposition: 'SELLABLE',
          orderId: 'x'.repeat(100),
          reason: 'x'.repeat(500),
        },
      ),
    ),
  ).toEqual([404, 'api.not_found']);
  await unchanged();
});

describe('at once', () => {
  const at = async (one: string) =>
    demo.ok<{ onHand: number; available: number; buffer: number }>(`/api/inventory/${one}`);

  test('forty parallel decrements of thirty units: thirty are taken, ten are refused, none is lost, nothing is negative', async () => {
    await demo.ok('/api/counts', { body: { sku: 'DEMO-020', quantity: 30 } });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () =>
        send(
          { method: 'POST', path: '/api/inventory/adjustments' },
          { sku: 'DEMO-020', change: -1, reason: 'correction' },
        ),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(30);
    expect(answers.filter(({ status }) => status === 409).map(({ body }) => body.code)).toEqual(
      Array(10).fill('domain.insufficient'),
    );
    expect(await at('DEMO-020')).toMatchObject({ onHand: 0, available: 0 });
  });

  test('parallel buffer writes leave one of the values that were written, and the stock as it was', async () => {
    const values = Array.from({ length: 20 }, (_, n) => n + 1);
    const answers = await Promise.all(
      values.map((buffer) => send({ method: 'POST', path: '/api/buffer/DEMO-021' }, { buffer })),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const after = await at('DEMO-021');
    expect(values).toContain(after.buffer);
    expect(after).toMatchObject({ onHand: 100 });
    const { organizationId } = demo.demo;
    expect(await demo.db.store.readOnly(organizationId, (tx) => verify(tx, organizationId))).toMatchObject({
      ok: true,
      faults: [],
    });
  });
});
