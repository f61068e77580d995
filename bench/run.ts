/**
 * `npm run bench [name]`: runs the benches, prints a table each and keeps `bench/results/<name>.json` with figures,
 * yardstick, machine and versions. Figures are ratios to a yardstick run beside them: machines differ, ratios less.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export interface BenchResult {
  title: string;
  /** One row per figure; `ratio` is against the yardstick of this run. */
  rows: Record<string, string | number>[];
  /** Settings read back, data sizes, simulator profile. */
  settings: Record<string, unknown>;
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

/** @returns the results by name. Throws for a name that is not a bench. */
export async function runBenches(
  names: readonly string[],
  print: (text: string) => void,
): Promise<Record<string, BenchResult>> {
  const known = benchNames();
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`There is no bench "${unknown}". Benches: ${known.join(', ')}`);
  const results: Record<string, BenchResult> = {};
  for (const name of names.length > 0 ? names : known) {
    const bench = (await import(join(import.meta.dirname, `${name}.ts`))) as Bench;
    const result = await bench.run();
    results[name] = result;
    const folder = join(import.meta.dirname, 'results');
    mkdirSync(folder, { recursive: true });
    const machine = {
      cores: cpus().length,
      model: cpus()[0]?.model ?? 'unknown',
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      platform: `${process.platform} ${process.arch}`,
      node: process.version,
    };
    writeFileSync(
      join(folder, `${name}.json`),
      `${JSON.stringify({ name, at: new Date().toISOString(), machine, ...result }, null, 2)}\n`,
    );
    print(`\n${result.title}\n${table(result.rows)}\n`);
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
