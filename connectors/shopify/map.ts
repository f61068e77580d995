/**
 * Shopify's orders and variants in our words. Pure.
 *
 * Webhook bodies (REST shape) and GraphQL answers are first turned into the same `OrderFacts`, and one function makes
 * a ChannelOrder of those, so that both ways tell the same story. Per line, from the order's content alone:
 *
 *   shipped = units in fulfillments that stand
 *   wanted  = shipped + units still to ship; units refunded before shipping or edited away are wanted no more, units
 *             refunded after shipping were wanted and left
 *   taken   = ordered − restocked: what this line lowered the channel's `available` by. Placing takes at once, paid or
 *             not; shipping moves nothing; a refund line of type cancel or return gives back, no_restock does not
 *             (fact sheet §5.1, §8)
 *
 * `taken` is null where the content cannot say what was given back: units edited away without a refund line (the edit's
 * own restock switch is not in any payload), a restock without a location, an order with a return (goods restocked by a
 * return's disposition are in another document), a cancellation that leaves units unaccounted for.
 */
import type { ChannelListing, ChannelOrder, ChannelOrderLine, IncomingEvent } from '../kit/ports.ts';
import { gid } from './gid.ts';
import { minorUnits } from './money.ts';
import type { LevelNode, RestOrder, VariantNode, WholeOrderNode } from './wire.ts';

/** What both shapes say, ids as GIDs, words in lower case. */
export interface OrderFacts {
  id: string;
  name: string;
  placedAt: number;
  updatedAt: number;
  cancelled: boolean;
  /** False: Shopify has not reserved goods for it (`documented`, Order.confirmed). */
  confirmed: boolean;
  test: boolean;
  financial: string | null;
  fulfillment: string | null;
  hasReturns: boolean;
  /** The place of a sale at the counter. */
  retailLocation: string | null;
  total: { amount: string; currency: string } | null;
  lines: LineFacts[];
  refunded: RefundedFacts[];
  shipped: { lineId: string; units: number; location: string | null }[];
  /** Where the units of a line are to leave from; empty when nobody asked. */
  routed: { lineId: string; location: string | null }[];
}

export interface LineFacts {
  id: string;
  variantId: string | null;
  sku: string | null;
  title: string;
  quantity: number;
  currentQuantity: number;
  unfulfilled: number;
}

export interface RefundedFacts {
  lineId: string;
  units: number;
  restock: 'cancel' | 'return' | 'none' | 'unrecognized';
  location: string | null;
}

export function toChannelOrder(facts: OrderFacts): ChannelOrder {
  const lines = facts.lines.map((line) => toLine(line, facts));
  return {
    externalId: facts.id,
    number: facts.name,
    placedAt: facts.placedAt,
    updatedAt: facts.updatedAt,
    // Pending and authorized orders are owed: Shopify commits the units when the order is placed (fact sheet §5.1).
    state: facts.cancelled ? 'cancelled' : 'open',
    payment: paymentOf(facts.financial),
    fulfillment: fulfillmentOf(facts.fulfillment, lines),
    fulfilledBy: 'us',
    currency: facts.total?.currency ?? null,
    totalMinor: facts.total ? minorUnits(facts.total.amount, facts.total.currency) : null,
    test: facts.test,
    lines,
  };
}

function toLine(line: LineFacts, facts: OrderFacts): ChannelOrderLine {
  const refunded = facts.refunded.filter(({ lineId }) => lineId === line.id);
  const shipments = facts.shipped.filter(({ lineId }) => lineId === line.id);
  const shipped = Math.min(line.quantity, sum(shipments));
  return {
    externalId: line.id,
    // Order lines carry no inventory item (fact sheet §4.6); the variant finds the listing, in both shapes alike.
    stockKey: null,
    variantExternalId: line.variantId,
    channelSku: line.sku === '' ? null : line.sku,
    title: line.title,
    ordered: line.quantity,
    wanted: facts.cancelled ? shipped : wantedOf(line, refunded, shipped),
    shipped,
    taken: takenOf(line, refunded, facts),
    channelLocation: locationOf(line, facts),
    // Bundles arrive exploded; the parent is a group, never a line (fact sheet §4.6, §6).
    bundleParent: false,
  };
}

/**
 * Refunds of kind return concern shipped units, cancel and edits unshipped ones. `none` may be either; what is left to
 * fulfill decides: one more unit to ship than the other units explain means a shipped unit was refunded.
 */
function wantedOf(line: LineFacts, refunded: readonly RefundedFacts[], shipped: number): number {
  const returned = Math.min(shipped, unitsOf(refunded, 'return'));
  const kept = Math.min(shipped - returned, unitsOf(refunded, 'none'));
  const least = Math.max(shipped, line.currentQuantity + returned);
  const most = Math.max(least, line.currentQuantity + returned + kept);
  return Math.min(line.quantity, Math.max(least, Math.min(most, shipped + line.unfulfilled)));
}

function takenOf(line: LineFacts, refunded: readonly RefundedFacts[], facts: OrderFacts): number | null {
  if (!facts.confirmed) return facts.cancelled ? null : 0;
  const given = refunded.filter(({ restock }) => restock !== 'none');
  const blurred = given.some(({ restock, location }) => restock === 'unrecognized' || location === null);
  const gone = line.quantity - line.currentQuantity;
  const unexplained = gone > sum(refunded) || (facts.cancelled && line.quantity > sum(refunded));
  if (facts.hasReturns || blurred || unexplained) return null;
  return Math.max(0, line.quantity - sum(given));
}

/**
 * Where the number moved, when everything that is known names one place: the counter, where units are routed to or left
 * from, where they were put back.
 */
function locationOf(line: LineFacts, facts: OrderFacts): string | null {
  const moves = [...facts.routed, ...facts.shipped, ...facts.refunded.filter(({ restock }) => restock !== 'none')];
  const locations = new Set(moves.filter(({ lineId }) => lineId === line.id).map(({ location }) => location));
  if (facts.retailLocation !== null) locations.add(facts.retailLocation);
  const [only] = locations;
  return locations.size === 1 ? (only ?? null) : null;
}

function sum(parts: readonly { units: number }[]): number {
  return parts.reduce((total, { units }) => total + units, 0);
}

function unitsOf(refunded: readonly RefundedFacts[], restock: RefundedFacts['restock']): number {
  return sum(refunded.filter((part) => part.restock === restock));
}

const PAYMENTS: Readonly<Record<string, ChannelOrder['payment']>> = {
  pending: 'pending',
  // Part of the money is there; the rest is still to come.
  partially_paid: 'pending',
  authorized: 'authorized',
  paid: 'paid',
  partially_refunded: 'partially_refunded',
  refunded: 'refunded',
  voided: 'failed',
  expired: 'failed',
};

function paymentOf(financial: string | null): ChannelOrder['payment'] {
  return PAYMENTS[financial ?? ''] ?? 'unrecognized';
}

/** REST's words (null, partial, fulfilled, restocked) and GraphQL's OrderDisplayFulfillmentStatus. */
const FULFILLMENTS = new Set([
  'partial',
  'fulfilled',
  'restocked',
  'open',
  'unfulfilled',
  'partially_fulfilled',
  'in_progress',
  'on_hold',
  'scheduled',
  'pending_fulfillment',
  'request_declined',
  'fulfillment_not_required',
]);

/** Counted from the lines, because the two shapes use different words for the same state. */
function fulfillmentOf(status: string | null, lines: readonly ChannelOrderLine[]): ChannelOrder['fulfillment'] {
  if (status !== null && !FULFILLMENTS.has(status)) return 'unrecognized';
  if (lines.every((line) => line.shipped === 0)) return 'unfulfilled';
  return lines.every((line) => line.shipped >= line.wanted) ? 'shipped' : 'partly_shipped';
}

function restockOf(word: string): RefundedFacts['restock'] {
  const type = word.toLowerCase();
  if (type === 'cancel' || type === 'return') return type;
  // Legacy: put back, without saying whether it had left.
  if (type === 'legacy_restock') return 'cancel';
  return type === 'no_restock' ? 'none' : 'unrecognized';
}

/** Fulfillments that were called off or failed ship nothing. Pending and open ones are at a fulfillment service. */
function stands(status: string | null | undefined): boolean {
  return !['cancelled', 'error', 'failure'].includes((status ?? 'success').toLowerCase());
}

export function factsOfRest(order: RestOrder): OrderFacts {
  const money = order.total_price_set?.shop_money;
  const plain = order.total_price && order.currency ? { amount: order.total_price, currency: order.currency } : null;
  return {
    id: gid('Order', order.id),
    name: order.name,
    placedAt: order.created_at,
    updatedAt: order.updated_at,
    cancelled: Boolean(order.cancelled_at),
    confirmed: order.confirmed ?? true,
    test: order.test ?? false,
    financial: order.financial_status?.toLowerCase() ?? null,
    fulfillment: order.fulfillment_status?.toLowerCase() ?? null,
    hasReturns: (order.returns?.length ?? 0) > 0,
    retailLocation: placeOf(order.location_id),
    total: money ? { amount: money.amount, currency: money.currency_code } : plain,
    lines: order.line_items.map((line) => ({
      id: gid('LineItem', line.id),
      variantId: line.variant_id ? gid('ProductVariant', line.variant_id) : null,
      sku: line.sku ?? null,
      title: line.title,
      quantity: line.quantity,
      currentQuantity: line.current_quantity,
      unfulfilled: line.fulfillable_quantity ?? 0,
    })),
    refunded: order.refunds.flatMap((refund) =>
      refund.refund_line_items.map((part) => ({
        lineId: gid('LineItem', part.line_item_id),
        units: part.quantity,
        restock: restockOf(part.restock_type),
        location: placeOf(part.location_id),
      })),
    ),
    shipped: order.fulfillments
      .filter(({ status }) => stands(status))
      .flatMap((fulfillment) =>
        fulfillment.line_items.map((part) => ({
          lineId: gid('LineItem', part.id),
          units: part.quantity,
          location: placeOf(fulfillment.location_id),
        })),
      ),
    routed: [],
  };
}

function placeOf(id: string | null | undefined): string | null {
  return id ? gid('Location', id) : null;
}

/** An order of a page has no parts yet: pass it only when it needs none (`needsParts`). */
export function factsOfNode(
  order: Omit<WholeOrderNode, 'refunds' | 'fulfillments'> & Partial<WholeOrderNode>,
): OrderFacts {
  const { shopMoney } = order.totalPriceSet;
  return {
    id: order.id,
    name: order.name,
    placedAt: order.createdAt,
    updatedAt: order.updatedAt,
    cancelled: Boolean(order.cancelledAt),
    confirmed: order.confirmed,
    test: order.test,
    financial: order.displayFinancialStatus?.toLowerCase() ?? null,
    fulfillment: order.displayFulfillmentStatus.toLowerCase(),
    hasReturns: order.returnStatus !== 'NO_RETURN',
    retailLocation: order.retailLocation?.id ?? null,
    total: { amount: shopMoney.amount, currency: shopMoney.currencyCode },
    lines: order.lineItems.nodes.map((line) => ({
      id: line.id,
      variantId: line.variant?.id ?? null,
      sku: line.sku ?? null,
      title: line.title,
      quantity: line.quantity,
      currentQuantity: line.currentQuantity,
      unfulfilled: line.unfulfilledQuantity,
    })),
    refunded: (order.refunds ?? []).flatMap((refund) =>
      refund.refundLineItems.nodes.map((part) => ({
        lineId: part.lineItem.id,
        units: part.quantity,
        restock: restockOf(part.restockType),
        location: part.location?.id ?? null,
      })),
    ),
    shipped: (order.fulfillments ?? [])
      .filter(({ status }) => stands(status))
      .flatMap((fulfillment) =>
        fulfillment.fulfillmentLineItems.nodes.map((part) => ({
          lineId: part.lineItem.id,
          units: part.quantity ?? 0,
          location: fulfillment.location?.id ?? null,
        })),
      ),
    routed: routesOf(order.fulfillmentOrders),
  };
}

/** An incomplete list proves nothing about "the only place", so it counts as not asked. Moved-away orders are CANCELLED or CLOSED. */
function routesOf(orders: WholeOrderNode['fulfillmentOrders']): OrderFacts['routed'] {
  if (!orders || orders.pageInfo.hasNextPage || orders.nodes.some((node) => node.lineItems.pageInfo.hasNextPage))
    return [];
  return orders.nodes
    .filter((node) => node.status !== 'CANCELLED')
    .flatMap((node) =>
      node.lineItems.nodes
        .filter((part) => part.totalQuantity > 0)
        .map((part) => ({ lineId: part.lineItem.id, location: node.assignedLocation.location?.id ?? null })),
    );
}

/** What a verified orders/* body with everything in it says. */
export function orderEvent(order: RestOrder): IncomingEvent {
  const mapped = toChannelOrder(factsOfRest(order));
  return { kind: 'order', externalId: mapped.externalId, vendorAt: mapped.updatedAt, order: mapped };
}

/** Shopify names the only variant of a product so. */
const ONLY_VARIANT = 'Default Title';

export function toListing(variant: VariantNode, levels: readonly LevelNode[], vendorAt: number): ChannelListing {
  const { inventoryItem, product } = variant;
  const untracked = inventoryItem.tracked ? null : ('untracked' as const);
  return {
    externalId: product.id,
    variantExternalId: variant.id,
    stockKey: inventoryItem.id,
    channelSku: variant.sku ?? '',
    title: variant.title === ONLY_VARIANT ? product.title : `${product.title} – ${variant.title}`,
    barcode: variant.barcode || null,
    fulfilledBy: 'us',
    notWritable: variant.requiresComponents ? 'bundle_parent' : untracked,
    levels: levels
      .filter((level) => level.isActive)
      .map((level) => ({
        channelLocation: level.location.id,
        value: level.quantities.find(({ name }) => name === 'available')?.quantity ?? null,
        vendorAt,
      })),
  };
}
