/**
 * Leanings: what a seed has more of than others. Every act and fault of the world happens in all of them; one seed in two leans to
 * nothing, the others each to something that takes two rare things at once, so that ordinary exploration meets it often enough.
 *
 *   frozen-lanes   two processes, one of which often stands still past its lease, mostly right after a commit
 *   settle-time    Amazon takes its minutes to carry out a write, and whoever asks meanwhile is shown the old number
 *   unseen-sales   shops sell, their messages are late or lost, and goods come in meanwhile
 *
 * Chosen by the seed (`leaningOf`); read by plan.ts, crew.ts and stage.ts. `npm run world -- --lean NAME` overrides the choice.
 */
type Gaps = readonly (readonly [weight: number, range: readonly [number, number]])[];

export interface Leaning {
  name: string;
  /** How much more often an act is chosen, by its name; default 1. */
  acts: Readonly<Record<string, number>>;
  /** Instead of the plan's own. */
  gaps?: Gaps;
  crewSize?: 1 | 2;
  /** Amazon at its own pace, one number at a time. */
  slowAmazon?: boolean;
}

export const leanings: readonly Leaning[] = [
  { name: 'nothing', acts: {} },
  {
    name: 'frozen-lanes',
    acts: { 'freezes right after a commit': 12, freezes: 3, receives: 2, breaks: 2 },
    gaps: [
      [45, [0, 20]],
      [25, [20, 500]],
      [10, [500, 5_000]],
      [20, [5_000, 60_000]],
    ],
    crewSize: 2,
  },
  {
    name: 'settle-time',
    acts: { receives: 3, breaks: 2, counts: 2 },
    gaps: [
      [35, [0, 20]],
      [25, [20, 500]],
      [25, [500, 15_000]],
      [15, [15_000, 90_000]],
    ],
    slowAmazon: true,
  },
  {
    name: 'unseen-sales',
    acts: { 'loses messages': 5, 'delays messages': 5, receives: 4, 'edits the number in the vendor’s admin': 0 },
    gaps: [
      [50, [0, 20]],
      [35, [20, 500]],
      [15, [500, 5_000]],
    ],
  },
];

const [nothing] = leanings as readonly [Leaning, ...Leaning[]];

/** @throws when nothing is named so */
function leaningNamed(name: string): Leaning {
  const found = leanings.find((one) => one.name === name);
  if (!found) throw new Error(`No leaning is named ${name}; there are: ${leanings.map((one) => one.name).join(', ')}`);
  return found;
}

/** Odd seeds lean to nothing, even ones to each of the others in turn. @param name instead of the seed's own */
export function leaningOf(seed: number, name?: string): Leaning {
  if (name !== undefined) return leaningNamed(name);
  const others = leanings.slice(1);
  return seed % 2 === 1 ? nothing : (others[(seed / 2) % others.length] ?? nothing);
}
