/**
 * A simulated shop on a real port with a receiver for its webhooks, for this folder's tests. The client is plain fetch:
 * nothing here knows the connector.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { realClock } from '#sim/kit/clock.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import { createShopifySimulator, type ShopifySimulatorOptions } from './index.ts';

export const CLIENT = { clientId: 'client-1', clientSecret: 'hush-1', accessToken: 'shpat_test' };

export interface Received {
  topic: string;
  headers: Record<string, string>;
  /** The raw bytes as text. */
  body: string;
}

/** Answers are asserted on, not typed: as `JSON.parse` gives them. */
type Json = ReturnType<typeof JSON.parse>;

export interface TestShop {
  url: string;
  simulator: Awaited<ReturnType<typeof createShopifySimulator>>;
  received: Received[];
  receiverUrl: string;
  /** What the receiver answers from now on; null hangs. */
  receive(status: number | null): void;
  gql(
    query: string,
    variables?: object,
    options?: { token?: string; version?: string },
  ): Promise<{ status: number; body: Json }>;
  control(path: string, body?: object, method?: string): Promise<{ status: number; body: Json }>;
  /** available, committed, on_hand, damaged of a SKU at a location (default MAIN). */
  numbers(sku: string, location?: string): Promise<Record<string, number>>;
  ids(sku: string): Promise<{ item: string; variant: string; main: string; east: string }>;
  subscribe(...topics: string[]): Promise<void>;
  /** Waits until `enough` webhooks have come in (5 s at most) and returns all. */
  webhooks(enough: number): Promise<Received[]>;
  close(): Promise<void>;
}

export async function startTestShop(overrides: Partial<ShopifySimulatorOptions> = {}): Promise<TestShop> {
  const clock = overrides.clock ?? realClock();
  const random = seededRandom(7);
  const simulator = await createShopifySimulator({
    name: 'shop-a',
    dir: null,
    clock,
    random,
    ids: seededIds(clock, random),
    profile: 'open',
    shopDomain: 'shop-a.myshopify.com',
    ...CLIENT,
    locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
    catalog: [
      { sku: 'A', title: 'Article A', quantities: { MAIN: 10, EAST: 4 } },
      { sku: 'B', title: 'Article B', quantities: { MAIN: 5, EAST: 0 } },
      { sku: 'C', title: 'Article C', quantities: { MAIN: 1 } },
      { sku: 'PARENT', title: 'Bundle parent', quantities: { MAIN: 0 }, requiresComponents: true },
    ],
    ...overrides,
  });
  const host = await createSimulatorHost({ clock });
  host.mount(simulator);
  const receiver = await startReceiver();
  const url = host.url(simulator.name);

  const send = async (
    target: string,
    method: string,
    body: object | undefined,
    headers: Record<string, string> = {},
  ) => {
    const response = await fetch(target, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as Json };
  };
  const gql: TestShop['gql'] = (query, variables = {}, { token = CLIENT.accessToken, version = '2026-10' } = {}) =>
    send(`${url}/admin/api/${version}/graphql.json`, 'POST', { query, variables }, { 'x-shopify-access-token': token });
  const control: TestShop['control'] = (path, body, method = body === undefined ? 'GET' : 'POST') =>
    send(`${url}/_sim${path}`, method, body);
  const locationId = (name: string) => simulator.locations().find((one) => one.name === name)?.externalId ?? '';

  async function ids(sku: string) {
    const { body } = await gql(
      `{ productVariants(first: 1, query: "sku:'${sku}'") { nodes { id inventoryItem { id } } } }`,
    );
    const variant = body.data.productVariants.nodes[0];
    return { item: variant.inventoryItem.id, variant: variant.id, main: locationId('MAIN'), east: locationId('EAST') };
  }

  return {
    url,
    simulator,
    received: receiver.received,
    receiverUrl: receiver.url,
    receive: receiver.answer,
    gql,
    control,
    ids,
    async numbers(sku, location = 'MAIN') {
      const { item } = await ids(sku);
      const { body } = await gql(
        `query ($item: ID!, $at: ID!) { inventoryItem(id: $item) { inventoryLevel(locationId: $at, includeInactive: true) {
          quantities(names: ["available", "committed", "on_hand", "damaged"]) { name quantity } } } }`,
        { item, at: locationId(location) },
      );
      const quantities = body.data.inventoryItem.inventoryLevel?.quantities ?? [];
      return Object.fromEntries(quantities.map((one: Json) => [one.name, one.quantity]));
    },
    async subscribe(...topics) {
      for (const topic of topics) {
        const { body } = await gql(
          `mutation ($topic: WebhookSubscriptionTopic!, $uri: String!) {
            webhookSubscriptionCreate(topic: $topic, webhookSubscription: { uri: $uri }) { userErrors { message } webhookSubscription { id } } }`,
          { topic, uri: `${receiver.url}/hook` },
        );
        if (body.data.webhookSubscriptionCreate.userErrors.length > 0) throw new Error(JSON.stringify(body));
      }
    },
    async webhooks(enough) {
      const until = performance.now() + 5_000;
      while (receiver.received.length < enough && performance.now() < until) await wait(5);
      return receiver.received;
    },
    async close() {
      await host.close();
      await receiver.close();
    },
  };
}

async function startReceiver() {
  const received: Received[] = [];
  let status: number | null = 200;
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const headers = request.headers as Record<string, string>;
      received.push({ topic: headers['x-shopify-topic'] ?? '', headers, body: Buffer.concat(parts).toString('utf8') });
      if (status !== null) response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    received,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (next: number | null) => {
      status = next;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
