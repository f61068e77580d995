/** The plan of a seed: which acts, in which order, with how much time between them. Fixed before anything happens. */
import type { Act } from './actors/act.ts';
import { buyers } from './actors/buyers.ts';
import { files } from './actors/files.ts';
import { operator } from './actors/operator.ts';
import { warehouse } from './actors/warehouse.ts';
import { Dice, stream } from './chance.ts';
import { faults } from './faults.ts';
import type { Leaning } from './leaning.ts';

export interface PlannedAct {
  n: number;
  /** After the one before. */
  gapMs: number;
  act: Act;
}

export const acts: readonly Act[] = [...buyers, ...warehouse, ...files, ...operator, ...faults];

/** Mostly close together; now and then long enough for leases, settle times and sweeps to pass. */
const gaps: readonly (readonly [weight: number, range: readonly [number, number]])[] = [
  [50, [0, 20]],
  [25, [20, 500]],
  [17, [500, 5_000]],
  [6, [5_000, 60_000]],
  [2, [60_000, 1_800_000]],
];

export function planOf(seed: number, steps: number, leaning: Leaning): PlannedAct[] {
  const dice = new Dice(stream(seed, 'plan'));
  const weighed = acts.map((act) => [act.weight * (leaning.acts[act.name] ?? 1), act] as const);
  return Array.from({ length: steps }, (_, index) => {
    const [least, most] = dice.weighted(leaning.gaps ?? gaps);
    return { n: index + 1, gapMs: dice.whole(least, most), act: dice.weighted(weighed) };
  });
}

/** Its own for each act, whatever happens before it. */
export const diceOf = (seed: number, n: number): Dice => new Dice(stream(seed, `act ${n}`));
