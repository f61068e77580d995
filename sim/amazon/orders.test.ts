import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Account, listing, startAccount } from './account.testing.ts';

interface Line {
  id: string;
  sku: string;
  quantity: number;
}
interface Item {
  orderItemId: string;
  quantityOrdered: number;
  fulfillment?: { quantityFulfilled: number; quantityUnfulfilled: number };
}
interface Order {
  orderId: string;
  lastUpdatedTime: string;
  fulfillment?: { fulfillmentStatus: string; fulfilledBy: string };
  orderItems: Item[];
  packages?: { packageReferenceId: string; packageItems: { orderItemId: string; quantity: number }[] }[];
}
interface Found {
  orders: Order[];
  pagination?: { nextToken: string };
  lastUpdatedBefore?: string;
}

const PATH = '/orders/2026-01-01/orders';
let account: Account;
const start = async (profile: 'open' | 'vendor' = 'open') => {
  account = await startAccount({ profile });
};
afterEach(() => account.close());

const place = async (sku: string, quantity: number, more: Record<string, unknown> = {}) => {
  const reply = await account.control<{ id: string; lines: Line[] }>('POST', '/orders', {
    lines: [{ sku, quantity }],
    ...more,
  });
  expect(reply.status).toBe(201);
  return { id: reply.body.id, line: reply.body.lines[0]?.id ?? '' };
};
const act = (kind: string, body: Record<string, unknown>) =>
  account.control<{ status: string; lines: Line[]; error: string }>('POST', `/${kind}`, body);
const get = async (id: string) =>
  (await account.call<{ order: Order }>('GET', `${PATH}/${id}?includedData=FULFILLMENT,PACKAGES,CANCELLATION`)).body
    .order;
const facts = async (id: string) => {
  const { fulfillment, orderItems } = await get(id);
  const item = orderItems[0];
  return [
    fulfillment?.fulfillmentStatus,
    item?.quantityOrdered,
    item?.fulfillment?.quantityFulfilled,
    item?.fulfillment?.quantityUnfulfilled,
  ];
};
const since = (iso: string, query = '') =>
  account.call<Found>('GET', `${PATH}?lastUpdatedAfter=${encodeURIComponent(iso)}&includedData=FULFILLMENT${query}`);
const LONG_AGO = '2020-01-01T00:00:00Z';

describe('the life of an order', () => {
  beforeEach(() => start());

  test('a pending order has already taken its units; payment makes it UNSHIPPED and moves nothing', async () => {
    const { id } = await place('MUG', 3, { status: 'pending' });
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 3 });
    expect(await facts(id)).toEqual(['PENDING', 3, 0, 3]);
    expect((await act('payments', { order: id })).body.status).toBe('UNSHIPPED');
    expect(await facts(id)).toEqual(['UNSHIPPED', 3, 0, 3]);
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 3 });
    expect((await act('payments', { order: id })).status).toBe(409);
  });

  test('shipping part, then the rest: the offer does not move, committed falls', async () => {
    const { id, line } = await place('MUG', 3);
    await act('fulfillments', { order: id, lines: [{ id: line, quantity: 1 }] });
    expect(await facts(id)).toEqual(['PARTIALLY_SHIPPED', 3, 1, 2]);
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 2 });
    await act('fulfillments', { order: id });
    expect(await facts(id)).toEqual(['SHIPPED', 3, 3, 0]);
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 0 });
    expect((await get(id)).packages?.map((one) => one.packageReferenceId)).toEqual(['1', '2']);
    expect((await act('fulfillments', { order: id })).status).toBe(409);
    expect((await act('cancellations', { order: id, restock: true })).status).toBe(409);
  });

  test('a pending order cannot be shipped', async () => {
    const { id } = await place('MUG', 1, { status: 'pending' });
    expect((await act('fulfillments', { order: id })).status).toBe(409);
    expect(await facts(id)).toEqual(['PENDING', 1, 0, 1]);
  });

  test.each([
    [true, 10],
    [false, 7],
  ])('a cancelled order with restock %s leaves the offer at %i', async (restock, quantity) => {
    const { id } = await place('MUG', 3, { status: 'pending' });
    await act('cancellations', { order: id, restock });
    expect(await account.item('MUG')).toEqual({ quantity, committed: 0 });
    expect(await facts(id)).toEqual(['CANCELLED', 0, 0, 0]);
  });

  test('cancelling what is left of a partly shipped order makes it SHIPPED', async () => {
    const { id, line } = await place('MUG', 3);
    await act('fulfillments', { order: id, lines: [{ id: line, quantity: 1 }] });
    await act('cancellations', { order: id, restock: true });
    expect(await facts(id)).toEqual(['SHIPPED', 1, 1, 0]);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 0 });
  });

  test('part of a line can be cancelled, but not more than is open', async () => {
    const { id } = await place('MUG', 3);
    await act('cancellations', { order: id, restock: true, lines: [{ sku: 'MUG', quantity: 2 }] });
    expect(await facts(id)).toEqual(['UNSHIPPED', 1, 0, 1]);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 1 });
    expect(
      (await act('cancellations', { order: id, restock: true, lines: [{ sku: 'MUG', quantity: 2 }] })).status,
    ).toBe(409);
  });

  test('an edit lowers a line and gives its units back; one that adds is refused', async () => {
    const { id } = await place('MUG', 3);
    const raised = await act('edits', { order: id, lines: [{ sku: 'MUG', quantity: 4 }] });
    expect(raised.status).toBe(422);
    expect(raised.body.error).toBe('Amazon has no edit that adds units to an order');
    expect(await account.item('MUG')).toEqual({ quantity: 7, committed: 3 });
    await act('edits', { order: id, lines: [{ sku: 'MUG', quantity: 1 }] });
    expect(await facts(id)).toEqual(['UNSHIPPED', 1, 0, 1]);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 1 });
  });

  test('beyond its own number an order is refused, unless oversold: then the number stops at 0', async () => {
    const refused = await account.control('POST', '/orders', { lines: [{ sku: 'PLATE', quantity: 6 }] });
    expect(refused.status).toBe(409);
    expect(await account.item('PLATE')).toEqual({ quantity: 5, committed: 0 });
    const { id } = await place('PLATE', 7, { oversell: true });
    expect(await account.item('PLATE')).toEqual({ quantity: 0, committed: 7 });
    await act('cancellations', { order: id, restock: true, lines: [{ sku: 'PLATE', quantity: 2 }] });
    expect(await account.item('PLATE')).toEqual({ quantity: 0, committed: 5 });
    await act('cancellations', { order: id, restock: true });
    expect(await account.item('PLATE')).toEqual({ quantity: 5, committed: 0 });
  });

  test('two lines of one SKU share its number', async () => {
    const both = {
      lines: [
        { sku: 'PLATE', quantity: 3 },
        { sku: 'PLATE', quantity: 3 },
      ],
    };
    expect((await account.control('POST', '/orders', both)).status).toBe(409);
    expect(await account.item('PLATE')).toEqual({ quantity: 5, committed: 0 });
  });

  test('FBM goods that come back do not raise the number, and no more than was shipped comes back', async () => {
    const { id } = await place('MUG', 2);
    const line = { sku: 'MUG', quantity: 1, disposition: 'SELLABLE' };
    expect((await act('returns', { order: id, lines: [line], restock: true })).status).toBe(409);
    await act('fulfillments', { order: id });
    expect((await act('returns', { order: id, lines: [line], restock: true })).status).toBe(200);
    expect((await act('returns', { order: id, lines: [{ ...line, quantity: 2 }], restock: true })).status).toBe(409);
    expect(await account.item('MUG')).toEqual({ quantity: 8, committed: 0 });
  });

  test('FBA orders live off the FBA buckets; returns go where their disposition says', async () => {
    const { id } = await place('LAMP-FBA', 4);
    expect(await account.item('LAMP-FBA')).toEqual({ quantity: 36, committed: 4 });
    expect((await get(id)).fulfillment?.fulfilledBy).toBe('AMAZON');
    const details = async () => {
      const path =
        '/fba/inventory/v1/summaries?granularityType=Marketplace&granularityId=ATVPDKIKX0DER&marketplaceIds=ATVPDKIKX0DER&details=true';
      type Summaries = {
        payload: { inventorySummaries: { totalQuantity: number; inventoryDetails: Record<string, unknown> }[] };
      };
      return (await account.call<Summaries>('GET', path)).body.payload.inventorySummaries[0];
    };
    expect(await details()).toMatchObject({
      totalQuantity: 40,
      inventoryDetails: { fulfillableQuantity: 36, reservedQuantity: { pendingCustomerOrderQuantity: 4 } },
    });
    await act('fulfillments', { order: id });
    const lines = ['SELLABLE', 'CUSTOMER_DAMAGED', 'DAMAGED'].map((disposition) => ({
      sku: 'LAMP-FBA',
      quantity: 1,
      disposition,
    }));
    await act('returns', { order: id, lines, restock: true });
    expect(await details()).toMatchObject({
      totalQuantity: 38,
      inventoryDetails: {
        fulfillableQuantity: 37,
        reservedQuantity: { pendingCustomerOrderQuantity: 0 },
        unfulfillableQuantity: { totalUnfulfillableQuantity: 1, customerDamagedQuantity: 1 },
      },
    });
  });

  test('merchant and FBA goods cannot be one order; unknown SKUs and repeated ids are refused', async () => {
    const mixed = {
      lines: [
        { sku: 'MUG', quantity: 1 },
        { sku: 'LAMP-FBA', quantity: 1 },
      ],
    };
    expect((await account.control('POST', '/orders', mixed)).status).toBe(422);
    expect((await account.control('POST', '/orders', { lines: [{ sku: 'NONE', quantity: 1 }] })).status).toBe(404);
    await place('MUG', 1, { id: '902-1-1' });
    expect(
      (await account.control('POST', '/orders', { id: '902-1-1', lines: [{ sku: 'MUG', quantity: 1 }] })).status,
    ).toBe(409);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 1 });
    expect(await account.item('LAMP-FBA')).toEqual({ quantity: 40, committed: 0 });
  });

  test('reset brings the goods back and forgets the orders', async () => {
    const { id } = await place('MUG', 3);
    await account.control('POST', '/stock', { sku: 'PLATE', quantity: 99 });
    await account.control('POST', '/reset', {});
    expect(await account.item('MUG')).toEqual({ quantity: 10, committed: 0 });
    expect(await account.item('PLATE')).toEqual({ quantity: 5, committed: 0 });
    expect((await account.call('GET', `${PATH}/${id}`)).status).toBe(404);
  });
});

describe('reading orders', () => {
  test('the status is only there when FULFILLMENT is asked for', async () => {
    await start();
    const { id } = await place('MUG', 1);
    const { body } = await account.call<{ order: Order }>('GET', `${PATH}/${id}`);
    expect(body.order.fulfillment).toBeUndefined();
    expect(body.order.orderItems[0]?.quantityOrdered).toBe(1);
    expect((await account.call('GET', `${PATH}/${id}?includedData=EVERYTHING`)).status).toBe(400);
  });

  test('pages come in order of time, each order once, and the token remembers the search', async () => {
    await start();
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.push((await place('MUG', 1)).id);
    const seen: string[] = [];
    let query = '&maxResultsPerPage=2';
    for (;;) {
      const { body } = await since(LONG_AGO, query);
      seen.push(...body.orders.map((one) => one.orderId));
      expect(body.lastUpdatedBefore).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      if (body.pagination === undefined) break;
      query = `&maxResultsPerPage=2&paginationToken=${body.pagination.nextToken}`;
    }
    expect(seen).toEqual(ids);
    await account.advance(25 * 3_600_000);
    account.forgetTokens();
    expect((await since(LONG_AGO, query)).status).toBe(400);
  });

  test('filters: exactly one start, statuses, who ships', async () => {
    await start();
    await place('MUG', 1, { status: 'pending' });
    const { id } = await place('LAMP-FBA', 1);
    expect((await since(LONG_AGO, '&fulfilledBy=AMAZON')).body.orders.map((one) => one.orderId)).toEqual([id]);
    expect(
      (await since(LONG_AGO, '&fulfillmentStatuses=UNSHIPPED,SHIPPED')).body.orders.map((one) => one.orderId),
    ).toEqual([id]);
    expect((await since(LONG_AGO, `&createdAfter=${LONG_AGO}`)).status).toBe(400);
    expect((await account.call('GET', PATH)).status).toBe(400);
    expect((await since(LONG_AGO, '&maxResultsPerPage=101')).status).toBe(400);
    expect((await since('yesterday')).status).toBe(400);
  });

  test('in the vendor profile an order, and each change of it, is readable two minutes later', async () => {
    await start('vendor');
    const { id } = await place('MUG', 2, { status: 'pending' });
    expect((await account.call('GET', `${PATH}/${id}`)).status).toBe(404);
    expect((await since(LONG_AGO)).body.orders).toEqual([]);
    await account.advance(121_000);
    expect(await facts(id)).toEqual(['PENDING', 2, 0, 2]);
    await act('payments', { order: id });
    expect(await facts(id)).toEqual(['PENDING', 2, 0, 2]);
    await account.advance(121_000);
    expect(await facts(id)).toEqual(['UNSHIPPED', 2, 0, 2]);
    expect((await since(LONG_AGO)).body.orders).toHaveLength(1);
  });

  test('in the vendor profile …Before must be two minutes old and is told when it was not given', async () => {
    await start('vendor');
    const { body } = await account.control<{ now: string }>('GET', '/state');
    const now = Date.parse(body.now);
    const tooYoung = new Date(now - 60_000).toISOString();
    expect((await since(LONG_AGO, `&lastUpdatedBefore=${tooYoung}`)).status).toBe(400);
    const oldEnough = new Date(now - 130_000).toISOString();
    expect((await since(LONG_AGO, `&lastUpdatedBefore=${oldEnough}`)).status).toBe(200);
    const told = Date.parse((await since(LONG_AGO)).body.lastUpdatedBefore ?? '');
    expect(now - told).toBeGreaterThanOrEqual(118_000);
    expect(now - told).toBeLessThan(122_000);
  });
});

describe('confirming a shipment', () => {
  const confirm = (id: string, detail: Record<string, unknown>, marketplaceId = 'ATVPDKIKX0DER') =>
    account.call('POST', `/orders/v0/orders/${id}/shipmentConfirmation`, { marketplaceId, packageDetail: detail });
  const parcel = (line: string, quantity: number, more: Record<string, unknown> = {}) => ({
    packageReferenceId: '1',
    carrierCode: 'FedEx',
    trackingNumber: '794600000001',
    shipDate: new Date(Date.now() + 1_000).toISOString(),
    orderItems: [{ orderItemId: line, quantity }],
    ...more,
  });

  test('204, and the order is shipped; the same package id edits the package', async () => {
    await start();
    const { id, line } = await place('MUG', 3);
    const reply = await confirm(id, parcel(line, 1));
    expect(reply.status).toBe(204);
    expect(reply.body).toBe('');
    expect(await facts(id)).toEqual(['PARTIALLY_SHIPPED', 3, 1, 2]);
    await confirm(id, parcel(line, 2));
    expect(await facts(id)).toEqual(['PARTIALLY_SHIPPED', 3, 2, 1]);
    await confirm(id, parcel(line, 1, { packageReferenceId: '2' }));
    expect(await facts(id)).toEqual(['SHIPPED', 3, 3, 0]);
    expect((await get(id)).packages).toHaveLength(2);
  });

  test.each([
    ['a package id that is a number', { packageReferenceId: 1 }],
    ['a package id that is not positive', { packageReferenceId: '0' }],
    ['an unknown carrier', { carrierCode: 'Pigeon' }],
    ['Other without a name', { carrierCode: 'Other' }],
    ['a ship date in the future', { shipDate: '2099-01-01T00:00:00Z' }],
    ['more units than ordered', { orderItems: [{ orderItemId: '10000000000001', quantity: 4 }] }],
    ['a line of another order', { orderItems: [{ orderItemId: '77', quantity: 1 }] }],
  ])('%s is refused and ships nothing', async (_, change) => {
    await start();
    const { id, line } = await place('MUG', 3);
    expect(line).toBe('10000000000001');
    const reply = await confirm(id, parcel(line, 1, change));
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ errors: [{ code: 'InvalidInput' }] });
    expect(await facts(id)).toEqual(['UNSHIPPED', 3, 0, 3]);
  });

  test('pending orders, FBA orders and unknown orders cannot be confirmed', async () => {
    await start();
    const pending = await place('MUG', 1, { status: 'pending' });
    expect((await confirm(pending.id, parcel(pending.line, 1))).status).toBe(400);
    const fba = await place('LAMP-FBA', 1);
    expect((await confirm(fba.id, parcel(fba.line, 1))).status).toBe(400);
    expect((await confirm('902-0-0', parcel('1', 1))).status).toBe(404);
  });

  test('in the vendor profile the order turns SHIPPED after the settle time', async () => {
    await start('vendor');
    const { id, line } = await place('MUG', 1);
    expect((await confirm(id, parcel(line, 1))).status).toBe(204);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 1 });
    await account.advance(120_000);
    expect(await account.item('MUG')).toEqual({ quantity: 9, committed: 0 });
  });
});

test('someone edits the number in Seller Central', async () => {
  await start();
  const reply = await account.control('POST', '/stock', { sku: 'MUG', quantity: 42 });
  expect(reply.body).toMatchObject({
    sku: 'MUG',
    externalId: 'B0SIM00001',
    stockKey: 'MUG',
    location: 'DEFAULT',
    quantity: 42,
  });
  expect(await account.shown('MUG')).toBe(42);
  expect((await account.control('POST', '/stock', { sku: 'NONE', quantity: 1 })).status).toBe(404);
  expect((await account.call('GET', listing('NONE'))).status).toBe(404);
});
