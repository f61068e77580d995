/**
 * Routing: which location serves a line.
 *
 *   the preferred location, then the default one, if it can serve the whole line (all its variants together);
 *   else the first by priority that can; else split over them in that order. Only the rest is missing.
 *
 * Pure. Used by the ledger (posting.ts) under the positions' locks, so that what it sees is what it takes.
 * Locations that serve no orders are never chosen; a location the caller names is not routed at all.
 */
import type { LocationId, VariantId } from '../ids.ts';
import type { Quantity } from '../quantity.ts';

/** A location as routing sees it. */
export interface Place {
  id: LocationId;
  code: string;
  isDefault: boolean;
  /** Lower serves first. */
  priority: number;
  servesOrders: boolean;
}

export interface Need {
  variantId: VariantId;
  units: Quantity;
}

export interface Take {
  variantId: VariantId;
  locationId: LocationId;
  units: Quantity;
}

/** All locations, the one routing likes best first: default, then priority, then code (so that ties are stable). */
export function inRoutingOrder(places: readonly Place[]): Place[] {
  return [...places].sort(
    (a, b) =>
      Number(b.isDefault) - Number(a.isDefault) ||
      a.priority - b.priority ||
      (a.code < b.code ? -1 : Number(a.code > b.code)),
  );
}

/**
 * @param order ids of the locations that serve orders, best first
 * @param free units of a variant at a location that nobody claims
 * @returns takes in the order of the needs; `missing` only where all locations together have too little
 */
export function routeLine(
  needs: readonly Need[],
  order: readonly LocationId[],
  free: (variantId: VariantId, locationId: LocationId) => number,
): { takes: Take[]; missing: Need[] } {
  const whole = order.find((locationId) => needs.every((need) => free(need.variantId, locationId) >= need.units));
  if (whole !== undefined) return { takes: needs.map((need) => ({ ...need, locationId: whole })), missing: [] };
  const takes: Take[] = [];
  const missing: Need[] = [];
  for (const need of needs) {
    let left = need.units;
    for (const locationId of order) {
      const units = Math.min(left, free(need.variantId, locationId));
      if (units <= 0) continue;
      takes.push({ variantId: need.variantId, locationId, units });
      left -= units;
    }
    if (left > 0) missing.push({ variantId: need.variantId, units: left });
  }
  return { takes, missing };
}

/** The order with one location brought to the front; unchanged when it is not in it. */
export function preferring(
  order: readonly LocationId[],
  preferred: LocationId | null | undefined,
): readonly LocationId[] {
  if (preferred == null || order[0] === preferred || !order.includes(preferred)) return order;
  return [preferred, ...order.filter((id) => id !== preferred)];
}
