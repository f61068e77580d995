/**
 * How soon the product is there, installed: `syncstate start` with the demo, without a data folder (cold: a cluster is made, the
 * demo is seeded) and with the one it left (warm), from the launch until /ready answers 200; and what the process needs at rest
 * without its database, with the demo's simulators in it and without.
 *
 * Yardstick beside it, in turn: `node` starting with nothing but the same server's imports; it says how busy the machine is.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median, met, pause, round } from './kit/figures.ts';
import { residentMiB, startProduct } from './kit/product.ts';
import type { BenchResult } from './run.ts';

const rounds = 3;
const bars = { coldMs: 6_000, warmMs: 2_000, residentMiB: 250 };
const run_ = promisify(execFile);

async function importsMs(): Promise<number> {
  const from = performance.now();
  const main = join(import.meta.dirname, '..', 'server', 'main.ts');
  await run_(process.execPath, ['--disable-warning=ExperimentalWarning', '-e', `import(${JSON.stringify(main)})`], {
    cwd: join(import.meta.dirname, '..'),
  });
  return performance.now() - from;
}

export async function run(): Promise<BenchResult> {
  const cold: number[] = [];
  const warm: number[] = [];
  const imports: number[] = [];
  const resident = { demo: 0, plain: 0 };
  let settings: Record<string, unknown> = {};
  for (let n = 0; n < rounds; n += 1) {
    const dataDir = mkdtempSync(join(tmpdir(), 'syncstate-bench-start-'));
    try {
      imports.push(await importsMs());
      const first = await startProduct({ dataDir, env: { SYNCSTATE_DEMO: 'on' } });
      cold.push(first.startedMs);
      await first.stop();
      const second = await startProduct({ dataDir, env: { SYNCSTATE_DEMO: 'on' } });
      warm.push(second.startedMs);
      if (n === 0) {
        await pause(5_000);
        resident.demo = residentMiB(second.pid);
        settings = await second.settings();
      }
      await second.stop();
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  }
  const plain = await startProduct();
  await pause(5_000);
  resident.plain = residentMiB(plain.pid);
  await plain.stop();
  const bare = median(imports);
  const row = (figure: string, value: number, unit: string, bar: number, ratio: number) => ({
    figure,
    value: Math.round(value),
    unit,
    'imports alone ms': Math.round(bare),
    ratio: round(ratio),
    bar: `< ${bar}`,
    is: met(value < bar),
  });
  return {
    title: 'From the launch until ready, and at rest',
    rows: [
      row('start without a data folder, demo', median(cold), 'ms', bars.coldMs, median(cold) / bare),
      row('start again, demo', median(warm), 'ms', bars.warmMs, median(warm) / bare),
      row('resident at rest, demo', resident.demo, 'MiB', bars.residentMiB, resident.demo / bars.residentMiB),
      row('resident at rest, no demo', resident.plain, 'MiB', bars.residentMiB, resident.plain / bars.residentMiB),
    ],
    settings: { ...settings, rounds },
  };
}
