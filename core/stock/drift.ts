/**
 * Drift: an observed number that the model does not explain once orders are read past it. What caused it, and what is
 * done about it.
 *
 *   found → heal: ours is written again       healing → healed
 *         → ask: a person decides             asked   → healing | adopting | dismissed
 *         → adopt: theirs becomes ours        adopting → adopted, or asked with the reason why it cannot be
 *         → explained: an order says why (lost_order), or the number went back by itself
 *
 * A lower number is drift only when orders were read past it (until then it is *unseen*: presumed sales, never given
 * back). A higher one is put right at once: lowering gives nothing away; its cause is known when orders are read past it.
 * What is healed again and again is somebody's wish: after `healsMost` heals within `healsWithinMs` it is asked about.
 *
 * Pure. Used by store/drift and the lane's decisions.
 */

export const driftCauses = ['channel_edit', 'rejected_write', 'lost_order', 'echo', 'mapping', 'unknown'] as const;
export type DriftCause = (typeof driftCauses)[number];
export type DriftPolicy = 'heal' | 'ask' | 'adopt';
export const driftStates = [
  'found',
  'healing',
  'asked',
  'adopting',
  'healed',
  'adopted',
  'dismissed',
  'explained',
] as const;
export type DriftState = (typeof driftStates)[number];

export const healsMost = 3;
export const healsWithinMs = 3_600_000;

export interface DriftEvidence {
  observed: number | null;
  /** Unix ms, the vendor's. */
  observedAt: number;
  /** When the number it differs from was proved; null = never. */
  baseAt: number | null;
  attempts: readonly { value: number; outcome: string | null }[];
  /** When the listing's mapping last changed. */
  mappedAt: number | null;
  /** Orders are known past the observation. */
  ordersRead: boolean;
  /** Orders that came by a sweep explain it. */
  lostOrders: boolean;
}

/** Outcomes of writes that we hold for never applied: their number showing now is the write arriving after all. */
const thoughtLost = new Set<string | null>(['not_applied', 'unknown', 'proven_not_applied', 'not_sent', null]);

export function causeOf(evidence: DriftEvidence): DriftCause {
  if (evidence.lostOrders) return 'lost_order';
  const { observed, attempts } = evidence;
  const last = attempts[0];
  if (attempts.some(({ value, outcome }) => value === observed && thoughtLost.has(outcome))) return 'echo';
  if (last?.outcome === 'rejected') return 'rejected_write';
  if (evidence.baseAt !== null && evidence.mappedAt !== null && evidence.mappedAt > evidence.baseAt) return 'mapping';
  return evidence.ordersRead ? 'channel_edit' : 'unknown';
}

export interface StandingDrift {
  state: DriftState;
  units: number;
  /** What we wanted when it was found or asked about. */
  desired: number | null;
  /** A refused write: the listing's own state says it. */
  refused: boolean;
  /** How often this number was healed within `healsWithinMs`. */
  heals: number;
}

export type DriftStep =
  /** Nothing new: go on as if it were not there. */
  | { kind: 'go' }
  /** The number is left as it is: a person, or the book, comes first. */
  | { kind: 'stand'; to: 'asked' | 'adopting' | null; flapping: boolean }
  | { kind: 'heal' };

/** What the policy makes of it now. What we want having changed since ends the waiting: the new number must be shown. */
export function stepOf(drift: StandingDrift | null, policy: DriftPolicy, desired: number): DriftStep {
  if (drift === null || drift.refused) return { kind: 'go' };
  const flapping = drift.heals >= healsMost;
  switch (drift.state) {
    case 'found':
      if (policy === 'heal' && !flapping) return { kind: 'heal' };
      return { kind: 'stand', to: policy === 'adopt' && !flapping ? 'adopting' : 'asked', flapping };
    case 'asked':
    case 'dismissed':
      if (drift.desired === desired) return { kind: 'stand', to: null, flapping };
      return drift.state === 'asked' ? { kind: 'heal' } : { kind: 'go' };
    case 'adopting':
      return drift.desired === desired ? { kind: 'stand', to: null, flapping } : { kind: 'go' };
    default:
      return { kind: 'go' };
  }
}

export interface AdoptQuestion {
  isBundle: boolean;
  /** Numbers at any channel that show this variant. */
  numbers: number;
  /** Our locations behind this number. */
  places: number;
  shareBp: number | null;
  cap: number | null;
  cause: DriftCause;
}

/** Why the channel's number cannot become ours; null = it can. */
export function adoptRefusal(question: AdoptQuestion): string | null {
  if (question.cause === 'rejected_write')
    return 'The channel refused our write; its number says nothing about goods. Put the listing right and try again.';
  if (question.isBundle) return 'It is a bundle: its number says nothing about which part there is more or less of.';
  if (question.places !== 1)
    return question.places === 0
      ? 'None of our locations stands behind this number.'
      : `${question.places} of our locations stand behind this number: it does not say where the units are.`;
  if (question.numbers !== 1)
    return `This SKU is shown by ${question.numbers} numbers; one of them cannot say what all of them share.`;
  if ((question.shareBp ?? 10_000) !== 10_000 || question.cap !== null)
    return 'Only a share of this SKU is shown here: the number does not say how much there is in all.';
  return null;
}
