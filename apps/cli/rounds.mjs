#!/usr/bin/env node
/** `npm run rounds -- --rounds N --seed M`: rounds of real concurrency (server/rounds.testing.ts) on the pinned Node. */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
process.exit(await runPinned([join(root, 'server/rounds.testing.ts'), ...process.argv.slice(2)]));
