import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT, startTestShop, type TestShop } from './shop.testing.ts';

describe('the Admin API', () => {
  let shop: TestShop;
  beforeEach(async () => {
    shop = await startTestShop();
  });
  afterEach(() => shop.close());

  const token = async (body: object) => {
    const response = await fetch(`${shop.url}/admin/oauth/access_token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ client_id: CLIENT.clientId, client_secret: CLIENT.clientSecret, ...body }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  };
  const works = async (accessToken: string | undefined) =>
    (await shop.gql('{ shop { myshopifyDomain } }', {}, { token: accessToken ?? '' })).status;

  it('an unknown token is 401 with the documented body and reads nothing', async () => {
    expect(await shop.gql('{ shop { name } }', {}, { token: 'shpat_wrong' })).toEqual({
      status: 401,
      body: { errors: '[API] Invalid API key or access token (unrecognized login or wrong password)' },
    });
  });

  it('client credentials give a token for a day', async () => {
    const granted = await token({ grant_type: 'client_credentials' });
    expect(granted).toMatchObject({
      status: 200,
      body: { expires_in: 86_399, scope: expect.stringContaining('write_inventory') },
    });
    expect(granted.body.refresh_token).toBeUndefined();
    expect(await works(granted.body.access_token)).toBe(200);
    await shop.control('/clock', { advanceMs: 86_400_000 });
    expect(await works(granted.body.access_token)).toBe(401);
    expect((await token({ grant_type: 'client_credentials', client_secret: 'wrong' })).status).toBe(400);
  });

  it('an authorization code is exchanged once, and a refresh token rotates but survives a lost answer', async () => {
    const redirect = await fetch(
      `${shop.url}/admin/oauth/authorize?client_id=${CLIENT.clientId}&redirect_uri=${encodeURIComponent('http://127.0.0.1:9/back')}&state=s1&scope=read_orders`,
      { redirect: 'manual' },
    );
    const code = new URL(redirect.headers.get('location') ?? '').searchParams.get('code') ?? '';
    const first = (await token({ code, expiring: '1' })).body;
    expect(first).toMatchObject({ scope: 'read_orders', expires_in: 3600, refresh_token_expires_in: 7_776_000 });
    expect((await token({ code, expiring: '1' })).status).toBe(400);

    const lost = (await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token })).body;
    const second = (await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token })).body;
    expect(await Promise.all([first, lost, second].map((pair) => works(pair.access_token)))).toEqual([401, 401, 200]);
    expect(await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token })).toEqual({
      status: 401,
      body: { error: 'invalid_request', error_description: 'This request requires an active refresh_token' },
    });
    await shop.control('/clock', { advanceMs: 3_600_000 });
    expect(await works(second.access_token)).toBe(401);
  });

  it('a missing scope denies the field by name', async () => {
    await shop.close();
    shop = await startTestShop({ scopes: ['read_products'] });
    const { status, body } = await shop.gql('{ shop { name } orders(first: 1) { nodes { id } } }');
    expect(status).toBe(200);
    expect(body.errors[0]).toMatchObject({
      message: 'Access denied for orders field. Required access: `read_orders` access scope.',
      extensions: { code: 'ACCESS_DENIED' },
    });
  });

  it('pages through variants with their levels, by edges or nodes, without gaps or repeats', async () => {
    const query = `query ($after: String) { productVariants(first: 3, after: $after, sortKey: ID) { edges { cursor node { sku inventoryItem { inventoryLevels(first: 10) { nodes { location { name } quantities(names: ["available"]) { quantity } } pageInfo { hasNextPage } } } } } pageInfo { hasNextPage hasPreviousPage endCursor } } }`;
    const first = (await shop.gql(query)).body.data.productVariants;
    const second = (await shop.gql(query, { after: first.pageInfo.endCursor })).body.data.productVariants;
    const skus = [...first.edges, ...second.edges].map((edge: { node: { sku: string } }) => edge.node.sku);
    expect(skus).toEqual(['A', 'B', 'C', 'PARENT']);
    expect([first.pageInfo.hasNextPage, second.pageInfo.hasNextPage, second.pageInfo.hasPreviousPage]).toEqual([
      true,
      false,
      true,
    ]);
    expect(first.edges[0].node.inventoryItem.inventoryLevels).toEqual({
      nodes: [
        { location: { name: 'MAIN' }, quantities: [{ quantity: 10 }] },
        { location: { name: 'EAST' }, quantities: [{ quantity: 4 }] },
      ],
      pageInfo: { hasNextPage: false },
    });
    const cursor = JSON.parse(Buffer.from(first.pageInfo.endCursor, 'base64').toString());
    expect(Object.keys(cursor)).toEqual(['last_id', 'last_value']);
  });

  it('orders are found by updated_at and status, sorted and paged, in whole seconds', async () => {
    const placed: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      placed.push((await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }] })).body.id);
      await shop.control('/clock', { advanceMs: 60_000 });
    }
    await shop.control('/cancellations', { order: placed[0], restock: true });
    const find = async (query: string, first = 10) => {
      const { body } = await shop.gql(
        'query ($q: String, $n: Int) { orders(first: $n, query: $q, sortKey: UPDATED_AT) { nodes { id updatedAt } pageInfo { hasNextPage } } }',
        { q: query, n: first },
      );
      return body.data.orders as { nodes: { id: string; updatedAt: string }[]; pageInfo: { hasNextPage: boolean } };
    };
    const all = await find('');
    expect(all.nodes.map((order) => placed.indexOf(order.id))).toEqual([1, 2, 0]);
    expect(all.nodes[0]?.updatedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const since = all.nodes[1]?.updatedAt;
    expect((await find(`updated_at:>='${since}'`)).nodes).toHaveLength(2);
    expect((await find(`updated_at:>'${since}'`)).nodes).toHaveLength(1);
    expect((await find(`updated_at:>='${since}' AND status:open`)).nodes.map((order) => order.id)).toEqual([placed[2]]);
    expect((await find('status:cancelled')).nodes.map((order) => order.id)).toEqual([placed[0]]);
    expect((await find('', 2)).pageInfo.hasNextPage).toBe(true);
  });

  it('orders older than 60 days are hidden from lists without read_all_orders', async () => {
    await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }] });
    await shop.control('/clock', { advanceMs: 61 * 24 * 3_600_000 });
    expect((await shop.gql('{ orders(first: 5) { nodes { id } } }')).body.data.orders.nodes).toEqual([]);
  });

  it('missing objects are null without an error, found ones are told apart by type', async () => {
    const a = await shop.ids('A');
    const { body } = await shop.gql(
      'query ($ids: [ID!]!) { order(id: "gid://shopify/Order/1") { id } nodes(ids: $ids) { id ... on InventoryItem { sku } ... on Location { name } } }',
      { ids: [a.item, a.main, 'gid://shopify/InventoryItem/1'] },
    );
    expect(body.errors).toBeUndefined();
    expect(body.data).toEqual({ order: null, nodes: [{ id: a.item, sku: 'A' }, { id: a.main, name: 'MAIN' }, null] });
  });

  it('a document that Shopify would refuse is refused with 200, errors and no data', async () => {
    const { status, body } = await shop.gql('{ shop { favouriteColour } }');
    expect(status).toBe(200);
    expect(body).toEqual({
      errors: [
        expect.objectContaining({
          extensions: { code: 'undefinedField', typeName: 'Shop', fieldName: 'favouriteColour' },
        }),
      ],
    });
    const page = await shop.gql('{ products(first: 251) { nodes { id } } }');
    expect(page.body.data).toBeUndefined();
    expect(page.body.errors).toHaveLength(1);
    expect((await shop.gql('{ products { nodes { id } } }')).body.errors[0].message).toBe(
      'you must provide one of first or last',
    );
  });

  it('the version served is told, an expired one is served by the oldest', async () => {
    const served = async (version: string) => {
      const response = await fetch(`${shop.url}/admin/api/${version}/graphql.json`, {
        method: 'POST',
        headers: { 'x-shopify-access-token': CLIENT.accessToken },
        body: JSON.stringify({ query: '{ publicApiVersions { handle supported } }' }),
      });
      return response.headers.get('x-shopify-api-version');
    };
    expect(await served('2026-10')).toBe('2026-10');
    expect(await served('2024-01')).toBe('2025-10');
  });

  it('costs: the observed figure of a nested page, and refunds of what was not returned', async () => {
    const { body } = await shop.gql(
      '{ product(id: "gid://shopify/Product/1") { variants(first: 250) { nodes { inventoryItem { id tracked } } } } }',
    );
    expect(body.extensions.cost).toMatchObject({ requestedQueryCost: 25, actualQueryCost: 0 });
  });

  it('the vendor profile throttles with the documented body, refuses dear queries, and restores with time', async () => {
    await shop.control('/profile', { profile: 'vendor' });
    const dear = `{ products(first: 250) { nodes { variants(first: 250) { nodes { inventoryItem { inventoryLevels(first: 250) { nodes { location { id } } } } } } } } }`;
    const refused = await shop.gql(dear);
    expect(refused.body.errors[0].extensions).toMatchObject({ code: 'MAX_COST_EXCEEDED', maxCost: 1000 });
    expect(refused.body.data).toBeUndefined();
    const costly = `{ productVariants(first: 250) { nodes { inventoryItem { inventoryLevels(first: 250) { nodes { location { id name } item { sku variant { id product { id } } } } } } } } }`;
    const answers = await Promise.all(Array.from({ length: 8 }, () => shop.gql(costly)));
    const throttled = answers.filter((answer) => answer.body.errors !== undefined);
    expect(throttled.length).toBeGreaterThan(0);
    expect(throttled[0]).toMatchObject({
      status: 200,
      body: {
        errors: [{ message: 'Throttled', extensions: { code: 'THROTTLED' } }],
        extensions: { cost: { actualQueryCost: null, throttleStatus: { maximumAvailable: 2000, restoreRate: 100 } } },
      },
    });
    expect(throttled[0]?.body.data).toBeUndefined();
    await shop.control('/clock', { advanceMs: 20_000 });
    expect((await shop.gql(costly)).body.errors).toBeUndefined();
    await shop.control('/profile', { profile: 'open' });
    const open = await Promise.all(Array.from({ length: 12 }, () => shop.gql(costly)));
    expect(open.every((answer) => answer.body.errors === undefined)).toBe(true);
  });

  it('in the vendor profile a new order is missing from searches for a while, but can be read', async () => {
    await shop.control('/profile', { profile: 'vendor' });
    const { body } = await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }] });
    const search = async () =>
      (await shop.gql(`{ orders(first: 5, query: "status:open") { nodes { id } } }`)).body.data.orders.nodes.length;
    expect(await search()).toBe(0);
    expect((await shop.gql('query ($id: ID!) { order(id: $id) { id } }', { id: body.id })).body.data.order.id).toBe(
      body.id,
    );
    await shop.control('/clock', { advanceMs: 2_000 });
    expect(await search()).toBe(1);
  });

  it('faults on calls: status, revoke, and timeouts before and after the write', async () => {
    const a = await shop.ids('A');
    const write = (key: string, from: number) =>
      shop.gql(
        `mutation ($key: String!, $quantities: [InventoryQuantityInput!]!) { inventorySetQuantities(input: { name: "available", reason: "correction", quantities: $quantities }) @idempotent(key: $key) { userErrors { code } } }`,
        {
          key,
          quantities: [{ inventoryItemId: a.item, locationId: a.main, quantity: from - 1, changeFromQuantity: from }],
        },
      );
    const match = { operation: 'inventorySetQuantities' };
    await shop.control('/faults', { kind: 'status', status: 503, retryAfter: 2, times: 1, match });
    expect((await shop.gql('{ shop { id } }')).status).toBe(200);
    expect((await write('k1', 10)).status).toBe(503);
    await shop.control('/faults', { kind: 'timeout_before', ms: 10, times: 1, match });
    await expect(write('k2', 10)).rejects.toThrow('fetch failed');
    expect((await shop.numbers('A')).available).toBe(10);
    await shop.control('/faults', { kind: 'timeout_after', ms: 10, times: 1, match });
    await expect(write('k3', 10)).rejects.toThrow('fetch failed');
    expect((await shop.numbers('A')).available).toBe(9);
    const { body: fault } = await shop.control('/faults', { kind: 'revoke' });
    expect((await write('k4', 9)).status).toBe(401);
    expect((await shop.control(`/faults/${fault.id}`, undefined, 'DELETE')).status).toBe(200);
    expect((await write('k5', 9)).status).toBe(200);
    const { calls, next } = (await shop.control('/calls')).body;
    const writes = calls.filter((call: { operation: string }) => call.operation === 'inventorySetQuantities');
    expect(writes.map((call: { status: number | null; applied: boolean }) => [call.status, call.applied])).toEqual([
      [503, false],
      [null, false],
      [null, true],
      [401, false],
      [200, true],
    ]);
    expect(writes[0].body.variables.key).toBe('k1');
    expect((await shop.control(`/calls?since=${next}`)).body).toEqual({ next, calls: [] });
  });

  it('the call log holds no credentials', async () => {
    await token({ grant_type: 'client_credentials' });
    await shop.gql('{ shop { id } }');
    const text = JSON.stringify((await shop.control('/calls')).body);
    expect(text).toContain('access_token');
    for (const secret of [CLIENT.clientSecret, CLIENT.accessToken, 'shpat_']) expect(text).not.toContain(secret);
  });
});
