/**
 * Scarcity: the last units of a variant are offered on one connection, and 0 everywhere else.
 *
 *   begins   available ≤ lastUnits, and two or more connections offer it
 *   ends     available > lastUnits + ⌈lastUnits / 2⌉ (so that it does not flap), or the setting is gone,
 *            or the chosen connection offers it no longer (then it may begin again elsewhere)
 *   chosen   once, when it begins: among the connections that can be written now, those that offer the variant itself
 *            before those that only sell it inside a bundle; then by their priority (lower first) or by the units they sold
 *            lately (more first); it stays until the end, because moving the offer would list the unit twice for a while
 *
 * It is the only lever against the last unit being listed twice: compare-and-set stops a channel from giving back what
 * it sold, speed shortens the window between a sale and its siblings, neither closes it.
 *
 * `available` is what could be sold in all (Σ sellable − committed − reserved where orders are served), before any buffer.
 * A bundle is withheld where a scarce part of it is not offered. A connection whose own setting is 0 is never withheld from.
 *
 * Pure. Judged by store/listings/scarcity.ts when marks are expanded; applied by server/flows/lane-decision.ts.
 */

export type GivenTo = 'priority' | 'sales';

export interface ScarcitySettings {
  lastUnits: number | null;
  to: GivenTo | null;
}

/** A connection that offers the variant, directly or inside a bundle. */
export interface Offer {
  connectionId: string;
  /** Lower first. */
  priority: number;
  /** It offers the variant itself, not only a bundle of it. */
  direct: boolean;
  /** Its numbers can be written: not paused, not stopped, not refused. */
  writable: boolean;
  /** Units of the variant it sold lately, in bundles too. */
  sold: number;
  settings: ScarcitySettings;
}

export interface ScarcityInput {
  available: number;
  variant: ScarcitySettings;
  organization: ScarcitySettings;
  offers: readonly Offer[];
  /** The connection that has the last units now; null = not scarce. */
  open: { connectionId: string; lastUnits: number } | null;
}

export type ScarcityVerdict =
  | { kind: 'unchanged' }
  | { kind: 'begin'; connectionId: string; lastUnits: number }
  | { kind: 'end' }
  /** The chosen connection offers it no longer: another one has the last units from now on. */
  | { kind: 'move'; connectionId: string; lastUnits: number };

export function judgeScarcity(input: ScarcityInput): ScarcityVerdict {
  const lastUnits = limitOf(input);
  const { open, offers, available } = input;
  const stays = open !== null && offers.some(({ connectionId }) => connectionId === open.connectionId);
  const isScarce =
    lastUnits > 0 &&
    offers.length > 1 &&
    available <= (open === null ? lastUnits : lastUnits + Math.ceil(lastUnits / 2));
  if (!isScarce) return { kind: open === null ? 'unchanged' : 'end' };
  if (stays) return { kind: 'unchanged' };
  const chosen = choose(offers, input.variant.to ?? input.organization.to ?? 'priority');
  if (chosen === null) return { kind: open === null ? 'unchanged' : 'end' };
  return { kind: open === null ? 'begin' : 'move', connectionId: chosen, lastUnits };
}

/** The SKU's own setting; without one the highest among the connections that offer it, each the organization's unless it has its own. */
function limitOf({ variant, organization, offers }: ScarcityInput): number {
  if (variant.lastUnits !== null) return variant.lastUnits;
  return Math.max(0, ...offers.map(({ settings }) => settings.lastUnits ?? organization.lastUnits ?? 0));
}

function choose(offers: readonly Offer[], to: GivenTo): string | null {
  const [first] = offers
    .filter(({ writable }) => writable)
    .sort(
      (a, b) =>
        Number(b.direct) - Number(a.direct) ||
        (to === 'sales' ? b.sold - a.sold : 0) ||
        a.priority - b.priority ||
        (a.connectionId < b.connectionId ? -1 : 1),
    );
  return first?.connectionId ?? null;
}

/** Why a listing on `connectionId` shows 0, or null: some part of it is scarce and offered elsewhere. */
export function withheldFor(
  connectionId: string,
  connectionSetting: number | null,
  parts: readonly { sku: string; scarce: { connectionId: string; connection: string; lastUnits: number } | null }[],
): string | null {
  if (connectionSetting === 0) return null;
  const elsewhere = parts.find(({ scarce }) => scarce !== null && scarce.connectionId !== connectionId);
  if (!elsewhere?.scarce) return null;
  const { lastUnits, connection } = elsewhere.scarce;
  return `the last ${lastUnits} of ${elsewhere.sku} are offered on ${connection} only`;
}
