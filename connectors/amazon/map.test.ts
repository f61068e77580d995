import { describe, expect, test } from 'vitest';
import type { ChannelOrder } from '../kit/ports.ts';
import { fixture } from './amazon.testing.ts';
import { listingOf, minorUnits, orderOf, orderOfChange, quantityPatch, readingOf, writeAddress } from './map.ts';
import { listingsItem, orderAnswer, orderChange } from './wire.ts';

const item = (name: string) => listingsItem.parse(fixture(name));
const order = (name: string): ChannelOrder => orderOf(orderAnswer.parse(fixture(name)).order);
const change = (
  name: string,
  edit: (summary: Record<string, unknown>) => void = () => undefined,
): ChannelOrder | null => {
  const raw = fixture<{ Payload: { OrderChangeNotification: { Summary: Record<string, unknown> } } }>(name);
  edit(raw.Payload.OrderChangeNotification.Summary);
  return orderOfChange(orderChange.parse(raw.Payload.OrderChangeNotification));
};
const units = (from: ChannelOrder | null) =>
  from?.lines.map(({ ordered, wanted, shipped, taken, channelLocation }) => ({
    ordered,
    wanted,
    shipped,
    taken,
    channelLocation,
  }));
const at = (hour: number, minute: number, second = 0) => Date.UTC(2026, 10, 21, hour, minute, second);

describe('what an Amazon listing says about a stock reference', () => {
  const ref = { stockKey: 'S', channelLocation: 'DEFAULT' };

  test('the DEFAULT entry is the merchant number', () => {
    expect(readingOf(ref, item('item-merchant'), 5, null)).toEqual({ kind: 'quantity', ref, value: 7, vendorAt: 5 });
  });

  test('a listing with only AMAZON channels is read only, with the warehouse units when they are told', () => {
    expect(readingOf(ref, item('item-fba'), 5, null)).toEqual({ kind: 'read_only', ref, value: null, vendorAt: 5 });
    const there = { stockKey: 'S', channelLocation: 'AMAZON_NA' };
    expect(readingOf(there, item('item-fba'), 5, 40)).toEqual({
      kind: 'read_only',
      ref: there,
      value: 40,
      vendorAt: 5,
    });
  });

  test('a listing with both kinds of channel still shows its own merchant number', () => {
    expect(readingOf(ref, item('item-both'), 5, 40)).toEqual({ kind: 'quantity', ref, value: 3, vendorAt: 5 });
  });

  test('a listing without an offer has no such number, and neither has a channel it is not on', () => {
    expect(readingOf(ref, item('item-parent'), 5, null).kind).toBe('missing');
    const there = { stockKey: 'S', channelLocation: 'AMAZON_NA' };
    expect(readingOf(there, item('item-merchant'), 5, null).kind).toBe('missing');
  });

  test('an offer without a quantity offers nothing, and of two entries for one channel the lower counts', () => {
    const bare = { ...item('item-merchant'), fulfillmentAvailability: [{ fulfillmentChannelCode: 'DEFAULT' }] };
    expect(readingOf(ref, bare, 5, null)).toMatchObject({ kind: 'quantity', value: 0 });
    const twice = [9, 4].map((quantity) => ({ fulfillmentChannelCode: 'DEFAULT', quantity }));
    expect(readingOf(ref, { ...bare, fulfillmentAvailability: twice }, 5, null)).toMatchObject({ value: 4 });
  });
});

describe('how an Amazon listing is written and listed', () => {
  test('the patch merges one quantity and touches nothing beside it', () => {
    expect(quantityPatch('PRODUCT', 'DEFAULT', 7)).toEqual({
      productType: 'PRODUCT',
      patches: [
        {
          op: 'merge',
          path: '/attributes/fulfillment_availability',
          value: [{ fulfillment_channel_code: 'DEFAULT', quantity: 7 }],
        },
      ],
    });
  });

  test('it is written through the first of our marketplaces that knows it, as the product type it has there', () => {
    const mug = item('item-merchant');
    expect(writeAddress(mug, ['A2EUQ1WTGCTBG2', 'ATVPDKIKX0DER'])).toEqual({
      marketplaceId: 'ATVPDKIKX0DER',
      productType: 'DRINKING_CUP',
    });
    expect(writeAddress(mug, ['A2EUQ1WTGCTBG2'])).toEqual({ marketplaceId: null, productType: null });
  });

  test('a merchant listing, a warehouse listing and a parent without an offer', () => {
    const markets = ['ATVPDKIKX0DER'];
    expect(listingOf(item('item-merchant'), markets, 5, null)).toEqual({
      externalId: 'B0SIM00001',
      variantExternalId: null,
      stockKey: 'MUG-BLUE-11',
      channelSku: 'MUG-BLUE-11',
      title: 'Blue mug',
      barcode: null,
      fulfilledBy: 'us',
      notWritable: null,
      levels: [{ channelLocation: 'DEFAULT', value: 7, vendorAt: 5 }],
    });
    expect(listingOf(item('item-fba'), markets, 5, 40)).toMatchObject({
      fulfilledBy: 'channel',
      levels: [{ channelLocation: 'AMAZON_NA', value: 40, vendorAt: 5 }],
    });
    expect(listingOf(item('item-parent'), markets, 5, null)).toMatchObject({
      externalId: 'PARENT-1',
      title: 'PARENT-1',
      notWritable: 'untracked',
      levels: [],
    });
  });
});

describe('an order of the Orders API', () => {
  test('pending: the ordered units are held although the open counters are 0, and Amazon has taken them', () => {
    const pending = order('order-pending');
    expect(pending).toMatchObject({
      state: 'pending',
      payment: 'pending',
      fulfillment: 'unfulfilled',
      totalMinor: null,
    });
    expect(units(pending)).toEqual([{ ordered: 2, wanted: 2, shipped: 0, taken: 2, channelLocation: 'DEFAULT' }]);
  });

  test('unshipped: owed, in full', () => {
    expect(order('order-unshipped')).toEqual({
      externalId: '902-1000000-0000001',
      number: '902-1000000-0000001',
      placedAt: at(8, 0),
      updatedAt: at(8, 5),
      state: 'open',
      payment: 'authorized',
      fulfillment: 'unfulfilled',
      fulfilledBy: 'us',
      currency: 'USD',
      totalMinor: 2400,
      test: false,
      lines: [
        {
          externalId: '10000000000001',
          stockKey: 'MUG-BLUE-11',
          variantExternalId: null,
          channelSku: 'MUG-BLUE-11',
          title: 'Blue mug',
          ordered: 2,
          wanted: 2,
          shipped: 0,
          taken: 2,
          channelLocation: 'DEFAULT',
          bundleParent: false,
        },
      ],
    });
  });

  test('partly shipped after a partial cancel: less is wanted than ordered, and what that did to the number is not known', () => {
    const partly = order('order-partly-shipped');
    expect(partly).toMatchObject({ state: 'open', fulfillment: 'partly_shipped' });
    expect(units(partly)).toEqual([
      { ordered: 3, wanted: 2, shipped: 1, taken: null, channelLocation: 'DEFAULT' },
      { ordered: 1, wanted: 0, shipped: 0, taken: null, channelLocation: 'DEFAULT' },
    ]);
  });

  test('shipped: everything has left, and the number stays lower by it', () => {
    expect(order('order-shipped')).toMatchObject({ state: 'open', payment: 'paid', fulfillment: 'shipped' });
    expect(units(order('order-shipped'))).toEqual([
      { ordered: 2, wanted: 2, shipped: 2, taken: 2, channelLocation: 'DEFAULT' },
    ]);
  });

  test('cancelled: nothing is owed, and whether the units are back on offer is not known', () => {
    expect(order('order-cancelled')).toMatchObject({ state: 'cancelled', payment: 'failed' });
    expect(units(order('order-cancelled'))).toEqual([
      { ordered: 2, wanted: 0, shipped: 0, taken: null, channelLocation: 'DEFAULT' },
    ]);
  });

  test("a buyer's request to cancel cancels nothing", () => {
    expect(order('order-cancel-requested').state).toBe('open');
    expect(units(order('order-cancel-requested'))).toEqual(units(order('order-unshipped')));
  });

  test('an order shipped by Amazon moves nothing of ours', () => {
    expect(order('order-fba').fulfilledBy).toBe('channel');
    expect(units(order('order-fba'))).toEqual([
      { ordered: 1, wanted: 1, shipped: 1, taken: null, channelLocation: null },
    ]);
  });

  test('an unknown or absent status keeps the units claimed and neither ships nor un-ships any', () => {
    const raw = orderAnswer.parse(fixture('order-shipped')).order;
    for (const odd of [
      { ...raw, fulfillment: { fulfillmentStatus: 'HAUNTED', fulfilledBy: 'MERCHANT' } },
      { ...raw, fulfillment: undefined },
    ]) {
      expect(orderOf(odd)).toMatchObject({ state: 'pending', payment: 'unrecognized', fulfillment: 'unrecognized' });
      expect(units(orderOf(odd))).toEqual([
        { ordered: 2, wanted: 2, shipped: 2, taken: 2, channelLocation: 'DEFAULT' },
      ]);
    }
  });

  test('without item counters a shipped order has shipped what was ordered, save what was cancelled', () => {
    const raw = orderAnswer.parse(fixture('order-shipped')).order;
    const bare = raw.orderItems.map((line) => ({ ...line, fulfillment: undefined }));
    const cancelled = bare.map((line) => ({
      ...line,
      cancellation: { cancellationExecution: { cancelledBy: 'MERCHANT' } },
    }));
    const read = orderOf({ ...raw, orderItems: [...bare, ...cancelled] });
    expect(read.lines.map(({ wanted, shipped }) => [wanted, shipped])).toEqual([
      [2, 2],
      [0, 0],
    ]);
  });
});

describe('an order inside an ORDER_CHANGE notification', () => {
  test.each([
    ['order-change-pending', 'order-pending'],
    ['order-change-unshipped', 'order-unshipped'],
    ['order-change-canceled', 'order-cancelled'],
  ])('%s says the same about stock as reading the order (%s)', (changed, read) => {
    const told = change(changed);
    expect(told).toMatchObject({
      externalId: order(read).externalId,
      updatedAt: order(read).updatedAt,
      placedAt: order(read).placedAt,
      state: order(read).state,
      payment: order(read).payment,
      fulfillment: order(read).fulfillment,
    });
    expect(units(told)).toEqual(units(order(read)));
  });

  test.each([
    ['one item of several', 'order-change-item-level'],
    ["Amazon's own shipping", 'order-change-fba'],
    ['no time of the change', 'order-change-no-time'],
    ['items that do not add up to the counters, as after a partial cancel', 'order-change-partly-cancelled'],
  ])('is not enough with %s: the order must be read', (_, name) => {
    expect(change(name)).toBeNull();
  });

  test('is not enough with an unknown status, without a purchase date, without counters or without items', () => {
    const name = 'order-change-unshipped';
    expect(change(name, (summary) => Object.assign(summary, { OrderStatus: 'Haunted' }))).toBeNull();
    expect(change(name, (summary) => Object.assign(summary, { PurchaseDate: null }))).toBeNull();
    expect(change(name, (summary) => delete summary.NumberOfItemsUnshipped)).toBeNull();
    expect(change(name, (summary) => Object.assign(summary, { OrderItems: [] }))).toBeNull();
  });

  test('from a supply source it does not say that DEFAULT fell', () => {
    expect(units(change('order-change-supply-source'))).toEqual([
      { ordered: 2, wanted: 2, shipped: 0, taken: 2, channelLocation: null },
    ]);
  });
});

describe('money', () => {
  test.each([
    ['154.99', 'USD', 15499],
    ['19940', 'JPY', 19940],
    ['1.005', 'USD', 101],
    ['0.1', 'USD', 10],
    ['1.2345', 'KWD', 1235],
    ['-3.00', 'EUR', -300],
  ])('%s %s is %i minor units', (amount, currency, minor) => {
    expect(minorUnits(amount, currency)).toBe(minor);
  });

  test.each([
    ['1,5', 'USD'],
    ['', 'USD'],
    ['5', 'dollars'],
    ['99999999999999999999', 'USD'],
  ])('%j %s is no amount', (amount, currency) => {
    expect(minorUnits(amount, currency)).toBeNull();
  });
});
