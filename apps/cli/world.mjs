#!/usr/bin/env node
/** `npm run world`: the simulated world (sim/world/run.ts says how) on the pinned Node; with `--mutants` the test of its auditor (run-mutants.ts). */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
const dataDir = process.env.SYNCSTATE_DATA_DIR || '.data';
const run = process.argv.includes('--mutants')
  ? ['sim/world/run-mutants.ts']
  : ['sim/world/run.ts', '--data-dir', dataDir];
process.exit(await runPinned([join(root, run[0]), ...run.slice(1), ...process.argv.slice(2)]));
