/**
 * Rows as GraphQL objects: plain values and functions that graphql-js calls for the fields a document asks for.
 * Names and meanings: Shopify's schema 2026-10; the excerpt is `schema.graphql`. Reads only.
 */

import type { GroupRow } from './inventory.ts';
import { connection, listed, type PageArgs } from './paging.ts';
import { money, SHOP_ZONE } from './payloads.ts';
import {
  currentQuantity,
  type FulfillmentOrderRow,
  type FulfillmentRow,
  financialStatus,
  fulfillmentState,
  gid,
  HELD_NAMES,
  type LevelRow,
  type LineRow,
  type LocationRow,
  levelGid,
  type OrderRow,
  type QuantityName,
  quantityOf,
  type RefundRow,
  type ReturnRow,
  refundedCents,
  STORED_NAMES,
  type SubscriptionRow,
  totalCents,
  unfulfilledQuantity,
  type VariantRow,
} from './rows.ts';
import { parseSearch, type SearchFields } from './search.ts';
import type { Shop } from './shop.ts';

export type View = Record<string, unknown>;

/** Shopify's DateTime: UTC, whole seconds. */
export const gqlTime = (at: number): string => `${new Date(Math.floor(at / 1000) * 1000).toISOString().slice(0, 19)}Z`;

const timeOrNull = (at: number | null): string | null => (at === null ? null : gqlTime(at));
const count = (n: number): View => ({ count: n, precision: 'EXACT' });
const byId = (row: { id: string }) => ({ value: 0, id: row.id });

function moneyBag(cents: number): View {
  const amount = { amount: money(cents), currencyCode: 'USD' };
  return { shopMoney: amount, presentmentMoney: amount };
}

export const ORDER_FIELDS: SearchFields<OrderRow> = {
  updated_at: (order) => ({ time: order.updatedAt }),
  created_at: (order) => ({ time: order.createdAt }),
  processed_at: (order) => ({ time: order.createdAt }),
  financial_status: (order) => ({ text: financialStatus(order) }),
  fulfillment_status: (order) => ({ text: [fulfillmentState(order), SEARCH_FULFILLMENT[fulfillmentState(order)]] }),
  status: (order) => ({ text: ['any', ...orderStatus(order)] }),
  name: (order) => ({ text: [`#${order.number}`, String(order.number)] }),
  default: (order) => ({ text: [`#${order.number}`, String(order.number)] }),
  sku: (order) => ({ text: order.lines.map((line) => line.sku) }),
  tag: (order) => ({ text: order.tags }),
  test: () => ({ text: 'false' }),
  source_name: () => ({ text: 'web' }),
  location_id: (order) => ({ text: order.fulfillmentOrders.map((one) => one.locationId) }),
  fulfillment_location_id: (order) => ({ text: order.fulfillmentOrders.map((one) => one.locationId) }),
  id: (order) => ({ id: order.id }),
};

const SEARCH_FULFILLMENT = { UNFULFILLED: 'unshipped', PARTIALLY_FULFILLED: 'partial', FULFILLED: 'shipped' } as const;

function orderStatus(order: OrderRow): string[] {
  if (order.cancelledAt !== null) return ['cancelled'];
  return order.closedAt === null ? ['open', 'not_closed'] : ['closed'];
}

export const VARIANT_FIELDS: SearchFields<VariantRow> = {
  sku: (variant) => ({ text: variant.sku }),
  default: (variant) => ({ text: [variant.sku, variant.title] }),
  title: (variant) => ({ text: variant.title }),
  barcode: (variant) => ({ text: variant.barcode ?? '' }),
  product_id: (variant) => ({ id: variant.productId }),
  updated_at: (variant) => ({ time: variant.updatedAt }),
  created_at: (variant) => ({ time: variant.createdAt }),
  id: (variant) => ({ id: variant.id }),
};

export interface Views {
  shop(): View;
  location(row: LocationRow): View;
  locations(args: PageArgs & { includeInactive?: boolean; query?: string | null }): unknown;
  variant(row: VariantRow): View;
  variants(args: PageArgs & { query?: string | null; sortKey?: string }): unknown;
  product(row: VariantRow): View;
  products(args: PageArgs & { query?: string | null }): unknown;
  item(row: VariantRow): View;
  items(args: PageArgs & { query?: string | null }): unknown;
  level(row: LevelRow): View;
  order(row: OrderRow): View;
  orders(rows: readonly OrderRow[], args: PageArgs & { sortKey?: string }): unknown;
  fulfillmentOrder(order: OrderRow, row: FulfillmentOrderRow): View;
  fulfillment(order: OrderRow, row: FulfillmentRow): View;
  refund(order: OrderRow, row: RefundRow): View;
  returned(order: OrderRow, row: ReturnRow): View;
  subscription(row: SubscriptionRow): View;
  group(row: GroupRow): View;
  quantityNames(): View[];
}

/** @param mayRead whether the caller may read fulfillment orders; throws Shopify's refusal when not. */
export function createViews(shop: Shop): Views {
  const variantRows = (query: string | null | undefined) => {
    const fits = parseSearch(query, VARIANT_FIELDS);
    const rows = [...shop.variants.all()];
    return fits === null ? rows : rows.filter(fits);
  };

  function shopView(): View {
    return {
      __typename: 'Shop',
      id: gid('Shop', '1'),
      name: shop.domain.split('.')[0],
      email: `owner@${shop.domain}`,
      myshopifyDomain: shop.domain,
      primaryDomain: { id: gid('Domain', '1'), host: shop.domain, url: `https://${shop.domain}`, sslEnabled: true },
      url: `https://${shop.domain}`,
      plan: { displayName: 'Basic', publicDisplayName: 'Basic', partnerDevelopment: false, shopifyPlus: false },
      currencyCode: 'USD',
      ianaTimezone: SHOP_ZONE.name,
      timezoneAbbreviation: SHOP_ZONE.abbreviation,
      timezoneOffset: SHOP_ZONE.offset,
      timezoneOffsetMinutes: SHOP_ZONE.minutes,
      createdAt: gqlTime(shop.defaultLocation().createdAt),
      updatedAt: gqlTime(shop.defaultLocation().updatedAt),
    };
  }

  function location(row: LocationRow): View {
    const levels = (includeInactive: boolean) =>
      [...shop.levels.all()].filter((level) => level.locationId === row.id && (includeInactive || level.isActive));
    return {
      __typename: 'Location',
      id: gid('Location', row.id),
      legacyResourceId: row.id,
      name: row.name,
      isActive: row.isActive,
      isPrimary: row.isDefault,
      fulfillsOnlineOrders: row.isActive,
      shipsInventory: row.isActive,
      isFulfillmentService: false,
      hasActiveInventory: () => levels(false).length > 0,
      hasUnfulfilledOrders: false,
      activatable: !row.isActive,
      deactivatable: row.isActive,
      deletable: false,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      deactivatedAt: null,
      address: { ...ADDRESS, formatted: [ADDRESS.address1, ADDRESS.city] },
      inventoryLevel: ({ inventoryItemId, includeInactive }: { inventoryItemId: string; includeInactive?: boolean }) =>
        levelAt(inventoryItemId.split('/').at(-1) ?? '', row.id, includeInactive === true),
      inventoryLevels: (args: PageArgs & { includeInactive?: boolean }) =>
        connection(levels(args.includeInactive === true), args, byId, level),
    };
  }

  function levelAt(itemId: string, locationId: string, includeInactive: boolean): View | null {
    const found = shop.level(itemId, locationId);
    return found === undefined || (!found.isActive && !includeInactive) ? null : level(found);
  }

  function level(row: LevelRow): View {
    return {
      __typename: 'InventoryLevel',
      id: levelGid(row),
      isActive: row.isActive,
      canDeactivate: row.isActive,
      deactivationAlert: null,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      item: () => itemOf(row.itemId),
      location: () => locationOf(row.locationId),
      quantities: ({ names }: { names: string[] }) =>
        names.filter(isQuantityName).map((name) => ({
          id: `${gid('InventoryQuantity', row.id)}?name=${name}`,
          name,
          quantity: quantityOf(row, name),
          updatedAt: gqlTime(row.updatedAt),
        })),
    };
  }

  function itemOf(itemId: string): View | null {
    const variant = shop.variantOfItem(itemId);
    return variant === undefined ? null : item(variant);
  }

  function locationOf(locationId: string | null): View | null {
    const row = locationId === null ? undefined : shop.locations.get(locationId);
    return row === undefined ? null : location(row);
  }

  function item(row: VariantRow): View {
    return {
      __typename: 'InventoryItem',
      id: gid('InventoryItem', row.itemId),
      legacyResourceId: row.itemId,
      sku: row.sku,
      tracked: row.tracked,
      requiresShipping: true,
      duplicateSkuCount: () => [...shop.variants.all()].filter((other) => other.sku === row.sku).length - 1,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      harmonizedSystemCode: null,
      countryCodeOfOrigin: null,
      inventoryHistoryUrl: null,
      unitCost: null,
      variant: () => variant(row),
      variants: (args: PageArgs) => connection([row], args, byId, variant),
      locationsCount: () => count(shop.levelsOfItem(row.itemId).filter((one) => one.isActive).length),
      inventoryLevel: ({ locationId, includeInactive }: { locationId: string; includeInactive?: boolean }) =>
        levelAt(row.itemId, locationId.split('/').at(-1) ?? '', includeInactive === true),
      inventoryLevels: (args: PageArgs & { includeInactive?: boolean }) =>
        connection(
          shop.levelsOfItem(row.itemId).filter((one) => one.isActive || args.includeInactive === true),
          args,
          byId,
          level,
        ),
    };
  }

  const totalAvailable = (itemId: string) =>
    shop.levelsOfItem(itemId).reduce((sum, one) => sum + (one.isActive ? one.quantities.available : 0), 0);

  function variant(row: VariantRow): View {
    return {
      __typename: 'ProductVariant',
      id: gid('ProductVariant', row.id),
      legacyResourceId: row.id,
      title: 'Default Title',
      displayName: `${row.title} - Default Title`,
      sku: row.sku,
      barcode: row.barcode,
      price: money(row.priceCents),
      compareAtPrice: null,
      position: 1,
      inventoryPolicy: row.inventoryPolicy,
      inventoryQuantity: () => totalAvailable(row.itemId),
      sellableOnlineQuantity: () => totalAvailable(row.itemId),
      requiresComponents: row.requiresComponents,
      availableForSale: () => row.inventoryPolicy === 'CONTINUE' || totalAvailable(row.itemId) > 0,
      taxable: true,
      selectedOptions: [{ name: 'Title', value: 'Default Title' }],
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      product: () => product(row),
      inventoryItem: () => item(row),
      productVariantComponents: (args: PageArgs) => listed([], args, () => null),
    };
  }

  /** Every product here has exactly one variant, so the variant's row stands for both. */
  function product(row: VariantRow): View {
    return {
      __typename: 'Product',
      id: gid('Product', row.productId),
      legacyResourceId: row.productId,
      title: row.title,
      handle: row.sku.toLowerCase(),
      status: 'ACTIVE',
      vendor: shop.domain.split('.')[0],
      productType: '',
      tags: [],
      hasOnlyDefaultVariant: true,
      tracksInventory: row.tracked,
      totalInventory: () => totalAvailable(row.itemId),
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      publishedAt: gqlTime(row.createdAt),
      variants: (args: PageArgs) => connection([row], args, byId, variant),
      variantsCount: count(1),
    };
  }

  function order(row: OrderRow): View {
    const refunded = refundedCents(row);
    const total = totalCents(row);
    const paid = row.paid ? total : 0;
    const bought = row.lines.reduce((sum, one) => sum + one.quantity, 0);
    const current = row.lines.reduce((sum, one) => sum + currentQuantity(one), 0);
    return {
      __typename: 'Order',
      id: gid('Order', row.id),
      legacyResourceId: row.id,
      name: `#${row.number}`,
      number: row.number,
      confirmationNumber: `C${row.number}`,
      confirmed: true,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      processedAt: gqlTime(row.createdAt),
      cancelledAt: timeOrNull(row.cancelledAt),
      cancelReason: row.cancelReason?.toUpperCase() ?? null,
      cancellation: row.cancelledAt === null ? null : { staffNote: null },
      closed: row.closedAt !== null,
      closedAt: timeOrNull(row.closedAt),
      test: false,
      sourceName: 'web',
      sourceIdentifier: null,
      tags: row.tags,
      note: row.note,
      email: null,
      phone: null,
      poNumber: null,
      customer: null,
      edited: row.edited,
      fullyPaid: row.paid,
      unpaid: !row.paid,
      capturable: false,
      canMarkAsPaid: !row.paid && row.cancelledAt === null,
      paymentGatewayNames: row.paid ? ['manual'] : [],
      fulfillable: row.lines.some((one) => unfulfilledQuantity(row, one) > 0),
      refundable: row.paid && current > 0,
      restockable: current > 0,
      requiresShipping: true,
      totalWeight: '0',
      statusPageUrl: `https://${shop.domain}/orders/${row.id}`,
      currencyCode: 'USD',
      presentmentCurrencyCode: 'USD',
      displayFinancialStatus: financialStatus(row),
      displayFulfillmentStatus: fulfillmentState(row),
      returnStatus: row.returns.length > 0 ? 'RETURNED' : 'NO_RETURN',
      totalPriceSet: moneyBag(total),
      subtotalPriceSet: moneyBag(total),
      currentTotalPriceSet: moneyBag(total - refunded),
      currentSubtotalPriceSet: moneyBag(total - refunded),
      totalRefundedSet: moneyBag(row.paid ? refunded : 0),
      totalReceivedSet: moneyBag(paid),
      netPaymentSet: moneyBag(paid - (row.paid ? refunded : 0)),
      totalOutstandingSet: moneyBag(row.paid ? 0 : total - refunded),
      subtotalLineItemsQuantity: bought,
      currentSubtotalLineItemsQuantity: current,
      shippingAddress: MAILING_ADDRESS,
      billingAddress: MAILING_ADDRESS,
      retailLocation: null,
      transactions: [],
      lineItems: (args: PageArgs) => listed(row.lines, args, (one) => line(row, one)),
      fulfillmentOrders: (args: PageArgs) => listed(row.fulfillmentOrders, args, (one) => fulfillmentOrder(row, one)),
      fulfillments: ({ first }: { first?: number | null }) =>
        row.fulfillments.slice(0, first ?? undefined).map((one) => fulfillment(row, one)),
      refunds: ({ first }: { first?: number | null }) =>
        row.refunds.slice(0, first ?? undefined).map((one) => refund(row, one)),
      returns: (args: PageArgs) => listed(row.returns, args, (one) => returned(row, one)),
    };
  }

  function line(of: OrderRow, row: LineRow): View {
    const sold = shop.variants.get(row.variantId);
    const waiting = unfulfilledQuantity(of, row);
    return {
      __typename: 'LineItem',
      id: gid('LineItem', row.id),
      name: row.title,
      title: row.title,
      variantTitle: null,
      sku: row.sku,
      vendor: shop.domain.split('.')[0],
      quantity: row.quantity,
      currentQuantity: currentQuantity(row),
      unfulfilledQuantity: waiting,
      fulfillableQuantity: waiting,
      refundableQuantity: currentQuantity(row),
      nonFulfillableQuantity: row.quantity - row.fulfilled - waiting,
      requiresShipping: true,
      restockable: currentQuantity(row) > 0,
      isGiftCard: false,
      taxable: true,
      merchantEditable: of.cancelledAt === null,
      lineItemGroup: null,
      originalUnitPriceSet: moneyBag(row.priceCents),
      discountedUnitPriceSet: moneyBag(row.priceCents),
      originalTotalSet: moneyBag(row.priceCents * row.quantity),
      discountedTotalSet: moneyBag(row.priceCents * row.quantity),
      variant: () => (sold === undefined ? null : variant(sold)),
      product: () => (sold === undefined ? null : product(sold)),
    };
  }

  function lineOf(of: OrderRow, lineId: string): View | null {
    const found = of.lines.find((candidate) => candidate.id === lineId);
    return found === undefined ? null : line(of, found);
  }

  function fulfillmentOrder(of: OrderRow, row: FulfillmentOrderRow): View {
    return {
      __typename: 'FulfillmentOrder',
      id: gid('FulfillmentOrder', row.id),
      status: row.status,
      requestStatus: 'UNSUBMITTED',
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      fulfillAt: gqlTime(row.createdAt),
      fulfillBy: null,
      channelId: null,
      destination: null,
      fulfillmentHolds: [],
      orderId: gid('Order', of.id),
      orderName: `#${of.number}`,
      orderProcessedAt: gqlTime(of.createdAt),
      order: () => order(of),
      assignedLocation: () => ({
        ...ADDRESS,
        name: shop.locations.get(row.locationId)?.name ?? '',
        location: () => locationOf(row.locationId),
      }),
      supportedActions: ['OPEN', 'IN_PROGRESS'].includes(row.status)
        ? ['CREATE_FULFILLMENT', 'MOVE', 'HOLD'].map((action) => ({ action, externalUrl: null }))
        : [],
      fulfillments: (args: PageArgs) =>
        listed(
          of.fulfillments.filter((one) => one.fulfillmentOrderIds.includes(row.id)),
          args,
          (one) => fulfillment(of, one),
        ),
      lineItems: (args: PageArgs) =>
        listed(row.lines, args, (waiting) => {
          const ordered = of.lines.find((candidate) => candidate.id === waiting.lineId);
          return {
            __typename: 'FulfillmentOrderLineItem',
            id: gid('FulfillmentOrderLineItem', waiting.id),
            totalQuantity: waiting.total,
            remainingQuantity: waiting.remaining,
            sku: ordered?.sku ?? null,
            productTitle: ordered?.title ?? '',
            variantTitle: null,
            vendor: null,
            requiresShipping: true,
            inventoryItemId: ordered === undefined ? null : gid('InventoryItem', ordered.itemId),
            lineItem: () => lineOf(of, waiting.lineId),
            variant: () => {
              const sold = ordered === undefined ? undefined : shop.variants.get(ordered.variantId);
              return sold === undefined ? null : variant(sold);
            },
          };
        }),
    };
  }

  function fulfillment(of: OrderRow, row: FulfillmentRow): View {
    return {
      __typename: 'Fulfillment',
      id: gid('Fulfillment', row.id),
      legacyResourceId: row.id,
      name: `#${of.number}.${row.number}`,
      status: 'SUCCESS',
      displayStatus: 'FULFILLED',
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      deliveredAt: null,
      inTransitAt: null,
      estimatedDeliveryAt: null,
      totalQuantity: row.lines.reduce((sum, shipped) => sum + shipped.quantity, 0),
      requiresShipping: true,
      location: () => locationOf(row.locationId),
      order: () => order(of),
      trackingInfo: ({ first }: { first?: number | null }) => row.tracking.slice(0, first ?? undefined),
      fulfillmentLineItems: (args: PageArgs) => listed(row.lines, args, (shipped) => fulfillmentLine(of, shipped)),
      fulfillmentOrders: (args: PageArgs) =>
        listed(
          of.fulfillmentOrders.filter((one) => row.fulfillmentOrderIds.includes(one.id)),
          args,
          (one) => fulfillmentOrder(of, one),
        ),
    };
  }

  function fulfillmentLine(of: OrderRow, row: FulfillmentRow['lines'][number]): View {
    const id = gid('FulfillmentLineItem', row.id);
    return { __typename: 'FulfillmentLineItem', id, quantity: row.quantity, lineItem: () => lineOf(of, row.lineId) };
  }

  function refund(of: OrderRow, row: RefundRow): View {
    const cents = (one: RefundRow['lines'][number]) =>
      (of.lines.find((candidate) => candidate.id === one.lineId)?.priceCents ?? 0) * one.quantity;
    return {
      __typename: 'Refund',
      id: gid('Refund', row.id),
      legacyResourceId: row.id,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.createdAt),
      processedAt: gqlTime(row.createdAt),
      note: row.note,
      order: () => order(of),
      return: () => {
        const found = of.returns.find((candidate) => candidate.id === row.returnId);
        return found === undefined ? null : returned(of, found);
      },
      totalRefundedSet: moneyBag(of.paid ? row.lines.reduce((sum, one) => sum + cents(one), 0) : 0),
      transactions: (args: PageArgs) => listed([], args, () => null),
      refundLineItems: (args: PageArgs) =>
        listed(row.lines, args, (one) => ({
          __typename: 'RefundLineItem',
          id: gid('RefundLineItem', one.id),
          quantity: one.quantity,
          restockType: one.restockType,
          restocked: one.restockType !== 'NO_RESTOCK',
          location: () => locationOf(one.locationId),
          lineItem: () => lineOf(of, one.lineId),
          priceSet: moneyBag(one.quantity === 0 ? 0 : cents(one) / one.quantity),
          subtotalSet: moneyBag(cents(one)),
        })),
    };
  }

  function returned(of: OrderRow, row: ReturnRow): View {
    return {
      __typename: 'Return',
      id: gid('Return', row.id),
      name: `#${of.number}-R${row.number}`,
      status: row.status,
      createdAt: gqlTime(row.createdAt),
      closedAt: timeOrNull(row.closedAt),
      requestApprovedAt: gqlTime(row.createdAt),
      totalQuantity: row.lines.reduce((sum, one) => sum + one.quantity, 0),
      order: () => order(of),
      refunds: (args: PageArgs) =>
        listed(
          of.refunds.filter((one) => one.returnId === row.id),
          args,
          (one) => refund(of, one),
        ),
      returnLineItems: (args: PageArgs) =>
        listed(row.lines, args, (one) => ({
          __typename: 'ReturnLineItem',
          id: gid('ReturnLineItem', one.id),
          quantity: one.quantity,
          processableQuantity: 0,
          processedQuantity: one.quantity,
          unprocessedQuantity: 0,
          refundableQuantity: 0,
          refundedQuantity: one.quantity,
          returnReasonNote: one.note,
          customerNote: null,
          fulfillmentLineItem: () => {
            const shipped = of.fulfillments
              .flatMap((each) => each.lines)
              .find((each) => each.id === one.fulfillmentLineId);
            return shipped === undefined ? null : fulfillmentLine(of, shipped);
          },
        })),
    };
  }

  return {
    shop: shopView,
    location,
    locations(args) {
      const rows = [...shop.locations.all()].filter((row) => row.isActive || args.includeInactive === true);
      return connection(rows, args, (row) => ({ value: row.name, id: row.id }), location);
    },
    variant,
    variants(args) {
      const key = args.sortKey === 'SKU' ? (row: VariantRow) => ({ value: row.sku, id: row.id }) : byId;
      return connection(variantRows(args.query), args, key, variant);
    },
    product,
    products: (args) => connection(variantRows(args.query), args, (row) => ({ value: 0, id: row.productId }), product),
    item,
    items: (args) => connection(variantRows(args.query), args, (row) => ({ value: 0, id: row.itemId }), item),
    level,
    order,
    orders(rows, args) {
      const value = ORDER_SORT[args.sortKey ?? 'PROCESSED_AT'] ?? ORDER_SORT.PROCESSED_AT!;
      return connection(rows, args, (row) => ({ value: value(row), id: row.id }), order);
    },
    fulfillmentOrder,
    fulfillment,
    refund,
    returned,
    subscription: subscriptionView,
    group: (row) => groupView(row, itemOf, locationOf),
    quantityNames: () =>
      [...STORED_NAMES, 'on_hand' as const].map((name) => ({
        name,
        displayName: name.replaceAll('_', ' '),
        isInUse: true,
        belongsTo: (HELD_NAMES as readonly string[]).includes(name) ? ['on_hand'] : [],
        comprises: name === 'on_hand' ? [...HELD_NAMES] : [],
      })),
  };
}

const ORDER_SORT: Record<string, (order: OrderRow) => number> = {
  PROCESSED_AT: (order) => Math.floor(order.createdAt / 1000),
  CREATED_AT: (order) => Math.floor(order.createdAt / 1000),
  UPDATED_AT: (order) => Math.floor(order.updatedAt / 1000),
  ORDER_NUMBER: (order) => order.number,
  TOTAL_PRICE: totalCents,
  ID: () => 0,
};

function isQuantityName(name: string): name is QuantityName {
  return name === 'on_hand' || (STORED_NAMES as readonly string[]).includes(name);
}

function subscriptionView(row: SubscriptionRow): View {
  return {
    __typename: 'WebhookSubscription',
    id: gid('WebhookSubscription', row.id),
    legacyResourceId: row.id,
    topic: row.topic,
    uri: row.uri,
    callbackUrl: row.uri,
    endpoint: { __typename: 'WebhookHttpEndpoint', callbackUrl: row.uri },
    format: row.format,
    filter: row.filter,
    includeFields: row.includeFields,
    metafieldNamespaces: row.metafieldNamespaces,
    name: row.name,
    createdAt: gqlTime(row.createdAt),
    updatedAt: gqlTime(row.updatedAt),
    apiVersion: { handle: row.apiVersion, displayName: row.apiVersion, supported: true },
  };
}

type ChangeFilter = {
  quantityNames?: string[] | null;
  inventoryItemIds?: string[] | null;
  locationIds?: string[] | null;
};

function groupView(
  row: GroupRow,
  item: (itemId: string) => View | null,
  location: (locationId: string) => View | null,
): View {
  return {
    __typename: 'InventoryAdjustmentGroup',
    id: gid('InventoryAdjustmentGroup', row.id),
    createdAt: gqlTime(row.createdAt),
    reason: row.reason,
    referenceDocumentUri: row.referenceDocumentUri,
    changes: ({ quantityNames, inventoryItemIds, locationIds }: ChangeFilter) =>
      row.changes
        .filter((change) => quantityNames?.includes(change.name) ?? true)
        .filter((change) => inventoryItemIds?.includes(gid('InventoryItem', change.itemId)) ?? true)
        .filter((change) => locationIds?.includes(gid('Location', change.locationId)) ?? true)
        .map((change) => ({
          name: change.name,
          delta: change.delta,
          quantityAfterChange: change.quantityAfterChange,
          ledgerDocumentUri: change.ledgerDocumentUri,
          item: () => item(change.itemId),
          location: () => location(change.locationId),
        })),
  };
}

const ADDRESS = {
  address1: '1 Warehouse Road',
  address2: null,
  city: 'Louisville',
  country: 'United States',
  countryCode: 'US',
  province: 'Kentucky',
  provinceCode: 'KY',
  zip: '40202',
  phone: null,
};

const MAILING_ADDRESS = {
  id: gid('MailingAddress', '1'),
  name: 'Sam Sample',
  firstName: 'Sam',
  lastName: 'Sample',
  company: null,
  address1: '1 Sample Street',
  address2: null,
  city: 'Louisville',
  province: 'Kentucky',
  provinceCode: 'KY',
  zip: '40202',
  country: 'United States',
  countryCodeV2: 'US',
  phone: null,
};
