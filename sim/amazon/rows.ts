/**
 * The rows of a simulated Amazon seller account, and the tables that hold them. Times are Unix ms by the simulator's clock.
 *
 *   offer    what the seller sells under a SKU. FBM quantity is one number per seller and SKU, whatever the marketplace
 *            (vendors/amazon.md §3.4.9); FBA stock is a separate set of buckets.
 *   order    versions, oldest first: the last is the truth, readers may still be shown an earlier one (§6.3).
 */
import type { SimCore } from '#sim/kit/core.ts';
import type { Table } from '#sim/kit/tables.ts';
import type { ChannelEntry } from './patches.ts';

export interface FbaStock {
  fnSku: string;
  fulfillable: number;
  /** Reserved for orders that Amazon has not shipped. */
  pendingOrders: number;
  customerDamaged: number;
  defective: number;
  expired: number;
  updatedAt: number;
}

export interface Offer {
  sku: string;
  asin: string;
  title: string;
  productType: string;
  createdAt: number;
  updatedAt: number;
  channels: ChannelEntry[];
  fba: FbaStock | null;
}

export type OrderStatus = 'PENDING' | 'UNSHIPPED' | 'PARTIALLY_SHIPPED' | 'SHIPPED' | 'CANCELLED';

export interface OrderLine {
  id: string;
  sku: string;
  asin: string;
  title: string;
  /** What is still ordered: cancelled units are gone from it. */
  ordered: number;
  shipped: number;
  cancelled: number;
}

/** The body of a shipment confirmation that the simulator keeps. */
export interface PackageDetail {
  packageReferenceId: string;
  carrierCode: string;
  carrierName?: string | undefined;
  shippingMethod?: string | undefined;
  trackingNumber: string;
  shipDate: string;
  orderItems: { orderItemId: string; quantity: number }[];
}

export interface OrderVersion {
  /** Whole seconds: two changes within one second share it. */
  at: number;
  status: OrderStatus;
  lines: OrderLine[];
  packages: PackageDetail[];
}

export interface OrderRow {
  id: string;
  fulfilledBy: 'MERCHANT' | 'AMAZON';
  createdAt: number;
  versions: OrderVersion[];
  /** Units the order took out of the offer, per line; less than ordered when it was oversold. */
  taken: Record<string, number>;
  /** Units the buyer sent back, per line. */
  returned: Record<string, number>;
}

export interface TokenRow {
  token: string;
  kind: 'seller' | 'grantless';
  expiresAt: number;
}

export interface DestinationRow {
  destinationId: string;
  name: string;
  resource: { sqs: { arn: string } } | { eventBridge: { accountId: string; region: string; name: string } };
}

export interface SubscriptionRow {
  subscriptionId: string;
  notificationType: string;
  payloadVersion: string;
  destinationId: string;
  processingDirective?: Record<string, unknown> | undefined;
  /** null: every kind of change. */
  orderChangeTypes: string[] | null;
}

export interface DocumentRow {
  feedDocumentId: string;
  contentType: string;
  createdAt: number;
  content: string | null;
}

export interface FeedRow {
  feedId: string;
  feedType: string;
  marketplaceIds: string[];
  inputFeedDocumentId: string;
  createdAt: number;
  /** null: behind a feed that is stuck. */
  startAt: number | null;
  /** null: stuck. */
  endAt: number | null;
  status: 'OPEN' | 'DONE' | 'CANCELLED' | 'FATAL';
  resultFeedDocumentId: string | null;
  /** Every second message is refused (fault half_batch). */
  half: boolean;
}

export interface Rows {
  offers: Table<Offer>;
  orders: Table<OrderRow>;
  tokens: Table<TokenRow>;
  destinations: Table<DestinationRow>;
  subscriptions: Table<SubscriptionRow>;
  documents: Table<DocumentRow>;
  feeds: Table<FeedRow>;
}

export function openRows(core: SimCore): Rows {
  const table = <Row>(name: string): Table<Row> => core.tables.table<Row>(`amazon.${name}`);
  return {
    offers: table('offers'),
    orders: table('orders'),
    tokens: table('tokens'),
    destinations: table('destinations'),
    subscriptions: table('subscriptions'),
    documents: table('documents'),
    feeds: table('feeds'),
  };
}

/** The order as it truly is. */
export function latest(order: OrderRow): OrderVersion {
  const version = order.versions.at(-1);
  if (version === undefined) throw new Error(`Order ${order.id} has no version`);
  return version;
}
