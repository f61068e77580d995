/** The command as people run it: child processes on a data folder of their own, with the bundled database. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { scratchFolder } from '#store/testing/scratch.ts';

const main = join(import.meta.dirname, 'main.ts');
const dataDir = scratchFolder('syncstate-command-');
const children = new Set<ChildProcess>();

interface Ended {
  exit: number | null;
  stdout: string;
  stderr: string;
  ms: number;
}

function command(
  argv: string[],
  environment: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const { DATABASE_URL: _, ...inherited } = process.env;
  const env = {
    ...inherited,
    SYNCSTATE_DATA_DIR: dataDir,
    PORT: '0',
    LOG_LEVEL: 'fatal',
    SYNCSTATE_DEMO: 'on',
    NODE_ENV: 'development',
    ...environment,
  };
  const started = performance.now();
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...argv], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => (text.stdout += chunk));
  child.stderr?.on('data', (chunk) => (text.stderr += chunk));
  const ended = new Promise<Ended>((done) =>
    child.on('close', (exit) => {
      children.delete(child);
      done({ exit, ...text, ms: performance.now() - started });
    }),
  );
  return { child, ended };
}

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(dataDir, { recursive: true, force: true });
});

async function until(there: () => boolean): Promise<void> {
  const end = performance.now() + 25_000;
  while (!there()) {
    if (performance.now() > end) throw new Error('not within 25 s');
    await new Promise((done) => setTimeout(done, 50));
  }
}

test('start prints where and how to sign in; a second start is refused and harms nothing; commands attach; two signals stop it once', async () => {
  const { child, ended } = command(['start', '--json']);
  await until(() => existsSync(join(dataDir, 'demo.json')));
  const demo = JSON.parse(readFileSync(join(dataDir, 'demo.json'), 'utf8')) as { url: string; apiKey: string };

  const [second, verified, stock] = await Promise.all([
    command(['start']).ended,
    command(['verify', '--json']).ended,
    command(['stock', 'DEMO-001', '--json']).ended,
  ]);
  expect(second).toMatchObject({ exit: 1, stdout: '' });
  expect(second.stderr).toContain(`The data folder ${dataDir} is in use by process ${child.pid}.`);
  // Told at once, not after waiting for the folder: it is over about when a command beside it is, on a busy machine too.
  expect(second.ms - verified.ms).toBeLessThan(4_500);
  expect(verified).toMatchObject({ exit: 0, stderr: '' });
  expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, faults: [] });
  expect(JSON.parse(stock.stdout)).toMatchObject({ sku: 'DEMO-001', available: 100 });
  expect((await fetch(`${demo.url}/ready`)).status).toBe(200);

  const asked = performance.now();
  child.kill('SIGTERM');
  child.kill('SIGTERM');
  const first = await ended;
  expect(performance.now() - asked).toBeLessThan(5_000);
  expect(first.exit).toBe(0);
  expect(JSON.parse(first.stdout)).toEqual({
    role: 'start',
    url: demo.url,
    openLink: `${demo.url}/#key=${demo.apiKey}`,
    pid: child.pid,
    dataDir,
  });

  // Nothing runs any more: a command starts the database for itself, and stops it.
  // Two at once share it, whichever was first.
  for (const alone of await Promise.all([
    command(['stock', 'DEMO-002', '--json']).ended,
    command(['stock', 'DEMO-002', '--json']).ended,
  ])) {
    expect(alone).toMatchObject({ exit: 0, stderr: '' });
    expect(JSON.parse(alone.stdout)).toMatchObject({ sku: 'DEMO-002', available: 100 });
  }
}, 60_000);

test('problems of the configuration are told together, and nothing is started', async () => {
  const ran = await command(['start'], {
    PORT: 'many',
    LOG_LEVEL: 'loud',
    DATABASE_URL: 'mysql://x',
    SYNCSTATE_DATA_DIR: join(dataDir, 'never'),
  }).ended;
  expect(ran).toMatchObject({ exit: 1, stdout: '' });
  expect(ran.stderr).toContain('The configuration has 3 problems:');
  for (const name of ['PORT', 'LOG_LEVEL', 'DATABASE_URL']) expect(ran.stderr).toContain(`- ${name}:`);
  expect(existsSync(join(dataDir, 'never'))).toBe(false);
});
