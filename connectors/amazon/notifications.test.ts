import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { fixture, fixtureText } from './amazon.testing.ts';
import { amazon } from './index.ts';
import { identify, notificationPort, parseNotification } from './notifications.ts';

const bytes = (body: unknown) => Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
const raw = (name: string) => Buffer.from(fixtureText(name));
const at = (hour: number, minute: number) => Date.UTC(2026, 10, 21, hour, minute);

describe('what a notification is about', () => {
  test('an order change names its order, in Pascal case', () => {
    expect(identify(raw('order-change-unshipped'))).toEqual({
      topic: 'ORDER_CHANGE',
      deliveryId: '6f0c1f7e-0000-4000-8000-000000000001',
      kind: 'order',
      externalId: '902-1000000-0000001',
      sellerId: 'A1SIMSELLER',
    });
  });

  test('a quantity change names its SKU', () => {
    expect(identify(raw('quantity-change'))).toMatchObject({
      kind: 'stock',
      externalId: 'MUG-BLUE-11',
      sellerId: 'A1SIMSELLER',
    });
  });

  test('a camel case envelope reads the same; what we do not use is other', () => {
    expect(identify(raw('feed-finished'))).toEqual({
      topic: 'FEED_PROCESSING_FINISHED',
      deliveryId: '6f0c1f7e-0000-4000-8000-000000000005',
      kind: 'other',
      externalId: '6f0c1f7e-0000-4000-8000-000000000005',
      sellerId: 'A1SIMSELLER',
    });
  });

  test('an EventBridge event is read through its detail', () => {
    const event = {
      source: 'aws.partner/sellingpartnerapi.amazon.com/x',
      'detail-type': 'LISTINGS_ITEM_MFN_QUANTITY_CHANGE',
      detail: fixture('quantity-change'),
    };
    expect(parseNotification(bytes(event))).toMatchObject({ kind: 'stock', value: 5 });
  });

  test.each(['', 'null', '[]', '{"hello":1}', '<html>'])('%j is unreadable', (body) => {
    expect(() => identify(bytes(body))).toThrowError(expect.objectContaining({ code: 'connector.unreadable' }));
  });
});

describe('what a notification says', () => {
  test('a complete order change is the order', () => {
    const event = parseNotification(raw('order-change-unshipped'));
    expect(event).toMatchObject({
      kind: 'order',
      externalId: '902-1000000-0000001',
      vendorAt: at(8, 5),
      order: { state: 'open', updatedAt: at(8, 5), lines: [{ channelSku: 'MUG-BLUE-11', wanted: 2 }] },
    });
  });

  test.each([
    ['order-change-item-level', at(8, 5)],
    ['order-change-fba', at(8, 5)],
    ['order-change-partly-cancelled', at(8, 5)],
    ['order-change-no-time', null],
  ])('%s asks for the order to be read', (name, vendorAt) => {
    expect(parseNotification(raw(name))).toEqual({
      kind: 'order_changed',
      externalId: '902-1000000-0000001',
      vendorAt,
    });
  });

  test("a quantity change is the channel's own number as of the event's time", () => {
    expect(parseNotification(raw('quantity-change'))).toEqual({
      kind: 'stock',
      externalId: 'MUG-BLUE-11',
      vendorAt: at(8, 7),
      ref: { stockKey: 'MUG-BLUE-11', channelLocation: 'DEFAULT' },
      value: 5,
    });
  });

  test("a quantity of Amazon's own channel, or without a time, proves nothing", () => {
    const body = fixture<{ Payload: object; EventTime: string }>('quantity-change');
    expect(
      parseNotification(bytes({ ...body, Payload: { ...body.Payload, FulfillmentChannelCode: 'AMAZON_NA' } })).kind,
    ).toBe('ignored');
    expect(parseNotification(bytes({ ...body, EventTime: undefined })).kind).toBe('ignored');
  });

  test('other types are ignored, with their time', () => {
    expect(parseNotification(raw('feed-finished'))).toEqual({
      kind: 'ignored',
      externalId: '6f0c1f7e-0000-4000-8000-000000000005',
      vendorAt: Date.UTC(2026, 10, 21, 8, 9, 31),
    });
  });

  test('an order change without an order id is unreadable', () => {
    const body = fixture<{ Payload: { OrderChangeNotification: object } }>('order-change-unshipped');
    const broken = {
      ...body,
      Payload: { OrderChangeNotification: { ...body.Payload.OrderChangeNotification, AmazonOrderId: undefined } },
    };
    expect(() => parseNotification(bytes(broken))).toThrowError(
      expect.objectContaining({ code: 'connector.unreadable' }),
    );
  });
});

test('nothing that arrives over HTTP is believed: Amazon signs no posts', () => {
  expect(amazon.webhook).toBe(notificationPort);
  expect(notificationPort.verify(raw('order-change-unshipped'), {}, ['secret'])).toBe(false);
  expect(notificationPort.verify(raw('order-change-unshipped'), {}, [])).toBe(false);
});
