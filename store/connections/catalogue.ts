/** What makes an item of a channel this listing and no other. */
export interface ListingKey {
  externalId: string;
  variantExternalId: string | null;
  stockKey: string;
}

export const listingKeyOf = (key: ListingKey): string =>
  JSON.stringify([key.externalId, key.variantExternalId, key.stockKey]);
