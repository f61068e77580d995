/**
 * FBA Inventory v1 summaries (vendors/amazon.md §5) and the seller's marketplaces (§1). Both read only.
 * Pages of 50 (observed); a next token dies after 30 s (documented).
 */
import type { SimCore } from '#sim/kit/core.ts';
import { type Answer, invalidInput, read } from './answers.ts';
import type { Offers } from './offers.ts';
import { isoSeconds } from './profile.ts';
import { type ApiRequest, list, makeToken, readToken, time } from './request.ts';
import type { FbaStock, Offer } from './rows.ts';

const PAGE = 50;
const TOKEN_LIFE_MS = 30_000;
const MOST_SKUS = 50;

export function createInventory(core: SimCore, offers: Offers, account: { marketplaceId: string }) {
  return {
    summaries({ query }: ApiRequest): Answer {
      const { marketplaceId } = account;
      if (query.get('granularityType') !== 'Marketplace') throw invalidInput('granularityType');
      if (query.get('granularityId') !== marketplaceId) throw invalidInput('granularityId');
      const marketplaces = list(query, 'marketplaceIds');
      if (marketplaces?.length !== 1 || marketplaces[0] !== marketplaceId) throw invalidInput('marketplaceIds');
      const skus = query.has('sellerSku') ? [query.get('sellerSku') ?? ''] : list(query, 'sellerSkus');
      if (skus !== null && skus.length > MOST_SKUS) throw invalidInput('sellerSkus');
      const since = time(query, 'startDateTime');
      const offset = offsetOf(query.get('nextToken'));
      const found = offers
        .all()
        .flatMap((offer) => (offer.fba === null ? [] : [{ offer, stock: offer.fba }]))
        // With a start time the SKU filter is ignored (§5.2, documented).
        .filter(({ offer, stock }) =>
          since === null ? skus === null || skus.includes(offer.sku) : stock.updatedAt >= since,
        );
      const page = found.slice(offset, offset + PAGE);
      const next = offset + PAGE < found.length ? makeToken({ offset: offset + PAGE, madeAt: core.clock.now() }) : null;
      const details = query.get('details') === 'true';
      return read({
        ...(next === null ? {} : { pagination: { nextToken: next } }),
        payload: {
          granularity: { granularityType: 'Marketplace', granularityId: marketplaceId },
          inventorySummaries: page.map(({ offer, stock }) => summary(offer, stock, details)),
        },
      });
    },
    marketplaces: (): Answer =>
      read({
        payload: [
          {
            marketplace: {
              id: account.marketplaceId,
              countryCode: 'US',
              name: 'Amazon.com',
              defaultCurrencyCode: 'USD',
              defaultLanguageCode: 'en_US',
              domainName: 'www.amazon.com',
            },
            participation: { isParticipating: true, hasSuspendedListings: false },
            storeName: 'Simulated store',
          },
        ],
      }),
  };

  function offsetOf(token: string | null): number {
    if (token === null) return 0;
    const content = readToken<{ offset: number; madeAt: number }>(token);
    if (typeof content?.offset !== 'number' || content.madeAt + TOKEN_LIFE_MS < core.clock.now())
      throw invalidInput('nextToken');
    return content.offset;
  }
}

function summary(offer: Offer, stock: FbaStock, details: boolean) {
  const unfulfillable = stock.customerDamaged + stock.defective + stock.expired;
  return {
    asin: offer.asin,
    fnSku: stock.fnSku,
    sellerSku: offer.sku,
    condition: 'NewItem',
    ...(details ? { inventoryDetails: buckets(stock, unfulfillable) } : {}),
    lastUpdatedTime: isoSeconds(stock.updatedAt),
    productName: offer.title,
    totalQuantity: stock.fulfillable + stock.pendingOrders + unfulfillable,
  };
}

const buckets = (stock: FbaStock, unfulfillable: number) => ({
  fulfillableQuantity: stock.fulfillable,
  inboundWorkingQuantity: 0,
  inboundShippedQuantity: 0,
  inboundReceivingQuantity: 0,
  reservedQuantity: {
    totalReservedQuantity: stock.pendingOrders,
    pendingCustomerOrderQuantity: stock.pendingOrders,
    pendingTransshipmentQuantity: 0,
    fcProcessingQuantity: 0,
  },
  researchingQuantity: { totalResearchingQuantity: 0, researchingQuantityBreakdown: [] },
  unfulfillableQuantity: {
    totalUnfulfillableQuantity: unfulfillable,
    customerDamagedQuantity: stock.customerDamaged,
    warehouseDamagedQuantity: 0,
    distributorDamagedQuantity: 0,
    carrierDamagedQuantity: 0,
    defectiveQuantity: stock.defective,
    expiredQuantity: stock.expired,
  },
});
