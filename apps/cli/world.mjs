#!/usr/bin/env node
/** `npm run world`: the simulated world (sim/world/run.ts says how) on the pinned Node. */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
const dataDir = process.env.SYNCSTATE_DATA_DIR || '.data';
process.exit(await runPinned([join(root, 'sim/world/run.ts'), '--data-dir', dataDir, ...process.argv.slice(2)]));
