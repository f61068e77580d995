import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataDir, lockDataDirSoon } from './lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncstate-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const child = join(import.meta.dirname, 'child.testing.ts');

/** A process that holds the folder's lock. */
async function holder() {
  const process_ = spawn(process.execPath, [child, folder, 'lock'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((done) => process_.stdout.once('data', done));
  return process_;
}

test('a second holder is refused with the pid and folder of the first, which keeps it', () => {
  const first = lockDataDir(folder);
  const second = lockDataDir(folder);
  expect(second).toEqual({
    kind: 'in_use',
    folder,
    pid: process.pid,
    holder: 'server',
    message: `The data folder ${folder} is in use by process ${process.pid}.`,
  });
  expect(lockDataDir(folder).kind).toBe('in_use');
  if (first.kind === 'locked') first.release();
  const third = lockDataDir(folder);
  expect(third.kind).toBe('locked');
  if (third.kind === 'locked') third.release();
});

test('a start waits for a command that holds the folder, and gets it when the command is done', async () => {
  const command = lockDataDir(folder, 'command');
  const { message, ...refused } = lockDataDir(folder) as { message: string };
  expect(message).toBe(`The data folder ${folder} is in use by a command (process ${process.pid}).`);
  expect(refused).toEqual({ kind: 'in_use', folder, pid: process.pid, holder: 'command' });
  const start = lockDataDirSoon(folder);
  // Longer than a start waits for a server.
  const stillWaits = await Promise.race([start, new Promise((done) => setTimeout(() => done('waits'), 1_200))]);
  expect(stillWaits).toBe('waits');
  if (command.kind === 'locked') command.release();
  const server = await start;
  expect(server.kind).toBe('locked');
  expect(lockDataDir(folder)).toMatchObject({ kind: 'in_use', holder: 'server' });
  if (server.kind === 'locked') server.release();
});

test('a holder that is killed gives it up at once, and a second process names the living one', async () => {
  const other = await holder();
  expect(lockDataDir(folder)).toMatchObject({ kind: 'in_use', pid: other.pid });
  other.kill('SIGKILL');
  await new Promise((done) => other.once('exit', done));
  const mine = lockDataDir(folder);
  expect(mine.kind).toBe('locked');
  if (mine.kind === 'locked') mine.release();
});

test('a second process ends with exit code 1 in less than three seconds, naming pid and folder', async () => {
  const mine = lockDataDir(folder);
  // Closing a second handle in this process must not drop the first one's lock.
  expect(lockDataDir(folder).kind).toBe('in_use');
  const started = performance.now();
  const second = spawn(process.execPath, [child, folder, 'hold'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  second.stderr.on('data', (text) => (said += text));
  const code = await new Promise((done) => second.once('close', done));
  expect(code).toBe(1);
  expect(said.trim()).toBe(`The data folder ${folder} is in use by process ${process.pid}.`);
  expect(performance.now() - started).toBeLessThan(3_000);
  expect(lockDataDir(folder).kind).toBe('in_use');
  if (mine.kind === 'locked') mine.release();
});

test('a leftover that names a living process (its id was reused) does not count: only the kernel is asked', () => {
  writeFileSync(join(folder, 'lock.json'), JSON.stringify({ pid: process.ppid, since: '2026-01-01T00:00:00Z' }));
  writeFileSync(join(folder, 'lock.sqlite'), '');
  const mine = lockDataDir(folder);
  expect(mine.kind).toBe('locked');
  if (mine.kind === 'locked') mine.release();
});

test('of eight that come at once exactly one gets it', async () => {
  const children = Array.from({ length: 8 }, () =>
    spawn(process.execPath, [child, folder, 'lock'], { stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  const answers = await Promise.all(
    children.map(
      (process_) =>
        new Promise<string>((done) => process_.stdout.once('data', (line) => done(JSON.parse(String(line)).kind))),
    ),
  );
  for (const process_ of children) process_.kill('SIGKILL');
  expect(answers.filter((kind) => kind === 'locked')).toEqual(['locked']);
  expect(answers.filter((kind) => kind === 'in_use')).toHaveLength(7);
});

test('its files are for the owner only', () => {
  const mine = lockDataDir(folder);
  for (const name of ['lock.sqlite', 'lock.json']) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  if (mine.kind === 'locked') mine.release();
});
