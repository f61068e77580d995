/**
 * `npm run world -- --mutants [--seeds S] [--steps M] [--only a,b]`: each mutant in a process of its own, over at most S
 * seeds of M steps, and a table of who was caught, at which seed, by which promise. Exit 1 when one survives.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Mutant, mutants } from './mutants.ts';

const { values } = parseArgs({
  options: {
    mutants: { type: 'boolean', default: true },
    seeds: { type: 'string', default: '10' },
    steps: { type: 'string', default: '100' },
    only: { type: 'string' },
  },
});

interface Verdict {
  seed: number | null;
  promise: string | null;
  words: string | null;
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

async function run({ name }: Mutant): Promise<Verdict> {
  const args = ['--import', here('mutant-hook.ts'), here('mutant-run.ts'), '--mutant', name];
  const child = spawn(process.execPath, [...args, '--seeds', values.seeds, '--steps', values.steps], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  for await (const part of child.stdout) said += part;
  const last = said.trim().split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) throw new Error(`${name} said nothing: ${last}`);
  return JSON.parse(last) as Verdict;
}

const say = (line: string) => process.stdout.write(`${line}\n`);
const chosen = mutants.filter(({ name }) => values.only === undefined || values.only.split(',').includes(name));
let survived = 0;
say('| Mutant | The mistake | Caught at seed | By |');
say('|---|---|---|---|');
for (const mutant of chosen) {
  const { seed, promise, words } = await run(mutant);
  const isSeen = promise !== null && mutant.breaks.includes(promise);
  if (!isSeen) survived += 1;
  say(`| ${mutant.name} | ${mutant.mistake} | ${seed ?? `none of ${values.seeds}`} | ${promise ?? '–'} |`);
  if (promise !== null && !isSeen) say(`  not by ${mutant.breaks.join(' or ')}: ${words?.split('\n')[0]}`);
}
say(
  `${chosen.length - survived} of ${chosen.length} mutants caught within ${values.seeds} seeds of ${values.steps} steps`,
);
process.exitCode = survived > 0 ? 1 : 0;
