import { afterEach, expect, test } from 'vitest';
import type { ConnectionContext } from '../kit/ports.ts';
import { shopify } from './index.ts';
import { answered, faultOf, openShop, type Shop, soon, VENDOR_AT } from './shop.testing.ts';

const shops: Shop[] = [];
afterEach(async () => {
  for (const shop of shops.splice(0)) await shop.close();
});
const open: typeof openShop = async (tell, changes) => {
  const shop = await openShop(tell, changes);
  shops.push(shop);
  return shop;
};

const shopAnswer = answered({ shop: { id: 'gid://shopify/Shop/1', myshopifyDomain: 'demo.myshopify.com' } });
const row = {
  ref: { stockKey: 'gid://shopify/InventoryItem/1', channelLocation: 'gid://shopify/Location/1' },
  value: 5,
  from: 6,
};
const failure = (errors: unknown, extra: object = {}) => ({ body: { errors, ...extra } });
const coded = (code: string) => failure([{ message: code, extensions: { code } }]);
const throttled = (status: number) => ({
  status,
  body: {
    errors: [
      {
        message: 'Throttled',
        extensions: { code: 'THROTTLED', documentation: 'https://shopify.dev/api/usage/rate-limits' },
      },
    ],
    extensions: {
      cost: {
        requestedQueryCost: 752,
        actualQueryCost: null,
        throttleStatus: { maximumAvailable: 2000, currentlyAvailable: 66, restoreRate: 100 },
      },
    },
  },
});

test('a call goes to the pinned version with the token and its operation name', async () => {
  const shop = await open(() => shopAnswer);
  await shop.channel.test(soon());
  expect(shop.asked[0]?.path).toBe('/admin/api/2026-10/graphql.json');
  expect(shop.asked[0]?.headers['x-shopify-access-token']).toBe('shpat_static');
  expect(shop.asked[0]?.body.operationName).toBe('shop');
  expect(JSON.stringify(shop.log)).not.toContain('shpat_static');
});

test("the store's real bucket replaces the assumed one", async () => {
  const shop = await open(() => ({
    body: {
      data: { shop: { id: 's', myshopifyDomain: 'd' } },
      extensions: {
        cost: {
          requestedQueryCost: 1,
          throttleStatus: { maximumAvailable: 20_000, currentlyAvailable: 19_000, restoreRate: 1_000 },
        },
      },
    },
  }));
  await shop.channel.test(soon());
  const bucket = shop.transport.budgets().find(({ bucket: name }) => name === 'graphql');
  expect(bucket).toMatchObject({ capacity: 20_000, ratePerSecond: 900, inFlight: 0 });
  expect(bucket?.tokens).toBeGreaterThanOrEqual(17_000);
});

test('THROTTLED inside a 200 waits for what the call needs, 429 for what the header says, and both slow us down', async () => {
  const inside = await open(() => throttled(200));
  const error = await faultOf(inside.channel.test(soon()));
  expect([error.code, error.retryAfterMs]).toEqual(['connector.rate_limited', 6_860]);
  expect(inside.transport.budgets().find(({ bucket }) => bucket === 'graphql')?.slowdown).toBeLessThan(0.6);
  const plain = await open(() => ({ status: 429, headers: { 'retry-after': '2.0' } }));
  const refused = await faultOf(plain.channel.stock.write([row], 'k', soon()));
  expect([refused.code, refused.retryAfterMs, plain.asked.length]).toEqual(['connector.rate_limited', 2_000, 1]);
});

test.each([
  [402, 'connector.unauthorized'],
  [403, 'connector.unauthorized'],
  [404, 'connector.unauthorized'],
  [423, 'connector.unauthorized'],
  [400, 'connector.rejected'],
  [302, 'connector.rejected'],
])('HTTP %i is %s', async (status, code) => {
  const shop = await open(() => ({ status, body: { errors: 'Not allowed' } }));
  expect((await faultOf(shop.channel.stock.write([row], 'k', soon()))).code).toBe(code);
  expect(shop.asked).toHaveLength(1);
});

test.each([
  ['BAD_REQUEST', 'connector.rejected', 'connector.rejected'],
  ['INVALID_FIELD_ARGUMENTS', 'connector.rejected', 'connector.rejected'],
  ['INVALID_VARIABLE', 'connector.rejected', 'connector.rejected'],
  ['MAX_INPUT_SIZE_EXCEEDED', 'connector.rejected', 'connector.rejected'],
  ['MAX_COST_EXCEEDED', 'connector.rejected', 'connector.rejected'],
  ['ACCESS_DENIED', 'connector.unauthorized', 'connector.unauthorized'],
  ['INTERNAL_SERVER_ERROR', 'connector.outcome_unknown', 'connector.unavailable'],
  ['SOMETHING_NEW', 'connector.outcome_unknown', 'connector.unavailable'],
])('the top-level error %s means %s to a write and %s to a read', async (code, toWrite, toRead) => {
  const shop = await open(() => coded(code));
  expect((await faultOf(shop.channel.stock.write([row], 'k', soon()))).code).toBe(toWrite);
  expect((await faultOf(shop.channel.test(soon()))).code).toBe(toRead);
});

test('an answer of another shape is unreadable to a read and of unknown outcome to a write', async () => {
  const shop = await open(() => ({ body: { data: { shop: 1 } } }));
  expect((await faultOf(shop.channel.test(soon()))).code).toBe('connector.unreadable');
  expect((await faultOf(shop.channel.stock.write([row], 'k', soon()))).code).toBe('connector.outcome_unknown');
  const page = await open(() => ({ body: '<html>' }));
  expect((await faultOf(page.channel.test(soon()))).code).toBe('connector.unreadable');
});

test('a dead static token is unauthorized after one call: there is nothing to renew it with', async () => {
  const shop = await open(() => ({
    status: 401,
    body: { errors: '[API] Invalid API key or access token (unrecognized login or wrong password)' },
  }));
  expect((await faultOf(shop.channel.test(soon()))).code).toBe('connector.unauthorized');
  expect(shop.asked).toHaveLength(1);
});

const app = { clientId: 'id', clientSecret: 'secret' };

test('client credentials: one token serves many calls at once, and is renewed five minutes before its end', async () => {
  let tokens = 0;
  const shop = await open(
    ({ path }) => {
      if (!path.endsWith('/access_token')) return shopAnswer;
      tokens += 1;
      return { body: { access_token: `shpat_${tokens}`, scope: 'read_orders', expires_in: 86_399 } };
    },
    { credentials: app },
  );
  await Promise.all([shop.channel.test(soon()), shop.channel.test(soon()), shop.channel.test(soon())]);
  expect([tokens, shop.asked[0]?.path, shop.asked[0]?.body]).toEqual([
    1,
    '/admin/oauth/access_token',
    { client_id: 'id', client_secret: 'secret', grant_type: 'client_credentials' },
  ]);
  shop.clock.set(VENDOR_AT + 86_399_000 - 300_001);
  await shop.channel.test(soon());
  expect(tokens).toBe(1);
  shop.clock.set(VENDOR_AT + 86_399_000 - 300_000);
  await shop.channel.test(soon());
  expect([tokens, shop.asked.at(-1)?.headers['x-shopify-access-token']]).toEqual([2, 'shpat_2']);
  expect(shop.saved).toEqual([]);
});

test('a 401 renews the token once and repeats the call; a second 401 is unauthorized', async () => {
  let good = 'shpat_2';
  let tokens = 0;
  const shop = await open(
    ({ path, headers }) => {
      if (path.endsWith('/access_token')) return { body: { access_token: `shpat_${++tokens}`, expires_in: 86_399 } };
      return headers['x-shopify-access-token'] === good ? shopAnswer : { status: 401, body: { errors: 'x' } };
    },
    { credentials: app },
  );
  await shop.channel.test(soon());
  expect([tokens, shop.asked.length]).toEqual([2, 4]);
  good = 'none';
  expect((await faultOf(shop.channel.test(soon()))).code).toBe('connector.unauthorized');
  expect([tokens, shop.asked.length]).toEqual([3, 7]);
});

test('a rotating refresh token is stored before the new access token is used', async () => {
  const order: string[] = [];
  const shop = await open(
    ({ path }) => {
      order.push(path.endsWith('/access_token') ? 'token' : 'call');
      if (!path.endsWith('/access_token')) return shopAnswer;
      return {
        body: {
          access_token: 'shpat_n',
          expires_in: 3_600,
          refresh_token: 'shprt_2',
          refresh_token_expires_in: 7_776_000,
        },
      };
    },
    {
      credentials: { ...app, accessToken: 'shpat_o', accessTokenExpiresAt: String(VENDOR_AT), refreshToken: 'shprt_1' },
      renewCredentials: async (held, exchange) => {
        const credentials = await exchange(held);
        order.push(`saved ${credentials.refreshToken} until ${credentials.accessTokenExpiresAt}`);
        return credentials;
      },
    },
  );
  await shop.channel.test(soon());
  expect(shop.asked[0]?.body).toEqual({
    client_id: 'id',
    client_secret: 'secret',
    grant_type: 'refresh_token',
    refresh_token: 'shprt_1',
  });
  expect(order).toEqual(['token', `saved shprt_2 until ${VENDOR_AT + 3_600_000}`, 'call']);
});

test.each([
  [400, { error: 'invalid_grant' }],
  [401, { error: 'invalid_request', error_description: 'This request requires an active refresh_token' }],
])('a refused refresh (%i) means: authorise again, and no call is made', async (status, body) => {
  const shop = await open(() => ({ status, body }), { credentials: { ...app, refreshToken: 'shprt_1' } });
  expect((await faultOf(shop.channel.test(soon()))).code).toBe('connector.unauthorized');
  expect(shop.asked).toHaveLength(1);
});

test('a connection without a shop or without credentials is not opened, and the fault names fields, not values', async () => {
  const context = (settings: object, credentials: Record<string, string>) =>
    ({ settings, credentials, baseUrl: null }) as unknown as ConnectionContext;
  const attempt = (settings: object, credentials: Record<string, string>) =>
    faultOf(Promise.resolve().then(() => shopify.open(context(settings, credentials))));
  const bad = await attempt({ shopDomain: 'demo.myshopify.com.evil.example' }, { accessToken: '', clientId: 'c' });
  expect([bad.code, bad.details.fields]).toEqual([
    'connector.rejected',
    ['shopDomain', 'accessToken', 'an access token, or client id and secret'],
  ]);
  const half = await attempt({ shopDomain: 'demo.myshopify.com' }, { clientSecret: 'hush' });
  expect([half.code, JSON.stringify([half.message, half.details]).includes('hush')]).toEqual([
    'connector.rejected',
    false,
  ]);
});

test('a document waits for what it was told to cost, not for what its weights would allow', async () => {
  const answer = {
    body: {
      data: { productVariants: { pageInfo: { hasNextPage: false, endCursor: null }, nodes: [] } },
      extensions: {
        cost: {
          requestedQueryCost: 300,
          throttleStatus: { maximumAvailable: 2_000, currentlyAvailable: 1_600, restoreRate: 100 },
        },
      },
    },
  };
  const shop = await open(() => answer);
  const spent: number[] = [];
  const { request } = shop.transport;
  shop.transport.request = (call) => {
    spent.push(call.cost ?? 0);
    return request(call);
  };
  await shop.channel.catalog.list(null, soon());
  await shop.channel.catalog.list(null, soon());
  expect(spent).toEqual([100, 300]);
});
