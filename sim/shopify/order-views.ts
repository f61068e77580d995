/**
 * Orders and their parts as GraphQL objects. Line, fulfillment order, fulfillment, refund and return point back at their
 * order, so each view carries the order it was read from. Called by `views.ts`.
 */
import { connection, listed, type PageArgs } from './paging.ts';
import {
  currentQuantity,
  type FulfillmentOrderRow,
  type FulfillmentRow,
  financialStatus,
  fulfillmentState,
  gid,
  type LineRow,
  type OrderRow,
  type RefundRow,
  type ReturnRow,
  refundedCents,
  totalCents,
  unfulfilledQuantity,
  type VariantRow,
} from './rows.ts';
import type { SearchFields } from './search.ts';
import type { Shop } from './shop.ts';
import { ADDRESS, gqlTime, MAILING_ADDRESS, moneyBag, timeOrNull, type View } from './view-values.ts';

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

/** What order views need of the catalogue. */
export interface CatalogViews {
  variant(row: VariantRow): View;
  product(row: VariantRow): View;
  locationOf(locationId: string | null): View | null;
}

export interface OrderViews {
  order(row: OrderRow): View;
  orders(rows: readonly OrderRow[], args: PageArgs & { sortKey?: string }): unknown;
  fulfillmentOrder(order: OrderRow, row: FulfillmentOrderRow): View;
  fulfillment(order: OrderRow, row: FulfillmentRow): View;
  refund(order: OrderRow, row: RefundRow): View;
  returned(order: OrderRow, row: ReturnRow): View;
}

export function createOrderViews(shop: Shop, { variant, product, locationOf }: CatalogViews): OrderViews {
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
    order,
    orders(rows, args) {
      const value = ORDER_SORT[args.sortKey ?? ''] ?? placedSecond;
      return connection(rows, args, (row) => ({ value: value(row), id: row.id }), order);
    },
    fulfillmentOrder,
    fulfillment,
    refund,
    returned,
  };
}

const placedSecond = (order: OrderRow): number => Math.floor(order.createdAt / 1000);

const ORDER_SORT: Record<string, (order: OrderRow) => number> = {
  PROCESSED_AT: placedSecond,
  CREATED_AT: placedSecond,
  UPDATED_AT: (order) => Math.floor(order.updatedAt / 1000),
  ORDER_NUMBER: (order) => order.number,
  TOTAL_PRICE: totalCents,
  ID: () => 0,
};
