/**
 * Feeds 2021-06-30 with JSON_LISTINGS_FEED (vendors/amazon.md §4): document, upload, feed, processing report.
 *
 *   IN_QUEUE → IN_PROGRESS → DONE (read the report: DONE is not success) | FATAL (not a JSON feed document)
 *      └→ CANCELLED (only from the queue)
 *
 * Feeds of the seller run one after the other, so one that is stuck (fault `feed_stuck`: for `ms`, or for ever) holds up
 * all behind it (observed, §4.4). Fault `half_batch`: every second message is refused in the report.
 * Upload and download addresses live 5 minutes and take no access token. Any other feed type ends FATAL.
 */
import { z } from 'zod';
import type { SimCore } from '#sim/kit/core.ts';
import type { VendorCall, VendorReply } from '#sim/kit/model.ts';
import type { Agenda } from './agenda.ts';
import { type Answer, invalidInput, notFound, read } from './answers.ts';
import type { Offers } from './offers.ts';
import { type Patch, patchIssues } from './patches.ts';
import { isoSeconds, paceOf } from './profile.ts';
import { type ApiRequest, list, makeToken, parameter, readToken, time, whole } from './request.ts';
import type { DocumentRow, FeedRow, Rows } from './rows.ts';

export const DOCUMENT_PATH = '/_s3/feeds/';
const URL_LIFE_MS = 300_000;
const MOST_MESSAGES = 25_000;
const LARGEST_MESSAGE_ID = 2_147_483_647;
const JSON_TYPE = 'JSON_LISTINGS_FEED';
const RETENTION_MS = 90 * 24 * 3_600_000;

const feedBody = z.object({
  feedType: z.string().min(1),
  marketplaceIds: z.array(z.string()).min(1).max(25),
  inputFeedDocumentId: z.string().min(1),
});
const documentBody = z.object({ contentType: z.string().min(1) });
const feedDocument = z.object({
  header: z.object({ sellerId: z.string(), version: z.literal('2.0') }),
  messages: z
    .array(z.looseObject({ messageId: z.number().int().min(1).max(LARGEST_MESSAGE_ID), sku: z.string() }))
    .max(MOST_MESSAGES),
});
const patchMessage = z.object({
  operationType: z.literal('PATCH'),
  productType: z.string(),
  patches: z.array(
    z.object({
      op: z.enum(['add', 'replace', 'merge', 'delete']),
      path: z.string().startsWith('/attributes/'),
      value: z.array(z.record(z.string(), z.unknown())).optional(),
    }),
  ),
});
/** PARTIAL_UPDATE is a PATCH with replace: it wipes siblings (§4.2, documented). */
const partialUpdate = z.object({
  operationType: z.literal('PARTIAL_UPDATE'),
  productType: z.string(),
  attributes: z.record(z.string(), z.array(z.record(z.string(), z.unknown()))),
});

interface ReportIssue {
  messageId: number;
  sku: string;
  code: string;
  severity: 'ERROR' | 'WARNING';
  message: string;
}

export interface Feeds {
  createDocument(request: ApiRequest): Answer;
  getDocument(request: ApiRequest): Answer;
  create(request: ApiRequest): Answer;
  get(request: ApiRequest): Answer;
  list(request: ApiRequest): Answer;
  cancel(request: ApiRequest): Answer;
  /** The document store: PUT and GET of presigned addresses. */
  store(call: VendorCall): VendorReply;
  /** Processes a feed whose time has come. */
  finish(id: string, at: number): void;
  clear(): void;
}

/** @param finished told when a feed has ended */
export function createFeeds(
  core: SimCore,
  rows: Rows,
  offers: Offers,
  agenda: Agenda,
  account: { sellerId: string; marketplaceId: string },
  finished: (feed: FeedRow, at: number) => void,
): Feeds {
  const now = () => core.clock.now();

  function newDocument(contentType: string, content: string | null, at: number): DocumentRow {
    const feedDocumentId = `amzn1.tortuga.4.na.${core.ids.uuid()}`;
    const document = { feedDocumentId, contentType, createdAt: at, content };
    rows.documents.put(feedDocumentId, document);
    return document;
  }

  const urlOf = (baseUrl: string, id: string) =>
    `${baseUrl}${DOCUMENT_PATH}${id}?X-Sim-Expires=${Math.round(now() + URL_LIFE_MS)}`;

  function statusOf(feed: FeedRow): 'IN_QUEUE' | 'IN_PROGRESS' | 'DONE' | 'CANCELLED' | 'FATAL' {
    if (feed.status !== 'OPEN') return feed.status;
    return feed.startAt !== null && feed.startAt <= now() ? 'IN_PROGRESS' : 'IN_QUEUE';
  }

  function show(feed: FeedRow) {
    const started = feed.startAt !== null && feed.startAt <= now() && feed.status !== 'CANCELLED';
    const ended = feed.status === 'DONE' || feed.status === 'FATAL';
    return {
      feedId: feed.feedId,
      feedType: feed.feedType,
      marketplaceIds: feed.marketplaceIds,
      createdTime: isoSeconds(feed.createdAt),
      processingStatus: statusOf(feed),
      ...(started ? { processingStartTime: isoSeconds(feed.startAt ?? 0) } : {}),
      ...(ended ? { processingEndTime: isoSeconds(feed.endAt ?? 0) } : {}),
      ...(feed.resultFeedDocumentId === null ? {} : { resultFeedDocumentId: feed.resultFeedDocumentId }),
    };
  }

  /** When a feed handed in now starts and ends; null: a stuck feed is in the way, or it is stuck itself. */
  function schedule(): { startAt: number | null; endAt: number | null } {
    const { feedQueueMs, feedRunMs } = paceOf(core.profile.current());
    const before = [...rows.feeds.all()].filter((one) => one.status === 'OPEN').map((one) => one.endAt);
    const stuck = core.faults.takeForCall(['feed_stuck'], ['createFeed', 'feeds', JSON_TYPE]);
    if (before.includes(null)) return { startAt: null, endAt: null };
    const startAt = Math.max(now() + feedQueueMs, ...before.map((end) => end ?? 0));
    if (stuck === null) return { startAt, endAt: startAt + feedRunMs };
    return { startAt, endAt: stuck.ms === null ? null : startAt + feedRunMs + stuck.ms };
  }

  function process(feed: FeedRow, at: number): Pick<FeedRow, 'status' | 'resultFeedDocumentId'> {
    const parsed = feedDocument.safeParse(parseJson(rows.documents.get(feed.inputFeedDocumentId)?.content ?? ''));
    const ids = parsed.success ? parsed.data.messages.map((one) => one.messageId) : [];
    const sound =
      parsed.success && parsed.data.header.sellerId === account.sellerId && new Set(ids).size === ids.length;
    if (feed.feedType !== JSON_TYPE || !sound) return { status: 'FATAL', resultFeedDocumentId: null };
    const issues = parsed.data.messages.flatMap((message, index) =>
      feed.half && index % 2 === 1 ? badRequest(message) : carryOut(message, at),
    );
    const invalid = new Set(issues.filter((one) => one.severity === 'ERROR').map((one) => one.messageId)).size;
    const report = {
      header: { sellerId: account.sellerId, version: '2.0', feedId: feed.feedId },
      issues,
      summary: {
        errors: issues.length,
        warnings: 0,
        messagesProcessed: ids.length,
        messagesAccepted: ids.length - invalid,
        messagesInvalid: invalid,
      },
    };
    const document = newDocument('application/json; charset=UTF-8', JSON.stringify(report), at);
    return { status: 'DONE', resultFeedDocumentId: document.feedDocumentId };
  }

  function carryOut(message: Message, at: number): ReportIssue[] {
    const write = readMessage(message);
    if (write === null) return badRequest(message);
    const own = offers.find(message.sku)?.productType ?? null;
    const issues = patchIssues(write.patches, write.productType, own);
    if (issues.length === 0) offers.applyWrite(message.sku, write.patches, at);
    const missingChannel = issues.some(
      (issue) => issue.code === '90220' && issue.message.includes('fulfillment_channel_code'),
    );
    if (missingChannel) return badRequest(message);
    return issues.map(({ code, message: text }) => ({
      messageId: message.messageId,
      sku: message.sku,
      code,
      severity: 'ERROR',
      message: text,
    }));
  }

  function feedOf(request: ApiRequest): FeedRow {
    const feed = rows.feeds.get(parameter(request, 'feedId'));
    if (feed === undefined) throw notFound('The feed was not found');
    return feed;
  }

  return {
    createDocument(request) {
      const { contentType } = parse(documentBody, request.json());
      const { feedDocumentId } = newDocument(contentType, null, now());
      return { status: 201, body: { feedDocumentId, url: urlOf(request.baseUrl, feedDocumentId) }, applied: true };
    },
    getDocument(request) {
      const id = parameter(request, 'feedDocumentId');
      if (!rows.documents.has(id)) throw notFound('The document was not found');
      return read({ feedDocumentId: id, url: urlOf(request.baseUrl, id) });
    },
    create(request) {
      const { feedType, marketplaceIds, inputFeedDocumentId } = parse(feedBody, request.json());
      for (const id of marketplaceIds) if (id !== account.marketplaceId) throw invalidInput(`marketplaceIds: ${id}`);
      if ((rows.documents.get(inputFeedDocumentId)?.content ?? null) === null)
        throw invalidInput('inputFeedDocumentId');
      const { startAt, endAt } = schedule();
      const feed: FeedRow = {
        feedId: String(900_000_000_000 + core.tables.next('feeds')),
        feedType,
        marketplaceIds,
        inputFeedDocumentId,
        createdAt: now(),
        startAt,
        endAt,
        status: 'OPEN',
        resultFeedDocumentId: null,
        half: core.faults.takeForCall(['half_batch'], ['createFeed', 'feeds', JSON_TYPE]) !== null,
      };
      rows.feeds.put(feed.feedId, feed);
      if (endAt !== null) agenda.add({ kind: 'feed', feed: feed.feedId }, endAt);
      return { status: 202, body: { feedId: feed.feedId }, applied: true };
    },
    get: (request) => read(show(feedOf(request))),
    list({ query }) {
      const token = query.get('nextToken');
      if (token !== null && query.size > 1) throw invalidInput('nextToken must be the only parameter');
      const asked = token === null ? query : new URLSearchParams(readToken<{ query: string }>(token)?.query ?? '');
      const types = list(asked, 'feedTypes');
      if (types === null) throw invalidInput('feedTypes or nextToken is required');
      const statuses = list(asked, 'processingStatuses');
      const since = time(asked, 'createdSince') ?? now() - RETENTION_MS;
      const until = time(asked, 'createdUntil') ?? now();
      const offset = Number(asked.get('offset') ?? 0);
      const size = whole(asked, 'pageSize', 10, 100);
      const found = [...rows.feeds.all()]
        .reverse()
        .filter((feed) => types.includes(feed.feedType) && feed.createdAt >= since && feed.createdAt <= until)
        .filter((feed) => statuses === null || statuses.includes(statusOf(feed)));
      const next = new URLSearchParams(asked);
      next.set('offset', String(offset + size));
      return read({
        feeds: found.slice(offset, offset + size).map(show),
        ...(offset + size < found.length ? { nextToken: makeToken({ query: next.toString() }) } : {}),
      });
    },
    cancel(request) {
      const feed = feedOf(request);
      if (statusOf(feed) !== 'IN_QUEUE') throw invalidInput('Only a feed in the queue can be cancelled');
      rows.feeds.put(feed.feedId, { ...feed, status: 'CANCELLED' });
      return { status: 200, applied: true };
    },
    store(call) {
      const id = call.path.slice(DOCUMENT_PATH.length);
      const document = rows.documents.get(id);
      const alive = Number(call.query.get('X-Sim-Expires') ?? 0) >= now();
      if (document === undefined || !alive) return xml(403, 'AccessDenied', 'Request has expired');
      if (call.method === 'GET')
        return {
          status: 200,
          headers: { 'content-type': document.contentType },
          body: document.content ?? '',
          applied: false,
        };
      if (call.method !== 'PUT') return xml(405, 'MethodNotAllowed', 'The specified method is not allowed');
      if (call.headers['content-type'] !== document.contentType)
        return xml(403, 'SignatureDoesNotMatch', 'content-type');
      core.tables.transact(() => rows.documents.put(id, { ...document, content: call.body.toString('utf8') }));
      return { status: 200, body: '', applied: true };
    },
    finish(id, at) {
      const feed = rows.feeds.get(id);
      if (feed === undefined || feed.status !== 'OPEN') return;
      const ended = { ...feed, ...process(feed, at) };
      rows.feeds.put(id, ended);
      finished(ended, at);
    },
    clear() {
      rows.feeds.clear();
      rows.documents.clear();
    },
  };
}

type Message = z.output<typeof feedDocument>['messages'][number];

function readMessage(message: Message): { productType: string; patches: Patch[] } | null {
  const patch = patchMessage.safeParse(message);
  if (patch.success) return patch.data;
  const partial = partialUpdate.safeParse(message);
  if (!partial.success) return null;
  const patches = Object.entries(partial.data.attributes).map(
    ([name, value]): Patch => ({ op: 'replace', path: `/attributes/${name}`, value }),
  );
  return { productType: partial.data.productType, patches };
}

const badRequest = ({ messageId, sku }: Message): ReportIssue[] => [
  { messageId, sku, code: 'BAD_REQUEST', severity: 'ERROR', message: 'Invalid parameters provided.' },
];

const xml = (status: number, code: string, message: string): VendorReply => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  applied: false,
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(body);
  if (!result.success) throw invalidInput(result.error.issues.map((one) => one.path.join('.')).join(', '));
  return result.data;
}
