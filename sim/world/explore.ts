/**
 * Exploring: seed after seed, in as many processes as wanted, each with a database of its own. Every seed that fails is
 * written to `<data folder>/world/` with its words, its shrunk trace and how to run it again.
 *
 * Seeds are given out in order. A seed counts as done when it is told; `onDone` hears up to where all are.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Report, Task } from './explorer.ts';
import { Tally } from './tally.ts';

export interface ExploreOptions {
  from: number;
  steps: number;
  lean: string | undefined;
  workers: number;
  shrinkRuns: number;
  dataDir: string;
  /** Whether another seed is begun, after so many. */
  more(begun: number): boolean;
  onReport(report: Report, done: number, failed: number): void;
  /** All seeds before this one are done. */
  onDone(next: number): void;
}

export interface Explored {
  done: number;
  next: number;
  failed: Report[];
  happened: Record<string, number>;
}

const explorer = fileURLToPath(new URL('./explorer.ts', import.meta.url));

export async function explore(options: ExploreOptions): Promise<Explored> {
  const tally = new Tally();
  const failed: Report[] = [];
  const ended = new Set<number>();
  let [begun, done, next] = [0, 0, options.from];

  function take(report: Report): void {
    done += 1;
    ended.add(report.seed);
    while (ended.delete(next)) next += 1;
    options.onDone(next);
    tally.count('seeds');
    tally.addAll(report.happened);
    if (report.broken) {
      failed.push(report);
      write(options, report);
    }
    options.onReport(report, done, failed.length);
  }

  async function work(): Promise<void> {
    const child = fork(explorer, [], { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] });
    const gone = once(child, 'exit');
    while (options.more(begun)) {
      const seed = options.from + begun;
      begun += 1;
      take(await ask(child, gone, { seed, steps: options.steps, lean: options.lean, shrinkRuns: options.shrinkRuns }));
    }
    if (child.connected) child.disconnect();
    await gone;
  }

  await Promise.all(Array.from({ length: options.workers }, work));
  return { done, next, failed: failed.sort((a, b) => a.seed - b.seed), happened: tally.counts };
}

/** An explorer that dies over a seed is a fault of the world, not the end of the exploration's news. */
async function ask(child: ChildProcess, gone: Promise<unknown>, task: Task): Promise<Report> {
  const answer = once(child, 'message').then(([report]) => report as Report);
  child.send(task);
  const report = await Promise.race([answer, gone.then(() => null)]);
  if (report === null) throw new Error(`The explorer died over seed ${task.seed} of ${task.steps} acts.`);
  return report;
}

/** How it is told again which leaning a seed was given. */
export const leanOption = (lean: string | undefined): string => (lean === undefined ? '' : ` --lean ${lean}`);

function write({ dataDir, steps, lean }: ExploreOptions, { seed, hash, broken, shrunk }: Report): void {
  const folder = join(dataDir, 'world');
  mkdirSync(folder, { recursive: true });
  const again = `npm run world -- --seed ${seed} --steps ${steps}${leanOption(lean)}`;
  const lines = [
    `seed=${seed} steps=${steps} hash=${hash} FAILED ${broken?.promise}`,
    `After act ${broken?.step}: ${broken?.words}`,
    '',
    `Shrunk: ${again} --without ${shrunk?.without.join(',')}`,
    shrunk?.words ?? '',
    '',
    ...(shrunk?.trace ?? []),
  ];
  writeFileSync(join(folder, `seed-${seed}-of-${steps}.txt`), `${lines.join('\n')}\n`);
}
