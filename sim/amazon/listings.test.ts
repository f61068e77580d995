import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Account,
  CATALOG,
  listing,
  ODD_SKU,
  SELLER,
  type Submission,
  startAccount,
  stockPatch,
} from './account.testing.ts';

const merge = (quantity: unknown, more: Record<string, unknown> = {}) =>
  stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity, ...more }]);

describe('the stock write', () => {
  let account: Account;
  beforeEach(async () => {
    account = await startAccount();
  });
  afterEach(() => account.close());

  const attributes = async (sku: string) =>
    (
      await account.call<{ attributes: { fulfillment_availability: unknown } }>(
        'GET',
        listing(sku, '&includedData=attributes'),
      )
    ).body.attributes.fulfillment_availability;
  const patch = (sku: string, body: unknown, query = '') =>
    account.call<Submission>('PATCH', listing(sku, query), body);

  test('an accepted quantity is shown and is what buyers can take', async () => {
    const reply = await account.write('MUG', 7);
    expect(reply.status).toBe(200);
    expect(reply.body).toMatchObject({ sku: 'MUG', status: 'ACCEPTED', issues: [] });
    expect(await account.shown('MUG')).toBe(7);
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 0 });
    expect(await account.shown('PLATE')).toBe(5);
  });

  test('merge keeps the handling time, replace wipes it', async () => {
    await patch('MUG', merge(8, { lead_time_to_ship_max_days: 4 }));
    await patch('MUG', merge(7));
    expect(await attributes('MUG')).toEqual([
      { fulfillment_channel_code: 'DEFAULT', quantity: 7, lead_time_to_ship_max_days: 4 },
    ]);
    await patch('MUG', stockPatch('replace', [{ fulfillment_channel_code: 'DEFAULT', quantity: 6 }]));
    expect(await attributes('MUG')).toEqual([{ fulfillment_channel_code: 'DEFAULT', quantity: 6 }]);
  });

  test('entries of other channels stay; delete removes the entry named', async () => {
    await patch('MUG', stockPatch('replace', [{ fulfillment_channel_code: 'AMAZON_NA' }]));
    expect(await attributes('MUG')).toEqual([
      { fulfillment_channel_code: 'DEFAULT', quantity: 10 },
      { fulfillment_channel_code: 'AMAZON_NA' },
    ]);
    await patch('MUG', stockPatch('delete', [{ fulfillment_channel_code: 'AMAZON_NA' }]));
    expect(await attributes('MUG')).toEqual([{ fulfillment_channel_code: 'DEFAULT', quantity: 10 }]);
  });

  test.each([
    ['camelCase fields', stockPatch('merge', [{ fulfillmentChannelCode: 'DEFAULT', quantity: 7 }]), '90000900'],
    [
      'a camelCase attribute',
      {
        productType: 'PRODUCT',
        patches: [{ op: 'merge', path: '/attributes/fulfillmentAvailability', value: [{ quantity: 7 }] }],
      },
      '90000900',
    ],
    ['no channel code', stockPatch('merge', [{ quantity: 7 }]), '90220'],
    ['an empty channel code', stockPatch('merge', [{ fulfillment_channel_code: '', quantity: 7 }]), '90220'],
    [
      'a handling time without quantity',
      stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', lead_time_to_ship_max_days: 3 }]),
      '90220',
    ],
    ['a handling time above 30 days', merge(7, { lead_time_to_ship_max_days: 31 }), '90000900'],
    ['a negative quantity', merge(-1), '90000900'],
    ['a fraction', merge(1.5), '90000900'],
    [
      'another product type',
      stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: 7 }], 'SHIRT'),
      '4000003',
    ],
  ])('%s: answered 200 with status INVALID, and nothing changes', async (_, body, code) => {
    const reply = await patch('MUG', body);
    expect(reply.status).toBe(200);
    expect(reply.body.status).toBe('INVALID');
    expect(reply.body.issues).toMatchObject([{ code, severity: 'ERROR' }]);
    expect(await account.shown('MUG')).toBe(10);
  });

  test.each([
    ['patches as an object', { productType: 'PRODUCT', patches: {} }],
    ['no patches', { productType: 'PRODUCT', patches: [] }],
    ['no product type', { patches: merge(7).patches }],
    ['an unknown op', stockPatch('increment', [{ fulfillment_channel_code: 'DEFAULT', quantity: 7 }])],
    ['a value that is no array', stockPatch('merge', { fulfillment_channel_code: 'DEFAULT', quantity: 7 })],
    ['no JSON', '{'],
  ])('%s: 400 InvalidInput', async (_, body) => {
    const reply = await patch('MUG', body);
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ errors: [{ code: 'InvalidInput' }] });
    expect(await account.shown('MUG')).toBe(10);
  });

  test('the own product type is taken as well as the generic one', async () => {
    const own = stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: 4 }], 'DRINKING_CUP');
    expect((await patch('MUG', own)).body.status).toBe('ACCEPTED');
    expect(await account.shown('MUG')).toBe(4);
  });

  test('a preview answers VALID with the ASIN and stores nothing', async () => {
    const reply = await patch('MUG', merge(1), '&mode=VALIDATION_PREVIEW&includedData=identifiers,issues');
    expect(reply.body).toMatchObject({ status: 'VALID', identifiers: [{ asin: 'B0SIM00001' }] });
    expect((await patch('MUG', merge(-1), '&mode=VALIDATION_PREVIEW')).body.status).toBe('INVALID');
    expect(await account.shown('MUG')).toBe(10);
  });

  test('an unknown SKU is ACCEPTED without effect, and reading it is 404', async () => {
    const before = await account.control<{ items: unknown[] }>('GET', '/state');
    expect((await account.write('NO-SUCH', 7)).body.status).toBe('ACCEPTED');
    const after = await account.control<{ items: unknown[] }>('GET', '/state');
    expect(after.body.items).toEqual(before.body.items);
    const read = await account.call('GET', listing('NO-SUCH'));
    expect(read.status).toBe(404);
    expect(read.body).toMatchObject({ errors: [{ code: 'NotFound' }] });
  });

  test('a quantity for an FBA offer flips it to the merchant and strands the FBA units', async () => {
    expect(await account.item('LAMP-FBA')).toEqual({ quantity: 40, committed: 0 });
    await account.write('LAMP-FBA', 2);
    expect(await account.item('LAMP-FBA')).toEqual({ quantity: 2, committed: 0 });
    expect(await attributes('LAMP-FBA')).toEqual([
      { fulfillment_channel_code: 'AMAZON_NA' },
      { fulfillment_channel_code: 'DEFAULT', quantity: 2 },
    ]);
  });

  test('a SKU with every awkward character is one encoded segment; a raw slash is 403, not 404', async () => {
    expect((await account.write(ODD_SKU, 2)).body).toMatchObject({ sku: ODD_SKU, status: 'ACCEPTED' });
    expect(await account.shown(ODD_SKU)).toBe(2);
    const raw = await account.call('GET', listing('x').replace('/x?', '/A/B?'));
    expect(raw.status).toBe(403);
    expect(raw.body).toMatchObject({
      errors: [{ code: 'Unauthorized', message: 'Access to requested resource is denied.' }],
    });
    expect((await account.call('GET', listing('x').replace('/x?', '/%zz?'))).status).toBe(400);
  });

  test('another seller id, a marketplace that is not ours and no marketplace are refused', async () => {
    expect((await account.call('GET', listing('MUG').replace(SELLER, 'A2OTHER'))).status).toBe(403);
    expect((await account.call('GET', listing('MUG').replace('ATVPDKIKX0DER', 'A1F83G8C2ARO7P'))).status).toBe(400);
    expect((await account.call('GET', listing('MUG').split('?')[0] ?? '')).status).toBe(400);
  });

  test('a planted half_batch on the write accepts it and never applies it', async () => {
    await account.control('POST', '/faults', {
      kind: 'half_batch',
      match: { operation: 'patchListingsItem' },
      times: 1,
    });
    expect((await account.write('MUG', 1)).body.status).toBe('ACCEPTED');
    expect(await account.shown('MUG')).toBe(10);
    await account.write('MUG', 1);
    expect(await account.shown('MUG')).toBe(1);
  });
});

describe('the settle time of the vendor profile', () => {
  test('an accepted write shows after 120 s, over a sale made in between', async () => {
    const account = await startAccount({ profile: 'vendor' });
    await account.write('MUG', 8);
    await account.advance(60_000);
    await account.control('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 1 }] });
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 1 });
    await account.advance(60_000);
    expect(await account.item('MUG')).toEqual({ quantity: 8, committed: 1 });
    expect(await account.shown('MUG')).toBe(8);
    await account.close();
  });
});

describe('searching listings', () => {
  const many = Array.from({ length: 1_005 }, (_, index) => ({
    sku: `SKU-${String(index).padStart(4, '0')}`,
    asin: `B0${String(index).padStart(8, '0')}`,
    title: `Thing ${index}`,
    quantity: index % 2,
    fulfillment: 'MFN' as const,
  }));
  let account: Account;
  beforeEach(async () => {
    account = await startAccount({ catalog: many });
  });
  afterEach(() => account.close());

  interface Page {
    numberOfResults: number;
    pagination: { nextToken?: string; previousToken?: string };
    items: { sku: string; summaries?: unknown; fulfillmentAvailability?: unknown }[];
  }
  const search = (query: string) =>
    account.call<Page>('GET', `/listings/2021-08-01/items/${SELLER}?marketplaceIds=ATVPDKIKX0DER${query}`);

  test('pages of at most 20 reach the first 1,000 of all, each once', async () => {
    const seen: string[] = [];
    let token: string | undefined = '';
    while (token !== undefined) {
      const { body }: { body: Page } = await search(
        `&pageSize=20&sortBy=sku&sortOrder=ASC&includedData=fulfillmentAvailability${token === '' ? '' : `&pageToken=${token}`}`,
      );
      expect(body.numberOfResults).toBe(1_005);
      seen.push(...body.items.map((one) => one.sku));
      token = body.pagination.nextToken;
    }
    expect(seen).toEqual(many.slice(0, 1_000).map((one) => one.sku));
    expect((await search('&pageSize=21')).status).toBe(400);
    expect((await search('&pageToken=nonsense')).status).toBe(400);
  });

  test('identifiers find SKUs and ASINs; they need their type and are 20 at most', async () => {
    const bySku = await search('&identifiersType=SKU&identifiers=SKU-0003,SKU-0001,NONE&sortBy=sku&sortOrder=ASC');
    expect(bySku.body.items.map((one) => one.sku)).toEqual(['SKU-0001', 'SKU-0003']);
    const byAsin = await search('&identifiersType=ASIN&identifiers=B000000007');
    expect(byAsin.body.items.map((one) => one.sku)).toEqual(['SKU-0007']);
    expect((await search('&identifiers=SKU-0001')).status).toBe(400);
    const all = many.slice(0, 21).map((one) => one.sku);
    expect((await search(`&identifiersType=SKU&identifiers=${all.join(',')}`)).status).toBe(400);
  });

  test('status follows the quantity', async () => {
    expect((await search('&withStatus=BUYABLE')).body.numberOfResults).toBe(502);
    expect((await search('&withoutStatus=BUYABLE')).body.numberOfResults).toBe(503);
    await account.write('SKU-0000', 3);
    expect((await search('&withStatus=BUYABLE')).body.numberOfResults).toBe(503);
    expect((await search('')).body.items[0]?.sku).toBe('SKU-0000');
  });
});

describe('FBA inventory and marketplaces', () => {
  interface Summaries {
    pagination?: { nextToken?: string };
    payload: {
      inventorySummaries: {
        sellerSku: string;
        totalQuantity: number;
        inventoryDetails?: { fulfillableQuantity: number };
      }[];
    };
  }
  const path =
    '/fba/inventory/v1/summaries?granularityType=Marketplace&granularityId=ATVPDKIKX0DER&marketplaceIds=ATVPDKIKX0DER';

  test('only FBA offers are listed, 50 to a page, and a token dies after 30 s', async () => {
    const lamps = Array.from({ length: 60 }, (_, index) => ({
      sku: `L${index}`,
      asin: `B0${index}`,
      title: 'Lamp',
      quantity: index,
      fulfillment: 'AFN' as const,
    }));
    const account = await startAccount({ catalog: [...CATALOG.slice(0, 1), ...lamps] });
    const first = await account.call<Summaries>('GET', `${path}&details=true`);
    expect(first.body.payload.inventorySummaries).toHaveLength(50);
    expect(first.body.payload.inventorySummaries[7]).toMatchObject({
      sellerSku: 'L7',
      totalQuantity: 7,
      inventoryDetails: { fulfillableQuantity: 7 },
    });
    const token = first.body.pagination?.nextToken;
    const second = await account.call<Summaries>('GET', `${path}&nextToken=${token}`);
    expect(second.body.payload.inventorySummaries.map((one) => one.sellerSku)).toEqual(
      lamps.slice(50).map((one) => one.sku),
    );
    expect(second.body.payload.inventorySummaries[0]?.inventoryDetails).toBeUndefined();
    await account.advance(31_000);
    expect((await account.call('GET', `${path}&nextToken=${token}`)).status).toBe(400);
    const one = await account.call<Summaries>('GET', `${path}&sellerSkus=L3,L4`);
    expect(one.body.payload.inventorySummaries.map((summary) => summary.sellerSku)).toEqual(['L3', 'L4']);
    await account.close();
  });

  test('the seller takes part in one marketplace', async () => {
    const account = await startAccount();
    const { body } = await account.call('GET', '/sellers/v1/marketplaceParticipations');
    expect(body).toMatchObject({
      payload: [{ marketplace: { id: 'ATVPDKIKX0DER' }, participation: { isParticipating: true } }],
    });
    await account.close();
  });
});
