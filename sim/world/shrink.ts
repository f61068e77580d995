/**
 * The shortest way to a failure: acts and faults are left out, half of them at first, then fewer, as long as the same
 * promise still breaks. Every act has dice of its own, so that leaving one out does not change what the others do.
 */
import type { WorldOptions, WorldResult } from './world.ts';

export interface Shrunk {
  result: WorldResult;
  skip: ReadonlySet<number>;
  runs: number;
}

/**
 * @param first the failing run
 * @param run one run with these acts left out
 * @param mostRuns patience
 */
export async function shrink(
  first: WorldResult,
  run: (skip: NonNullable<WorldOptions['skip']>) => Promise<WorldResult>,
  mostRuns: number,
): Promise<Shrunk> {
  const promise = first.broken?.promise;
  let best: Shrunk = { result: first, skip: new Set(), runs: 0 };
  let runs = 0;

  async function tryWithout(more: readonly number[]): Promise<boolean> {
    if (more.length === 0 || runs >= mostRuns) return false;
    runs += 1;
    const skip = new Set([...best.skip, ...more]);
    const result = await run(skip);
    if (result.broken?.promise !== promise) return false;
    best = { result, skip, runs };
    return true;
  }

  const left = () => Array.from({ length: first.steps }, (_, index) => index + 1).filter((n) => !best.skip.has(n));
  await tryWithout(left().filter((n) => n > (first.broken?.step ?? first.steps)));
  for (
    let size = Math.ceil(left().length / 2);
    size >= 1 && runs < mostRuns;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  )
    for (let at = 0; at < left().length && runs < mostRuns; ) {
      if (!(await tryWithout(left().slice(at, at + size)))) at += size;
    }
  return { ...best, runs };
}
