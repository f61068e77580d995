/**
 * Position: the numbers for (variant, location) and what must always hold of them.
 *
 *   every bucket ≥ 0, committed + reserved ≤ sellable             (the database refuses anything else)
 *   available = sellable − committed − reserved                   (never negative: what does not fit is a shortfall)
 */
import type { PositionNumbers } from './movement.ts';

export const emptyPosition: Readonly<PositionNumbers> = Object.freeze({
  sellable: 0,
  damaged: 0,
  quarantine: 0,
  expired: 0,
  incoming: 0,
  committed: 0,
  reserved: 0,
});

/** Units that are here and owed to nobody. */
export function available(position: Pick<PositionNumbers, 'sellable' | 'committed' | 'reserved'>): number {
  return position.sellable - position.committed - position.reserved;
}

/** Units physically there, all dispositions; `incoming` is not. */
export function onHand(position: Pick<PositionNumbers, 'sellable' | 'damaged' | 'quarantine' | 'expired'>): number {
  return position.sellable + position.damaged + position.quarantine + position.expired;
}
