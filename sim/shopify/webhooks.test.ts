import { createHmac } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT, startTestShop, type TestShop } from './shop.testing.ts';
import { topicEnum, topicHeader } from './webhooks.ts';

describe('webhooks', () => {
  let shop: TestShop;
  beforeEach(async () => {
    shop = await startTestShop();
  });
  afterEach(() => shop.close());

  const order = async (more: object = {}) =>
    (await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }], ...more })).body.id as string;
  const topics = async (enough: number) => (await shop.webhooks(enough)).map((hook) => hook.topic).sort();

  it('topic names translate both ways', () => {
    for (const topic of [
      'orders/create',
      'inventory_levels/update',
      'fulfillment_orders/order_routing_complete',
      'reverse_fulfillment_orders/dispose',
      'app/uninstalled',
      'orders/partially_fulfilled',
      'bulk_operations/finish',
    ]) {
      expect(topicHeader(topicEnum(topic))).toBe(topic);
    }
  });

  it('an order is delivered signed over its raw bytes, with every header and whole numbers above 2^53', async () => {
    await shop.subscribe('ORDERS_CREATE');
    await order({ id: '9223372036854775807' });
    const [hook] = await shop.webhooks(1);
    if (hook === undefined) throw new Error('nothing came');
    const digest = createHmac('sha256', CLIENT.clientSecret).update(hook.body, 'utf8').digest('base64');
    expect(hook.headers).toMatchObject({
      'content-type': 'application/json',
      'x-shopify-topic': 'orders/create',
      'x-shopify-hmac-sha256': digest,
      'x-shopify-shop-domain': 'shop-a.myshopify.com',
      'x-shopify-api-version': '2026-10',
      'x-shopify-webhook-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
      'x-shopify-event-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
      'x-shopify-triggered-at': expect.stringMatching(/Z$/),
    });
    expect(hook.body).toMatch(
      /^\{"id":9223372036854775807,"admin_graphql_api_id":"gid:\/\/shopify\/Order\/9223372036854775807"/,
    );
    const payload = JSON.parse(hook.body);
    expect(payload).toMatchObject({
      financial_status: 'paid',
      fulfillment_status: null,
      location_id: null,
      cancelled_at: null,
      refunds: [],
      fulfillments: [],
    });
    expect(payload.updated_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-05:00$/);
    expect(payload.line_items).toEqual([
      expect.objectContaining({ sku: 'A', quantity: 1, current_quantity: 1, fulfillable_quantity: 1 }),
    ]);
    expect(payload.line_items[0]).not.toHaveProperty('inventory_item_id');
  });

  it('each step of an order tells its own topics', async () => {
    await shop.subscribe(
      'ORDERS_CREATE',
      'ORDERS_UPDATED',
      'ORDERS_PAID',
      'ORDERS_EDITED',
      'ORDERS_CANCELLED',
      'ORDERS_FULFILLED',
      'ORDERS_PARTIALLY_FULFILLED',
      'REFUNDS_CREATE',
      'INVENTORY_LEVELS_UPDATE',
    );
    const step = async (path: string, body: object, expected: string[]) => {
      shop.received.length = 0;
      const { body: answer, status } = await shop.control(path, body);
      expect(status).toBeLessThan(300);
      expect(await topics(expected.length)).toEqual(expected.sort());
      return answer.id as string;
    };
    const id = await step('/orders', { lines: [{ sku: 'A', quantity: 3 }], status: 'pending' }, [
      'orders/create',
      'inventory_levels/update',
    ]);
    await step('/payments', { order: id }, ['orders/paid', 'orders/updated']);
    await step('/edits', { order: id, lines: [{ sku: 'A', quantity: 4 }] }, [
      'orders/edited',
      'orders/updated',
      'inventory_levels/update',
    ]);
    await step('/fulfillments', { order: id, lines: [{ sku: 'A', quantity: 1 }] }, [
      'orders/partially_fulfilled',
      'orders/updated',
    ]);
    await step('/fulfillments', { order: id, lines: [{ sku: 'A', quantity: 1 }] }, [
      'orders/partially_fulfilled',
      'orders/updated',
    ]);
    await step('/cancellations', { order: id, restock: true }, [
      'orders/cancelled',
      'refunds/create',
      'orders/updated',
      'inventory_levels/update',
    ]);
    await step('/returns', { order: id, lines: [{ sku: 'A', quantity: 1, disposition: 'SELLABLE' }], restock: true }, [
      'refunds/create',
      'orders/updated',
      'inventory_levels/update',
    ]);
    await step('/orders', { lines: [{ sku: 'B', quantity: 1 }] }, [
      'orders/create',
      'orders/paid',
      'inventory_levels/update',
    ]);
  });

  it('an edit tells differences under order_edit and no order id at the top; a refund its restock type and location', async () => {
    await shop.subscribe('ORDERS_EDITED', 'REFUNDS_CREATE');
    const id = await order();
    await shop.control('/edits', { order: id, lines: [{ sku: 'A', quantity: 3 }] });
    const edit = JSON.parse((await shop.webhooks(1))[0]?.body ?? '');
    expect(Object.keys(edit)).toEqual(['order_edit']);
    expect(edit.order_edit.line_items).toEqual({ additions: [{ id: expect.any(Number), delta: 2 }], removals: [] });
    await shop.control('/cancellations', { order: id, restock: true, lines: [{ sku: 'A', quantity: 1 }] });
    const refund = JSON.parse((await shop.webhooks(2))[1]?.body ?? '');
    expect(refund).toMatchObject({
      restock: true,
      return: null,
      refund_line_items: [{ quantity: 1, restock_type: 'cancel', location_id: expect.any(Number) }],
    });
  });

  it("an app's own write echoes as inventory_levels/update with the bare new number", async () => {
    await shop.subscribe('INVENTORY_LEVELS_UPDATE');
    const a = await shop.ids('A');
    await shop.gql(
      `mutation ($q: [InventoryQuantityInput!]!) { inventorySetQuantities(input: { name: "available", reason: "correction", quantities: $q }) @idempotent(key: "k") { userErrors { code } } }`,
      { q: [{ inventoryItemId: a.item, locationId: a.main, quantity: 3, changeFromQuantity: 10 }] },
    );
    const payload = JSON.parse((await shop.webhooks(1))[0]?.body ?? '');
    expect(Object.keys(payload).sort()).toEqual([
      'admin_graphql_api_id',
      'available',
      'inventory_item_id',
      'location_id',
      'updated_at',
    ]);
    expect(payload.available).toBe(3);
    expect(`gid://shopify/InventoryItem/${payload.inventory_item_id}`).toBe(a.item);
  });

  it('subscriptions: two on a topic deliver twice with one event id; blank, repeated and unknown ones are refused', async () => {
    await shop.subscribe('ORDERS_CREATE');
    const create = async (uri: string) => {
      const { body } = await shop.gql(
        'mutation ($uri: String!) { webhookSubscriptionCreate(topic: ORDERS_CREATE, webhookSubscription: { uri: $uri, includeFields: ["id", "updated_at"] }) { webhookSubscription { id topic uri } userErrors { field message } } }',
        { uri },
      );
      return body.data.webhookSubscriptionCreate;
    };
    const second = await create(`${shop.receiverUrl}/other`);
    expect(second).toMatchObject({ userErrors: [], webhookSubscription: { topic: 'ORDERS_CREATE' } });
    expect((await create('')).userErrors).toEqual([
      { field: ['webhookSubscription', 'callbackUrl'], message: "Address can't be blank" },
    ]);
    expect((await create(`${shop.receiverUrl}/other`)).userErrors).toHaveLength(1);
    expect((await create('http://example.com/hook')).userErrors).toHaveLength(1);
    await order();
    const hooks = await shop.webhooks(2);
    expect(new Set(hooks.map((hook) => hook.headers['x-shopify-event-id'])).size).toBe(1);
    expect(new Set(hooks.map((hook) => hook.headers['x-shopify-webhook-id'])).size).toBe(2);
    expect(hooks.map((hook) => Object.keys(JSON.parse(hook.body)).length).sort((x, y) => x - y)[0]).toBe(2);
    const remove = (id: string) =>
      shop.gql(
        'mutation ($id: ID!) { webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } } }',
        { id },
      );
    expect(
      (await remove(second.webhookSubscription.id)).body.data.webhookSubscriptionDelete.deletedWebhookSubscriptionId,
    ).toBe(second.webhookSubscription.id);
    expect((await remove(second.webhookSubscription.id)).body.data.webhookSubscriptionDelete.userErrors).toEqual([
      { field: ['id'], message: 'Webhook subscription does not exist' },
    ]);
    const { body } = await shop.gql('{ webhookSubscriptions(first: 5, topics: [ORDERS_CREATE]) { nodes { uri } } }');
    expect(body.data.webhookSubscriptions.nodes).toEqual([{ uri: `${shop.receiverUrl}/hook` }]);
  });

  it('drop, duplicate, delay and reorder act on what is sent', async () => {
    await shop.subscribe('ORDERS_CREATE');
    const fault = (body: object) => shop.control('/faults', { times: 1, match: { topic: 'orders/create' }, ...body });
    await fault({ kind: 'drop' });
    await order();
    await fault({ kind: 'duplicate' });
    const doubled = await order();
    const [first, copy] = await shop.webhooks(2);
    expect(first?.body).toBe(copy?.body);
    expect(first?.headers['x-shopify-webhook-id']).toBe(copy?.headers['x-shopify-webhook-id']);
    expect(JSON.parse(first?.body ?? '').admin_graphql_api_id).toBe(doubled);

    shop.received.length = 0;
    await fault({ kind: 'reorder' });
    const earlier = await order();
    const later = await order();
    const swapped = (await shop.webhooks(2)).map((hook) => JSON.parse(hook.body).admin_graphql_api_id);
    expect(swapped).toEqual([later, earlier]);

    shop.received.length = 0;
    await fault({ kind: 'delay', ms: 3_600_000 });
    const late = await order();
    await wait(50);
    expect(shop.received).toEqual([]);
    await shop.control('/clock', { advanceMs: 3_600_000 });
    expect((await shop.webhooks(1)).map((hook) => JSON.parse(hook.body).admin_graphql_api_id)).toEqual([late]);
  });

  it('a refused delivery is retried with the same bytes and id; after eight retries the vendor removes the subscription', async () => {
    await shop.control('/profile', { profile: 'vendor' });
    await shop.subscribe('ORDERS_CREATE');
    shop.receive(503);
    await order();
    for (let attempt = 1; attempt <= 9; attempt += 1) {
      await shop.webhooks(attempt);
      await wait(30);
      await shop.control('/clock', { advanceMs: 2 * 3_600_000 });
    }
    await wait(50);
    expect(shop.received).toHaveLength(9);
    expect(new Set(shop.received.map((hook) => hook.body + hook.headers['x-shopify-webhook-id'])).size).toBe(1);
    expect(shop.simulator.pendingWebhooks()).toBe(0);
    expect(
      (await shop.gql('{ webhookSubscriptions(first: 5) { nodes { id } } }')).body.data.webhookSubscriptions.nodes,
    ).toEqual([]);
  });

  it('pending deliveries and subscriptions follow the receiver to another port', async () => {
    const dead = 'http://127.0.0.1:9';
    await shop.gql(
      'mutation ($uri: String!) { webhookSubscriptionCreate(topic: ORDERS_CREATE, webhookSubscription: { uri: $uri }) { userErrors { message } } }',
      { uri: `${dead}/webhook/shopify/t?x=1` },
    );
    const first = await order();
    await wait(30);
    expect(shop.simulator.pendingWebhooks()).toBe(1);
    await shop.simulator.retarget(dead, shop.receiverUrl);
    const second = await order();
    const seen = (await shop.webhooks(2)).map((hook) => JSON.parse(hook.body).admin_graphql_api_id);
    expect(seen.sort()).toEqual([first, second].sort());
    expect(
      (await shop.gql('{ webhookSubscriptions(first: 5) { nodes { uri } } }')).body.data.webhookSubscriptions.nodes,
    ).toEqual([{ uri: `${shop.receiverUrl}/webhook/shopify/t?x=1` }]);
  });

  it('an uninstall tells its last webhook, drops subscriptions and kills every token', async () => {
    await shop.subscribe('APP_UNINSTALLED', 'ORDERS_CREATE');
    const { body } = await shop.control('/faults', { kind: 'revoke', match: { topic: 'app/uninstalled' }, times: 1 });
    expect(body.id).toEqual(expect.any(String));
    const [hook] = await shop.webhooks(1);
    expect(hook?.topic).toBe('app/uninstalled');
    expect(JSON.parse(hook?.body ?? '').myshopify_domain).toBe('shop-a.myshopify.com');
    await shop.gql('{ shop { id } }');
    expect((await shop.gql('{ shop { id } }')).status).toBe(401);
    await order();
    await wait(30);
    expect(shop.received).toHaveLength(1);
  });
});
