import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseLossless } from '../kit/lossless.ts';
import type { ChannelOrder, ChannelOrderLine } from '../kit/ports.ts';
import { factsOfNode, factsOfRest, toChannelOrder, toListing } from './map.ts';
import { graphqlNode, restBody, type Story } from './order-shapes.testing.ts';
import { orderSchema, restOrderSchema } from './wire.ts';

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8');

function readOrder(order: unknown) {
  const parsed = orderSchema.parse({ order }).order;
  if (!parsed) throw new Error('no order');
  return parsed;
}
const fromRest = (story: Story): ChannelOrder => toChannelOrder(factsOfRest(restOrderSchema.parse(restBody(story))));
const fromGraphql = (story: Story): ChannelOrder => toChannelOrder(factsOfNode(readOrder(graphqlNode(story))));

type Numbers = [ordered: number, wanted: number, shipped: number, taken: number | null];
const numbers = (line: ChannelOrderLine): Numbers => [line.ordered, line.wanted, line.shipped, line.taken];

interface Case {
  name: string;
  story: Story;
  state?: ChannelOrder['state'];
  payment?: ChannelOrder['payment'];
  fulfillment?: ChannelOrder['fulfillment'];
  lines: Numbers[];
}

const one = (quantity: number, rest: Partial<Story['lines'][number]> = {}) => [{ n: 1, quantity, ...rest }];

const cases: Case[] = [
  { name: 'placed and paid', story: { lines: one(2) }, lines: [[2, 2, 0, 2]] },
  {
    name: 'placed and unpaid is owed and taken all the same',
    story: { lines: one(2), financial: 'pending' },
    payment: 'pending',
    lines: [[2, 2, 0, 2]],
  },
  {
    name: 'authorized only',
    story: { lines: one(1), financial: 'authorized' },
    payment: 'authorized',
    lines: [[1, 1, 0, 1]],
  },
  {
    name: 'partly paid counts as pending',
    story: { lines: one(1), financial: 'partially_paid' },
    payment: 'pending',
    lines: [[1, 1, 0, 1]],
  },
  {
    name: 'a voided payment leaves the order owed until it is cancelled',
    story: { lines: one(1), financial: 'voided' },
    payment: 'failed',
    lines: [[1, 1, 0, 1]],
  },
  { name: 'not confirmed: nothing was reserved', story: { lines: one(3), confirmed: false }, lines: [[3, 3, 0, 0]] },
  { name: 'edited up by one', story: { lines: one(3) }, lines: [[3, 3, 0, 3]] },
  {
    name: 'edited down by one without a refund line: what was given back is not said',
    story: { lines: one(3, { current: 2 }) },
    lines: [[3, 2, 0, null]],
  },
  {
    name: 'edited down by one with a restocking refund line',
    story: { lines: one(3, { current: 2 }), refunds: [[{ line: 1, units: 1, restock: 'cancel' }]] },
    lines: [[3, 2, 0, 2]],
  },
  {
    name: 'a line edited away entirely stays with quantity 0',
    story: {
      lines: [
        { n: 1, quantity: 2, current: 0 },
        { n: 2, quantity: 1 },
      ],
    },
    lines: [
      [2, 0, 0, null],
      [1, 1, 0, 1],
    ],
  },
  {
    name: 'cancelled with restock gives everything back',
    story: {
      lines: one(2, { current: 0 }),
      cancelled: true,
      financial: 'refunded',
      fulfillment: ['restocked', 'RESTOCKED'],
      refunds: [[{ line: 1, units: 2, restock: 'cancel' }]],
    },
    state: 'cancelled',
    payment: 'refunded',
    lines: [[2, 0, 0, 0]],
  },
  {
    name: 'cancelled without restock keeps the number down',
    story: {
      lines: one(2, { current: 0 }),
      cancelled: true,
      financial: 'refunded',
      refunds: [[{ line: 1, units: 2, restock: 'no_restock' }]],
    },
    state: 'cancelled',
    payment: 'refunded',
    lines: [[2, 0, 0, 2]],
  },
  {
    name: 'cancelled with no word on restock',
    story: { lines: one(2), cancelled: true },
    state: 'cancelled',
    lines: [[2, 0, 0, null]],
  },
  {
    name: 'cancelled after part of it was shipped: what left stays shipped',
    story: {
      lines: one(3, { current: 1, open: 0 }),
      cancelled: true,
      shipments: [{ parts: [{ line: 1, units: 1 }] }],
      fulfillment: ['partial', 'PARTIALLY_FULFILLED'],
      refunds: [[{ line: 1, units: 2, restock: 'cancel' }]],
    },
    state: 'cancelled',
    fulfillment: 'shipped',
    // One shipped unit has no refund line: whether it was put back is not said.
    lines: [[3, 1, 1, null]],
  },
  {
    name: 'refunded before shipping, put back',
    story: {
      lines: one(2, { current: 1 }),
      financial: 'partially_refunded',
      refunds: [[{ line: 1, units: 1, restock: 'cancel' }]],
    },
    payment: 'partially_refunded',
    lines: [[2, 1, 0, 1]],
  },
  {
    name: 'refunded before shipping, not put back',
    story: {
      lines: one(2, { current: 1 }),
      financial: 'partially_refunded',
      refunds: [[{ line: 1, units: 1, restock: 'no_restock' }]],
    },
    payment: 'partially_refunded',
    lines: [[2, 1, 0, 2]],
  },
  {
    name: 'refunded after shipping, returned to stock: it was wanted and left',
    story: {
      lines: one(2, { current: 1, open: 0 }),
      shipments: [{ parts: [{ line: 1, units: 2 }] }],
      fulfillment: ['fulfilled', 'FULFILLED'],
      refunds: [[{ line: 1, units: 1, restock: 'return' }]],
    },
    fulfillment: 'shipped',
    lines: [[2, 2, 2, 1]],
  },
  {
    name: 'refunded after shipping, money only',
    story: {
      lines: one(2, { current: 1, open: 0 }),
      shipments: [{ parts: [{ line: 1, units: 2 }] }],
      fulfillment: ['fulfilled', 'FULFILLED'],
      refunds: [[{ line: 1, units: 1, restock: 'no_restock' }]],
    },
    fulfillment: 'shipped',
    lines: [[2, 2, 2, 2]],
  },
  {
    name: 'one of two shipped and refunded without restock: the other is still owed',
    story: {
      lines: one(2, { current: 1, open: 1 }),
      shipments: [{ parts: [{ line: 1, units: 1 }] }],
      fulfillment: ['partial', 'PARTIALLY_FULFILLED'],
      refunds: [[{ line: 1, units: 1, restock: 'no_restock' }]],
    },
    fulfillment: 'partly_shipped',
    lines: [[2, 2, 1, 2]],
  },
  {
    name: 'one of two shipped, the unshipped one refunded without restock: nothing more is owed',
    story: {
      lines: one(2, { current: 1, open: 0 }),
      shipments: [{ parts: [{ line: 1, units: 1 }] }],
      fulfillment: ['fulfilled', 'FULFILLED'],
      refunds: [[{ line: 1, units: 1, restock: 'no_restock' }]],
    },
    fulfillment: 'shipped',
    lines: [[2, 1, 1, 2]],
  },
  {
    name: 'partly shipped',
    story: {
      lines: [
        { n: 1, quantity: 3, open: 1 },
        { n: 2, quantity: 1 },
      ],
      shipments: [{ parts: [{ line: 1, units: 2 }] }],
      fulfillment: ['partial', 'PARTIALLY_FULFILLED'],
    },
    fulfillment: 'partly_shipped',
    lines: [
      [3, 3, 2, 3],
      [1, 1, 0, 1],
    ],
  },
  {
    name: 'a cancelled shipment shipped nothing',
    story: { lines: one(2), shipments: [{ status: 'cancelled', parts: [{ line: 1, units: 2 }] }] },
    lines: [[2, 2, 0, 2]],
  },
  {
    name: 'a restock without a place may not have happened',
    story: {
      lines: one(2, { current: 0 }),
      cancelled: true,
      refunds: [[{ line: 1, units: 2, restock: 'cancel', location: null }]],
    },
    state: 'cancelled',
    lines: [[2, 0, 0, null]],
  },
  {
    name: 'an order with a return: goods put back by its disposition are told elsewhere',
    story: {
      lines: one(2, { open: 0 }),
      shipments: [{ parts: [{ line: 1, units: 2 }] }],
      fulfillment: ['fulfilled', 'FULFILLED'],
      returns: true,
    },
    fulfillment: 'shipped',
    lines: [[2, 2, 2, null]],
  },
  {
    name: 'the parts of a bundle are ordinary lines, and nothing is a parent',
    story: {
      lines: [
        { n: 1, quantity: 2, group: 1 },
        { n: 2, quantity: 4, group: 1 },
      ],
    },
    lines: [
      [2, 2, 0, 2],
      [4, 4, 0, 4],
    ],
  },
  { name: 'a line whose variant is gone', story: { lines: one(1, { variant: null }) }, lines: [[1, 1, 0, 1]] },
  {
    name: 'five hundred lines',
    story: { lines: Array.from({ length: 500 }, (_, n) => ({ n: n + 1, quantity: 1 })) },
    lines: Array.from({ length: 500 }, (): Numbers => [1, 1, 0, 1]),
  },
];

describe('one order, told by a webhook and by a read', () => {
  test.each(cases.map((each) => [each.name, each] as const))(
    '%s',
    (_, { story, lines, state = 'open', payment = 'paid', fulfillment = 'unfulfilled' }) => {
      const order = fromRest(story);
      expect(order.lines.map(numbers)).toEqual(lines);
      expect([order.state, order.payment, order.fulfillment]).toEqual([state, payment, fulfillment]);
      expect(fromGraphql(story)).toEqual(order);
    },
  );

  test('the documented samples of both shapes give the same order, ids above 2^53 intact', () => {
    const rest = toChannelOrder(factsOfRest(restOrderSchema.parse(parseLossless(fixture('orders-create')))));
    expect(rest).toEqual({
      externalId: 'gid://shopify/Order/820982911946154508',
      number: '#1001',
      placedAt: Date.UTC(2026, 10, 20, 15, 0, 0),
      updatedAt: Date.UTC(2026, 10, 20, 15, 0, 1),
      state: 'open',
      payment: 'paid',
      fulfillment: 'unfulfilled',
      fulfilledBy: 'us',
      currency: 'USD',
      totalMinor: 8999,
      test: false,
      lines: [
        {
          externalId: 'gid://shopify/LineItem/9223372036854775807',
          stockKey: null,
          variantExternalId: 'gid://shopify/ProductVariant/39072856',
          channelSku: 'SKU-1',
          title: 'Sunglasses "Ö"',
          ordered: 2,
          wanted: 2,
          shipped: 0,
          taken: 2,
          channelLocation: null,
          bundleParent: false,
        },
      ],
    });
    const answer = parseLossless(fixture('order-by-id')) as { data: { order: unknown } };
    const read = toChannelOrder(factsOfNode(readOrder(answer.data.order)));
    // Only a read can know where the order was routed to.
    expect(read.lines[0]?.channelLocation).toBe('gid://shopify/Location/24826418');
    expect({ ...read, lines: read.lines.map((line) => ({ ...line, channelLocation: null })) }).toEqual(rest);
  });

  test('an unknown payment or fulfillment word is unrecognized, the numbers stand', () => {
    const order = fromRest({ lines: one(1), financial: 'pay_later', fulfillment: ['teleported', 'TELEPORTED'] });
    expect([order.payment, order.fulfillment, order.lines[0]?.wanted]).toEqual(['unrecognized', 'unrecognized', 1]);
    expect(fromRest({ lines: one(1), financial: null }).payment).toBe('unrecognized');
  });

  test('the place is known when counter, shipments and restocks name only one', () => {
    const place = (story: Partial<Story>) =>
      fromRest({ lines: one(2, { open: 0 }), ...story }).lines[0]?.channelLocation;
    const left = (...locations: (number | null)[]) => ({
      shipments: locations.map((location) => ({ location, parts: [{ line: 1, units: 1 }] })),
    });
    const back = (location: number) => ({ refunds: [[{ line: 1, units: 1, restock: 'return' as const, location }]] });
    const seven = 'gid://shopify/Location/7';
    expect([
      place({}),
      place({ counter: 7 }),
      place(left(7, 7)),
      place(back(7)),
      place({ ...left(7), ...back(7) }),
    ]).toEqual([null, seven, seven, seven, seven]);
    expect([
      place(left(7, 8)),
      place(left(7, null)),
      place({ ...left(7), ...back(8) }),
      place({ counter: 8, ...back(7) }),
    ]).toEqual([null, null, null, null]);
  });

  test('currencies count in their own smallest unit', () => {
    const total = (amount: string, currency: string) =>
      toChannelOrder({
        ...factsOfRest(restOrderSchema.parse(restBody({ lines: one(1) }))),
        total: { amount, currency },
      }).totalMinor;
    expect([
      total('1200', 'JPY'),
      total('1200.0', 'JPY'),
      total('1.234', 'KWD'),
      total('44.995', 'USD'),
      total('-0.5', 'EUR'),
      total('n/a', 'EUR'),
    ]).toEqual([1200, 1200, 1234, 4500, -50, null]);
  });

  test('whatever was refunded, shipped and edited, both shapes agree and the numbers stay possible', () => {
    const line = fc.integer({ min: 1, max: 6 }).chain((quantity) =>
      fc.record({
        quantity: fc.constant(quantity),
        current: fc.integer({ min: 0, max: quantity }),
        open: fc.integer({ min: 0, max: quantity }),
      }),
    );
    const refund = fc.record({
      line: fc.constant(1),
      units: fc.integer({ min: 1, max: 4 }),
      restock: fc.constantFrom('cancel' as const, 'return' as const, 'no_restock' as const, 'legacy_restock' as const),
    });
    const shipment = fc.record({
      parts: fc.array(fc.record({ line: fc.constant(1), units: fc.integer({ min: 1, max: 4 }) }), { maxLength: 2 }),
    });
    const stories = fc.record({
      lines: fc.tuple(line).map(([only]) => [{ n: 1, ...only }]),
      refunds: fc.array(fc.array(refund, { maxLength: 3 }), { maxLength: 3 }),
      shipments: fc.array(shipment, { maxLength: 2 }),
      cancelled: fc.boolean(),
    });
    fc.assert(
      fc.property(stories, (story) => {
        const order = fromRest(story);
        expect(fromGraphql(story)).toEqual(order);
        const [ordered, wanted, shipped, taken] = numbers(order.lines[0] as ChannelOrderLine);
        expect(shipped).toBeLessThanOrEqual(wanted);
        expect(wanted).toBeLessThanOrEqual(ordered);
        expect(taken === null || (taken >= 0 && taken <= ordered)).toBe(true);
      }),
    );
  });
});

describe('a variant as a listing', () => {
  const variant = {
    id: 'v',
    title: 'Red',
    sku: 'S',
    barcode: '',
    requiresComponents: false,
    product: { id: 'p', title: 'Cap' },
    inventoryItem: { id: 'i', tracked: true, inventoryLevels: { pageInfo: { hasNextPage: false }, nodes: [] } },
  };
  const level = (id: string, isActive: boolean, quantity: number) => ({
    isActive,
    location: { id },
    quantities: [{ name: 'available', quantity }],
  });

  test('it carries its active levels, negative ones as they are', () => {
    expect(toListing(variant, [level('a', true, -3), level('b', false, 9)], 1_000)).toEqual({
      externalId: 'p',
      variantExternalId: 'v',
      stockKey: 'i',
      channelSku: 'S',
      title: 'Cap – Red',
      barcode: null,
      fulfilledBy: 'us',
      notWritable: null,
      levels: [{ channelLocation: 'a', value: -3, vendorAt: 1_000 }],
    });
  });

  test('bundle parents and untracked items are never written', () => {
    const untracked = { ...variant, inventoryItem: { ...variant.inventoryItem, tracked: false } };
    expect(toListing({ ...untracked, requiresComponents: true }, [], 0).notWritable).toBe('bundle_parent');
    expect(toListing({ ...untracked, title: 'Default Title', sku: null }, [], 0)).toMatchObject({
      notWritable: 'untracked',
      title: 'Cap',
      channelSku: '',
    });
  });
});
