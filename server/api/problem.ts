/**
 * Errors at the edge: every refusal is `application/problem+json` { type, title, status, code, detail, errors? }.
 * Codes are listed in docs/errors.md and never renamed. Texts say what happened, what it means for stock, and what to do.
 */
import { CodedError } from '#core/errors.ts';

export interface FieldProblem {
  field: string;
  message: string;
  [more: string]: unknown;
}

/** Thrown by routes; the error handler turns it into the answer. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: FieldProblem[] | undefined;
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    code: string,
    detail: string,
    errors?: FieldProblem[],
    headers: Record<string, string> = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }

  body(): Record<string, unknown> {
    return problemBody(this.status, this.code, this.message, this.errors);
  }
}

const titles: Record<number, string> = {
  400: 'The request cannot be read',
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Refused by a rule',
  413: 'Too large',
  415: 'Unknown content type',
  422: 'Cannot be done as asked',
  429: 'Too many requests',
  500: 'Our mistake',
  503: 'Not ready',
};

export function problemBody(
  status: number,
  code: string,
  detail: string,
  errors?: FieldProblem[],
): Record<string, unknown> {
  return {
    type: `https://syncstate.dev/errors/${code}`,
    title: titles[status] ?? 'Error',
    status,
    code,
    detail,
    ...(errors ? { errors } : {}),
  };
}

export const notFound = (what: string) => new Problem(404, 'api.not_found', `There is no ${what}.`);
export const badField = (field: string, message: string) =>
  new Problem(400, 'api.invalid', `${field}: ${message}`, [{ field, message }]);

function unavailable({ message, details }: CodedError): string {
  const what = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  return details.outcome === 'unknown'
    ? `${what} Whether it was booked is not known: ask again with the same Idempotency-Key, or look.`
    : `${what} Nothing was booked; try again in a moment.`;
}

/** Faults from below that have a meaning at the edge; everything else is a 500 whose text says nothing of our insides. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof CodedError) {
    if (error.code === 'store.unavailable')
      return new Problem(503, error.code, unavailable(error), undefined, { 'retry-after': '2' });
    if (error.code === 'store.conflict')
      return new Problem(409, error.code, 'Another request changed the same thing at the same moment. Try again.');
    if (error.code === 'store.mismatch') return new Problem(422, error.code, error.message);
    if (error.code.startsWith('domain.'))
      return new Problem(409, error.code, error.message, error.details.errors as FieldProblem[] | undefined);
    if (error.code === 'connector.rate_limited') return new Problem(503, error.code, error.message);
    if (error.code.startsWith('connector.')) return new Problem(502, error.code, error.message);
  }
  return new Problem(
    500,
    'api.fault',
    'Something failed on our side; it is logged. Stock is unchanged unless a later read says otherwise.',
  );
}
