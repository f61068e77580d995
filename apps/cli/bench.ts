/** bench [name]: what we claim about speed, measured on this machine; figures go to bench/results/<name>.json. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { version } from '#server/version.ts';
import { type Cli, examples } from './cli.ts';
import { type Output, table, unknown } from './output.ts';

const folder = join(import.meta.dirname, '..', '..', 'bench');

/** Benches are the files of bench/ that export `run`. */
const benchNames = (): string[] =>
  readdirSync(folder)
    .filter((file) => /^[a-z][a-z0-9-]*\.ts$/.test(file) && !/^(?:run|zz-.*|.*\.test|.*\.testing)\.ts$/.test(file))
    .map((file) => file.replace(/\.ts$/, ''))
    .sort();

export function benchCommands(cli: Cli): void {
  cli.on(
    cli.program
      .command('bench')
      .argument('[name]', benchNames().join(', '))
      .description('measure; each figure with its yardstick beside it')
      .addHelpText('after', examples('bench', 'bench ledger --json')),
    ({ args, output }) => runBenches(args[0], output),
  );
}

async function runBenches(named: string | undefined, output: Output): Promise<void> {
  const names = benchNames();
  if (named !== undefined && !names.includes(named))
    throw unknown(`bench "${named}"`, `There are: ${names.join(', ')}`);
  // Benches print their own tables; stdout is the result's.
  if (output.json)
    for (const word of ['log', 'info', 'table'] as const)
      console[word] = (...given: unknown[]) => console.error(...given);
  const results: Record<string, unknown> = {};
  for (const name of named === undefined ? names : [named]) {
    const bench = (await import(pathToFileURL(join(folder, `${name}.ts`)).href)) as { run?: () => Promise<object> };
    if (!bench.run) continue;
    output.note(`bench ${name} …`);
    const result = {
      name,
      machine: `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}`,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      node: process.versions.node,
      version,
      ...(await bench.run()),
    };
    mkdirSync(join(folder, 'results'), { recursive: true });
    writeFileSync(join(folder, 'results', `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
    results[name] = result;
  }
  output.result(results, (print) => {
    for (const line of table(
      ['bench', 'results'],
      Object.keys(results).map((name) => [name, `bench/results/${name}.json`]),
    ))
      print(line);
  });
}
