import { afterEach, describe, expect, test } from 'vitest';
import type { CatalogPort, ChannelListing } from '../kit/ports.ts';
import { type Asked, calling, fixture, openAmazon, type Told, VENDOR_AT, vendorServer } from './amazon.testing.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function amazonAt(answer: (asked: Asked, nth: number) => Told, settings?: Record<string, unknown>) {
  const server = await vendorServer(answer);
  const { channel, close } = openAmazon(server.url, settings);
  open.push({ close }, server);
  return { server, channel };
}

async function walk(catalog: CatalogPort): Promise<ChannelListing[]> {
  const all: ChannelListing[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < 500; page += 1) {
    const next: Awaited<ReturnType<CatalogPort['list']>> = await catalog.list(cursor, calling());
    all.push(...next.listings);
    if (next.cursor === null) return all;
    cursor = next.cursor;
  }
  throw new Error('the walk does not end');
}

/** `count` listings, `perInstant` of them created in the same second; paging shows at most 1,000 per search. */
function seller(count: number, perInstant: number): (asked: Asked) => Told {
  const start = Date.UTC(2026, 0, 1);
  const items = Array.from({ length: count }, (_, n) => {
    const createdDate = new Date(start + Math.floor(n / perInstant) * 1000).toISOString();
    return {
      ...fixture('item-merchant'),
      sku: `S${n}`,
      summaries: [{ marketplaceId: 'ATVPDKIKX0DER', asin: `B${n}`, createdDate }],
    };
  });
  return (asked) => {
    const after = Date.parse(asked.query.get('createdAfter') ?? '1970-01-01T00:00:00Z');
    const found = items.filter((one) => Date.parse(one.summaries[0]?.createdDate ?? '') >= after);
    const from = Number(asked.query.get('pageToken') ?? 0);
    const to = from + Number(asked.query.get('pageSize'));
    const more = to < Math.min(found.length, 1000) ? { pagination: { nextToken: String(to) } } : {};
    return { body: { numberOfResults: found.length, items: found.slice(from, to), ...more } };
  };
}

describe('a page of Amazon listings kept', () => {
  test('is made again of its answers, warehouse units included, and what changed since is asked for by its time', async () => {
    const { server, channel } = await amazonAt((asked) => ({
      body: asked.path.startsWith('/fba') ? fixture('fba-summaries') : fixture('listings-page'),
    }));
    const page = await channel.catalog.list(null, { ...calling(), changedSince: VENDOR_AT });
    expect(server.asked[0]?.query.get('lastUpdatedAfter')).toBe('2026-11-21T08:10:00.000Z');
    expect(page.raw.map(({ operation }) => operation)).toEqual(['searchListingsItems', 'getInventorySummaries']);
    const asked = server.asked.length + server.tokensAsked.length;
    expect(await channel.catalog.replay(null, page.raw)).toEqual(page);
    expect(server.asked.length + server.tokensAsked.length).toBe(asked);
    expect(JSON.stringify(page.raw)).not.toContain('Atza|');
  });
});

describe('the Amazon catalogue', () => {
  test('a page names each listing, its channels and their numbers, warehouse units included', async () => {
    const { server, channel } = await amazonAt((asked) => ({
      body: asked.path.startsWith('/fba') ? fixture('fba-summaries') : fixture('listings-page'),
    }));
    const { listings, cursor } = await channel.catalog.list(null, calling());
    expect(
      listings.map(({ stockKey, externalId, fulfilledBy, levels }) => ({ stockKey, externalId, fulfilledBy, levels })),
    ).toEqual([
      {
        stockKey: 'MUG-BLUE-11',
        externalId: 'B0SIM00001',
        fulfilledBy: 'us',
        levels: [{ channelLocation: 'DEFAULT', value: 7, vendorAt: VENDOR_AT }],
      },
      {
        stockKey: 'LAMP-FBA',
        externalId: 'B0SIM00002',
        fulfilledBy: 'channel',
        levels: [{ channelLocation: 'AMAZON_NA', value: 40, vendorAt: VENDOR_AT }],
      },
    ]);
    expect(cursor).not.toBeNull();
    expect(Object.fromEntries(server.asked[0]?.query ?? [])).toEqual({
      marketplaceIds: 'ATVPDKIKX0DER',
      includedData: 'summaries,fulfillmentAvailability',
      sortBy: 'createdDate',
      sortOrder: 'ASC',
      pageSize: '20',
    });
  });

  test('what the catalogue has shown needs no reading before it is written', async () => {
    const { server, channel } = await amazonAt((asked) => ({
      body: fixture(
        asked.method === 'PATCH'
          ? 'submission-accepted'
          : asked.path.startsWith('/fba')
            ? 'fba-summaries'
            : 'listings-page',
      ),
    }));
    await channel.catalog.list(null, calling());
    const before = server.asked.length;
    const write = (stockKey: string) =>
      channel.stock.write(
        [{ ref: { stockKey, channelLocation: 'DEFAULT' }, value: 1, from: null }],
        'k',
        calling('urgent'),
      );
    expect(await write('LAMP-FBA')).toMatchObject([{ kind: 'rejected', code: 'fulfilled_by_amazon' }]);
    expect(await write('MUG-BLUE-11')).toMatchObject([{ kind: 'accepted' }]);
    expect(server.asked.slice(before).map((asked) => asked.method)).toEqual(['PATCH']);
  });

  test('more listings than paging reaches are walked by creation date, none left out', async () => {
    const { channel } = await amazonAt(seller(2300, 7));
    const skus = new Set((await walk(channel.catalog)).map((listing) => listing.stockKey));
    expect(skus.size).toBe(2300);
  });

  test('more than 1,000 listings of one instant are an error, not a short catalogue', async () => {
    const { channel } = await amazonAt(seller(1500, 1500));
    await expect(walk(channel.catalog)).rejects.toMatchObject({ code: 'connector.rejected' });
  });

  test('the channel locations are the merchant number and the warehouse of the region', async () => {
    const { channel } = await amazonAt(() => ({}), { region: 'eu' });
    expect(await channel.catalog.locations(calling())).toEqual([
      { channelLocation: 'DEFAULT', name: 'Fulfilled by merchant', active: true },
      { channelLocation: 'AMAZON_EU', name: 'Fulfilled by Amazon', active: true },
    ]);
  });

  test('testing the connection is one small authorised read', async () => {
    const { server, channel } = await amazonAt(() => ({ body: { numberOfResults: 0, items: [] } }));
    await channel.test(calling());
    expect(server.asked.map((asked) => asked.query.get('pageSize'))).toEqual(['1']);
  });
});
