/**
 * Amazon's catalogue: every listing of the seller, for import and mapping.
 *
 * Paging reaches 1,000 SKUs at most (documented, §3.6). So the listings are walked by creation date: when a search ends
 * with more results than it showed, the next one starts at the last date seen. Listings of that very instant come
 * twice, which an import by SKU stands. More than 1,000 of one instant cannot be walked: that is said, not skipped.
 */
import { Buffer } from 'node:buffer';
import { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import type { CatalogOptions as Asked, CatalogPage, CatalogPort, Transport } from '../kit/ports.ts';
import { recordingTransport, replayingTransport } from '../kit/recording.ts';
import type { AmazonClient } from './client.ts';
import { jsonOrNull } from './errors.ts';
import { AMAZON_CHANNELS, MERCHANT_CHANNEL, type Region } from './manifest.ts';
import { hasAmazonChannel, listingOf } from './map.ts';
import type { OfferMemory } from './offer-memory.ts';
import { rememberOffers } from './stock.ts';
import { amazonUnitsOf } from './warehouse.ts';
import type { ListingsPage } from './wire.ts';

export interface CatalogOptions {
  transport: Transport;
  /** A client of the same seller whose calls go through this transport, signed in or (for stored answers) not. */
  clientOver(transport: Transport, signIn: boolean): AmazonClient;
  offers: OfferMemory;
  marketplaceIds: string[];
  region: Region;
}

const PAGE_SIZE = 20;
/** What paging reaches: documented [§3.6]. Fewer without a way on is a listing that vanished while we walked. */
const REACHABLE = 1000;

/** `createdAfter`: where the running search began; `seen`: how many it has shown; `lastCreated`: the newest date among them. */
const cursorShape = z.object({
  createdAfter: z.number().nullable(),
  token: z.string().nullable(),
  seen: z.number(),
  lastCreated: z.number().nullable(),
});
type Cursor = z.infer<typeof cursorShape>;

const START: Cursor = { createdAfter: null, token: null, seen: 0, lastCreated: null };

/** Nobody is asked in a replay: neither budget nor deadline matters. */
const REPLAYED: Asked = { budget: 'read', signal: new AbortController().signal };

/** What stored answers say of an offer is too old for a write to trust. */
const NO_MEMORY: OfferMemory = { get: () => null, set() {}, forget() {} };

export function catalogPort(options: CatalogOptions): CatalogPort {
  return {
    async list(cursor, asked) {
      const recorder = recordingTransport(options.transport);
      const client = options.clientOver(recorder, true);
      return { ...(await listPage(client, options, cursor, asked)), raw: recorder.answers };
    },
    async replay(cursor, raw) {
      const client = options.clientOver(replayingTransport(raw), false);
      return { ...(await listPage(client, { ...options, offers: NO_MEMORY }, cursor, REPLAYED)), raw: [...raw] };
    },
    async locations() {
      const amazon = AMAZON_CHANNELS[options.region];
      return [
        { channelLocation: MERCHANT_CHANNEL, name: 'Fulfilled by merchant', active: true },
        { channelLocation: amazon, name: 'Fulfilled by Amazon', active: true },
      ];
    },
  };
}

async function listPage(
  client: AmazonClient,
  options: Pick<CatalogOptions, 'offers' | 'marketplaceIds'>,
  from: string | null,
  call: Asked,
): Promise<Omit<CatalogPage, 'raw'>> {
  const { marketplaceIds } = options;
  const cursor = from === null ? START : readCursor(from);
  const page = { ...cursor, size: PAGE_SIZE, changedSince: call.changedSince ?? null };
  const result = await client.listListings(page, marketplaceIds, call);
  if (result.kind === 'refused') throw result.refused.fault;
  const { value: found, vendorAt } = result.answer;
  rememberOffers(options, found.items);
  const amazons = found.items.filter(hasAmazonChannel).map((item) => item.sku);
  const units = await amazonUnitsOf(client, amazons, marketplaceIds[0] ?? '', call);
  const next = nextCursor(cursor, found);
  return {
    listings: found.items.map((item) => listingOf(item, marketplaceIds, vendorAt, units.get(item.sku) ?? null)),
    cursor: next === null ? null : Buffer.from(JSON.stringify(next)).toString('base64url'),
  };
}

/** Where to go on; null at the end. Exported for its table of cases. @throws connector.rejected when the walk cannot advance. */
export function nextCursor(
  cursor: Cursor,
  page: Pick<ListingsPage, 'items' | 'numberOfResults' | 'pagination'>,
): Cursor | null {
  const seen = cursor.seen + page.items.length;
  const lastCreated = page.items.reduce<number | null>(
    (last, item) => later(last, oldestCreation(item)),
    cursor.lastCreated,
  );
  const token = page.pagination?.nextToken;
  if (token !== undefined && token !== '') return { createdAfter: cursor.createdAfter, token, seen, lastCreated };
  if (seen >= page.numberOfResults || page.items.length === 0) return null;
  if (lastCreated === null || (cursor.createdAfter !== null && lastCreated <= cursor.createdAfter)) {
    if (seen < REACHABLE) return null;
    throw new ConnectorError(
      'connector.rejected',
      'More listings share one creation date than Amazon lets us page through',
      {
        operation: 'searchListingsItems',
        createdAfter: cursor.createdAfter,
        numberOfResults: page.numberOfResults,
        seen,
      },
    );
  }
  return { createdAfter: lastCreated, token: null, seen: 0, lastCreated: null };
}

/** A listing has one date per marketplace; the earliest can only make the walk repeat itself, never skip. */
function oldestCreation(item: ListingsPage['items'][number]): number | null {
  return item.summaries.reduce<number | null>((oldest, summary) => {
    if (summary.createdDate === undefined) return oldest;
    return oldest === null ? summary.createdDate : Math.min(oldest, summary.createdDate);
  }, null);
}

function later(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.max(a, b);
}

function readCursor(text: string): Cursor {
  const parsed = cursorShape.safeParse(jsonOrNull(Buffer.from(text, 'base64url').toString('utf8')));
  if (parsed.success) return parsed.data;
  throw new ConnectorError('connector.rejected', 'This is no cursor of an Amazon listing search', {
    operation: 'searchListingsItems',
  });
}
