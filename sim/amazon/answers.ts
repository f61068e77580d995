/**
 * Answers in Amazon's words: JSON bodies, the uniform error body, and the headers each status carries.
 *
 * `x-amzn-RequestId` is on every answer; `x-amzn-RateLimit-Limit` only on 2xx, 400 and 404, never on 429 (vendors/amazon.md
 * §9, documented). Error codes and messages: §10. Handlers throw `ApiError`; the gatekeeper turns it into the answer.
 */
import type { VendorReply } from '#sim/kit/model.ts';

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: string;
  constructor(status: number, code: string, message: string, details = '') {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export const invalidInput = (details: string): ApiError =>
  new ApiError(400, 'InvalidInput', 'Request has missing or invalid parameters and cannot be parsed.', details);

export const accessDenied = (details = ''): ApiError =>
  new ApiError(403, 'Unauthorized', 'Access to requested resource is denied.', details);

export const notFound = (details: string): ApiError =>
  new ApiError(404, 'NotFound', 'Requested resource not found.', details);

export const quotaExceeded = (): ApiError =>
  new ApiError(429, 'QuotaExceeded', 'You exceeded your quota for the requested resource.');

/** What a handler gives back; `body` undefined = none (204). */
export interface Answer {
  status: number;
  body?: unknown;
  applied: boolean;
}

export const read = (body: unknown): Answer => ({ status: 200, body, applied: false });

/** @param ratePerSecond null: the plan is not shown. */
export function toReply(answer: Answer, requestId: string, ratePerSecond: number | null): VendorReply {
  const shown = answer.status < 300 || answer.status === 400 || answer.status === 404;
  return {
    status: answer.status,
    headers: {
      ...(answer.body === undefined ? {} : { 'content-type': 'application/json' }),
      'x-amzn-RequestId': requestId,
      ...(shown && ratePerSecond !== null ? { 'x-amzn-RateLimit-Limit': String(ratePerSecond) } : {}),
    },
    body: answer.body === undefined ? '' : JSON.stringify(answer.body),
    applied: answer.applied,
  };
}

export const errorAnswer = (error: ApiError): Answer => ({
  status: error.status,
  body: { errors: [{ code: error.code, message: error.message, details: error.details }] },
  applied: false,
});

/** The error of a planted `status` fault, in the words of §10. */
export function errorForStatus(status: number): ApiError {
  switch (status) {
    case 400:
      return invalidInput('');
    case 401:
    case 403:
      return new ApiError(status, 'Unauthorized', 'Access to requested resource is denied.');
    case 404:
      return notFound('');
    case 429:
      return quotaExceeded();
    case 503:
      return new ApiError(503, 'ServiceUnavailable', 'Service is temporarily unavailable, please try again.');
    default:
      return status >= 500
        ? new ApiError(status, 'InternalFailure', 'We encountered an internal error. Please try again.')
        : new ApiError(status, 'BadRequest', 'The request was refused.');
  }
}
