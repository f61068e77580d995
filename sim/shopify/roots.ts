/**
 * The root fields of the Admin API: each checks the caller's scopes, reads or writes the shop, and answers views.
 * graphql-js calls them as methods of the root value: `field(args, context, info)`.
 *
 * Mutations run in one transaction. A refused one answers `userErrors` and changes nothing; what Shopify refuses at the
 * top level (no `@idempotent`, no `changeFromQuantity`) is thrown and leaves the field null (sheet §5.7).
 */
import { GraphQLError, type GraphQLResolveInfo, getDirectiveValues } from 'graphql';
import { ControlRefusal } from '#sim/kit/model.ts';
import { requireAccess } from './access.ts';
import { type Claim, CONCURRENT, type Idempotency } from './idempotency.ts';
import type { AdjustInput, GroupRow, Inventory, SetInput, UserErrorRow, WriteResult } from './inventory.ts';
import { ORDER_FIELDS } from './order-views.ts';
import type { Orders, RefundLine } from './orders.ts';
import type { PageArgs } from './paging.ts';
import { listed } from './paging.ts';
import { gid, idOf, type OrderRow, type RestockType, type SubscriptionRow } from './rows.ts';
import { parseSearch } from './search.ts';
import type { Shop } from './shop.ts';
import type { View } from './view-values.ts';
import type { Views } from './views.ts';

export const API_VERSIONS = ['2025-10', '2026-01', '2026-04', '2026-07', '2026-10'] as const;
const NEWEST_VERSION = '2026-10';
/** Orders older than this need `read_all_orders` (documented). */
const ORDER_WINDOW_MS = 60 * 24 * 3_600_000;

export interface CallContext {
  scopes: ReadonlySet<string>;
  apiVersion: string;
  /** Keys that another call is still carrying out. */
  busyKeys: ReadonlySet<string>;
  /** Rows to carry out before the half-batch fault breaks the call off; null = no fault. */
  halfBatch: boolean;
  /** Set by mutations that were carried out. */
  applied: boolean;
  /** Set when the half-batch fault struck: the answer is a server error. */
  broken: boolean;
}

type Root = (args: never, context: CallContext, info: GraphQLResolveInfo) => unknown;

export interface RootParts {
  shop: Shop;
  views: Views;
  orders: Orders;
  inventory: Inventory;
  idempotency: Idempotency;
  /** How long a new order stays invisible to searches. */
  searchDelayMs: () => number;
}

export function createRoots(parts: RootParts): Record<string, Root> {
  const roots: Record<string, Root> = {
    ...queries(parts),
    ...stockMutations(parts),
    ...orderMutations(parts),
    ...subscriptionMutations(parts),
  };
  return Object.fromEntries(
    Object.entries(roots).map(([field, root]): [string, Root] => [
      field,
      (args, context, info) => {
        requireAccess(field, context.scopes);
        return root(args, context, info);
      },
    ]),
  );
}

function queries({ shop, views, searchDelayMs }: RootParts): Record<string, Root> {
  const orders = (args: { query?: string | null }, context: CallContext): OrderRow[] => {
    const fits = parseSearch(args.query, ORDER_FIELDS);
    const oldest = context.scopes.has('read_all_orders') ? 0 : shop.now() - ORDER_WINDOW_MS;
    const newest = shop.now() - (fits === null ? 0 : searchDelayMs());
    return [...shop.orders.all()].filter(
      (order) => order.createdAt >= oldest && order.createdAt <= newest && (fits === null || fits(order)),
    );
  };
  const find = nodeFinder(shop, views);
  const counted = (n: number, limit: number | null | undefined) =>
    limit != null && n > limit ? { count: limit, precision: 'AT_LEAST' } : { count: n, precision: 'EXACT' };
  const one = (type: string) => (args: { id?: string | null }) => {
    if (args.id == null) return type === 'Location' ? views.location(shop.defaultLocation()) : null;
    return find(args.id, type);
  };

  return {
    shop: () => views.shop(),
    locations: (args: PageArgs & { includeInactive?: boolean }) => views.locations(args),
    location: one('Location'),
    productVariants: (args: PageArgs & { query?: string | null }) => views.variants(args),
    productVariant: one('ProductVariant'),
    productVariantsCount: (args: { limit?: number | null }) => counted(shop.variants.size, args.limit),
    products: (args: PageArgs & { query?: string | null }) => views.products(args),
    product: one('Product'),
    productsCount: (args: { limit?: number | null }) => counted(shop.variants.size, args.limit),
    inventoryItems: (args: PageArgs & { query?: string | null }) => views.items(args),
    inventoryItem: one('InventoryItem'),
    inventoryLevel: one('InventoryLevel'),
    inventoryProperties: () => ({ quantityNames: views.quantityNames() }),
    node: (args: { id: string }) => find(args.id, null),
    nodes: (args: { ids: string[] }) => args.ids.map((id) => find(id, null)),
    orders: (args: PageArgs & { query?: string | null; sortKey?: string }, context) =>
      views.orders(orders(args, context), args),
    order: one('Order'),
    ordersCount: (args: { query?: string | null; limit?: number | null }, context) =>
      counted(orders(args, context).length, args.limit),
    fulfillmentOrder: one('FulfillmentOrder'),
    fulfillment: one('Fulfillment'),
    refund: one('Refund'),
    return: one('Return'),
    webhookSubscriptions: (
      args: PageArgs & { topics?: string[] | null; uri?: string | null; callbackUrl?: string | null },
    ) => {
      const uri = args.uri ?? args.callbackUrl ?? null;
      const rows = [...shop.subscriptions.all()]
        .filter((row) => args.topics?.includes(row.topic) ?? true)
        .filter((row) => uri === null || row.uri === uri);
      return listed(rows, args, views.subscription);
    },
    webhookSubscription: one('WebhookSubscription'),
    webhookSubscriptionsCount: (args: { limit?: number | null }) => counted(shop.subscriptions.size, args.limit),
    publicApiVersions: () => API_VERSIONS.map((handle) => ({ handle, displayName: handle, supported: true })),
    currentAppInstallation: (_args: unknown, context) => ({
      id: gid('AppInstallation', '1'),
      launchUrl: `https://${shop.domain}/admin/apps/syncstate`,
      accessScopes: [...context.scopes].map((handle) => ({ handle, description: handle.replaceAll('_', ' ') })),
    }),
  } as Record<string, Root>;
}

/** Finds any object by its GID; null for what is missing, without an error (sheet §6). */
function nodeFinder(shop: Shop, views: Views) {
  const partOfOrder = (id: string, show: (order: OrderRow) => View | undefined): View | null => {
    const order = shop.orderOfPart(id);
    return order === undefined ? null : (show(order) ?? null);
  };
  return (given: string, wanted: string | null): View | null => {
    const type = /^gid:\/\/shopify\/([A-Za-z]+)\//.exec(given)?.[1];
    if (type === undefined) {
      throw new GraphQLError(`Invalid global id '${given}'`, { extensions: { code: 'argumentLiteralsIncompatible' } });
    }
    if (wanted !== null && type !== wanted) {
      throw new GraphQLError(`Invalid id: ${given}`, { extensions: { code: 'RESOURCE_NOT_FOUND' } });
    }
    const id = idOf(type, given.split('?')[0] ?? given) ?? '';
    const show = <Row>(row: Row | undefined, view: (row: Row) => View) => (row === undefined ? null : view(row));
    switch (type) {
      case 'Shop':
        return views.shop();
      case 'Location':
        return show(shop.locations.get(id), views.location);
      case 'ProductVariant':
        return show(shop.variants.get(id), views.variant);
      case 'Product':
        return show(
          [...shop.variants.all()].find((row) => row.productId === id),
          views.product,
        );
      case 'InventoryItem':
        return show(shop.variantOfItem(id), views.item);
      case 'InventoryLevel':
        return show(levelOf(shop, id, given), views.level);
      case 'Order':
        return show(shop.orders.get(id), views.order);
      case 'WebhookSubscription':
        return show(shop.subscriptions.get(id), views.subscription);
      case 'FulfillmentOrder':
        return partOfOrder(id, (order) => shown(order, order.fulfillmentOrders, id, views.fulfillmentOrder));
      case 'Fulfillment':
        return partOfOrder(id, (order) => shown(order, order.fulfillments, id, views.fulfillment));
      case 'Refund':
        return partOfOrder(id, (order) => shown(order, order.refunds, id, views.refund));
      case 'Return':
        return partOfOrder(id, (order) => shown(order, order.returns, id, views.returned));
      default:
        return null;
    }
  };
}

function levelOf(shop: Shop, id: string, given: string) {
  const itemId = /inventory_item_id=(\d+)/.exec(given)?.[1];
  return itemId === undefined ? undefined : shop.levelsOfItem(itemId).find((row) => row.id === id);
}

function shown<Row extends { id: string }>(
  order: OrderRow,
  rows: readonly Row[],
  id: string,
  view: (order: OrderRow, row: Row) => View,
): View | undefined {
  const row = rows.find((candidate) => candidate.id === id);
  return row === undefined ? undefined : view(order, row);
}

function idempotencyKey(info: GraphQLResolveInfo): string {
  const directive = info.schema.getDirective('idempotent');
  const node = info.fieldNodes[0];
  const given =
    directive != null && node !== undefined ? getDirectiveValues(directive, node, info.variableValues) : undefined;
  const key = given?.key;
  if (typeof key !== 'string' || key.trim() === '') {
    const message =
      given === undefined
        ? 'The @idempotent directive is required for this mutation but was not provided.'
        : 'The idempotency key must not be blank.';
    throw new GraphQLError(message, { extensions: { code: 'BAD_REQUEST' } });
  }
  return key;
}

function requireCompare(rows: readonly object[], typeName: string): void {
  if (rows.every((row) => Object.hasOwn(row, 'changeFromQuantity'))) return;
  throw new GraphQLError(`${typeName} must include the following argument: changeFromQuantity.`, {
    extensions: { code: 'INVALID_FIELD_ARGUMENTS' },
  });
}

/** 2025-10 knows no directive and 2026-01 does not ask for it (sheet §0.2). */
const demandsIdempotency = (version: string): boolean => version >= '2026-04';

function claimed(parts: RootParts, context: CallContext, info: GraphQLResolveInfo, args: unknown): Claim {
  if (!demandsIdempotency(context.apiVersion) && info.fieldNodes[0]?.directives?.length === 0) {
    return { kind: 'new', remember: () => {} };
  }
  const key = idempotencyKey(info);
  if (context.busyKeys.has(key)) return CONCURRENT;
  return parts.idempotency.claim(key, info.fieldName, args);
}

function stockMutations(parts: RootParts): Record<string, Root> {
  const { shop, views, inventory } = parts;
  const payload = (group: GroupRow | null, userErrors: UserErrorRow[]) => ({
    inventoryAdjustmentGroup: group === null ? null : views.group(group),
    userErrors,
  });

  function write(
    context: CallContext,
    info: GraphQLResolveInfo,
    args: object,
    rows: number,
    run: (onlyFirst?: number) => WriteResult,
  ) {
    return shop.core.tables.transact(() => {
      const claim = claimed(parts, context, info, args);
      if (claim.kind === 'refused') return payload(null, [{ code: claim.code, field: null, message: claim.message }]);
      if (claim.kind === 'replay') return payload((claim.result as { group: GroupRow | null }).group, []);
      if (context.halfBatch) {
        const result = run(Math.ceil(rows / 2));
        context.applied = result.kind === 'written';
        context.broken = true;
        claim.remember(null);
        return payload(null, []);
      }
      const result = run();
      claim.remember(result.kind === 'written' ? { group: result.group } : null);
      if (result.kind === 'refused') return payload(null, result.userErrors);
      context.applied = true;
      return payload(result.group, []);
    });
  }

  return {
    inventorySetQuantities(args: { input: SetInput }, context, info) {
      if (demandsIdempotency(context.apiVersion)) requireCompare(args.input.quantities, 'InventoryQuantityInput');
      return write(context, info, args, args.input.quantities.length, (onlyFirst) =>
        inventory.set(args.input, onlyFirst),
      );
    },
    inventoryAdjustQuantities(args: { input: AdjustInput }, context, info) {
      if (demandsIdempotency(context.apiVersion)) requireCompare(args.input.changes, 'InventoryChangeInput');
      return write(context, info, args, args.input.changes.length, (onlyFirst) =>
        inventory.adjust(args.input, onlyFirst),
      );
    },
    inventoryActivate(args: Parameters<Inventory['activate']>[0], context, info) {
      return shop.core.tables.transact(() => {
        const refused = (userErrors: UserErrorRow[]) => ({ inventoryLevel: null, userErrors });
        const claim = claimed(parts, context, info, args);
        if (claim.kind === 'refused') return refused([{ code: null, field: null, message: claim.message }]);
        const level =
          claim.kind === 'replay' ? shop.level(...(claim.result as { level: [string, string] }).level) : undefined;
        if (level !== undefined) return { inventoryLevel: views.level(level), userErrors: [] };
        const result = inventory.activate(args);
        const done = result.kind === 'activated';
        if (claim.kind === 'new')
          claim.remember(done ? { level: [result.level.itemId, result.level.locationId] } : null);
        if (!done) return refused(result.userErrors);
        context.applied = true;
        return { inventoryLevel: views.level(result.level), userErrors: [] };
      });
    },
  } as Record<string, Root>;
}

/** Runs a change of an order; a refusal becomes a user error and nothing has happened. */
function attempt<Result>(
  shop: Shop,
  field: string[],
  run: () => Result,
): { result: Result } | { userErrors: UserErrorRow[] } {
  try {
    return { result: shop.core.tables.transact(run) };
  } catch (error) {
    if (!(error instanceof ControlRefusal)) throw error;
    const code = error.status === 404 ? 'NOT_FOUND' : 'INVALID';
    return { userErrors: [{ code, field, message: error.message }] };
  }
}

interface RefundInput {
  orderId: string;
  note?: string | null;
  refundLineItems?:
    | { lineItemId: string; quantity: number; restockType?: string | null; locationId?: string | null }[]
    | null;
}

interface FulfillmentInput {
  lineItemsByFulfillmentOrder: {
    fulfillmentOrderId: string;
    fulfillmentOrderLineItems?: { id: string; quantity: number }[] | null;
  }[];
  trackingInfo?: {
    company?: string | null;
    number?: string | null;
    numbers?: string[] | null;
    url?: string | null;
    urls?: string[] | null;
  } | null;
}

function orderMutations(parts: RootParts): Record<string, Root> {
  const { shop, views, orders } = parts;

  function refundLines(input: RefundInput): RefundLine[] {
    return (input.refundLineItems ?? []).map((line) => {
      if (line.restockType === 'LEGACY_RESTOCK') throw new ControlRefusal(422, 'LEGACY_RESTOCK is not accepted');
      const locationId = line.locationId == null ? null : shop.findLocation(line.locationId).id;
      const restockType = (line.restockType ?? 'NO_RESTOCK') as RestockType;
      return { lineId: line.lineItemId, quantity: line.quantity, restockType, locationId };
    });
  }

  return {
    orderCancel(args: { orderId: string; reason: string; restock: boolean }, context) {
      const tried = attempt(shop, ['orderId'], () =>
        orders.cancel(orders.find(args.orderId), { restock: args.restock, reason: args.reason.toLowerCase() }),
      );
      if ('userErrors' in tried)
        return { job: null, orderCancelUserErrors: tried.userErrors, userErrors: tried.userErrors };
      context.applied = true;
      const job = { id: gid('Job', shop.core.ids.uuid()), done: true };
      return { job, orderCancelUserErrors: [], userErrors: [] };
    },
    refundCreate(args: { input: RefundInput }, context, info) {
      const refused = (userErrors: UserErrorRow[]) => ({ refund: null, order: null, userErrors });
      return shop.core.tables.transact(() => {
        const claim = claimed(parts, context, info, args);
        if (claim.kind === 'refused') return refused([{ code: null, field: null, message: claim.message }]);
        const show = ({ orderId, refundId }: { orderId: string; refundId: string }) => {
          const order = orders.find(orderId);
          const refund = order.refunds.find((row) => row.id === refundId);
          return {
            refund: refund === undefined ? null : views.refund(order, refund),
            order: views.order(order),
            userErrors: [],
          };
        };
        if (claim.kind === 'replay') return show(claim.result as { orderId: string; refundId: string });
        const tried = attempt(shop, ['refundLineItems'], () =>
          orders.refund(orders.find(args.input.orderId), refundLines(args.input), args.input.note ?? null),
        );
        const made = 'result' in tried ? { orderId: tried.result.order.id, refundId: tried.result.refund.id } : null;
        claim.remember(made);
        if (made === null) return refused('userErrors' in tried ? tried.userErrors : []);
        context.applied = true;
        return show(made);
      });
    },
    fulfillmentCreate(args: { fulfillment: FulfillmentInput }, context) {
      const tried = attempt(shop, ['fulfillment'], () => {
        const picks = args.fulfillment.lineItemsByFulfillmentOrder.map((pick) => ({
          fulfillmentOrderId: idOf('FulfillmentOrder', pick.fulfillmentOrderId) ?? '',
          lines:
            pick.fulfillmentOrderLineItems?.map(({ id, quantity }) => ({
              id: idOf('FulfillmentOrderLineItem', id) ?? '',
              quantity,
            })) ?? null,
        }));
        return orders.fulfill(ownerOf(shop, picks), picks, trackingOf(args.fulfillment));
      });
      if ('userErrors' in tried) return { fulfillment: null, userErrors: tried.userErrors };
      context.applied = true;
      return { fulfillment: views.fulfillment(tried.result.order, tried.result.fulfillment), userErrors: [] };
    },
  } as Record<string, Root>;
}

/** All fulfillment orders of one call belong to one order and one location (sheet §7). */
function ownerOf(shop: Shop, picks: { fulfillmentOrderId: string }[]): OrderRow {
  const ids = picks.map((pick) => pick.fulfillmentOrderId);
  const order = shop.orderOfPart(ids[0] ?? '');
  if (order === undefined) throw new ControlRefusal(404, 'Fulfillment order does not exist.');
  const mine = order.fulfillmentOrders.filter((row) => ids.includes(row.id));
  if (mine.length < new Set(ids).size || new Set(mine.map((row) => row.locationId)).size > 1) {
    throw new ControlRefusal(422, 'All fulfillment orders must be of the same order and location.');
  }
  return order;
}

function trackingOf(input: FulfillmentInput) {
  const given = input.trackingInfo;
  if (given == null) return [];
  const numbers = given.numbers ?? (given.number == null ? [] : [given.number]);
  const urls = given.urls ?? (given.url == null ? [] : [given.url]);
  const parcels = Math.max(numbers.length, urls.length, given.company == null ? 0 : 1);
  return Array.from({ length: parcels }, (_, index) => ({
    company: given.company ?? null,
    number: numbers[index] ?? null,
    url: urls[index] ?? null,
  }));
}

interface SubscriptionInput {
  uri?: string | null;
  callbackUrl?: string | null;
  format?: 'JSON' | 'XML' | null;
  filter?: string | null;
  includeFields?: string[] | null;
  metafieldNamespaces?: string[] | null;
  name?: string | null;
}

function subscriptionMutations({ shop, views }: RootParts): Record<string, Root> {
  const { subscriptions } = shop;
  const at = ['webhookSubscription', 'callbackUrl'];
  const refused = (field: string[], message: string) => ({
    webhookSubscription: null,
    deletedWebhookSubscriptionId: null,
    userErrors: [{ code: null, field, message }],
  });

  /** Reachability is not checked (observed). Shopify wants https; this simulator takes http on loopback, too. */
  function uriProblem(uri: string, topic: string, own: string | null): string | null {
    if (uri.trim() === '') return "Address can't be blank";
    const url = URL.canParse(uri) ? new URL(uri) : null;
    const loopback = url !== null && /^(localhost|127\.|\[::1\])/.test(url.host);
    if (url === null || (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback))) {
      return 'Address protocol http:// is not supported';
    }
    const taken = [...subscriptions.all()].some((row) => row.id !== own && row.topic === topic && row.uri === uri);
    return taken ? 'Address for this topic has already been taken' : null;
  }

  function saved(base: SubscriptionRow, input: SubscriptionInput, uri: string): SubscriptionRow {
    const row = {
      ...base,
      uri,
      format: input.format ?? base.format,
      filter: input.filter === undefined ? base.filter : input.filter,
      includeFields: input.includeFields ?? base.includeFields,
      metafieldNamespaces: input.metafieldNamespaces ?? base.metafieldNamespaces,
      name: input.name === undefined ? base.name : input.name,
      updatedAt: shop.now(),
    };
    subscriptions.put(row.id, row);
    return row;
  }

  const nameProblem = (name: string | null | undefined) =>
    name != null && !/^[A-Za-z0-9_-]{1,50}$/.test(name) ? 'Name is invalid' : null;

  return {
    webhookSubscriptionCreate(args: { topic: string; webhookSubscription: SubscriptionInput }, context) {
      const input = args.webhookSubscription;
      const uri = input.uri ?? input.callbackUrl ?? '';
      const problem = uriProblem(uri, args.topic, null);
      if (problem !== null) return refused(at, problem);
      const badName = nameProblem(input.name);
      if (badName !== null) return refused(['webhookSubscription', 'name'], badName);
      context.applied = true;
      const base: SubscriptionRow = {
        id: shop.newId('other'),
        topic: args.topic,
        uri,
        format: 'JSON',
        filter: null,
        includeFields: [],
        metafieldNamespaces: [],
        name: null,
        apiVersion: context.apiVersion,
        createdAt: shop.now(),
        updatedAt: shop.now(),
      };
      return { webhookSubscription: views.subscription(saved(base, input, uri)), userErrors: [] };
    },
    webhookSubscriptionUpdate(args: { id: string; webhookSubscription: SubscriptionInput }, context) {
      const row = subscriptions.get(idOf('WebhookSubscription', args.id) ?? '');
      if (row === undefined) return refused(['id'], 'Webhook subscription does not exist');
      const uri = args.webhookSubscription.uri ?? args.webhookSubscription.callbackUrl ?? row.uri;
      const problem = uriProblem(uri, row.topic, row.id);
      if (problem !== null) return refused(at, problem);
      const badName = nameProblem(args.webhookSubscription.name);
      if (badName !== null) return refused(['webhookSubscription', 'name'], badName);
      context.applied = true;
      return { webhookSubscription: views.subscription(saved(row, args.webhookSubscription, uri)), userErrors: [] };
    },
    webhookSubscriptionDelete(args: { id: string }, context) {
      const id = idOf('WebhookSubscription', args.id) ?? '';
      if (!subscriptions.has(id)) return refused(['id'], 'Webhook subscription does not exist');
      subscriptions.delete(id);
      context.applied = true;
      return { deletedWebhookSubscriptionId: gid('WebhookSubscription', id), userErrors: [] };
    },
  } as Record<string, Root>;
}

export const versionServed = (asked: string): string =>
  (API_VERSIONS as readonly string[]).includes(asked)
    ? asked
    : asked > NEWEST_VERSION
      ? NEWEST_VERSION
      : API_VERSIONS[0];
