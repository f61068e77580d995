/** Every mutant still names code that is there: whoever moves a rule says what the same mistake looks like now. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mutants, mutated } from './mutants.ts';

const root = new URL('../../', import.meta.url);

test.each(mutants.map((mutant) => [mutant.name, mutant] as const))('mutant %s still fits its files', (_, { edits }) => {
  for (const file of new Set(edits.map((edit) => edit.file))) {
    const source = readFileSync(new URL(file, root), 'utf8');
    const own = edits.filter((edit) => edit.file === file);
    expect(mutated(source, own)).not.toBe(source);
  }
});

test('there are at least fifteen mutants, each with a name of its own', () => {
  expect(mutants.length).toBeGreaterThanOrEqual(15);
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
});

test('a text that stands twice is refused', () => {
  expect(() => mutated('a b a', [{ file: 'x.ts', from: 'a', to: 'c' }])).toThrow('stands 2 times in x.ts: a');
});
