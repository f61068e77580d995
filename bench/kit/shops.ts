/**
 * Simulated Shopify shops in a process of their own, in memory, so that what they cost is not our server's.
 *
 * While `held`, what the shops would send is kept instead, to be let loose at once by the load generator: a burst as a
 * receiver meets it, with the shops' own bodies and signatures, and nobody's time spent on making it while it is measured.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import type { Clock } from '#core/effects.ts';
import { createAmazonSimulator } from '#sim/amazon/index.ts';
import type { PostMessage } from '#sim/kit/sender.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import type { Simulator } from '#sim/kit/simulator.ts';
import { createShopifySimulator, type ShopifySimulator } from '#sim/shopify/index.ts';
import { answerQuestions } from './child.ts';
import type { Post } from './load.ts';
import { type CallCount, skuOf } from './skus.ts';

export interface ShopSpec {
  name: string;
  domain: string;
  secret: string;
  accessToken: string;
}

/** One seller's account beside the shops, under the name `seller`. */
export interface SellerSpec {
  sellerId: string;
  marketplaceId: string;
  clientId: string;
  clientSecret: string;
  refreshToken: string;
}

export type ShopsQuestion =
  | { do: 'open'; shops: ShopSpec[]; skus: number; units: number; profile: 'open' | 'vendor'; latencyMs: number }
  /** @returns url, and the queue's address and name */
  | { do: 'seller'; seller: SellerSpec; skus: number; units: number; profile: 'open' | 'vendor' }
  /** The seller's calls since: when the last carried-out write came, and how many of each. */
  | { do: 'sellerCalls'; since: number }
  | { do: 'hold'; held: boolean }
  /** Buys one unit of each named SKU number, one order each. */
  | { do: 'buy'; shop: string; orders: number[][] }
  /** One unit each of SKUs 0, 1, 2 …, so many a second. */
  | { do: 'sell'; shop: string; count: number; perSecond: number }
  /** The number of each stock item's SKU. */
  | { do: 'items'; shop: string }
  /** What was kept since `hold`, in order. */
  | { do: 'take' }
  | { do: 'truth'; shop: string }
  /** Calls that reached the shop, by operation, and when the last came. */
  | { do: 'calls'; shop: string; since: number }
  | { do: 'clock'; advanceMs: number };

const clock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    }),
};

const shops = new Map<string, ShopifySimulator>();
let held = false;
let kept: Post[] = [];
const agent = new Agent({ keepAlive: true, maxSockets: 32 });

const post: PostMessage = (message) => {
  const { uri, headers, body } = message;
  if (held) {
    kept.push({ path: new URL(uri).pathname, headers, body });
    return Promise.resolve(true);
  }
  return new Promise((resolve) => {
    const sent = request(uri, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve((response.statusCode ?? 500) < 300));
    });
    sent.on('error', () => resolve(false));
    sent.end(body);
  });
};

let seller: Simulator | null = null;

async function openSeller({ seller: account, skus, units, profile }: Extract<ShopsQuestion, { do: 'seller' }>) {
  const host = await createSimulatorHost({ clock });
  const simulator = await createAmazonSimulator({
    name: 'seller',
    dir: null,
    clock,
    random: { next: Math.random },
    ids: { uuid: randomUUID },
    profile,
    ...account,
    catalog: Array.from({ length: skus }, (_, index) => ({
      sku: skuOf(index),
      asin: `B0${String(index).padStart(8, '0')}`,
      title: `Bench ${index}`,
      quantity: units,
      fulfillment: 'MFN' as const,
    })),
  });
  seller = simulator;
  host.mount(simulator);
  const url = host.url('seller');
  return { url, queueUrl: simulator.queueUrl(url), queueArn: simulator.queueArn };
}

async function sellerCalls({ since }: Extract<ShopsQuestion, { do: 'sellerCalls' }>) {
  if (!seller) throw new Error('no seller');
  const query = new URLSearchParams({ since: String(since) });
  const reply = await seller.handleControl({ method: 'GET', path: '/calls', query, text: '' });
  const { next, calls: made } = reply.body as { next: number; calls: Call[] };
  const counts: Record<string, number> = {};
  for (const { operation, status } of made) {
    const name = `${operation}${status < 300 ? '' : ` (${status})`}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  const writes = made.filter(({ operation, status }) => operation === 'patchListingsItem' && status < 300);
  return { next, counts, lastWriteAt: Date.parse(writes.at(-1)?.at ?? '') };
}

async function open(spec: Extract<ShopsQuestion, { do: 'open' }>) {
  const host = await createSimulatorHost({ clock });
  const opened = [];
  for (const { name, domain, secret, accessToken } of spec.shops) {
    const shop = await createShopifySimulator({
      name,
      dir: null,
      clock,
      random: { next: Math.random },
      ids: { uuid: randomUUID },
      profile: spec.profile,
      shopDomain: domain,
      clientId: `bench-${name}`,
      clientSecret: secret,
      accessToken,
      locations: [{ name: 'MAIN', isDefault: true }],
      catalog: Array.from({ length: spec.skus }, (_, index) => ({
        sku: skuOf(index),
        title: `Bench ${index}`,
        quantities: { MAIN: spec.units },
      })),
      post,
    });
    shops.set(name, shop);
    host.mount(
      spec.latencyMs === 0
        ? shop
        : {
            ...shop,
            async handle(call) {
              await clock.sleep(spec.latencyMs);
              return shop.handle(call);
            },
          },
    );
    opened.push({ url: host.url(name), location: shop.locations()[0]?.externalId ?? '' });
  }
  return opened;
}

const shopOf = (name: string): ShopifySimulator => {
  const shop = shops.get(name);
  if (!shop) throw new Error(`no shop ${name}`);
  return shop;
};

async function control<T>(shop: string, method: string, path: string, body?: unknown, query = ''): Promise<T> {
  const reply = await shopOf(shop).handleControl({
    method,
    path,
    query: new URLSearchParams(query),
    text: body === undefined ? '' : JSON.stringify(body),
  });
  if (reply.status >= 300) throw new Error(`${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  return reply.body as T;
}

/** @returns when each order was placed, Unix ms */
async function buy({ shop, orders }: Extract<ShopsQuestion, { do: 'buy' }>): Promise<number[]> {
  const placed: number[] = [];
  for (const skus of orders) {
    placed.push(Date.now());
    await control(shop, 'POST', '/orders', { lines: skus.map((sku) => ({ sku: skuOf(sku), quantity: 1 })) });
  }
  return placed;
}

/** @returns when each order was placed, Unix ms; an order that is late is placed at once */
async function sell({ shop, count, perSecond }: Extract<ShopsQuestion, { do: 'sell' }>): Promise<number[]> {
  const placed: number[] = [];
  const from = performance.now();
  for (let index = 0; index < count; index += 1) {
    const early = from + (index / perSecond) * 1_000 - performance.now();
    if (early > 0) await clock.sleep(early);
    placed.push(Date.now());
    await control(shop, 'POST', '/orders', { lines: [{ sku: skuOf(index), quantity: 1 }] });
  }
  return placed;
}

async function items(shop: string): Promise<Record<string, number>> {
  const state = await control<{ items: { sku: string; stockKey: string }[] }>(shop, 'GET', '/state');
  return Object.fromEntries(
    state.items.map(({ sku, stockKey }) => [stockKey.split('/').at(-1) ?? '', Number(sku.split('-')[1])]),
  );
}

interface Call {
  at: string;
  operation: string;
  status: number;
  applied: boolean;
  body: unknown;
}

async function calls({ shop, since }: Extract<ShopsQuestion, { do: 'calls' }>): Promise<CallCount> {
  const { next, calls: made } = await control<{ next: number; calls: Call[] }>(
    shop,
    'GET',
    '/calls',
    undefined,
    `since=${since}`,
  );
  const counts: Record<string, number> = {};
  const writes: CallCount['writes'] = [];
  for (const { at, operation, status, applied, body } of made) {
    const name = `${operation}${status === 200 ? '' : ` (${status})`}`;
    counts[name] = (counts[name] ?? 0) + 1;
    if (operation !== 'inventorySetQuantities' || !applied) continue;
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    writes.push({
      at: Date.parse(at),
      items: [...text.matchAll(/InventoryItem\/(\d+)/g)].map((match) => match[1] ?? ''),
    });
  }
  return { next, counts, writes };
}

async function truth(shop: string): Promise<Record<string, number>> {
  const { items } = await control<{ items: { sku: string; quantity: number }[] }>(shop, 'GET', '/state');
  return Object.fromEntries(items.map(({ sku, quantity }) => [sku, quantity]));
}

answerQuestions<ShopsQuestion>(async (question) => {
  switch (question.do) {
    case 'open':
      return open(question);
    case 'seller':
      return openSeller(question);
    case 'sellerCalls':
      return sellerCalls(question);
    case 'hold':
      held = question.held;
      return held;
    case 'buy':
      return buy(question);
    case 'sell':
      return sell(question);
    case 'items':
      return items(question.shop);
    case 'take': {
      while ([...shops.values()].some((shop) => shop.pendingWebhooks() > 0)) await clock.sleep(10);
      const taken = kept;
      kept = [];
      return taken;
    }
    case 'truth':
      return truth(question.shop);
    case 'calls':
      return calls(question);
    case 'clock':
      for (const name of shops.keys()) await control(name, 'POST', '/clock', { advanceMs: question.advanceMs });
      return null;
  }
});
