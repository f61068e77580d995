/** Explores chaos by hand: see chaos.testing.ts. Prints one line a seed; exits 1 when something broke. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch, rampage, stop } from './chaos.testing.ts';
import { settled } from './chaos-judge.testing.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1-5' },
    seconds: { type: 'string', default: '20' },
    kills: { type: 'string', default: '3' },
    settle: { type: 'string', default: '60' },
    pause: { type: 'string', default: '90' },
    profile: { type: 'string', default: 'open' },
    'no-faults': { type: 'boolean', default: false },
    'no-meddling': { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const [first = 1, last = first] = values.seeds.split('-').map(Number);
const say = (line: string) => process.stdout.write(`${line}\n`);
let broken = 0;
for (let seed = first; seed <= last; seed += 1) {
  const folder = mkdtempSync(join(tmpdir(), `syncstate-chaos-${seed}-`));
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  const product = await launch({ dataDir, profile: values.profile === 'vendor' ? 'vendor' : 'open' });
  let wrong: string[];
  try {
    const history = await rampage(product, {
      seed,
      ms: Number(values.seconds) * 1_000,
      kills: Number(values.kills),
      pause: Number(values.pause),
      faults: !values['no-faults'],
      meddling: !values['no-meddling'],
    });
    const verdict = await settled(product, history, Number(values.settle) * 1_000);
    wrong = verdict.wrong;
    const { orders, writes, settledMs } = verdict;
    say(
      `seed ${seed}: ${wrong.length === 0 ? 'ok' : 'BROKEN'} acts ${history.acts} orders ${orders} writes ${writes} kills ${history.disasters.length} settled ${settledMs} ms`,
    );
    if (settledMs > 15_000) for (const line of verdict.waitedFor.slice(0, 4)) say(`   waited for: ${line}`);
    if (wrong.length > 0) {
      const { counted, ...rest } = history;
      writeFileSync(join(folder, 'history.json'), JSON.stringify({ ...rest, counted: [...counted], wrong }, null, 1));
    }
  } catch (error) {
    wrong = [error instanceof Error ? `${error.stack ?? error.message} ${String(error.cause ?? '')}` : String(error)];
    say(`seed ${seed}: BROKEN off`);
  }
  for (const line of wrong.slice(0, 25)) say(`   ${line}`);
  if (wrong.length > 25) say(`   … ${wrong.length} in all`);
  broken += Math.min(1, wrong.length);
  await stop(product);
  if (wrong.length === 0 && !values.keep) rmSync(folder, { recursive: true, force: true });
  else say(`   kept: ${folder}`);
}
process.exit(broken > 0 ? 1 : 0);
