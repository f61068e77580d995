/**
 * `npm run bench [name]`: runs the benches, prints a table each and keeps `bench/results/<name>.json` with figures,
 * yardstick, machine and versions. Figures are ratios to a yardstick run beside them: machines differ, ratios less.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { version } from '#server/version.ts';

export interface BenchResult {
  title: string;
  /** One row per figure; `ratio` is against the yardstick of this run. */
  rows: Record<string, string | number>[];
  /** Settings read back, data sizes, simulator profile. */
  settings: Record<string, unknown>;
  /** What must hold whatever the machine, and did not: the command fails. */
  failed?: string[];
}

interface Bench {
  run(): Promise<BenchResult>;
}

const own = new Set(['run.ts']);

export function benchNames(): string[] {
  return readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.ts') && !own.has(file) && !/\.(test|testing)\.ts$/.test(file))
    .map((file) => file.replace(/\.ts$/, ''))
    .sort();
}

/** Hears of each bench as it begins, and of its table when it is done. */
export interface BenchListener {
  begin(name: string): void;
  table(text: string): void;
}

/** @returns what was kept of each bench, by name. */
export async function runBenches(
  names: readonly string[],
  listener: BenchListener,
): Promise<Record<string, BenchResult>> {
  const folder = join(import.meta.dirname, 'results');
  const machine = {
    cores: cpus().length,
    model: cpus()[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
  const results: Record<string, BenchResult> = {};
  for (const name of names) {
    listener.begin(name);
    const bench = (await import(pathToFileURL(join(import.meta.dirname, `${name}.ts`)).href)) as Bench;
    const result = await bench.run();
    results[name] = result;
    const kept = { name, at: new Date().toISOString(), version, machine, ...result };
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(kept, null, 2)}\n`);
    listener.table(`\n${result.title}\n${table(result.rows)}\n`);
  }
  return results;
}

function table(rows: readonly Record<string, string | number>[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value: string | number | undefined) =>
    typeof value === 'number'
      ? Number.isInteger(value)
        ? String(value)
        : value.toFixed(value < 10 ? 2 : 1)
      : (value ?? '');
  const lines = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((text, index) => (index === 0 ? text.padEnd(widths[index] ?? 0) : text.padStart(widths[index] ?? 0)))
        .join('  '),
    )
    .join('\n');
}
