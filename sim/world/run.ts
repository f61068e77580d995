/**
 * `npm run world`: the simulated world on a PostgreSQL of its own.
 *
 *   --seed N --steps M   one seed (defaults 1 and 200); its last line is `seed=N steps=M hash=H ok`, or `… FAILED <promise>`,
 *                        and nothing in it differs between runs. A failure is told with the promise in words and the
 *                        shortest trace it can be shrunk to (`--no-shrink`: as it happened).
 *   --lean NAME          what it has more of than others (leaning.ts); default: as the seed says
 *   --trace              every step as it happens
 *   --without 3,7        acts left out: how a shrunk failure is run again
 *   --count K            K seeds from N on
 *   --minutes T          further seeds for so long, from where the last exploration ended (a counter in the data folder)
 *   --workers W          with these two: so many processes, each with a PostgreSQL of its own (default 1); what fails is
 *                        written to the data folder (explore.ts); Ctrl-C ends after the seeds under way
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import type { WorldDatabases } from './database.ts';
import { explore, leanOption } from './explore.ts';
import { withDatabases } from './scratch.ts';
import { shrink } from './shrink.ts';
import { runWorld, type WorldResult } from './world.ts';

const { values } = parseArgs({
  allowNegative: true,
  options: {
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '200' },
    lean: { type: 'string' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: true },
    without: { type: 'string', default: '' },
    count: { type: 'string' },
    minutes: { type: 'string' },
    workers: { type: 'string', default: '1' },
    'data-dir': { type: 'string', default: '.data' },
  },
});

const steps = Number(values.steps);
const { lean, 'data-dir': dataDir } = values;
const mostShrinkRuns = 80;
const say = (line: string) => process.stdout.write(`${line}\n`);

const lastLine = ({ seed, hash, broken }: Pick<WorldResult, 'seed' | 'hash' | 'broken'>): string =>
  `seed=${seed} steps=${steps} hash=${hash} ${broken ? `FAILED ${broken.promise}` : 'ok'}`;

const tell = ({ broken }: Pick<WorldResult, 'broken'>): void => {
  if (broken) say(`After act ${broken.step}: ${broken.words}`);
};

function tellCounts(counts: Readonly<Record<string, number>>): void {
  const told = Object.entries(counts).map(([what, times]) => `${what} ${times}`);
  say(`What happened: ${told.join(', ')}`);
}

async function one(databases: WorldDatabases): Promise<boolean> {
  const seed = Number(values.seed);
  const without = new Set(values.without.split(',').filter(Boolean).map(Number));
  const run = (skip: ReadonlySet<number>, keepTrace: boolean) =>
    runWorld({ seed, steps, lean, databases, skip, keepTrace, ...(values.trace && { told: say }) });
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
      say(`Again: npm run world -- --seed ${seed} --steps ${steps}${leanOption(lean)} --without ${skip.join(',')}`);
    }
  }
  if (values.trace) tellCounts(result.figures.happened);
  say(lastLine(result));
  return result.broken === null;
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

/** Further seeds: so many, or for so long from where the last exploration ended. */
async function many(): Promise<boolean> {
  const begun = performance.now();
  const counter = join(dataDir, 'world.json');
  const kept = existsSync(counter) ? (JSON.parse(readFileSync(counter, 'utf8')) as { next: number }).next : 1;
  const timed = values.minutes !== undefined;
  const [ms, count] = [Number(values.minutes) * 60_000, Number(values.count)];
  const spent = () => performance.now() - begun;
  const from = timed ? kept : Number(values.seed);
  const bar = timed ? progress(ms, () => Math.min(ms, spent())) : progress(count, (seeds) => seeds);
  let over = false;
  process.once('SIGINT', () => {
    over = true;
  });
  mkdirSync(dataDir, { recursive: true });
  const { done, next, failed, happened } = await explore({
    from,
    steps,
    lean,
    workers: Number(values.workers),
    shrinkRuns: values.shrink ? mostShrinkRuns : 0,
    dataDir,
    more: (seeds) => !over && (timed ? spent() < ms : seeds < count),
    onReport(report, seeds, failures) {
      bar.done(seeds, failures);
      if (report.broken || !process.stdout.isTTY) say(lastLine(report));
      tell(report);
    },
    onDone(at) {
      if (timed) writeFileSync(counter, `${JSON.stringify({ next: at })}\n`);
    },
  });
  bar.stop();
  tellCounts(happened);
  const seconds = Math.round(spent() / 1000);
  say(`${done} seeds of ${steps} steps, ${from} to ${next - 1}: ${failed.length} failed, in ${seconds} s`);
  for (const { seed, broken } of failed)
    say(`  ${seed} ${broken?.promise}: ${join(dataDir, 'world', `seed-${seed}-of-${steps}.txt`)}`);
  return failed.length === 0;
}

const isWell = await (values.count === undefined && values.minutes === undefined ? withDatabases(one) : many());
process.exitCode = isWell ? 0 : 1;
