/**
 * What a shop offers, for import and mapping: every variant with its levels, and the places stock is counted at.
 *
 * One page of 40 variants a call; an item stocked in more than four places is read on. Bundle parents and untracked items
 * are listed but marked as never written: one un-writable row fails a whole stock write (fact sheet §0.7).
 */
import type { CallOptions, CatalogPort, ChannelListing } from '../kit/ports.ts';
import type { ShopClient } from './client.ts';
import { itemLevelsDocument, locationsDocument, variantsDocument } from './documents.ts';
import { toListing } from './map.ts';
import { readAll, readOn } from './pages.ts';
import { itemLevelsSchema, locationsSchema, type VariantNode, variantsSchema } from './wire.ts';

export function createListings(client: ShopClient): CatalogPort {
  async function listingOf(variant: VariantNode, vendorAt: number, options: CallOptions): Promise<ChannelListing> {
    const { id, inventoryLevels } = variant.inventoryItem;
    const levels = await readOn(inventoryLevels, async (after) => {
      const { data } = await client.run(itemLevelsDocument, { id, after }, itemLevelsSchema, options);
      return data.inventoryItem?.inventoryLevels ?? null;
    });
    return toListing(variant, levels.nodes, vendorAt);
  }

  return {
    async list(cursor, options) {
      const { data, vendorAt } = await client.run(variantsDocument, { after: cursor }, variantsSchema, options);
      const { nodes, pageInfo } = data.productVariants;
      const listings: ChannelListing[] = [];
      for (const variant of nodes) listings.push(await listingOf(variant, vendorAt, options));
      return { listings, cursor: pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null };
    },
    async locations(options) {
      const places = await readAll(
        async (after) => (await client.run(locationsDocument, { after }, locationsSchema, options)).data.locations,
      );
      return places.map(({ id, name, isActive }) => ({ channelLocation: id, name, active: isActive }));
    },
  };
}
