/**
 * A command's first result as it is kept for ever beside its effect key: short, because there is one per command.
 *
 *   {"p":[[variant, location, …7 before, …7 changes]],"c":[[claim, claimId, position index | variant, delta, event]]}   or   {"n":reason}
 */
import type { ClaimId, LocationId, VariantId } from '#core/ids.ts';
import type { ClaimEvent, ClaimKind, NothingResult, PositionNumbers, PostedResult } from '#core/stock/movement.ts';

const numbers = ['sellable', 'damaged', 'quarantine', 'expired', 'incoming', 'committed', 'reserved'] as const;
const kinds: readonly ClaimKind[] = ['commitment', 'hold', 'shortfall'];
/** Stored by index: only ever append. */
const claimEvents: readonly ClaimEvent[] = [
  'commit',
  'hold',
  'short',
  'fill',
  'displace',
  'move',
  'ship',
  'confirm',
  'expire',
  'release',
  'cancel',
];

type StoredPosition = [VariantId, LocationId, ...number[]];
type StoredClaim = [number, ClaimId, number | VariantId, number, number];
export type StoredResult = { p: StoredPosition[]; c: StoredClaim[] } | { n: NothingResult['reason'] };

export function toStored(result: PostedResult | NothingResult): StoredResult {
  if (result.kind === 'nothing') return { n: result.reason };
  const p = result.positions.map(
    ({ variantId, locationId, before, after }): StoredPosition => [
      variantId,
      locationId,
      ...numbers.map((name) => before[name]),
      ...numbers.map((name) => after[name] - before[name]),
    ],
  );
  const c = result.claims.map(({ claim, claimId, variantId, locationId, delta, event }): StoredClaim => {
    const at = p.findIndex((position) => position[0] === variantId && position[1] === locationId);
    return [kinds.indexOf(claim), claimId, at < 0 ? variantId : at, delta, claimEvents.indexOf(event)];
  });
  return { p, c };
}

export function fromStored(stored: StoredResult): PostedResult | NothingResult {
  if ('n' in stored) return { kind: 'nothing', reason: stored.n };
  const positions = stored.p.map(([variantId, locationId, ...values]) => ({
    variantId,
    locationId,
    before: Object.fromEntries(numbers.map((name, i) => [name, values[i]])) as unknown as PositionNumbers,
    after: Object.fromEntries(
      numbers.map((name, i) => [name, (values[i] ?? 0) + (values[i + 7] ?? 0)]),
    ) as unknown as PositionNumbers,
  }));
  const claims = stored.c.map(([kind, claimId, at, delta, event]) => {
    const position = typeof at === 'number' ? positions[at] : undefined;
    return {
      claim: kinds[kind] as ClaimKind,
      claimId,
      variantId: position?.variantId ?? (at as VariantId),
      locationId: position?.locationId ?? null,
      delta,
      event: claimEvents[event] as ClaimEvent,
    };
  });
  return { kind: 'posted', positions, claims };
}
