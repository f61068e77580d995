/**
 * Goods: what moves units between buckets, places and the outside. A wish is refused beyond what is free; a fact makes room:
 * it displaces the newest claims, and what the book lacks is found first.
 *
 * Pure; called by posting.ts. What is freed here is filled there, after the command.
 */
import { assert } from '../errors.ts';
import type { LocationId, VariantId } from '../ids.ts';
import { assertUnits } from '../quantity.ts';
import type { Book, PositionState } from './book.ts';
import type { Desk, Found, MovementKind, Outcome } from './desk.ts';
import type { Bucket } from './disposition.ts';
import type * as command from './movement.ts';
import type { Missing } from './movement.ts';
import { available } from './position.ts';

export function receive(
  desk: Desk,
  { variantId, locationId, units, bucket = 'sellable', from = 'outside' }: command.Receive,
): Outcome {
  assertUnits(units, 'received units');
  const position = desk.book.position(variantId, locationId);
  assert(from === 'outside' || bucket !== 'incoming', 'incoming goods cannot arrive into incoming');
  const expected = from === 'incoming' ? Math.min(units, position.now.incoming) : 0;
  if (expected > 0) carry(desk, position, 'incoming', position, bucket, expected, 'receipt');
  if (units > expected) bringIn(desk, variantId, locationId, bucket, units - expected, 'receipt');
  return 'done';
}

export function adjust(
  desk: Desk,
  { variantId, locationId, change, bucket = 'sellable', to = 'outside', fact }: command.Adjust,
): Outcome {
  assertUnits(Math.abs(change), 'adjusted units');
  if (change > 0) return bringIn(desk, variantId, locationId, bucket, change, 'adjustment');
  assert(to !== bucket, 'an adjustment must leave its bucket', { bucket });
  const position = desk.book.position(variantId, locationId);
  const refused = makeRoom(desk, position, bucket, -change, fact ? 'fact' : 'wish', 'adjusted_beyond_book');
  if (refused) return refused;
  if (to === 'outside') takeOut(desk, position, bucket, -change, 'adjustment');
  else carry(desk, position, bucket, position, to, -change, 'disposition_change');
  return 'done';
}

export function count(desk: Desk, { variantId, locationId, bucket = 'sellable', set }: command.Count): Outcome {
  assertUnits(set, 'counted units', 0);
  const position = desk.book.position(variantId, locationId);
  const change = set - position.now[bucket];
  // The answer tells before and after even when the book was right.
  desk.book.shift(position, bucket, 0);
  if (change > 0) return bringIn(desk, variantId, locationId, bucket, change, 'count');
  if (change < 0) {
    makeRoom(desk, position, bucket, -change, 'fact', 'adjusted_beyond_book');
    takeOut(desk, position, bucket, -change, 'count');
  }
  return 'done';
}

export function move(
  desk: Desk,
  { variantId, locationId, units, from, to, displaceClaims = false }: command.Move,
): Outcome {
  assertUnits(units, 'moved units');
  assert(from !== to, 'a move must change the bucket', { from });
  const position = desk.book.position(variantId, locationId);
  const refused = makeRoom(
    desk,
    position,
    from,
    units,
    displaceClaims ? 'displacing wish' : 'wish',
    'adjusted_beyond_book',
  );
  if (refused) return refused;
  carry(desk, position, from, position, to, units, 'disposition_change');
  return 'done';
}

export function transfer(
  desk: Desk,
  { variantId, fromLocationId, toLocationId, units, bucket = 'sellable', displaceClaims = false }: command.Transfer,
): Outcome {
  assertUnits(units, 'transferred units');
  assert(fromLocationId !== toLocationId, 'a transfer must change the location', { fromLocationId });
  const position = desk.book.position(variantId, fromLocationId);
  const refused = makeRoom(
    desk,
    position,
    bucket,
    units,
    displaceClaims ? 'displacing wish' : 'wish',
    'adjusted_beyond_book',
  );
  if (refused) return refused;
  carry(desk, position, bucket, desk.book.position(variantId, toLocationId), bucket, units, 'transfer');
  return 'done';
}

export function bringIn(
  desk: Desk,
  variantId: VariantId,
  locationId: LocationId,
  bucket: Bucket,
  units: number,
  kind: MovementKind,
): Outcome {
  assertUnits(units, 'units');
  const position = desk.book.position(variantId, locationId);
  desk.book.shift(position, bucket, units);
  desk.movements.push({ variantId, units, from: null, to: { locationId, bucket }, kind, reason: desk.reason });
  return 'done';
}

export function takeOut(desk: Desk, position: PositionState, bucket: Bucket, units: number, kind: MovementKind): void {
  const { variantId, locationId } = position;
  desk.book.shift(position, bucket, -units);
  desk.movements.push({ variantId, units, from: { locationId, bucket }, to: null, kind, reason: desk.reason });
}

function carry(
  desk: Desk,
  from: PositionState,
  fromBucket: Bucket,
  to: PositionState,
  toBucket: Bucket,
  units: number,
  kind: MovementKind,
): void {
  desk.book.shift(from, fromBucket, -units);
  desk.book.shift(to, toBucket, units);
  desk.movements.push({
    variantId: from.variantId,
    units,
    from: { locationId: from.locationId, bucket: fromBucket },
    to: { locationId: to.locationId, bucket: toBucket },
    kind,
    reason: desk.reason,
  });
}

/** Makes `units` of a bucket free to leave, or says what is missing. A fact displaces claims, then finds what the book lacks. */
export function makeRoom(
  desk: Desk,
  position: PositionState,
  bucket: Bucket,
  units: number,
  how: 'wish' | 'displacing wish' | 'fact',
  beyond: Found['kind'],
): { missing: Missing[] } | null {
  const free = () => (bucket === 'sellable' ? available(position.now) : position.now[bucket]);
  const allowed = how === 'displacing wish' ? position.now[bucket] : how === 'wish' ? free() : units;
  const { variantId, locationId } = position;
  if (units > allowed) return { missing: [{ variantId, locationId, missing: units - allowed }] };
  if (units > free() && bucket === 'sellable') displace(desk.book, position, units - free());
  const lacking = units - free();
  // A pass that lacks claims it has not loaded is thrown away; what it finds here then does not count.
  if (lacking > 0) find(desk, position, bucket, lacking, beyond);
  return null;
}

function find(desk: Desk, position: PositionState, bucket: Bucket, units: number, kind: Found['kind']): void {
  const { variantId, locationId } = position;
  desk.book.shift(position, bucket, units);
  desk.movements.push({ variantId, units, from: null, to: { locationId, bucket }, kind: 'adjustment', reason: kind });
  desk.found.push({ kind, variantId, locationId, units });
}

/** A fact takes goods that are claimed: the newest claims become shortfalls and keep their place in the queue. */
function displace(book: Book, position: PositionState, units: number): void {
  let left = units;
  for (const row of book.displaceable(position)) {
    const n = Math.min(row.open, left);
    if (n <= 0) break;
    const terms = row.origin === null ? null : { origin: row.origin, expiresAt: row.expiresAt };
    book.drop(row, n, 'displace', null);
    book.owe(row.as, row.claimId, row.variantId, n, 'displace', terms, row.seq);
    left -= n;
  }
}
