/**
 * Catalogue import: what a channel offers becomes listings; a listing whose SKU is ours is mapped to it.
 *
 * Exact SKUs only (core/catalog/sku.ts); what finds no SKU, or may not be mapped, is kept as an unmapped listing for a
 * person. A listing that is mapped stays as it is, whatever its SKU says now. Pages are stored one by one, so that a
 * broken import is simply run again. Orders that waited for a mapping are the caller's next step (intake.completeUnmapped).
 */
import type { ChannelListing } from '#connectors/kit/ports.ts';
import { channelSkuOf } from '#core/catalog/sku.ts';
import type { Clock, Ids } from '#core/effects.ts';
import { findVariants } from '#store/catalog/bulk.ts';
import { listingKeyOf, mappedListings } from '#store/connections/catalogue.ts';
import { type ListingDraft, upsertListings } from '#store/listings/listings.ts';
import type { Store } from '#store/tx.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';

export interface CatalogImportOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  openConnection(connection: ConnectionRef): Promise<OpenedConnection | null>;
  signal?: AbortSignal;
}

export interface CatalogImport {
  listings: number;
  mapped: number;
  /** Not mapped although the SKU is ours, with the reason; the first 100. */
  refused: { channelSku: string; reason: string }[];
}

const MOST_REFUSED = 100;

/** @throws ConnectorError; null when the connection cannot be opened. */
export async function importCatalog(
  options: CatalogImportOptions,
  connection: ConnectionRef,
): Promise<CatalogImport | null> {
  const opened = await options.openConnection(connection);
  if (!opened) return null;
  const result: CatalogImport = { listings: 0, mapped: 0, refused: [] };
  const signal = options.signal ?? new AbortController().signal;
  let cursor: string | null = null;
  do {
    const page = await opened.channel.catalog.list(cursor, { budget: 'bulk', signal });
    await storePage(options, connection, opened, page.listings, result);
    cursor = page.cursor;
  } while (cursor !== null);
  return result;
}

async function storePage(
  { store, ids, clock }: CatalogImportOptions,
  { orgId, connectionId }: ConnectionRef,
  opened: OpenedConnection,
  listings: readonly ChannelListing[],
  result: CatalogImport,
): Promise<void> {
  const stored = await store.tenant(orgId, async (tx) => {
    const variants = await findVariants(
      tx,
      orgId,
      listings.map(({ channelSku }) => channelSkuOf(channelSku)),
    );
    const mapped = await mappedListings(
      tx,
      orgId,
      connectionId,
      listings.map(({ stockKey }) => stockKey),
    );
    const drafts = listings.map((listing) =>
      draftOf(
        listing,
        mapped.has(listingKeyOf(listing)) ? null : (variants.get(channelSkuOf(listing.channelSku))?.id ?? null),
      ),
    );
    return upsertListings(tx, orgId, connectionId, drafts, {
      ids,
      now: clock.now(),
      compareAndSet: opened.manifest.stock.compareAndSet,
    });
  });
  result.listings += stored.length;
  for (const [i, answer] of stored.entries()) {
    if (answer.kind === 'ok' && answer.variantId !== null) result.mapped += 1;
    if (answer.kind === 'refused' && result.refused.length < MOST_REFUSED) {
      result.refused.push({ channelSku: listings[i]?.channelSku ?? '', reason: answer.reason });
    }
  }
}

function draftOf(listing: ChannelListing, variantId: string | null): ListingDraft {
  return {
    externalId: listing.externalId,
    variantExternalId: listing.variantExternalId,
    channelSku: channelSkuOf(listing.channelSku),
    stockKey: listing.stockKey,
    title: listing.title,
    fulfilledBy: listing.fulfilledBy,
    notWritable: listing.notWritable,
    variantId,
    channelLocations: listing.levels.length === 0 ? null : listing.levels.map(({ channelLocation }) => channelLocation),
  };
}
