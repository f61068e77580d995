/**
 * Urgency: which writes go first, judged against the channel's own number.
 *
 *   0 cuts to zero   1 cuts that leave 3 or less   2 other cuts   3 raises from zero   4 raises
 *
 * A unit that is sold twice costs a customer; a unit offered late costs a little time. Age lifts everything one
 * class per 30 s, so that nothing waits for ever. Classes 0 and 1 travel as urgent: small calls with a budget of
 * their own. Pure. Used by server/flows/lane inside a claimed slice; the claim itself orders by the stored hint.
 */

export type Urgency = 0 | 1 | 2 | 3 | 4;

/** At or below this a number is nearly gone. */
export const fewUnits = 3;
const liftMs = 30_000;

/** @param shown the channel's number; null = unknown, counted as high. */
export function urgency(shown: number | null, goal: number, waitedMs: number): Urgency {
  const lifted = classOf(shown === null ? null : Math.max(0, shown), goal) - Math.floor(Math.max(0, waitedMs) / liftMs);
  return Math.max(0, lifted) as Urgency;
}

function classOf(shown: number | null, goal: number): Urgency {
  if (shown === null || goal < shown) return goal === 0 ? 0 : goal <= fewUnits ? 1 : 2;
  return shown === 0 ? 3 : 4;
}

export const isUrgent = (of: Urgency): boolean => of <= 1;
