#!/usr/bin/env node
/**
 * `npm test [vitest arguments]`: installs what is missing (Chromium too), builds the web app, runs every test.
 * Leaves the closing line "N passed, N failed, N skipped" in test-results/summary.txt for .ci/run, and prints it last.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled, ensureWeb, root, runPinned } from './launcher.mjs';

const args = process.argv.slice(2);
process.chdir(root);
mkdirSync('test-results', { recursive: true });
ensureInstalled();
if (args.length === 0) {
  ensureWeb();
  await ensureChromium();
}
/** Five processes and their disasters: beside them, tests that wait for a page or a sale would time out. They run when those are done. */
const alone = 'server/fleet.pg.test.ts';
const passes = args.length > 0 ? [args] : [['--exclude', alone], [alone]];
const count = { passed: 0, failed: 0, pending: 0 };
const skipped = [];
let code = 0;
for (const [number, more] of passes.entries()) {
  const file = `test-results/vitest${number === 0 ? '' : `-${number + 1}`}.json`;
  rmSync(file, { force: true });
  const ended = await runPinned([
    '--disable-warning=ExperimentalWarning',
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
    ...more,
  ]);
  code ||= ended;
  if (!existsSync(file)) {
    count.failed += 1;
    continue;
  }
  const result = JSON.parse(readFileSync(file, 'utf8'));
  count.passed += result.numPassedTests;
  count.failed += Math.max(result.numFailedTests, ended === 0 ? 0 : 1);
  count.pending += result.numPendingTests + (result.numTodoTests ?? 0);
  for (const { assertionResults } of result.testResults)
    for (const { status, fullName } of assertionResults)
      if (status !== 'passed' && status !== 'failed') skipped.push(fullName);
}
const line = `${count.passed} passed, ${count.failed} failed, ${count.pending} skipped`;
if (skipped.length > 0) process.stdout.write(`\nSkipped:\n${skipped.map((name) => `  - ${name}`).join('\n')}\n`);
writeFileSync('test-results/summary.txt', `${line}\n`);
process.stdout.write(`${line}\n`);
process.exit(code);

/**
 * The browser tests need a Chromium; its path goes into CHROMIUM_PATH. Found: used. Else apt on Debian as root,
 * Playwright's elsewhere, else the run fails and says so.
 */
async function ensureChromium() {
  const { chromium } = await import(new URL('../../node_modules/playwright-core/index.mjs', import.meta.url).href);
  const usual = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', chromium.executablePath()];
  const find = () => [process.env.CHROMIUM_PATH, ...usual].find((path) => path && existsSync(path));
  if (!find()) installChromium();
  const path = find();
  if (path) {
    process.env.CHROMIUM_PATH = path;
    return;
  }
  process.stderr.write(
    'No Chromium found and none could be installed: the browser tests cannot run. Install chromium, or set CHROMIUM_PATH.\n',
  );
  writeFileSync(join(root, 'test-results/summary.txt'), '0 passed, 1 failed, 0 skipped\n');
  process.stdout.write('0 passed, 1 failed, 0 skipped\n');
  process.exit(1);
}

function installChromium() {
  process.stderr.write('Installing Chromium for the browser tests …\n');
  const quiet = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  if (process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    spawnSync('apt-get', ['update', '-qq'], quiet);
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], quiet);
  } else spawnSync(process.execPath, [join(root, 'node_modules/playwright-core/cli.js'), 'install', 'chromium'], quiet);
}
