#!/usr/bin/env node
/** `npm run world -- --seed N --steps M`: the simulated world (sim/world/run.ts) on the pinned Node. */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
process.exit(await runPinned([join(root, 'sim/world/run.ts'), ...process.argv.slice(2)]));
