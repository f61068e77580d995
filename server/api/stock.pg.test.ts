/** Stock over HTTP: what is shown, what each command does, what is refused and leaves everything as it was. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, type Demo, startDemo } from '../testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

interface Position {
  location: string;
  sellable: number;
  damaged: number;
  quarantine: number;
  reserved: number;
  committed: number;
  available: number;
}
interface Item {
  sku: string;
  onHand: number;
  committed: number;
  reserved: number;
  available: number;
  physical: number;
  buffer: number;
  broadcast: number;
  lastBroadcast: { count: number; txId: string; timestamp: string } | null;
  bundle: { components: { sku: string; units: number; available: number }[]; limiting: string | null } | null;
  positions: Position[];
  listings: {
    id: string;
    connectionId: string;
    platform: string;
    channelLocation: string;
    stockKey: string;
    externalId: string;
    variantExternalId: string | null;
    desired: number;
    state: string;
  }[];
}
const at = (sku: string) => `/api/inventory/${encodeURIComponent(sku)}`;
const item = (sku: string) => demo.ok<Item>(at(sku));
const position = async (sku: string, location: string) =>
  (await item(sku)).positions.find((one) => one.location === location);
const movements = async (sku: string) =>
  (
    await demo.ok<{
      items: {
        kind: string;
        reason: string;
        units: number;
        from: unknown;
        to: unknown;
        reference: string | null;
        actor: string;
      }[];
    }>(`/api/movements?sku=${encodeURIComponent(sku)}`)
  ).items;
const refusal = ({ status, body }: Answer<Record<string, unknown>>) => [status, body.code];
const adjust = (body: Record<string, unknown>) => demo.api('/api/inventory/adjustments', { body });

test('a SKU is shown whole: totals, positions, and one listing row per target in order of connections and locations', async () => {
  const found = await item('DEMO-001');
  expect(Object.keys(found)).toEqual([
    'sku',
    'title',
    'onHand',
    'committed',
    'reserved',
    'available',
    'physical',
    'buffer',
    'broadcast',
    'lastBroadcast',
    'bundle',
    'positions',
    'listings',
  ]);
  expect(found).toMatchObject({
    sku: 'DEMO-001',
    onHand: 100,
    committed: 0,
    reserved: 0,
    available: 100,
    physical: 100,
    buffer: 0,
    broadcast: 100,
    lastBroadcast: null,
    bundle: null,
  });
  const empty = { damaged: 0, quarantine: 0, expired: 0, incoming: 0, committed: 0, reserved: 0 };
  expect(found.positions).toEqual([
    { location: 'MAIN', sellable: 100, ...empty, available: 100 },
    { location: 'EAST', sellable: 0, ...empty, available: 0 },
  ]);
  expect(found.listings).toHaveLength(5);
  expect(Object.keys(found.listings[0] ?? {}).sort()).toEqual(
    [
      'accepted',
      'channelLocation',
      'channelSku',
      'connectionId',
      'desired',
      'expected',
      'externalId',
      'id',
      'observed',
      'platform',
      'reason',
      'state',
      'stockKey',
      'updatedAt',
      'variantExternalId',
    ].sort(),
  );
  const ids = found.listings.map(({ connectionId }) => connectionId);
  expect(ids).toEqual([...ids].sort());
  for (const place of ['shopA', 'shopB'] as const) {
    const connection = demo.connection(place);
    const rows = found.listings.filter(({ connectionId }) => connectionId === connection.id);
    expect(rows.map(({ channelLocation }) => channelLocation)).toEqual(
      connection.locations.map(({ externalId }) => externalId),
    );
    expect(rows.map(({ desired }) => desired)).toEqual([100, 0]);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(1);
    expect(rows[0]?.externalId).toMatch(/^gid:\/\/shopify\/Product\/\d+$/);
    expect(rows[0]?.variantExternalId).toMatch(/^gid:\/\/shopify\/ProductVariant\/\d+$/);
    expect(rows[0]?.stockKey).toMatch(/^gid:\/\/shopify\/InventoryItem\/\d+$/);
  }
  expect(found.listings.find(({ platform }) => platform === 'amazon')).toMatchObject({
    externalId: 'B0DEMO0001',
    variantExternalId: null,
    stockKey: 'DEMO-001',
    channelSku: 'DEMO-001',
    channelLocation: 'DEFAULT',
    desired: 100,
    expected: 100,
    observed: 100,
    state: 'in_sync',
    reason: null,
  });
});

test('a bundle has no goods of its own: what can be built, the bottleneck, no positions', async () => {
  expect(await item('KIT-3')).toMatchObject({
    onHand: 0,
    committed: 0,
    reserved: 0,
    available: 33,
    physical: 0,
    broadcast: 33,
    positions: [],
    bundle: {
      components: [
        { sku: 'DEMO-021', units: 1, available: 100 },
        { sku: 'DEMO-022', units: 2, available: 100 },
        { sku: 'DEMO-023', units: 3, available: 100 },
      ],
      limiting: 'DEMO-023',
    },
  });
  for (const [path, body] of [
    ['/api/inventory/adjustments', { sku: 'KIT-3', set: 5, reason: 'cycle_count' }],
    ['/api/receipts', { sku: 'KIT-3', quantity: 5 }],
    ['/api/counts', { sku: 'KIT-3', quantity: 5 }],
    ['/api/holds', { sku: 'KIT-3', quantity: 5 }],
  ] as const)
    expect([path, ...refusal(await demo.api(path, { body }))]).toEqual([path, 422, 'domain.bundle_has_no_stock']);
  expect(await movements('KIT-3')).toEqual([]);
});

test('set is a count and change a wish; the answer says before and after, and a set to the same number is no change', async () => {
  expect((await adjust({ sku: 'DEMO-006', location: 'MAIN', set: 40, reason: 'cycle_count' })).body).toEqual({
    sku: 'DEMO-006',
    location: 'MAIN',
    before: 100,
    after: 40,
  });
  expect((await adjust({ sku: 'DEMO-006', change: 5, reason: 'found' })).body).toEqual({
    sku: 'DEMO-006',
    location: 'MAIN',
    before: 40,
    after: 45,
  });
  expect(
    (await adjust({ sku: 'DEMO-006', location: 'EAST', change: 3, reason: 'received', note: 'box 7' })).body,
  ).toEqual({ sku: 'DEMO-006', location: 'EAST', before: 0, after: 3 });
  expect(await adjust({ sku: 'DEMO-006', set: 45, reason: 'cycle_count' })).toMatchObject({
    status: 200,
    body: { before: 45, after: 45 },
  });
  expect(await item('DEMO-006')).toMatchObject({ onHand: 48, available: 48, broadcast: 48 });
  const booked = (await movements('DEMO-006')).map(({ units, reason, reference }) => [units, reason, reference]);
  expect(booked.slice(0, 3)).toEqual([
    [3, 'received', 'box 7'],
    [5, 'found', null],
    [60, 'cycle_count', null],
  ]);
  expect(booked).toHaveLength(4);
});

test('a change beyond what is free is 409 with the missing units and books nothing; damaged and lost are facts', async () => {
  const held = await demo.api('/api/holds', { body: { sku: 'DEMO-007', location: 'MAIN', quantity: 95 } });
  expect(held.status).toBe(201);
  const before = await movements('DEMO-007');
  const wish = await adjust({ sku: 'DEMO-007', location: 'MAIN', change: -6, reason: 'correction' });
  expect(wish.status).toBe(409);
  expect(wish.body).toMatchObject({
    code: 'domain.insufficient',
    errors: [{ field: 'sku', sku: 'DEMO-007', missing: 1 }],
  });
  expect(await movements('DEMO-007')).toEqual(before);
  expect((await adjust({ sku: 'DEMO-007', location: 'MAIN', change: -6, reason: 'damaged' })).body).toEqual({
    sku: 'DEMO-007',
    location: 'MAIN',
    before: 100,
    after: 94,
  });
  expect(await position('DEMO-007', 'MAIN')).toMatchObject({ sellable: 94, damaged: 6, reserved: 94, available: 0 });
  expect((await adjust({ sku: 'DEMO-007', location: 'MAIN', change: -4, reason: 'lost' })).body).toEqual({
    sku: 'DEMO-007',
    location: 'MAIN',
    before: 94,
    after: 90,
  });
  expect(await item('DEMO-007')).toMatchObject({ onHand: 96, physical: 90, reserved: 90, available: 0, broadcast: 0 });
});

test('a loss beyond the book is booked all the same, and nothing becomes negative', async () => {
  expect((await adjust({ sku: 'DEMO-ZERO', change: -2, reason: 'lost' })).status).toBe(200);
  expect(await item('DEMO-ZERO')).toMatchObject({ onHand: 0, physical: 0, available: 0, broadcast: 0 });
});

test.each([
  [{ sku: 'DEMO-008', set: 1, change: 1, reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', set: -1, reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', set: 1.5, reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', set: '5', reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', set: 1e12, reason: 'cycle_count' }, 400, 'set'],
  [{ sku: 'DEMO-008', change: 0, reason: 'correction' }, 400, 'change'],
  [{ sku: 'DEMO-008', change: -0.5, reason: 'correction' }, 400, 'change'],
  [{ sku: 'DEMO-008', set: 1, reason: 'mood' }, 400, 'reason'],
  [{ sku: 'DEMO-008', set: 1 }, 400, 'reason'],
  [{ sku: '', set: 1, reason: 'other' }, 400, 'sku'],
  [{ sku: 'x'.repeat(201), set: 1, reason: 'other' }, 400, 'sku'],
  [{ sku: 'DEMO-008\u0000', set: 1, reason: 'other' }, 400, 'sku'],
  [{ sku: 'DEMO-008\ud800', set: 1, reason: 'other' }, 400, 'sku'],
  [{ sku: 7, set: 1, reason: 'other' }, 400, 'sku'],
  [{ sku: 'DEMO-008', set: 1, reason: 'other', note: 'a\u0000b' }, 400, 'note'],
  [{ sku: 'DEMO-008', set: 1, reason: 'other', location: 'MAIN\u0000' }, 400, 'location'],
  [{ sku: 'DEMO-008', set: 1, reason: 'other', location: 'MOON' }, 422, 'location'],
  [{ sku: 'DEMO-008', set: 1, reason: 'other', location: 'main' }, 422, 'location'],
  [{ sku: 'NO-SUCH', set: 1, reason: 'other' }, 404, null],
  [{ sku: 'demo-008', set: 1, reason: 'other' }, 404, null],
])('adjustment %j is refused with %i and changes nothing', async (body, status, field) => {
  const answer = await demo.api<{ errors?: { field: string }[] }>('/api/inventory/adjustments', { body });
  expect([answer.status, answer.body.errors?.[0]?.field ?? null]).toEqual([status, field]);
  expect((await item('DEMO-008')).onHand).toBe(100);
  expect(await movements('DEMO-008')).toHaveLength(1);
});

test('receipts, counts and transfers book what they say; a transfer beyond what is free is refused whole', async () => {
  expect(
    (await demo.api('/api/receipts', { body: { sku: 'DEMO-009', quantity: 7, location: 'EAST', reference: 'PO 1' } }))
      .body,
  ).toEqual({ sku: 'DEMO-009', location: 'EAST', before: 0, after: 7 });
  expect((await demo.api('/api/counts', { body: { sku: 'DEMO-009', quantity: 90 } })).body).toEqual({
    sku: 'DEMO-009',
    location: 'MAIN',
    before: 100,
    after: 90,
  });
  expect(
    (await demo.api('/api/transfers', { body: { sku: 'DEMO-009', from: 'MAIN', to: 'EAST', quantity: 15 } })).body,
  ).toEqual({
    sku: 'DEMO-009',
    from: { sku: 'DEMO-009', location: 'MAIN', before: 90, after: 75 },
    to: { sku: 'DEMO-009', location: 'EAST', before: 7, after: 22 },
  });
  const before = await movements('DEMO-009');
  const beyond = await demo.api('/api/transfers', {
    body: { sku: 'DEMO-009', from: 'EAST', to: 'MAIN', quantity: 23 },
  });
  expect(beyond).toMatchObject({ status: 409, body: { code: 'domain.insufficient', errors: [{ missing: 1 }] } });
  expect(
    (await demo.api('/api/transfers', { body: { sku: 'DEMO-009', from: 'EAST', to: 'EAST', quantity: 1 } })).status,
  ).toBe(400);
  expect(
    (await demo.api('/api/transfers', { body: { sku: 'DEMO-009', from: 'EAST', to: 'MOON', quantity: 1 } })).status,
  ).toBe(422);
  for (const quantity of [0, -1, 1.5, '1', null, 1e10])
    for (const path of ['/api/receipts', '/api/transfers', '/api/holds'])
      expect([
        quantity,
        path,
        (await demo.api(path, { body: { sku: 'DEMO-009', quantity, from: 'MAIN', to: 'EAST' } })).status,
      ]).toEqual([quantity, path, 400]);
  expect(await movements('DEMO-009')).toEqual(before);
  expect(await item('DEMO-009')).toMatchObject({ onHand: 97, available: 97 });
});

test('a hold claims units for a while, lapses by itself, and is refused whole beyond what is free', async () => {
  const held = await demo.api<{ id: string; expiresAt: string }>('/api/holds', {
    body: { sku: 'DEMO-010', quantity: 60, expiresInSeconds: 1, reference: 'cart 9' },
  });
  expect([held.status, Object.keys(held.body)]).toEqual([201, ['id', 'sku', 'quantity', 'expiresAt']]);
  expect(await item('DEMO-010')).toMatchObject({ onHand: 100, reserved: 60, available: 40, broadcast: 40 });
  const beyond = await demo.api('/api/holds', { body: { sku: 'DEMO-010', quantity: 41 } });
  expect(beyond).toMatchObject({ status: 409, body: { code: 'domain.insufficient', errors: [{ missing: 1 }] } });
  expect((await item('DEMO-010')).reserved).toBe(60);
  expect((await demo.api('/api/holds', { body: { sku: 'DEMO-010', quantity: 1, expiresInSeconds: 0 } })).status).toBe(
    400,
  );
  await demo.until(async () => (await item('DEMO-010')).reserved === 0, 5_000);
  expect(await item('DEMO-010')).toMatchObject({ onHand: 100, available: 100 });
});

test('twelve buyers want the last unit as a wish at once: one gets it, eleven are refused, nothing is negative', async () => {
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => demo.api('/api/holds', { body: { sku: 'DEMO-LAST', quantity: 1 } })),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 11 }, () => 409)]);
  expect(await item('DEMO-LAST')).toMatchObject({ onHand: 1, reserved: 1, available: 0 });
});

test('the buffer is kept back from what is published, never from the goods', async () => {
  const before = (await movements('DEMO-011')).length;
  expect((await demo.api('/api/buffer/DEMO-011')).body).toEqual({
    sku: 'DEMO-011',
    physical: 100,
    buffer: 0,
    broadcast: 100,
    lastBroadcast: null,
  });
  expect((await demo.api('/api/buffer/DEMO-011', { body: { bufferQty: 30 } })).body).toMatchObject({
    physical: 100,
    buffer: 30,
    broadcast: 70,
  });
  await demo.until(
    async () =>
      (await demo.shown('shopA', 'DEMO-011')) === 70 &&
      (await demo.shown('shopB', 'DEMO-011')) === 70 &&
      (await demo.shown('amazon', 'DEMO-011')) === 70,
  );
  await demo.quiet();
  const after = await item('DEMO-011');
  expect(after).toMatchObject({ onHand: 100, available: 100, buffer: 30, broadcast: 70, lastBroadcast: { count: 70 } });
  expect(after.lastBroadcast?.txId).toMatch(/^[0-9a-f-]{36}$/);
  expect((await movements('DEMO-011')).length).toBe(before);
  expect((await demo.api('/api/buffer/DEMO-011', { body: { buffer: 500 } })).body).toMatchObject({
    buffer: 500,
    broadcast: 0,
  });
  for (const body of [
    {},
    { buffer: -1 },
    { buffer: 1.5 },
    { buffer: '3' },
    { bufferQty: 1, buffer: 2 },
    { buffer: 1_000_001 },
  ])
    expect([body, (await demo.api('/api/buffer/DEMO-011', { body })).status]).toEqual([body, 400]);
  expect((await demo.api('/api/buffer/NO-SUCH', { body: { buffer: 1 } })).status).toBe(404);
  expect((await demo.api('/api/buffer/NO-SUCH')).status).toBe(404);
  expect((await item('DEMO-011')).buffer).toBe(500);
});

const odd = [
  'A/B #1 % +plus',
  'é\u0301\u{1F9E6}',
  '100%25',
  '..',
  'a?b&c=d;e',
  '\u{1F9E6}'.repeat(200),
  "'; drop table variants; --",
  '=1+1',
  '__proto__',
  'ß',
  '\\',
  'tab or not',
];

test.each(odd)('SKU %.40j is made, found, booked and searched in its own spelling', async (sku) => {
  const nfc = sku.normalize('NFC');
  expect((await demo.api('/api/products/bulk', { body: [{ sku: ` ${sku} `, title: 'Odd one' }] })).body).toMatchObject({
    rows: 1,
    succeeded: 1,
  });
  expect((await demo.api('/api/receipts', { body: { sku, quantity: 3 } })).body).toEqual({
    sku: nfc,
    location: 'MAIN',
    before: 0,
    after: 3,
  });
  for (const spelling of [sku, nfc, sku.normalize('NFD'), ` ${sku}`]) {
    if (spelling === '..') continue;
    expect((await demo.api<Item>(at(spelling))).body).toMatchObject({ sku: nfc, onHand: 3 });
  }
  if (sku !== '..')
    expect((await demo.api(`/api/buffer/${encodeURIComponent(sku)}`, { body: { buffer: 1 } })).body).toMatchObject({
      sku: nfc,
      broadcast: 2,
    });
  const search = [...nfc].slice(0, 50).join('');
  const found = await demo.ok<{ items: Item[]; totalSkus: number }>(
    `/api/inventory?search=${encodeURIComponent(search)}&limit=100`,
  );
  expect(found.items.map((one) => one.sku)).toContain(nfc);
  for (const { sku: shown } of found.items) expect(shown.toLowerCase()).toContain(search.toLowerCase());
  expect(await movements(sku)).toMatchObject([{ units: 3, reason: 'received' }]);
});

test('SKUs differ by case and inner spaces; 201 code points are refused', async () => {
  await demo.ok('/api/products/bulk', { body: [{ sku: 'Case a' }, { sku: 'case a' }, { sku: 'Case  a' }] });
  const { totalSkus } = await demo.ok<{ totalSkus: number }>('/api/inventory?search=case');
  expect(totalSkus).toBe(3);
  expect((await demo.api(at('\u{1F9E6}'.repeat(201)))).status).toBe(400);
  expect((await demo.api(at('CASE A'))).status).toBe(404);
});

test('search finds in SKU and title, takes % _ and \\ as they stand, and location keeps what lies there', async () => {
  await demo.ok('/api/products/bulk', {
    body: [
      { sku: 'S-1', title: '50% off_set \\ Öl' },
      { sku: 'S-2', title: '50 off set' },
    ],
  });
  const skus = async (query: string) =>
    (await demo.ok<{ items: Item[] }>(`/api/inventory?${query}`)).items.map(({ sku }) => sku);
  expect(await skus('search=50%25')).toEqual(['S-1']);
  expect(await skus('search=off_set')).toEqual(['S-1']);
  expect(await skus('search=%5C%20%C3%B6l')).toEqual(['S-1']);
  expect(await skus('search=50')).toEqual(['S-1', 'S-2']);
  expect(await skus('search=%20%20')).toEqual(await skus(''));
  expect(await skus('location=FBA')).toEqual(['DEMO-FBA']);
  expect(await skus('location=MOON')).toEqual([]);
});

test('explain takes each number apart: its steps end at what is desired, and at a past time it tells that time', async () => {
  const listing = (await item('DEMO-012')).listings.find(({ platform }) => platform === 'amazon');
  const start = new Date().toISOString();
  await demo.ok('/api/inventory/adjustments', { body: { sku: 'DEMO-012', set: 80, reason: 'cycle_count' } });
  const between = new Date().toISOString();
  await demo.ok('/api/buffer/DEMO-012', { body: { buffer: 10 } });
  await demo.ok('/api/holds', { body: { sku: 'DEMO-012', quantity: 5 } });
  await demo.quiet();
  interface Explained {
    sku: string;
    at: string;
    targets: {
      listingId: string;
      platform: string;
      channelLocation: string;
      desired: number;
      steps: { running: number }[];
      channel: { expected: number; state: string } | null;
    }[];
  }
  const now = await demo.ok<Explained>('/api/inventory/DEMO-012/explain');
  expect(now.targets.map(({ desired }) => desired)).toEqual(
    (await item('DEMO-012')).listings.map(({ desired }) => desired),
  );
  for (const { desired, steps } of now.targets)
    expect([steps.length > 0, steps.at(-1)?.running]).toEqual([true, desired]);
  const amazon = (explained: Explained) => explained.targets.find(({ platform }) => platform === 'amazon');
  expect(amazon(now)).toMatchObject({ desired: 65, channel: { expected: 65, state: 'in_sync' } });
  const one = await demo.ok<Explained>(`/api/inventory/DEMO-012/explain?listing=${listing?.id}`);
  expect(one.targets).toHaveLength(1);
  expect((await demo.api(`/api/inventory/DEMO-013/explain?listing=${listing?.id}`)).status).toBe(404);
  expect((await demo.api('/api/inventory/NO-SUCH/explain')).status).toBe(404);
  expect(amazon(await demo.ok<Explained>(`/api/inventory/DEMO-012/explain?at=${between}`))).toMatchObject({
    desired: 80,
    channel: null,
  });
  expect(amazon(await demo.ok<Explained>(`/api/inventory/DEMO-012/explain?at=${start}`))).toMatchObject({
    desired: 100,
    channel: null,
  });
  expect((await demo.api(`/api/inventory/DEMO-012/explain?at=2999-01-01T00:00:00Z`)).status).toBe(400);
});
