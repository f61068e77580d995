/** The commands as our own texts name them: docs/cli.md lists every one, and no text names one that is not there. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { createSyncState } from './program.ts';

const root = join(import.meta.dirname, '../..');
const silent = { write: () => true };
const { program } = createSyncState('0.0.0', { stdout: silent, stderr: silent });

const subcommands = (command: Command): Command[] => command.commands.filter((one) => one.name() !== 'help');
const all = (command: Command): Command[] => [command, ...subcommands(command).flatMap(all)];
const leaves = (command: Command, path: string[] = []): string[] =>
  subcommands(command).length === 0
    ? [path.join(' ')]
    : subcommands(command).flatMap((one) => leaves(one, [...path, one.name()]));

/** The words after "syncstate" wherever it stands as a command: in quotes, after a prompt or a colon, at the start of a line. */
function named(text: string): string[][] {
  const command =
    /(?:[`"$(→·] ?|: ?|npx |run |^ *|\\n)syncstate((?: (?:[a-z][a-z-]*|--[a-z][a-z-]*))+)(?![\w-]|: \$\{)/gm;
  return [...text.matchAll(command)].map(([, words = '']) => words.trim().split(' '));
}

/** What is wrong with "connection renew --x", or null: words after a leaf are its arguments. */
function wrongIn(words: string[]): string | null {
  let command = program;
  for (const word of words) {
    if (word.startsWith('--')) {
      const known = [...command.options, ...program.options].some(({ long }) => long === word) || word === '--help';
      if (!known) return `${command.name()} has no ${word}`;
      continue;
    }
    const next = command.commands.find((one) => one.name() === word);
    if (next) command = next;
    else if (command === program || (subcommands(command).length > 0 && command.registeredArguments.length === 0))
      return `${command.name()} has no "${word}"`;
    else return null;
  }
  return null;
}

test('no text of ours tells people to run a command or option that does not exist', () => {
  const files = execFileSync('git', ['ls-files', '*.ts', '*.tsx', '*.md'], { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((path) => path !== '' && !/\.(test|testing)\.tsx?$/.test(path));
  const wrong: string[] = [];
  let seen = 0;
  for (const path of files)
    for (const words of named(readFileSync(join(root, path), 'utf8'))) {
      seen += 1;
      const why = wrongIn(words);
      if (why !== null) wrong.push(`${path}: syncstate ${words.join(' ')}: ${why}`);
    }
  // Help texts with their examples, as they are shown.
  for (const command of all(program)) {
    let help = '';
    const writeOut = (text: string): void => {
      help += text;
    };
    command.configureOutput({ writeOut }).outputHelp();
    for (const words of named(help)) {
      seen += 1;
      const why = wrongIn(words);
      if (why !== null) wrong.push(`${command.name()} --help: syncstate ${words.join(' ')}: ${why}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(seen).toBeGreaterThan(150);
});

test('docs/cli.md names every command', () => {
  const page = readFileSync(join(root, 'docs/cli.md'), 'utf8');
  // A command of two words stands in one paragraph or table with both.
  const blocks = page.split(/\n\s*\n/).map((block) => new Set(block.match(/[a-z][a-z-]*/g)));
  const missing = leaves(program).filter(
    (name) => !blocks.some((block) => name.split(' ').every((one) => block.has(one))),
  );
  expect(missing).toEqual([]);
});
