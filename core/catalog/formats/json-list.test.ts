import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonList } from './json-list.ts';

/** In pieces of one length; null: there was no list. */
function read(text: string, length: number, longest = 1_000_000): unknown[] | null {
  const list = new JsonList(longest);
  const found: unknown[] = [];
  for (let at = 0; at < text.length; at += length) found.push(...list.take(text.slice(at, at + length)));
  return list.end() ? found : null;
}

test('a list is read as JSON reads it, bare or as rows or items of an object, wherever the text is cut', () => {
  const entries = fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 8 });
  const around = fc.constantFrom(
    (list: string) => list,
    (list: string) => `\n {"rows" : ${list} }`,
    (list: string) => `{"x":{"rows":[1]},"t":"a]\\"[{","items":${list},"n":[[2],{"rows":3}]}\n`,
  );
  fc.assert(
    fc.property(
      entries,
      around,
      fc.constantFrom(0, 2),
      fc.integer({ min: 1, max: 30 }),
      (list, wrap, space, length) => {
        const text = JSON.stringify(list, null, space);
        expect(read(wrap(text), length)).toEqual(JSON.parse(text));
      },
    ),
    { numRuns: 500 },
  );
});

test.each([
  '',
  '[',
  '[1,]',
  '[,1]',
  '[1 2]',
  '[1]]',
  '[1] x',
  '{"rows":[1}',
  '{"rows":[1],}',
  '{rows:[1]}',
  '{"a":1} [2]',
  '{}[1]',
  '["a',
  '[{"a":1}}]',
])('%j is no JSON', (text) => {
  for (const length of [1, 100]) expect(() => read(text, length)).toThrow(SyntaxError);
});

test.each(['{}', '7', '{"rows":7}', '{"x":[1]}', '{"a":{"rows":[1]}}', '"[1]"'])('%j has no list of rows', (text) => {
  for (const length of [1, 100]) expect(read(text, length)).toBe(null);
});

test('an element beyond the longest is refused; as many others as there are may come', () => {
  const text = `[${Array.from({ length: 100 }, () => '"1234567"').join(',')}]`;
  expect(read(text, 5, 10)).toHaveLength(100);
  expect(() => read('["1234567890"]', 5, 10)).toThrow(RangeError);
});
