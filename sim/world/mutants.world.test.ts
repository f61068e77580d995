/** A few mutants that any seed soon shows; all of them: `npm run world -- --mutants` (docs/world.md). */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startScratchServer } from './scratch.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

test.each([
  ['no-attempt-row', ['P10']],
  ['bundle-rounded-up', ['P6', 'P4']],
  ['movement-lost', ['P1']],
])('the auditor sees mutant %s within four seeds', { timeout: 300_000 }, async (mutant, promises) => {
  const { ownerUrl, end } = await startScratchServer();
  const hook = ['--import', here('mutant-hook.ts'), here('mutant-run.ts'), '--mutant', mutant];
  const more = ['--seeds', '4', '--steps', '60', '--database', ownerUrl];
  const { stdout } = await promisify(execFile)(process.execPath, [...hook, ...more]).finally(end);
  const { promise } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(promises).toContain(promise);
});
