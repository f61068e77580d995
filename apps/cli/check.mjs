#!/usr/bin/env node
/** `npm run check`: types, lint and format, tidy (the tree and its arrows). Every part runs; the exit code tells if any failed. */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
const parts = [
  ['types', ['node_modules/typescript/bin/tsc', '-p', '.']],
  ['lint and format', ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']],
  ['tidy', ['node_modules/vitest/vitest.mjs', 'run', 'tidy.test.ts']],
];
let failed = 0;
for (const [name, [script, ...args]] of parts) {
  const code = await runPinned([join(root, script), ...args]);
  process.stdout.write(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}\n`);
  if (code !== 0) failed = 1;
}
process.exit(failed);
