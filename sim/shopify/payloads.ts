/**
 * Webhook bodies: REST names in snake_case, times in the shop's zone, ids as bare JSON numbers up to 2^63 (sheet §4.6).
 *
 * `number(id)` writes the digits of an id without passing through a double; `JSON.stringify` prints it bare.
 * Pure: from rows to values. Called by `webhooks.ts`.
 */
import {
  currentQuantity,
  type FulfillmentRow,
  financialStatus,
  fulfillmentState,
  gid,
  type LevelRow,
  type LineRow,
  levelGid,
  type OrderRow,
  type RefundRow,
  type ReturnRow,
  totalCents,
  unfulfilledQuantity,
  type VariantRow,
} from './rows.ts';

/** The shop's zone all year round: America/Bogota keeps no daylight saving time. */
export const SHOP_ZONE = { name: 'America/Bogota', abbreviation: '-05', offset: '-0500', minutes: -300 };

const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** An id as a JSON number, whatever its size. */
export const number = (id: string): unknown => rawJSON(id);

/** e.g. "2026-11-20T10:00:00-05:00": whole seconds, the shop's zone. */
export function shopTime(at: number): string {
  const local = new Date(Math.floor(at / 1000) * 1000 + SHOP_ZONE.minutes * 60_000).toISOString();
  return `${local.slice(0, 19)}-05:00`;
}

export const money = (cents: number): string => (cents / 100).toFixed(2);

const moneySet = (cents: number) => {
  const amount = { amount: money(cents), currency_code: 'USD' };
  return { shop_money: amount, presentment_money: amount };
};

export function orderPayload(order: OrderRow): Record<string, unknown> {
  const total = totalCents(order);
  return {
    id: number(order.id),
    admin_graphql_api_id: gid('Order', order.id),
    name: `#${order.number}`,
    number: order.number - 1_000,
    order_number: order.number,
    created_at: shopTime(order.createdAt),
    updated_at: shopTime(order.updatedAt),
    processed_at: shopTime(order.createdAt),
    cancelled_at: order.cancelledAt === null ? null : shopTime(order.cancelledAt),
    cancel_reason: order.cancelReason,
    closed_at: order.closedAt === null ? null : shopTime(order.closedAt),
    confirmed: true,
    test: false,
    financial_status: financialStatus(order).toLowerCase(),
    fulfillment_status: restFulfillmentStatus(order),
    source_name: 'web',
    location_id: null,
    currency: 'USD',
    presentment_currency: 'USD',
    tags: order.tags.join(', '),
    note: order.note,
    subtotal_price: money(total),
    total_price: money(total),
    total_price_set: moneySet(total),
    line_items: order.lines.map((line) => linePayload(order, line)),
    shipping_lines: [],
    shipping_address: SHIPPING_ADDRESS,
    fulfillments: order.fulfillments.map((fulfillment) => fulfillmentPayload(order, fulfillment)),
    refunds: order.refunds.map((refund) => refundPayload(order, refund)),
    returns: order.returns.map((row) => ({ id: number(row.id), admin_graphql_api_id: gid('Return', row.id) })),
    line_item_groups: [],
  };
}

const SHIPPING_ADDRESS = {
  first_name: 'Sam',
  last_name: 'Sample',
  name: 'Sam Sample',
  address1: '1 Sample Street',
  city: 'Louisville',
  zip: '40202',
  province: 'Kentucky',
  province_code: 'KY',
  country: 'United States',
  country_code: 'US',
};

function restFulfillmentStatus(order: OrderRow): string | null {
  const state = fulfillmentState(order);
  return state === 'UNFULFILLED' ? null : state === 'FULFILLED' ? 'fulfilled' : 'partial';
}

function linePayload(order: OrderRow, line: LineRow) {
  const waiting = unfulfilledQuantity(order, line);
  return {
    id: number(line.id),
    admin_graphql_api_id: gid('LineItem', line.id),
    variant_id: number(line.variantId),
    product_id: number(line.productId),
    sku: line.sku,
    title: line.title,
    name: line.title,
    quantity: line.quantity,
    current_quantity: currentQuantity(line),
    fulfillable_quantity: waiting,
    fulfillment_status: line.fulfilled === 0 ? null : waiting > 0 ? 'partial' : 'fulfilled',
    fulfillment_service: 'manual',
    requires_shipping: true,
    gift_card: false,
    product_exists: true,
    price: money(line.priceCents),
    price_set: moneySet(line.priceCents),
    variant_inventory_management: 'shopify',
    sales_line_item_group_id: null,
  };
}

export function fulfillmentPayload(order: OrderRow, fulfillment: FulfillmentRow): Record<string, unknown> {
  const numbers = fulfillment.tracking.flatMap((tracking) => tracking.number ?? []);
  const urls = fulfillment.tracking.flatMap((tracking) => tracking.url ?? []);
  return {
    id: number(fulfillment.id),
    admin_graphql_api_id: gid('Fulfillment', fulfillment.id),
    order_id: number(order.id),
    name: `#${order.number}.${fulfillment.number}`,
    status: 'success',
    created_at: shopTime(fulfillment.createdAt),
    updated_at: shopTime(fulfillment.updatedAt),
    tracking_company: fulfillment.tracking[0]?.company ?? null,
    tracking_number: numbers[0] ?? null,
    tracking_numbers: numbers,
    tracking_url: urls[0] ?? null,
    tracking_urls: urls,
    shipment_status: null,
    location_id: number(fulfillment.locationId),
    line_items: fulfillment.lines.flatMap((shipped) => {
      const line = order.lines.find((candidate) => candidate.id === shipped.lineId);
      return line === undefined ? [] : [{ ...linePayload(order, line), quantity: shipped.quantity }];
    }),
  };
}

export function refundPayload(order: OrderRow, refund: RefundRow): Record<string, unknown> {
  return {
    id: number(refund.id),
    admin_graphql_api_id: gid('Refund', refund.id),
    order_id: number(order.id),
    created_at: shopTime(refund.createdAt),
    processed_at: shopTime(refund.createdAt),
    note: refund.note,
    restock: refund.lines.some((line) => line.restockType !== 'NO_RESTOCK'),
    return:
      refund.returnId === null
        ? null
        : { id: number(refund.returnId), admin_graphql_api_id: gid('Return', refund.returnId) },
    refund_line_items: refund.lines.map((refunded) => {
      const line = order.lines.find((candidate) => candidate.id === refunded.lineId);
      return {
        id: number(refunded.id),
        line_item_id: number(refunded.lineId),
        quantity: refunded.quantity,
        location_id: refunded.locationId === null ? null : number(refunded.locationId),
        restock_type: refunded.restockType.toLowerCase(),
        subtotal: money((line?.priceCents ?? 0) * refunded.quantity),
        line_item: line === undefined ? null : linePayload(order, line),
      };
    }),
    transactions: [],
    order_adjustments: [],
  };
}

/** Differences only, and no order at the top level: the reader must look the order up. */
export function editPayload(order: OrderRow, editId: string, deltas: { lineId: string; delta: number }[], at: number) {
  const named = (sign: 1 | -1) =>
    deltas
      .filter(({ delta }) => delta * sign > 0)
      .map(({ lineId, delta }) => ({ id: number(lineId), delta: Math.abs(delta) }));
  return {
    order_edit: {
      id: number(editId),
      app_id: null,
      order_id: number(order.id),
      created_at: shopTime(at),
      committed_at: shopTime(at),
      notify_customer: false,
      staff_note: '',
      line_items: { additions: named(1), removals: named(-1) },
      discounts: { line_item: { additions: [], removals: [] } },
      shipping_lines: { additions: [], removals: [] },
    },
  };
}

export function returnPayload(order: OrderRow, row: ReturnRow): Record<string, unknown> {
  return {
    id: number(row.id),
    admin_graphql_api_id: gid('Return', row.id),
    status: row.status.toLowerCase(),
    order: { id: number(order.id), admin_graphql_api_id: gid('Order', order.id) },
    total_return_line_items: row.lines.length,
    name: `#${order.number}-R${row.number}`,
    return_line_items: row.lines.map((line) => ({
      id: number(line.id),
      admin_graphql_api_id: gid('ReturnLineItem', line.id),
      fulfillment_line_item: { id: number(line.fulfillmentLineId) },
      quantity: line.quantity,
      return_reason_note: line.note,
    })),
    return_shipping_fees: [],
    exchange_line_items: [],
  };
}

export function disposePayload(
  reverseOrderId: string,
  dispositions: { lineId: string; quantity: number; locationId: string | null }[],
): Record<string, unknown> {
  return {
    id: number(reverseOrderId),
    admin_graphql_api_id: gid('ReverseFulfillmentOrder', reverseOrderId),
    dispositions: dispositions.map(({ lineId, quantity, locationId }) => ({
      reverse_fulfillment_order_line_item: {
        id: number(lineId),
        admin_graphql_api_id: gid('ReverseFulfillmentOrderLineItem', lineId),
      },
      type: locationId === null ? 'not_restocked' : 'restocked',
      location:
        locationId === null ? null : { id: number(locationId), admin_graphql_api_id: gid('Location', locationId) },
      quantity,
    })),
    total_dispositions: dispositions.length,
  };
}

/** Only `available`: no cause, no difference, nobody's name. */
export function levelPayload(level: LevelRow): Record<string, unknown> {
  return {
    inventory_item_id: number(level.itemId),
    location_id: number(level.locationId),
    available: level.quantities.available,
    updated_at: shopTime(level.updatedAt),
    admin_graphql_api_id: levelGid(level),
  };
}

export function productPayload(variant: VariantRow, quantity: number, oldQuantity: number): Record<string, unknown> {
  const variantPayload = {
    id: number(variant.id),
    admin_graphql_api_id: gid('ProductVariant', variant.id),
    product_id: number(variant.productId),
    inventory_item_id: number(variant.itemId),
    inventory_policy: variant.inventoryPolicy.toLowerCase(),
    inventory_quantity: quantity,
    old_inventory_quantity: oldQuantity,
    sku: variant.sku,
    barcode: variant.barcode,
    title: 'Default Title',
    price: money(variant.priceCents),
    position: 1,
    created_at: shopTime(variant.createdAt),
    updated_at: shopTime(variant.updatedAt),
  };
  return {
    id: number(variant.productId),
    admin_graphql_api_id: gid('Product', variant.productId),
    title: variant.title,
    handle: variant.sku.toLowerCase(),
    status: 'active',
    created_at: shopTime(variant.createdAt),
    updated_at: shopTime(variant.updatedAt),
    variants: [variantPayload],
    variant_gids: [
      { admin_graphql_api_id: gid('ProductVariant', variant.id), updated_at: shopTime(variant.updatedAt) },
    ],
  };
}
