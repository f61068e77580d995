/**
 * The demand of a sale: who wants which SKU, when, and at which channel. The same for every policy.
 *
 *   popularity  of the SKU of rank r ∝ 1 ÷ r (Zipf): among 1,000 SKUs the first draws 13 % of all buyers, the first ten 39 %
 *   arrivals    so many buyers as rate × duration, at times spread evenly by chance (a Poisson stream of known number)
 *   channel     each buyer comes to either channel with equal chance, wants one unit, and goes away when it shows 0
 *
 * Pure: a seed decides everything.
 */
import { seededRandom } from '#sim/kit/chance.ts';

export interface DemandSpec {
  skus: number;
  ordersPerSecond: number;
  seconds: number;
  channels: number;
}

export interface Buyer {
  /** Milliseconds after the sale began. */
  at: number;
  /** 0 = the most wanted. */
  sku: number;
  channel: number;
}

export function demandOf(spec: DemandSpec, seed: number): Buyer[] {
  const random = seededRandom(seed);
  const reached: number[] = [];
  let total = 0;
  for (let rank = 1; rank <= spec.skus; rank += 1) {
    total += 1 / rank;
    reached.push(total);
  }
  const buyers = Array.from({ length: Math.round(spec.ordersPerSecond * spec.seconds) }, () => ({
    at: Math.floor(random.next() * spec.seconds * 1_000),
    sku: firstAtLeast(reached, random.next() * total),
    channel: Math.floor(random.next() * spec.channels),
  }));
  return buyers.sort((a, b) => a.at - b.at);
}

/** @param sorted ascending */
function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
