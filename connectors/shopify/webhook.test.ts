import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sign } from '../kit/signature.ts';
import { restBody } from './order-shapes.testing.ts';
import { webhook } from './webhook.ts';

const bytes = (body: unknown): Uint8Array => Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
const ORDER = readFileSync(new URL('fixtures/orders-create.json', import.meta.url), 'utf8');
const LEVEL =
  '{"inventory_item_id":9223372036854775807,"location_id":24826418,"available":10,"updated_at":"2026-11-20T10:00:00-05:00","admin_graphql_api_id":"gid://shopify/InventoryLevel/24826418?inventory_item_id=271878346"}';
const EDITED =
  '{"order_edit":{"id":1,"order_id":820982911946154508,"created_at":"2026-11-20T10:00:00-05:00","committed_at":"2026-11-20T10:00:05-05:00","line_items":{"additions":[{"id":78643924,"delta":1}],"removals":[]}}}';
const REFUND =
  '{"id":890088186,"order_id":820982911946154508,"created_at":"2026-11-20T10:00:05-05:00","refund_line_items":[{"id":1,"line_item_id":2,"quantity":1,"location_id":null,"restock_type":"no_restock"}]}';
const ORDER_ID = 'gid://shopify/Order/820982911946154508';

describe('a signature', () => {
  const signed = (secret: string) => ({ 'x-shopify-hmac-sha256': sign(bytes(ORDER), secret, 'base64') });

  test('is checked over the raw bytes, against any of the secrets, and fails closed', () => {
    expect(webhook.verify(bytes(ORDER), signed('s1'), ['s2', 's1'])).toBe(true);
    expect(webhook.verify(bytes(ORDER.replace('"paid"', '"pain"')), signed('s1'), ['s1'])).toBe(false);
    expect(webhook.verify(bytes(ORDER), signed('s1'), [])).toBe(false);
    expect(webhook.verify(bytes(ORDER), signed(''), [''])).toBe(false);
    expect(webhook.verify(bytes(ORDER), {}, ['s1'])).toBe(false);
    expect(webhook.verify(bytes(`${ORDER}\n`), signed('s1'), ['s1'])).toBe(false);
  });
});

describe('what a delivery is about', () => {
  const headers = (topic: string) => ({
    'x-shopify-topic': topic,
    'x-shopify-webhook-id': 'b54557e4',
    'x-shopify-shop-domain': 'Demo.myshopify.com',
  });
  const subject = (topic: string, body: string) => {
    const { kind, externalId } = webhook.identify(bytes(body), headers(topic));
    return [kind, externalId];
  };

  test('orders, edits and refunds are about the order, by its full id', () => {
    for (const topic of [
      'orders/create',
      'orders/updated',
      'orders/paid',
      'orders/cancelled',
      'orders/fulfilled',
      'orders/partially_fulfilled',
    ])
      expect(subject(topic, ORDER)).toEqual(['order', ORDER_ID]);
    expect(subject('orders/edited', EDITED)).toEqual(['order', ORDER_ID]);
    expect(subject('refunds/create', REFUND)).toEqual(['order', ORDER_ID]);
  });

  test('a level is about item and location; the rest is about whatever has an id', () => {
    expect(subject('inventory_levels/update', LEVEL)).toEqual([
      'stock',
      'gid://shopify/InventoryItem/9223372036854775807@gid://shopify/Location/24826418',
    ]);
    expect(subject('app/uninstalled', '{"id":548380009,"myshopify_domain":"demo.myshopify.com"}')).toEqual([
      'other',
      '548380009',
    ]);
    expect(subject('products/update', '{"id":5}')).toEqual(['other', '5']);
    expect(subject('something/new', '{}')).toEqual(['other', 'demo.myshopify.com']);
  });

  test('headers give topic, delivery and shop; a delivery without a topic or an order without an id is unreadable', () => {
    expect(webhook.identify(bytes(ORDER), headers('orders/create'))).toEqual({
      topic: 'orders/create',
      deliveryId: 'b54557e4',
      kind: 'order',
      externalId: ORDER_ID,
      shop: 'demo.myshopify.com',
    });
    expect(webhook.identify(bytes(ORDER), { 'x-shopify-topic': 'orders/create' })).toMatchObject({
      deliveryId: null,
      shop: null,
    });
    expect(() => webhook.identify(bytes(ORDER), {})).toThrow(expect.objectContaining({ code: 'connector.unreadable' }));
    expect(() => webhook.identify(bytes('{"name":"#1"}'), headers('orders/create'))).toThrow(
      expect.objectContaining({ code: 'connector.unreadable' }),
    );
    expect(() => webhook.identify(bytes('not json'), headers('orders/create'))).toThrow(
      expect.objectContaining({ code: 'connector.unreadable' }),
    );
  });
});

describe('what a delivery says', () => {
  test('a complete order body is the order, whatever its topic', () => {
    const event = webhook.parse(bytes(ORDER), 'orders/create');
    expect(event).toMatchObject({ kind: 'order', externalId: ORDER_ID, vendorAt: Date.UTC(2026, 10, 20, 15, 0, 1) });
    expect(event.kind === 'order' && event.order.lines[0]?.externalId).toBe(
      'gid://shopify/LineItem/9223372036854775807',
    );
    expect(webhook.parse(bytes(ORDER), 'orders/cancelled')).toEqual(event);
  });

  test.each(['line_items', 'refunds', 'fulfillments', 'name', 'updated_at'])(
    'an order body without %s asks for a read',
    (field) => {
      const { [field]: _, ...partial } = restBody({ lines: [{ n: 1, quantity: 1 }] });
      expect(webhook.parse(bytes(partial), 'orders/updated')).toEqual({
        kind: 'order_changed',
        externalId: 'gid://shopify/Order/5001',
        vendorAt: field === 'updated_at' ? null : Date.UTC(2026, 10, 20, 15, 0, 1),
      });
    },
  );

  test('edits and refunds ask for a read of their order', () => {
    expect(webhook.parse(bytes(EDITED), 'orders/edited')).toEqual({
      kind: 'order_changed',
      externalId: ORDER_ID,
      vendorAt: Date.UTC(2026, 10, 20, 15, 0, 5),
    });
    expect(webhook.parse(bytes(REFUND), 'refunds/create')).toEqual({
      kind: 'order_changed',
      externalId: ORDER_ID,
      vendorAt: Date.UTC(2026, 10, 20, 15, 0, 5),
    });
  });

  test('a level is the number at its own time; an untracked one is nothing', () => {
    expect(webhook.parse(bytes(LEVEL), 'inventory_levels/update')).toEqual({
      kind: 'stock',
      externalId: 'gid://shopify/InventoryItem/9223372036854775807@gid://shopify/Location/24826418',
      vendorAt: Date.UTC(2026, 10, 20, 15, 0, 0),
      ref: {
        stockKey: 'gid://shopify/InventoryItem/9223372036854775807',
        channelLocation: 'gid://shopify/Location/24826418',
      },
      value: 10,
    });
    expect(
      webhook.parse(bytes(LEVEL.replace('"available":10', '"available":null')), 'inventory_levels/update'),
    ).toMatchObject({ kind: 'ignored' });
  });

  test('an uninstalled app ends the authorisation, other topics are ignored', () => {
    expect(webhook.parse(bytes('{"id":548380009,"myshopify_domain":"demo.myshopify.com"}'), 'app/uninstalled')).toEqual(
      { kind: 'unauthorized', externalId: '548380009', vendorAt: null },
    );
    expect(webhook.parse(bytes('{"id":5}'), 'products/update')).toEqual({
      kind: 'ignored',
      externalId: '5',
      vendorAt: null,
    });
  });

  test('a body that lacks what its topic promises is unreadable', () => {
    expect(() =>
      webhook.parse(
        bytes('{"inventory_item_id":1,"location_id":2,"available":"many","updated_at":"now"}'),
        'inventory_levels/update',
      ),
    ).toThrow(expect.objectContaining({ code: 'connector.unreadable' }));
    expect(() => webhook.parse(bytes('{"id":1,"name":'), 'orders/create')).toThrow(
      expect.objectContaining({ code: 'connector.unreadable' }),
    );
  });
});

test('a level that no column can hold is unreadable, not a number', () => {
  const level = (available: string) =>
    Buffer.from(`{"inventory_item_id":1,"location_id":2,"available":${available},"updated_at":"2026-11-20T10:00:00Z"}`);
  expect(webhook.parse(level('2147483647'), 'inventory_levels/update')).toMatchObject({
    kind: 'stock',
    value: 2147483647,
  });
  for (const beyond of ['2147483648', '-2147483649', '1e15', '9223372036854775808', '0.5'])
    expect(() => webhook.parse(level(beyond), 'inventory_levels/update'), beyond).toThrow(
      expect.objectContaining({ code: 'connector.unreadable' }),
    );
});
