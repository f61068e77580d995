import { afterEach, describe, expect, test } from 'vitest';
import {
  type Asked,
  calling,
  fixture,
  openAmazon,
  realClock,
  type Told,
  VENDOR_AT,
  vendorServer,
} from './amazon.testing.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function amazonAt(answer: (asked: Asked, nth: number) => Told, settings?: Record<string, unknown>) {
  const server = await vendorServer(answer);
  const { channel, close } = openAmazon(server.url, settings, { ...realClock, now: () => VENDOR_AT });
  open.push({ close }, server);
  return { server, channel };
}

const MINUTE = 60_000;
const SINCE = Date.UTC(2026, 10, 21, 7, 0, 0);
const without = (name: string, field: string) => {
  const { [field]: _, ...rest } = fixture(name);
  return rest;
};

describe('the Amazon order sweep', () => {
  test('asks by last update, without an upper bound, for what stock needs and no personal data', async () => {
    const { server, channel } = await amazonAt(() => ({ body: fixture('orders-page-2') }));
    await channel.orders.changedSince(SINCE, null, calling());
    expect(server.asked).toHaveLength(1);
    expect(server.asked[0]).toMatchObject({ method: 'GET', path: '/orders/2026-01-01/orders' });
    expect(Object.fromEntries(server.asked[0]?.query ?? [])).toEqual({
      lastUpdatedAfter: '2026-11-21T07:00:00.000Z',
      maxResultsPerPage: '100',
      includedData: 'FULFILLMENT,CANCELLATION,PROCEEDS',
    });
  });

  test('pages to the end, and every page is good for the time the first one was', async () => {
    const { server, channel } = await amazonAt((asked) =>
      asked.query.get('paginationToken') === null
        ? { body: fixture('orders-page-1') }
        : { body: without('orders-page-2', 'lastUpdatedBefore'), date: 'Sat, 21 Nov 2026 08:15:00 GMT' },
    );
    const first = await channel.orders.changedSince(SINCE, null, calling());
    expect(first.cursor).not.toBeNull();
    const second = await channel.orders.changedSince(SINCE, first.cursor, calling());
    expect(second.cursor).toBeNull();
    expect(server.asked[1]?.query.get('paginationToken')).toBe('PAGE-2');
    expect(server.asked[1]?.query.get('lastUpdatedAfter')).toBe('2026-11-21T07:00:00.000Z');
    expect([first.vendorAt, second.vendorAt]).toEqual([VENDOR_AT, VENDOR_AT]);
    expect([...first.orders, ...second.orders].map((order) => order.externalId)).toEqual([
      '902-1000000-0000004',
      '902-1000000-0000001',
      '902-1000000-0000005',
    ]);
  });

  test("units that Amazon ships for another shop's order are no sale of Amazon's", async () => {
    const { channel } = await amazonAt(() => ({ body: fixture('orders-page-1') }));
    const page = await channel.orders.changedSince(SINCE, null, calling());
    expect(page.orders.map((order) => order.externalId)).not.toContain('S01-1000000-0000003');
    expect(page.orders).toHaveLength(2);
  });

  test('a page that is complete only up to an earlier time says so, after the lag is subtracted', async () => {
    const lagging = { ...fixture('orders-page-2'), lastUpdatedBefore: '2026-11-21T08:00:00Z' };
    const { channel } = await amazonAt(() => ({ body: lagging }));
    const page = await channel.orders.changedSince(SINCE, null, calling());
    expect(page.vendorAt - 2 * MINUTE).toBe(Date.UTC(2026, 10, 21, 8, 0, 0));
  });

  test('with a shorter lag in the settings the bound stays what Amazon said, never later than its answer', async () => {
    const { channel } = await amazonAt(() => ({ body: fixture('orders-page-2') }), { orderLagMs: 2000 });
    const page = await channel.orders.changedSince(SINCE, null, calling());
    expect(page.vendorAt - 2000).toBe(Date.UTC(2026, 10, 21, 8, 8, 0));
  });

  test('asks for no more history than Amazon keeps', async () => {
    const { server, channel } = await amazonAt(() => ({ body: { orders: [] } }));
    expect(await channel.orders.changedSince(0, null, calling())).toEqual({
      orders: [],
      cursor: null,
      vendorAt: VENDOR_AT,
      total: null,
    });
    expect(server.asked[0]?.query.get('lastUpdatedAfter')).toBe('2024-11-22T08:10:00.000Z');
  });

  test('a cursor of something else is refused before anything is sent', async () => {
    const { server, channel } = await amazonAt(() => ({ body: { orders: [] } }));
    await expect(channel.orders.changedSince(SINCE, 'PAGE-2', calling())).rejects.toMatchObject({
      code: 'connector.rejected',
    });
    expect(server.asked).toEqual([]);
  });

  test('a 429 on the scarcest call says to wait three minutes', async () => {
    const { channel } = await amazonAt(() => ({ status: 429, body: fixture('error-quota') }));
    await expect(channel.orders.changedSince(SINCE, null, calling())).rejects.toMatchObject({
      code: 'connector.rate_limited',
      retryAfterMs: 178_572,
    });
  });
});

describe('one Amazon order', () => {
  test('is read with the same data sets', async () => {
    const { server, channel } = await amazonAt(() => ({ body: fixture('order-unshipped') }));
    expect(await channel.orders.get('902-1000000-0000001', calling())).toMatchObject({
      state: 'open',
      updatedAt: Date.UTC(2026, 10, 21, 8, 5),
    });
    expect(server.asked[0]?.path).toBe('/orders/2026-01-01/orders/902-1000000-0000001');
    expect(server.asked[0]?.query.get('includedData')).toBe('FULFILLMENT,CANCELLATION,PROCEEDS');
  });

  test('is null when it is unknown or not visible yet', async () => {
    const { channel } = await amazonAt(() => ({ status: 404, body: fixture('error-not-found') }));
    expect(await channel.orders.get('902-1000000-0000009', calling())).toBeNull();
  });

  test('is a fault when the call itself is refused', async () => {
    const { channel } = await amazonAt(() => ({ status: 400, body: fixture('error-invalid-input') }));
    await expect(channel.orders.get('x', calling())).rejects.toMatchObject({ code: 'connector.rejected' });
  });
});
