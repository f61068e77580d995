/**
 * Rounds of real concurrency: `npm run rounds -- --rounds 30 [--seed N] [--seconds 5] [--disasters 2] [--keep]`.
 *
 * Each round is a new fleet of two servers and two workers on one PostgreSQL (fleet.testing.ts) under load, with disasters at
 * random: a process killed, the database killed, a process stopped past its lease and continued. Then quiet, and the judge. A
 * round's seed fixes what every actor wants to do and what happens when; what it meets depends on the machine. What a broken round
 * leaves is kept, and named. Exit code 1 when one broke.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scratchFolder } from '#store/testing/scratch.ts';
import { rampage } from './chaos.testing.ts';
import { settled } from './chaos-judge.testing.ts';
import { startFleet } from './fleet.testing.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '5' },
    disasters: { type: 'string', default: '3' },
    settle: { type: 'string', default: '120' },
    keep: { type: 'boolean', default: false },
  },
});
const say = (line: string) => process.stdout.write(`${line}\n`);
const [rounds, first] = [Number(values.rounds), Number(values.seed)];
const sum = {
  ok: 0,
  broken: [] as number[],
  orders: 0,
  writes: 0,
  slowestMs: 0,
  disasters: {} as Record<string, number>,
};

async function round(seed: number): Promise<string[]> {
  const folder = scratchFolder(`syncstate-round-${seed}-`);
  // The database's own account walks through it.
  chmodSync(folder, 0o711);
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  let wrong: string[];
  const fleet = await startFleet({ dataDir, servers: 2, workers: 2 });
  try {
    const history = await rampage(fleet, {
      seed,
      ms: Number(values.seconds) * 1_000,
      kills: Number(values.disasters),
    });
    const verdict = await settled(fleet, history, Number(values.settle) * 1_000);
    wrong = verdict.wrong;
    for (const what of history.disasters) {
      const kind = what.replace(/ \d+/, '');
      sum.disasters[kind] = (sum.disasters[kind] ?? 0) + 1;
    }
    sum.orders += verdict.orders;
    sum.writes += verdict.writes;
    sum.slowestMs = Math.max(sum.slowestMs, verdict.settledMs);
    say(
      `round ${seed}: ${wrong.length === 0 ? 'ok' : 'BROKEN'}; ${history.disasters.join(', ')}; acts ${history.acts}, orders ${verdict.orders}, writes ${verdict.writes}, order searches ${verdict.searches}, right after ${verdict.settledMs} ms`,
    );
    if (verdict.settledMs > 15_000) for (const line of verdict.waitedFor.slice(0, 4)) say(`   waited for: ${line}`);
    if (wrong.length > 0) {
      const { counted, ...others } = history;
      writeFileSync(join(folder, 'history.json'), JSON.stringify({ ...others, counted: [...counted], wrong }, null, 1));
    }
  } catch (error) {
    wrong = [error instanceof Error ? `${error.stack ?? error.message} ${String(error.cause ?? '')}` : String(error)];
    say(`round ${seed}: BROKEN off`);
  }
  for (const line of wrong.slice(0, 25)) say(`   ${line}`);
  if (wrong.length > 25) say(`   … ${wrong.length} in all`);
  await fleet.stop();
  if (wrong.length === 0 && !values.keep) rmSync(folder, { recursive: true, force: true });
  else say(`   kept: ${folder}`);
  return wrong;
}

for (let seed = first; seed < first + rounds; seed += 1) {
  if ((await round(seed)).length === 0) sum.ok += 1;
  else sum.broken.push(seed);
}
const happened = Object.entries(sum.disasters).map(([what, times]) => `${what} ${times}`);
say(
  `${sum.ok} of ${rounds} rounds ok${sum.broken.length > 0 ? `, broken: ${sum.broken.join(' ')}` : ''}; ${happened.join(', ')}; orders ${sum.orders}, writes ${sum.writes}, slowest ${sum.slowestMs} ms`,
);
process.exit(sum.broken.length > 0 ? 1 : 0);
