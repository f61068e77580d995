import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestShop, type TestShop } from './shop.testing.ts';

describe("an order's life and the shop's own numbers", () => {
  let shop: TestShop;
  beforeEach(async () => {
    shop = await startTestShop();
  });
  afterEach(() => shop.close());

  const place = async (lines: { sku: string; quantity: number }[], more: object = {}) => {
    const { status, body } = await shop.control('/orders', { lines, ...more });
    expect(status).toBe(201);
    return body as { id: string; lines: { id: string; sku: string; quantity: number }[] };
  };

  it('a placed order moves units from available to committed and leaves on_hand', async () => {
    const order = await place([{ sku: 'A', quantity: 3 }]);
    expect(order.id).toMatch(/^gid:\/\/shopify\/Order\/\d{18}$/);
    expect(order.lines).toEqual([
      { id: expect.stringMatching(/^gid:\/\/shopify\/LineItem\/\d+$/), sku: 'A', quantity: 3 },
    ]);
    expect(await shop.numbers('A')).toEqual({ available: 7, committed: 3, on_hand: 10, damaged: 0 });
    expect(await shop.numbers('A', 'EAST')).toEqual({ available: 4, committed: 0, on_hand: 4, damaged: 0 });
  });

  it('an order beyond the available units is refused with 409 and changes nothing', async () => {
    const before = (await shop.control('/state')).body;
    const refused = await shop.control('/orders', {
      lines: [
        { sku: 'A', quantity: 2 },
        { sku: 'C', quantity: 2 },
      ],
    });
    expect(refused).toEqual({ status: 409, body: { error: 'Only 1 of 2 C can be sold' } });
    const after = (await shop.control('/state')).body;
    expect({ ...after, now: before.now }).toEqual(before);
  });

  it('with oversell the number goes below zero', async () => {
    await place([{ sku: 'C', quantity: 3 }], { oversell: true });
    expect(await shop.numbers('C')).toEqual({ available: -2, committed: 3, on_hand: 1, damaged: 0 });
  });

  it('a line that no single location can serve is split, the default location first', async () => {
    await place([{ sku: 'A', quantity: 12 }]);
    expect((await shop.numbers('A')).available).toBe(0);
    expect(await shop.numbers('A', 'EAST')).toEqual({ available: 2, committed: 2, on_hand: 4, damaged: 0 });
  });

  it('a named location serves the order, by name or GID', async () => {
    await place([{ sku: 'A', quantity: 1 }], { location: 'EAST' });
    await place([{ sku: 'A', quantity: 1 }], { location: (await shop.ids('A')).east });
    expect((await shop.numbers('A', 'EAST')).available).toBe(2);
    expect((await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }], location: 'MARS' })).status).toBe(404);
  });

  it('an edit up takes more, an edit down gives back, a new line is added', async () => {
    const order = await place([{ sku: 'A', quantity: 3 }]);
    await shop.control('/edits', {
      order: order.id,
      lines: [
        { sku: 'A', quantity: 5 },
        { sku: 'B', quantity: 1 },
      ],
    });
    expect(await shop.numbers('A')).toMatchObject({ available: 5, committed: 5 });
    expect(await shop.numbers('B')).toMatchObject({ available: 4, committed: 1 });
    const edited = await shop.control('/edits', { order: order.id, lines: [{ id: order.lines[0]?.id, quantity: 1 }] });
    expect(edited.body.lines.map((line: { quantity: number }) => line.quantity)).toEqual([1, 1]);
    expect(await shop.numbers('A')).toEqual({ available: 9, committed: 1, on_hand: 10, damaged: 0 });
    const read = await shop.gql(
      'query ($id: ID!) { order(id: $id) { edited lineItems(first: 5) { nodes { quantity currentQuantity unfulfilledQuantity } } } }',
      { id: order.id },
    );
    expect(read.body.data.order.lineItems.nodes[0]).toEqual({
      quantity: 5,
      currentQuantity: 1,
      unfulfilledQuantity: 1,
    });
    expect(read.body.data.order.edited).toBe(true);
  });

  it('a cancellation with restock gives the units back; without, they leave the books', async () => {
    const [first, second] = [await place([{ sku: 'A', quantity: 3 }]), await place([{ sku: 'A', quantity: 2 }])];
    const cancelled = await shop.control('/cancellations', { order: first.id, restock: true });
    expect(cancelled.body).toMatchObject({ id: first.id, status: 'cancelled', lines: [{ quantity: 0 }] });
    expect(await shop.numbers('A')).toEqual({ available: 8, committed: 2, on_hand: 10, damaged: 0 });
    await shop.control('/cancellations', { order: second.id, restock: false });
    expect(await shop.numbers('A')).toEqual({ available: 8, committed: 0, on_hand: 8, damaged: 0 });
    expect((await shop.control('/cancellations', { order: first.id, restock: true })).status).toBe(409);
  });

  it('some units of a line can be cancelled', async () => {
    const order = await place([{ sku: 'A', quantity: 4 }]);
    await shop.control('/cancellations', { order: order.id, restock: true, lines: [{ sku: 'A', quantity: 1 }] });
    expect(await shop.numbers('A')).toEqual({ available: 7, committed: 3, on_hand: 10, damaged: 0 });
    const read = await shop.gql(
      'query ($id: ID!) { order(id: $id) { cancelledAt displayFinancialStatus refunds { refundLineItems(first: 5) { nodes { quantity restockType location { name } } } } } }',
      { id: order.id },
    );
    expect(read.body.data.order).toEqual({
      cancelledAt: null,
      displayFinancialStatus: 'PARTIALLY_REFUNDED',
      refunds: [{ refundLineItems: { nodes: [{ quantity: 1, restockType: 'CANCEL', location: { name: 'MAIN' } }] } }],
    });
  });

  it('shipping lowers committed and on_hand and leaves available; a second shipment of the same units is refused', async () => {
    const order = await place([{ sku: 'A', quantity: 3 }]);
    const part = await shop.control('/fulfillments', { order: order.id, lines: [{ sku: 'A', quantity: 1 }] });
    expect(part.body.status).toBe('partially_fulfilled');
    expect(await shop.numbers('A')).toEqual({ available: 7, committed: 2, on_hand: 9, damaged: 0 });
    expect((await shop.control('/fulfillments', { order: order.id })).body.status).toBe('fulfilled');
    expect(await shop.numbers('A')).toEqual({ available: 7, committed: 0, on_hand: 7, damaged: 0 });
    expect((await shop.control('/fulfillments', { order: order.id })).status).toBe(409);
    expect((await shop.control('/cancellations', { order: order.id, restock: true })).status).toBe(409);
  });

  it('a return restocks only when asked to, and never more than was shipped', async () => {
    const order = await place([{ sku: 'A', quantity: 3 }]);
    const back = (quantity: number, restock: boolean) =>
      shop.control('/returns', { order: order.id, lines: [{ sku: 'A', quantity, disposition: 'SELLABLE' }], restock });
    expect((await back(1, true)).status).toBe(409);
    await shop.control('/fulfillments', { order: order.id });
    await back(1, true);
    expect(await shop.numbers('A')).toEqual({ available: 8, committed: 0, on_hand: 8, damaged: 0 });
    await back(1, false);
    expect(await shop.numbers('A')).toEqual({ available: 8, committed: 0, on_hand: 8, damaged: 0 });
    expect((await back(2, true)).status).toBe(409);
    expect((await shop.numbers('A')).available).toBe(8);
  });

  it('refunds move stock by restock type only', async () => {
    const order = await place([{ sku: 'A', quantity: 5 }]);
    const refund = (key: string, quantity: number, restockType: string) =>
      shop.gql(
        `mutation ($input: RefundInput!, $key: String!) { refundCreate(input: $input) @idempotent(key: $key) {
          refund { refundLineItems(first: 5) { nodes { quantity restockType } } } userErrors { field message } } }`,
        {
          key,
          input: { orderId: order.id, refundLineItems: [{ lineItemId: order.lines[0]?.id, quantity, restockType }] },
        },
      );
    await refund('r1', 1, 'NO_RESTOCK');
    expect(await shop.numbers('A')).toEqual({ available: 5, committed: 4, on_hand: 9, damaged: 0 });
    await refund('r2', 1, 'CANCEL');
    expect(await shop.numbers('A')).toEqual({ available: 6, committed: 3, on_hand: 9, damaged: 0 });
    const early = await refund('r3', 1, 'RETURN');
    expect(early.body.data.refundCreate.refund).toBeNull();
    expect(early.body.data.refundCreate.userErrors).toHaveLength(1);
    await shop.control('/fulfillments', { order: order.id });
    await refund('r4', 1, 'RETURN');
    expect(await shop.numbers('A')).toEqual({ available: 7, committed: 0, on_hand: 7, damaged: 0 });
    const again = await refund('r4', 1, 'RETURN');
    expect(again.body.data.refundCreate.refund.refundLineItems.nodes).toEqual([{ quantity: 1, restockType: 'RETURN' }]);
    expect((await shop.numbers('A')).available).toBe(7);
  });

  it('a pending order is paid later; a chosen id is kept exactly up to 2^63 and cannot be used twice', async () => {
    const id = '9223372036854775807';
    const order = await place([{ sku: 'A', quantity: 1 }], { id, status: 'pending' });
    expect(order.id).toBe(`gid://shopify/Order/${id}`);
    expect((await shop.control('/orders', { id, lines: [{ sku: 'A', quantity: 1 }] })).status).toBe(409);
    expect((await shop.control('/payments', { order: id })).body.status).toBe('paid');
    expect((await shop.control('/payments', { order: id })).status).toBe(409);
    expect(await shop.numbers('A')).toMatchObject({ available: 9, committed: 1 });
  });

  it('shipping through the API follows the fulfillment order and refuses more than remains', async () => {
    const order = await place([{ sku: 'A', quantity: 2 }]);
    const { body } = await shop.gql(
      'query ($id: ID!) { order(id: $id) { fulfillmentOrders(first: 5) { nodes { id status assignedLocation { location { name } } supportedActions { action } lineItems(first: 5) { nodes { id remainingQuantity sku } } } } } }',
      { id: order.id },
    );
    const waiting = body.data.order.fulfillmentOrders.nodes[0];
    expect(waiting).toMatchObject({
      status: 'OPEN',
      assignedLocation: { location: { name: 'MAIN' } },
      lineItems: { nodes: [{ remainingQuantity: 2, sku: 'A' }] },
    });
    const ship = (quantity: number) =>
      shop.gql(
        `mutation ($fulfillment: FulfillmentInput!) { fulfillmentCreate(fulfillment: $fulfillment) {
          fulfillment { status trackingInfo { company number url } } userErrors { field message } } }`,
        {
          fulfillment: {
            trackingInfo: { company: 'UPS', number: '1Z1' },
            lineItemsByFulfillmentOrder: [
              {
                fulfillmentOrderId: waiting.id,
                fulfillmentOrderLineItems: [{ id: waiting.lineItems.nodes[0].id, quantity }],
              },
            ],
          },
        },
      );
    const tooMany = await ship(3);
    expect(tooMany.body.data.fulfillmentCreate).toEqual({
      fulfillment: null,
      userErrors: [{ field: ['fulfillment'], message: 'Invalid fulfillment order line item quantity requested.' }],
    });
    expect(await shop.numbers('A')).toMatchObject({ committed: 2, on_hand: 10 });
    const shipped = await ship(2);
    expect(shipped.body.data.fulfillmentCreate.fulfillment).toEqual({
      status: 'SUCCESS',
      trackingInfo: [{ company: 'UPS', number: '1Z1', url: null }],
    });
    expect(await shop.numbers('A')).toMatchObject({ available: 8, committed: 0, on_hand: 8 });
  });

  it('orderCancel cancels with or without restock and refuses an unknown order', async () => {
    const order = await place([{ sku: 'A', quantity: 2 }]);
    const cancel = (orderId: string) =>
      shop.gql(
        'mutation ($orderId: ID!) { orderCancel(orderId: $orderId, reason: CUSTOMER, restock: true) { job { done } orderCancelUserErrors { code } } }',
        { orderId },
      );
    expect((await cancel(order.id)).body.data.orderCancel).toEqual({ job: { done: true }, orderCancelUserErrors: [] });
    expect((await cancel('gid://shopify/Order/1')).body.data.orderCancel).toEqual({
      job: null,
      orderCancelUserErrors: [{ code: 'NOT_FOUND' }],
    });
    expect(await shop.numbers('A')).toEqual({ available: 10, committed: 0, on_hand: 10, damaged: 0 });
  });

  it("someone's edit in the admin sets available and leaves committed", async () => {
    await place([{ sku: 'A', quantity: 2 }]);
    const { body } = await shop.control('/stock', { sku: 'A', quantity: 50 });
    expect(body).toMatchObject({ sku: 'A', quantity: 50, committed: 2 });
    expect(await shop.numbers('A')).toEqual({ available: 50, committed: 2, on_hand: 52, damaged: 0 });
  });

  it('reset restores the seed, forgets orders, and never hands out a number again', async () => {
    const first = await place([{ sku: 'A', quantity: 2 }]);
    await shop.control('/faults', { kind: 'status', match: { operation: 'orders' } });
    await shop.control('/reset', {});
    const { body } = await shop.control('/state');
    expect(body.orders).toEqual([]);
    expect(body.items.map((item: { quantity: number; committed: number }) => [item.quantity, item.committed])).toEqual([
      [10, 0],
      [4, 0],
      [5, 0],
      [0, 0],
      [1, 0],
      [0, 0],
    ]);
    expect((await shop.gql('{ orders(first: 1) { nodes { id } } }')).status).toBe(200);
    expect((await place([{ sku: 'A', quantity: 1 }])).id).not.toBe(first.id);
  });
});
