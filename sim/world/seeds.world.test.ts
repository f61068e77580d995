/** A fixed set of seeds: every promise holds after every act, at every recorded attempt and at quiet; together they touch everything. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { WorldDatabases } from './database.ts';
import { leaningOf } from './leaning.ts';
import { acts, planOf } from './plan.ts';
import { openScratch } from './scratch.ts';
import { runWorld, type WorldResult } from './world.ts';

const seeds = [1, 2, 3, 4, 6, 7, 8];
const steps = 80;

let databases: WorldDatabases;
let end: () => Promise<void>;
beforeAll(async () => {
  ({ databases, end } = await openScratch());
});
afterAll(() => end());

const results = new Map<number, Promise<WorldResult>>();
function resultOf(seed: number): Promise<WorldResult> {
  const result = results.get(seed) ?? runWorld({ seed, steps, databases });
  results.set(seed, result);
  return result;
}

for (const seed of seeds)
  test(`seed ${seed}: after 80 acts and faults, all promises hold`, { timeout: 300_000 }, async () => {
    expect((await resultOf(seed)).broken).toBe(null);
  });

test('together the seeds hold every act and every fault', () => {
  const planned = new Set(seeds.flatMap((seed) => planOf(seed, steps, leaningOf(seed)).map(({ act }) => act.name)));
  expect(acts.map(({ name }) => name).filter((name) => !planned.has(name))).toEqual([]);
});

test('what takes several things at once happens in some of them', { timeout: 300_000 }, async () => {
  const happened = new Set<string>();
  for (const seed of seeds) for (const what of Object.keys((await resultOf(seed)).figures.happened)) happened.add(what);
  const rare = [
    'attempt stale',
    'dead letters: discard',
    'feed done',
    'garbled messages',
    'run import-stock done',
    'run import-stock undone',
    'struck: feed_stuck',
    'struck: half_batch at amazon-a',
    'struck: kill',
    'struck: revoke',
    'struck: status 429',
    'struck: timeout_before',
  ];
  expect(rare.filter((what) => !happened.has(what))).toEqual([]);
});
