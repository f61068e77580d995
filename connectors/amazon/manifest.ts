/**
 * What Amazon's Selling Partner API (SP-API) can do and how it behaves, as constants with their source.
 *
 * Sources: the fact sheet's sections in brackets, read 2026-11-21; model snapshot of 2026-08-05.
 * Settle time and order lag are guesses about Amazon's speed: a connection may correct them (kit/tuning.ts).
 */
import type { BudgetLimits, BulkLimits, Manifest } from '../kit/ports.ts';

export const API_VERSIONS = {
  listingsItems: '2021-08-01',
  feeds: '2021-06-30',
  orders: '2026-01-01',
  fbaInventory: 'v1',
  notifications: 'v1',
} as const;

export type Region = 'na' | 'eu' | 'fe';

/** documented [§1]. */
export const REGION_HOSTS: Readonly<Record<Region, string>> = {
  na: 'sellingpartnerapi-na.amazon.com',
  eu: 'sellingpartnerapi-eu.amazon.com',
  fe: 'sellingpartnerapi-fe.amazon.com',
};

/** One global host for all regions: documented [§2.2]. */
export const TOKEN_HOST = 'api.amazon.com';

/** The merchant's own number: documented [§3.2]. */
export const MERCHANT_CHANNEL = 'DEFAULT';
/** Prefix of every channel whose goods lie in Amazon's warehouses (AMAZON_NA, AMAZON_EU, AMAZON_JP, …): documented [§3.2]. */
export const AMAZON_CHANNEL_PREFIX = 'AMAZON_';
export const AMAZON_CHANNELS: Readonly<Record<Region, string>> = { na: 'AMAZON_NA', eu: 'AMAZON_EU', fe: 'AMAZON_JP' };

/** The customer's own queue may lie in any region of AWS; each is named, because amazonaws.com also hosts other people's content. */
const QUEUE_REGIONS = [
  ...['us-east-1', 'us-east-2', 'us-west-1', 'us-west-2', 'ca-central-1', 'sa-east-1'],
  ...['eu-west-1', 'eu-west-2', 'eu-west-3', 'eu-central-1', 'eu-central-2', 'eu-north-1', 'eu-south-1', 'eu-south-2'],
  ...['ap-northeast-1', 'ap-northeast-2', 'ap-northeast-3', 'ap-southeast-1', 'ap-southeast-2', 'ap-south-1'],
  ...['ap-east-1', 'me-south-1', 'me-central-1', 'il-central-1', 'af-south-1'],
];

/**
 * Buckets that Amazon's presigned document addresses name: observed in published answers (docs of 2020, integrators' logs of
 * 2023 to 2025). Each bucket name belongs to its owner alone, whatever the style of the address.
 */
const DOCUMENT_HOSTS = [
  ...['tortuga-prod-na.s3.amazonaws.com', 'tortuga-prod-na.s3-external-1.amazonaws.com'],
  'tortuga-prod-na.s3.us-east-1.amazonaws.com',
  ...['tortuga-prod-eu.s3.amazonaws.com', 'tortuga-prod-eu.s3-eu-west-1.amazonaws.com'],
  'tortuga-prod-eu.s3.eu-west-1.amazonaws.com',
  ...['tortuga-prod-fe.s3.amazonaws.com', 'tortuga-prod-fe.s3-us-west-2.amazonaws.com'],
  'tortuga-prod-fe.s3.us-west-2.amazonaws.com',
];

export type Bucket =
  | 'getListingsItem'
  | 'patchListingsItem'
  | 'previewListingsItem'
  | 'createFeedDocument'
  | 'createFeed'
  | 'getFeed'
  | 'getFeeds'
  | 'cancelFeed'
  | 'getFeedDocument'
  | 'uploadDocument'
  | 'downloadDocument'
  | 'searchListingsItems'
  | 'getInventorySummaries'
  | 'searchOrders'
  | 'getOrder'
  | 'getDestinations'
  | 'createDestination'
  | 'getSubscription'
  | 'createSubscription'
  | 'deleteSubscription'
  | 'lwa'
  | 'sqs';

/**
 * Refill per second and burst of each operation: documented [§9], plans may differ and change; the answers tell.
 * Cuts use two buckets: the patch itself and the read before it. `lwa` and `sqs` have no plan in the sheet: assumed.
 */
export const BUDGETS: Readonly<Record<Bucket, BudgetLimits>> = {
  getListingsItem: { ratePerSecond: 5, capacity: 10 },
  patchListingsItem: { ratePerSecond: 5, capacity: 5 },
  /** A separate, lower rate; its burst is not told: assumed [§3.1]. */
  previewListingsItem: { ratePerSecond: 1, capacity: 1, urgentReserve: 0 },
  createFeedDocument: { ratePerSecond: 0.5, capacity: 15, urgentReserve: 0 },
  /** JSON_LISTINGS_FEED has a plan of its own: five per five minutes [§4.1]. */
  createFeed: { ratePerSecond: 5 / 300, capacity: 5, urgentReserve: 0 },
  getFeed: { ratePerSecond: 2, capacity: 15, urgentReserve: 0 },
  getFeeds: { ratePerSecond: 0.0222, capacity: 10, urgentReserve: 0 },
  cancelFeed: { ratePerSecond: 2, capacity: 15, urgentReserve: 0 },
  getFeedDocument: { ratePerSecond: 0.0222, capacity: 10, urgentReserve: 0 },
  /** Documents lie in a store without a plan in the sheet: assumed. */
  uploadDocument: { ratePerSecond: 10, capacity: 10, urgentReserve: 0 },
  downloadDocument: { ratePerSecond: 10, capacity: 10, urgentReserve: 0 },
  searchListingsItems: { ratePerSecond: 5, capacity: 5, urgentReserve: 0 },
  getInventorySummaries: { ratePerSecond: 2, capacity: 2, urgentReserve: 0 },
  searchOrders: { ratePerSecond: 0.0056, capacity: 20, urgentReserve: 0 },
  getOrder: { ratePerSecond: 0.5, capacity: 30, urgentReserve: 0 },
  /** Notifications: 1/s, burst 5 each: documented [§7.2]. */
  getDestinations: { ratePerSecond: 1, capacity: 5, urgentReserve: 0 },
  createDestination: { ratePerSecond: 1, capacity: 5, urgentReserve: 0 },
  getSubscription: { ratePerSecond: 1, capacity: 5, urgentReserve: 0 },
  createSubscription: { ratePerSecond: 1, capacity: 5, urgentReserve: 0 },
  deleteSubscription: { ratePerSecond: 1, capacity: 5, urgentReserve: 0 },
  lwa: { ratePerSecond: 1, capacity: 10, urgentReserve: 0 },
  sqs: { ratePerSecond: 50, capacity: 100, urgentReserve: 0 },
};

/** The longest wait of one SQS receive, and the most messages it returns: documented by AWS. */
export const QUEUE_WAIT_MAX_MS = 20_000;
export const QUEUE_MESSAGES_MAX = 10;

/**
 * JSON_LISTINGS_FEED beside PATCH (§4.5, advice): a feed of any size takes minutes to hours and overwrites what is sold
 * meanwhile, so it is for many, and for numbers that stand that.
 */
export const BULK: BulkLimits = {
  /** "≤ ~1,500 SKUs per 5 min" go by PATCH: advice [§4.5]. */
  rowsMin: 1_500,
  /** 25,000 messages and 10 MiB are the vendor's limits [§4.2]; reading 5,000 numbers first takes 50 s of the search's 5/s. */
  rowsMax: 5_000,
  leastUnits: 10,
  /** Twice the time the largest document takes to be read: ours. */
  readForMs: 120_000,
  /** "At most one feed of a type per 20 min, wait for the previous to finish": documented [§4.4]. */
  everyMs: 1_200_000,
  /** documented [§4.1]. */
  submitsPerWindow: 5,
  windowMs: 300_000,
  lookFirstMs: 2_000,
  /** getFeed has 2/s; a minute late after half an hour is nothing. */
  lookAtMostMs: 60_000,
  /** "Up to 8 h is considered normal": observed [§4.4, M#657]. */
  stuckMs: 8 * 3_600_000,
};

export const manifest: Manifest = {
  platform: 'amazon',
  title: 'Amazon',
  apiVersion: `listings ${API_VERSIONS.listingsItems}, feeds ${API_VERSIONS.feeds}, orders ${API_VERSIONS.orders}, fba-inventory ${API_VERSIONS.fbaInventory}`,
  /** PATCH takes 0.3–1 s: observed [races.md 9]. */
  requestTimeoutMs: 10_000,
  hosts: [
    ...Object.values(REGION_HOSTS),
    TOKEN_HOST,
    ...DOCUMENT_HOSTS,
    ...QUEUE_REGIONS.map((region) => `sqs.${region}.amazonaws.com`),
  ],
  stock: {
    /** No ETag, no delta, no condition: documented [§3.2]. */
    compareAndSet: false,
    /**
     * ACCEPTED only means queued. "A few minutes" until it shows: observed [§3.4.6, D#2167]. Five, because too short a
     * time calls a write in progress drift and heals it for ever, and too long a time only delays a proof.
     */
    settleMs: 300_000,
    /** Accepted without any effect happens (unknown SKU, M#2797; D#2068): observed [§3.4.5–6]. After a quarter of an hour it is not slowness. */
    rejectAfterSettles: 3,
    /** A PATCH names one SKU in its path: documented [§3.1]. */
    urgentRows: 1,
    bulkRows: 1,
    /** searchListingsItems takes at most 20 identifiers: documented [§3.1]. */
    readRows: 20,
    /** The burst of patchListingsItem: documented [§9]. At 0.3–1 s a call this spends the 5/s. */
    callsInFlight: 5,
    oneLocationPerCall: true,
    /** Amazon lowers its own number when the order is placed, Pending ones too: observed [§3.5, §6.3]. */
    holdsOutsideNumber: false,
    bulk: BULK,
  },
  orders: {
    /** An order shows about two minutes after the change; `…Before` must lie two minutes back: documented [§6.1, §6.3]. */
    lagMs: 120_000,
    /** At least five minutes [§6.1, advice]; ten, because half an hour happens (§6.3) and an overlap costs nothing but bytes. */
    overlapMs: 600_000,
    /** 0.0056/s is one call per 179 s: documented [§6.1]. */
    sweepEveryMs: 180_000,
    /** The burst of 20 (documented [§6.1]) then lasts for more than one interval of the sweep. */
    askEveryMs: 10_000,
    /**
     * The sweep itself spends a call every 180 s of one per 179 s, so that a day leaves about four, and a burst of 20: yesterday
     * is counted once a day by reading its ids, at most ten pages (1,000 orders). Days beyond that are unknown, and said to be.
     */
    counts: { everyMs: 86_400_000, days: 1, today: false, pagesMost: 10 },
  },
  events: { webhooks: false, queue: true },
  budgets: BUDGETS,
};
