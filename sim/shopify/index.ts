/**
 * The Shopify simulator: one simulated shop with its Admin API (GraphQL 2026-10), token endpoint and webhooks.
 * Written from Shopify's documents alone; differences and assumptions are listed in NOTES.md.
 *
 *   {base}/admin/api/{version}/graphql.json   {base}/admin/oauth/access_token   {base}/admin/oauth/authorize
 *
 * Mount it on a host of `#sim/kit/server.ts`. A journal that exists wins over the seed; `POST /_sim/reset` plants the
 * seed's numbers again. Used by the demo organization, tests and benches.
 */
import { readFileSync } from 'node:fs';
import type { Clock, Ids, Random } from '#core/effects.ts';
import { openSimCore, type SimCore } from '#sim/kit/core.ts';
import type { Fault } from '#sim/kit/faults.ts';
import {
  type CallIdentity,
  ControlRefusal,
  type SimItem,
  type SimOrder,
  type VendorCall,
  type VendorModel,
  type VendorReply,
} from '#sim/kit/model.ts';
import type { ProfileName } from '#sim/kit/profiles.ts';
import type { PostMessage } from '#sim/kit/sender.ts';
import { createSimulator, type Simulator } from '#sim/kit/simulator.ts';
import { ALL_SCOPES } from './access.ts';
import { createAuth, json } from './auth.ts';
import { createBucket } from './cost.ts';
import { createGraphqlEndpoint, type GraphqlRequest } from './graphql.ts';
import { createIdempotency, type ReplayRule } from './idempotency.ts';
import { createInventory } from './inventory.ts';
import { createOrders, type Orders } from './orders.ts';
import { number } from './payloads.ts';
import { createRoots, versionServed } from './roots.ts';
import { currentQuantity, financialStatus, fulfillmentState, gid, type LevelRow, type OrderRow } from './rows.ts';
import { createShop, type Shop, type ShopSeed } from './shop.ts';
import { createViews } from './views.ts';
import { createWebhooks, type Webhooks } from './webhooks.ts';

/** How long Shopify takes to answer (assumed), and how long a new order is missing from searches (assumed). */
const VENDOR_LATENCY_MS = [60, 200] as const;
const VENDOR_SEARCH_DELAY_MS = 2_000;

export interface ShopifySimulatorOptions extends ShopSeed {
  /** Its place on the host and its folder's name, e.g. "shop-a". */
  name: string;
  /** Parent of the simulator's folder; null = memory only. */
  dir: string | null;
  clock: Clock;
  random: Random;
  ids: Ids;
  profile: ProfileName;
  /** e.g. "demo-a.myshopify.com" */
  shopDomain: string;
  clientId: string;
  /** Signs webhooks. */
  clientSecret: string;
  /** A static token that never expires. */
  accessToken: string;
  /** Granted scopes; default: all that this simulator knows. */
  scopes?: readonly string[];
  /** How webhooks are delivered; default: HTTP on loopback. */
  post?: PostMessage;
  /** What a repeated idempotency key does; default `result`. */
  idempotentReplay?: ReplayRule;
}

export interface ShopifySimulator extends Simulator {
  readonly shopDomain: string;
  /** As the demo hands them on: name and GID. */
  locations(): { name: string; externalId: string }[];
  /** Webhooks that are not delivered yet. */
  pendingWebhooks(): number;
}

interface ShopifyIdentity extends CallIdentity {
  route: 'graphql' | 'token' | 'authorize' | 'unknown';
  version: string;
  request: GraphqlRequest | null;
}

const INVALID_TOKEN = '[API] Invalid API key or access token (unrecognized login or wrong password)';

export async function createShopifySimulator(options: ShopifySimulatorOptions): Promise<ShopifySimulator> {
  const core = await openSimCore(options);
  const shop: Shop = createShop(core, options.shopDomain, options, () => webhooks);
  const webhooks: Webhooks = createWebhooks(shop, options.clientSecret);
  const orders = createOrders(shop, () => webhooks);
  if (shop.variants.size === 0) core.tables.transact(() => shop.seed());
  const model = createModel(core, shop, orders, webhooks, options);
  await core.tables.durable();
  return {
    ...createSimulator(core, model),
    shopDomain: options.shopDomain,
    locations: () => [...shop.locations.all()].map(({ id, name }) => ({ name, externalId: gid('Location', id) })),
    pendingWebhooks: () => webhooks.sender.pending(),
  };
}

function createModel(
  core: SimCore,
  shop: Shop,
  orders: Orders,
  webhooks: Webhooks,
  options: ShopifySimulatorOptions,
): VendorModel<ShopifyIdentity> {
  const limited = () => core.profile.current() === 'vendor';
  const auth = createAuth(core, { ...options, scope: options.scopes?.join(',') ?? ALL_SCOPES });
  const idempotency = createIdempotency(core, options.idempotentReplay ?? 'result');
  const endpoint = createGraphqlEndpoint({
    schemaText: readFileSync(new URL('./schema.graphql', import.meta.url), 'utf8'),
    roots: createRoots({
      shop,
      views: createViews(shop),
      orders,
      inventory: createInventory(shop),
      idempotency,
      searchDelayMs: () => (limited() ? VENDOR_SEARCH_DELAY_MS : 0),
    }),
    bucket: createBucket(core.clock.monotonicMs, limited),
    idempotency,
    limited,
  });

  function identify(call: VendorCall): ShopifyIdentity {
    if (call.path === '/admin/oauth/access_token') {
      return { operation: 'access_token', confidential: true, route: 'token', version: '', request: null };
    }
    if (call.path === '/admin/oauth/authorize') {
      return { operation: 'authorize', confidential: true, route: 'authorize', version: '', request: null };
    }
    const version = /^\/admin\/api\/(\d{4}-\d{2})\/graphql\.json$/.exec(call.path)?.[1];
    if (version === undefined || call.method !== 'POST') {
      return { operation: `${call.method} ${call.path}`, route: 'unknown', version: '', request: null };
    }
    const request = endpoint.read(call.body.toString('utf8'));
    const operations = request === null ? ['invalid'] : endpoint.operationsOf(request);
    return { operation: operations[0] ?? 'invalid', operations, route: 'graphql', version, request };
  }

  async function answerGraphql(call: VendorCall, identity: ShopifyIdentity): Promise<VendorReply> {
    const token = call.headers['x-shopify-access-token'];
    const scopes = auth.scopesOf(Array.isArray(token) ? token[0] : token);
    if (scopes === null) return json(401, { errors: INVALID_TOKEN }, false);
    if (identity.request === null)
      return json(400, { errors: { query: 'Required parameter missing or invalid' } }, false);
    const apiVersion = versionServed(identity.version);
    const reply = await endpoint.answer(identity.request, {
      scopes,
      apiVersion,
      takeHalfBatch: () => core.faults.takeForCall(['half_batch'], identity.operations ?? []) !== null,
      work: () => work(call),
    });
    return { ...reply, headers: { ...reply.headers, 'x-shopify-api-version': apiVersion } };
  }

  /** The time the vendor takes, spent while the call's idempotency keys count as running. */
  async function work(call: VendorCall): Promise<void> {
    if (!limited()) return;
    const [least, most] = VENDOR_LATENCY_MS;
    await core.clock.sleep(least + core.random.next() * (most - least), call.gone());
  }

  return {
    identify,
    answer(call, identity) {
      switch (identity.route) {
        case 'token':
          return auth.tokenEndpoint(call);
        case 'authorize':
          return auth.authorizeEndpoint(call);
        case 'graphql':
          return answerGraphql(call, identity);
        default:
          return json(404, { errors: 'Not Found' }, false);
      }
    },
    refuse(fault) {
      if (fault.kind === 'revoke') return json(401, { errors: INVALID_TOKEN }, false);
      const status = fault.status ?? 503;
      const reply = json(status, { errors: STATUS_TEXTS[status] ?? 'Service Unavailable' }, false);
      const retryAfter = fault.retryAfter === null ? {} : { 'retry-after': String(fault.retryAfter) };
      return { ...reply, headers: { ...reply.headers, ...retryAfter } };
    },
    /** Spent in `work` instead, after the keys are claimed. */
    latencyMs: () => [0, 0],
    retarget: webhooks.retarget,
    start: () => webhooks.sender.start(),
    close: () => webhooks.sender.close(),
    faultSet: (fault) => uninstallWhenAsked(fault),
    ...control(shop, orders, webhooks),
  };

  /** A `revoke` that matches the topic app/uninstalled is an uninstall: the last webhook, then no token and no subscription. */
  function uninstallWhenAsked(fault: Fault): void {
    if (fault.kind !== 'revoke' || fault.topic !== 'app/uninstalled') return;
    webhooks.emit('app/uninstalled', core.ids.uuid(), () => ({
      id: number(shop.shopId),
      name: shop.domain.split('.')[0],
      email: `owner@${shop.domain}`,
      domain: shop.domain,
      myshopify_domain: shop.domain,
      plan_name: 'basic',
    }));
    shop.subscriptions.clear();
    auth.uninstall();
  }
}

const STATUS_TEXTS: Record<number, string> = {
  401: INVALID_TOKEN,
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  423: 'Locked',
  429: 'Exceeded the call limit. Reduce request rates to resume uninterrupted service.',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  504: 'Gateway Timeout',
};

function control(shop: Shop, orders: Orders, webhooks: Webhooks) {
  const simOrder = (order: OrderRow): SimOrder => ({
    id: gid('Order', order.id),
    status: statusOf(order),
    lines: order.lines.map((line) => ({
      id: gid('LineItem', line.id),
      sku: line.sku,
      quantity: currentQuantity(line),
    })),
  });

  function simItem(level: LevelRow): SimItem | null {
    const variant = shop.variantOfItem(level.itemId);
    if (variant === undefined) return null;
    return {
      sku: variant.sku,
      externalId: gid('Product', variant.productId),
      variantExternalId: gid('ProductVariant', variant.id),
      stockKey: gid('InventoryItem', level.itemId),
      location: gid('Location', level.locationId),
      quantity: level.quantities.available,
      committed: level.quantities.committed,
    };
  }

  return {
    items: () => [...shop.levels.all()].flatMap((level) => simItem(level) ?? []),
    orders: () => [...shop.orders.all()].map(simOrder),
    placeOrder(input: Parameters<VendorModel['placeOrder']>[0]) {
      const { id, lines } = simOrder(orders.place({ ...input, paid: input.status === 'paid' }));
      return { id, lines };
    },
    payOrder: ({ order }: { order: string }) => simOrder(orders.pay(orders.find(order))),
    editOrder: (input: Parameters<VendorModel['editOrder']>[0]) =>
      simOrder(orders.edit(orders.find(input.order), input.lines)),
    cancelOrder({ order, restock, lines }: Parameters<VendorModel['cancelOrder']>[0]) {
      const found = orders.find(order);
      if (lines !== undefined) return simOrder(orders.cancelLines(found, lines, restock));
      return simOrder(orders.cancel(found, { restock, reason: 'customer' }));
    },
    returnGoods: ({ order, lines, restock }: Parameters<VendorModel['returnGoods']>[0]) =>
      simOrder(orders.returnGoods(orders.find(order), lines, restock)),
    fulfillOrder: ({ order, lines }: Parameters<VendorModel['fulfillOrder']>[0]) =>
      simOrder(orders.fulfillLines(orders.find(order), lines)),
    setStock({ sku, location, quantity }: Parameters<VendorModel['setStock']>[0]) {
      const variant = shop.variantBySku(sku);
      if (variant === undefined) throw new ControlRefusal(404, `No such SKU in this shop: ${sku}`);
      const at = location === undefined ? shop.defaultLocation() : shop.findLocation(location);
      const level = shop.activate(variant.itemId, at.id, true);
      const available = quantity - level.quantities.available;
      const item = simItem(shop.changeLevel(variant.itemId, at.id, { available }, shop.core.ids.uuid()));
      if (item === null) throw new ControlRefusal(404, `No such SKU in this shop: ${sku}`);
      return item;
    },
    editProduct({ sku, removed, ...changes }: Parameters<NonNullable<VendorModel['editProduct']>>[0]) {
      const variant = shop.editProduct(sku, removed === true ? null : changes);
      if (variant === undefined) throw new ControlRefusal(404, `No such SKU in this shop: ${sku}`);
      return { sku, externalId: `gid://shopify/ProductVariant/${variant.id}` };
    },
    reset() {
      webhooks.sender.clear();
      shop.unseed();
    },
  };
}

function statusOf(order: OrderRow): string {
  if (order.cancelledAt !== null) return 'cancelled';
  const shipped = fulfillmentState(order);
  return shipped === 'UNFULFILLED' ? financialStatus(order).toLowerCase() : shipped.toLowerCase();
}
