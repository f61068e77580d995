/**
 * Order: what a channel tells, what we keep of it, and what an import decides.
 *
 * An `IncomingOrder` is the connectors' ChannelOrder (connectors/kit/ports.ts) in the same shape: one complete version of
 * an order. A stored line carries how many of its units stand in the ledger (`claimed`) and how many have left it
 * (`shipped`), so that the next version is booked as a difference, never recomputed.
 */
import type { LineId, ListingId, LocationId, OrderId, VariantId } from '../ids.ts';
import type { FulfillmentStatus, OrderStatus, PaymentStatus } from './lifecycle.ts';

export interface IncomingOrder {
  externalId: string;
  number: string;
  placedAt: number;
  updatedAt: number;
  state: 'pending' | 'open' | 'cancelled';
  payment: PaymentStatus;
  fulfillment: 'unfulfilled' | 'partly_shipped' | 'shipped' | 'unrecognized';
  fulfilledBy: 'us' | 'channel';
  currency: string | null;
  totalMinor: number | null;
  test: boolean;
  lines: readonly IncomingLine[];
}

export interface IncomingLine {
  externalId: string;
  stockKey: string | null;
  variantExternalId: string | null;
  channelSku: string | null;
  title: string;
  ordered: number;
  wanted: number;
  shipped: number;
  taken: number | null;
  channelLocation: string | null;
  bundleParent: boolean;
}

/** A variant and how many of it are in one unit of a line: itself once, or a bundle's parts. */
export interface Component {
  variantId: VariantId;
  units: number;
}

export interface OrderLine {
  id: LineId;
  externalId: string;
  listingId: ListingId | null;
  /** null: unmapped. */
  variantId: VariantId | null;
  stockKey: string | null;
  variantExternalId: string | null;
  channelSku: string | null;
  title: string;
  ordered: number;
  wanted: number;
  /** Units that left. Posted to the ledger when the line is booked (`explosion`), else only noted. */
  shipped: number;
  /** Units that stand in the ledger as commitments, holds and shortfalls. */
  claimed: number;
  taken: number | null;
  channelLocation: string | null;
  bundleParent: boolean;
  /** Frozen at the first booking; null = never booked. */
  explosion: readonly Component[] | null;
}

export interface Order {
  id: OrderId;
  externalId: string;
  number: string;
  /** Ours: 1 at the first import; effect keys are `order:{id}:r{revision}:…`. */
  revision: number;
  /** The channel's version that is applied, Unix ms. */
  version: number;
  /** Digest of `contentOf`. */
  contentHash: string;
  status: OrderStatus;
  payment: PaymentStatus;
  fulfillment: FulfillmentStatus;
  fulfilledBy: 'us' | 'channel';
  /** Claims are holds. */
  pending: boolean;
  unmapped: boolean;
  currency: string | null;
  totalMinor: number | null;
  test: boolean;
  placedAt: number;
  lines: readonly OrderLine[];
}

/** What a line's keys lead to on its connection. */
export type LineMapping =
  | { kind: 'mapped'; listingId: ListingId; stockKey: string; variantId: VariantId; components: readonly Component[] }
  /** `unknown`: no listing · `unmapped`: a listing without a variant · `ambiguous`: several variants · `empty_bundle`: a bundle without parts. */
  | {
      kind: 'unmapped';
      reason: 'unknown' | 'unmapped' | 'ambiguous' | 'empty_bundle';
      listingId: ListingId | null;
      stockKey: string | null;
    };

/** Where a line's units were taken at the channel → the location of ours that should serve it; null = routing decides alone. */
export type PreferredLocation = (channelLocation: string | null) => LocationId | null;

/** A change of the channel's own number that this version tells: see store/listings/effects.ts. */
export interface OrderEffect {
  stockKey: string;
  channelLocation: string | null;
  units: number | null;
  at: number;
  earliestAt: number;
}

/** An entry of the order's history. */
export interface OrderNote {
  kind: 'imported' | 'changed' | 'confirmed' | 'cancelled' | 'payment' | 'shipped' | 'mapped' | 'unmapped' | 'unusual';
  message: string;
}

/**
 * What two versions of the same vendor time must share to be the same version: everything that moves units, and the axes.
 * How a line is identified is left out, because a webhook and a read of one version name it by different keys; so is
 * `taken`, which one of them may not tell (see `sameContent`).
 */
export function contentOf(order: IncomingOrder): string {
  const lines = [...order.lines]
    .sort((a, b) => (a.externalId < b.externalId ? -1 : Number(a.externalId > b.externalId)))
    .map((line) => [line.externalId, line.ordered, line.wanted, line.shipped, line.bundleParent]);
  return JSON.stringify([order.state, order.payment, order.fulfillment, order.fulfilledBy, lines]);
}

/** Same digest, and no line whose `taken` both tell differently. */
export function sameContent(
  stored: Pick<Order, 'contentHash' | 'lines'>,
  incoming: IncomingOrder,
  contentHash: string,
): boolean {
  if (stored.contentHash !== contentHash) return false;
  const taken = new Map(stored.lines.map((line) => [line.externalId, line.taken]));
  return incoming.lines.every((line) => {
    const before = taken.get(line.externalId) ?? null;
    return before === null || line.taken === null || before === line.taken;
  });
}
