/**
 * What the API answers, as its callers see it (docs: /docs, /api/openapi.json).
 * `types.test.ts` holds these equal to the server's own row types, so a changed answer fails the type check here.
 */

export interface Position {
  location: string;
  sellable: number;
  damaged: number;
  quarantine: number;
  expired: number;
  incoming: number;
  committed: number;
  reserved: number;
  available: number;
}

/** One listing × target. The four numbers are whole units, null where unknown. */
export interface Listing {
  id: string;
  connectionId: string;
  platform: string;
  externalId: string;
  variantExternalId: string | null;
  channelSku: string;
  stockKey: string;
  channelLocation: string;
  desired: number | null;
  expected: number | null;
  accepted: number | null;
  observed: number | null;
  state: string;
  reason: string | null;
  updatedAt: string;
}

export interface InventoryItem {
  sku: string;
  title: string;
  onHand: number;
  committed: number;
  reserved: number;
  available: number;
  physical: number;
  buffer: number;
  broadcast: number;
  lastBroadcast: { count: number; txId: string; timestamp: string } | null;
  bundle: { components: { sku: string; units: number; available: number }[]; limiting: string | null } | null;
  positions: Position[];
  listings: Listing[];
}

export interface InventoryPage {
  items: InventoryItem[];
  nextCursor: string | null;
  totalSkus: number;
}

export interface BufferAnswer {
  sku: string;
  physical: number;
  buffer: number;
  broadcast: number;
  lastBroadcast: { count: number; txId: string; timestamp: string } | null;
}

export interface Connection {
  id: string;
  platform: string;
  kind: 'live' | 'simulated';
  name: string;
  state: string;
  stateReason: string | null;
  paused: boolean;
  pause: { at: string; by: string | null; reason: string | null; until: string | null } | null;
  /** Shadow mode: computed and recorded since then, not sent. */
  shadowSince: string | null;
  baseUrl: string | null;
  waiting: number;
  oldestWaiting: string | null;
  /** How many targets are in each state. */
  targets: Record<string, number>;
  listings: number;
  unmapped: number;
  ordersReadTo: string | null;
  lastAccepted: string | null;
  locations: { code: string; externalId: string }[];
}

/** What is used of one of the channel's token buckets. */
export interface Budget {
  bucket: string;
  ratePerSecond: number;
  capacity: number;
  /** 0–1, averaged over half a minute. */
  used: number;
  processes: number;
  refusals: number;
  blockedUntil: string | null;
}

/** `GET /api/connections/{id}`: one of the list, and its limits. */
export interface ConnectionDetail extends Connection {
  budget: Budget[];
  breaker: { state: 'closed' | 'open' | 'half_open'; since: string | null; retryAt: string | null };
}

export interface Movement {
  id: string;
  sku: string;
  units: number;
  from: { location: string; bucket: string } | null;
  to: { location: string; bucket: string } | null;
  kind: string;
  reason: string;
  reference: string | null;
  actor: string;
  effectKey: string;
  businessAt: string;
  recordedAt: string;
}

export interface OrderLine {
  id: string;
  externalId: string;
  sku: string | null;
  channelSku: string | null;
  title: string;
  ordered: number;
  quantity: number;
  shipped: number;
  returned: number;
  committed: { sku: string; location: string; units: number }[];
  held: { sku: string; location: string; units: number }[];
  missing: { sku: string; units: number }[];
}

export interface Order {
  id: string;
  connectionId: string | null;
  externalId: string;
  number: string;
  status: string;
  payment: string;
  fulfillment: string;
  fulfilledBy: string;
  pending: boolean;
  unmapped: boolean;
  test: boolean;
  currency: string | null;
  totalMinor: number | null;
  placedAt: string;
  updatedAt: string;
  lines: OrderLine[];
}

export interface Alert {
  id: string;
  kind: string;
  severity: 'info' | 'warning' | 'critical';
  message: string;
  /** Its kind in plain words, and what to do about it. */
  title: string | null;
  todo: string | null;
  subject: { kind: string; id: string } | null;
  count: number;
  details: Record<string, unknown>;
  createdAt: string;
  lastAt: string;
  readAt: string | null;
  resolvedAt: string | null;
}

export interface AlertPage {
  count: number;
  unreadCount: number;
  items: Alert[];
  nextCursor: string | null;
}

export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** One event of /api/events: `sku` on stock events, `id` on all others. */
export interface LiveEvent {
  type: 'stock' | 'listing' | 'order' | 'alert' | 'run';
  sku?: string;
  id?: string;
  version: number;
  at: string;
}
