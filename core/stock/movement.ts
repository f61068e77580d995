/**
 * Movement: the commands the ledger takes and what it answers. The whole language of store/ledger/post.ts.
 *
 * A *wish* is ours to refuse: it posts completely or answers `insufficient` and writes nothing. A *fact* has happened
 * and always posts: what the book cannot bear is booked as found first, and claims that no longer fit become shortfalls.
 * After every command no shortfall waits while a location that serves orders has the goods: whatever frees units
 * (receipt, release, count, expiry) fills waiting shortfalls, oldest claim first, inside the same command.
 *
 * Every command carries its effect key, kept for ever: the same key again answers `duplicate` with the first result.
 */
import type { ClaimId, HoldId, LineId, LocationId, VariantId } from '../ids.ts';
import type { Quantity } from '../quantity.ts';
import type { Bucket, Disposition } from './disposition.ts';

interface Keyed {
  /** Effect key, unique per organization for ever, e.g. "order:{id}:r3". 1–300 characters. */
  key: string;
  /** When it happened, as told; Unix ms. */
  businessAt: number;
  /** Why, in a word: "sale", "cycle_count", "damaged". Stored on the movements. */
  reason: string;
  /** What it refers to for people: order number, receipt, return id. */
  reference?: string | null;
  /** Who; default: the actor of the call. */
  actor?: string;
}

/** Goods arrive: from outside, or what was `incoming` at this location arrives (then never more than is incoming). A fact. */
export interface Receive extends Keyed {
  kind: 'receive';
  variantId: VariantId;
  locationId: LocationId;
  units: Quantity;
  /** Default sellable. */
  bucket?: Bucket;
  /** Default outside. `incoming`: a receipt beyond what was expected takes the rest from outside. */
  from?: 'outside' | 'incoming';
}

/** Goods found (+) or gone (−). */
export interface Adjust extends Keyed {
  kind: 'adjust';
  variantId: VariantId;
  locationId: LocationId;
  /** Not 0. */
  change: number;
  /** Default sellable. */
  bucket?: Bucket;
  /** Where goods that leave the bucket go; default outside. Damaged goods: `damaged`. Only when change < 0. */
  to?: Bucket | 'outside';
  /** false: refused beyond what is free. true (damaged, lost): displaces claims; beyond the book it is found first, with an alert. */
  fact: boolean;
}

/** Someone counted: the bucket now holds exactly `set`. A fact. */
export interface Count extends Keyed {
  kind: 'count';
  variantId: VariantId;
  locationId: LocationId;
  bucket?: Bucket;
  set: Quantity;
}

export interface ClaimLine {
  variantId: VariantId;
  units: Quantity;
  /** Named: only that location, whether it serves orders or not. null: routing chooses (core/stock/routing.ts). */
  locationId: LocationId | null;
  /** Routing tries this location before the default one (the channel took the units there). Ignored when `locationId` is named. */
  preferLocationId?: LocationId | null;
}

/** Goods are owed to order lines. A line's variants (a bundle's components) are routed together. */
export interface Commit extends Keyed {
  kind: 'commit';
  /** true: the whole command all-or-nothing. false (a channel's order): takes what is there, the rest are shortfalls. */
  wish: boolean;
  lines: (ClaimLine & { lineId: LineId })[];
}

/** Goods are claimed for a while. */
export interface Hold extends Keyed {
  kind: 'hold';
  /** `own`: expires by the `expire` command. `channel`: stands for a channel's pending order; expiry is a question to the channel. */
  origin: 'own' | 'channel';
  /** Unix ms. A row in `due` (kind "hold") asks the sweeper at that time. */
  expiresAt: number | null;
  wish: boolean;
  /** For a pending order line: `holdOfLine(lineId)`. */
  lines: (ClaimLine & { holdId: HoldId })[];
}

/**
 * A hold becomes owed to an order line. Without `lines`: all that stands; if nothing stands any more (expired, released),
 * all it lost, as a fact. With `lines`: that many, what no longer stands as a fact. Never refused.
 */
export interface Confirm extends Keyed {
  kind: 'confirm';
  holdId: HoldId;
  /** Default: the line with the hold's own id. */
  lineId?: LineId;
  lines?: { variantId: VariantId; units: Quantity }[];
}

/**
 * The clock asks: releases an own hold whose time has passed; else `nothing` (not_due, channel_hold, closed).
 * Each asking has its own key: the hold itself says whether it is due, and its id may be held again, even until the same time.
 */
export interface Expire extends Keyed {
  kind: 'expire';
  holdId: HoldId;
}

/**
 * Less is owed: shrinks the line's shortfall first, then holds, then commitments; within them the location routing likes least first.
 * `all`, or more than is claimed, releases what there is.
 */
export interface Release extends Keyed {
  kind: 'release';
  claimId: ClaimId;
  lines: 'all' | { variantId: VariantId; units: Quantity | 'all' }[];
}

/**
 * Goods left. With `lineId`: consumes the line's commitments (at the location first, then elsewhere: those move), then its
 * holds, then its shortfall. Without: an outside shipment, which displaces claims. Beyond the book it is found first, with an alert. A fact.
 */
export interface Ship extends Keyed {
  kind: 'ship';
  lineId?: LineId;
  variantId: VariantId;
  units: Quantity;
  /** null: where the line's commitments are, in routing order; the rest where goods are free, else at the serving location routing likes best. */
  locationId: LocationId | null;
}

/** Goods came back, by disposition. A fact. */
export interface Return extends Keyed {
  kind: 'return';
  variantId: VariantId;
  locationId: LocationId;
  units: Quantity;
  bucket: Disposition;
}

/** Goods change condition in place. A wish, unless `displaceClaims`. */
export interface Move extends Keyed {
  kind: 'move';
  variantId: VariantId;
  locationId: LocationId;
  units: Quantity;
  from: Bucket;
  to: Bucket;
  displaceClaims?: boolean;
}

/** Goods change place within a bucket. A wish, unless `displaceClaims`. */
export interface Transfer extends Keyed {
  kind: 'transfer';
  variantId: VariantId;
  fromLocationId: LocationId;
  toLocationId: LocationId;
  units: Quantity;
  bucket?: Bucket;
  displaceClaims?: boolean;
}

export type Command =
  | Receive
  | Adjust
  | Count
  | Commit
  | Hold
  | Confirm
  | Expire
  | Release
  | Ship
  | Return
  | Move
  | Transfer;

/** The numbers of a position. available = sellable − committed − reserved. */
export interface PositionNumbers {
  sellable: Quantity;
  damaged: Quantity;
  quarantine: Quantity;
  expired: Quantity;
  incoming: Quantity;
  committed: Quantity;
  reserved: Quantity;
}

export interface PositionChange {
  variantId: VariantId;
  locationId: LocationId;
  before: PositionNumbers;
  after: PositionNumbers;
}

/** One change of one claim's open (or waiting) units. */
export interface ClaimChange {
  claim: ClaimKind;
  claimId: ClaimId;
  variantId: VariantId;
  /** null for a shortfall. */
  locationId: LocationId | null;
  delta: number;
  event: ClaimEvent;
}

export type ClaimKind = 'commitment' | 'hold' | 'shortfall';

/**
 * commit, hold: claimed · short: owed without goods · fill: a shortfall got goods · displace: a fact took the goods ·
 * move: goods left from another location than claimed · ship · confirm · expire · release: from goods · cancel: from a shortfall
 */
export type ClaimEvent =
  | 'commit'
  | 'hold'
  | 'short'
  | 'fill'
  | 'displace'
  | 'move'
  | 'ship'
  | 'confirm'
  | 'expire'
  | 'release'
  | 'cancel';

/** A wish's missing units, per variant and, when a location was named, location. */
export interface Missing {
  variantId: VariantId;
  locationId: LocationId | null;
  missing: Quantity;
}

export interface PostedResult {
  kind: 'posted';
  positions: PositionChange[];
  claims: ClaimChange[];
}

export interface NothingResult {
  kind: 'nothing';
  /** not_due: ask again later (the key is not used up) · channel_hold: ask the channel · closed: nothing is claimed any more · unknown: never existed. */
  reason: 'not_due' | 'channel_hold' | 'closed' | 'unknown';
}

/**
 * What became of a command. `posted` and `nothing` (closed, unknown) use the key up; `insufficient`, not_due and channel_hold
 * wrote nothing, and the same key may come again.
 */
export type Posted =
  | PostedResult
  | NothingResult
  | { kind: 'duplicate'; first: PostedResult | NothingResult }
  | { kind: 'insufficient'; missing: Missing[] };

/** What the ledger needs of its caller. */
export interface PostContext {
  actor: string;
  /** Business time of the call, Unix ms: what `expire` compares with. */
  now: number;
  ids: { uuid(): string };
}

/** At most this many commands in one call. */
export const MAX_COMMANDS = 200;
