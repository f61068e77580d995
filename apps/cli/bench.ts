/** bench [name]: what we claim about speed, measured on this machine (bench/run.ts); kept in bench/results/<name>.json. */
import { benchNames, runBenches } from '../../bench/run.ts';
import { type Cli, examples } from './cli.ts';
import { type Exit, type Output, unknown } from './output.ts';

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

async function measure(named: string | undefined, output: Output): Promise<Exit> {
  const known = benchNames();
  if (named !== undefined && !known.includes(named))
    throw unknown(`bench "${named}"`, `There are: ${known.join(', ')}`);
  const results = await runBenches(named === undefined ? known : [named], {
    begin: (name) => output.note(`bench ${name} …`),
    table: (text) => {
      if (!output.json) output.raw(`${text}\n`);
    },
  });
  const faults = Object.values(results).flatMap(({ failed = [] }) => failed);
  output.result(results, (print) => {
    for (const name of Object.keys(results)) print(`Kept in bench/results/${name}.json`);
    for (const fault of faults) print(`Failed: ${fault}`);
  });
  return faults.length === 0 ? 0 : 1;
}
