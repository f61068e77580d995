/**
 * bench [name]: what we claim about speed, measured on this machine; kept in bench/results/<name>.json.
 * A bench that returns `{ title, rows, settings }` gets its table here; one with a shape of its own prints it itself.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { version } from '#server/version.ts';
import { type BenchResult, benchNames } from '../../bench/run.ts';
import { type Cli, examples } from './cli.ts';
import { type Output, table, unknown } from './output.ts';

const folder = join(import.meta.dirname, '..', '..', 'bench');

export function benchCommands(cli: Cli): void {
  cli.on(
    cli.program
      .command('bench')
      .argument('[name]', benchNames().join(', '))
      .description('measure; each figure with its yardstick beside it')
      .addHelpText('after', examples('bench', 'bench ledger --json')),
    ({ args, output }) => measure(args[0], output),
  );
}

async function measure(named: string | undefined, output: Output): Promise<void> {
  const known = benchNames();
  if (named !== undefined && !known.includes(named))
    throw unknown(`bench "${named}"`, `There are: ${known.join(', ')}`);
  // With --json stdout is the result's alone; what a bench prints as it goes is a remark then.
  if (output.json)
    for (const word of ['log', 'info', 'table'] as const)
      console[word] = (...given: unknown[]) => console.error(...given);
  const results: Record<string, unknown> = {};
  for (const name of named === undefined ? known : [named]) {
    output.note(`bench ${name} …`);
    const bench = (await import(pathToFileURL(join(folder, `${name}.ts`)).href)) as {
      run(): Promise<Partial<BenchResult>>;
    };
    const result = await bench.run();
    const kept = { name, at: new Date().toISOString(), version, machine: describeMachine(), ...result };
    mkdirSync(join(folder, 'results'), { recursive: true });
    writeFileSync(join(folder, 'results', `${name}.json`), `${JSON.stringify(kept, null, 2)}\n`);
    results[name] = kept;
    if (!output.json) for (const line of tableOf(result)) output.raw(`${line}\n`);
  }
  output.result(results, (print) => {
    for (const name of Object.keys(results)) print(`Kept in bench/results/${name}.json`);
  });
}

const describeMachine = () => ({
  cores: cpus().length,
  model: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${process.platform} ${process.arch}`,
  node: process.version,
});

function tableOf({ title, rows }: Partial<BenchResult>): string[] {
  if (rows === undefined) return [];
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const rounded = (value: string | number | undefined) =>
    typeof value === 'number' ? Math.round(value * 100) / 100 : value;
  return [
    '',
    title ?? '',
    ...table(
      columns,
      rows.map((row) => columns.map((column) => rounded(row[column]))),
    ),
  ];
}
