/**
 * The operations of the Selling Partner API this simulator answers: path, usage plan (vendors/amazon.md §9, documented
 * unless marked) and who may call. A path that fits none is answered 403, as Amazon does for a SKU with a raw slash.
 */

/** seller: refresh_token grant; grantless: client_credentials grant; either: reports differ (§2.4). */
export type Caller = 'seller' | 'grantless' | 'either';

export interface Operation {
  name: string;
  method: string;
  path: string;
  ratePerSecond: number;
  burst: number;
  caller: Caller;
}

const seller = (name: string, method: string, path: string, ratePerSecond: number, burst: number): Operation => ({
  name,
  method,
  path,
  ratePerSecond,
  burst,
  caller: 'seller',
});
const notifications = (name: string, method: string, path: string, caller: Caller): Operation => ({
  ...seller(name, method, `/notifications/v1${path}`, 1, 5),
  caller,
});

const LISTINGS = '/listings/2021-08-01/items/{sellerId}';
const FEEDS = '/feeds/2021-06-30';

export const OPERATIONS: readonly Operation[] = [
  seller('patchListingsItem', 'PATCH', `${LISTINGS}/{sku}`, 5, 5),
  seller('getListingsItem', 'GET', `${LISTINGS}/{sku}`, 5, 10),
  seller('searchListingsItems', 'GET', LISTINGS, 5, 5),
  seller('getMarketplaceParticipations', 'GET', '/sellers/v1/marketplaceParticipations', 0.016, 15),
  seller('getInventorySummaries', 'GET', '/fba/inventory/v1/summaries', 2, 2),
  seller('searchOrders', 'GET', '/orders/2026-01-01/orders', 0.0056, 20),
  seller('getOrder', 'GET', '/orders/2026-01-01/orders/{orderId}', 0.5, 30),
  seller('confirmShipment', 'POST', '/orders/v0/orders/{orderId}/shipmentConfirmation', 2, 10),
  notifications('getDestinations', 'GET', '/destinations', 'grantless'),
  notifications('createDestination', 'POST', '/destinations', 'grantless'),
  notifications('getDestination', 'GET', '/destinations/{destinationId}', 'grantless'),
  notifications('deleteDestination', 'DELETE', '/destinations/{destinationId}', 'grantless'),
  notifications('getSubscription', 'GET', '/subscriptions/{notificationType}', 'seller'),
  notifications('createSubscription', 'POST', '/subscriptions/{notificationType}', 'seller'),
  notifications('getSubscriptionById', 'GET', '/subscriptions/{notificationType}/{subscriptionId}', 'either'),
  notifications('deleteSubscriptionById', 'DELETE', '/subscriptions/{notificationType}/{subscriptionId}', 'either'),
  seller('createFeedDocument', 'POST', `${FEEDS}/documents`, 0.5, 15),
  seller('getFeedDocument', 'GET', `${FEEDS}/documents/{feedDocumentId}`, 0.0222, 10),
  // JSON_LISTINGS_FEED, the only type taken here: 5 feeds per 5 minutes (§4.1, documented).
  seller('createFeed', 'POST', `${FEEDS}/feeds`, 5 / 300, 5),
  seller('getFeeds', 'GET', `${FEEDS}/feeds`, 0.0222, 10),
  seller('getFeed', 'GET', `${FEEDS}/feeds/{feedId}`, 2, 15),
  seller('cancelFeed', 'DELETE', `${FEEDS}/feeds/{feedId}`, 2, 15),
];

/** VALIDATION_PREVIEW has a plan of its own: 1/s documented, its burst is not; assumed 5 like the write's. */
export const PREVIEW_PLAN = { name: 'patchListingsItem.preview', ratePerSecond: 1, burst: 5 };

const patterns = OPERATIONS.map((operation) => ({ operation, segments: operation.path.split('/') }));

/**
 * @param path still percent-encoded: a parameter is exactly one raw segment
 * @returns parameters still encoded, or null when no operation has this method and path
 */
export function findOperation(
  method: string,
  path: string,
): { operation: Operation; rawParameters: Record<string, string> } | null {
  const given = path.split('/');
  for (const { operation, segments } of patterns) {
    if (operation.method !== method || segments.length !== given.length) continue;
    const rawParameters: Record<string, string> = {};
    const fits = segments.every((segment, index) => {
      const value = given[index] ?? '';
      if (!segment.startsWith('{')) return segment === value;
      rawParameters[segment.slice(1, -1)] = value;
      return value !== '';
    });
    if (fits) return { operation, rawParameters };
  }
  return null;
}
