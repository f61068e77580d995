/**
 * Chance and identity for tests and launchers of simulators: a seeded `Random` and `Ids` made from it and a clock.
 * The server hands in its own; the same seed and clock give the same ids, so a failing run can be repeated.
 */
import type { Clock, Ids, Random } from '#core/effects.ts';

/** mulberry32: 32 bits of state, good enough to spread faults and latencies. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

/** UUIDv7 from the given clock and chance. */
export function seededIds(clock: Clock, random: Random): Ids {
  return {
    uuid() {
      const time = Math.floor(clock.now()).toString(16).padStart(12, '0');
      const digits = Array.from({ length: 18 }, () => Math.floor(random.next() * 16).toString(16)).join('');
      const variant = (8 + Math.floor(random.next() * 4)).toString(16);
      return `${time.slice(0, 8)}-${time.slice(8)}-7${digits.slice(0, 3)}-${variant}${digits.slice(3, 6)}-${digits.slice(6)}`;
    },
  };
}
