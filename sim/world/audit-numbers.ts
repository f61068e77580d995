/**
 * The number a target should show, by plain arithmetic from the design's text alone (design: 4.2), slowly and from scratch:
 *
 *   publishable = max(0, min(cap, shareBp × sellable_here div 10000 − buffer))
 *   plain    sellable_here = Σ over mapped locations of available
 *   bundle   sellable_here = min( Σ over locations of min over components of available div units,
 *                                 min over components of max(0, Σ available − the component's buffer) div units )
 *
 * Buffer, share and cap: the most specific of target, listing, variant, connection, organization. What is set above the
 * target is spent once over the listing's targets: the buffer off the default location's target first, then the others in
 * serving order; the cap is filled in the reverse order; the share is cut from the sum.
 */
import type { PositionRow, Rows, TargetRow } from './evidence.ts';

/** The rows by what they are looked up with. */
export interface Index {
  rows: Rows;
  sku(variantId: string | null): string | null;
  channelName(connectionId: string): string;
  position(variantId: string, locationId: string): PositionRow | undefined;
  code(locationId: string | null): string;
}

const key = (...parts: string[]): string => parts.join('|');

export function indexed(rows: Rows): Index {
  const skus = new Map(rows.variants.map(({ id, sku }) => [id, sku]));
  const names = new Map(rows.connections.map(({ id, name }) => [id, name]));
  const codes = new Map(rows.locations.map(({ id, code }) => [id, code]));
  const positions = new Map(rows.positions.map((row) => [key(row.variantId, row.locationId), row]));
  return {
    rows,
    sku: (variantId) => (variantId === null ? null : (skus.get(variantId) ?? variantId)),
    channelName: (connectionId) => names.get(connectionId) ?? connectionId,
    position: (variantId, locationId) => positions.get(key(variantId, locationId)),
    code: (locationId) => (locationId === null ? 'outside' : (codes.get(locationId) ?? locationId)),
  };
}

export interface NumberOptions {
  /** Units sold at a target that the rows do not know: taken off what can be sold there. By target id. */
  unbooked?: ReadonlyMap<string, number>;
  /** Whether the last units are kept for one connection (default) or offered by everyone. */
  scarcity?: boolean;
}

interface Place {
  target: TargetRow;
  locations: string[];
  isDefault: boolean;
  priority: number;
  units: number;
}

/** Numbers of all targets of the listings of this variant on this connection, by target id. */
export function numbersOf(
  index: Index,
  connectionId: string,
  variantId: string,
  options: NumberOptions = {},
): Map<string, number> {
  const { rows } = index;
  const targets = rows.targets.filter((one) => one.connectionId === connectionId && one.variantId === variantId);
  const listing = rows.listings.find((one) => one.connectionId === connectionId && one.variantId === variantId);
  const places = targets.map((target) => placeOf(rows, target)).sort(inServingOrder);
  const policy = (field: 'buffer' | 'shareBp' | 'cap') =>
    setting(rows, field, [
      ['listing', listing?.id],
      ['variant', variantId],
      ['connection', connectionId],
      ['organization', null],
    ]);
  const own = (target: TargetRow, field: 'buffer' | 'shareBp' | 'cap') => setting(rows, field, [['target', target.id]]);

  offer(index, variantId, places);
  for (const place of places) place.units = Math.max(0, place.units - (options.unbooked?.get(place.target.id) ?? 0));

  const share = policy('shareBp') ?? 10_000;
  let sum = 0;
  let given = 0;
  for (const place of places) {
    const ownShare = own(place.target, 'shareBp');
    if (ownShare !== null) place.units = Math.floor((ownShare * place.units) / 10_000);
    else {
      sum += place.units;
      place.units = Math.floor((share * sum) / 10_000) - given;
      given += place.units;
    }
  }

  let buffer = policy('buffer') ?? 0;
  for (const place of places) {
    const ownBuffer = own(place.target, 'buffer');
    const kept = Math.min(place.units, ownBuffer ?? buffer);
    if (ownBuffer === null) buffer -= kept;
    place.units -= kept;
  }

  let cap = policy('cap') ?? Number.POSITIVE_INFINITY;
  for (const place of [...places].reverse()) {
    const ownCap = own(place.target, 'cap');
    place.units = Math.min(place.units, ownCap ?? cap);
    if (ownCap === null) cap -= place.units;
  }

  const withheld = options.scarcity !== false && isWithheld(rows, connectionId, variantId);
  return new Map(places.map(({ target, units }) => [target.id, withheld ? 0 : units]));
}

function placeOf(rows: Rows, target: TargetRow): Place {
  const locations = rows.mappings
    .filter((one) => one.connectionId === target.connectionId && one.channelLocation === target.channelLocation)
    .map(({ locationId }) => locationId);
  const behind = rows.locations.filter(({ id }) => locations.includes(id));
  return {
    target,
    locations,
    isDefault: behind.some(({ isDefault }) => isDefault),
    priority: Math.min(Number.MAX_SAFE_INTEGER, ...behind.map(({ priority }) => priority)),
    units: 0,
  };
}

function inServingOrder(a: Place, b: Place): number {
  if (a.isDefault !== b.isDefault) return a.isDefault ? -1 : 1;
  if (a.priority !== b.priority) return a.priority - b.priority;
  return a.target.channelLocation < b.target.channelLocation ? -1 : 1;
}

function setting(
  rows: Rows,
  field: 'buffer' | 'shareBp' | 'cap',
  scopes: readonly [scope: string, id: string | null | undefined][],
): number | null {
  for (const [scope, id] of scopes) {
    const found = rows.policies.find((one) => one.scope === scope && (id === null || one.scopeId === id));
    const value = found?.[field] ?? null;
    if (value !== null) return value;
  }
  return null;
}

/** What can be sold at each place, before any setting. */
function offer(index: Index, variantId: string, places: Place[]): void {
  const { rows } = index;
  const parts = rows.components.filter((one) => one.variantId === variantId);
  const free = (variant: string, location: string): number => {
    const row = index.position(variant, location);
    return row === undefined ? 0 : Math.max(0, row.sellable - row.committed - row.reserved);
  };
  if (!rows.variants.some(({ id, isBundle }) => id === variantId && isBundle)) {
    for (const place of places) place.units = place.locations.reduce((sum, one) => sum + free(variantId, one), 0);
    return;
  }
  if (parts.length === 0) return;
  for (const place of places)
    place.units = place.locations.reduce(
      (sum, location) =>
        sum + Math.min(...parts.map(({ componentId, units }) => Math.floor(free(componentId, location) / units))),
      0,
    );
  const everywhere = [...new Set(places.flatMap(({ locations }) => locations))];
  const allowed = Math.min(
    ...parts.map(({ componentId, units }) => {
      const buffer = setting(rows, 'buffer', [['variant', componentId]]) ?? 0;
      const all = everywhere.reduce((sum, location) => sum + free(componentId, location), 0);
      return Math.floor(Math.max(0, all - buffer) / units);
    }),
  );
  let beyond = places.reduce((sum, { units }) => sum + units, 0) - allowed;
  for (const place of places) {
    const taken = Math.max(0, Math.min(beyond, place.units));
    place.units -= taken;
    beyond -= taken;
  }
}

/** The variant, or a part of it, is scarce and another connection has the last units. */
function isWithheld(rows: Rows, connectionId: string, variantId: string): boolean {
  const exempt = rows.policies.some(
    ({ scope, scopeId, lastUnits }) => scope === 'connection' && scopeId === connectionId && lastUnits === 0,
  );
  const parts = rows.components.filter((one) => one.variantId === variantId).map(({ componentId }) => componentId);
  return (
    !exempt &&
    rows.scarce.some((one) => [variantId, ...parts].includes(one.variantId) && one.connectionId !== connectionId)
  );
}
