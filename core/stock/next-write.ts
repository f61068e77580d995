/**
 * The next write: what to do about one external number, decided against the channel's own number, never our belief.
 *
 *   goal = max(0, desired − unseen − unbooked)      units presumed sold there are never offered again, nor are those sold there that
 *                                                   wait to be booked. What is booked falls off `desired`, by how much it will is not
 *                                                   certain (shares, places): a number between the two is left as it is
 *   a first number is not raised before orders are known past it (core/stock/observe.ts): till then the goal is no more than is shown
 *
 *   write open (outcome unknown)  → read; nothing is sent, not even 0, before a reading has told. Before `quietUntil` (the old
 *                                   request may still arrive) and while it may be coming into force no reading can: wait
 *   unknown                       → read, never skip
 *   goal = shown                  → nothing
 *   with compare-and-set          → send from expected, or from the number just read; a wrong one answers stale
 *   without                       → read right before every write, then send; a number older than `freshMs` is no proof
 *   while an accepted one settles → a lower goal may go at once (cuts cannot wait minutes), a raise waits
 *   number cannot be read         → only 0 may be written, blind; what stood there then counts as presumed sold
 *
 * A belief is not a number: "desired 8 < expected 10" is a raise when the channel has sold down to 3.
 * Pure. Used by server/flows/lane after every look at a target.
 */

export interface NextWriteInput {
  desired: number;
  unseen: number;
  /** Sold there by orders we have, and not yet taken off `desired`. */
  unbooked: number;
  /** Orders are not known past its first number yet. */
  raiseHeld: boolean;
  /** The channel's number by all we know (core/stock/observe.ts); null = unknown. May be below 0. */
  expected: number | null;
  /** A number read in this turn, and how old it is now. */
  lastRead: { value: number; ageMs: number } | null;
  /** The last write, while it may be coming into force; `until` by our clock. */
  settling: { value: number; until: number } | null;
  /** A write whose outcome is not known. */
  openAttempt: boolean;
  /** Reading did not work in this turn. */
  readFailed: boolean;
  /** A predecessor's requests may arrive until then. */
  quietUntil: number | null;
  now: number;
  compareAndSet: boolean;
  /** How old a read may be to write after it; default `freshMs`. A document of many is read as a whole before it is built. */
  readForMs?: number;
}

export type NextWrite =
  | { kind: 'send'; value: number; from: number | null }
  | { kind: 'read' }
  | { kind: 'wait'; until: number }
  | { kind: 'nothing' };

/** How old a read may be to count as "right before the write", without compare-and-set. */
export const freshMs = 500;

export const goalOf = (desired: number, unseen: number): number => Math.max(0, desired - unseen);

/** What the number is to become that shows, or is about to show, `shown`. */
export function goalFrom(
  shown: number,
  { desired, unseen, unbooked, raiseHeld }: Pick<NextWriteInput, 'desired' | 'unseen' | 'unbooked' | 'raiseHeld'>,
): number {
  const least = goalOf(desired, unseen + unbooked);
  const goal = least < shown && shown <= goalOf(desired, unseen) ? shown : least;
  return raiseHeld ? Math.min(goal, shown) : goal;
}

export function nextWrite(input: NextWriteInput): NextWrite {
  const blind = (): NextWrite => ({ kind: 'send', value: 0, from: null });
  if (input.openAttempt) {
    const provable = Math.max(input.quietUntil ?? input.now, input.settling?.until ?? input.now);
    if (input.now < provable) return { kind: 'wait', until: provable };
    return input.readFailed ? later(input) : { kind: 'read' };
  }
  if (input.settling && input.now < input.settling.until) return whileSettling(input, input.settling);
  const nothingLeft = goalOf(input.desired, input.unseen) === 0;
  if (input.expected === null) {
    if (input.readFailed) return nothingLeft ? blind() : later(input);
    return { kind: 'read' };
  }
  const goal = goalFrom(Math.max(0, input.expected), input);
  if (goal === Math.max(0, input.expected)) return { kind: 'nothing' };
  if (input.compareAndSet) return { kind: 'send', value: goal, from: input.expected };
  if (input.lastRead !== null && input.lastRead.ageMs <= (input.readForMs ?? freshMs))
    return { kind: 'send', value: goal, from: input.lastRead.value };
  if (input.readFailed) return nothingLeft ? blind() : later(input);
  return { kind: 'read' };
}

/** Reading did not work just now. */
const later = (input: NextWriteInput): NextWrite => ({ kind: 'wait', until: input.now + 1_000 });

function whileSettling(input: NextWriteInput, settling: { value: number; until: number }): NextWrite {
  const goal = goalFrom(settling.value, input);
  const wait: NextWrite = { kind: 'wait', until: settling.until };
  if (goal >= settling.value) return wait;
  if (input.lastRead === null || input.lastRead.ageMs > freshMs) {
    if (!input.readFailed) return { kind: 'read' };
    return goalOf(input.desired, input.unseen) === 0 ? { kind: 'send', value: 0, from: null } : wait;
  }
  // Below what is on its way, yet above what stands there: it would give back units.
  return goal === 0 || goal < Math.max(0, input.lastRead.value)
    ? { kind: 'send', value: goal, from: input.lastRead.value }
    : wait;
}
