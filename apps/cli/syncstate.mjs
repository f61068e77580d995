#!/usr/bin/env node
/** The `syncstate` command and `npm start`: installs what is missing, then runs apps/cli/main.ts under the pinned Node. */
import { join } from 'node:path';
import { ensureInstalled, ensureWeb, keptCompiled, root, runPinned } from './launcher.mjs';

const args = process.argv.slice(2);
ensureInstalled();
if (['start', 'server'].includes(args[0]) && !args.includes('--help')) ensureWeb();
const main = ['--disable-warning=ExperimentalWarning', join(root, 'apps/cli/main.ts'), ...args];
process.exit(await runPinned(main, { env: keptCompiled }));
