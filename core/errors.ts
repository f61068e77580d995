/**
 * Faults: things that went wrong and are thrown. Expected outcomes are values (`{ kind: 'insufficient', … }`), not these.
 * `code` never changes once released (docs/errors.md lists all); `details` is safe to log: no secret ever goes in.
 */
export class CodedError extends Error {
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, details: Record<string, unknown> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }
}

/** What a vendor call can come to when it does not succeed, and what the caller does about it. */
export type ConnectorErrorCode =
  /** Wait `details.retryAfterMs`; counts against the deadline, not the attempts. */
  | 'connector.rate_limited'
  /** Never reached the vendor, or a read failed: safe to repeat with back-off. */
  | 'connector.unavailable'
  /** A write timed out or got a 5xx after sending: read back, then decide; never resend blindly. */
  | 'connector.outcome_unknown'
  /** The token is dead: pause the connection, tell the tenant. */
  | 'connector.unauthorized'
  /** The vendor says our data is wrong: stop, show the listing or order. */
  | 'connector.rejected'
  /** The reply does not match `wire.ts`: keep the raw body, alert. */
  | 'connector.unreadable';

/** Vendors' words stand in these messages, and vendors say what they like: beyond this it is cut. */
const LONGEST_MESSAGE = 4_000;

export class ConnectorError extends CodedError {
  declare readonly code: ConnectorErrorCode;
  readonly retryAfterMs: number | null;

  constructor(
    code: ConnectorErrorCode,
    message: string,
    details: Record<string, unknown> & { retryAfterMs?: number } = {},
    cause?: unknown,
  ) {
    super(code, message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message, details, cause);
    this.retryAfterMs = details.retryAfterMs ?? null;
  }
}

/** `store.conflict`: a lost race, retry bounded. `store.mismatch`: same key, other content: stop. `store.unavailable`: no database. */
export type StoreErrorCode = 'store.conflict' | 'store.mismatch' | 'store.unavailable';

export class StoreError extends CodedError {
  declare readonly code: StoreErrorCode;
}

/** A mistake of ours. Fails the job, is logged as an error, and is never retried quietly. */
export class AssertionFault extends CodedError {
  constructor(message: string, details: Record<string, unknown> = {}) {
    super('assertion', message, details);
  }
}

export function assert(condition: unknown, message: string, details: Record<string, unknown> = {}): asserts condition {
  if (!condition) throw new AssertionFault(message, details);
}
