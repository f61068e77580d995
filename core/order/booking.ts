/**
 * Booking: the ledger commands that bring an order's claims from what stands to what should stand.
 *
 *   should stand = 0 when cancelled, unmapped, a bundle parent or shipped by the channel; else wanted − shipped
 *   difference   > 0 commit (hold while pending), < 0 release; units the channel says have left are shipped
 *
 * A channel's order is a fact: what is there is taken, the rest are shortfalls. Per line the order is: confirm (a pending
 * order became certain), release, claim more, ship: so that goods which leave in this very version are claimed first.
 * Where the channel told which of its places lost the units, the location of ours behind it is preferred: the number
 * that fell there is then the number that stays right, instead of one falling and the other being pushed up and down.
 */
import { assert } from '../errors.ts';
import { holdOfLine, type LineId } from '../ids.ts';
import { MAX_QUANTITY } from '../quantity.ts';
import type { Command, Commit, Hold } from '../stock/movement.ts';
import type { Component, OrderLine, PreferredLocation } from './order.ts';

export interface LineBooking {
  id: LineId;
  components: readonly Component[];
  channelLocation: string | null;
  /** Line units that stand in the ledger now. */
  claimed: number;
  /** Line units that shall stand after this version. */
  target: number;
  /** Line units that leave with this version. */
  leaving: number;
}

export interface BookingContext {
  /** `order:{id}:r{revision}`. */
  key: string;
  businessAt: number;
  /** The order's number, for people. */
  reference: string;
  /** Claims that stand are holds. */
  wasPending: boolean;
  /** Claims that are made now are holds. */
  isPending: boolean;
  prefer: PreferredLocation;
}

/** Units a line should have claimed. `posted`: units of it that have left the ledger after this version. */
export function claimTarget(
  line: Pick<OrderLine, 'wanted' | 'bundleParent'>,
  order: { state: 'pending' | 'open' | 'cancelled'; fulfilledBy: 'us' | 'channel' },
  posted: number,
): number {
  if (order.state === 'cancelled' || order.fulfilledBy === 'channel' || line.bundleParent) return 0;
  return Math.max(0, line.wanted - posted);
}

export function book(lines: readonly LineBooking[], context: BookingContext): Command[] {
  const { key, businessAt, reference } = context;
  const keyed = (what: string, reason: string) => ({ key: `${key}:${what}`, businessAt, reference, reason });
  const commands: Command[] = [];
  const more: { line: LineBooking; units: number }[] = [];
  for (const line of lines) {
    if (context.wasPending && !context.isPending && line.claimed > 0 && line.target + line.leaving > 0) {
      commands.push({ ...keyed(`confirm:${line.id}`, 'sale'), kind: 'confirm', holdId: holdOfLine(line.id) });
    }
    const change = line.target + line.leaving - line.claimed;
    if (change < 0) commands.push(releaseOf(line, -change, keyed(`release:${line.id}`, 'order_changed')));
    if (change > 0) more.push({ line, units: change });
  }
  if (more.length > 0) commands.push(claimOf(more, context));
  for (const line of lines) {
    if (line.leaving === 0) continue;
    for (const part of line.components) {
      const what = `ship:${line.id}:${part.variantId}`;
      commands.push({
        ...keyed(what, 'shipped_by_channel'),
        kind: 'ship',
        lineId: line.id,
        variantId: part.variantId,
        units: times(line.leaving, part),
        locationId: null,
      });
    }
  }
  return commands;
}

function releaseOf(
  line: LineBooking,
  units: number,
  keyed: { key: string; businessAt: number; reference: string; reason: string },
): Command {
  const everything = units >= line.claimed;
  return {
    ...keyed,
    kind: 'release',
    claimId: line.id,
    lines: everything
      ? 'all'
      : line.components.map((part) => ({ variantId: part.variantId, units: times(units, part) })),
  };
}

function claimOf(more: readonly { line: LineBooking; units: number }[], context: BookingContext): Commit | Hold {
  const { key, businessAt, reference, isPending, prefer } = context;
  const parts = more.flatMap(({ line, units }) =>
    line.components.map((part) => ({
      lineId: line.id,
      variantId: part.variantId,
      units: times(units, part),
      locationId: null,
      preferLocationId: prefer(line.channelLocation),
    })),
  );
  const common = { businessAt, reference, reason: 'sale', wish: false } as const;
  if (!isPending) return { ...common, key: `${key}:commit`, kind: 'commit', lines: parts };
  return {
    ...common,
    key: `${key}:hold`,
    kind: 'hold',
    origin: 'channel',
    expiresAt: null,
    lines: parts.map(({ lineId, ...part }) => ({ ...part, holdId: holdOfLine(lineId) })),
  };
}

function times(units: number, part: Component): number {
  const total = units * part.units;
  assert(
    Number.isSafeInteger(total) && total <= MAX_QUANTITY,
    'a line times its bundle units is beyond what can be booked',
    {
      units,
      perUnit: part.units,
    },
  );
  return total;
}
