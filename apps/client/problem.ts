/** A call that did not give its answer: the API's problem+json as one typed error, also for a server that is not there. */

export interface FieldProblem {
  field: string;
  message: string;
  [more: string]: unknown;
}

export class ApiError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** A code of docs/errors.md, `client.unreachable` without an answer, `client.unreadable` for an answer that is not ours. */
  readonly code: string;
  readonly title: string;
  readonly errors: readonly FieldProblem[];
  readonly requestId: string | null;
  /** Seconds to wait before the next try, when the server said so. */
  readonly retryAfter: number | null;

  constructor(fields: {
    status: number;
    code: string;
    title: string;
    detail: string;
    errors?: readonly FieldProblem[];
    requestId?: string | null;
    retryAfter?: number | null;
    cause?: unknown;
  }) {
    super(fields.detail, { cause: fields.cause });
    this.name = 'ApiError';
    this.status = fields.status;
    this.code = fields.code;
    this.title = fields.title;
    this.errors = fields.errors ?? [];
    this.requestId = fields.requestId ?? null;
    this.retryAfter = fields.retryAfter ?? null;
  }
}

const text = (value: unknown, otherwise: string): string =>
  typeof value === 'string' && value !== '' ? value : otherwise;

/** The error an answer of 400 or more stands for. */
export async function problemOf(response: Response): Promise<ApiError> {
  const requestId = response.headers.get('x-request-id');
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const common = { status: response.status, requestId, retryAfter: Number.isFinite(seconds) ? seconds : null };
  const body: unknown = await response.json().catch(() => null);
  if (typeof body !== 'object' || body === null)
    return new ApiError({
      ...common,
      code: 'client.unreadable',
      title: 'Unreadable answer',
      detail: `The server answered ${response.status} without saying why.`,
    });
  const { code, title, detail, errors } = body as Record<string, unknown>;
  return new ApiError({
    ...common,
    code: text(code, 'client.unreadable'),
    title: text(title, 'Error'),
    detail: text(detail, `The server answered ${response.status}.`),
    errors: Array.isArray(errors) ? (errors as FieldProblem[]) : [],
  });
}

export function unreachable(cause: unknown): ApiError {
  return new ApiError({
    status: 0,
    code: 'client.unreachable',
    title: 'No answer',
    detail: 'SyncState does not answer.',
    cause,
  });
}
