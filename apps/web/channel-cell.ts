/**
 * What one channel shows of one SKU: the *observed* number, and a state only when it is not in step.
 *
 * A listing's targets (one per channel location) add up; several listings of the SKU on one channel do not: each offers
 * the same goods, so their numbers stand side by side. An unknown part makes the whole unknown, never 0.
 */
import type { InventoryItem, Listing } from '../client/types.ts';
import { heaviest, isQuiet } from './status.ts';

export interface ChannelCell {
  /** One per listing; null is unknown. */
  numbers: readonly (number | null)[];
  /** The heaviest state of its targets. */
  state: string;
  quiet: boolean;
  /** Shown minus wanted, where both are known and differ. */
  difference: number | null;
  reason: string | null;
  targets: readonly Listing[];
}

const sumOf = (targets: readonly Listing[], pick: (target: Listing) => number | null): number | null =>
  targets.reduce<number | null>((total, target) => {
    const value = pick(target);
    return total === null || value === null ? null : total + value;
  }, 0);

/** Null when the SKU is not offered there. */
export function channelCell(item: InventoryItem, connectionId: string): ChannelCell | null {
  const seen = new Map<string, Listing>();
  // Two listings on one stock key are two views of the same number.
  for (const target of item.listings)
    if (target.connectionId === connectionId)
      seen.set(JSON.stringify([target.stockKey, target.channelLocation]), target);
  const targets = [...seen.values()];
  if (targets.length === 0) return null;
  const state = heaviest(targets.map((target) => target.state));
  const byKey = [...new Set(targets.map((target) => target.stockKey))].map((key) =>
    targets.filter((target) => target.stockKey === key),
  );
  const observed = sumOf(targets, (target) => target.observed);
  const desired = sumOf(targets, (target) => target.desired);
  const quiet = isQuiet(state);
  return {
    numbers: byKey.map((group) => sumOf(group, (target) => target.observed)),
    state,
    quiet,
    difference: !quiet && observed !== null && desired !== null && observed !== desired ? observed - desired : null,
    reason: targets.find((target) => target.state === state)?.reason ?? null,
    targets,
  };
}

/** "99", "99 / 99", "—". */
export const numbersText = (cell: ChannelCell): string =>
  cell.numbers.map((value) => (value === null ? '—' : String(value))).join(' / ');

/** "+3", "−2": a true minus. */
export const signed = (value: number): string => (value < 0 ? `−${-value}` : `+${value}`);

/** When each channel's state of a SKU last changed, to tell later whether it has changed since. */
export function listingMarks(item: InventoryItem): ReadonlyMap<string, string> {
  const marks = new Map<string, string>();
  for (const { connectionId, updatedAt } of item.listings)
    if (updatedAt > (marks.get(connectionId) ?? '')) marks.set(connectionId, updatedAt);
  return marks;
}

/**
 * What became of a saved buffer: "Saved. Seen on 2 of 3 channels." A channel counts once it is in step *again*: its state
 * changed after the save, or it shows the new number already. The row of before the save proves nothing.
 */
export function savedText(item: InventoryItem, buffer: number, before: ReadonlyMap<string, string>): string {
  const now = listingMarks(item);
  if (now.size === 0) return 'Saved. No channel offers this SKU.';
  if (item.buffer !== buffer) return 'Saved. Reading the channels …';
  const seen = [...now].filter(([connectionId, mark]) => {
    const cell = channelCell(item, connectionId);
    return (
      cell?.quiet && (mark !== before.get(connectionId) || cell.numbers.every((number) => number === item.broadcast))
    );
  });
  return `Saved. Seen on ${seen.length} of ${now.size} channels.`;
}
