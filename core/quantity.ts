/**
 * Quantity: whole units, and nothing else, ever enters the ledger.
 *
 * One bound for all of it (a PostgreSQL integer), so that no sum of two valid quantities overflows a double
 * and a row that cannot be stored is refused at the edge rather than in a transaction.
 */
import { assert, CodedError } from './errors.ts';

/** Whole units, 0 … 2,147,483,647. */
export type Quantity = number;

export const MAX_QUANTITY = 2_147_483_647;

/** True for a whole number of units between 0 and the bound. */
export function isQuantity(value: unknown): value is Quantity {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_QUANTITY;
}

/** Refuses a sum that the book has no room for, however it came about; nothing of its transaction is written. */
export function tooMany(what: string, value: number, details: Record<string, unknown>): CodedError {
  return new CodedError(
    'domain.too_many',
    `${value} ${what} are more than can be booked in one place (${MAX_QUANTITY}).`,
    {
      ...details,
      value,
    },
  );
}

/** Throws an assertion unless the value is a whole number of units in range and, by default, more than zero. */
export function assertUnits(value: number, what: string, least: 0 | 1 = 1): void {
  assert(isQuantity(value) && value >= least, `${what} must be whole units from ${least} to ${MAX_QUANTITY}`, {
    value,
  });
}
