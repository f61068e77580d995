import { afterEach, describe, expect, test } from 'vitest';
import { ConnectorError } from '#core/errors.ts';
import type { Channel } from '../kit/ports.ts';
import {
  type Asked,
  calling,
  fixture,
  openAmazon,
  realClock,
  type Told,
  VENDOR_AT,
  type VendorServer,
  vendorServer,
} from './amazon.testing.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function amazonAt(
  answer: (asked: Asked, nth: number) => Told,
  settings?: Record<string, unknown>,
  clock = realClock,
) {
  const server = await vendorServer(answer);
  const { channel, close } = openAmazon(server.url, settings, clock);
  open.push({ close }, server);
  return { server, channel };
}

const ITEMS = '/listings/2021-08-01/items/A1SIMSELLER';
const ref = (stockKey: string, channelLocation = 'DEFAULT') => ({ stockKey, channelLocation });
const mug = ref('MUG-BLUE-11');
const write = (channel: Channel, value: number, sku = 'MUG-BLUE-11') =>
  channel.stock.write([{ ref: ref(sku), value, from: null }], 'key-1', calling('urgent'));
const patches = (server: VendorServer) => server.asked.filter((one) => one.method === 'PATCH');
const item = (sku: string, quantity: number) => ({
  ...fixture('item-merchant'),
  sku,
  fulfillmentAvailability: [{ fulfillmentChannelCode: 'DEFAULT', quantity }],
});
const byMethod =
  (patch: Told, get: Told = { body: fixture('item-merchant') }) =>
  (asked: Asked) =>
    asked.method === 'PATCH' ? patch : get;
const faultOf = async (work: Promise<unknown>): Promise<ConnectorError> => {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConnectorError);
  return error as ConnectorError;
};

describe('reading Amazon stock', () => {
  test('one number comes from the item itself, with the time of the Date header', async () => {
    const { server, channel } = await amazonAt(() => ({ body: fixture('item-merchant') }));
    expect(await channel.stock.read([mug], calling())).toEqual([
      { kind: 'quantity', ref: mug, value: 7, vendorAt: VENDOR_AT },
    ]);
    expect(server.asked).toHaveLength(1);
    expect(server.asked[0]).toMatchObject({ method: 'GET', path: `${ITEMS}/MUG-BLUE-11` });
    expect(Object.fromEntries(server.asked[0]?.query ?? [])).toEqual({
      marketplaceIds: 'ATVPDKIKX0DER',
      includedData: 'summaries,fulfillmentAvailability,issues',
    });
    expect(server.asked[0]?.headers).toMatchObject({
      'x-amz-access-token': 'Atza|1',
      'user-agent': 'SyncState/0.1 (Language=TypeScript)',
    });
    expect(server.asked[0]?.headers.authorization).toBeUndefined();
  });

  test('without a Date header the reading counts as made before it was asked for, never later', async () => {
    const clock = { ...realClock, now: () => 1_795_000_000_999 };
    const { channel } = await amazonAt(() => ({ body: fixture('item-merchant'), date: null }), {}, clock);
    expect(await channel.stock.read([mug], calling())).toEqual([
      { kind: 'quantity', ref: mug, value: 7, vendorAt: 1_795_000_000_000 },
    ]);
  });

  test('an unknown SKU is missing, not an error', async () => {
    const { channel } = await amazonAt(() => ({ status: 404, body: fixture('error-not-found') }));
    expect(await channel.stock.read([mug], calling())).toEqual([
      { kind: 'missing', ref: mug, reason: 'Amazon has no listing with this SKU.' },
    ]);
  });

  test.each([
    ['A B/1+%', '/A%20B%2F1%2B%25'],
    ['#1', '/%231'],
    ['Größe ü', '/Gr%C3%B6%C3%9Fe%20%C3%BC'],
    ['a,b', '/a%2Cb'],
  ])('the SKU %j is one path segment', async (sku, segment) => {
    const { server, channel } = await amazonAt(() => ({ body: item(sku, 3) }));
    expect(await channel.stock.read([ref(sku)], calling())).toMatchObject([{ kind: 'quantity', value: 3 }]);
    expect(server.asked[0]?.path).toBe(ITEMS + segment);
  });

  test("an offer that Amazon fulfils is read only, with the warehouse's sellable units", async () => {
    const { server, channel } = await amazonAt((asked) => ({
      body: asked.path.startsWith('/fba') ? fixture('fba-summaries') : fixture('item-fba'),
    }));
    const lamp = ref('LAMP-FBA', 'AMAZON_NA');
    expect(await channel.stock.read([lamp], calling())).toEqual([
      { kind: 'read_only', ref: lamp, value: 40, vendorAt: VENDOR_AT },
    ]);
    expect(Object.fromEntries(server.asked[1]?.query ?? [])).toEqual({
      granularityType: 'Marketplace',
      granularityId: 'ATVPDKIKX0DER',
      marketplaceIds: 'ATVPDKIKX0DER',
      details: 'true',
      sellerSku: 'LAMP-FBA',
    });
  });

  test('an app without the warehouse role still reads the rest; the units are just not known', async () => {
    const { channel } = await amazonAt((asked) =>
      asked.path.startsWith('/fba') ? { status: 403, body: fixture('error-denied') } : { body: fixture('item-fba') },
    );
    expect(await channel.stock.read([ref('LAMP-FBA')], calling())).toMatchObject([{ kind: 'read_only', value: null }]);
  });

  test('a sweep takes 20 SKUs per search, asks singly for what the search does not show, and answers each once', async () => {
    const skus = Array.from({ length: 45 }, (_, n) => `SKU ${n}`);
    const { server, channel } = await amazonAt((asked) => {
      const single = decodeURIComponent(asked.path.slice(ITEMS.length + 1));
      if (single === 'SKU 7') return { body: item('SKU 7', 77) };
      if (single !== '') return { status: 404, body: fixture('error-not-found') };
      const found = (asked.query.get('identifiers') ?? '')
        .split(',')
        .filter((sku) => sku !== 'SKU 7' && sku !== 'SKU 8');
      return { body: { numberOfResults: found.length, items: found.map((sku) => item(sku, 1)) } };
    });
    const readings = await channel.stock.read(
      skus.map((sku) => ref(sku)),
      calling(),
    );
    expect(readings.map((reading) => reading.ref.stockKey)).toEqual(skus);
    expect(readings.filter((reading) => reading.kind === 'quantity')).toHaveLength(44);
    expect(readings[7]).toMatchObject({ kind: 'quantity', value: 77 });
    expect(readings[8]).toMatchObject({ kind: 'missing' });
    const searches = server.asked.filter((asked) => asked.path === ITEMS);
    expect(searches.map((asked) => asked.query.get('identifiers')?.split(',').length)).toEqual([20, 20, 5]);
    expect(searches[0]?.query.get('identifiersType')).toBe('SKU');
    expect(searches[0]?.query.get('pageSize')).toBe('20');
    expect(server.asked).toHaveLength(5);
  });

  test('in a sweep a SKU with a comma is asked for alone, and a similar SKU in the results is nobody', async () => {
    const skus = ['a,b', 'S1', 'S2', 'S3', 'S4', 'S5'];
    const { server, channel } = await amazonAt((asked) => {
      if (asked.path !== ITEMS) return { body: item('a,b', 9) };
      return {
        body: {
          numberOfResults: 6,
          items: [item('s1', 1), ...['S1', 'S2', 'S3', 'S4', 'S5'].map((sku) => item(sku, 2))],
        },
      };
    });
    const readings = await channel.stock.read(
      skus.map((sku) => ref(sku)),
      calling(),
    );
    expect(readings.map((reading) => (reading.kind === 'quantity' ? reading.value : reading.kind))).toEqual([
      9, 2, 2, 2, 2, 2,
    ]);
    expect(server.asked.find((asked) => asked.path === ITEMS)?.query.get('identifiers')).toBe('S1,S2,S3,S4,S5');
  });

  test('an answer that is no listing is unreadable', async () => {
    const { channel } = await amazonAt(() => ({ body: { hello: 'world' } }));
    expect((await faultOf(channel.stock.read([mug], calling()))).code).toBe('connector.unreadable');
  });
});

describe('writing Amazon stock', () => {
  test('a known offer takes one merge patch, and ACCEPTED is accepted, not applied', async () => {
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-accepted') }));
    await channel.stock.read([mug], calling());
    expect(await write(channel, 4)).toEqual([
      { kind: 'accepted', ref: mug, vendorAt: VENDOR_AT, submissionId: '7a0f3f1e0c6b4c58a1c70a3f2a1d9b11' },
    ]);
    expect(server.asked).toHaveLength(2);
    expect(server.asked[1]).toMatchObject({ method: 'PATCH', path: `${ITEMS}/MUG-BLUE-11` });
    expect(server.asked[1]?.headers['content-type']).toBe('application/json');
    expect(Object.fromEntries(server.asked[1]?.query ?? [])).toEqual({
      marketplaceIds: 'ATVPDKIKX0DER',
      includedData: 'issues',
    });
    expect(JSON.parse(server.asked[1]?.body ?? '')).toEqual({
      productType: 'DRINKING_CUP',
      patches: [
        {
          op: 'merge',
          path: '/attributes/fulfillment_availability',
          value: [{ fulfillment_channel_code: 'DEFAULT', quantity: 4 }],
        },
      ],
    });
  });

  test('an offer never read is read before it is written, even for 0', async () => {
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-accepted') }));
    expect(await write(channel, 0)).toMatchObject([{ kind: 'accepted' }]);
    expect(server.asked.map((asked) => asked.method)).toEqual(['GET', 'PATCH']);
    await write(channel, 0);
    expect(server.asked.map((asked) => asked.method)).toEqual(['GET', 'PATCH', 'PATCH']);
  });

  test('what was read more than an hour ago is read again before writing', async () => {
    let nowMs = 0;
    const clock = { ...realClock, monotonicMs: () => nowMs };
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-accepted') }), {}, clock);
    await write(channel, 1);
    nowMs = 3_599_000;
    await write(channel, 2);
    expect(server.asked.map((asked) => asked.method)).toEqual(['GET', 'PATCH', 'PATCH']);
    nowMs = 3_601_000;
    await write(channel, 3);
    expect(server.asked.map((asked) => asked.method)).toEqual(['GET', 'PATCH', 'PATCH', 'GET', 'PATCH']);
  });

  test.each(['item-fba', 'item-both'])('an offer with an AMAZON channel (%s) is never written', async (name) => {
    const { server, channel } = await amazonAt(
      byMethod({ body: fixture('submission-accepted') }, { body: fixture(name) }),
    );
    expect(await write(channel, 5)).toMatchObject([{ kind: 'rejected', code: 'fulfilled_by_amazon' }]);
    expect(patches(server)).toEqual([]);
  });

  test('a listing that does not exist is refused by us: Amazon would accept it without effect', async () => {
    const { server, channel } = await amazonAt(
      byMethod({ body: fixture('submission-accepted') }, { status: 404, body: fixture('error-not-found') }),
    );
    expect(await write(channel, 5)).toMatchObject([{ kind: 'rejected', code: 'listing_missing' }]);
    expect(patches(server)).toEqual([]);
  });

  test("INVALID inside a 200 is a refusal in the vendor's words", async () => {
    const { channel } = await amazonAt(byMethod({ body: fixture('submission-invalid') }));
    expect(await write(channel, 5)).toEqual([
      { kind: 'rejected', ref: mug, code: '90000900', reason: 'The attributes are invalid.' },
    ]);
  });

  test('VALID belongs to a preview that stores nothing: not accepted', async () => {
    const { channel } = await amazonAt(byMethod({ body: fixture('submission-valid') }));
    expect(await write(channel, 5)).toMatchObject([{ kind: 'rejected' }]);
  });

  test('a withdrawn product type is tried once more as PRODUCT, and remembered', async () => {
    const { server, channel } = await amazonAt((asked) => {
      if (asked.method === 'GET') return { body: fixture('item-merchant') };
      const { productType } = JSON.parse(asked.body) as { productType: string };
      return { body: fixture(productType === 'PRODUCT' ? 'submission-accepted' : 'submission-type-withdrawn') };
    });
    expect(await write(channel, 5)).toMatchObject([{ kind: 'accepted' }]);
    expect(await write(channel, 6)).toMatchObject([{ kind: 'accepted' }]);
    const types = patches(server).map((asked) => (JSON.parse(asked.body) as { productType: string }).productType);
    expect(types).toEqual(['DRINKING_CUP', 'PRODUCT', 'PRODUCT']);
  });

  test('PRODUCT refused too is a refusal, not a loop', async () => {
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-type-withdrawn') }));
    expect(await write(channel, 5)).toMatchObject([{ kind: 'rejected', code: '4000003' }]);
    expect(patches(server)).toHaveLength(2);
  });

  test('a 400 refuses the row', async () => {
    const { channel } = await amazonAt(byMethod({ status: 400, body: fixture('error-invalid-input') }));
    expect(await write(channel, 5)).toEqual([
      {
        kind: 'rejected',
        ref: mug,
        code: 'InvalidInput',
        reason: 'Request has missing or invalid parameters and cannot be parsed. patches',
      },
    ]);
  });

  test.each<[string, Told]>([
    ['a 500', { status: 500, body: {} }],
    ['a 503', { status: 503, body: {} }],
    ['a connection cut after sending', 'cut'],
    ['a 200 that cannot be read', { body: '<html>' }],
  ])('%s leaves the outcome unknown, and nothing is sent again', async (_, told) => {
    const { server, channel } = await amazonAt(byMethod(told));
    await channel.stock.read([mug], calling());
    expect((await faultOf(write(channel, 5))).code).toBe('connector.outcome_unknown');
    expect(patches(server)).toHaveLength(1);
  });

  test('a lease that ends while the answer is awaited leaves the outcome unknown', async () => {
    const { channel } = await amazonAt(byMethod('hang'));
    await channel.stock.read([mug], calling());
    const rows = [{ ref: mug, value: 5, from: null }];
    expect((await faultOf(channel.stock.write(rows, 'k', calling('urgent', AbortSignal.timeout(200))))).code).toBe(
      'connector.outcome_unknown',
    );
  });

  test('a 429 says how long to wait although Amazon does not', async () => {
    const { server, channel } = await amazonAt(byMethod({ status: 429, body: fixture('error-quota') }));
    await channel.stock.read([mug], calling());
    const fault = await faultOf(write(channel, 5));
    expect([fault.code, fault.retryAfterMs]).toEqual(['connector.rate_limited', 2000]);
    expect(patches(server)).toHaveLength(1);
  });

  test('a SKU in another of our marketplaces is written through that one', async () => {
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-accepted') }), {
      marketplaceIds: ['A2EUQ1WTGCTBG2', 'ATVPDKIKX0DER'],
    });
    await write(channel, 5);
    expect(server.asked[0]?.query.get('marketplaceIds')).toBe('A2EUQ1WTGCTBG2,ATVPDKIKX0DER');
    expect(server.asked[1]?.query.get('marketplaceIds')).toBe('ATVPDKIKX0DER');
  });

  test('two rows in one call, and a negative number, are our mistake', async () => {
    const { server, channel } = await amazonAt(byMethod({ body: fixture('submission-accepted') }));
    const row = { ref: mug, value: 1, from: null };
    await expect(channel.stock.write([row, row], 'k', calling('bulk'))).rejects.toMatchObject({ code: 'assertion' });
    await expect(write(channel, -1)).rejects.toMatchObject({ code: 'assertion' });
    expect(server.asked).toEqual([]);
  });
});
