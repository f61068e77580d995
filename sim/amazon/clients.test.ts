/** Clients written by others: the generated API packages, and random buyers against a naive account book. */
import { CreateQueueCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { ListingsItemsApi } from '@sp-api-sdk/listings-items-api-2021-08-01';
import { OrdersApi } from '@sp-api-sdk/orders-api-2026-01-01';
import axios from 'axios';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Account, CATALOG, MARKETPLACE, ODD_SKU, SELLER, startAccount } from './account.testing.ts';

let account: Account;
beforeEach(async () => {
  account = await startAccount();
});
afterEach(() => account.close());

async function http() {
  return axios.create({
    headers: { 'x-amz-access-token': await account.sellerToken(), 'user-agent': 'Tests/1 (Language=TypeScript)' },
  });
}

test('the generated listings client writes and reads a SKU full of awkward characters', async () => {
  const api = new ListingsItemsApi(undefined, account.base, await http());
  const item = { sellerId: SELLER, sku: ODD_SKU, marketplaceIds: [MARKETPLACE] };
  const value = [{ fulfillment_channel_code: 'DEFAULT', quantity: 2 }];
  const patches = [{ op: 'merge' as const, path: '/attributes/fulfillment_availability', value }];
  const written = await api.patchListingsItem({ ...item, body: { productType: 'PRODUCT', patches } });
  expect(written.data.status).toBe('ACCEPTED');
  const read = await api.getListingsItem({ ...item, includedData: ['summaries', 'fulfillmentAvailability'] });
  expect(read.data.fulfillmentAvailability).toEqual([{ fulfillmentChannelCode: 'DEFAULT', quantity: 2 }]);
  const found = await api.searchListingsItems({
    sellerId: SELLER,
    marketplaceIds: [MARKETPLACE],
    identifiersType: 'SKU',
    identifiers: ['MUG', ODD_SKU],
  });
  expect(found.data.items).toHaveLength(2);
});

test('the generated orders client finds an order with the blocks it asks for', async () => {
  const placed = await account.control<{ id: string }>('POST', '/orders', {
    lines: [{ sku: 'MUG', quantity: 1 }],
    status: 'pending',
  });
  const api = new OrdersApi(undefined, account.base, await http());
  const found = await api.searchOrders({
    lastUpdatedAfter: '2020-01-01T00:00:00Z',
    fulfillmentStatuses: ['PENDING', 'UNSHIPPED'],
    fulfilledBy: ['MERCHANT'],
    includedData: ['FULFILLMENT', 'CANCELLATION'],
  });
  expect(found.data.orders.map((one) => [one.orderId, one.fulfillment?.fulfillmentStatus])).toEqual([
    [placed.body.id, 'PENDING'],
  ]);
  const one = await api.getOrder({ orderId: placed.body.id, includedData: ['FULFILLMENT'] });
  expect(one.data.order.orderItems[0]?.product.sellerSku).toBe('MUG');
});

test('further queues can be made; a destination for one delivers there and not elsewhere', async () => {
  const { QueueUrl } = await account.sqs.send(new CreateQueueCommand({ QueueName: 'other' }));
  expect(QueueUrl).toBe(`${account.base}/sqs/111122223333/other`);
  const arn = account.queueArn.replace('spapi-amazon-a', 'other');
  const made = await account.grantless<{ payload: { destinationId: string } }>(
    'POST',
    '/notifications/v1/destinations',
    {
      name: 'other',
      resourceSpecification: { sqs: { arn } },
    },
  );
  const { destinationId } = made.body.payload;
  await account.call('POST', '/notifications/v1/subscriptions/ORDER_CHANGE', { payloadVersion: '1.0', destinationId });
  await account.control('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 1 }] });
  const count = async (url: string | undefined) =>
    (await account.sqs.send(new ReceiveMessageCommand({ QueueUrl: url }))).Messages?.length ?? 0;
  expect([await count(account.queueUrl), await count(QueueUrl)]).toEqual([0, 1]);
});

test('whatever buyers and clerks do, units are on offer, owed or shipped: never lost, never made', async () => {
  const acts = fc.array(
    fc.record({
      act: fc.constantFrom('orders', 'payments', 'edits', 'cancellations', 'fulfillments'),
      order: fc.nat(5),
      sku: fc.constantFrom('MUG', 'PLATE', 'LAMP-FBA'),
      quantity: fc.nat(4),
      pending: fc.boolean(),
    }),
    { minLength: 5, maxLength: 25 },
  );
  await fc.assert(
    fc.asyncProperty(acts, async (steps) => {
      await account.control('POST', '/reset', {});
      const ids: string[] = [];
      for (const { act, order: index, sku, quantity, pending } of steps) {
        const order = ids[index] ?? ids[0] ?? 'none';
        const lines = [{ sku, quantity }];
        const body =
          act === 'orders' ? { lines, status: pending ? 'pending' : 'paid' } : { order, ...(pending ? {} : { lines }) };
        const reply = await account.control<{ id?: string }>('POST', `/${act}`, body);
        if (reply.status === 201) ids.push(reply.body.id ?? '');
      }
      const state = await account.control<State>('GET', '/state');
      for (const { sku, quantity, committed } of state.body.items) {
        const seed = CATALOG.find((one) => one.sku === sku)?.quantity;
        const ordered = state.body.orders.flatMap((one) => one.lines).filter((line) => line.sku === sku);
        const owed = ordered.reduce((sum, line) => sum + line.quantity, 0);
        expect(quantity + owed).toBe(seed);
        expect(committed).toBeLessThanOrEqual(owed);
        expect(quantity).toBeGreaterThanOrEqual(0);
      }
      for (const one of state.body.orders) {
        const empty = one.lines.every((line) => line.quantity === 0);
        expect(one.status === 'CANCELLED').toBe(empty);
      }
    }),
    { numRuns: 40, seed: 7 },
  );
});

interface State {
  items: { sku: string; quantity: number; committed: number }[];
  orders: { status: string; lines: { sku: string; quantity: number }[] }[];
}
