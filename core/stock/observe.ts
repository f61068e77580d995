/**
 * What a channel shows: the accounting of one external number, from what we know and when the vendor says it was so.
 *
 *   expected = base − Σ effects after base            (unknown while anything about it is not provable)
 *
 * *base* is the last number the vendor proved: a settled read, or the answer of a compare-and-set. *Effects* are what
 * the channel did to its own number since, as its orders tell (sale > 0 lowers, restock < 0 raises). *unseen* are
 * units by which a proved number was lower than expected: presumed sales whose orders we have not imported. They
 * survive our own writes; only an imported order from before, or orders read past that time, removes them. If each
 * read simply became the new base, the gap would be forgotten and the next raise would sell those units twice.
 *
 * First number
 *   What was sold before anything was known of a number is in it, without its orders being in our book, and nothing tells how many
 *   units those are: not even a gap. So its first number (a read, a webhook, or what we wrote over an unread one) sets `raiseAfter`,
 *   and it is not raised before orders are known past that time. To cut it gives nothing back.
 *   The same is so of the first number after an effect of unknown size: what was given back may hide as many units sold.
 *
 * Effect (an order version changed what the channel took, between vendor times `from` and `to`)
 *   1. A sale that may be from before unseen's time consumes unseen: it was already seen as the gap. A restock surely
 *      from before surplus' time consumes surplus: it was already seen as units too many. (When in doubt a sale too many
 *      is presumed, and orders read past it end that; a sale too few would be offered again.)
 *   2. The rest: provably before base → contained in base. A sale: nothing to do. A restock: base was proved without it,
 *      so as many units were sold that we do not know yet, and the two hid each other: they are unseen.
 *      Provably after → counts.
 *      Same instant as base, at the vendor's resolution:
 *        with compare-and-set → counts: base equalled what the known effects explain, so an unknown sale is later, and a
 *        wrong guess answers stale and writes nothing;
 *        without → counts when it is provably after our last own write was in force; else our absolute write may have
 *        overwritten it, nothing proves either way, and expected is unknown: read.
 *   3. Unknown size (a cancelled order of which nobody says whether its units went back on offer) → unknown; see first number.
 *
 * Observation (a read or a stock webhook, at vendor time t)
 *   Counts only when newer than base and than the last observation. Same instant: only when it was asked for after
 *   base was known; else an equal number confirms and another one asks for a read. Below 0 offers no more than 0 and is
 *   neither raised nor taken for an edit, but what was sold below 0 is sold: gaps are counted through it.
 *   While a write settles nothing proves anything.
 *   Effects after t are not in it; effects of the same instant may be. So a counted number is compared with a range:
 *     inside   → new base; what the range left open stays an effect after it
 *     below    → new base; the gap goes first to units whose location was unknown, the rest is added to unseen
 *     above    → new base, verdict `higher`: never "sales"; policy decides. The units too many are kept as *surplus*:
 *                a restock of that time whose order we import later has explained them
 *   The upper end of the range may be vague without harm: known sales must all show in the end, and one that did not
 *   shows as the next gap. Only vagueness about base (`sure: false`) can hide a sale, and that is excluded from the range.
 *
 * Our own write
 *   pending   from the moment it is recorded, before it is sent: the number may be the old or the new one
 *             compare-and-set: only its answer, or a look after it, decides; a webhook meanwhile may be a sale that
 *             leaves just the number being written. Without an answer, a raise and the old number: presumed sold again
 *   applied   compare-and-set: base is the value, at the vendor's time of it; effects it did not know stay
 *   stale     expected was wrong: unknown, read
 *   settled   (no compare-and-set) a read after the settle time: the new number → applied; the old one → not applied yet
 *
 * Pure. Used by store/listings (effects of imported orders, observations, attempts) under the target's row lock.
 * Times are Unix ms by the vendor's clock. Shopify and Amazon give whole seconds (documented).
 */

/** What the vendor's times can tell apart. */
export const instantMs = 1000;

export interface ShownEffect {
  /** > 0: the channel took units from its number; < 0: gave back. */
  units: number;
  /** It happened between these vendor times. */
  from: number;
  to: number;
  /** Counts up per target: what an attempt knew when it was made. */
  seq: number;
  /** Provably after base. */
  sure: boolean;
  /** The channel gave back, or took, it is not known how many: no units, and never sure. */
  unsized?: boolean;
}

export interface PendingWrite {
  value: number;
  /** What the number was when it was sent; null = sent blind. */
  from: number | null;
  /** Last effect known to it. */
  seq: number;
  /** Accepted and in force at this vendor time at the latest; null = outcome open, or compare-and-set. */
  settledAt: number | null;
}

export interface Shown {
  base: number | null;
  baseAt: number | null;
  effects: readonly ShownEffect[];
  /** Something happened whose size, place or outcome is not known: only a counted observation ends it. */
  unknown: boolean;
  pending: PendingWrite | null;
  /** Vendor time at which our last write without compare-and-set was surely in force. */
  writtenAt: number | null;
  unseen: number;
  unseenAt: number | null;
  /** Units by which a proved number was above all we knew, as of a vendor time. */
  surplus: number;
  surplusAt: number | null;
  observed: number | null;
  observedAt: number | null;
  /** Vendor time of its first number, or the first after an effect of unknown size, until orders are known past it: not to be raised before. */
  raiseAfter: number | null;
}

export const nothingShown: Shown = {
  base: null,
  baseAt: null,
  effects: [],
  unknown: false,
  pending: null,
  writtenAt: null,
  unseen: 0,
  unseenAt: null,
  surplus: 0,
  surplusAt: null,
  observed: null,
  observedAt: null,
  raiseAfter: null,
};

const instant = (time: number): number => Math.floor(time / instantMs);
const shownAs = (value: number): number => Math.max(0, value);
const sum = (effects: readonly ShownEffect[]): number => effects.reduce((total, { units }) => total + units, 0);
/** Longer lists are merged from the oldest on: bounded work on a hot target that nothing reads. */
const effectsKept = 64;

/** The number the channel shows by all we know; null = unknown: read before write, never skip. May be below 0, as the channel's own. */
export function expectedOf(shown: Shown): number | null {
  if (shown.base === null || shown.unknown || shown.pending || shown.effects.some(({ sure }) => !sure)) return null;
  return shown.base - sum(shown.effects);
}

/** The highest it can be by what we know. */
export function expectedHighOf(shown: Shown): number | null {
  if (shown.base === null) return shown.pending ? Math.max(shown.pending.value, shown.pending.from ?? 0) : null;
  const high = shown.base - sum(shown.effects.filter(({ sure, units }) => sure || units < 0));
  return shown.pending ? Math.max(high, shown.pending.value, shown.pending.from ?? high) : high;
}

export interface NewEffect {
  /** null: something moved, by how much is not known. */
  units: number | null;
  from: number;
  to: number;
  seq: number;
}

/** How many of these sold units were already seen as a gap. */
export function unseenCovered(shown: Shown, effect: { units: number | null; from: number }): number {
  if (effect.units === null || effect.units <= 0 || shown.unseenAt === null) return 0;
  return instant(effect.from) <= instant(shown.unseenAt) ? Math.min(shown.unseen, effect.units) : 0;
}

const withoutUnseen = (shown: Shown, units: number): Shown => {
  const unseen = shown.unseen - units;
  return { ...shown, unseen, unseenAt: unseen === 0 ? null : shown.unseenAt };
};

/** How many of these units given back were already seen as too many. */
function surplusCovered(shown: Shown, effect: { units: number; to: number }): number {
  if (effect.units >= 0 || shown.surplusAt === null) return 0;
  return instant(effect.to) <= instant(shown.surplusAt) + 1 ? Math.min(shown.surplus, -effect.units) : 0;
}

const withoutSurplus = (shown: Shown, units: number): Shown => {
  const surplus = shown.surplus - units;
  return { ...shown, surplus, surplusAt: surplus === 0 ? null : shown.surplusAt };
};

/** Units that may have been sold behind our back: base was proved without what was given back. */
const withHidden = (shown: Shown, units: number, at: number): Shown => ({
  ...shown,
  unseen: shown.unseen + units,
  unseenAt: Math.max(shown.unseenAt ?? at, at),
});

export function applyEffect(shown: Shown, effect: NewEffect, compareAndSet: boolean): Shown {
  if (effect.units === null) {
    const unsized = { units: 0, from: effect.from, to: effect.to, seq: effect.seq, sure: false, unsized: true };
    return {
      ...shown,
      unknown: true,
      effects: shown.base === null ? shown.effects : bounded([...shown.effects, unsized]),
    };
  }
  const covered = unseenCovered(shown, effect);
  const returned = surplusCovered(shown, { units: effect.units, to: effect.to });
  const after = returned > 0 ? withoutSurplus(shown, returned) : covered > 0 ? withoutUnseen(shown, covered) : shown;
  const units = effect.units - covered + returned;
  if (units === 0 || after.base === null || after.baseAt === null) return after;
  if (instant(effect.to) < instant(after.baseAt) - 1)
    return units < 0 ? withHidden(after, -units, after.baseAt) : after;
  const sure =
    instant(effect.from) > instant(after.baseAt) ||
    compareAndSet ||
    (after.writtenAt !== null && instant(effect.from) > instant(after.writtenAt));
  return {
    ...after,
    effects: bounded([...after.effects, { units, from: effect.from, to: effect.to, seq: effect.seq, sure }]),
  };
}

/** Sold so long before base was proved that base has it already, if it was sold here at all. */
export const inBase = (shown: Shown, effect: { units: number | null; to: number }): boolean =>
  effect.units !== null && effect.units > 0 && shown.baseAt !== null && instant(effect.to) < instant(shown.baseAt) - 1;

/** Units moved at a place we do not know: nobody's number is certain until read. A raise counts as possible everywhere. */
export function applyUnplaced(shown: Shown, effect: NewEffect): Shown {
  const unknown = { ...shown, unknown: true };
  return effect.units !== null && effect.units < 0 && shown.base !== null
    ? {
        ...unknown,
        effects: bounded([
          ...shown.effects,
          { units: effect.units, from: effect.from, to: effect.to, seq: effect.seq, sure: false },
        ]),
      }
    : unknown;
}

function bounded(effects: ShownEffect[]): ShownEffect[] {
  const [first, second, ...rest] = effects;
  if (effects.length <= effectsKept || !first || !second) return effects;
  const merged = {
    units: first.units + second.units,
    from: Math.min(first.from, second.from),
    to: Math.max(first.to, second.to),
    seq: Math.max(first.seq, second.seq),
    sure: first.sure && second.sure,
    ...((first.unsized || second.unsized) && { unsized: true }),
  };
  return [merged, ...rest];
}

export interface Observation {
  value: number;
  at: number;
  /** A read of ours that began when the present base and last observation were already known. */
  askedAfter: boolean;
}

export interface ObservationContext {
  compareAndSet: boolean;
  /** A write was accepted and its settle time has not passed. */
  settling: boolean;
  /** Units the channel took somewhere among this stock key's numbers, and since when. */
  unplaced: { units: number; at: number } | null;
}

export type Verdict =
  | 'first'
  | 'as_expected'
  | 'unseen_sale'
  | 'higher'
  | 'old'
  | 'same_instant'
  | 'settling'
  | 'not_applied';

export interface Observed {
  shown: Shown;
  verdict: Verdict;
  counted: boolean;
  /** Units by which it was below what is known. */
  gap: number;
  unplacedUsed: number;
  /** What became of the pending write, when this proves it. */
  write: 'applied' | 'not_applied' | null;
}

export function observe(shown: Shown, observation: Observation, context: ObservationContext): Observed {
  const last = Math.max(shown.baseAt ?? Number.NEGATIVE_INFINITY, shown.observedAt ?? Number.NEGATIVE_INFINITY);
  const asIs = (verdict: Verdict, seen: boolean): Observed => ({
    shown: seen ? { ...shown, observed: observation.value, observedAt: Math.max(observation.at, last) } : shown,
    verdict,
    counted: false,
    gap: 0,
    unplacedUsed: 0,
    write: null,
  });
  if (!observation.askedAfter) {
    if (instant(observation.at) < instant(last)) return asIs('old', false);
    if (instant(observation.at) === instant(last)) {
      const expected = expectedOf(shown);
      const confirms = expected !== null && shownAs(expected) === shownAs(observation.value);
      return asIs(confirms ? 'as_expected' : 'same_instant', confirms);
    }
  }
  // A compare-and-set on its way is decided by its answer, or by a look after it: a number that came by itself may be a
  // sale that happens to leave just what we are writing.
  if (context.settling || (shown.pending && context.compareAndSet && !observation.askedAfter))
    return asIs('settling', true);
  const at = Math.max(observation.at, last);
  return shown.pending
    ? judgePending(shown, shown.pending, observation, at, context)
    : judge(shown, observation, at, context);
}

interface Range {
  high: number;
  low: number;
  /** Effects that may or may not be in the number, and those that are not. */
  open: ShownEffect[];
  later: ShownEffect[];
}

/** Where a number proved at `at` must lie when it began as `start` and these effects follow. */
function rangeOf(start: number, effects: readonly ShownEffect[], at: number): Range {
  const later = effects.filter(({ from }) => instant(from) > instant(at));
  // An answer's time may be up to a second after the number was looked up: the instant before is open too.
  const within = effects.filter(({ to }) => instant(to) < instant(at) - 1);
  const open = effects.filter((effect) => !later.includes(effect) && !within.includes(effect));
  const must = start - sum(within.filter(({ sure }) => sure));
  return {
    high: must - sum([...open, ...within.filter(({ sure }) => !sure)].filter(({ units }) => units < 0)),
    low: must - sum(open.filter(({ units, sure }) => units > 0 && sure)),
    open: open.filter(({ sure }) => sure),
    later: later.filter(({ sure }) => sure),
  };
}

function judge(shown: Shown, observation: Observation, at: number, context: ObservationContext): Observed {
  if (shown.base === null) {
    return based(shown, observation, at, { verdict: 'first', gap: 0, keep: [], context, write: null });
  }
  const range = rangeOf(shown.base, shown.effects, at);
  return judgeRange(shown, observation, at, range, context, null);
}

function judgeRange(
  shown: Shown,
  observation: Observation,
  at: number,
  range: Range,
  context: ObservationContext,
  write: Observed['write'],
): Observed {
  const { value } = observation;
  if (shownAs(value) > shownAs(range.high)) {
    const keep = [...range.later, ...range.open.filter(({ units }) => units > 0)];
    const more = value - range.high;
    const surplus = { ...shown, surplus: shown.surplus + more, surplusAt: at };
    return based(surplus, observation, at, { verdict: 'higher', gap: 0, keep, context, write });
  }
  // Below 0 every unit still counts: a shop that goes on selling at 0 has sold them.
  const gap = Math.max(0, range.low - value);
  const keep = [...leftOpen(range, value), ...range.later];
  return based(shown, observation, at, { verdict: gap > 0 ? 'unseen_sale' : 'as_expected', gap, keep, context, write });
}

/** Of the effects that may be in the number, the units that are not: the number itself tells how many. */
function leftOpen(range: Range, value: number): ShownEffect[] {
  const start = range.low + sum(range.open.filter(({ units }) => units > 0));
  let sold = Math.max(0, start - value);
  let given = Math.max(0, value - start);
  const left: ShownEffect[] = [];
  for (const effect of range.open) {
    const used = effect.units > 0 ? Math.min(effect.units, sold) : -Math.min(-effect.units, given);
    if (used > 0) sold -= used;
    else given += used;
    if (used !== effect.units) left.push({ ...effect, units: effect.units - used });
  }
  return left;
}

function judgePending(
  shown: Shown,
  pending: PendingWrite,
  observation: Observation,
  at: number,
  context: ObservationContext,
): Observed {
  const value = shownAs(observation.value);
  const mine = context.compareAndSet
    ? shown.effects.filter(({ seq }) => seq > pending.seq)
    : shown.effects.filter(({ from }) => pending.settledAt !== null && instant(from) > instant(pending.settledAt));
  const applied = rangeOf(pending.value, mine, at);
  const high = pending.from === null ? expectedHighOf({ ...shown, pending: null }) : pending.from;
  const untouched = high === null ? null : rangeOf(high, mine, at);
  const within = (range: Range) => value <= shownAs(range.high) && value >= shownAs(range.low);
  if (within(applied)) {
    const seen = judgeRange(shown, observation, at, applied, context, 'applied');
    // A cut without an answer, and just the number it was to leave: taken, or it never arrived and as many were sold.
    const ambiguous = context.compareAndSet && pending.value < shownAs(high ?? 0);
    return ambiguous ? { ...seen, shown: { ...seen.shown, raiseAfter: at } } : seen;
  }
  if (untouched === null) return judgeRange(shown, observation, at, applied, context, null);
  const raised = pending.value > (high ?? 0);
  // A raise without an answer, and the old number: taken and sold again, or never arrived. Nothing tells; only the first
  // may not be given back.
  if (within(untouched) && !(context.compareAndSet && raised)) {
    // Accepted, yet the old number stands: not in force yet. Only the caller knows when waiting ends.
    if (!context.compareAndSet)
      return {
        shown: { ...shown, observed: observation.value, observedAt: at },
        verdict: 'not_applied',
        counted: false,
        gap: 0,
        unplacedUsed: 0,
        write: 'not_applied',
      };
    return judgeRange(shown, observation, at, untouched, context, 'not_applied');
  }
  // Neither: measured against the higher of the two, or a sale could hide behind our own write.
  const cutTaken = !context.compareAndSet && pending.value <= (high ?? 0) && value < pending.value;
  const range = cutTaken || raised ? applied : untouched;
  return judgeRange(shown, observation, at, range, context, cutTaken ? 'applied' : null);
}

function based(
  shown: Shown,
  observation: Observation,
  at: number,
  found: { verdict: Verdict; gap: number; keep: ShownEffect[]; context: ObservationContext; write: Observed['write'] },
): Observed {
  const { unplaced } = found.context;
  // Only the first look after such units explains a gap by them; later it could hide another sale.
  const explains = shown.unknown && unplaced !== null && instant(unplaced.at) <= instant(observation.at);
  const unplacedUsed = explains ? Math.min(found.gap, Math.max(0, unplaced.units)) : 0;
  const unseen = shown.unseen + found.gap - unplacedUsed;
  return {
    shown: {
      ...shown,
      base: observation.value,
      baseAt: at,
      raiseAfter: raiseAfter(shown, at),
      effects: [
        ...found.keep.map((effect) => ({ ...effect, sure: true })),
        ...shown.effects.filter(({ unsized, to }) => unsized && instant(to) > instant(at)),
      ],
      unknown: false,
      pending: null,
      unseen,
      unseenAt: found.gap > unplacedUsed ? at : unseen > 0 ? shown.unseenAt : null,
      observed: observation.value,
      observedAt: at,
    },
    verdict: found.gap > 0 && unplacedUsed === found.gap ? 'as_expected' : found.verdict,
    counted: true,
    gap: found.gap - unplacedUsed,
    unplacedUsed,
    write: found.write,
  };
}

const raiseAfter = (shown: Shown, at: number): number | null =>
  shown.base === null || shown.effects.some(({ unsized }) => unsized) ? at : shown.raiseAfter;

/** A write is recorded, before it is sent. An earlier one that may still land keeps its claim on "the highest it can be". */
export function beginWrite(shown: Shown, write: { value: number; from: number | null; seq: number }): Shown {
  const earlier = shown.pending;
  const from = earlier ? Math.max(write.from ?? 0, earlier.value, earlier.from ?? 0) : write.from;
  return { ...shown, pending: { value: write.value, from, seq: write.seq, settledAt: null } };
}

/** Compare-and-set took it: the vendor proved that the number was `from`, and is now `value`. */
export function writeApplied(shown: Shown, write: { value: number; seq: number; at: number }): Shown {
  const at = Math.max(write.at, shown.baseAt ?? write.at);
  return {
    ...shown,
    base: write.value,
    baseAt: at,
    raiseAfter: raiseAfter(shown, at),
    effects: shown.effects
      .filter(({ seq, to }) => seq > write.seq && instant(to) >= instant(at) - 1)
      .map((effect) => ({ ...effect, sure: !effect.unsized })),
    unknown: false,
    pending: null,
    observed: write.value,
    observedAt: at,
  };
}

/** Taken, in force by `settledAt` (vendor time) at the latest. */
export function writeAccepted(shown: Shown, settledAt: number): Shown {
  return shown.pending
    ? { ...shown, pending: { ...shown.pending, settledAt }, writtenAt: settledAt }
    : { ...shown, unknown: true, writtenAt: settledAt };
}

/** The vendor's number was not the one we named, or nothing is known of the write: read. */
export const writeStale = (shown: Shown): Shown => ({ ...shown, pending: null, unknown: true });

/** Surely not written: what was known before is still known. */
export const writeNotDone = (shown: Shown): Shown => ({ ...shown, pending: null });

/**
 * Without compare-and-set, without an answer, and the old number after the settle time: it never arrived, or it was a raise
 * whose units were sold again meanwhile. Those are presumed sold.
 */
export function writeNotSeen(shown: Shown, at: number): Shown {
  const { pending } = shown;
  const raised = pending && pending.from !== null ? pending.value - Math.max(0, pending.from) : 0;
  const freed = { ...shown, pending: null };
  return raised > 0 ? withHidden(freed, raised, at) : freed;
}

/** Orders are known completely past unseen's time: nobody sold those units; somebody edited the number. */
export function releaseUnseen(shown: Shown, ordersReadTo: number | null): Shown {
  if (shown.unseen === 0 || shown.unseenAt === null || ordersReadTo === null) return shown;
  return instant(ordersReadTo) > instant(shown.unseenAt) ? withoutUnseen(shown, shown.unseen) : shown;
}

/** A write of 0 without looking: whatever stood there may have been sold, and counts as that until orders say otherwise. */
export function presumeSold(shown: Shown, at: number): Shown {
  const high = expectedHighOf(shown);
  return high === null || high <= 0
    ? shown
    : { ...shown, unseen: shown.unseen + high, unseenAt: Math.max(at, shown.unseenAt ?? at) };
}
