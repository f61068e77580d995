/** The address, the key's way in, and the feed's words. */
import { expect, test } from 'vitest';
import { ApiError } from '../client/problem.ts';
import type { Order } from '../client/types.ts';
import { homeSearch } from './address.ts';
import { createFeed, orderText, tookText } from './feed.ts';
import { problemText } from './problem-text.ts';
import { keyOfHash } from './session.ts';

test('the key is read from the link and from nothing else', () => {
  expect(['#key=sk_demo_a-b', '#key=%20sk%20', '#key=', '#other=1', ''].map(keyOfHash)).toEqual([
    'sk_demo_a-b',
    'sk',
    null,
    null,
    null,
  ]);
});

test('wrong values in the address fall back', () => {
  expect(homeSearch({ q: 'tee', sku: 'A/B #1 %20 ق' })).toEqual({ q: 'tee', sku: 'A/B #1 %20 ق' });
  expect(homeSearch({ q: 42, sku: { a: 1 } })).toEqual({ q: '42', sku: undefined });
  expect(homeSearch({ q: 'x'.repeat(201), sku: '  ' })).toEqual({ q: undefined, sku: undefined });
});

const line = (sku: string | null, quantity: number, missing = 0): Order['lines'][number] => ({
  id: `${sku}`,
  externalId: '1',
  sku,
  channelSku: 'CH',
  title: 'Title',
  ordered: quantity,
  quantity,
  shipped: 0,
  returned: 0,
  committed: [],
  held: [],
  missing: missing > 0 ? [{ sku: 'S', units: missing }] : [],
});
const order = (lines: Order['lines'], more: Partial<Order> = {}): Order => ({
  id: 'o',
  connectionId: 'c',
  externalId: '1',
  number: '#1001',
  status: 'confirmed',
  payment: 'paid',
  fulfillment: 'unfulfilled',
  fulfilledBy: 'merchant',
  pending: false,
  unmapped: false,
  test: false,
  currency: 'USD',
  totalMinor: 100,
  placedAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-01T00:00:00.000Z',
  lines,
  ...more,
});

test('an order is told in words, with what is missing', () => {
  expect(orderText(order([line('DEMO-001', 1)]), 'Shopify Demo A')).toBe('Order #1001 on Shopify Demo A: 1 × DEMO-001');
  expect(orderText(order([line('A', 1), line('B', 2), line('C', 3), line('D', 4)]), 'X')).toBe(
    'Order #1001 on X: 1 × A, 2 × B, 3 × C and 1 more',
  );
  expect(orderText(order([line('A', 3, 2)]), null)).toBe('Order #1001 on a removed channel: 3 × A (2 missing)');
  expect(orderText(order([line(null, 1)], { unmapped: true }), 'X')).toBe(
    'Order #1001 on X holds an unknown SKU: 1 × CH',
  );
  expect(orderText(order([line('A', 0)], { status: 'cancelled' }), 'X')).toBe('Order #1001 on X cancelled');
  expect([tookText(37.6), tookText(1_440)]).toEqual(['38 ms', '1.4 s']);
});

test('the feed is newest first, bounded, and counts only what is new', () => {
  const feed = createFeed();
  feed.add({ id: 'before', at: 5, role: 'neutral', text: 'old' }, true);
  for (let at = 10; at < 130; at += 1) feed.add({ id: `e${at}`, at, role: 'info', text: String(at) });
  feed.add({ id: 'e129', at: 129, role: 'info', text: 'again' });
  expect(feed.get()).toHaveLength(100);
  expect(feed.get()[0]).toEqual({ id: 'e129', at: 129, role: 'info', text: 'again' });
  expect(feed.get().some(({ id }) => id === 'before')).toBe(false);
  expect(feed.told()).toBe(120);
});

test('an error says what happened, what it means for stock and what to do', () => {
  const refused = new ApiError({
    status: 409,
    code: 'domain.refused_by_channel',
    title: 'Refused by a rule',
    detail: 'Only 0 left.',
    requestId: 'r1',
  });
  expect(problemText(refused, 'buy DEMO-ZERO', true)).toEqual({
    happened: 'We could not buy DEMO-ZERO. Only 0 left.',
    stock: 'Nothing was changed.',
    next: 'Change what it says above, then try again.',
    details: 'domain.refused_by_channel · HTTP 409 · request r1',
  });
  const away = new ApiError({
    status: 0,
    code: 'client.unreachable',
    title: 'No answer',
    detail: 'SyncState does not answer.',
  });
  expect(problemText(away, 'read the stock', false).stock).toBe(
    'The numbers below, if any, are the last we read. Channels keep theirs.',
  );
  expect(problemText(away, 'set the buffer', true).stock).toBe('We do not know whether it was done.');
});
