import { afterEach, expect, test } from 'vitest';
import { graphqlNode, type Story } from './order-shapes.testing.ts';
import { type Asked, answered, faultOf, openShop, type Shop, soon, type Told, VENDOR_AT } from './shop.testing.ts';

const shops: Shop[] = [];
afterEach(async () => {
  for (const shop of shops.splice(0)) await shop.close();
});
const open = async (tell: (asked: Asked, nth: number) => Told) => {
  const shop = await openShop(tell);
  shops.push(shop);
  return shop;
};

const ID = 'gid://shopify/Order/5001';
const operations = (shop: Shop) => shop.asked.map(({ body }) => body.operationName);
const lineNode = (n: number) => ({
  id: `gid://shopify/LineItem/${n}`,
  title: 'T',
  sku: `S${n}`,
  quantity: 1,
  currentQuantity: 1,
  unfulfilledQuantity: 1,
  variant: null,
});
const pageOf = (nodes: unknown[], endCursor: string | null = null) => ({
  pageInfo: { hasNextPage: endCursor !== null, endCursor },
  nodes,
});
const node = (story: Story, changes: Record<string, unknown> = {}) => ({ ...graphqlNode(story), ...changes });
const placed: Story = { lines: [{ n: 1, quantity: 2 }] };

test('an order that Shopify does not show is null', async () => {
  const shop = await open(() => answered({ order: null }));
  expect(await shop.channel.orders.get(ID, soon())).toBe(null);
  expect(shop.asked[0]?.body.variables).toEqual({ id: ID, routing: true });
});

test('changed orders come page by page from whole seconds on, with the time of the answer', async () => {
  const shop = await open(({ body }) =>
    answered({ orders: pageOf([node(placed)], body.variables?.after === null ? 'c1' : null) }),
  );
  const first = await shop.channel.orders.changedSince(Date.UTC(2026, 10, 20, 14, 0, 0, 999), null, soon());
  const second = await shop.channel.orders.changedSince(0, first.cursor, soon());
  expect([first.cursor, first.vendorAt, first.total, second.cursor]).toEqual(['c1', VENDOR_AT, null, null]);
  expect(first.orders.map((order) => [order.externalId, order.lines[0]?.taken])).toEqual([[ID, 2]]);
  expect(shop.asked.map(({ body }) => body.variables)).toEqual([
    { query: "updated_at:>='2026-11-20T14:00:00Z'", after: null },
    { query: "updated_at:>='1970-01-01T00:00:00Z'", after: 'c1' },
  ]);
});

test('a page of untouched orders is one call; a touched one is read whole; one that went away meanwhile is left out', async () => {
  const untouched = Array.from({ length: 24 }, (_, n) => node(placed, { id: `gid://shopify/Order/${n}` }));
  const shipped: Story = {
    lines: [{ n: 1, quantity: 2, open: 0 }],
    shipments: [{ parts: [{ line: 1, units: 2 }] }],
    fulfillment: ['fulfilled', 'FULFILLED'],
  };
  const shop = await open(({ body }) => {
    if (body.operationName === 'changedOrders')
      return answered({
        orders: pageOf([
          ...untouched,
          node(shipped),
          node({ ...placed, cancelled: true }, { id: 'gid://shopify/Order/gone' }),
        ]),
      });
    return answered({ order: body.variables?.id === ID ? node(shipped) : null });
  });
  const { orders } = await shop.channel.orders.changedSince(0, null, soon());
  expect(orders).toHaveLength(25);
  expect(orders.find((order) => order.externalId === ID)?.lines[0]).toMatchObject({ shipped: 2, wanted: 2 });
  expect(operations(shop)).toEqual(['changedOrders', 'orderById', 'orderById']);
});

test('an order of 500 lines is read to the last', async () => {
  const lines = Array.from({ length: 500 }, (_, n) => lineNode(n + 1));
  const shop = await open(({ body }) => {
    if (body.operationName === 'orderById')
      return answered({ order: node(placed, { lineItems: pageOf(lines.slice(0, 60), '60') }) });
    const from = Number(body.variables?.after);
    return answered({
      order: {
        updatedAt: '2026-11-20T15:00:01Z',
        lineItems: pageOf(lines.slice(from, from + 250), from + 250 < 500 ? String(from + 250) : null),
      },
    });
  });
  const order = await shop.channel.orders.get(ID, soon());
  expect(order?.lines.map((line) => line.channelSku)).toEqual(lines.map(({ sku }) => sku));
  expect(operations(shop)).toEqual(['orderById', 'orderLines', 'orderLines']);
});

test('an order that changes while it is read on is read again, and the parts belong to one version', async () => {
  let version = 1;
  const shop = await open(({ body }) => {
    const updatedAt = `2026-11-20T15:00:0${version}Z`;
    if (body.operationName === 'orderById')
      return answered({ order: node(placed, { updatedAt, lineItems: pageOf([lineNode(1)], 'x') }) });
    if (version === 1) version = 2;
    return answered({ order: { updatedAt: `2026-11-20T15:00:0${version}Z`, lineItems: pageOf([lineNode(2)]) } });
  });
  const order = await shop.channel.orders.get(ID, soon());
  expect([order?.updatedAt, order?.lines.length]).toEqual([Date.UTC(2026, 10, 20, 15, 0, 2), 2]);
  expect(operations(shop)).toEqual(['orderById', 'orderLines', 'orderById', 'orderLines']);
});

test('an order that never stands still is given up as unavailable after four readings', async () => {
  let second = 0;
  const shop = await open(({ body }) => {
    const updatedAt = `2026-11-20T15:00:${String(++second).padStart(2, '0')}Z`;
    const lineItems = pageOf([lineNode(1)], body.operationName === 'orderById' ? 'x' : null);
    return answered({
      order: body.operationName === 'orderById' ? node(placed, { updatedAt, lineItems }) : { updatedAt, lineItems },
    });
  });
  expect((await faultOf(shop.channel.orders.get(ID, soon()))).code).toBe('connector.unavailable');
  expect(operations(shop).filter((operation) => operation === 'orderById')).toHaveLength(4);
});

test('many refunds and long ones are all counted', async () => {
  const refund = (n: number, parts: number, more = false) => ({
    id: `gid://shopify/Refund/${n}`,
    refundLineItems: pageOf(
      Array.from({ length: parts }, () => ({
        quantity: 1,
        restockType: 'CANCEL',
        lineItem: { id: 'gid://shopify/LineItem/1' },
        location: { id: 'gid://shopify/Location/7' },
      })),
      more ? 'next' : null,
    ),
  });
  const story: Story = { lines: [{ n: 1, quantity: 20, current: 8 }] };
  const shop = await open(({ body }) => {
    if (body.operationName === 'orderById')
      return answered({
        order: node(story, { refunds: [refund(1, 1), refund(2, 1), refund(3, 1), refund(4, 1), refund(5, 2, true)] }),
      });
    if (body.operationName === 'orderParts')
      return answered({
        order: {
          updatedAt: '2026-11-20T15:00:01Z',
          refunds: [1, 2, 3, 4, 5, 6].map((n) => ({ id: `gid://shopify/Refund/${n}` })),
          fulfillments: [],
        },
      });
    return answered({
      node: { refundLineItems: refund(0, body.variables?.id === 'gid://shopify/Refund/6' ? 5 : 1).refundLineItems },
    });
  });
  const order = await shop.channel.orders.get(ID, soon());
  expect(order?.lines[0]).toMatchObject({ ordered: 20, wanted: 8, taken: 8 });
  expect(shop.asked.slice(2).map(({ body }) => [body.operationName, body.variables])).toEqual([
    ['refundLines', { id: 'gid://shopify/Refund/5', after: 'next' }],
    ['refundLines', { id: 'gid://shopify/Refund/6', after: null }],
  ]);
});

test('many shipments are all counted', async () => {
  const shipment = (n: number) => ({
    id: `gid://shopify/Fulfillment/${n}`,
    status: 'SUCCESS',
    location: { id: 'gid://shopify/Location/7' },
  });
  const lines = pageOf([{ quantity: 1, lineItem: { id: 'gid://shopify/LineItem/1' } }]);
  const shop = await open(({ body }) => {
    if (body.operationName === 'orderById')
      return answered({
        order: node(
          { lines: [{ n: 1, quantity: 9, open: 2 }] },
          { fulfillments: [1, 2, 3, 4, 5].map((n) => ({ ...shipment(n), fulfillmentLineItems: lines })) },
        ),
      });
    if (body.operationName === 'orderParts')
      return answered({
        order: { updatedAt: '2026-11-20T15:00:01Z', refunds: [], fulfillments: [1, 2, 3, 4, 5, 6, 7].map(shipment) },
      });
    return answered({ node: { fulfillmentLineItems: lines } });
  });
  expect((await shop.channel.orders.get(ID, soon()))?.lines[0]).toMatchObject({ shipped: 7, wanted: 9 });
  expect(operations(shop)).toEqual(['orderById', 'orderParts', 'fulfillmentLines', 'fulfillmentLines']);
});

test('without the scopes of fulfillment orders, orders are read without their places, and only the first read is tried twice', async () => {
  const denied = {
    body: {
      errors: [
        {
          message: 'Access denied for fulfillmentOrders field.',
          extensions: { code: 'ACCESS_DENIED' },
          path: ['order', 'fulfillmentOrders'],
        },
      ],
      data: { order: null },
    },
  };
  const shop = await open(({ body }) => (body.variables?.routing ? denied : answered({ order: node(placed) })));
  expect((await shop.channel.orders.get(ID, soon()))?.externalId).toBe(ID);
  await shop.channel.orders.get(ID, soon());
  expect(shop.asked.map(({ body }) => body.variables?.routing)).toEqual([true, false, false]);
});

test('without the scope of orders at all, it is unauthorized', async () => {
  const shop = await open(() => ({
    body: { errors: [{ message: 'Access denied for order field.', extensions: { code: 'ACCESS_DENIED' } }] },
  }));
  expect((await faultOf(shop.channel.orders.get(ID, soon()))).code).toBe('connector.unauthorized');
  expect(shop.asked).toHaveLength(2);
});
