/**
 * `npm run world`: the simulated world on a PostgreSQL of its own.
 *
 *   --seed N --steps M   one seed (defaults 1 and 200); its last line is `seed=N steps=M hash=H ok`, or `… FAILED <promise>`,
 *                        and nothing in it differs between runs. A failure is told with the promise in words and the
 *                        shortest trace it can be shrunk to (`--no-shrink`: as it happened).
 *   --trace              every step as it happens
 *   --without 3,7        acts left out: how a shrunk failure is run again
 *   --count K            K seeds from N on
 *   --minutes T          further seeds for so long, from where the last exploration ended (a counter in the data folder)
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import type { WorldDatabases } from './database.ts';
import { withDatabases } from './scratch.ts';
import { shrink } from './shrink.ts';
import { runWorld, type WorldResult } from './world.ts';

const { values } = parseArgs({
  allowNegative: true,
  options: {
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '200' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: true },
    without: { type: 'string', default: '' },
    count: { type: 'string' },
    minutes: { type: 'string' },
    'data-dir': { type: 'string', default: '.data' },
  },
});

const steps = Number(values.steps);
const mostShrinkRuns = 80;
const say = (line: string) => process.stdout.write(`${line}\n`);

const lastLine = ({ seed, hash, broken }: WorldResult): string =>
  `seed=${seed} steps=${steps} hash=${hash} ${broken ? `FAILED ${broken.promise}` : 'ok'}`;

function tell({ broken }: WorldResult): void {
  if (broken) say(`After act ${broken.step}: ${broken.words}`);
}

async function one(databases: WorldDatabases): Promise<boolean> {
  const seed = Number(values.seed);
  const without = new Set(values.without.split(',').filter(Boolean).map(Number));
  const run = (skip: ReadonlySet<number>, keepTrace: boolean) =>
    runWorld({ seed, steps, databases, skip, keepTrace, ...(values.trace && { told: say }) });
  const result = await run(without, true);
  if (result.broken) {
    tell(result);
    const shrunk = values.shrink
      ? await shrink(result, (skip) => run(new Set([...without, ...skip]), true), mostShrinkRuns)
      : null;
    if (!values.trace) for (const line of (shrunk?.result ?? result).trace) say(line);
    if (shrunk) {
      const skip = [...new Set([...without, ...shrunk.skip])].sort((a, b) => a - b);
      tell(shrunk.result);
      say(`Again: npm run world -- --seed ${seed} --steps ${steps} --without ${skip.join(',')}`);
    }
  }
  say(lastLine(result));
  return result.broken === null;
}

/** Further seeds. @returns whether all were well */
async function explore(databases: WorldDatabases, from: number, more: (done: number) => boolean, bar: Bar) {
  const failed: WorldResult[] = [];
  let seed = from;
  for (; more(seed - from); seed += 1) {
    const result = await runWorld({ seed, steps, databases });
    if (result.broken) failed.push(result);
    bar.done(seed - from + 1, failed.length);
    if (result.broken || !process.stdout.isTTY) say(lastLine(result));
    tell(result);
  }
  bar.stop();
  return { next: seed, failed };
}

interface Bar {
  done(seeds: number, failed: number): void;
  stop(): void;
}

function progress(total: number, at: (seeds: number) => number): Bar {
  if (!process.stdout.isTTY) return { done: () => undefined, stop: () => undefined };
  const bar = new SingleBar({ format: '{bar} {percentage}% · {seeds} seeds, {failed} failed', hideCursor: true });
  bar.start(total, 0, { seeds: 0, failed: 0 });
  return { done: (seeds, failed) => bar.update(at(seeds), { seeds, failed }), stop: () => bar.stop() };
}

async function many(databases: WorldDatabases): Promise<boolean> {
  const begun = performance.now();
  const counter = join(values['data-dir'], 'world.json');
  const kept = existsSync(counter) ? (JSON.parse(readFileSync(counter, 'utf8')) as { next: number }).next : 1;
  const ms = Number(values.minutes) * 60_000;
  const { next, failed } =
    values.minutes === undefined
      ? await explore(
          databases,
          Number(values.seed),
          (done) => done < Number(values.count),
          progress(Number(values.count), (seeds) => seeds),
        )
      : await explore(
          databases,
          kept,
          () => performance.now() - begun < ms,
          progress(ms, () => Math.min(ms, performance.now() - begun)),
        );
  const from = values.minutes === undefined ? Number(values.seed) : kept;
  if (values.minutes !== undefined) {
    mkdirSync(values['data-dir'], { recursive: true });
    writeFileSync(counter, `${JSON.stringify({ next })}\n`);
  }
  const seconds = Math.round((performance.now() - begun) / 1000);
  say(`${next - from} seeds of ${steps} steps, ${from} to ${next - 1}: ${failed.length} failed, in ${seconds} s`);
  return failed.length === 0;
}

const isWell = await withDatabases((databases) =>
  values.count === undefined && values.minutes === undefined ? one(databases) : many(databases),
);
process.exitCode = isWell ? 0 : 1;
