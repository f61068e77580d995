/**
 * Usage plans: one token bucket per operation (one seller and one application here), full at the start, refilled by
 * the simulator's clock (vendors/amazon.md §9, documented). Kept in memory: a restart fills them.
 */
import type { Clock } from '#core/effects.ts';

export interface Plan {
  name: string;
  ratePerSecond: number;
  burst: number;
}

export interface Buckets {
  /** Takes one token; false = refused, nothing taken. */
  take(plan: Plan): boolean;
}

export function createBuckets(clock: Clock): Buckets {
  const levels = new Map<string, { tokens: number; at: number }>();
  return {
    take(plan) {
      const now = clock.monotonicMs();
      const level = levels.get(plan.name) ?? { tokens: plan.burst, at: now };
      const tokens = Math.min(plan.burst, level.tokens + ((now - level.at) / 1000) * plan.ratePerSecond);
      const granted = tokens >= 1;
      levels.set(plan.name, { tokens: granted ? tokens - 1 : tokens, at: now });
      return granted;
    },
  };
}
