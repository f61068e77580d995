/** The judge of P6 itself: what is given back is told from what somebody typed into the channel. */
import { expect, test } from 'vitest';
import { emptyHistory, type History, type Placed } from './chaos.testing.ts';
import { type Call, judgeReopening } from './chaos-judge.testing.ts';

const truth = { items: [{ sku: 'DEMO-ZERO', stockKey: 'item', location: 'main', quantity: 0 }], orders: [] };
const sold = (at: number, quantity: number): Placed => ({
  place: 'shopB',
  id: `order ${at}`,
  lines: [{ sku: 'DEMO-ZERO', quantity }],
  at,
  loosenedAt: null,
});
const typed = (at: number, before: number, quantity: number) => ({
  ...{ place: 'shopB' as const, sku: 'DEMO-ZERO', location: 'main' },
  ...{ before, quantity, askedAt: at, at },
});
const write = (n: number, at: number, from: number, quantity: number): Call => ({
  n,
  at: new Date(at).toISOString(),
  path: '',
  operation: 'inventorySetQuantities',
  status: 200,
  body: {
    variables: {
      input: { quantities: [{ inventoryItemId: 'item', locationId: 'main', quantity, changeFromQuantity: from }] },
    },
  },
  response: null,
  applied: true,
});
const judged = (what: Partial<History>, ...calls: Call[]) =>
  judgeReopening(
    { ...emptyHistory(), goods: [{ sku: 'DEMO-ZERO', units: 5, sentAt: 0 }], ...what },
    'shopB',
    calls,
    truth,
  );

test('three sold of five, and three offered: one is given back', () => {
  expect(judged({ placed: [sold(1_000, 3)] }, write(1, 2_000, 0, 3))).toEqual([
    'shopB call 1 offers 3 DEMO-ZERO (was 0); 3 sold there, at most 2 left',
  ]);
  expect(judged({ placed: [sold(1_000, 3)] }, write(1, 2_000, 0, 2))).toEqual([]);
});

test('somebody typed in three, they were sold, and 0 stood there as we left it: no goods of ours are given back', () => {
  const placed = [sold(1_000, 2), sold(1_100, 1)];
  expect(judged({ placed, meddled: [typed(500, 0, 3)] }, write(1, 2_000, 0, 3))).toEqual([]);
  // What is sold beyond what was typed in is ours.
  expect(judged({ placed: [...placed, sold(1_200, 4)], meddled: [typed(500, 0, 3)] }, write(1, 2_000, 0, 2))).toEqual([
    'shopB call 1 offers 2 DEMO-ZERO (was 0); 4 sold there, at most 1 left',
  ]);
});

test('what was typed in and not sold before our next number excuses nothing after it; nor does a number typed lower', () => {
  const placed = [sold(3_000, 3)];
  const calls = [write(1, 2_000, 3, 0), write(2, 4_000, 0, 3)];
  const one = ['shopB call 2 offers 3 DEMO-ZERO (was 0); 3 sold there, at most 2 left'];
  expect(judged({ placed, meddled: [typed(500, 0, 3)] }, ...calls)).toEqual(one);
  expect(judged({ placed, meddled: [typed(2_500, 9, 3)] }, ...calls)).toEqual(one);
});
