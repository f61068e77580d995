/**
 * Evidence: everything the auditor is shown, as plain data. Types only.
 *
 * Three witnesses, none of which knows the others:
 *   channels   what the simulators say of themselves: their numbers, orders, the calls they received, and every change of
 *              a number with its cause (collect-channel.ts)
 *   acts       what the people of the world did to our own goods and settings, and what they were answered (the world's actors)
 *   rows       the database, read by plain SQL as its owner (collect-rows.ts)
 *
 * Collected after every step (collect.ts). `rows` is the whole state, `fresh` what is new or changed since the last time;
 * what a channel received and did, and the acts, are only the new ones. Times are Unix ms: a channel's by its own clock.
 */

export interface Evidence {
  /** Counts up from 1: what findings refer to. */
  step: number;
  /** Virtual time. */
  now: number;
  channels: ChannelEvidence[];
  acts: Act[];
  rows: Rows;
  fresh: Rows;
}

/* ------------------------------------------------------------------ channels */

export interface ChannelEvidence {
  /** Our connection to it. */
  connectionId: string;
  name: string;
  platform: string;
  /** It refuses a write whose starting number is wrong. */
  compareAndSet: boolean;
  /** Its clock. */
  now: number;
  items: ChannelItem[];
  orders: ChannelOrder[];
  /** New ones, in order. */
  changes: ChannelChange[];
  calls: ChannelCall[];
  /** Writes it has taken and not carried out yet. */
  onItsWay: { stockKey: string; location: string; value: number }[];
}

export interface ChannelItem {
  sku: string;
  stockKey: string;
  location: string;
  /** The channel's own sellable number; may be below 0 where it allows that. */
  quantity: number;
  /** The channel fulfils it from its own warehouse: the number is its own. */
  itsOwn: boolean;
}

export interface ChannelOrder {
  /** As a bare number or name: the last part of whatever id the channel shows. */
  id: string;
  /** Not certain yet: not paid. */
  pending: boolean;
  cancelled: boolean;
  /** The channel ships it. */
  itsOwn: boolean;
  placedAt: number;
  lines: ChannelOrderLine[];
}

export interface ChannelOrderLine {
  id: string;
  sku: string;
  /** Units that wait to be shipped. */
  open: number;
  shipped: number;
  /** Of the shipped: came back, by what the channel knows. */
  returned: number;
  /** Of the open and shipped: units it took from the channel's number, by `stockKey@location`. */
  taken: Record<string, number>;
}

/** One change of one number. */
export interface ChannelChange {
  stockKey: string;
  location: string;
  before: number;
  after: number;
  at: number;
  /** order: a buyer's doing, or of whoever handles orders · staff: someone set it by hand · ours: a write of ours came into force. */
  cause: 'order' | 'staff' | 'ours';
}

/** A call that has to do with numbers: reads, and writes one by one, also those of a document. */
export interface ChannelCall {
  /** The simulator's own count. */
  n: number;
  at: number;
  kind: 'read' | 'write';
  stockKey: string;
  /** null: whatever locations the item has. */
  location: string | null;
  /** write: the number sent. read: null. */
  value: number | null;
  /** write with compare-and-set: the number it must be. */
  from: number | null;
  /** read: it was answered. write: the channel took it; it is (or will be) the effect. */
  applied: boolean;
}

/* ------------------------------------------------------------------ acts */

/** What became of an act: unknown = it was asked for and no answer came (we were killed meanwhile). */
export type Outcome = 'done' | 'refused' | 'unknown';

interface Told {
  step: number;
  at: number;
  outcome: Outcome;
}

/**
 * Acts on our own side, where no simulator can bear witness. What buyers and staff do at a channel is in its own evidence.
 * `before` and `after` are the sellable units at the location as answered; null without an answer.
 */
export type Act = Told &
  (
    | { kind: 'receipt'; sku: string; location: string; units: number; before: number | null; after: number | null }
    /** Someone counted: `units` are there. */
    | { kind: 'count'; sku: string; location: string; units: number; before: number | null; after: number | null }
    /** Units broke: they go from sellable to damaged. */
    | { kind: 'breakage'; sku: string; location: string; units: number; before: number | null; after: number | null }
    | { kind: 'loss'; sku: string; location: string; units: number; before: number | null; after: number | null }
    /** Goods on the bench: `id` names the return, the same id is the same goods. `bucket` null: nothing to book. */
    | {
        kind: 'return';
        id: string;
        sku: string;
        location: string;
        units: number;
        bucket: 'sellable' | 'damaged' | 'quarantine' | null;
      }
    | { kind: 'transfer'; sku: string; from: string; to: string; units: number }
    /** A checkout holds units until `until`. */
    | { kind: 'hold'; id: string | null; sku: string; units: number; until: number }
    /** A file of units that came or went, as run `id`; each row is booked once or, below 0, refused. Cancelled ones may stop midway. */
    | {
        kind: 'import';
        id: string;
        rows: { sku: string; location: string; units: number }[];
        maybeCancelled: boolean;
      }
    /** Settings; judged by their rows. */
    | { kind: 'setting'; what: string }
  );

/* ------------------------------------------------------------------ rows */

export interface Rows {
  locations: { id: string; code: string; isDefault: boolean; priority: number; servesOrders: boolean }[];
  variants: { id: string; sku: string; isBundle: boolean }[];
  /** In force now. */
  components: { variantId: string; componentId: string; units: number }[];
  connections: {
    id: string;
    name: string;
    state: string;
    pausedAt: number | null;
    shadowAt: number | null;
    ordersReadTo: number | null;
    priority: number;
  }[];
  /** Which of our locations stand behind a channel location. */
  mappings: { connectionId: string; channelLocation: string; locationId: string }[];
  listings: {
    id: string;
    connectionId: string;
    variantId: string | null;
    stockKey: string;
    pausedAt: number | null;
    notWritable: string | null;
    fulfilledBy: string;
  }[];
  /** In force now. */
  policies: {
    scope: string;
    scopeId: string;
    buffer: number | null;
    shareBp: number | null;
    cap: number | null;
    lastUnits: number | null;
  }[];
  /** Open ones: the last units are offered on that connection only. */
  scarce: { variantId: string; connectionId: string }[];
  positions: PositionRow[];
  movements: MovementRow[];
  commitments: {
    lineId: string;
    variantId: string;
    locationId: string;
    open: number;
    shipped: number;
    released: number;
  }[];
  holds: {
    holdId: string;
    variantId: string;
    locationId: string;
    open: number;
    confirmed: number;
    released: number;
    origin: string;
    expiresAt: number | null;
  }[];
  shortfalls: {
    lineId: string;
    variantId: string;
    claimKind: string;
    waiting: number;
    filled: number;
    cancelled: number;
  }[];
  claimEvents: {
    seq: number;
    claim: string;
    claimId: string;
    variantId: string;
    locationId: string | null;
    delta: number;
    event: string;
    effectKey: string;
    businessAt: number;
  }[];
  ledgerEffects: { key: string }[];
  orders: {
    id: string;
    connectionId: string | null;
    externalId: string;
    status: string;
    revision: number;
    pending: boolean;
    unmapped: boolean;
    fulfilledBy: string;
  }[];
  lines: {
    id: string;
    orderId: string;
    externalId: string;
    variantId: string | null;
    channelSku: string | null;
    wanted: number;
    shipped: number;
    claimed: number;
    returned: number;
    /** Units of each variant in one of the line, frozen when it was booked. */
    explosion: { variantId: string; units: number }[] | null;
  }[];
  inbox: { id: string; connectionId: string; kind: string; externalId: string; state: string }[];
  targets: TargetRow[];
  attempts: {
    id: string;
    targetId: string;
    connectionId: string;
    value: number;
    from: number | null;
    lane: string;
    generation: number;
    sentAt: number;
    outcome: string | null;
  }[];
  lanes: { connectionId: string; holder: string | null; generation: number }[];
  dirty: { variantId: string; version: number }[];
  dirtyPolicies: { scope: string; scopeId: string; version: number }[];
  due: { kind: string; subjectId: string; dueAt: number }[];
  feeds: { id: string; connectionId: string; state: string }[];
  drifts: { targetId: string; state: string; cause: string; units: number }[];
  /** Not resolved. */
  alerts: {
    id: string;
    kind: string;
    severity: string;
    subjectKind: string | null;
    subjectId: string | null;
    message: string;
  }[];
}

export interface PositionRow {
  variantId: string;
  locationId: string;
  sellable: number;
  damaged: number;
  quarantine: number;
  expired: number;
  incoming: number;
  committed: number;
  reserved: number;
}

export interface MovementRow {
  id: string;
  variantId: string;
  units: number;
  fromLocation: string | null;
  fromBucket: string | null;
  toLocation: string | null;
  toBucket: string | null;
  kind: string;
  reason: string;
  reference: string | null;
  effectKey: string;
}

export interface TargetRow {
  id: string;
  connectionId: string;
  stockKey: string;
  channelLocation: string;
  variantId: string | null;
  desired: number | null;
  expected: number | null;
  observed: number | null;
  unseen: number;
  state: string;
  reason: string | null;
  readOnly: boolean;
  pendingValue: number | null;
  dirtyVersion: number;
  handledVersion: number;
  settlesAt: number | null;
}
