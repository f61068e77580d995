#!/usr/bin/env node
/** `npm run hostile -- --minutes N`: hostile input with ever new seeds (server/hostile/explore.testing.ts) on the pinned Node. */
import { join } from 'node:path';
import { ensureInstalled, root, runPinned } from './launcher.mjs';

process.chdir(root);
ensureInstalled();
process.exit(await runPinned([join(root, 'server/hostile/explore.testing.ts'), ...process.argv.slice(2)]));
