/**
 * The simulated shop's data as journaled rows. Ids are decimal strings (Shopify's numbers reach 2^63), times Unix ms;
 * what an outsider sees of them (GIDs, whole seconds, REST names) is made in `views.ts` and `payloads.ts`.
 */

export interface LocationRow {
  id: string;
  name: string;
  isDefault: boolean;
  isActive: boolean;
  createdAt: number;
  updatedAt: number;
}

export interface VariantRow {
  id: string;
  productId: string;
  itemId: string;
  sku: string;
  title: string;
  barcode: string | null;
  priceCents: number;
  /** DENY: the shop stops selling at 0. */
  inventoryPolicy: 'DENY' | 'CONTINUE';
  /** A Shopify bundle parent: its quantities cannot be written. */
  requiresComponents: boolean;
  tracked: boolean;
  createdAt: number;
  updatedAt: number;
}

/** Quantity names that apps and orders change; on_hand is the sum of all but incoming (sheet §5.1). */
export const HELD_NAMES = ['available', 'committed', 'reserved', 'damaged', 'safety_stock', 'quality_control'] as const;
export const STORED_NAMES = [...HELD_NAMES, 'incoming'] as const;
export type StoredName = (typeof STORED_NAMES)[number];
export type QuantityName = StoredName | 'on_hand';

export interface LevelRow {
  id: string;
  itemId: string;
  locationId: string;
  isActive: boolean;
  quantities: Record<StoredName, number>;
  createdAt: number;
  updatedAt: number;
}

export interface LineRow {
  id: string;
  variantId: string;
  productId: string;
  itemId: string;
  sku: string;
  title: string;
  priceCents: number;
  /** Ordered, with what edits added. */
  quantity: number;
  /** Taken off by edits. */
  removed: number;
  /** Taken off by refunds. */
  refunded: number;
  fulfilled: number;
  /** Of the fulfilled: came back. */
  returned: number;
}

export interface FulfillmentOrderRow {
  id: string;
  locationId: string;
  status: 'OPEN' | 'IN_PROGRESS' | 'CLOSED' | 'CANCELLED';
  createdAt: number;
  updatedAt: number;
  lines: { id: string; lineId: string; total: number; remaining: number }[];
}

export interface FulfillmentRow {
  id: string;
  number: number;
  fulfillmentOrderIds: string[];
  locationId: string;
  createdAt: number;
  updatedAt: number;
  tracking: { company: string | null; number: string | null; url: string | null }[];
  lines: { id: string; lineId: string; quantity: number }[];
}

export type RestockType = 'NO_RESTOCK' | 'CANCEL' | 'RETURN';

export interface RefundRow {
  id: string;
  createdAt: number;
  note: string | null;
  returnId: string | null;
  lines: { id: string; lineId: string; quantity: number; restockType: RestockType; locationId: string | null }[];
}

export interface ReturnRow {
  id: string;
  number: number;
  status: 'OPEN' | 'CLOSED';
  createdAt: number;
  closedAt: number | null;
  lines: { id: string; lineId: string; fulfillmentLineId: string; quantity: number; note: string }[];
}

export interface OrderRow {
  id: string;
  number: number;
  createdAt: number;
  updatedAt: number;
  cancelledAt: number | null;
  cancelReason: string | null;
  closedAt: number | null;
  /** What was paid in; refunds are taken off by sum. */
  paid: boolean;
  edited: boolean;
  tags: string[];
  note: string | null;
  lines: LineRow[];
  fulfillmentOrders: FulfillmentOrderRow[];
  fulfillments: FulfillmentRow[];
  refunds: RefundRow[];
  returns: ReturnRow[];
}

export interface SubscriptionRow {
  id: string;
  topic: string;
  uri: string;
  format: 'JSON' | 'XML';
  filter: string | null;
  includeFields: string[];
  metafieldNamespaces: string[];
  name: string | null;
  apiVersion: string;
  createdAt: number;
  updatedAt: number;
}

export const gid = (type: string, id: string): string => `gid://shopify/${type}/${id}`;

export const levelKey = (itemId: string, locationId: string): string => `${itemId}@${locationId}`;

/** The level's GID as webhook samples show it (sheet §1); outsiders must treat it as opaque. */
export const levelGid = (level: LevelRow): string =>
  `${gid('InventoryLevel', level.id)}?inventory_item_id=${level.itemId}`;

/** @returns the number of a GID of that type (a bare number passes), or null. */
export function idOf(type: string, given: string): string | null {
  if (/^\d{1,19}$/.test(given)) return given;
  const prefix = `gid://shopify/${type}/`;
  const rest = given.startsWith(prefix) ? given.slice(prefix.length) : '';
  return /^\d{1,19}$/.test(rest) ? rest : null;
}

export function quantityOf(level: LevelRow, name: QuantityName): number {
  if (name !== 'on_hand') return level.quantities[name];
  return HELD_NAMES.reduce((sum, held) => sum + level.quantities[held], 0);
}

export const currentQuantity = (line: LineRow): number => line.quantity - line.removed - line.refunded;

/** Units of the line that still wait to be shipped, over the order's fulfillment orders. */
export function unfulfilledQuantity(order: OrderRow, line: LineRow): number {
  return order.fulfillmentOrders
    .flatMap((fulfillmentOrder) => fulfillmentOrder.lines)
    .reduce((sum, waiting) => sum + (waiting.lineId === line.id ? waiting.remaining : 0), 0);
}

export type FinancialStatus = 'PENDING' | 'PAID' | 'PARTIALLY_REFUNDED' | 'REFUNDED' | 'VOIDED';

export function financialStatus(order: OrderRow): FinancialStatus {
  if (!order.paid) return order.cancelledAt === null ? 'PENDING' : 'VOIDED';
  const refunded = refundedCents(order);
  if (refunded === 0) return 'PAID';
  return refunded >= totalCents(order) ? 'REFUNDED' : 'PARTIALLY_REFUNDED';
}

export const totalCents = (order: OrderRow): number =>
  order.lines.reduce((sum, line) => sum + (line.quantity - line.removed) * line.priceCents, 0);

export function refundedCents(order: OrderRow): number {
  return order.lines.reduce((sum, line) => sum + line.refunded * line.priceCents, 0);
}

export type FulfillmentState = 'UNFULFILLED' | 'PARTIALLY_FULFILLED' | 'FULFILLED';

export function fulfillmentState(order: OrderRow): FulfillmentState {
  const fulfilled = order.lines.reduce((sum, line) => sum + line.fulfilled, 0);
  if (fulfilled === 0) return 'UNFULFILLED';
  return order.lines.some((line) => unfulfilledQuantity(order, line) > 0) ? 'PARTIALLY_FULFILLED' : 'FULFILLED';
}
