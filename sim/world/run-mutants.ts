/**
 * `npm run world -- --mutants [--only a,b]`: each mutant in a process of its own, seed after seed from 1 on, and a table of who was
 * caught, at which seed, by which promise. Caught is who breaks one of its promises at a seed that breaks none without the mutant,
 * within the number of seeds that is stated for it. Exit 1 when one is missed.
 *
 *   --seeds S   instead of the stated numbers    --steps M   default 80    --lean NAME   as for a seed (run.ts)
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { WorldDatabases } from './database.ts';
import type { Seen } from './mutant-run.ts';
import { type Mutant, mutants } from './mutants.ts';
import { withDatabases } from './scratch.ts';
import { runWorld } from './world.ts';

const { values } = parseArgs({
  options: {
    mutants: { type: 'boolean', default: true },
    seeds: { type: 'string' },
    steps: { type: 'string', default: '80' },
    lean: { type: 'string' },
    only: { type: 'string' },
  },
});
const steps = Number(values.steps);
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

async function seenFrom(first: number, seeds: number, { name }: Mutant): Promise<Seen> {
  const args = ['--import', here('mutant-hook.ts'), here('mutant-run.ts'), '--mutant', name];
  const which = ['--first', `${first}`, '--seeds', `${seeds}`, '--steps', `${steps}`];
  const lean = values.lean === undefined ? [] : ['--lean', values.lean];
  const child = spawn(process.execPath, [...args, ...which, ...lean], { stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  for await (const part of child.stdout) said += part;
  const last = said.trim().split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) throw new Error(`${name} said nothing: ${last}`);
  return JSON.parse(last) as Seen;
}

/** Seeds that break a promise without any mutant prove nothing. */
function controls(databases: WorldDatabases): (seed: number) => Promise<boolean> {
  const known = new Map<number, boolean>();
  return async (seed) => {
    const isWell = known.get(seed) ?? (await runWorld({ seed, steps, lean: values.lean, databases })).broken === null;
    known.set(seed, isWell);
    return isWell;
  };
}

async function caught(mutant: Mutant, most: number, isWell: (seed: number) => Promise<boolean>): Promise<Seen | null> {
  for (let first = 1; first <= most; ) {
    const seen = await seenFrom(first, most - first + 1, mutant);
    if (seen.seed === null) return null;
    if (mutant.breaks.includes(seen.promise ?? '') && (await isWell(seen.seed))) return seen;
    first = seen.seed + 1;
  }
  return null;
}

const say = (line: string) => process.stdout.write(`${line}\n`);
const chosen = mutants.filter(({ name }) => values.only === undefined || values.only.split(',').includes(name));
let missed = 0;
say('| Mutant | The mistake | Seed | Within | By | Words |');
say('|---|---|---|---|---|---|');
await withDatabases(async (databases) => {
  const isWell = controls(databases);
  for (const mutant of chosen) {
    const most = values.seeds === undefined ? mutant.within : Number(values.seeds);
    const seen = await caught(mutant, most, isWell);
    if (seen === null) missed += 1;
    const by = seen === null ? ['missed', most, '–', '–'] : [seen.seed, most, seen.promise, briefly(seen.words)];
    say(`| ${[mutant.name, mutant.mistake, ...by].join(' | ')} |`);
  }
});
say(`${chosen.length - missed} of ${chosen.length} mutants caught, by seeds of ${steps} steps`);
process.exitCode = missed > 0 ? 1 : 0;

function briefly(words: string | null): string {
  return words?.split('\n')[0]?.replace(/^P\d+ · /, '') ?? '';
}
