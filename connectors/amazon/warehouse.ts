/**
 * Units in Amazon's warehouses (FBA), for display and the catalogue: read only, never written.
 *
 * Only `fulfillableQuantity` is sellable; reserved, inbound, researching and unfulfillable are not (§5.5). One
 * marketplace is asked, because every marketplace of a pooled region repeats the same total (§5.4). A SKU that is not
 * told, and a seller whose app lacks the role, have the number null: it is no reason to stop reading the others.
 * Called by stock.ts and listings.ts for the FBA listings among what they read.
 */
import { ConnectorError } from '#core/errors.ts';
import type { CallOptions } from '../kit/ports.ts';
import type { AmazonClient } from './client.ts';

/** `sellerSkus` takes at most 50: documented [§5]. */
const SKUS_PER_CALL = 50;

/** @returns fulfillable units by SKU; a SKU without an answer is absent. */
export async function amazonUnitsOf(
  client: AmazonClient,
  skus: readonly string[],
  marketplaceId: string,
  call: CallOptions,
): Promise<Map<string, number>> {
  const units = new Map<string, number>();
  for (const group of groups(skus)) {
    for (const [sku, count] of await summariesOf(client, group, marketplaceId, call)) units.set(sku, count);
  }
  return units;
}

async function summariesOf(
  client: AmazonClient,
  skus: string[],
  marketplaceId: string,
  call: CallOptions,
): Promise<[string, number][]> {
  const answer = await client.getInventorySummaries(skus, marketplaceId, call).catch((error: unknown) => {
    if (error instanceof ConnectorError && error.code === 'connector.unauthorized') return null;
    throw error;
  });
  if (answer === null || answer.kind === 'refused') return [];
  const found: [string, number][] = [];
  for (const summary of answer.answer.value.payload?.inventorySummaries ?? []) {
    const count = summary.inventoryDetails?.fulfillableQuantity;
    if (summary.sellerSku !== undefined && count !== undefined) found.push([summary.sellerSku, count]);
  }
  return found;
}

/** A SKU with a comma goes alone, as `sellerSku`: in a comma list it cannot be told apart [§2.3]. */
function groups(skus: readonly string[]): string[][] {
  const plain = skus.filter((sku) => !sku.includes(','));
  const together: string[][] = [];
  for (let at = 0; at < plain.length; at += SKUS_PER_CALL) together.push(plain.slice(at, at + SKUS_PER_CALL));
  return [...together, ...skus.filter((sku) => sku.includes(',')).map((sku) => [sku])];
}
