/**
 * What Shopify can do and how it behaves, as constants with their source (fact sheet sections in brackets; see NOTES.md).
 * Read by lanes, sweeps and the transport; nothing here changes at run time.
 */
import type { Manifest } from '../kit/ports.ts';

/** Newest stable version on 2026-11-21 [§1]. Webhook payloads follow it too. */
export const API_VERSION = '2026-10';

/** GraphQL points: one leaky bucket per app and store [§9]. */
export const GRAPHQL_BUCKET = 'graphql';
/** Token requests: no limit documented; a handful a day. */
export const OAUTH_BUCKET = 'oauth';

export const manifest: Manifest = {
  platform: 'shopify',
  title: 'Shopify',
  apiVersion: API_VERSION,
  requestTimeoutMs: 15_000,
  /** The host pattern of Shopify's own SDK [§1]. */
  hosts: ['myshopify.com', 'shopify.com', 'myshopify.io', 'shop.dev'],
  stock: {
    compareAndSet: true,
    settleMs: 0,
    rejectAfterSettles: 3,
    // One bad row fails the whole call [§0.7], so urgent rows travel in small company.
    urgentRows: 10,
    // Cap 250 [§0.8]; 100–250 advised [§5.8].
    bulkRows: 100,
    // 250 nodes × 3 points stay below the cap of 1,000 points a query [§9].
    readRows: 250,
    callsInFlight: 4,
    oneLocationPerCall: true,
    holdsOutsideNumber: false,
  },
  orders: {
    // `assumed`: the search behind orders(query:) is an index that lags by seconds [§5.1 says so of other searches, §12].
    lagMs: 15_000,
    // "an overlap window of several minutes" [§6].
    overlapMs: 300_000,
    // "every 5–15 min" [§10].
    sweepEveryMs: 300_000,
    // A count is one point [§9]; ids cost about 255 points a page of 250, and are read only where counts differ.
    counts: { everyMs: 3_600_000, days: 2, today: true, pagesMost: 40 },
  },
  events: { webhooks: true, queue: false },
  // The Standard plan's figures [§9]; every answer carries the store's real ones.
  budgets: {
    [GRAPHQL_BUCKET]: { ratePerSecond: 100, capacity: 2_000 },
    [OAUTH_BUCKET]: { ratePerSecond: 2, capacity: 10 },
  },
};
