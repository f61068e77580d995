/**
 * Availability: what can be sold of a variant, and how many bundles can be built of their parts.
 *
 *   plain:   Σ over the locations of available
 *   bundle:  Σ over locations of min over components of available[c, location] div units[c]
 *
 * The parts of a bundle must meet in one place. Buffers are no business of this file (publishable.ts).
 * Pure. Used by the API's views.
 */
import type { Quantity } from '../quantity.ts';
import type { PositionNumbers } from './movement.ts';
import { available } from './position.ts';

/** Σ available over the positions. */
export function totalAvailable(
  positions: readonly Pick<PositionNumbers, 'sellable' | 'committed' | 'reserved'>[],
): Quantity {
  return positions.reduce((sum, position) => sum + available(position), 0);
}

export interface Part<Key> {
  /** How the caller calls the component; handed back as `limiting`. */
  key: Key;
  /** Units of it in one bundle, ≥ 1. */
  units: number;
  /** Available units by location; a location that is not here has none. */
  at: readonly { location: string; available: number }[];
}

/**
 * Bundles that can be built where all parts are in one place (0 without parts), and the component that limits them:
 * the one of which all locations together make the fewest, the first of equals.
 */
export function buildable<Key>(parts: readonly Part<Key>[]): { builds: Quantity; limiting: Key | null } {
  const [first] = parts;
  if (!first) return { builds: 0, limiting: null };
  const at = (part: Part<Key>, location: string) =>
    part.at.find((place) => place.location === location)?.available ?? 0;
  let builds = 0;
  for (const { location } of first.at) {
    builds += Math.max(0, Math.min(...parts.map((part) => Math.floor(at(part, location) / part.units))));
  }
  const makes = (part: Part<Key>) => Math.floor(part.at.reduce((sum, place) => sum + place.available, 0) / part.units);
  const limiting = parts.reduce((fewest, part) => (makes(part) < makes(fewest) ? part : fewest), first);
  return { builds, limiting: limiting.key };
}
