import { afterEach, describe, expect, test } from 'vitest';
import { type Asked, answered, faultOf, openShop, type Shop, soon, type Told, VENDOR_AT } from './shop.testing.ts';
import { TOPICS } from './topics.ts';

const shops: Shop[] = [];
afterEach(async () => {
  for (const shop of shops.splice(0)) await shop.close();
});
const open = async (tell: (asked: Asked, nth: number) => Told) => {
  const shop = await openShop(tell);
  shops.push(shop);
  return shop;
};
const pageOf = (nodes: unknown[], endCursor: string | null = null) => ({
  pageInfo: { hasNextPage: endCursor !== null, endCursor },
  nodes,
});

describe('the catalogue', () => {
  const level = (n: number) => ({
    isActive: true,
    location: { id: `gid://shopify/Location/${n}` },
    quantities: [{ name: 'available', quantity: n }],
  });
  const variant = (n: number, levels: unknown) => ({
    id: `gid://shopify/ProductVariant/${n}`,
    title: 'Default Title',
    sku: `S${n}`,
    barcode: '0123',
    requiresComponents: n === 2,
    product: { id: `gid://shopify/Product/${n}`, title: `Thing ${n}` },
    inventoryItem: { id: `gid://shopify/InventoryItem/${n}`, tracked: true, inventoryLevels: levels },
  });

  test('is read page by page, and an item stocked in many places to its last', async () => {
    const shop = await open(({ body }) => {
      if (body.operationName === 'itemLevels')
        return answered({ inventoryItem: { inventoryLevels: pageOf([level(5), level(6)]) } });
      return answered({
        productVariants:
          body.variables?.after === null
            ? pageOf([variant(1, pageOf([1, 2, 3, 4].map(level), 'l4')), variant(2, pageOf([]))], 'v2')
            : pageOf([variant(3, pageOf([level(0)]))]),
      });
    });
    const first = await shop.channel.catalog.list(null, soon());
    const second = await shop.channel.catalog.list(first.cursor, soon());
    expect([first.cursor, second.cursor]).toEqual(['v2', null]);
    expect(
      [...first.listings, ...second.listings].map((listing) => [
        listing.channelSku,
        listing.notWritable,
        listing.levels.map(({ value }) => value),
      ]),
    ).toEqual([
      ['S1', null, [1, 2, 3, 4, 5, 6]],
      ['S2', 'bundle_parent', []],
      ['S3', null, [0]],
    ]);
    expect(first.listings[0]).toMatchObject({
      externalId: 'gid://shopify/Product/1',
      variantExternalId: 'gid://shopify/ProductVariant/1',
      stockKey: 'gid://shopify/InventoryItem/1',
      title: 'Thing 1',
      barcode: '0123',
    });
    expect(first.listings[0]?.levels[0]).toEqual({
      channelLocation: 'gid://shopify/Location/1',
      value: 1,
      vendorAt: VENDOR_AT,
    });
  });

  test('all locations are listed, closed and legacy ones too', async () => {
    const shop = await open(({ body }) =>
      answered({
        locations:
          body.variables?.after === null
            ? pageOf([{ id: 'a', name: 'Main', isActive: true }], 'x')
            : pageOf([{ id: 'b', name: 'Old', isActive: false }]),
      }),
    );
    expect(await shop.channel.catalog.locations(soon())).toEqual([
      { channelLocation: 'a', name: 'Main', active: true },
      { channelLocation: 'b', name: 'Old', active: false },
    ]);
    expect(shop.asked[0]?.body.query).toContain('includeInactive: true, includeLegacy: true');
  });
});

const told = (held: object) => ({ apiVersion: { handle: '2026-10' }, ...held });

describe('subscriptions', () => {
  const URL = 'https://sync.example/webhook/shopify/token-new';
  const OLD = 'https://old.example/webhook/shopify/token-old';

  /** Keeps subscriptions as Shopify does: by id, two of one topic allowed. */
  async function shopWith(held: { id: string; topic: string; uri: string; filter?: string; apiVersion?: object }[]) {
    const shop = await open(({ body }) => {
      const variables = body.variables ?? {};
      if (body.operationName === 'webhookSubscriptionCreate') {
        held.push({ id: `n${held.length}`, topic: String(variables.topic), uri: String(variables.uri) });
        return answered({ webhookSubscriptionCreate: { webhookSubscription: { id: 'n' }, userErrors: [] } });
      }
      if (body.operationName === 'webhookSubscriptionDelete') {
        const at = held.findIndex(({ id }) => id === variables.id);
        if (at >= 0) held.splice(at, 1);
        return answered({
          webhookSubscriptionDelete: {
            userErrors: at >= 0 ? [] : [{ field: ['id'], message: 'Webhook subscription does not exist' }],
          },
        });
      }
      const from = variables.after === null ? 0 : Number(variables.after);
      return answered({
        webhookSubscriptions: pageOf(
          held.slice(from, from + 2).map(told),
          from + 2 < held.length ? String(from + 2) : null,
        ),
      });
    });
    return { shop, held };
  }
  const subscribe = (shop: Shop) => shop.channel.subscriptions?.ensure(URL, soon());
  const topics = Object.values(TOPICS).map(({ subscription }) => subscription);

  test('a new shop gets every topic once; doing it again changes nothing', async () => {
    const { shop, held } = await shopWith([]);
    expect(await subscribe(shop)).toEqual({ existing: [], created: Object.keys(TOPICS), removed: [] });
    expect(held.map(({ topic, uri }) => [topic, uri])).toEqual(topics.map((topic) => [topic, URL]));
    const calls = shop.asked.length;
    expect(await subscribe(shop)).toEqual({ existing: Object.keys(TOPICS), created: [], removed: [] });
    expect(shop.asked.slice(calls).map(({ body }) => body.operationName)).toEqual(
      Array(5).fill('webhookSubscriptions'),
    );
  });

  test('missing ones are created, ours at an old address or doubled are removed after that, others’ are left alone', async () => {
    const foreign = { id: 'f', topic: 'ORDERS_CREATE', uri: 'https://erp.example/hooks' };
    const other = { id: 'o', topic: 'PRODUCTS_UPDATE', uri: OLD };
    const { shop, held } = await shopWith([
      foreign,
      other,
      { id: 'a', topic: 'ORDERS_CREATE', uri: OLD },
      { id: 'b', topic: 'ORDERS_PAID', uri: URL },
      { id: 'c', topic: 'ORDERS_PAID', uri: URL },
    ]);
    const result = await subscribe(shop);
    expect(result?.existing).toEqual(['orders/paid']);
    expect(result?.created).toHaveLength(topics.length - 1);
    expect(result?.removed).toEqual([`orders/create ${OLD} (another address of ours)`, `orders/paid ${URL} (doubled)`]);
    expect(held).toEqual(expect.arrayContaining([foreign, other]));
    expect(
      held
        .filter(({ uri }) => uri === URL)
        .map(({ topic }) => topic)
        .sort(),
    ).toEqual([...topics].sort());
    const operations = shop.asked.map(
      ({ body }) => `${body.operationName} ${body.variables?.topic ?? body.variables?.id ?? ''}`,
    );
    expect(operations.indexOf('webhookSubscriptionCreate ORDERS_CREATE')).toBeLessThan(
      operations.indexOf('webhookSubscriptionDelete a'),
    );
  });

  test('one at our address with another payload version, or filtered, is replaced', async () => {
    const { shop, held } = await shopWith([
      { id: 'a', topic: 'ORDERS_CREATE', uri: URL, apiVersion: { handle: '2025-10' } },
      { id: 'b', topic: 'ORDERS_PAID', uri: URL, filter: 'total_price:>100' },
    ]);
    const result = await subscribe(shop);
    expect(result?.removed).toEqual([
      `orders/create ${URL} (payload version 2025-10)`,
      `orders/paid ${URL} (filtered)`,
    ]);
    expect(result?.existing).toEqual([]);
    expect(held.map(({ id }) => id)).not.toContain('a');
    expect(held.map(({ topic }) => topic).sort()).toEqual([...topics].sort());
  });

  test('a refused subscription is rejected with what Shopify said, and nothing is removed for it', async () => {
    const held = [{ id: 'a', topic: 'ORDERS_CREATE', uri: OLD }];
    const shop = await open(({ body }) =>
      body.operationName === 'webhookSubscriptions'
        ? answered({ webhookSubscriptions: pageOf(held.map(told)) })
        : answered({
            webhookSubscriptionCreate: {
              webhookSubscription: null,
              userErrors: [{ field: ['webhookSubscription', 'callbackUrl'], message: "Address can't be blank" }],
            },
          }),
    );
    const error = await faultOf(shop.channel.subscriptions?.ensure('', soon()) ?? Promise.resolve());
    expect([error.code, error.message]).toEqual([
      'connector.rejected',
      "Could not subscribe to orders/create: Address can't be blank",
    ]);
    expect(shop.asked).toHaveLength(2);
  });
});

describe('a page kept', () => {
  test('gives the same listings again from its answers alone, and holds no token', async () => {
    const level = (n: number) => ({
      isActive: true,
      location: { id: `gid://shopify/Location/${n}` },
      quantities: [{ name: 'available', quantity: n }],
    });
    const variant = {
      id: 'gid://shopify/ProductVariant/1',
      title: 'Red',
      sku: 'S1',
      barcode: null,
      requiresComponents: false,
      product: { id: 'gid://shopify/Product/1', title: 'Thing' },
      inventoryItem: { id: 'gid://shopify/InventoryItem/1', tracked: true, inventoryLevels: pageOf([level(1)], 'l1') },
    };
    const shop = await open(({ body }) =>
      body.operationName === 'itemLevels'
        ? answered({ inventoryItem: { inventoryLevels: pageOf([level(2)]) } })
        : answered({ productVariants: pageOf([variant], 'v1') }),
    );
    const page = await shop.channel.catalog.list(null, { ...soon(), changedSince: VENDOR_AT + 999 });
    expect(shop.asked[0]?.body.variables).toEqual({ after: null, query: "updated_at:>='2026-11-20T15:00:30Z'" });
    expect(page.raw.map(({ operation, status }) => [operation, status])).toEqual([
      ['variants', 200],
      ['itemLevels', 200],
    ]);
    const asked = shop.asked.length;
    expect(await shop.channel.catalog.replay(null, page.raw)).toEqual(page);
    expect(shop.asked).toHaveLength(asked);
    const token = shop.asked[0]?.headers['x-shopify-access-token'];
    expect(typeof token).toBe('string');
    expect(JSON.stringify(page.raw)).not.toContain(token);
    const fault = await faultOf(shop.channel.catalog.replay(null, page.raw.slice(1)));
    expect(fault.code).toBe('connector.unreadable');
  });
});
