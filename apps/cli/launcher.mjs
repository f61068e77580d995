/**
 * What every launcher needs before our TypeScript can run; plain JavaScript that also runs on Node 20.
 *
 * 1. installed: each dependency named in package.json is there in exactly that version, else `npm ci`;
 * 2. pinned Node: the `node` devDependency (24), because the server runs .ts files directly;
 * 3. web app: built when its sources changed since the last build.
 *
 * Used by apps/cli/syncstate.mjs (npm start, npx syncstate), apps/cli/test.mjs and apps/cli/check.mjs.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const say = (text) => process.stderr.write(`${text}\n`);

function installedVersion(name) {
  try {
    return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
  } catch {
    return null;
  }
}

/** Names of packages that are missing or of another version. Optional ones (other platforms' binaries) are npm's business. */
export function missingPackages() {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return Object.entries({ ...dependencies, ...devDependencies })
    .filter(([name, version]) => installedVersion(name) !== version)
    .map(([name]) => name);
}

/** Installs the locked versions, development ones too: the pinned Node and the web build are among them. */
export function ensureInstalled() {
  const missing = missingPackages();
  if (missing.length === 0 && existsSync(pinnedNode())) return;
  // Two launchers on a fresh clone must not install at once: the second waits for the first.
  const lock = join(root, '.install-lock');
  for (let waited = 0; ; waited += 1) {
    try {
      mkdirSync(lock);
      break;
    } catch {
      if (waited > 600 || ageMs(lock) > 600_000) rmSync(lock, { recursive: true, force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
      if (missingPackages().length === 0 && existsSync(pinnedNode())) return;
    }
  }
  try {
    say(`Installing ${missing.length} packages …`);
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const done = spawnSync(npm, ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      env: { ...process.env, NODE_ENV: '' },
    });
    if (done.status !== 0 || missingPackages().length > 0) {
      say('Could not install the packages. Is the npm registry reachable? Run "npm ci" to see the whole error.');
      process.exit(1);
    }
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

export function pinnedNode() {
  return join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

function* filesUnder(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name === 'dist' || entry.name === 'node_modules') continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else yield path;
  }
}

/** Builds apps/web into apps/web/dist unless the stamp there names exactly these sources. */
export function ensureWeb() {
  const hash = createHash('sha256');
  for (const path of [
    ...filesUnder(join(root, 'apps/web')),
    ...filesUnder(join(root, 'apps/client')),
    join(root, 'package-lock.json'),
  ])
    hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  const stamp = hash.digest('hex');
  const stampFile = join(root, 'apps/web/dist/.stamp');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  say('Building the web app …');
  const done = spawnSync(
    pinnedNode(),
    [
      join(root, 'node_modules/vite/bin/vite.js'),
      'build',
      '--logLevel',
      'warn',
      '--config',
      join(root, 'apps/web/vite.config.ts'),
    ],
    { cwd: root, stdio: ['ignore', 2, 2] },
  );
  if (done.status !== 0) {
    say('The web app did not build; the lines above say why.');
    process.exit(1);
  }
  writeFileSync(stampFile, stamp);
}

/** Where Node keeps our code compiled, and its types taken off, from one start to the next: half of what loading it costs. */
export const keptCompiled = {
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules', '.cache', 'syncstate'),
};

/** Runs a script under the pinned Node, hands on signals, and ends with its exit code. */
export function runPinned(args, { env = {} } = {}) {
  const child = spawn(pinnedNode(), args, { cwd: process.cwd(), stdio: 'inherit', env: { ...process.env, ...env } });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.on('error', (error) => {
      say(`Could not start ${pinnedNode()}: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 1)));
  });
}
