/**
 * Wire ↔ our words. Pure. Called by stock.ts, orders.ts, listings.ts and notifications.ts.
 *
 * Order status (2026-01-01 / the v0 word used in notifications):
 *   PENDING, PENDING_AVAILABILITY              → pending: payment not authorised, but the units have left the offer (§6.3)
 *   UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED,
 *   InvoiceUnconfirmed (v0, Brazil)            → open
 *   CANCELLED / Canceled, UNFULFILLABLE        → cancelled: nothing is owed
 *   anything else                              → pending with everything else `unrecognized`: the units stay claimed and
 *                                                nothing more is shipped until someone knows better
 */
import type { ListingsItemPatchRequest } from '@sp-api-sdk/listings-items-api-2021-08-01';
import type { ChannelListing, ChannelOrder, ChannelOrderLine, StockReading, StockRef } from '../kit/ports.ts';
import { AMAZON_CHANNEL_PREFIX, MERCHANT_CHANNEL } from './manifest.ts';
import type { ListingsItem, Order, OrderChange, OrderItem } from './wire.ts';

/** Accepted for stock-only patches of any listing: observed (D#2068, D#2167) [§3.2]. */
export const GENERIC_PRODUCT_TYPE = 'PRODUCT';

// ── stock ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export function isAmazonChannel(channelCode: string): boolean {
  return channelCode.startsWith(AMAZON_CHANNEL_PREFIX);
}

export function hasAmazonChannel(item: ListingsItem): boolean {
  return item.fulfillmentAvailability.some((entry) => isAmazonChannel(entry.fulfillmentChannelCode));
}

/** Goods in Amazon's warehouses and none of ours on offer. */
export function isAmazonOnly(item: ListingsItem): boolean {
  return (
    hasAmazonChannel(item) &&
    item.fulfillmentAvailability.every((entry) => isAmazonChannel(entry.fulfillmentChannelCode))
  );
}

/**
 * What a listing says about one reference.
 * @param amazonUnits fulfillable units in Amazon's warehouses, when they were asked for and told; else null.
 *
 * An entry without a quantity offers nothing, so it reads as 0 (assumed: the model makes `quantity` optional and the
 * sheet shows it absent for Amazon's own channels only). Several entries of one channel should hold one shared number
 * (§3.4.9); should they ever differ, the lowest is what can surely be sold.
 */
export function readingOf(
  ref: StockRef,
  item: ListingsItem,
  vendorAt: number,
  amazonUnits: number | null,
): StockReading {
  const entries = item.fulfillmentAvailability.filter((entry) => entry.fulfillmentChannelCode === ref.channelLocation);
  const readOnly = isAmazonChannel(ref.channelLocation) ? entries.length > 0 : isAmazonOnly(item);
  if (readOnly) return { kind: 'read_only', ref, value: amazonUnits, vendorAt };
  if (entries.length === 0) {
    return { kind: 'missing', ref, reason: `The listing has no offer with channel ${ref.channelLocation}.` };
  }
  return { kind: 'quantity', ref, value: Math.min(...entries.map((entry) => entry.quantity ?? 0)), vendorAt };
}

/** `merge` leaves handling time and restock date alone; `replace` wipes them: documented, observed [§3.4.1]. */
export function quantityPatch(productType: string, channelCode: string, quantity: number): ListingsItemPatchRequest {
  return {
    productType,
    patches: [
      {
        op: 'merge',
        path: '/attributes/fulfillment_availability',
        value: [{ fulfillment_channel_code: channelCode, quantity }],
      },
    ],
  };
}

/** The listing's marketplace to write through, and its product type there: the first of ours that knows it. */
export function writeAddress(
  item: ListingsItem,
  marketplaceIds: readonly string[],
): { marketplaceId: string | null; productType: string | null } {
  for (const marketplaceId of marketplaceIds) {
    const summary = item.summaries.find((one) => one.marketplaceId === marketplaceId);
    if (summary !== undefined) return { marketplaceId, productType: summary.productType ?? null };
  }
  return { marketplaceId: null, productType: null };
}

// ── listings ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** One level per channel; a listing without any (a variation parent, an incomplete offer) is not written. */
export function listingOf(
  item: ListingsItem,
  marketplaceIds: readonly string[],
  vendorAt: number,
  amazonUnits: number | null,
): ChannelListing {
  const summaries = [...item.summaries].sort(
    (a, b) => rank(marketplaceIds, a.marketplaceId) - rank(marketplaceIds, b.marketplaceId),
  );
  const channels = [...new Set(item.fulfillmentAvailability.map((entry) => entry.fulfillmentChannelCode))];
  return {
    externalId: summaries.find((one) => one.asin !== undefined)?.asin ?? item.sku,
    variantExternalId: null,
    stockKey: item.sku,
    channelSku: item.sku,
    title: summaries.find((one) => one.itemName !== undefined)?.itemName ?? item.sku,
    barcode: null,
    fulfilledBy: isAmazonOnly(item) ? 'channel' : 'us',
    notWritable: channels.length === 0 ? 'untracked' : null,
    levels: channels.map((channelLocation) => {
      const reading = readingOf({ stockKey: item.sku, channelLocation }, item, vendorAt, amazonUnits);
      return { channelLocation, value: reading.kind === 'missing' ? null : reading.value, vendorAt };
    }),
  };
}

function rank(marketplaceIds: readonly string[], marketplaceId: string): number {
  const at = marketplaceIds.indexOf(marketplaceId);
  return at < 0 ? marketplaceIds.length : at;
}

// ── orders ─────────────────────────────────────────────────────────────────────────────────────────────────────────

type Standing = Pick<ChannelOrder, 'state' | 'payment' | 'fulfillment'>;

/**
 * Payment follows the status: Pending is "payment not authorised" (documented §6.3), so what comes after is authorised;
 * SHIPPED is when the buyer is charged (assumed). A cancelled order's payment never came.
 */
const STANDINGS: Readonly<Record<string, Standing>> = {
  PENDING: { state: 'pending', payment: 'pending', fulfillment: 'unfulfilled' },
  PENDING_AVAILABILITY: { state: 'pending', payment: 'pending', fulfillment: 'unfulfilled' },
  UNSHIPPED: { state: 'open', payment: 'authorized', fulfillment: 'unfulfilled' },
  PARTIALLY_SHIPPED: { state: 'open', payment: 'authorized', fulfillment: 'partly_shipped' },
  SHIPPED: { state: 'open', payment: 'paid', fulfillment: 'shipped' },
  CANCELLED: { state: 'cancelled', payment: 'failed', fulfillment: 'unfulfilled' },
  UNFULFILLABLE: { state: 'cancelled', payment: 'unrecognized', fulfillment: 'unfulfilled' },
};

const UNRECOGNIZED: Standing = { state: 'pending', payment: 'unrecognized', fulfillment: 'unrecognized' };

/** The v0 vocabulary of notifications: documented [§7.3]. */
const FROM_V0: Readonly<Record<string, string>> = {
  Pending: 'PENDING',
  PendingAvailability: 'PENDING_AVAILABILITY',
  Unshipped: 'UNSHIPPED',
  InvoiceUnconfirmed: 'UNSHIPPED',
  PartiallyShipped: 'PARTIALLY_SHIPPED',
  Shipped: 'SHIPPED',
  Canceled: 'CANCELLED',
  Unfulfillable: 'UNFULFILLABLE',
};

/** Orders that Amazon ships for another shop of ours (multi-channel fulfillment) come back as NON_AMAZON: no new sale [§11.25, memory]. */
export function isOwnSaleElsewhere(order: Order): boolean {
  return order.salesChannel.channelName === 'NON_AMAZON' && order.fulfillment?.fulfilledBy === 'AMAZON';
}

/** An order as searchOrders and getOrder tell it. */
export function orderOf(order: Order): ChannelOrder {
  const standing = STANDINGS[order.fulfillment?.fulfillmentStatus ?? ''] ?? UNRECOGNIZED;
  const byAmazon = order.fulfillment?.fulfilledBy === 'AMAZON';
  const total = order.proceeds?.grandTotal;
  return {
    externalId: order.orderId,
    number: order.orderId,
    placedAt: order.createdTime,
    updatedAt: order.lastUpdatedTime,
    ...standing,
    fulfilledBy: byAmazon ? 'channel' : 'us',
    currency: total?.currencyCode ?? null,
    totalMinor: total === undefined ? null : minorUnits(total.amount, total.currencyCode),
    test: false,
    lines: order.orderItems.map((item) => lineOf(item, standing, byAmazon)),
  };
}

function lineOf(item: OrderItem, standing: Standing, byAmazon: boolean): ChannelOrderLine {
  const units = unitsOf(item, standing);
  return {
    externalId: item.orderItemId,
    stockKey: item.product.sellerSku ?? null,
    variantExternalId: null,
    channelSku: item.product.sellerSku ?? null,
    title: item.product.title ?? '',
    ...units,
    ...channelEffect(units, standing, byAmazon),
    bundleParent: false,
  };
}

type Units = Pick<ChannelOrderLine, 'ordered' | 'wanted' | 'shipped'>;

/**
 * Quantities come from the items, never from header counters, which are 0 while an order is pending (§6.3).
 *   pending, unrecognized  wanted = ordered (the items' open counters may be 0 as well); what has left stays left
 *   open                   wanted = fulfilled + unfulfilled: less than ordered after a partial cancel (§11.21).
 *                          Without the counters: ordered, or 0 when the item's cancellation was carried out
 *   cancelled              wanted = what left before
 * A buyer's cancellation *request* changes nothing (§11.23).
 */
function unitsOf(item: OrderItem, standing: Standing): Units {
  const ordered = item.quantityOrdered;
  const { quantityFulfilled, quantityUnfulfilled } = item.fulfillment ?? {};
  if (standing.state === 'pending')
    return { ordered, wanted: ordered, shipped: Math.min(quantityFulfilled ?? 0, ordered) };
  if (standing.state === 'cancelled') {
    const shipped = quantityFulfilled ?? 0;
    return { ordered, wanted: shipped, shipped };
  }
  const cancelled = item.cancellation?.cancellationExecution !== undefined;
  const assumed = cancelled ? 0 : ordered;
  const shipped = quantityFulfilled ?? (standing.fulfillment === 'shipped' ? assumed : 0);
  const wanted = quantityUnfulfilled === undefined ? Math.max(shipped, assumed) : shipped + quantityUnfulfilled;
  return { ordered, wanted, shipped };
}

/**
 * Amazon lowers its merchant number by the ordered units when the order is placed (§3.5, §6.3). Whether a cancelled unit
 * goes back on offer the sheet does not say: null, so that the number is read again. Amazon's own warehouse is read only.
 */
function channelEffect(
  units: Units,
  standing: Standing,
  byAmazon: boolean,
): Pick<ChannelOrderLine, 'taken' | 'channelLocation'> {
  if (byAmazon) return { taken: null, channelLocation: null };
  const whole = standing.state !== 'cancelled' && units.wanted === units.ordered;
  return { taken: whole ? units.ordered : null, channelLocation: MERCHANT_CHANNEL };
}

/**
 * The whole order from an ORDER_CHANGE notification, or null when the payload is not enough and the order must be read.
 *
 * Enough means: order level (item level carries one item only), shipped by the merchant, a status we know, both times
 * present, and, once units can ship, items that add up to the header's counters (they stop doing so after a partial
 * cancel, where `Quantity` is not defined). Missing by nature: title and total, which no stock decision needs.
 */
export function orderOfChange(change: OrderChange): ChannelOrder | null {
  const { Summary: summary } = change;
  const updatedAt = change.OrderChangeTrigger.TimeOfOrderChange;
  const placedAt = summary.PurchaseDate;
  const standing = STANDINGS[FROM_V0[summary.OrderStatus] ?? ''];
  if (change.NotificationLevel !== 'OrderLevel' || summary.FulfillmentType !== 'MFN' || summary.OrderItems.length === 0)
    return null;
  if (updatedAt == null || placedAt == null || standing === undefined) return null;
  if (standing.state === 'open' && !addsUp(summary)) return null;
  return {
    externalId: change.AmazonOrderId,
    number: change.AmazonOrderId,
    placedAt,
    updatedAt,
    ...standing,
    fulfilledBy: 'us',
    currency: null,
    totalMinor: null,
    test: false,
    lines: summary.OrderItems.map((item) => changedLine(item, standing)),
  };
}

type ChangedItem = OrderChange['Summary']['OrderItems'][number];

function changedLine(item: ChangedItem, standing: Standing): ChannelOrderLine {
  const shipped = standing.state === 'pending' ? 0 : (item.QuantityShipped ?? 0);
  const wanted = standing.state === 'cancelled' ? shipped : item.Quantity;
  const units = { ordered: item.Quantity, wanted, shipped };
  const effect = channelEffect(units, standing, false);
  return {
    externalId: item.OrderItemId,
    stockKey: item.SellerSKU,
    variantExternalId: null,
    channelSku: item.SellerSKU,
    title: '',
    ...units,
    taken: effect.taken,
    /** A seller with several supply sources: which number fell is not DEFAULT [§3.2]. */
    channelLocation: item.SupplySourceId == null ? effect.channelLocation : null,
    bundleParent: false,
  };
}

function addsUp(summary: OrderChange['Summary']): boolean {
  if (summary.NumberOfItemsShipped === undefined || summary.NumberOfItemsUnshipped === undefined) return false;
  const units = summary.OrderItems.reduce((sum, item) => sum + item.Quantity, 0);
  const shipped = summary.OrderItems.reduce((sum, item) => sum + (item.QuantityShipped ?? 0), 0);
  return shipped === summary.NumberOfItemsShipped && units === shipped + summary.NumberOfItemsUnshipped;
}

/**
 * A decimal text as integer minor units of its currency (ISO 4217 digits: 2 for USD, 0 for JPY), half up; null when it
 * is no number or no currency. No floats: 1.005 must not become 1.00.
 */
export function minorUnits(amount: string, currency: string): number | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount.trim());
  const digits = currencyDigits(currency);
  if (match === null || digits === null) return null;
  const [, sign, whole = '', fraction = ''] = match;
  const kept = BigInt(whole + fraction.slice(0, digits).padEnd(digits, '0'));
  const rounded = kept + ((fraction[digits] ?? '0') >= '5' ? 1n : 0n);
  const minor = Number(sign === '-' ? -rounded : rounded);
  return Number.isSafeInteger(minor) ? minor : null;
}

function currencyDigits(currency: string): number | null {
  if (!/^[A-Z]{3}$/.test(currency)) return null;
  return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? null;
}
