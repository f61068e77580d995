/**
 * What a shop offers, for import and mapping: every variant with its levels, and the places stock is counted at.
 *
 * One page of 40 variants a call; an item stocked in more than four places is read on. Bundle parents and untracked items
 * are listed but marked as never written: one un-writable row fails a whole stock write (fact sheet §0.7).
 */

import type { CallOptions, CatalogOptions, CatalogPage, CatalogPort, ChannelListing, Transport } from '../kit/ports.ts';
import { recordingTransport, replayingTransport } from '../kit/recording.ts';
import type { ShopClient } from './client.ts';
import { itemLevelsDocument, locationsDocument, variantsDocument } from './documents.ts';
import { toListing } from './map.ts';
import { readAll, readOn } from './pages.ts';
import { itemLevelsSchema, locationsSchema, type VariantNode, variantsSchema } from './wire.ts';

/** Nobody is asked in a replay: neither budget nor deadline matters. */
const REPLAYED: CatalogOptions = { budget: 'read', signal: new AbortController().signal };

/** @param clientOver a client of the same shop and sign-in whose calls go through this transport, signed in or (for stored answers) not */
export function createListings(
  client: ShopClient,
  transport: Transport,
  clientOver: (transport: Transport, signIn: boolean) => ShopClient,
): CatalogPort {
  return {
    async list(cursor, options) {
      const recorder = recordingTransport(transport);
      const page = await listPage(clientOver(recorder, true), cursor, options);
      return { ...page, raw: recorder.answers };
    },
    async replay(cursor, raw) {
      const page = await listPage(clientOver(replayingTransport(raw), false), cursor, REPLAYED);
      return { ...page, raw: [...raw] };
    },
    async locations(options) {
      const places = await readAll(
        async (after) => (await client.run(locationsDocument, { after }, locationsSchema, options)).data.locations,
      );
      return places.map(({ id, name, isActive }) => ({ channelLocation: id, name, active: isActive }));
    },
  };
}

async function listPage(
  client: ShopClient,
  after: string | null,
  options: CatalogOptions,
): Promise<Omit<CatalogPage, 'raw'>> {
  const query = changedSince(options.changedSince ?? null);
  const { data, vendorAt } = await client.run(variantsDocument, { after, query }, variantsSchema, options);
  const { nodes, pageInfo } = data.productVariants;
  const listings: ChannelListing[] = [];
  for (const variant of nodes) listings.push(await listingOf(client, variant, vendorAt, options));
  return { listings, cursor: pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null };
}

/** Variants by `updated_at`, in whole seconds: documented, fact sheet §6. */
const changedSince = (at: number | null): string | null =>
  at === null ? null : `updated_at:>='${new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')}'`;

async function listingOf(
  client: ShopClient,
  variant: VariantNode,
  vendorAt: number,
  options: CallOptions,
): Promise<ChannelListing> {
  const { id, inventoryLevels } = variant.inventoryItem;
  const levels = await readOn(inventoryLevels, async (after) => {
    const { data } = await client.run(itemLevelsDocument, { id, after }, itemLevelsSchema, options);
    return data.inventoryItem?.inventoryLevels ?? null;
  });
  return toListing(variant, levels.nodes, vendorAt);
}
