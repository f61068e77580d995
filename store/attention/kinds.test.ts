/** docs/alerts.md is the table of alert kinds, word for word. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { alertKindFacts, alertKinds } from './kinds.ts';

test('docs/alerts.md lists every kind of alert with its severity, title and what to do, and no other', () => {
  const rows = Object.entries(alertKinds).map(
    ([kind, { severity, title, todo, ends }]) =>
      `| \`${kind}\` | ${severity} | ${title} | ${todo} | ${ends === 'itself' ? 'by itself' : 'when read'} |`,
  );
  const page = readFileSync(new URL('../../docs/alerts.md', import.meta.url), 'utf8');
  expect(page.split('\n').filter((line) => line.startsWith('| `'))).toEqual(rows);
});

test('a kind that a later release wrote has no facts, and neither has a name every object knows', () => {
  expect(alertKindFacts('from_the_future')).toBeNull();
  expect(alertKindFacts('constructor')).toBeNull();
  expect(alertKindFacts('oversell')?.severity).toBe('critical');
});
