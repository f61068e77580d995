/**
 * One explorer: a process with a PostgreSQL of its own that runs the seeds its parent sends (explore.ts), one after the other.
 * A seed that fails is shrunk at once. Ends when the parent lets it go, after the seed under way.
 */
import { withDatabases } from './scratch.ts';
import { shrink } from './shrink.ts';
import { type Broken, runWorld } from './world.ts';

export interface Task {
  seed: number;
  steps: number;
  lean: string | undefined;
  /** Runs that shrinking may take; 0: as it happened. */
  shrinkRuns: number;
}

export interface Report extends Pick<Task, 'seed'> {
  hash: string;
  broken: Broken | null;
  happened: Record<string, number>;
  /** Of a failure, as far as it could be shrunk. */
  shrunk: { words: string; without: number[]; trace: readonly string[] } | null;
}

await withDatabases(async (databases) => {
  const tasks: Task[] = [];
  let wake = (): void => undefined;
  process.on('message', (task: Task) => {
    tasks.push(task);
    wake();
  });
  process.on('disconnect', () => wake());
  // Ctrl-C reaches the whole group; the parent decides.
  process.on('SIGINT', () => undefined);

  async function run({ seed, steps, lean, shrinkRuns }: Task): Promise<Report> {
    const { hash, broken, figures } = await runWorld({ seed, steps, lean, databases });
    const { happened } = figures;
    if (broken === null) return { seed, hash, broken, happened, shrunk: null };
    const again = (skip: ReadonlySet<number>) => runWorld({ seed, steps, lean, databases, skip, keepTrace: true });
    const { result, skip } = await shrink(await again(new Set()), again, shrinkRuns);
    const without = [...skip].sort((a, b) => a - b);
    return {
      seed,
      hash,
      broken,
      happened,
      shrunk: { words: result.broken?.words ?? '', without, trace: result.trace },
    };
  }

  while (process.connected) {
    const task = tasks.shift();
    if (task === undefined) await new Promise<void>((resolve) => (wake = resolve));
    else {
      const report = await run(task);
      if (process.connected) process.send?.(report);
    }
  }
});
