/**
 * The only HTTP of this folder besides auth.ts: one function per Amazon operation, each one call over the kit's
 * transport. Paths and query strings are the SDK's own (`…AxiosParamCreator`: one encoded segment per SKU, commas
 * between list values); the call itself is ours, because budgets, time limits, outcomes and the log live in the
 * transport (NOTES.md, "The SDK").
 *
 * Rules: a dead access token is renewed and the call repeated once (nothing was done with a dead token); a 2xx body is
 * validated before anyone reads it; a write whose answer cannot be read may have been applied, so it is unknown.
 */
import {
  type ListingsItemPatchRequest,
  ListingsItemsApiAxiosParamCreator,
} from '@sp-api-sdk/listings-items-api-2021-08-01';
import { OrdersApiAxiosParamCreator } from '@sp-api-sdk/orders-api-2026-01-01';
import { z } from 'zod';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import type { CallOptions, OutsideAnswer, OutsideCall, Transport } from '../kit/ports.ts';
import type { TokenSource } from './auth.ts';
import { isTokenDead, jsonOrNull, refusal, vendorErrors } from './errors.ts';
import { API_VERSIONS, BUDGETS, type Bucket, manifest } from './manifest.ts';
import * as wire from './wire.ts';

/** What a call came to. `vendorAt`: see `vendorTimeOf`. */
export interface Answered<T> {
  value: T;
  vendorAt: number;
}

/** Our data was refused: nothing was written. `status` 4xx; code and reason in the vendor's words through `fault`. */
export interface Refused {
  status: number;
  errors: wire.VendorError[];
  fault: ConnectorError;
}

export type Answer<T> = { kind: 'answered'; answer: Answered<T> } | { kind: 'refused'; refused: Refused };

export interface AmazonClientOptions {
  /** Scheme, host and perhaps a path prefix; no slash at the end. */
  baseUrl: string;
  sellerId: string;
  tokens: TokenSource;
  /** For the application's own calls. */
  grantless: TokenSource;
  transport: Transport;
  clock: Clock;
}

interface Call<T> {
  operation: Bucket;
  method: 'GET' | 'PATCH' | 'POST' | 'DELETE';
  /** From the root, encoded, with the query string. */
  path: string;
  body?: string;
  write: boolean;
  /** The application's own, without a seller: another token. */
  grantless?: boolean;
  /** The answer holds a presigned address. */
  presigned?: boolean;
  schema: z.ZodType<T>;
}

interface RequestShape {
  url: string;
  options: { data?: unknown };
}

/** Required, `AppName/Version (Language=…)`, at most 500 characters: documented [§2.3]. */
const USER_AGENT = 'SyncState/0.1 (Language=TypeScript)';

/** No Retry-After exists; at least two seconds, at least one token: advice [§9]. */
const RATE_LIMITED_AT_LEAST_MS = 2000;

const NOTIFICATIONS = `/notifications/${API_VERSIONS.notifications}`;
const FEEDS = `/feeds/${API_VERSIONS.feeds}`;

const listings = ListingsItemsApiAxiosParamCreator();
const orders = OrdersApiAxiosParamCreator();

export type AmazonClient = ReturnType<typeof amazonClient>;

export function amazonClient(options: AmazonClientOptions) {
  const { sellerId } = options;

  return {
    /** One listing as all `marketplaceIds` know it; refused with 404 when there is none. */
    async getListingsItem(
      sku: string,
      marketplaceIds: string[],
      call: CallOptions,
    ): Promise<Answer<wire.ListingsItem>> {
      const shape = await listings.getListingsItem(sellerId, sku, marketplaceIds, undefined, [
        'summaries',
        'fulfillmentAvailability',
        'issues',
      ]);
      return read('getListingsItem', shape, wire.listingsItem, call);
    },

    /** Up to 20 listings by SKU. A SKU with a comma cannot be asked for here: values are joined by commas [§2.3]. */
    async findListings(
      skus: string[],
      marketplaceIds: string[],
      call: CallOptions,
    ): Promise<Answer<wire.ListingsPage>> {
      const shape = await listings.searchListingsItems(
        sellerId,
        marketplaceIds,
        undefined,
        ['summaries', 'fulfillmentAvailability'],
        skus,
        'SKU',
        ...none(11),
        20,
      );
      return read('searchListingsItems', shape, wire.listingsPage, call);
    },

    /** One page of all listings created at or after `createdAfter` and changed at or after `changedSince` (null: since ever), oldest first. */
    async listListings(
      page: { createdAfter: number | null; token: string | null; size: number; changedSince: number | null },
      marketplaceIds: string[],
      call: CallOptions,
    ): Promise<Answer<wire.ListingsPage>> {
      const shape = await listings.searchListingsItems(
        sellerId,
        marketplaceIds,
        undefined,
        ['summaries', 'fulfillmentAvailability'],
        ...none(4),
        page.createdAfter === null ? undefined : new Date(page.createdAfter).toISOString(),
        undefined,
        page.changedSince === null ? undefined : new Date(page.changedSince).toISOString(),
        ...none(4),
        'createdDate',
        'ASC',
        page.size,
        page.token ?? undefined,
      );
      return read('searchListingsItems', shape, wire.listingsPage, call);
    },

    /** Sends one patch for one marketplace; more per call are not supported: documented [§3.1]. */
    async patchListingsItem(
      sku: string,
      marketplaceId: string,
      body: ListingsItemPatchRequest,
      call: CallOptions,
    ): Promise<Answer<wire.Submission>> {
      const shape = await listings.patchListingsItem(sellerId, sku, [marketplaceId], body, ['issues']);
      return request(
        {
          operation: 'patchListingsItem',
          method: 'PATCH',
          path: pathOf(shape),
          body: JSON.stringify(body),
          write: true,
          schema: wire.submission,
        },
        call,
      );
    },

    /** What Amazon would say to this patch; nothing is stored: documented [§3.1, §3.3]. */
    async previewListingsItem(
      sku: string,
      marketplaceId: string,
      body: ListingsItemPatchRequest,
      call: CallOptions,
    ): Promise<Answer<wire.Submission>> {
      const shape = await listings.patchListingsItem(
        sellerId,
        sku,
        [marketplaceId],
        body,
        ['issues'],
        'VALIDATION_PREVIEW',
      );
      const path = pathOf(shape);
      const sent = { method: 'PATCH' as const, path, body: JSON.stringify(body), write: false };
      return request({ operation: 'previewListingsItem', ...sent, schema: wire.submission }, call);
    },

    // ── feeds (no SDK package of this API is installed: six paths) ──

    /** A place for a document. Repeating it leaves one unused, which does no harm. */
    async createFeedDocument(
      contentType: string,
      call: CallOptions,
    ): Promise<Answer<z.infer<typeof wire.newDocument>>> {
      const body = JSON.stringify({ contentType });
      const sent = { method: 'POST' as const, path: `${FEEDS}/documents`, body, write: false, presigned: true };
      return request({ operation: 'createFeedDocument', ...sent, schema: wire.newDocument }, call);
    },

    /** Starts the work. Not idempotent: without an answer there may be a feed. */
    async createFeed(
      feed: { feedType: string; marketplaceIds: string[]; inputFeedDocumentId: string },
      call: CallOptions,
    ): Promise<Answer<z.infer<typeof wire.newFeed>>> {
      const sent = { method: 'POST' as const, path: `${FEEDS}/feeds`, body: JSON.stringify(feed), write: true };
      return request({ operation: 'createFeed', ...sent, schema: wire.newFeed }, call);
    },

    async getFeed(feedId: string, call: CallOptions): Promise<Answer<wire.Feed>> {
      const shape = { url: `${FEEDS}/feeds/${encodeURIComponent(feedId)}`, options: {} };
      return read('getFeed', shape, wire.feed, call);
    },

    /** One page of 100, newest first; a token stands alone: documented [§4.1]. */
    async getFeeds(
      asked: { feedType: string; createdSince: number } | { nextToken: string },
      call: CallOptions,
    ): Promise<Answer<wire.FeedsPage>> {
      const query = new URLSearchParams(
        'nextToken' in asked
          ? { nextToken: asked.nextToken }
          : { feedTypes: asked.feedType, pageSize: '100', createdSince: new Date(asked.createdSince).toISOString() },
      );
      return read('getFeeds', { url: `${FEEDS}/feeds?${query}`, options: {} }, wire.feedsPage, call);
    },

    /** Only while IN_QUEUE; what came of it, `getFeed` tells. */
    async cancelFeed(feedId: string, call: CallOptions): Promise<Answer<unknown>> {
      const sent = { method: 'DELETE' as const, path: `${FEEDS}/feeds/${encodeURIComponent(feedId)}`, write: false };
      return request({ operation: 'cancelFeed', ...sent, schema: z.unknown() }, call);
    },

    async getFeedDocument(documentId: string, call: CallOptions): Promise<Answer<z.infer<typeof wire.feedDocument>>> {
      const path = `${FEEDS}/documents/${encodeURIComponent(documentId)}`;
      const sent = { method: 'GET' as const, path, write: false, presigned: true };
      return request({ operation: 'getFeedDocument', ...sent, schema: wire.feedDocument }, call);
    },

    /** The bytes to a presigned address: exactly the declared type, nothing of ours besides: documented [§4.1]. */
    uploadDocument: (url: string, contentType: string, body: string, call: CallOptions): Promise<OutsideAnswer> =>
      atDocument(
        { operation: 'uploadDocument', method: 'PUT', url, headers: { 'content-type': contentType }, body },
        call,
      ),

    downloadDocument: (url: string, call: CallOptions): Promise<OutsideAnswer> =>
      atDocument({ operation: 'downloadDocument', method: 'GET', url, headers: {}, binary: true }, call),

    /** Amazon's warehouse stock of up to 50 SKUs in one marketplace. No SDK package of this API is installed. */
    async getInventorySummaries(
      skus: string[],
      marketplaceId: string,
      call: CallOptions,
    ): Promise<Answer<wire.InventorySummaries>> {
      const query = new URLSearchParams({
        granularityType: 'Marketplace',
        granularityId: marketplaceId,
        marketplaceIds: marketplaceId,
        details: 'true',
        ...(skus.length === 1 ? { sellerSku: skus[0] ?? '' } : { sellerSkus: skus.join(',') }),
      });
      const shape = { url: `/fba/inventory/${API_VERSIONS.fbaInventory}/summaries?${query}`, options: {} };
      return read('getInventorySummaries', shape, wire.inventorySummaries, call);
    },

    /** Orders last updated at or after `since`, up to 100 per page, all marketplaces (one stock pool, §3.4.9). */
    async searchOrders(since: number, token: string | null, call: CallOptions): Promise<Answer<wire.OrdersPage>> {
      const shape = await orders.searchOrders(
        undefined,
        undefined,
        new Date(since).toISOString(),
        undefined,
        undefined,
        undefined,
        undefined,
        100,
        token ?? undefined,
        ['FULFILLMENT', 'CANCELLATION', 'PROCEEDS'],
      );
      return read('searchOrders', shape, wire.ordersPage, call);
    },

    /** Orders placed in [from, to), up to 100 per page, with what tells our own sales elsewhere apart and no more. */
    async searchPlaced(
      from: number,
      to: number,
      token: string | null,
      call: CallOptions,
    ): Promise<Answer<wire.OrdersPage>> {
      const shape = await orders.searchOrders(
        new Date(from).toISOString(),
        new Date(to).toISOString(),
        ...none(5),
        100,
        token ?? undefined,
        ['FULFILLMENT'],
      );
      return read('searchOrders', shape, wire.ordersPage, call);
    },

    // ── notifications (no SDK package of this API is installed: four paths; destinations are the application's, grantless) ──

    async getDestinations(call: CallOptions): Promise<Answer<z.infer<typeof wire.destinations>>> {
      const sent = { method: 'GET' as const, path: `${NOTIFICATIONS}/destinations`, write: false, grantless: true };
      return request({ operation: 'getDestinations', ...sent, schema: wire.destinations }, call);
    },

    /** A second one of the same queue is refused with 409: documented [§7.2]. So a lost answer is looked for, and repeating is safe. */
    async createDestination(
      name: string,
      arn: string,
      call: CallOptions,
    ): Promise<Answer<z.infer<typeof wire.newDestination>>> {
      const body = JSON.stringify({ name, resourceSpecification: { sqs: { arn } } });
      const sent = {
        method: 'POST' as const,
        path: `${NOTIFICATIONS}/destinations`,
        body,
        write: false,
        grantless: true,
      };
      return request({ operation: 'createDestination', ...sent, schema: wire.newDestination }, call);
    },

    /** The seller's subscription to a type; refused with 404 when there is none. */
    async getSubscription(type: string, call: CallOptions): Promise<Answer<z.infer<typeof wire.subscription>>> {
      const sent = { method: 'GET' as const, path: `${NOTIFICATIONS}/subscriptions/${type}`, write: false };
      return request({ operation: 'getSubscription', ...sent, schema: wire.subscription }, call);
    },

    async createSubscription(
      type: string,
      subscription: { payloadVersion: string; destinationId: string },
      call: CallOptions,
    ): Promise<Answer<unknown>> {
      const body = JSON.stringify(subscription);
      const sent = { method: 'POST' as const, path: `${NOTIFICATIONS}/subscriptions/${type}`, body, write: false };
      return request({ operation: 'createSubscription', ...sent, schema: z.unknown() }, call);
    },

    /** Grantless: documented [§2.4]. */
    async deleteSubscription(type: string, id: string, call: CallOptions): Promise<Answer<unknown>> {
      const path = `${NOTIFICATIONS}/subscriptions/${type}/${encodeURIComponent(id)}`;
      const sent = { method: 'DELETE' as const, path, write: false, grantless: true };
      return request({ operation: 'deleteSubscription', ...sent, schema: z.unknown() }, call);
    },

    /** One order; refused with 404 when it is unknown or not visible yet. */
    async getOrder(orderId: string, call: CallOptions): Promise<Answer<{ order: wire.Order }>> {
      const shape = await orders.getOrder(orderId, ['FULFILLMENT', 'CANCELLATION', 'PROCEEDS']);
      return read('getOrder', shape, wire.orderAnswer, call);
    },
  };

  /** The transport's list of hosts decides where a presigned address may lead. A refusal (expired, moved) is worth another address. */
  async function atDocument(
    call: Pick<OutsideCall, 'method' | 'url' | 'headers' | 'body' | 'binary'> & {
      operation: 'uploadDocument' | 'downloadDocument';
    },
    limits: CallOptions,
  ): Promise<OutsideAnswer> {
    const answer = await options.transport.request({
      ...call,
      write: false,
      presigned: true,
      budget: limits.budget,
      bucket: call.operation,
      timeoutMs: manifest.requestTimeoutMs,
      signal: limits.signal,
    });
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw new ConnectorError(
      'connector.unavailable',
      `${call.operation}: the document store answered ${answer.status}.`,
      {
        operation: call.operation,
        status: answer.status,
      },
    );
  }

  function read<T>(
    operation: Bucket,
    shape: RequestShape,
    schema: z.ZodType<T>,
    call: CallOptions,
  ): Promise<Answer<T>> {
    return request({ operation, method: 'GET', path: pathOf(shape), write: false, schema }, call);
  }

  async function request<T>(call: Call<T>, limits: CallOptions): Promise<Answer<T>> {
    const sentAt = options.clock.now();
    const answer = await sendAuthorised(call, limits);
    if (answer.status >= 200 && answer.status < 300) {
      return { kind: 'answered', answer: { value: readBody(call, answer), vendorAt: vendorTimeOf(answer, sentAt) } };
    }
    const fault = refusal(call.operation, answer.status, answer.body, answer.headers['x-amzn-requestid']);
    if (fault.code === 'connector.unauthorized') throw fault;
    return { kind: 'refused', refused: { status: answer.status, errors: vendorErrors(answer.body), fault } };
  }

  async function sendAuthorised<T>(call: Call<T>, limits: CallOptions): Promise<OutsideAnswer> {
    const tokens = call.grantless === true ? options.grantless : options.tokens;
    const token = await tokens.token(limits.signal);
    const answer = await send(call, token, limits);
    if (!isTokenDead(answer.status, vendorErrors(answer.body))) return answer;
    return send(call, await tokens.renew(token, limits.signal), limits);
  }

  async function send<T>(call: Call<T>, token: string, limits: CallOptions): Promise<OutsideAnswer> {
    const outside: OutsideCall = {
      operation: call.operation,
      method: call.method,
      url: options.baseUrl + call.path,
      headers: {
        'x-amz-access-token': token,
        'user-agent': USER_AGENT,
        accept: 'application/json',
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: call.body }),
      write: call.write,
      ...(call.presigned === true ? { presigned: true } : {}),
      budget: limits.budget,
      bucket: call.operation,
      timeoutMs: manifest.requestTimeoutMs,
      signal: limits.signal,
      mayLeave: call.write ? limits.mayLeave : undefined,
    };
    try {
      const answer = await options.transport.request(outside);
      learnRate(options.transport, call.operation, answer);
      return answer;
    } catch (error) {
      throw withWait(error, call.operation);
    }
  }
}

/** Calls per second of this seller and app, told on success, 400 and 404 when available; plans grow and shrink: documented [§9]. */
function learnRate(transport: Transport, bucket: Bucket, answer: OutsideAnswer): void {
  const ratePerSecond = Number(answer.headers['x-amzn-ratelimit-limit']);
  if (Number.isFinite(ratePerSecond) && ratePerSecond > 0) transport.report(bucket, { ratePerSecond });
}

/**
 * The vendor's clock when it answered: the Date header, whole seconds, so already rounded down. Without one, our own
 * clock before the call was sent, rounded down: too early is the safe side, because a sale is then at worst counted as
 * later than the reading, which makes us read again.
 */
export function vendorTimeOf(answer: OutsideAnswer, sentAt: number): number {
  const at = Date.parse(answer.headers.date ?? '');
  return Number.isNaN(at) ? Math.floor(sentAt / 1000) * 1000 : at;
}

/**
 * The SDK's path with spaces as %20 instead of '+': both are legal in a query, but only one reads the same for every
 * decoder. A literal plus is %2B there already, so no other '+' exists.
 */
function pathOf(shape: RequestShape): string {
  const [path = '', query] = shape.url.split(/\?(.*)/s);
  return query === undefined ? path : `${path}?${query.replaceAll('+', '%20')}`;
}

function readBody<T>(call: Call<T>, answer: OutsideAnswer): T {
  const parsed = call.schema.safeParse(jsonOrNull(answer.body));
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => issue.path.join('.')).slice(0, 5);
  const code = call.write ? 'connector.outcome_unknown' : 'connector.unreadable';
  throw new ConnectorError(code, `Amazon's answer to ${call.operation} does not match its model`, {
    operation: call.operation,
    status: answer.status,
    requestId: answer.headers['x-amzn-requestid'] ?? null,
    fields,
  });
}

/** Amazon names no time to wait with its 429: one token's worth of the documented plan [§9]. */
function withWait(error: unknown, bucket: Bucket): unknown {
  if (!(error instanceof ConnectorError) || error.code !== 'connector.rate_limited' || error.retryAfterMs !== null)
    return error;
  const retryAfterMs = Math.max(RATE_LIMITED_AT_LEAST_MS, Math.ceil(1000 / BUDGETS[bucket].ratePerSecond));
  return new ConnectorError('connector.rate_limited', error.message, { ...error.details, retryAfterMs }, error);
}

type Nones<N extends number, A extends undefined[] = []> = A['length'] extends N ? A : Nones<N, [...A, undefined]>;

/** The SDK's optional parameters that we leave out, by count. */
function none<N extends number>(count: N): Nones<N> {
  return new Array<undefined>(count).fill(undefined) as Nones<N>;
}
