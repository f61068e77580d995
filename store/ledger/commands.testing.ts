/** Random commands over a small world, so that they meet: few variants, few places, few claims, few units. */
import fc from 'fast-check';
import { HoldId, LineId, LocationId, VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';

export interface Ground {
  variants: string[];
  places: string[];
  claims: string[];
}

export const now = Date.UTC(2026, 10, 21, 12);

/** A key is drawn from a small range, so that some repeat; `prefix` keeps runs apart. */
export function commands(ground: Ground, prefix: string, most: number): fc.Arbitrary<Command[]> {
  const variantId = fc.constantFrom(...ground.variants.map(VariantId));
  const locationId = fc.constantFrom(...ground.places.map(LocationId));
  const maybePlace = fc.option(locationId, { nil: null, freq: 3 });
  const claim = fc.constantFrom(...ground.claims);
  const units = fc.integer({ min: 1, max: 7 });
  const bucket = fc.constantFrom('sellable' as const, 'sellable' as const, 'damaged' as const, 'incoming' as const);
  const condition = fc.constantFrom('sellable' as const, 'sellable' as const, 'quarantine' as const);
  const lines = fc.array(fc.record({ claim, variantId, units, locationId: maybePlace, preferLocationId: maybePlace }), {
    minLength: 1,
    maxLength: 3,
  });
  const some = fc.array(fc.record({ variantId, units }), { minLength: 1, maxLength: 2 });
  const line = ({
    claim: id,
    ...rest
  }: {
    claim: string;
    variantId: VariantId;
    units: number;
    locationId: LocationId | null;
    preferLocationId: LocationId | null;
  }) => ({ ...rest, id });
  const body = fc.oneof(
    fc.record({ kind: fc.constant('receive' as const), variantId, locationId, units, bucket: condition }),
    fc.record({
      kind: fc.constant('receive' as const),
      variantId,
      locationId,
      units,
      from: fc.constant('incoming' as const),
    }),
    fc.record({
      kind: fc.constant('adjust' as const),
      variantId,
      locationId,
      change: fc.integer({ min: -6, max: 4 }).filter((n) => n !== 0),
      bucket,
      fact: fc.boolean(),
      to: fc.constantFrom('outside' as const, 'expired' as const),
    }),
    fc.record({
      kind: fc.constant('count' as const),
      variantId,
      locationId,
      set: fc.integer({ min: 0, max: 9 }),
      bucket,
    }),
    fc.record({ wish: fc.boolean(), lines }).map(({ wish, lines: all }) => ({
      kind: 'commit' as const,
      wish,
      lines: all.map((l) => ({ ...line(l), lineId: LineId(l.claim) })),
    })),
    fc.record({ wish: fc.boolean(), lines }).map(({ wish, lines: all }) => ({
      kind: 'commit' as const,
      wish,
      lines: all.map((l) => ({ ...line(l), lineId: LineId(l.claim) })),
    })),
    fc
      .record({
        wish: fc.boolean(),
        lines,
        origin: fc.constantFrom('own' as const, 'channel' as const),
        late: fc.constantFrom(-1, 0, 1, null),
      })
      .map(({ wish, lines: all, origin, late }) => ({
        kind: 'hold' as const,
        wish,
        origin,
        expiresAt: late === null ? null : now + late,
        lines: all.map((l) => ({ ...line(l), holdId: HoldId(l.claim) })),
      })),
    fc.record({ kind: fc.constant('confirm' as const), holdId: claim.map(HoldId) }),
    fc.record({
      kind: fc.constant('confirm' as const),
      holdId: claim.map(HoldId),
      lineId: claim.map(LineId),
      lines: some,
    }),
    fc.record({ kind: fc.constant('expire' as const), holdId: claim.map(HoldId) }),
    fc.record({
      kind: fc.constant('release' as const),
      claimId: claim.map(LineId),
      lines: fc.constant('all' as const),
    }),
    fc.record({ kind: fc.constant('release' as const), claimId: claim.map(LineId), lines: some }),
    fc.record({
      kind: fc.constant('ship' as const),
      lineId: claim.map(LineId),
      variantId,
      units,
      locationId: maybePlace,
    }),
    fc.record({ kind: fc.constant('ship' as const), variantId, units, locationId: maybePlace }),
    fc.record({ kind: fc.constant('return' as const), variantId, locationId, units, bucket: condition }),
    fc.record({
      kind: fc.constant('move' as const),
      variantId,
      locationId,
      units,
      from: fc.constant('sellable' as const),
      to: fc.constant('damaged' as const),
      displaceClaims: fc.boolean(),
    }),
    fc
      .record({ variantId, locationId, other: locationId, units, displaceClaims: fc.boolean() })
      .filter((t) => t.locationId !== t.other)
      .map((t) => ({
        kind: 'transfer' as const,
        variantId: t.variantId,
        fromLocationId: t.locationId,
        toLocationId: t.other,
        units: t.units,
        displaceClaims: t.displaceClaims,
      })),
  );
  const keyed = fc.record({ body, key: fc.integer({ min: 0, max: most * 8 }), at: fc.integer({ min: 0, max: 1000 }) });
  return fc
    .array(keyed, { minLength: 1, maxLength: most })
    .map((all) =>
      all.map(
        ({ body: b, key, at }) =>
          ({ ...b, key: `${prefix}:${key}`, businessAt: now + at, reason: 'random' }) as Command,
      ),
    );
}
