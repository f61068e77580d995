/**
 * Shipping: goods left. A line's own claims go first (at the place they left from, then elsewhere), then its shortfall; the
 * goods themselves always leave: who else claimed them waits, and what the book lacked is found.
 *
 * Pure; called by posting.ts.
 */
import { assert } from '../errors.ts';
import { holdOfLine, type LineId, type LocationId, type VariantId } from '../ids.ts';
import { assertUnits } from '../quantity.ts';
import type { Book, ClaimState, PositionState } from './book.ts';
import type { Desk, Outcome } from './desk.ts';
import { makeRoom, takeOut } from './goods.ts';
import type * as command from './movement.ts';
import { available } from './position.ts';

export function ship(desk: Desk, { lineId, variantId, units, locationId }: command.Ship): Outcome {
  assertUnits(units, 'shipped units');
  const { book } = desk;
  const leaving = new Map<PositionState, number>();
  const leave = (position: PositionState, n: number) => {
    if (n > 0) leaving.set(position, (leaving.get(position) ?? 0) + n);
  };
  const named = locationId === null ? null : book.position(variantId, locationId);
  let left = units;
  if (lineId !== undefined) {
    for (const row of shippable(book, lineId, variantId, locationId)) {
      const n = Math.min(row.open, left);
      if (n <= 0) continue;
      const claimedAt = book.position(variantId, row.locationId as LocationId);
      book.drop(row, n, named && named !== claimedAt ? 'move' : 'ship', row.kind === 'hold' ? 'spent' : null);
      leave(named ?? claimedAt, n);
      left -= n;
    }
  }
  if (left > 0 && named) leave(named, left);
  if (left > 0 && !named) leaveFree(book, variantId, left, leaving, leave);
  if (lineId !== undefined) payShortfalls(book, lineId, variantId, left);
  for (const [position, n] of leaving) {
    makeRoom(desk, position, 'sellable', n, 'fact', 'shipped_beyond_book');
    takeOut(desk, position, 'sellable', n, 'shipment');
    if (lineId !== undefined) book.countShipped(lineId, position, n);
  }
  return 'done';
}

/** A line's claims on goods: commitments before holds, the named location first, then in routing order. */
function shippable(book: Book, lineId: LineId, variantId: VariantId, locationId: LocationId | null): ClaimState[] {
  const near = (rows: ClaimState[]) =>
    rows.sort((a, b) => Number(b.locationId === locationId) - Number(a.locationId === locationId));
  return [
    ...near(book.rowsOf(lineId, 'commitment', variantId)),
    ...near(book.rowsOf(holdOfLine(lineId), 'hold', variantId)),
  ];
}

function payShortfalls(book: Book, lineId: LineId, variantId: VariantId, units: number): void {
  let left = units;
  const rows = book
    .rowsOf(lineId, 'shortfall', variantId)
    .sort((a, b) => (a.as === b.as ? 0 : a.as === 'commitment' ? -1 : 1));
  for (const row of rows) {
    const n = Math.min(row.open, left);
    if (n <= 0) continue;
    book.pay(row, n, 'ship', 'spent');
    left -= n;
  }
}

/**
 * Where unclaimed units left from when nobody says: the first serving location with enough free, else free goods in routing
 * order; what nobody has free leaves from the serving location routing likes best, else the default one.
 */
function leaveFree(
  book: Book,
  variantId: VariantId,
  units: number,
  leaving: ReadonlyMap<PositionState, number>,
  leave: (position: PositionState, n: number) => void,
): void {
  const positions = book.positionsOf(variantId);
  const serving = positions.filter((position) => position.servesOrders);
  const free = (position: PositionState) => available(position.now) - (leaving.get(position) ?? 0);
  const whole = serving.find((position) => free(position) >= units);
  let left = units;
  for (const position of whole ? [whole] : serving) {
    const n = Math.min(left, Math.max(0, free(position)));
    leave(position, n);
    left -= n;
  }
  if (left === 0) return;
  const last = serving[0] ?? positions[0];
  assert(last, 'a shipment needs a position', { variantId });
  leave(last, left);
}
