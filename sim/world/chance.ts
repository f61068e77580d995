/** Streams of chance: each use has its own, named, so that one use more or less leaves the others as they were. */
import type { Random } from '#core/effects.ts';
import { seededRandom } from '#sim/kit/chance.ts';

/** FNV-1a over the name, mixed with the seed. */
export function stream(seed: number, name: string): Random {
  let hash = 0x811c9dc5;
  for (const code of Buffer.from(`${seed}/${name}`)) hash = Math.imul(hash ^ code, 0x01000193);
  return seededRandom(hash);
}

export class Dice {
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }
  chance(share: number): boolean {
    return this.#random.next() < share;
  }
  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.#random.next() * (most - least + 1));
  }
  /** One of them; of none, undefined. */
  of<T>(things: readonly T[]): T | undefined {
    return things[Math.floor(this.#random.next() * things.length)];
  }
  oneOf<T>(things: readonly [T, ...T[]]): T {
    return this.of(things) ?? things[0];
  }
  /** By weight. */
  weighted<T>(things: readonly (readonly [weight: number, thing: T])[]): T {
    const total = things.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#random.next() * total;
    for (const [weight, thing] of things) {
      left -= weight;
      if (left < 0) return thing;
    }
    return (things[things.length - 1] as readonly [number, T])[1];
  }
}
