/** Calls per key and minute, a fixed window per process. Keys without a limit (the demo key) are never counted. */
import type { Clock } from '#core/effects.ts';

/** @returns a function: 0 = allowed, else seconds to wait. */
export function createRateLimit(clock: Clock): (key: string, perMinute: number | null) => number {
  const windows = new Map<string, { endsAt: number; count: number }>();
  return (key, perMinute) => {
    if (perMinute === null) return 0;
    const now = clock.monotonicMs();
    const window = windows.get(key);
    if (!window || window.endsAt <= now) {
      if (windows.size > 10_000) windows.clear();
      windows.set(key, { endsAt: now + 60_000, count: 1 });
      return 0;
    }
    window.count += 1;
    return window.count <= perMinute ? 0 : Math.ceil((window.endsAt - now) / 1000);
  };
}
