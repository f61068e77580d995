/**
 * Urgency: which writes go first, judged against the channel's own number.
 *
 *   0 cuts to zero   1 cuts that leave 3 or less   2 other cuts   3 raises from zero   4 raises
 *
 * A unit that is sold twice costs a customer; a unit offered late costs a little time. Classes 0 and 1 travel as urgent: small
 * calls with a budget of their own. Age lifts one class per 30 s, as far as the first that is not urgent, and after ten minutes among
 * the urgent, so that nothing waits for ever. Sooner, a channel that cannot keep up would have everything urgent half a minute later,
 * and cuts to nothing would queue behind all that is old: in the flash sale of docs/flash-sale.md that doubled the oversales.
 * Pure. Used by server/flows/lane inside a claimed slice; the claim itself orders by the stored hint.
 */

export type Urgency = 0 | 1 | 2 | 3 | 4;

/** At or below this a number is nearly gone. */
export const fewUnits = 3;
const liftMs = 30_000;
const liftToUrgentMs = 600_000;

/** @param shown the channel's number; null = unknown, counted as high. */
export function urgency(shown: number | null, goal: number, waitedMs: number): Urgency {
  const own = classOf(shown === null ? null : Math.max(0, shown), goal);
  const lifted = own - Math.floor(Math.max(0, waitedMs) / liftMs);
  return Math.max(Math.min(own, waitedMs < liftToUrgentMs ? 2 : 1), lifted) as Urgency;
}

function classOf(shown: number | null, goal: number): Urgency {
  if (shown === null || goal < shown) return goal === 0 ? 0 : goal <= fewUnits ? 1 : 2;
  return shown === 0 ? 3 : 4;
}

export const isUrgent = (of: Urgency): boolean => of <= 1;
