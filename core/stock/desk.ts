/**
 * Desk: what a rule has before it while one command is decided, and what the rules put on it: movements, and goods that had
 * to be found. Shared by goods.ts, claims.ts and shipping.ts; made by posting.ts.
 */
import type { LocationId, VariantId } from '../ids.ts';
import type { Book } from './book.ts';
import type { Bucket } from './disposition.ts';
import type { Missing, NothingResult } from './movement.ts';

export type MovementKind =
  | 'receipt'
  | 'shipment'
  | 'transfer'
  | 'adjustment'
  | 'count'
  | 'return'
  | 'disposition_change';

export interface Side {
  locationId: LocationId;
  bucket: Bucket;
}

/** Goods went from one side to the other; null = outside. */
export interface MovementDraft {
  variantId: VariantId;
  units: number;
  from: Side | null;
  to: Side | null;
  kind: MovementKind;
  reason: string;
}

/** A fact needed goods the book did not have: they were booked as found first. */
export interface Found {
  kind: 'shipped_beyond_book' | 'adjusted_beyond_book';
  variantId: VariantId;
  locationId: LocationId;
  units: number;
}

/** Either what is missing of a wish, or a reason why there is nothing to do, or done. */
export type Outcome = { missing: Missing[] } | NothingResult['reason'] | 'done';

export interface Desk {
  book: Book;
  now: number;
  movements: MovementDraft[];
  found: Found[];
  reason: string;
}
