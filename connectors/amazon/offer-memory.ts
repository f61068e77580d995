/**
 * What the last read said about each listing that a write must know and a number does not tell: is the offer Amazon's
 * own (FBA), where is it listed, as what product type.
 *
 * A quantity sent for an FBA offer flips it to merchant-fulfilled and strands the goods; undoing that is manual work
 * (documented, §5.6). So nothing is written that was not read within the last hour: an offer changes hands by a person
 * in Seller Central, not by itself. Kept in memory only: after a restart the first write of a SKU reads it first.
 */
import type { Clock } from '#core/effects.ts';

export interface Offer {
  /** Some AMAZON_* channel is on the listing: never written. */
  amazon: boolean;
  /** Null: none of the connection's marketplaces has a summary of it; write through the first. */
  marketplaceId: string | null;
  /** Null: not told; the generic type does. */
  productType: string | null;
}

export interface OfferMemory {
  /** Null: unknown, or too long ago. */
  get(sku: string): Offer | null;
  set(sku: string, offer: Offer): void;
  forget(sku: string): void;
}

const TRUSTED_MS = 3_600_000;
/** A quarter of a million SKUs, some 50 MB; the longest unread go first. */
const SKUS_MAX = 250_000;

export function offerMemory(clock: Clock, skusMax = SKUS_MAX): OfferMemory {
  const offers = new Map<string, { offer: Offer; readMs: number }>();
  return {
    get(sku) {
      const known = offers.get(sku);
      return known !== undefined && clock.monotonicMs() - known.readMs < TRUSTED_MS ? known.offer : null;
    },
    set(sku, offer) {
      offers.delete(sku);
      offers.set(sku, { offer, readMs: clock.monotonicMs() });
      const oldest = offers.keys().next();
      if (offers.size > skusMax && !oldest.done) offers.delete(oldest.value);
    },
    forget(sku) {
      offers.delete(sku);
    },
  };
}
