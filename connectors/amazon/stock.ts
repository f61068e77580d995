/**
 * Amazon's stock numbers: one per seller and SKU, shared by all marketplaces of the region (§3.4.9).
 *
 * Reading: up to 5 SKUs by getListingsItem, in parallel; more by searchListingsItems, 20 per call. The lane's read right
 * before a write is small and gets the item itself; the stock sweep is large, and 20 per call make 100 SKUs/s out of the
 * same 5/s (100,000 SKUs in 17 minutes instead of 5.5 hours). Search may lag behind the item (assumed), which a sweep
 * stands: what it does not find is asked for singly before it is called missing.
 *
 * Writing: PATCH `merge` of the DEFAULT quantity, one SKU per call, never for an offer that Amazon fulfils
 * (offer-memory.ts). ACCEPTED means queued, not applied. There is no idempotency key; the value is absolute, so the
 * caller's read-back decides after a lost answer.
 */
import { assert } from '#core/errors.ts';
import type {
  CallOptions,
  StockPort,
  StockPreview,
  StockReading,
  StockRef,
  StockWrite,
  StockWriteOutcome,
} from '../kit/ports.ts';
import type { AmazonClient, Answered, Refused } from './client.ts';
import { blamesProductType, issueWords, wordsOf } from './errors.ts';
import { manifest } from './manifest.ts';
import {
  GENERIC_PRODUCT_TYPE,
  hasAmazonChannel,
  isAmazonChannel,
  isAmazonOnly,
  quantityPatch,
  readingOf,
  writeAddress,
} from './map.ts';
import type { Offer, OfferMemory } from './offer-memory.ts';
import { amazonUnitsOf } from './warehouse.ts';
import type { ListingsItem, Submission } from './wire.ts';

export interface StockOptions {
  client: AmazonClient;
  offers: OfferMemory;
  /** At least one; the first is the default. */
  marketplaceIds: string[];
}

/** As many as may be in flight at once; beyond that a search is quicker than the second round. */
const READ_SINGLY_AT_MOST = manifest.stock.callsInFlight;

export function stockPort(options: StockOptions): StockPort {
  return {
    read: (refs, call) => readStock(options, refs, call),
    write: (rows, _key, call) => writeStock(options, rows, call),
    preview: (row, call) => previewStock(options, row, call),
  };
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A listing as read, or null when Amazon has none. */
type Found = Answered<ListingsItem> | null;

async function readStock(options: StockOptions, refs: readonly StockRef[], call: CallOptions): Promise<StockReading[]> {
  const found = await findItems(options, [...new Set(refs.map((ref) => ref.stockKey))], call);
  const asked = refs.filter((ref) => isAmazonsNumber(ref, found.get(ref.stockKey) ?? null)).map((ref) => ref.stockKey);
  const amazonUnits = await amazonUnitsOf(options.client, [...new Set(asked)], options.marketplaceIds[0] ?? '', call);
  return refs.map((ref) => {
    const item = found.get(ref.stockKey) ?? null;
    if (item === null) return { kind: 'missing', ref, reason: 'Amazon has no listing with this SKU.' };
    return readingOf(ref, item.value, item.vendorAt, amazonUnits.get(ref.stockKey) ?? null);
  });
}

function isAmazonsNumber(ref: StockRef, found: Found): boolean {
  if (found === null) return false;
  return isAmazonChannel(ref.channelLocation) ? hasAmazonChannel(found.value) : isAmazonOnly(found.value);
}

async function findItems(options: StockOptions, skus: string[], call: CallOptions): Promise<Map<string, Found>> {
  if (skus.length <= READ_SINGLY_AT_MOST) return getItems(options, skus, call);
  const searchable = skus.filter((sku) => !sku.includes(','));
  const found = new Map<string, Found>(await searchItems(options, searchable, call));
  const rest = skus.filter((sku) => !found.has(sku));
  for (const [sku, item] of await getItems(options, rest, call)) found.set(sku, item);
  return found;
}

async function getItems(options: StockOptions, skus: string[], call: CallOptions): Promise<Map<string, Found>> {
  return new Map(
    await Promise.all(skus.map(async (sku): Promise<[string, Found]> => [sku, await getItem(options, sku, call)])),
  );
}

async function getItem(
  { client, offers, marketplaceIds }: StockOptions,
  sku: string,
  call: CallOptions,
): Promise<Found> {
  const result = await client.getListingsItem(sku, marketplaceIds, call);
  if (result.kind === 'answered') {
    rememberOffers({ offers, marketplaceIds }, [{ ...result.answer.value, sku }]);
    return result.answer;
  }
  if (result.refused.status !== 404) throw result.refused.fault;
  offers.forget(sku);
  return null;
}

/** What the search finds, by exact SKU. */
async function searchItems(
  { client, offers, marketplaceIds }: StockOptions,
  skus: string[],
  call: CallOptions,
): Promise<[string, Found][]> {
  const size = manifest.stock.readRows;
  const groups = Array.from({ length: Math.ceil(skus.length / size) }, (_, n) => skus.slice(n * size, (n + 1) * size));
  const pages = await Promise.all(
    groups.map(async (group): Promise<[string, Found][]> => {
      const result = await client.findListings(group, marketplaceIds, call);
      if (result.kind === 'refused') throw result.refused.fault;
      const { vendorAt, value: page } = result.answer;
      const items = page.items.filter((item) => group.includes(item.sku));
      rememberOffers({ offers, marketplaceIds }, items);
      return items.map((item) => [item.sku, { value: item, vendorAt }]);
    }),
  );
  return pages.flat();
}

/** What every read of listings leaves behind for the writes. */
export function rememberOffers(
  { offers, marketplaceIds }: Pick<StockOptions, 'offers' | 'marketplaceIds'>,
  items: readonly ListingsItem[],
): void {
  for (const item of items) offers.set(item.sku, offerOf(item, marketplaceIds));
}

function offerOf(item: ListingsItem, marketplaceIds: readonly string[]): Offer {
  return { amazon: hasAmazonChannel(item), ...writeAddress(item, marketplaceIds) };
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────

async function writeStock(
  options: StockOptions,
  rows: readonly StockWrite[],
  call: CallOptions,
): Promise<StockWriteOutcome[]> {
  const [row] = rows;
  assert(row !== undefined && rows.length === 1, 'An Amazon stock write is one SKU', { rows: rows.length });
  assert(Number.isSafeInteger(row.value) && row.value >= 0, 'A stock number is a whole number ≥ 0', {
    value: row.value,
  });
  return [await writeRow(options, row, call)];
}

async function writeRow(options: StockOptions, row: StockWrite, call: CallOptions): Promise<StockWriteOutcome> {
  const { stockKey: sku, channelLocation } = row.ref;
  const known = options.offers.get(sku);
  const offer = known ?? (await readOffer(options, sku, call));
  if (offer === null) return refuse(row, 'listing_missing', 'Amazon has no listing with this SKU.');
  if (offer.amazon || isAmazonChannel(channelLocation)) {
    return refuse(
      row,
      'fulfilled_by_amazon',
      'Amazon fulfils this offer; a quantity would turn it into a merchant offer.',
    );
  }
  const productType = offer.productType ?? GENERIC_PRODUCT_TYPE;
  const outcome = await patch(options, row, offer, productType, call);
  if (outcome.kind !== 'other_type' || productType === GENERIC_PRODUCT_TYPE) return settled(row, outcome);
  options.offers.set(sku, { ...offer, productType: null });
  return settled(row, await patch(options, row, offer, GENERIC_PRODUCT_TYPE, call));
}

/** Reads what the guard must know; the number itself is the caller's business. */
async function readOffer(options: StockOptions, sku: string, call: CallOptions): Promise<Offer | null> {
  const found = await getItem(options, sku, call);
  return found === null ? null : offerOf(found.value, options.marketplaceIds);
}

type Patched =
  | { kind: 'submitted'; submission: Submission; vendorAt: number }
  | { kind: 'other_type'; submission: Submission; vendorAt: number }
  | { kind: 'refused'; refused: Refused };

async function patch(
  { client, marketplaceIds }: StockOptions,
  row: StockWrite,
  offer: Offer,
  productType: string,
  call: CallOptions,
): Promise<Patched> {
  const marketplaceId = offer.marketplaceId ?? marketplaceIds[0] ?? '';
  const body = quantityPatch(productType, row.ref.channelLocation, row.value);
  const result = await client.patchListingsItem(row.ref.stockKey, marketplaceId, body, call);
  if (result.kind === 'refused') return { kind: 'refused', refused: result.refused };
  const { value: submission, vendorAt } = result.answer;
  const withdrawn = submission.status !== 'ACCEPTED' && blamesProductType(submission.issues);
  return { kind: withdrawn ? 'other_type' : 'submitted', submission, vendorAt };
}

/**
 * ACCEPTED counts as accepted whatever issues come with it: they may concern any attribute, and the settle time proves
 * the rest. Everything else in a 200 is a refusal (§11.1); VALID too, which belongs to a preview that stores nothing.
 */
function settled(row: StockWrite, patched: Patched): StockWriteOutcome {
  if (patched.kind === 'refused') {
    const { errors, fault, status } = patched.refused;
    const [first] = errors;
    return first === undefined ? refuse(row, `http_${status}`, fault.message) : refuse(row, first.code, wordsOf(first));
  }
  const { submission, vendorAt } = patched;
  if (submission.status === 'ACCEPTED')
    return { kind: 'accepted', ref: row.ref, vendorAt, submissionId: submission.submissionId };
  const { code, reason } = issueWords(submission.issues);
  return refuse(row, code, reason);
}

/** The same guards as a write, then Amazon's own verdict: VALID or INVALID, nothing stored (mode VALIDATION_PREVIEW). */
async function previewStock(
  options: StockOptions,
  { ref, value }: { ref: StockRef; value: number },
  call: CallOptions,
): Promise<StockPreview> {
  const no = (code: string, message: string): StockPreview => ({
    verdict: 'invalid',
    issues: [{ code, severity: 'ERROR', message }],
  });
  const offer = options.offers.get(ref.stockKey) ?? (await readOffer(options, ref.stockKey, call));
  if (offer === null) return no('listing_missing', 'Amazon has no listing with this SKU.');
  if (offer.amazon || isAmazonChannel(ref.channelLocation))
    return no('fulfilled_by_amazon', 'Amazon fulfils this offer; a quantity would turn it into a merchant offer.');
  const marketplaceId = offer.marketplaceId ?? options.marketplaceIds[0] ?? '';
  const body = quantityPatch(offer.productType ?? GENERIC_PRODUCT_TYPE, ref.channelLocation, value);
  const result = await options.client.previewListingsItem(ref.stockKey, marketplaceId, body, call);
  if (result.kind === 'refused') {
    const [first] = result.refused.errors;
    return no(first?.code ?? `http_${result.refused.status}`, first ? wordsOf(first) : result.refused.fault.message);
  }
  const { status, issues } = result.answer.value;
  const told = issues.map(({ code, severity, message }) => ({ code, severity, message }));
  return { verdict: status === 'VALID' ? 'valid' : 'invalid', issues: told };
}

function refuse(row: StockWrite, code: string, reason: string): StockWriteOutcome {
  return { kind: 'rejected', ref: row.ref, code, reason };
}
