/** Every command that takes an argument, with arguments that are none: it says so and ends; never a stack, never raw control characters. */
import type { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';
import { visible } from './output.ts';
import { createSyncState } from './program.ts';

let demo: Demo;

beforeAll(async () => {
  demo = await startDemoForCommands();
});
afterAll(async () => {
  await demo?.stop();
});

const hostile = ['', 'a\0b\ud800', 'x'.repeat(5_000), '\u001b[2J\u202eevil'];

const silent = { write: () => true };
const leaves = (command: Command, path: string[] = []): { path: string[]; args: number }[] => {
  const inner = command.commands.filter((one) => one.name() !== 'help');
  if (inner.length > 0) return inner.flatMap((one) => leaves(one, [...path, one.name()]));
  return [{ path, args: command.registeredArguments.length }];
};
const commands = leaves(createSyncState('0.0.0', { stdout: silent, stderr: silent }).program)
  .filter(({ args }) => args > 0)
  // Runs benches by name, for minutes.
  .filter(({ path }) => path[0] !== 'bench');

test.each(commands)('$path', async ({ path, args }) => {
  const rows = await demo.db.owner.query('select count(*)::int as n from movements');
  for (const value of hostile) {
    const ran = await syncstate('--org', 'demo', ...path, ...Array.from({ length: args }, () => value));
    const said = ran.stdout + ran.stderr;
    expect([value.slice(0, 20), ran.exit, said]).toEqual([value.slice(0, 20), expect.any(Number), visible(said)]);
    expect(said).not.toMatch(/^ +at .*:\d+:\d+\)?$/m);
  }
  expect((await demo.db.owner.query('select count(*)::int as n from movements')).rows).toEqual(rows.rows);
});

test('there are such commands', () => {
  expect(commands.length).toBeGreaterThan(25);
});

test('what would move the cursor or turn the text is shown as its code; line breaks, tabs and other scripts stay', () => {
  expect(visible('a\u001b[2Jb\r\u0000\u009b1m\u202ec\ud800\n\tÄ中🙂')).toBe(
    'a\\u001b[2Jb\\u000d\\u0000\\u009b1m\\u202ec\ufffd\n\tÄ中🙂',
  );
});
