import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseLossless, topLevelField } from './lossless.ts';

test('ids above 2^53 come out as their digits, other numbers as numbers', () => {
  expect(parseLossless('{"a":9223372036854775807,"b":9007199254740991,"c":-1.5,"d":"9223372036854775807"}')).toEqual({
    a: '9223372036854775807',
    b: 9_007_199_254_740_991,
    c: -1.5,
    d: '9223372036854775807',
  });
});

test('what is not JSON is unreadable', () => {
  expect(() => parseLossless('{"a":9223372036854775807')).toThrow(
    expect.objectContaining({ code: 'connector.unreadable' }),
  );
  expect(() => parseLossless('<html>')).toThrow(expect.objectContaining({ code: 'connector.unreadable' }));
});

test('a field is found at the top level only, whatever hides in strings and inner objects', () => {
  const text =
    ' { "note" : "\\"id\\":1, }{", "customer":{"id":2,"tags":["]",{"id":3}]}, "id" : 9223372036854775807 , "z":null}';
  expect(topLevelField(text, 'id')).toBe('9223372036854775807');
  expect(topLevelField(text, 'customer')).toBe('{"id":2,"tags":["]",{"id":3}]}');
  expect(topLevelField(text, 'z')).toBe('null');
  expect([
    topLevelField(text, 'tags'),
    topLevelField('[1]', 'id'),
    topLevelField('', 'id'),
    topLevelField('{"id"', 'id'),
    topLevelField('{"a":', 'id'),
  ]).toEqual([null, null, null, null, null]);
});

test('every field of every object is found as it was written', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z_]{1,6}$/), fc.jsonValue()), fc.boolean(), (object, spaced) => {
      const text = JSON.stringify(object, null, spaced ? 2 : 0);
      for (const [name, value] of Object.entries(object))
        expect(JSON.parse(topLevelField(text, name) ?? 'missing')).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
