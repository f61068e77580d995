/**
 * The connector contract: what SyncState asks of a vendor, one interface per capability, declared in the manifest.
 *
 * A connector is a translation: vendor wire ↔ these shapes. It holds no stock logic, no database, no retries of
 * writes and no memory of what it sent; flows decide, the connector says exactly what the vendor answered.
 * Used by server/flows (through the registry in server/deps.ts) and by every folder under connectors/.
 */
import type { Clock, Random } from '#core/effects.ts';

export type Platform =
  | 'shopify'
  | 'amazon'
  | 'woocommerce'
  | 'shopee'
  | 'tiktok'
  | 'flowtrac'
  | 'fedex'
  | 'dhl'
  | 'shipstation';

/** What a vendor can do and how it behaves; constants with their source in the vendor's `manifest.ts`. */
export interface Manifest {
  platform: Platform;
  title: string;
  /** The pinned vendor API version, e.g. "2026-10". */
  apiVersion: string;
  /** One request's own time limit. A lane's lease is at least twice this. */
  requestTimeoutMs: number;
  /** Hosts a live connection may talk to; suffix match on dot boundaries, https only. */
  hosts: readonly string[];
  stock: StockCapability;
  orders: OrdersCapability;
  /** How events arrive: signed HTTP posts, a queue we poll, or both. */
  events: { webhooks: boolean; queue: boolean };
  /** Token buckets as the vendor documents them, by `OutsideCall.bucket`; assumed until its answers tell better. */
  budgets: Readonly<Record<string, BudgetLimits>>;
}

/** A vendor's token bucket: what one connection may spend. */
export interface BudgetLimits {
  /** Points given back per second. */
  ratePerSecond: number;
  /** Points the full bucket holds (burst). */
  capacity: number;
  /** Share of the bucket that only urgent calls may use, 0–1. 0 where urgent writes never use this bucket. Default 0.3. */
  urgentReserve?: number;
}

/** What an answer told about a bucket. Absent fields were not told. */
export interface BudgetReport {
  ratePerSecond?: number;
  capacity?: number;
  /** Points left right now, in the vendor's count. */
  available?: number;
  /** The vendor refused for rate inside a normal answer (Shopify: 200 with THROTTLED); a 429 is noticed by the transport itself. */
  throttled?: boolean;
}

export interface StockCapability {
  /** The vendor can refuse a write when its number is not the one we name. Without it: read right before every non-zero write. */
  compareAndSet: boolean;
  /** How long after acceptance a write may take to show. Until then neither the old nor the new number proves anything. 0 = the answer is the application. */
  settleMs: number;
  /** Accepted, but unseen after this many settle times: `rejected`. */
  rejectAfterSettles: number;
  /** Rows per call: urgent writes stay small because one bad row fails a whole call on some vendors. */
  urgentRows: number;
  bulkRows: number;
  readRows: number;
  /** Calls in flight at once per connection (at most one per target, the lane sees to that). */
  callsInFlight: number;
  /** All rows of one write must name the same channel location. */
  oneLocationPerCall: boolean;
  /** Units the channel holds for unpaid orders stay outside its own number and must be added back for it (WooCommerce). */
  holdsOutsideNumber: boolean;
  /** Many numbers in one document that the vendor works off by itself (Amazon: a feed). Absent: there is no such way. */
  bulk?: BulkLimits;
}

/** When many numbers travel as one document, and how long that may take. */
export interface BulkLimits {
  /** From this many waiting changes on; fewer travel singly. */
  rowsMin: number;
  /** At most so many rows in one document. */
  rowsMax: number;
  /** Numbers below this always travel singly: what is in a document can be sold out before it is worked off. */
  leastUnits: number;
  /** A number read longer ago than this does not go in. */
  readForMs: number;
  /** Between two documents of one connection, from submit to submit. */
  everyMs: number;
  /** The vendor's own limit: submits per window. */
  submitsPerWindow: number;
  windowMs: number;
  /** First look at a submitted document; the pauses double up to `lookAtMostMs`. */
  lookFirstMs: number;
  lookAtMostMs: number;
  /** Not worked off after this: its numbers are read back and travel singly; it is followed to its end all the same. */
  stuckMs: number;
}

export interface OrdersCapability {
  /** An order change may become readable this much later than its vendor time; orders count as read only up to (answer's time − lag). */
  lagMs: number;
  /** Overlap of consecutive order sweeps. */
  overlapMs: number;
  /** How often the order sweep runs when nothing else asks for it. */
  sweepEveryMs: number;
  /** A search for orders is dear: numbers that wait for them ask this often at most, and only when one can reach past them. */
  askEveryMs?: number;
  /** Daily counts as proof of the sweeps, as the vendor's budget allows. Absent: they are not counted. */
  counts?: {
    everyMs: number;
    /** Days back that are counted; 1 = yesterday. */
    days: number;
    /** The day that still runs is counted too. */
    today: boolean;
    /** Pages of ids read per day at most; what is beyond is said to be unknown. */
    pagesMost: number;
  };
}

/** A vendor's own name for one external number. */
export interface StockRef {
  /** Shopify: inventory item GID. Amazon: seller SKU. */
  stockKey: string;
  /** Shopify: location GID. Amazon: "DEFAULT". */
  channelLocation: string;
}

export type StockReading =
  /** `vendorAt`: the vendor's clock at the moment the number was read, Unix ms, rounded down to the vendor's resolution. */
  | { kind: 'quantity'; ref: StockRef; value: number; vendorAt: number }
  /** The vendor knows no such number (deleted, never stocked there). */
  | { kind: 'missing'; ref: StockRef; reason: string }
  /** The vendor keeps this number itself (FBA); `value` when it shows one. */
  | { kind: 'read_only'; ref: StockRef; value: number | null; vendorAt: number };

export interface StockWrite {
  ref: StockRef;
  /** The absolute number to show, ≥ 0. */
  value: number;
  /** With compare-and-set: the number the vendor must still have; null = blind, allowed for value 0 only. Ignored without it. */
  from: number | null;
}

export type StockWriteOutcome =
  /** In force now. `vendorAt`: the vendor's time of it. */
  | { kind: 'applied'; ref: StockRef; vendorAt: number }
  /** Taken, in force later (settle time). */
  | { kind: 'accepted'; ref: StockRef; vendorAt: number; submissionId: string | null }
  /** The vendor's number was not `from`: nothing was written for this row. */
  | { kind: 'stale'; ref: StockRef }
  /** The vendor refuses this row: `code` and `reason` are the vendor's own words. Nothing was written. */
  | { kind: 'rejected'; ref: StockRef; code: string; reason: string }
  /** The row itself was not blamed, but the whole call was refused: nothing was written; send it again under a new key. */
  | { kind: 'not_applied'; ref: StockRef };

/** Urgent never queues behind bulk; reads have their own budget. */
export type BudgetClass = 'urgent' | 'bulk' | 'read';

export interface CallOptions {
  budget: BudgetClass;
  /** Our lease's end or the caller's deadline; the call must be over or abandoned by then. */
  signal: AbortSignal;
  /**
   * Asked right before each write leaves, when its turn has come: false = it is dropped (`connector.unavailable` with
   * `details.withdrawn`), nothing was sent. The lane asks its lease and what halts its targets.
   */
  mayLeave?: () => Promise<boolean>;
}

export interface StockPort {
  /** Reads many numbers, each answered exactly once, in any order. ≤ `stock.readRows` refs per call to the vendor (the connector splits). */
  read(refs: readonly StockRef[], options: CallOptions): Promise<StockReading[]>;
  /**
   * One vendor call (the lane keeps to `urgentRows`/`bulkRows`/`oneLocationPerCall`). Each row is answered exactly once.
   * `key` is the idempotency key of this call (a UUID stored with the attempt before sending); the same key is only
   * ever sent again with the same rows. Throws ConnectorError; `connector.outcome_unknown` when it may have been applied.
   */
  write(rows: readonly StockWrite[], key: string, options: CallOptions): Promise<StockWriteOutcome[]>;
  /** Many numbers in one document; with `manifest.stock.bulk`. */
  bulk?: StockBulkPort;
  /** What the vendor would say to this number: nothing is written. */
  preview?(row: { ref: StockRef; value: number }, options: CallOptions): Promise<StockPreview>;
}

export interface StockPreview {
  verdict: 'valid' | 'invalid';
  /** In the vendor's own words; warnings of a valid one too. */
  issues: { code: string; severity: string; message: string }[];
}

/** One row of a document, with the number its issues are told under: whole, ≥ 1, unique in the document. */
export interface BulkRow {
  messageId: number;
  ref: StockRef;
  value: number;
}

export interface BulkStatus {
  submissionId: string;
  /** `queued` can still be cancelled. `cancelled`: it never started. `fatal`: some, none or all rows were applied. */
  state: 'queued' | 'running' | 'done' | 'cancelled' | 'fatal' | 'unrecognized';
  /** The vendor's times. */
  createdAt: number;
  endedAt: number | null;
  /** Where what became of the rows can be read. */
  resultId: string | null;
}

export type BulkOutcome =
  | { messageId: number; kind: 'accepted' }
  | { messageId: number; kind: 'rejected'; code: string; reason: string }
  /** Not written, and not this number's fault: send it singly. */
  | { messageId: number; kind: 'not_applied'; reason: string }
  /** The report does not say what became of it. */
  | { messageId: number; kind: 'missing'; reason: string };

/**
 * A document of numbers: `prepare` stores it and changes nothing, `submit` starts it, and from then on the vendor works
 * it off. There is no idempotency key: a submit without an answer is looked for by `since`.
 */
export interface StockBulkPort {
  /** @returns `left`: message ids that are not in the document (goods of the vendor's own, listed elsewhere). Nothing has changed at the vendor. */
  prepare(rows: readonly BulkRow[], options: CallOptions): Promise<{ documentId: string; left: number[] }>;
  /** Throws `connector.outcome_unknown` when it may have been taken. */
  submit(documentId: string, options: CallOptions): Promise<{ submissionId: string }>;
  status(submissionId: string, options: CallOptions): Promise<BulkStatus>;
  /** All documents of this kind submitted at or after `since` (vendor's time), by whomever. */
  since(since: number, options: CallOptions): Promise<BulkStatus[]>;
  /** Asks for it; only `status` tells whether it came to that. */
  cancel(submissionId: string, options: CallOptions): Promise<void>;
  /** Each of `rows` answered exactly once; `sent` = how many were in the document. A report of another document names none. */
  outcomes(
    resultId: string,
    document: { sent: number; rows: readonly { messageId: number; stockKey: string }[] },
    options: CallOptions,
  ): Promise<BulkOutcome[]>;
}

/** An order as the channel tells it, in our words. Pure data from one payload or read. */
export interface ChannelOrder {
  externalId: string;
  /** What people call it, e.g. "#1001". */
  number: string;
  placedAt: number;
  /** The channel's version: its last-changed time. Newer wins, equal with other content is fetched again. Unix ms at the vendor's resolution. */
  updatedAt: number;
  /** `pending`: the channel took the units but the sale is not certain (holds). `open`: owed. `cancelled`: nothing is owed. */
  state: 'pending' | 'open' | 'cancelled';
  payment: 'pending' | 'authorized' | 'paid' | 'partially_refunded' | 'refunded' | 'failed' | 'unrecognized';
  fulfillment: 'unfulfilled' | 'partly_shipped' | 'shipped' | 'unrecognized';
  /** Who ships: us, or the channel's own warehouse (FBA). The latter moves goods at the channel's location only. */
  fulfilledBy: 'us' | 'channel';
  currency: string | null;
  totalMinor: number | null;
  test: boolean;
  lines: ChannelOrderLine[];
}

export interface ChannelOrderLine {
  externalId: string;
  /** Whichever the channel gives: how the line finds its listing. */
  stockKey: string | null;
  variantExternalId: string | null;
  channelSku: string | null;
  title: string;
  /** Units first ordered. */
  ordered: number;
  /** Units the buyer is to get in all after edits, cancels and refunds-before-shipping (shipped ones included). 0 when the line is gone. */
  wanted: number;
  /** Units that have left, as the channel knows. ≤ wanted. */
  shipped: number;
  /**
   * Units the channel's own number is lower by, at this version, because of this line (placed − restocked);
   * null when the sheet does not say. The difference between two versions is the *effect* on the channel's number.
   */
  taken: number | null;
  /** The channel location whose number moved, when the payload tells. */
  channelLocation: string | null;
  /** True for a bundle parent that the channel lists beside its exploded parts: no stock of its own. */
  bundleParent: boolean;
}

export interface OrderPage {
  orders: ChannelOrder[];
  cursor: string | null;
  /** The vendor's time this page was answered at; before subtracting `lagMs`. */
  vendorAt: number;
  /** How many raw orders the vendor said there are when it says so. */
  total: number | null;
}

export interface OrdersPort {
  /** Null when the channel cannot show it (deleted, too old, not visible yet). */
  get(externalId: string, options: CallOptions): Promise<ChannelOrder | null>;
  /** Orders changed at or after `since` (Unix ms), oldest change first, one page. */
  changedSince(since: number, cursor: string | null, options: CallOptions): Promise<OrderPage>;
  /** How many orders were placed in [from, to) (Unix ms), where one cheap call tells; null when it does not know exactly. */
  countPlaced?(from: number, to: number, options: CallOptions): Promise<number | null>;
  /** Ids of the orders placed in [from, to), one page: all that `get` would show. */
  placedBetween?(
    from: number,
    to: number,
    cursor: string | null,
    options: CallOptions,
  ): Promise<{ externalIds: string[]; cursor: string | null }>;
}

/** What a channel offers, for import and mapping. */
export interface ChannelListing {
  /** Shopify: product GID. Amazon: ASIN. */
  externalId: string;
  /** Shopify: variant GID. Amazon: null. */
  variantExternalId: string | null;
  stockKey: string;
  channelSku: string;
  title: string;
  barcode: string | null;
  /** `channel`: the vendor keeps and ships these goods (FBA): read only. */
  fulfilledBy: 'us' | 'channel';
  /** Never written: its number follows from its parts at the channel, or it is not tracked there. */
  notWritable: 'bundle_parent' | 'untracked' | null;
  levels: { channelLocation: string; value: number | null; vendorAt: number }[];
}

/** One answer of the vendor as it came, to be kept: secrets masked, without headers but the date. */
export interface RawAnswer {
  operation: string;
  status: number;
  date: string | null;
  /** Our clock, Unix ms. */
  receivedAt: number;
  body: string;
}

export interface CatalogPage {
  listings: ChannelListing[];
  /** Where to go on; null at the end. */
  cursor: string | null;
  /** What this page was made of: `replay` makes the same page of it again. */
  raw: RawAnswer[];
}

export interface CatalogOptions extends CallOptions {
  /** Only what the channel says changed at or after this time, Unix ms; the same for all pages of one walk. Absent: everything. */
  changedSince?: number | null;
}

export interface CatalogPort {
  list(cursor: string | null, options: CatalogOptions): Promise<CatalogPage>;
  /** The page out of its stored answers; calls nobody. @throws connector.unreadable when they do not fit. */
  replay(cursor: string | null, raw: readonly RawAnswer[]): Promise<CatalogPage>;
  /** Places the channel counts stock at. */
  locations(options: CallOptions): Promise<{ channelLocation: string; name: string; active: boolean }[]>;
}

/** One thing a webhook or queue message says, before anything is applied. */
export type IncomingEvent =
  /** The payload holds the whole order. */
  | { kind: 'order'; externalId: string; vendorAt: number | null; order: ChannelOrder }
  /** Something about this order changed; the payload alone is not enough: read it. */
  | { kind: 'order_changed'; externalId: string; vendorAt: number | null }
  /** The channel's own number, as of the vendor's time. */
  | { kind: 'stock'; externalId: string; vendorAt: number; ref: StockRef; value: number }
  /** The connection's authorisation ended (app uninstalled). */
  | { kind: 'unauthorized'; externalId: string; vendorAt: number | null }
  /** Understood, and of no consequence; `topic` is counted. */
  | { kind: 'ignored'; externalId: string; vendorAt: number | null };

export interface IncomingHeaders {
  [lowerCaseName: string]: string | undefined;
}

export interface WebhookPort {
  /** Over the raw bytes, constant time, true if any of the secrets matches. No secrets: false. */
  verify(rawBody: Uint8Array, headers: IncomingHeaders, secrets: readonly string[]): boolean;
  /** Topic, delivery id and the sequence key of a verified delivery, from headers and the smallest possible look at the body. Throws connector.unreadable. */
  identify(
    rawBody: Uint8Array,
    headers: IncomingHeaders,
  ): {
    topic: string;
    deliveryId: string | null;
    kind: 'order' | 'stock' | 'other';
    externalId: string;
    shop: string | null;
  };
  /** What a stored delivery says. Pure; may throw connector.unreadable. Vendor ids up to 2^63 survive. */
  parse(rawBody: Uint8Array, topic: string): IncomingEvent;
}

export interface SubscriptionReport {
  /** There and right. */
  existing: string[];
  created: string[];
  /** Taken away: topic, where it went, why. */
  removed: string[];
}

export interface SubscriptionsPort {
  /**
   * Makes the channel send every event we act on, creating what is missing and replacing what is wrong; returns what it found
   * and did, by topic. Safe to repeat.
   * @param url where webhooks go; null with a queue, whose place the settings name
   */
  ensure(url: string | null, options: CallOptions): Promise<SubscriptionReport>;
}

/** A queue the vendor sends events to. */
export interface QueuePort {
  /** Long-polls once; each message with the raw body to store, and `done` to remove it after it is stored. */
  receive(options: CallOptions & { waitMs: number; max: number }): Promise<{ messages: QueueMessage[] }>;
}

export interface QueueMessage {
  topic: string;
  deliveryId: string;
  kind: 'order' | 'stock' | 'other';
  externalId: string;
  rawBody: Uint8Array;
  done(): Promise<void>;
}

/** One account at one vendor, opened: what flows work with. A missing port = the capability is not there. */
export interface Channel {
  stock: StockPort;
  orders: OrdersPort;
  catalog: CatalogPort;
  subscriptions?: SubscriptionsPort;
  queue?: QueuePort;
  /** A cheap authorised read: resolves, or throws `connector.unauthorized` / `connector.unavailable`. */
  test(options: CallOptions): Promise<void>;
}

export interface ConnectionContext {
  connectionId: string;
  /** A live connection talks only to `manifest.hosts`; a simulated one to its `baseUrl`. */
  kind: 'live' | 'simulated';
  /** Simulated or custom endpoint; null = the vendor's own. */
  baseUrl: string | null;
  /** Non-secret, vendor-specific: Shopify { shopDomain }, Amazon { sellerId, region, marketplaceIds, queueUrl }. Parsed by the connector with zod. */
  settings: Record<string, unknown>;
  /** Decrypted, vendor-specific: Shopify { accessToken } or { clientId, clientSecret }, Amazon { clientId, clientSecret, refreshToken }. Never logged. */
  credentials: Record<string, string>;
  /**
   * Exchanges credentials, for vendors whose refresh tokens rotate: one exchange at a time for all processes. Answers what is stored
   * when that is no longer `held` (another process, or a person, was first); else what `exchange` made of it, stored durably by then.
   */
  renewCredentials?: (
    held: Record<string, string>,
    exchange: (stored: Record<string, string>) => Promise<Record<string, string>>,
  ) => Promise<Record<string, string>>;
  transport: Transport;
  clock: Clock;
  random: Random;
}

export interface Connector {
  manifest: Manifest;
  open(context: ConnectionContext): Channel;
  webhook?: WebhookPort;
}

/** One outside call. Everything that leaves the process goes through here. */
export interface Transport {
  /**
   * Waits for the budget, sends, and answers any status but 429 and 5xx, which are thrown like every other failure:
   * `connector.rate_limited` (429), `connector.outcome_unknown` (a write that may have arrived), `connector.unavailable`
   * (nothing was sent, or a read). Reads are repeated a few times; writes never.
   */
  request(call: OutsideCall): Promise<OutsideAnswer>;
  /** Tells the budget what the vendor's answer says about a bucket. */
  report(bucket: string, report: BudgetReport): void;
}

export interface OutsideCall {
  /** Short name for logs, budgets and faults, e.g. "inventorySetQuantities", "patchListingsItem". */
  operation: string;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: string;
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** Changes something at the vendor: a timeout or 5xx after sending means `connector.outcome_unknown`, else `connector.unavailable`. */
  write: boolean;
  budget: BudgetClass;
  /** Points this call costs in the connection's bucket `bucket`; default 1. */
  cost?: number;
  /** Which token bucket pays, e.g. "graphql", "patchListingsItem". */
  bucket: string;
  timeoutMs: number;
  signal: AbortSignal;
  /** `CallOptions.mayLeave`, handed through. */
  mayLeave?: (() => Promise<boolean>) | undefined;
  /** Addresses in this call or its answer carry their own permission (presigned): the log keeps none of their queries. */
  presigned?: boolean;
  /** The answer is read as bytes: `OutsideAnswer.bytes`. */
  binary?: boolean;
}

export interface OutsideAnswer {
  status: number;
  /** Lower-case names. */
  headers: Record<string, string>;
  /** Empty when the call asked for bytes. */
  body: string;
  bytes?: Uint8Array;
  /** Clock time the answer arrived, Unix ms. */
  receivedAt: number;
}
