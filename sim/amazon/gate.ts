/**
 * The gate every Selling Partner API call passes (vendors/amazon.md §2.3, §9, §10):
 *
 *   path known? (else 403) → user agent? (else 403) → access token good, of the right grant? (else 403) →
 *   token bucket (profile `vendor`; else 429 without a rate header) → path decodable, body of the right type → handler
 *
 * The handler's work is one transaction; an `ApiError` undoes it and becomes the answer.
 */
import type { SimCore } from '#sim/kit/core.ts';
import type { VendorCall, VendorReply } from '#sim/kit/model.ts';
import { type Answer, ApiError, accessDenied, errorAnswer, invalidInput, quotaExceeded, toReply } from './answers.ts';
import { createBuckets, type Plan } from './buckets.ts';
import { isPreview } from './listings.ts';
import type { Lwa } from './lwa.ts';
import { type Operation, PREVIEW_PLAN } from './operations.ts';
import { paceOf } from './profile.ts';
import type { ApiRequest } from './request.ts';

/** Longer user agents are refused (§2.3, documented). */
const LONGEST_USER_AGENT = 500;

export type Handler = (request: ApiRequest) => Answer;

export interface Gate {
  answer(call: VendorCall, operation: Operation | null, rawParameters: Record<string, string>): VendorReply;
  refuse(error: ApiError, operation: Operation | null, retryAfterSeconds: number | null): VendorReply;
}

export function createGate(core: SimCore, lwa: Lwa, handlers: Record<string, Handler>): Gate {
  const buckets = createBuckets(core.clock);
  const limited = () => paceOf(core.profile.current()).limited;

  function planOf(call: VendorCall, operation: Operation): Plan {
    return operation.name === 'patchListingsItem' && isPreview(call.query) ? PREVIEW_PLAN : operation;
  }

  function pass(call: VendorCall, operation: Operation): void {
    const agent = call.headers['user-agent'] ?? '';
    if (agent === '' || agent.length > LONGEST_USER_AGENT)
      throw accessDenied('The user-agent header is missing or too long');
    const header = call.headers['x-amz-access-token'];
    const { kind } = lwa.check(typeof header === 'string' ? header : undefined);
    if (operation.caller !== 'either' && operation.caller !== kind) throw accessDenied();
    if (limited() && !buckets.take(planOf(call, operation))) throw quotaExceeded();
    const hasBody = call.method === 'POST' || call.method === 'PATCH' || call.method === 'PUT';
    if (hasBody && !/^application\/json\b/i.test(call.headers['content-type'] ?? ''))
      throw new ApiError(415, 'UnsupportedMediaType', 'The content type must be application/json.');
  }

  function carryOut(call: VendorCall, operation: Operation | null, rawParameters: Record<string, string>): Answer {
    if (operation === null) throw accessDenied();
    pass(call, operation);
    const handler = handlers[operation.name];
    if (handler === undefined) throw new Error(`No handler for ${operation.name}`);
    const request: ApiRequest = {
      parameters: decoded(rawParameters),
      query: call.query,
      baseUrl: call.baseUrl,
      json: () => parseBody(call.body),
    };
    return core.tables.transact(() => handler(request));
  }

  const rateOf = (call: VendorCall, operation: Operation | null) =>
    operation !== null && limited() ? planOf(call, operation).ratePerSecond : null;

  return {
    answer(call, operation, rawParameters) {
      try {
        return toReply(carryOut(call, operation, rawParameters), core.ids.uuid(), rateOf(call, operation));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        return toReply(errorAnswer(error), core.ids.uuid(), rateOf(call, operation));
      }
    },
    refuse(error, operation, retryAfterSeconds) {
      const rate = operation !== null && limited() ? operation.ratePerSecond : null;
      const reply = toReply(errorAnswer(error), core.ids.uuid(), rate);
      if (retryAfterSeconds === null) return reply;
      return { ...reply, headers: { ...reply.headers, 'retry-after': String(retryAfterSeconds) } };
    },
  };
}

function decoded(rawParameters: Record<string, string>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(rawParameters).map(([name, raw]) => [name, decodeURIComponent(raw)]));
  } catch {
    throw invalidInput('The path is not percent-encoded UTF-8');
  }
}

function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    throw invalidInput('The body is not JSON');
  }
}
