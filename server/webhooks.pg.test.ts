/** Bad input at the real webhook address with real signatures: what is taken, and what did not happen. */

import { createHmac, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from './testing/demo.ts';
import { nextId, shopOrder, variantOf } from './testing/shop-order.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

const places = ['shopA', 'shopB', 'amazon'] as const;
const tables = [
  'inbox',
  'orders',
  'order_lines',
  'movements',
  'commitments',
  'holds',
  'shortfalls',
  'claim_events',
  'attempts',
  'alerts',
  'events',
];

/** Everything a delivery could have left behind, here and at the channels, once all earlier work is done. */
async function traces(): Promise<Record<string, number>> {
  await demo.quiet();
  const found: Record<string, number> = {};
  for (const table of tables)
    found[table] =
      (await demo.db.owner.query<{ n: number }>(`select count(*)::int as n from ${table}`)).rows[0]?.n ?? -1;
  for (const place of places) found[place] = (await demo.writes(place)).length;
  return found;
}
/** Longer than anything the server does with a delivery; for judging that nothing was done. */
const wait = (ms = 150) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * What is refused leaves no trace, each time. Numbers of orders that were only told, above, are looked at again and put right at any
 * moment: what such a moment leaves once is not of the act.
 */
async function leavesNothing(act: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const before = await traces();
    await act();
    await wait();
    const after = await traces();
    if (isDeepStrictEqual(after, before)) return;
    if (tries === 5) expect(after).toEqual(before);
  }
}

interface Order {
  id: string;
  externalId: string;
  status: string;
  unmapped: boolean;
  lines: {
    sku: string | null;
    channelSku: string;
    quantity: number;
    committed: { units: number; sku: string }[];
    missing: { units: number }[];
  }[];
}
const ordersOf = async (externalId: string) =>
  (await demo.ok<{ items: Order[] }>(`/api/orders?externalId=${encodeURIComponent(externalId)}`)).items;
const stock = (sku: string) =>
  demo.ok<{ onHand: number; committed: number; available: number }>(`/api/inventory/${encodeURIComponent(sku)}`);
const applied = (externalId: string) => demo.until(async () => (await ordersOf(externalId)).length > 0);

test('a wrong, missing, truncated, empty or foreign signature is 401 and leaves no trace', async () => {
  const { text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-001', quantity: 1 }]);
  const before = await traces();
  const good = createHmac('sha256', demo.connection('shopA').webhookSecret ?? '')
    .update(text)
    .digest('base64');
  const bad: [string, Parameters<Demo['deliver']>[2]][] = [
    ['missing', { signature: null }],
    ['empty', { signature: '' }],
    ['truncated', { signature: good.slice(0, -4) }],
    ['one bit', { signature: `${good.startsWith('A') ? 'B' : 'A'}${good.slice(1)}` }],
    ['hex', { signature: Buffer.from(good, 'base64').toString('hex') }],
    ['of no secret', { secret: '' }],
    ['of the other shop', { secret: demo.connection('shopB').webhookSecret ?? '' }],
    ['of the access token', { secret: demo.connection('shopA').accessToken }],
    ['not base64', { signature: '*'.repeat(44) }],
  ];
  for (const [name, options] of bad) {
    const answer = await demo.deliver('shopA', text, options);
    expect([name, answer.status, answer.body.code]).toEqual([name, 401, 'webhook.unsigned']);
  }
  // The signature is over the bytes: the same JSON written otherwise is another body.
  expect((await demo.deliver('shopA', `${text} `, { signature: good })).status).toBe(401);
  expect((await demo.deliver('shopA', text.slice(0, -20), { signature: good })).status).toBe(401);
  await wait();
  expect(await traces()).toEqual(before);
});

test('an unknown token, a shop nobody has, another connection’s address and odd paths are 401 or 404 and leave no trace', async () => {
  const { text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-001', quantity: 1 }]);
  const before = await traces();
  const to = (path: string) => `${demo.url}/webhook/${path}`;
  const tokenOfB = demo.connection('shopB').webhookUrl?.split('/').at(-1) ?? '';
  for (const path of [
    `shopify/${'x'.repeat(43)}`,
    'shopify/%00',
    `shopify/${encodeURIComponent("' or 1=1")}`,
    'shopify/..%2f',
    `shopify/${tokenOfB}`,
    `shopify/${tokenOfB.toLowerCase()}`,
    'amazon',
    `amazon/${tokenOfB}`,
  ])
    expect([path, (await demo.deliver('shopA', text, { url: to(path) })).status]).toEqual([path, 401]);
  for (const shop of [null, 'nobody.myshopify.com', 'demo-b.myshopify.com', "'"])
    expect([shop, (await demo.deliver('shopA', text, { url: to('shopify'), shop })).status]).toEqual([shop, 401]);
  for (const path of ['etsy', 'constructor', '__proto__', 'shopify/a/b'])
    expect([path, (await demo.deliver('shopA', text, { url: to(path) })).status]).toEqual([path, 404]);
  expect((await fetch(to('shopify'))).status).toBe(404);
  await wait();
  expect(await traces()).toEqual(before);
});

test('a connection without a secret accepts nothing, whatever it is signed with', async () => {
  const { id } = demo.connection('shopB');
  const { rows } = await demo.db.owner.query<{ webhook_secrets: Buffer }>(
    'select webhook_secrets from connections where id = $1',
    [id],
  );
  await demo.db.owner.query('update connections set webhook_secrets = null where id = $1', [id]);
  demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: id });
  try {
    const { text } = await shopOrder(demo, 'shopB', [{ sku: 'DEMO-001', quantity: 1 }]);
    const before = await traces();
    for (const options of [{}, { secret: '' }, { signature: null }, { signature: '' }])
      expect((await demo.deliver('shopB', text, options)).status).toBe(401);
    await wait();
    expect(await traces()).toEqual(before);
  } finally {
    await demo.db.owner.query('update connections set webhook_secrets = $2 where id = $1', [
      id,
      rows[0]?.webhook_secrets,
    ]);
    demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: id });
  }
});

test('a body beyond 5 MB is 413, signed bytes that are no order are 400: no trace', async () => {
  const before = await traces();
  expect((await demo.deliver('shopA', JSON.stringify({ id: 1, note: 'x'.repeat(5_300_000) }))).status).toBe(413);
  for (const body of [
    '',
    '{',
    'null',
    '[]',
    '"x"',
    '{"name":"#1"}',
    '{"id":null}',
    '{"id":"abc"}',
    '{"id":-1}',
    '{"id":1.5}',
  ]) {
    const answer = await demo.deliver('shopA', body);
    expect([body, answer.status, answer.body.code]).toEqual([body, 400, 'api.invalid']);
  }
  expect((await demo.deliver('shopA', '{"id":1}', { topic: '' })).status).toBe(400);
  await wait();
  expect(await traces()).toEqual(before);
});

test('a signed, complete order is applied from its body though the shop cannot show it; ids beyond 2^53 stay exact', async () => {
  const { externalId, id, text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-001', quantity: 2 }], {
    id: '9223372036854775807',
  });
  const delivered = await demo.deliver('shopA', text);
  expect([delivered.status, delivered.body]).toEqual([200, { ok: true }]);
  await applied(externalId);
  expect(externalId).toBe(`gid://shopify/Order/${id}`);
  expect(await ordersOf(externalId)).toMatchObject([
    {
      externalId,
      status: 'confirmed',
      unmapped: false,
      lines: [{ sku: 'DEMO-001', quantity: 2, committed: [{ sku: 'DEMO-001', units: 2 }] }],
    },
  ]);
  expect(await stock('DEMO-001')).toMatchObject({ onHand: 100, committed: 2, available: 98 });
  await demo.until(
    async () => (await demo.shown('shopB', 'DEMO-001')) === 98 && (await demo.shown('amazon', 'DEMO-001')) === 98,
  );
});

test('the same body a hundred times, under old and new delivery ids, at both addresses, is one order and one call per channel', async () => {
  const { externalId, text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-002', quantity: 3 }]);
  const marks = { shopB: await demo.mark('shopB'), amazon: await demo.mark('amazon') };
  const withoutToken = `${demo.url}/webhook/shopify`;
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      demo.deliver('shopA', text, {
        topic: n % 3 === 0 ? 'orders/create' : 'orders/updated',
        ...(n % 2 === 0 ? { deliveryId: 'same' } : {}),
        ...(n % 5 === 0 ? { url: withoutToken } : {}),
      }),
    ),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  await applied(externalId);
  await demo.quiet();
  expect(await ordersOf(externalId)).toHaveLength(1);
  expect(await stock('DEMO-002')).toMatchObject({ committed: 3, available: 97 });
  expect((await demo.writes('shopB', marks.shopB)).length).toBe(1);
  expect((await demo.writes('amazon', marks.amazon)).length).toBe(1);
  const { rows } = await demo.db.owner.query<{ state: string; n: number }>(
    `select state, count(*)::int as n from inbox where external_id = $1 and source = 'webhook' group by state order by state`,
    [externalId],
  );
  // A few of one moment may be stored beside each other; only the first of them has an effect.
  expect(rows.filter(({ state }) => !['done', 'duplicate', 'superseded'].includes(state))).toEqual([]);
});

test('an older version after a newer one changes nothing; an edit to quantity 0 gives the units back', async () => {
  const now = Date.now();
  const lineId = nextId();
  const line = (quantity: number, current: number) => [{ sku: 'DEMO-003', quantity, current, id: lineId }];
  const first = await shopOrder(demo, 'shopA', line(4, 4), { at: now - 60_000 });
  const newer = await shopOrder(demo, 'shopA', line(4, 3), { id: first.id, at: now - 60_000, updatedAt: now - 30_000 });
  await demo.deliver('shopA', newer.text, { topic: 'orders/updated' });
  await demo.until(async () => (await stock('DEMO-003')).committed === 3);
  await demo.deliver('shopA', first.text);
  await wait();
  expect(await stock('DEMO-003')).toMatchObject({ committed: 3, available: 97 });
  const gone = await shopOrder(demo, 'shopA', line(4, 0), { id: first.id, at: now - 60_000, updatedAt: now - 10_000 });
  await demo.deliver('shopA', gone.text, { topic: 'orders/updated' });
  await demo.until(async () => (await stock('DEMO-003')).committed === 0);
  expect(await stock('DEMO-003')).toMatchObject({ onHand: 100, available: 100 });
  expect(await ordersOf(first.externalId)).toHaveLength(1);
});

test('quantities that are zero, fractional, negative, text or beyond any book sell nothing and stop nobody', async () => {
  const before = await stock('DEMO-006');
  const ids: string[] = [];
  for (const quantity of [0, 1.5, -3, '2', null, 1e300, 3_000_000_000]) {
    const { externalId, text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-006', quantity }]);
    ids.push(externalId);
    expect([quantity, (await demo.deliver('shopA', text)).status]).toEqual([quantity, 200]);
  }
  const healthy = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-007', quantity: 1 }]);
  await demo.deliver('shopA', healthy.text);
  await applied(healthy.externalId);
  await wait(400);
  expect(await stock('DEMO-006')).toEqual(before);
  for (const externalId of ids.slice(1)) expect([externalId, await ordersOf(externalId)]).toEqual([externalId, []]);
  expect(await stock('DEMO-007')).toMatchObject({ committed: 1 });
});

test('lines that name one SKU twice add up; two lines of one id are told to a person, not booked', async () => {
  const { externalId, text } = await shopOrder(demo, 'shopA', [
    { sku: 'DEMO-008', quantity: 2 },
    { sku: 'DEMO-008', quantity: 3 },
  ]);
  await demo.deliver('shopA', text);
  await applied(externalId);
  expect(await stock('DEMO-008')).toMatchObject({ committed: 5 });
  const twice = nextId();
  const same = await shopOrder(demo, 'shopA', [
    { sku: 'DEMO-008', quantity: 1, id: twice },
    { sku: 'DEMO-008', quantity: 1, id: twice },
  ]);
  expect((await demo.deliver('shopA', same.text)).status).toBe(200);
  await wait(300);
  expect(await stock('DEMO-008')).toMatchObject({ committed: 5 });
});

test('more than there is: what is there is owed, the rest is an oversell case, every channel shows 0', async () => {
  const { externalId, text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-009', quantity: 1_000_000 }]);
  await demo.deliver('shopA', text);
  await applied(externalId);
  expect(await stock('DEMO-009')).toMatchObject({ onHand: 100, committed: 100, available: 0 });
  expect((await ordersOf(externalId))[0]?.lines).toMatchObject([
    { quantity: 1_000_000, committed: [{ units: 100 }], missing: [{ units: 999_900 }] },
  ]);
  await demo.until(
    async () => (await demo.shown('shopB', 'DEMO-009')) === 0 && (await demo.shown('amazon', 'DEMO-009')) === 0,
  );
  const { items } = await demo.ok<{
    items: { kind: string; severity: string; details: unknown; subject: { id: string } }[];
  }>('/api/alerts/severity/critical');
  expect(items.filter(({ kind }) => /oversell|shortfall/.test(kind))).toHaveLength(1);
});

test('an order of 500 lines is one order', async () => {
  const variant = await variantOf(demo, 'shopA', 'DEMO-010');
  const { externalId, text } = await shopOrder(
    demo,
    'shopA',
    Array.from({ length: 500 }, (_, n) => ({
      sku: n % 2 === 0 ? 'DEMO-010' : `NOT-OURS-${n}`,
      quantity: n < 100 ? 1 : 0,
      variantId: n % 2 === 0 ? variant : nextId(),
    })),
  );
  expect((await demo.deliver('shopA', text)).status).toBe(200);
  await applied(externalId);
  const [order] = await ordersOf(externalId);
  expect(order?.lines).toHaveLength(500);
  expect(order?.unmapped).toBe(true);
  expect(await stock('DEMO-010')).toMatchObject({ committed: 50, available: 50 });
});

test('unknown SKUs, an odd one and an unknown place are kept as unmapped lines, and the mapped lines are booked', async () => {
  const odd = 'A/B #1 % +é\u{1F9E6}';
  const { externalId, text } = await shopOrder(
    demo,
    'shopA',
    [
      { sku: 'DEMO-011', quantity: 1 },
      { sku: odd, quantity: 2, variantId: nextId() },
      { sku: '', quantity: 1, variantId: nextId() },
    ],
    { more: { location_id: 424_242 } },
  );
  await demo.deliver('shopA', text);
  await applied(externalId);
  const [order] = await ordersOf(externalId);
  expect(order).toMatchObject({ unmapped: true });
  expect(order?.lines.map(({ sku, committed }) => [sku, committed.length]).sort()).toEqual([
    [null, 0],
    [null, 0],
    ['DEMO-011', 1],
  ]);
  expect(await stock('DEMO-011')).toMatchObject({ committed: 1 });
  expect((await demo.api(`/api/inventory/${encodeURIComponent(odd)}`)).status).toBe(404);
});

test('an order for an unmapped listing is kept, and completes when the product is made', async () => {
  const bought = await demo.sim<{ id: string }>('shopA', '/orders', { lines: [{ sku: 'DEMO-UNMAPPED', quantity: 4 }] });
  await demo.until(async () =>
    (await demo.ok<{ items: Order[] }>('/api/orders?limit=5')).items.some(({ lines }) =>
      lines.some(({ channelSku }) => channelSku === 'DEMO-UNMAPPED'),
    ),
  );
  const kept = (await demo.ok<{ items: Order[] }>('/api/orders?limit=5')).items.find(
    ({ lines }) => lines[0]?.channelSku === 'DEMO-UNMAPPED',
  );
  expect(kept).toMatchObject({ unmapped: true, lines: [{ sku: null, quantity: 4, committed: [] }] });
  expect(kept?.externalId).toContain(bought.id.split('/').at(-1));
  expect((await demo.api('/api/inventory/DEMO-UNMAPPED')).status).toBe(404);
  await demo.quiet();
  await wait();
  // Its own number alone: those of orders that were only told, above, are looked at again and put right meanwhile.
  const { items } = await demo.sim<{ items: { sku: string; stockKey: string }[] }>('shopA', '/state');
  const stockKey = items.find(({ sku }) => sku === 'DEMO-UNMAPPED')?.stockKey ?? 'none';
  const toIt = (await demo.writes('shopA')).filter(({ body }) => JSON.stringify(body).includes(stockKey));
  expect([stockKey.startsWith('gid://'), toIt]).toEqual([true, []]);
  await demo.ok('/api/products/bulk', { body: [{ sku: 'DEMO-UNMAPPED', title: 'Mapped now' }] });
  await demo.ok('/api/counts', { body: { sku: 'DEMO-UNMAPPED', quantity: 25 } });
  await demo.until(async () => (await stock('DEMO-UNMAPPED')).committed === 4);
  await demo.until(async () => (await demo.shown('shopA', 'DEMO-UNMAPPED')) === 21);
  expect((await ordersOf(kept?.externalId ?? ''))[0]).toMatchObject({
    unmapped: false,
    lines: [{ sku: 'DEMO-UNMAPPED', committed: [{ units: 4 }] }],
  });
});

test('a paused connection still takes orders in and gets no write; after resume it shows what is right', async () => {
  const { id } = demo.connection('shopA');
  await demo.ok(`/api/connections/${id}/pause`, { body: {} });
  const mark = await demo.mark('shopA');
  const { externalId, text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-012', quantity: 5 }]);
  expect((await demo.deliver('shopA', text)).status).toBe(200);
  await applied(externalId);
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-012')) === 95);
  await demo.ok('/api/counts', { body: { sku: 'DEMO-012', quantity: 60 } });
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-012')) === 55);
  expect(await demo.writes('shopA', mark)).toEqual([]);
  expect(await demo.shown('shopA', 'DEMO-012')).toBe(100);
  expect(await demo.ok<{ paused: boolean }>(`/api/connections/${id}/resume`, { body: {} })).toMatchObject({
    paused: false,
  });
  await demo.until(async () => (await demo.shown('shopA', 'DEMO-012')) === 55);
});

test('a deleted connection is nobody’s address: 401, nothing stored', async () => {
  const { id } = demo.connection('shopB');
  const { text } = await shopOrder(demo, 'shopB', [{ sku: 'DEMO-013', quantity: 1 }]);
  await demo.quiet();
  await demo.db.owner.query('update connections set deleted_at = now() where id = $1', [id]);
  demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: id });
  try {
    await leavesNothing(async () => {
      expect((await demo.deliver('shopB', text)).status).toBe(401);
      expect((await demo.deliver('shopB', text, { url: `${demo.url}/webhook/shopify` })).status).toBe(401);
    });
  } finally {
    await demo.db.owner.query('update connections set deleted_at = null where id = $1', [id]);
    demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: id });
  }
});

test('with a shared secret the shop’s name proves nothing: only the token’s own connection takes the body, once', async () => {
  const [a, b] = [demo.connection('shopA'), demo.connection('shopB')];
  const { rows } = await demo.db.owner.query<{ id: string; webhook_fingerprints: Buffer[] }>(
    'select id, webhook_fingerprints from connections where id = any ($1::uuid[])',
    [[a.id, b.id]],
  );
  await demo.db.owner.query('update connections set webhook_fingerprints = $2 where id = $1', [
    b.id,
    rows.find(({ id }) => id === a.id)?.webhook_fingerprints,
  ]);
  demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: b.id });
  try {
    const { text } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-014', quantity: 1 }]);
    expect((await demo.deliver('shopA', text, { url: `${demo.url}/webhook/shopify` })).status).toBe(401);
    expect((await demo.deliver('shopA', text)).status).toBe(200);
    await demo.until(async () => (await stock('DEMO-014')).committed === 1);
    // The other shop's address, signed rightly for it: the body is known to belong to the first.
    expect((await demo.deliver('shopB', text)).status).toBe(401);
    await wait();
    expect(await stock('DEMO-014')).toMatchObject({ committed: 1 });
  } finally {
    for (const row of rows)
      await demo.db.owner.query('update connections set webhook_fingerprints = $2 where id = $1', [
        row.id,
        row.webhook_fingerprints,
      ]);
    demo.running.deps.intake.forget({ orgId: demo.demo.organizationId, connectionId: b.id });
  }
});

test('the predecessor’s { orderId, items } needs an API key, and is one order however often it is sent', async () => {
  const url = '/webhook/shopify';
  const orderId = `old-${randomUUID()}`;
  const body = {
    orderId,
    items: [
      { sku: 'DEMO-015', quantity: 2 },
      { sku: 'KIT-2', quantity: 1 },
    ],
  };
  await leavesNothing(async () => {
    for (const key of [null, 'sk_wrong']) expect((await demo.api(url, { body, key })).status).toBe(401);
    // A signature of the shop does not make it a Shopify order.
    expect((await demo.deliver('shopA', body)).status).toBe(400);
  });
  const marks = { shopA: await demo.mark('shopA'), shopB: await demo.mark('shopB') };
  const answers = await Promise.all(Array.from({ length: 5 }, () => demo.api(url, { body })));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(answers.filter(({ body: answer }) => answer.queued === true)).toHaveLength(1);
  expect(new Set(answers.map(({ body: answer }) => answer.id)).size).toBe(1);
  expect(answers[0]?.body).toMatchObject({
    success: true,
    inventoryAfter: { 'DEMO-015': 100, 'KIT-2': 0 },
    broadcastAfter: { 'DEMO-015': 98, 'KIT-2': 49 },
  });
  expect(await stock('DEMO-015')).toMatchObject({ onHand: 100, committed: 2 });
  expect(await stock('DEMO-023')).toMatchObject({ committed: 2 });
  await demo.until(
    async () => (await demo.shown('shopA', 'DEMO-015')) === 98 && (await demo.shown('shopB', 'KIT-2')) === 49,
  );
  expect((await demo.writes('shopA', marks.shopA)).length).toBeGreaterThan(0);
  expect(await ordersOf(orderId)).toMatchObject([{ connectionId: null, externalId: orderId, unmapped: false }]);
  const unknown = await demo.api(url, {
    body: {
      orderId: `${orderId}-2`,
      items: [
        { sku: 'DEMO-015', quantity: 1 },
        { sku: 'NO-SUCH', quantity: 1 },
      ],
    },
  });
  expect(unknown).toMatchObject({
    status: 422,
    body: { code: 'domain.unknown_sku', errors: [{ field: 'items.1.sku' }] },
  });
  expect(await ordersOf(`${orderId}-2`)).toEqual([]);
  for (const bad of [
    {},
    { orderId, items: [] },
    { orderId: '', items: body.items },
    { orderId, items: [{ sku: 'DEMO-015', quantity: 0 }] },
    { orderId, items: [{ sku: 'DEMO-015', quantity: 1.5 }] },
    [],
    7,
  ])
    expect([bad, (await demo.api(url, { body: bad })).status]).toEqual([bad, 400]);
  expect(await stock('DEMO-015')).toMatchObject({ committed: 2 });
});

test.each([
  ['ten minutes ahead', 600_000],
  ['ten minutes behind', -600_000],
])('a shop whose clock is %s: the order is booked once, and its later edit counts', async (_, skew) => {
  const sku = skew > 0 ? 'DEMO-004' : 'DEMO-005';
  const id = nextId();
  const line = (current: number) => [{ sku, quantity: 5, current, id }];
  const at = Date.now() + skew;
  const first = await shopOrder(demo, 'shopA', line(5), { at });
  await demo.deliver('shopA', first.text);
  await demo.until(async () => (await stock(sku)).committed === 5);
  const edit = await shopOrder(demo, 'shopA', line(2), { id: first.id, at, updatedAt: at + 5_000 });
  await demo.deliver('shopA', edit.text, { topic: 'orders/updated' });
  await demo.until(async () => (await stock(sku)).committed === 2);
  await demo.until(async () => (await demo.shown('shopB', sku)) === 98 && (await demo.shown('amazon', sku)) === 98);
  expect(await stock(sku)).toMatchObject({ onHand: 100, available: 98 });
});
