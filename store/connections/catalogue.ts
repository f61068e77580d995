/** Which listings of a connection a person or an earlier import already mapped: a catalogue import leaves them as they are. */
import type { Tx } from '../tx.ts';

export interface ListingKey {
  externalId: string;
  variantExternalId: string | null;
  stockKey: string;
}

export const listingKeyOf = (key: ListingKey): string =>
  JSON.stringify([key.externalId, key.variantExternalId, key.stockKey]);

/** @returns `listingKeyOf` of those among the stock keys that have a variant */
export async function mappedListings(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[],
): Promise<Set<string>> {
  const { rows } = await tx.query<ListingKey>(
    `select external_id as "externalId", variant_external_id as "variantExternalId", stock_key as "stockKey" from listings
     where org_id = $1 and connection_id = $2 and stock_key = any($3) and variant_id is not null`,
    [orgId, connectionId, stockKeys],
  );
  return new Set(rows.map(listingKeyOf));
}
