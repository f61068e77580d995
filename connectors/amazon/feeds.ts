/**
 * Many numbers in one document: JSON_LISTINGS_FEED (fact sheet §4).
 *
 *   prepare   createFeedDocument → upload       nothing has changed at Amazon
 *   submit    createFeed                        from now on Amazon works it off by itself: minutes, under load hours
 *   status    getFeed                           IN_QUEUE (can be cancelled) → IN_PROGRESS → DONE | CANCELLED | FATAL
 *   outcomes  getFeedDocument → download        the processing report, told per message
 *
 * Every message is the PATCH the single way sends: `merge` of the DEFAULT quantity, so handling time and restock date stay
 * (PARTIAL_UPDATE is a replace and wipes them: documented [§4.2]). FBA offers are left out like there (§5.6). One feed names one
 * marketplace, because one per write is effective (§3.1): offers that only another marketplace lists are left out too.
 */
import { gunzipSync } from 'node:zlib';
import { ConnectorError } from '#core/errors.ts';
import type { BulkOutcome, BulkRow, BulkStatus, CallOptions, StockBulkPort } from '../kit/ports.ts';
import type { AmazonClient, Answer } from './client.ts';
import { jsonOrNull, PRODUCT_TYPE_GONE } from './errors.ts';
import { GENERIC_PRODUCT_TYPE, isAmazonChannel, quantityPatch } from './map.ts';
import type { OfferMemory } from './offer-memory.ts';
import { type Feed, type FeedReport, type FeedsPage, feedReport } from './wire.ts';

/** What an upload declares, and sends exactly so: documented [§4.1]. */
export const CONTENT_TYPE = 'application/json; charset=UTF-8';
const FEED_TYPE = 'JSON_LISTINGS_FEED';
/** A report unpacked: some 300 bytes per issue, several issues per message, and nothing may fill our memory. */
const REPORT_BYTES_MAX = 64 * 1024 * 1024;
/** 100 feeds a page; nobody makes more than this while one answer is lost. */
const PAGES_MAX = 5;

interface ReportRow {
  messageId: number;
  stockKey: string;
}

export interface FeedOptions {
  client: AmazonClient;
  offers: OfferMemory;
  sellerId: string;
  marketplaceIds: string[];
}

export function bulkPort(options: FeedOptions): StockBulkPort {
  const { client } = options;
  return {
    async prepare(rows, call) {
      const fitting = rows.filter((row) => fits(options, row));
      const left = rows.filter((row) => !fitting.includes(row)).map(({ messageId }) => messageId);
      if (fitting.length === 0) return { documentId: '', left };
      const { feedDocumentId, url } = answered(await client.createFeedDocument(CONTENT_TYPE, call));
      await client.uploadDocument(url, CONTENT_TYPE, JSON.stringify(feedBody(options, fitting)), call);
      return { documentId: feedDocumentId, left };
    },
    async submit(documentId, call) {
      const marketplaceIds = options.marketplaceIds.slice(0, 1);
      const feed = { feedType: FEED_TYPE, marketplaceIds, inputFeedDocumentId: documentId };
      return { submissionId: answered(await client.createFeed(feed, call)).feedId };
    },
    status: async (submissionId, call) => statusOf(answered(await client.getFeed(submissionId, call))),
    since: (since, call) => feedsSince(client, since, call),
    async cancel(submissionId, call) {
      const answer = await client.cancelFeed(submissionId, call);
      // Refused: it is no longer queued. The status tells.
      if (answer.kind === 'refused' && answer.refused.status !== 400) throw answer.refused.fault;
    },
    async outcomes(resultId, document, call) {
      return outcomesOf(await readReport(client, resultId, call), document);
    },
  };
}

function answered<T>(answer: Answer<T>): T {
  if (answer.kind === 'refused') throw answer.refused.fault;
  return answer.answer.value;
}

/** What was read of the offer within the hour says that it is ours, and listed where the feed goes. */
function fits({ offers, marketplaceIds }: FeedOptions, { ref }: BulkRow): boolean {
  const offer = offers.get(ref.stockKey);
  if (offer === null || offer.amazon || isAmazonChannel(ref.channelLocation)) return false;
  return offer.marketplaceId === null || offer.marketplaceId === marketplaceIds[0];
}

/** The document; schema listings-feed-schema-v2: documented [§4.2]. */
export function feedBody({ offers, sellerId }: Pick<FeedOptions, 'offers' | 'sellerId'>, rows: readonly BulkRow[]) {
  return {
    header: { sellerId, version: '2.0', issueLocale: 'en_US' },
    messages: rows.map(({ messageId, ref, value }) => ({
      messageId,
      sku: ref.stockKey,
      operationType: 'PATCH',
      ...quantityPatch(offers.get(ref.stockKey)?.productType ?? GENERIC_PRODUCT_TYPE, ref.channelLocation, value),
    })),
  };
}

const STATES: Readonly<Record<string, BulkStatus['state']>> = {
  IN_QUEUE: 'queued',
  IN_PROGRESS: 'running',
  DONE: 'done',
  CANCELLED: 'cancelled',
  FATAL: 'fatal',
};

function statusOf(feed: Feed): BulkStatus {
  return {
    submissionId: feed.feedId,
    state: STATES[feed.processingStatus] ?? 'unrecognized',
    createdAt: feed.createdTime,
    endedAt: feed.processingEndTime ?? null,
    resultId: feed.resultFeedDocumentId ?? null,
  };
}

async function feedsSince(client: AmazonClient, since: number, call: CallOptions): Promise<BulkStatus[]> {
  const found: BulkStatus[] = [];
  let asked: Parameters<AmazonClient['getFeeds']>[0] = { feedType: FEED_TYPE, createdSince: since };
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { feeds, nextToken }: FeedsPage = answered(await client.getFeeds(asked, call));
    found.push(...feeds.map(statusOf));
    if (nextToken === undefined) break;
    asked = { nextToken };
  }
  return found;
}

async function readReport(client: AmazonClient, resultId: string, call: CallOptions): Promise<FeedReport> {
  const { url, compressionAlgorithm } = answered(await client.getFeedDocument(resultId, call));
  const { bytes } = await client.downloadDocument(url, call);
  const text = unpacked(Buffer.from(bytes ?? []), compressionAlgorithm ?? null);
  const report = feedReport.safeParse(text === null ? null : jsonOrNull(text));
  if (report.success) return report.data;
  throw new ConnectorError('connector.unreadable', 'Amazon’s processing report does not match its model', {
    operation: 'downloadDocument',
    compression: compressionAlgorithm ?? null,
    fields: report.error.issues.map(({ path }) => path.join('.')).slice(0, 5),
  });
}

/** Null when it cannot be unpacked. At once, like the parsing after it: a thread of its own would answer when no seed of the world says. */
function unpacked(bytes: Buffer, compression: string | null): string | null {
  if (compression === null) return bytes.toString('utf8');
  if (compression !== 'GZIP') return null;
  try {
    return gunzipSync(bytes, { maxOutputLength: REPORT_BYTES_MAX }).toString('utf8');
  } catch {
    return null;
  }
}

/**
 * The report names only what went wrong; who is not named was accepted, if the counts say so. When they do not (fewer
 * processed than sent, fewer accepted than unnamed, an error of the whole feed), nobody can tell which, and all unnamed are
 * missing. One that names other SKUs under our numbers is another feed's: then all are missing.
 */
export function outcomesOf(
  report: FeedReport,
  { sent, rows }: { sent: number; rows: readonly ReportRow[] },
): BulkOutcome[] {
  const { messagesAccepted, messagesProcessed } = report.summary;
  const skus = new Map(rows.map(({ messageId, stockKey }) => [messageId, stockKey]));
  const foreign = report.issues.some(
    ({ messageId, sku }) => messageId !== undefined && sku !== undefined && (skus.get(messageId) ?? sku) !== sku,
  );
  const errors = report.issues.filter(({ severity }) => severity === 'ERROR');
  const named = new Set(errors.map(({ messageId }) => messageId).filter((id) => id !== undefined));
  const ofAll = errors.find(({ messageId }) => messageId === undefined);
  const accounted = ofAll === undefined && messagesProcessed === sent && messagesAccepted >= sent - named.size;
  const counts = `Amazon’s report counts ${messagesAccepted} accepted of ${messagesProcessed}, ${sent} were sent, and it does not say which.`;
  const reason = foreign ? 'Amazon’s report is about other SKUs.' : (ofAll?.message ?? counts);
  return rows.map(({ messageId }): BulkOutcome => {
    const mine = errors.filter((issue) => issue.messageId === messageId);
    if (foreign || (mine.length === 0 && !accounted)) return { messageId, kind: 'missing', reason };
    return mine.length === 0 ? { messageId, kind: 'accepted' } : refusedBy(messageId, mine);
  });
}

/** A withdrawn product type is not the number's fault: sent singly it falls back to the generic one (§3.2, M#5241). */
function refusedBy(messageId: number, issues: FeedReport['issues']): BulkOutcome {
  const code = issues[0]?.code ?? 'ERROR';
  const reason = issues.map(({ message }) => message).join(' ');
  if (code === PRODUCT_TYPE_GONE) return { messageId, kind: 'not_applied', reason };
  return { messageId, kind: 'rejected', code, reason };
}
