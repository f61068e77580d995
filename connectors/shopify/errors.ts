/**
 * Shopify's errors in our words. Pure.
 *
 * Three layers: the HTTP status, top-level GraphQL errors (the field was not executed, or nobody knows), and the
 * `userErrors` of inventorySetQuantities (nothing was written at all, some rows are to blame). Used by client.ts and stock.ts.
 */
import { ConnectorError } from '#core/errors.ts';
import type { StockWrite, StockWriteOutcome } from '../kit/ports.ts';
import type { GraphqlError, SetQuantitiesError } from './wire.ts';

/** Null when the status lets the body speak. 429 and 5xx never come here: the transport throws them. */
export function errorOfStatus(operation: string, status: number, body: string): ConnectorError | null {
  if (status === 200) return null;
  const details = { operation, status, answer: body.slice(0, 500) };
  const reason = CLOSED_SHOP[status];
  if (reason !== undefined)
    return new ConnectorError('connector.unauthorized', `${operation}: ${reason}.`, { ...details, reason });
  return new ConnectorError('connector.rejected', `${operation}: Shopify answered ${status}.`, details);
}

/** Statuses after which no call works until a person acts (`documented`, fact sheet §9). */
const CLOSED_SHOP: Readonly<Record<number, string>> = {
  401: 'the access token is not valid',
  402: 'the shop is frozen',
  403: 'access is forbidden',
  404: 'there is no such shop',
  423: 'the shop is locked',
};

/** Codes with which Shopify refuses before executing anything (`observed`, fact sheet §5.7 and §9). */
const REFUSED = new Set([
  'BAD_REQUEST',
  'INVALID_FIELD_ARGUMENTS',
  'INVALID_VARIABLE',
  'MAX_INPUT_SIZE_EXCEEDED',
  'MAX_COST_EXCEEDED',
  'GRAPHQL_VALIDATION_FAILED',
  'undefinedField',
  'argumentLiteralsIncompatible',
  'missingRequiredArguments',
]);

/** @param wait ms until the throttled call fits into the bucket, computed from the answer's cost */
export function errorOfGraphql(
  operation: string,
  errors: readonly GraphqlError[],
  write: boolean,
  wait: number,
): ConnectorError {
  const codes = errors.map((error) => error.extensions?.code ?? '');
  const message = `${operation}: ${errors.map((error) => error.message).join('; ')}`;
  const details = { operation, codes, messages: errors.map((error) => error.message).slice(0, 5) };
  if (codes.includes('THROTTLED'))
    return new ConnectorError('connector.rate_limited', message, { ...details, retryAfterMs: wait });
  if (codes.includes('ACCESS_DENIED') || codes.includes('SHOP_INACTIVE')) {
    const reason = codes.includes('ACCESS_DENIED') ? 'scope' : 'shop_inactive';
    return new ConnectorError('connector.unauthorized', message, { ...details, reason });
  }
  if (codes.every((code) => REFUSED.has(code))) return new ConnectorError('connector.rejected', message, details);
  return new ConnectorError(write ? 'connector.outcome_unknown' : 'connector.unavailable', message, details);
}

type Blame = 'stale' | 'row' | 'call' | 'new_key' | 'unknown_outcome';

/** What each code of InventorySetQuantitiesUserErrorCode asks for (`documented`, fact sheet §5.6). */
const BLAME: Readonly<Record<string, Blame>> = {
  CHANGE_FROM_QUANTITY_STALE: 'stale',
  COMPARE_QUANTITY_STALE: 'stale',
  COMPARE_QUANTITY_REQUIRED: 'row',
  INVALID_INVENTORY_ITEM: 'row',
  NON_MUTABLE_INVENTORY_ITEM: 'row',
  ITEM_NOT_STOCKED_AT_LOCATION: 'row',
  INVALID_LOCATION: 'row',
  INVALID_QUANTITY_NEGATIVE: 'row',
  INVALID_QUANTITY_TOO_HIGH: 'row',
  INVALID_QUANTITY_TOO_LOW: 'row',
  NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR: 'row',
  INVALID_NAME: 'call',
  INVALID_REASON: 'call',
  INVALID_REFERENCE_DOCUMENT: 'call',
  IDEMPOTENCY_KEY_PARAMETER_MISMATCH: 'call',
  IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED: 'new_key',
  // An earlier request with this key is still running and may yet be applied: only a read back can tell.
  IDEMPOTENCY_CONCURRENT_REQUEST: 'unknown_outcome',
  SERVICE_UNAVAILABLE: 'unknown_outcome',
};

/**
 * Answers every row of a refused write. One bad row fails the whole call, so rows that nobody blames are `not_applied`.
 * Throws connector.rejected when the call itself is wrong, connector.outcome_unknown when it may still be applied.
 */
export function outcomesOfRefusal(
  rows: readonly StockWrite[],
  errors: readonly SetQuantitiesError[],
): StockWriteOutcome[] {
  const codes = errors.map((error) => error.code ?? '');
  const details = {
    operation: 'inventorySetQuantities',
    codes,
    messages: errors.map((error) => error.message).slice(0, 5),
  };
  if (codes.some((code) => BLAME[code] === 'unknown_outcome'))
    throw new ConnectorError(
      'connector.outcome_unknown',
      'Shopify is still at work on this key, or cannot say.',
      details,
    );
  if (codes.some((code) => BLAME[code] === 'call'))
    throw new ConnectorError('connector.rejected', `inventorySetQuantities: ${details.messages.join('; ')}`, details);

  const blamed = new Map<number, StockWriteOutcome>();
  for (const error of errors) {
    const index = rowOf(error, rows);
    const row = index === null ? undefined : rows[index];
    if (index === null || row === undefined || BLAME[error.code ?? ''] === 'new_key') continue;
    const isStale = BLAME[error.code ?? ''] === 'stale';
    // A row that can never be written stays rejected, even if it is also stale.
    if (isStale && blamed.has(index)) continue;
    blamed.set(
      index,
      isStale
        ? { kind: 'stale', ref: row.ref }
        : { kind: 'rejected', ref: row.ref, code: error.code ?? 'UNKNOWN', reason: error.message },
    );
  }
  return rows.map((row, index) => blamed.get(index) ?? { kind: 'not_applied', ref: row.ref });
}

/** `["input","quantities","71","inventoryItemId"]` → 71. A call of one row has only one to blame. */
function rowOf(error: SetQuantitiesError, rows: readonly StockWrite[]): number | null {
  const at = error.field?.indexOf('quantities') ?? -1;
  const index = at < 0 ? Number.NaN : Number(error.field?.[at + 1]);
  if (Number.isInteger(index) && index >= 0 && index < rows.length) return index;
  return rows.length === 1 ? 0 : null;
}
