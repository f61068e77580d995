/**
 * Listings Items 2021-08-01: the blind absolute stock write, and reading offers (vendors/amazon.md §3).
 *
 * PATCH answers 200 even when refused (status INVALID). ACCEPTED is a promise: the write is applied after the profile's
 * settle time, over whatever the number has become. An unknown SKU is ACCEPTED too, with no effect (§3.4.5, observed).
 * A planted `half_batch` fault on operation "patchListingsItem" accepts and never applies (observed, D#2068).
 */
import { z } from 'zod';
import type { SimCore } from '#sim/kit/core.ts';
import type { Agenda } from './agenda.ts';
import { type Answer, accessDenied, invalidInput, notFound, read } from './answers.ts';
import { type Offers, onOffer } from './offers.ts';
import { type Patch, patchIssues } from './patches.ts';
import { isoSeconds, paceOf } from './profile.ts';
import { type ApiRequest, list, listOf, makeToken, parameter, readToken, time, whole } from './request.ts';
import type { Offer } from './rows.ts';

const DATA_SETS = [
  'summaries',
  'attributes',
  'issues',
  'offers',
  'fulfillmentAvailability',
  'procurement',
  'relationships',
  'productTypes',
] as const;
type DataSet = (typeof DATA_SETS)[number];

const IDENTIFIER_TYPES = ['ASIN', 'EAN', 'FNSKU', 'GTIN', 'ISBN', 'JAN', 'MINSAN', 'SKU', 'UPC'] as const;
const LARGEST_PAGE = 20;
const DEFAULT_PAGE = 10;
/** Only the first 1,000 results can be reached by paging (§3.6, documented). */
const REACHABLE = 1_000;
export const PRICE = '12.00';

const patchBody = z.object({
  productType: z.string().min(1),
  patches: z
    .array(
      z.object({
        op: z.enum(['add', 'replace', 'merge', 'delete']),
        path: z.string().regex(/^\/attributes\/[^/]+$/),
        value: z.array(z.record(z.string(), z.unknown())).optional(),
      }),
    )
    .min(1),
});

export interface Listings {
  patch(request: ApiRequest): Answer;
  get(request: ApiRequest): Answer;
  search(request: ApiRequest): Answer;
}

export const isPreview = (query: URLSearchParams): boolean => query.get('mode') === 'VALIDATION_PREVIEW';

export function createListings(
  core: SimCore,
  offers: Offers,
  agenda: Agenda,
  account: { sellerId: string; marketplaceId: string },
): Listings {
  function check(request: ApiRequest): void {
    if (parameter(request, 'sellerId') !== account.sellerId) throw accessDenied();
    const marketplaces = list(request.query, 'marketplaceIds');
    if (marketplaces === null || marketplaces.length === 0) throw invalidInput('marketplaceIds');
    for (const id of marketplaces) if (id !== account.marketplaceId) throw invalidInput(`marketplaceIds: ${id}`);
  }

  function show(offer: Offer, sets: readonly DataSet[]): Record<string, unknown> {
    const { marketplaceId } = account;
    const blocks: Partial<Record<DataSet, unknown>> = {
      summaries: [
        {
          marketplaceId,
          asin: offer.asin,
          productType: offer.productType,
          conditionType: 'new_new',
          status: statusOf(offer),
          ...(offer.fba === null ? {} : { fnSku: offer.fba.fnSku }),
          itemName: offer.title,
          createdDate: isoSeconds(offer.createdAt),
          lastUpdatedDate: isoSeconds(offer.updatedAt),
        },
      ],
      attributes: { fulfillment_availability: offer.channels.map(asAttribute) },
      issues: [],
      offers: [{ marketplaceId, offerType: 'B2C', price: { amount: PRICE, currencyCode: 'USD' } }],
      fulfillmentAvailability: offer.channels.map(({ code, quantity }) => ({
        fulfillmentChannelCode: code,
        ...(quantity === null ? {} : { quantity }),
      })),
      relationships: [{ marketplaceId, relationships: [] }],
      productTypes: [{ marketplaceId, productType: offer.productType }],
    };
    return {
      sku: offer.sku,
      ...Object.fromEntries(sets.flatMap((set) => (set in blocks ? [[set, blocks[set]]] : []))),
    };
  }

  /** @returns whether a stored write was (or will be) the effect */
  function store(sku: string, patches: Patch[]): boolean {
    if (offers.find(sku) === null) return false;
    const swallowed = core.faults
      .list()
      .some((one) => one.kind === 'half_batch' && one.operation === 'patchListingsItem');
    if (swallowed && core.faults.takeForCall(['half_batch'], ['patchListingsItem']) !== null) return false;
    agenda.add({ kind: 'patch', sku, patches }, core.clock.now() + paceOf(core.profile.current()).settleMs);
    return true;
  }

  function filtered(query: URLSearchParams): Offer[] {
    const identifiers = list(query, 'identifiers');
    const [type] = listOf(query, 'identifiersType', IDENTIFIER_TYPES) ?? [];
    if ((identifiers === null) !== (type === undefined))
      throw invalidInput('identifiers and identifiersType go together');
    if (identifiers !== null && identifiers.length > LARGEST_PAGE)
      throw invalidInput(`identifiers: more than ${LARGEST_PAGE}`);
    const withStatus = listOf(query, 'withStatus', ['BUYABLE', 'DISCOVERABLE']);
    const withoutStatus = listOf(query, 'withoutStatus', ['BUYABLE', 'DISCOVERABLE']);
    const withIssues = listOf(query, 'withIssueSeverity', ['WARNING', 'ERROR']);
    const [createdAfter, createdBefore] = [time(query, 'createdAfter'), time(query, 'createdBefore')];
    const [updatedAfter, updatedBefore] = [time(query, 'lastUpdatedAfter'), time(query, 'lastUpdatedBefore')];
    return offers.all().filter((offer) => {
      const status = statusOf(offer);
      return (
        withIssues === null &&
        (identifiers === null || identifiers.includes(identifierOf(offer, type) ?? '')) &&
        (withStatus === null || withStatus.some((one) => status.includes(one))) &&
        (withoutStatus === null || !withoutStatus.some((one) => status.includes(one))) &&
        within(offer.createdAt, createdAfter, createdBefore) &&
        within(offer.updatedAt, updatedAfter, updatedBefore)
      );
    });
  }

  return {
    patch(request) {
      check(request);
      const sku = parameter(request, 'sku');
      const parsed = patchBody.safeParse(request.json());
      if (!parsed.success) throw invalidInput(parsed.error.issues.map((one) => one.path.join('.')).join(', '));
      const preview = isPreview(request.query);
      if (!preview && request.query.has('mode')) throw invalidInput('mode');
      const included = listOf(request.query, 'includedData', ['issues', 'identifiers']) ?? ['issues'];
      if (included.includes('identifiers') && !preview) throw invalidInput('includedData: identifiers needs a preview');
      const offer = offers.find(sku);
      const { productType, patches } = parsed.data;
      const issues = patchIssues(patches, productType, offer?.productType ?? null);
      const invalid = issues.some((issue) => issue.severity === 'ERROR');
      const applied = !invalid && !preview && store(sku, patches);
      const body = {
        sku,
        status: invalid ? 'INVALID' : preview ? 'VALID' : 'ACCEPTED',
        submissionId: core.ids.uuid().replaceAll('-', ''),
        issues,
        ...(included.includes('identifiers') && offer !== null
          ? { identifiers: [{ marketplaceId: account.marketplaceId, asin: offer.asin }] }
          : {}),
      };
      return { status: 200, body, applied };
    },
    get(request) {
      check(request);
      const sets = listOf(request.query, 'includedData', DATA_SETS) ?? ['summaries'];
      const sku = parameter(request, 'sku');
      const offer = offers.find(sku);
      if (offer === null) throw notFound(`SKU '${sku}' not found in marketplace ${account.marketplaceId}`);
      return read(show(offer, sets));
    },
    search(request) {
      check(request);
      const { query } = request;
      const sets = listOf(query, 'includedData', DATA_SETS) ?? ['summaries'];
      const size = whole(query, 'pageSize', DEFAULT_PAGE, LARGEST_PAGE);
      const found = sorted(filtered(query), query);
      const offset = pageOffset(query.get('pageToken'));
      const reachable = Math.min(found.length, REACHABLE);
      const page = found.slice(offset, Math.min(offset + size, reachable));
      const pagination = {
        ...(offset + size < reachable ? { nextToken: makeToken({ offset: offset + size }) } : {}),
        ...(offset > 0 ? { previousToken: makeToken({ offset: Math.max(0, offset - size) }) } : {}),
      };
      return read({ numberOfResults: found.length, pagination, items: page.map((offer) => show(offer, sets)) });
    },
  };
}

const statusOf = (offer: Offer): ('BUYABLE' | 'DISCOVERABLE')[] =>
  onOffer(offer) > 0 ? ['BUYABLE', 'DISCOVERABLE'] : ['DISCOVERABLE'];

const asAttribute = (entry: Offer['channels'][number]) => ({
  fulfillment_channel_code: entry.code,
  ...(entry.quantity === null ? {} : { quantity: entry.quantity }),
  ...(entry.leadTimeDays === null ? {} : { lead_time_to_ship_max_days: entry.leadTimeDays }),
  ...(entry.restockDate === null ? {} : { restock_date: entry.restockDate }),
});

function identifierOf(offer: Offer, type: (typeof IDENTIFIER_TYPES)[number] | undefined): string | undefined {
  if (type === 'SKU') return offer.sku;
  if (type === 'ASIN') return offer.asin;
  return type === 'FNSKU' ? offer.fba?.fnSku : undefined;
}

const within = (at: number, after: number | null, before: number | null): boolean =>
  (after === null || at >= after) && (before === null || at <= before);

/** By lastUpdatedDate, newest first, unless asked otherwise (documented); ties by SKU. */
function sorted(found: Offer[], query: URLSearchParams): Offer[] {
  const [by] = listOf(query, 'sortBy', ['sku', 'createdDate', 'lastUpdatedDate']) ?? ['lastUpdatedDate'];
  const [order] = listOf(query, 'sortOrder', ['ASC', 'DESC']) ?? ['DESC'];
  const key = (offer: Offer) => (by === 'sku' ? 0 : by === 'createdDate' ? offer.createdAt : offer.updatedAt);
  const bySku = (a: Offer, b: Offer) => (a.sku < b.sku ? -1 : a.sku > b.sku ? 1 : 0);
  const ascending = [...found].sort((a, b) => key(a) - key(b) || bySku(a, b));
  return order === 'ASC' ? ascending : ascending.reverse();
}

function pageOffset(token: string | null): number {
  if (token === null) return 0;
  const offset = readToken<{ offset: number }>(token)?.offset;
  if (typeof offset !== 'number') throw invalidInput('pageToken');
  return offset;
}
