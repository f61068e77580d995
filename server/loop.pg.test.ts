/** The loop from outside (P3, P4): what happens at one channel is right at all the others, by real calls, read back, once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, type Place, startDemo } from './testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

const places = ['shopA', 'shopB', 'amazon'] as const;

interface Item {
  onHand: number;
  committed: number;
  reserved: number;
  available: number;
  broadcast: number;
  listings: { connectionId: string; desired: number; expected: number; observed: number; state: string }[];
}
const item = (sku: string) => demo.ok<Item>(`/api/inventory/${sku}`);
const shown = async (sku: string) => Promise.all(places.map((place) => demo.shown(place, sku)));
const everywhere = (sku: string, units: number, withinMs?: number) =>
  demo.until(async () => (await shown(sku)).every((number) => number === units), withinMs);
const buy = (place: Place, sku: string, quantity: number, more: Record<string, unknown> = {}) =>
  demo.sim<{ id: string; lines: { id: string; sku: string; quantity: number }[] }>(place, '/orders', {
    lines: [{ sku, quantity }],
    ...more,
  });
const orders = async () =>
  (
    await demo.ok<{ items: { externalId: string; connectionId: string; pending: boolean; status: string }[] }>(
      '/api/orders?limit=500',
    )
  ).items;
const marks = async () =>
  Object.fromEntries(
    await Promise.all(places.map(async (place) => [place, await demo.mark(place)] as const)),
  ) as Record<Place, number>;
const writesSince = async (from: Record<Place, number>) =>
  Promise.all(places.map(async (place) => (await demo.writes(place, from[place])).length));

test('at the start every number is right on every channel and nothing happens by itself', async () => {
  const state = await Promise.all(
    places.map((place) =>
      demo.sim<{ items: { sku: string; location: string; quantity: number }[]; orders: unknown[] }>(place, '/state'),
    ),
  );
  expect(state.map(({ items }) => items.length)).toEqual([58, 56, 29]);
  expect(state.map(({ orders: placed }) => placed.length)).toEqual([0, 0, 0]);
  expect(await writesSince({ shopA: 0, shopB: 0, amazon: 0 })).toEqual([0, 0, 0]);
  expect(await shown('DEMO-024')).toEqual([100, 100, 100]);
  expect(await shown('DEMO-LAST')).toEqual([1, 1, 1]);
  expect(await shown('KIT-2')).toEqual([50, 50, 50]);
  expect(await shown('KIT-3')).toEqual([33, 33, 33]);
  const before = await marks();
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(await writesSince(before)).toEqual([0, 0, 0]);
});

test('a sale at shop A corrects shop B and Amazon by one call each, read back, and shop A by none', async () => {
  const before = await marks();
  await buy('shopA', 'DEMO-001', 2);
  await everywhere('DEMO-001', 98);
  await demo.quiet();
  expect(await writesSince(before)).toEqual([0, 1, 1]);
  const after = await item('DEMO-001');
  expect(after).toMatchObject({ onHand: 100, committed: 2, available: 98, broadcast: 98 });
  const main = after.listings.filter(({ desired }) => desired !== 0);
  expect(main.map(({ desired, expected, state }) => [desired, expected, state])).toEqual([
    [98, 98, 'in_sync'],
    [98, 98, 'in_sync'],
    [98, 98, 'in_sync'],
  ]);
});

/**
 * Amazon tells times in whole seconds: a sale in the second of the first read may be part of what was read, and is held back twice
 * until orders are read past it (P6: too few for a moment, never too many). That is not what these tests are about.
 */
const inALaterSecond = (sku: string) =>
  demo.until(async () => {
    const { rows } = await demo.db.owner.query<{ later: boolean }>(
      `select bool_and(t.base_at + interval '1 second' <= now()) as later from targets t
         join variants v on v.org_id = t.org_id and v.id = t.variant_id where v.sku = $1 and t.connection_id = $2`,
      [sku, demo.connection('amazon').id],
    );
    return rows[0]?.later === true;
  });

test('an Amazon sale corrects both shops, and Amazon is not written', async () => {
  await inALaterSecond('DEMO-002');
  const before = await marks();
  await buy('amazon', 'DEMO-002', 3);
  await everywhere('DEMO-002', 97);
  await demo.quiet();
  expect(await writesSince(before)).toEqual([1, 1, 0]);
  expect(await item('DEMO-002')).toMatchObject({ onHand: 100, committed: 3, available: 97 });
});

test('every delivery five times, late and out of order, is one order', async () => {
  await demo.sim('shopA', '/faults', { kind: 'duplicate', times: 4 });
  await demo.sim('shopA', '/faults', { kind: 'reorder', times: 2 });
  const known = (await orders()).length;
  const { id } = await buy('shopA', 'DEMO-003', 1);
  await everywhere('DEMO-003', 99);
  await demo.sim('shopA', '/faults', undefined, 'DELETE');
  await demo.quiet();
  expect((await orders()).length).toBe(known + 1);
  expect((await orders()).filter(({ externalId }) => externalId.endsWith(id.split('/').at(-1) ?? id))).toHaveLength(1);
  expect(await item('DEMO-003')).toMatchObject({ onHand: 100, committed: 1 });
});

test('a bundle sale: the parts and the other bundle follow everywhere, each channel is called once per number', async () => {
  await buy('shopB', 'KIT-3', 2);
  await everywhere('KIT-3', 31);
  await everywhere('KIT-2', 47);
  await everywhere('DEMO-021', 98);
  await everywhere('DEMO-022', 96);
  await everywhere('DEMO-023', 94);
  expect(await item('DEMO-023')).toMatchObject({ onHand: 100, committed: 6, available: 94 });
  expect(await demo.ok('/api/inventory/KIT-3')).toMatchObject({ available: 31, onHand: 0, committed: 0 });
});

test('the last unit sold at two channels at the same instant: one oversell case, nothing negative, 0 everywhere', async () => {
  await Promise.all([buy('shopA', 'DEMO-LAST', 1), buy('amazon', 'DEMO-LAST', 1)]);
  await everywhere('DEMO-LAST', 0);
  await demo.quiet();
  expect(await item('DEMO-LAST')).toMatchObject({ onHand: 1, committed: 1, reserved: 0, available: 0, broadcast: 0 });
  const { rows } = await demo.db.owner.query<{ waiting: number }>(
    `select s.waiting from shortfalls s join variants v on v.id = s.variant_id where v.sku = 'DEMO-LAST' and s.waiting > 0`,
  );
  expect(rows).toEqual([{ waiting: 1 }]);
  const { items } = await demo.ok<{
    items: { kind: string; severity: string; message: string; resolvedAt: string | null }[];
  }>('/api/alerts/severity/critical');
  expect(items.filter(({ message }) => message.includes('DEMO-LAST'))).toHaveLength(1);
  await demo.ok('/api/receipts', { body: { sku: 'DEMO-LAST', quantity: 3 } });
  await everywhere('DEMO-LAST', 2);
  expect(await item('DEMO-LAST')).toMatchObject({ onHand: 4, committed: 2, available: 2 });
});

test('what Amazon keeps itself is never written: not by a count, not by a sale there', async () => {
  const before = await marks();
  await demo.ok('/api/counts', { body: { sku: 'DEMO-FBA', location: 'FBA', quantity: 35 } });
  await buy('amazon', 'DEMO-FBA', 1);
  await demo.until(async () => (await orders()).length > 0 && (await demo.shown('amazon', 'DEMO-FBA')) === 39);
  await demo.quiet();
  expect(await writesSince(before)).toEqual([0, 0, 0]);
  expect((await item('DEMO-FBA')).listings).toMatchObject([{ state: 'read_only' }]);
});

test('a pending Amazon order holds, payment commits, cancellation frees; channels follow once', async () => {
  const pending = await buy('amazon', 'DEMO-004', 4, { status: 'pending' });
  await demo.until(async () => (await item('DEMO-004')).reserved === 4);
  await everywhere('DEMO-004', 96);
  const before = await marks();
  await demo.sim('amazon', '/payments', { order: pending.id });
  await demo.until(async () => (await item('DEMO-004')).committed === 4);
  await demo.quiet();
  expect(await item('DEMO-004')).toMatchObject({ reserved: 0, committed: 4, available: 96 });
  expect(await writesSince(before)).toEqual([0, 0, 0]);
  const other = await buy('amazon', 'DEMO-004', 5, { status: 'pending' });
  await everywhere('DEMO-004', 91);
  await demo.sim('amazon', '/cancellations', { order: other.id, restock: true });
  await everywhere('DEMO-004', 96);
  expect(await item('DEMO-004')).toMatchObject({ onHand: 100, reserved: 0, committed: 4 });
});

test.each([
  ['with restock', true, 'DEMO-005'],
  ['without restock', false, 'DEMO-006'],
])(
  'an order cancelled %s at the shop: we owe nothing more, and all channels show the goods we have',
  async (_, restock, sku) => {
    const { id } = await buy('shopA', sku, 6);
    await everywhere(sku, 94);
    await demo.sim('shopA', '/cancellations', { order: id, restock });
    await demo.until(async () => (await item(sku)).committed === 0);
    await everywhere(sku, 100);
    await demo.quiet();
    expect(await item(sku)).toMatchObject({ onHand: 100, available: 100 });
  },
);

test('an edit, a partial shipment and a refund at the shop: each is booked once and every channel agrees', async () => {
  const { id, lines } = await buy('shopB', 'DEMO-007', 5);
  await everywhere('DEMO-007', 95);
  await demo.sim('shopB', '/edits', { order: id, lines: [{ id: lines[0]?.id, quantity: 3 }] });
  await everywhere('DEMO-007', 97);
  await demo.sim('shopB', '/fulfillments', { order: id, lines: [{ id: lines[0]?.id, quantity: 2 }] });
  await demo.until(async () => (await item('DEMO-007')).onHand === 98);
  await demo.quiet();
  expect(await item('DEMO-007')).toMatchObject({ onHand: 98, committed: 1, available: 97 });
  expect(await shown('DEMO-007')).toEqual([97, 97, 97]);
});

test('numbers edited in a channel’s admin behind our back heal, up and down, at every channel', async () => {
  for (const [place, sku, number] of [
    ['shopA', 'DEMO-008', 250],
    ['shopB', 'DEMO-009', 60],
    ['amazon', 'DEMO-010', 333],
  ] as const)
    await demo.sim(place, '/stock', { sku, quantity: number });
  for (const place of places)
    expect((await demo.api(`/api/connections/${demo.connection(place).id}/sync`, { body: {} })).status).toBe(202);
  await everywhere('DEMO-008', 100);
  await everywhere('DEMO-009', 100);
  await everywhere('DEMO-010', 100);
  for (const sku of ['DEMO-008', 'DEMO-009', 'DEMO-010'])
    expect(await item(sku)).toMatchObject({ onHand: 100, committed: 0, available: 100 });
});

test('a count moves every channel by one call each; our own echo stays silent', async () => {
  const before = await marks();
  await demo.ok('/api/counts', { body: { sku: 'DEMO-011', quantity: 42 } });
  await everywhere('DEMO-011', 42);
  await demo.quiet();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(await writesSince(before)).toEqual([1, 1, 1]);
});

test('a paused listing is not written and the others are; resumed, it shows what is right', async () => {
  const { listings } = await demo.ok<{ listings: { id: string; connectionId: string }[] }>('/api/inventory/DEMO-012');
  const listing = listings.find(({ connectionId }) => connectionId === demo.connection('shopB').id);
  expect((await demo.api(`/api/listings/${listing?.id}/pause`, { body: {} })).body).toEqual({
    ok: true,
    id: listing?.id,
    paused: true,
  });
  await demo.ok('/api/counts', { body: { sku: 'DEMO-012', quantity: 10 } });
  await demo.until(
    async () => (await demo.shown('shopA', 'DEMO-012')) === 10 && (await demo.shown('amazon', 'DEMO-012')) === 10,
  );
  expect(await demo.shown('shopB', 'DEMO-012')).toBe(100);
  expect(
    (await item('DEMO-012')).listings.find(({ connectionId }) => connectionId === listing?.connectionId)?.state,
  ).toBe('paused');
  await demo.ok(`/api/listings/${listing?.id}/resume`, { body: {} });
  await everywhere('DEMO-012', 10);
});

test('a lost webhook is found by the order sweep of sync; a sale nobody told of is never given back', async () => {
  await demo.sim('shopA', '/faults', { kind: 'drop' });
  await buy('shopA', 'DEMO-013', 7);
  expect((await item('DEMO-013')).committed).toBe(0);
  await demo.sim('shopA', '/faults', undefined, 'DELETE');
  await demo.ok(`/api/connections/${demo.connection('shopA').id}/sync`, { body: {} });
  await everywhere('DEMO-013', 93);
  await demo.quiet();
  expect(await item('DEMO-013')).toMatchObject({ onHand: 100, committed: 7, available: 93 });
});

test('forty sales at three channels at once: the book and every channel agree, and each order is one', async () => {
  const known = (await orders()).length;
  await Promise.all(Array.from({ length: 40 }, (_, n) => buy(places[n % 3] as Place, 'DEMO-014', 1)));
  await everywhere('DEMO-014', 60, 15_000);
  await demo.quiet();
  expect((await orders()).length).toBe(known + 40);
  expect(await item('DEMO-014')).toMatchObject({ onHand: 100, committed: 40, available: 60 });
});

test('at the end the book adds up and no number is negative anywhere', async () => {
  await demo.quiet();
  const { rows } = await demo.db.owner.query<{ wrong: number }>(
    `select count(*)::int as wrong from positions p
     where p.committed <> coalesce((select sum(open) from commitments c where (c.org_id, c.variant_id, c.location_id) = (p.org_id, p.variant_id, p.location_id)), 0)
        or p.reserved <> coalesce((select sum(open) from holds h where (h.org_id, h.variant_id, h.location_id) = (p.org_id, p.variant_id, p.location_id)), 0)
        or p.sellable <> (select coalesce(sum(case when m.to_location = p.location_id and m.to_bucket = 'sellable' then m.units else 0 end)
          - sum(case when m.from_location = p.location_id and m.from_bucket = 'sellable' then m.units else 0 end), 0)
          from movements m where (m.org_id, m.variant_id) = (p.org_id, p.variant_id))`,
  );
  expect(rows).toEqual([{ wrong: 0 }]);
  for (const place of places) {
    const { items } = await demo.sim<{ items: { sku: string; quantity: number }[] }>(place, '/state');
    expect(items.filter(({ quantity }) => quantity < 0)).toEqual([]);
  }
  expect((await demo.ok<{ items: unknown[] }>('/api/dead-letters?kind=event')).items).toEqual([]);
});
