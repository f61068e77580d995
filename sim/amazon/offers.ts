/**
 * Offers: the seller's SKUs and Amazon's own numbers for them.
 *
 *   FBM (a DEFAULT entry)   quantity: absolute, blind writes win over whatever buyers did meanwhile (no compare-and-set)
 *   FBA (AMAZON_… only)     buckets in Amazon's warehouses; the seller's writes do not reach them
 *
 * A buyer takes units when the order is placed, Pending included (vendors/amazon.md §6.3, documented). The number never
 * goes below 0: an oversold order takes what is there.
 */
import type { SimItem } from '#sim/kit/model.ts';
import { applyPatches, type ChannelEntry, GENERIC_PRODUCT_TYPE, MERCHANT_CHANNEL, type Patch } from './patches.ts';
import type { FbaStock, Offer, Rows } from './rows.ts';

export const FBA_CHANNEL = 'AMAZON_NA';

export interface CatalogEntry {
  sku: string;
  asin: string;
  title: string;
  quantity: number;
  fulfillment: 'MFN' | 'AFN';
  productType?: string;
}

/** Where units of an FBA return or loss end up. */
export type FbaBucket = 'fulfillable' | 'customerDamaged' | 'defective' | 'expired';

export interface Offers {
  find(sku: string): Offer | null;
  all(): Offer[];
  seed(catalog: readonly CatalogEntry[], at: number): void;
  applyWrite(sku: string, patches: readonly Patch[], at: number): void;
  setQuantity(offer: Offer, quantity: number, at: number): void;
  /** A buyer takes up to `units`. @returns how many were there */
  sell(sku: string, units: number, at: number): number;
  /** Units of an order that will not be shipped go back on offer. */
  putBack(sku: string, units: number, at: number): void;
  /** FBA: an order's units no longer wait in the warehouse (shipped, or cancelled). */
  releaseReserved(sku: string, units: number, at: number): void;
  receiveFba(sku: string, bucket: FbaBucket, units: number, at: number): void;
}

export const merchantEntry = (offer: Offer): ChannelEntry | null =>
  offer.channels.find((entry) => entry.code === MERCHANT_CHANNEL) ?? null;

export const fulfilledBy = (offer: Offer): 'MERCHANT' | 'AMAZON' =>
  offer.fba === null || merchantEntry(offer) !== null ? 'MERCHANT' : 'AMAZON';

/** What a buyer can take now. */
export const onOffer = (offer: Offer): number =>
  fulfilledBy(offer) === 'AMAZON' ? (offer.fba?.fulfillable ?? 0) : (merchantEntry(offer)?.quantity ?? 0);

export const itemOf = (offer: Offer, committed: number): SimItem => ({
  sku: offer.sku,
  externalId: offer.asin,
  stockKey: offer.sku,
  location: MERCHANT_CHANNEL,
  quantity: onOffer(offer),
  committed,
});

/** @param fbaChanged told after each change of FBA buckets */
export function createOffers(rows: Rows, fbaChanged: (offer: Offer, at: number) => void): Offers {
  function put(offer: Offer, at: number): Offer {
    const changed = { ...offer, updatedAt: at };
    rows.offers.put(offer.sku, changed);
    return changed;
  }

  function putFba(offer: Offer, change: Partial<FbaStock>, at: number): void {
    if (offer.fba !== null) fbaChanged(put({ ...offer, fba: { ...offer.fba, ...change, updatedAt: at } }, at), at);
  }

  function setQuantity(offer: Offer, quantity: number, at: number): void {
    if (fulfilledBy(offer) === 'AMAZON') {
      putFba(offer, { fulfillable: quantity }, at);
      return;
    }
    const value = [{ fulfillment_channel_code: MERCHANT_CHANNEL, quantity }];
    const patch: Patch = { op: 'merge', path: '/attributes/fulfillment_availability', value };
    put({ ...offer, channels: applyPatches(offer.channels, [patch]) }, at);
  }

  const find = (sku: string) => rows.offers.get(sku) ?? null;

  return {
    find,
    all: () => [...rows.offers.all()],
    seed(catalog, at) {
      rows.offers.clear();
      for (const [index, entry] of catalog.entries()) rows.offers.put(entry.sku, seeded(entry, index, at));
    },
    applyWrite(sku, patches, at) {
      const offer = find(sku);
      if (offer !== null) put({ ...offer, channels: applyPatches(offer.channels, patches) }, at);
    },
    setQuantity,
    sell(sku, units, at) {
      const offer = find(sku);
      if (offer === null) return 0;
      const taken = Math.min(units, onOffer(offer));
      if (fulfilledBy(offer) === 'MERCHANT') setQuantity(offer, onOffer(offer) - taken, at);
      else
        putFba(
          offer,
          { fulfillable: onOffer(offer) - taken, pendingOrders: (offer.fba?.pendingOrders ?? 0) + taken },
          at,
        );
      return taken;
    },
    putBack(sku, units, at) {
      const offer = find(sku);
      if (offer !== null && units > 0) setQuantity(offer, onOffer(offer) + units, at);
    },
    releaseReserved(sku, units, at) {
      const offer = find(sku);
      if (offer === null || offer.fba === null || units === 0) return;
      putFba(offer, { pendingOrders: Math.max(0, offer.fba.pendingOrders - units) }, at);
    },
    receiveFba(sku, bucket, units, at) {
      const offer = find(sku);
      if (offer !== null && offer.fba !== null) putFba(offer, { [bucket]: offer.fba[bucket] + units }, at);
    },
  };
}

function seeded(entry: CatalogEntry, index: number, at: number): Offer {
  const byAmazon = entry.fulfillment === 'AFN';
  const channel = (code: string, quantity: number | null): ChannelEntry => ({
    code,
    quantity,
    leadTimeDays: null,
    restockDate: null,
  });
  return {
    sku: entry.sku,
    asin: entry.asin,
    title: entry.title,
    productType: entry.productType ?? GENERIC_PRODUCT_TYPE,
    createdAt: at,
    updatedAt: at,
    channels: [byAmazon ? channel(FBA_CHANNEL, null) : channel(MERCHANT_CHANNEL, entry.quantity)],
    fba: byAmazon
      ? {
          fnSku: `X00SIM${String(index + 1).padStart(4, '0')}`,
          fulfillable: entry.quantity,
          pendingOrders: 0,
          customerDamaged: 0,
          defective: 0,
          expired: 0,
          updatedAt: at,
        }
      : null,
  };
}
