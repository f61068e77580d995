import { describe, expect, test } from 'vitest';
import { lineOption, pairOption, parseLine, parseTime, pickByName, wholeNumber } from './values.ts';

const now = Date.parse('2026-11-21T12:00:00Z');

describe('times', () => {
  test('a time is an instant, a day in UTC, or an age', () => {
    expect(parseTime('2026-11-21T09:00:00Z', now)).toBe(Date.parse('2026-11-21T09:00:00Z'));
    expect(parseTime('2026-11-21T09:00:00+02:00', now)).toBe(Date.parse('2026-11-21T07:00:00Z'));
    expect(parseTime('2026-11-20', now)).toBe(Date.parse('2026-11-20T00:00:00Z'));
    expect(parseTime('90s', now)).toBe(now - 90_000);
    expect(parseTime('2h ago', now)).toBe(now - 7_200_000);
    expect(parseTime('3d', now)).toBe(now - 3 * 86_400_000);
  });

  test('a time without a zone is UTC, wherever the machine stands', () => {
    expect(parseTime('2026-11-21T09:00', now)).toBe(Date.parse('2026-11-21T09:00:00Z'));
  });

  test('what is no time is refused with the forms that are', () => {
    for (const text of ['yesterday', '2026-13-01', '', '12', 'h', '2026-11-21T25:00Z'])
      expect(() => parseTime(text, now), text).toThrow('A time is 2026-11-21T09:00:00Z');
  });
});

describe('lines and numbers', () => {
  test('a line is a SKU and its units, one unless told', () => {
    expect(parseLine('DEMO-001=3')).toEqual({ sku: 'DEMO-001', quantity: 3 });
    expect(parseLine('DEMO-001:3')).toEqual({ sku: 'DEMO-001', quantity: 3 });
    expect(parseLine('DEMO-001')).toEqual({ sku: 'DEMO-001', quantity: 1 });
    expect(parseLine('A=B/10% é=2')).toEqual({ sku: 'A=B/10% é', quantity: 2 });
    expect(lineOption('B', [{ sku: 'A', quantity: 1 }])).toEqual([
      { sku: 'A', quantity: 1 },
      { sku: 'B', quantity: 1 },
    ]);
  });

  test('a pair keeps every equals sign after the first', () => {
    expect(pairOption('MAIN=gid://x?a=b', undefined)).toEqual([['MAIN', 'gid://x?a=b']]);
    expect(() => pairOption('MAIN', undefined)).toThrow('OURS=THEIRS');
  });

  test('a whole number outside its bounds is refused', () => {
    expect(wholeNumber(0, 10)('7')).toBe(7);
    for (const text of ['-1', '11', '1.5', '1e1', '', 'seven'])
      expect(() => wholeNumber(0, 10)(text), text).toThrow('from 0 to 10');
  });
});

describe('names', () => {
  const shops = [
    { id: '01a1fd81-07eb-7305-a07e-7bde90e835a0', name: 'Shopify Demo A' },
    { id: '01a1fd82-07eb-7305-a07e-7bde90e835a0', name: 'Shopify Demo B' },
    { id: 'd883320b-d82d-8fe7-8a0c-36b1f7062bf5', name: 'Amazon' },
  ];

  test('case, spaces and dashes do not count, and a part is enough when it fits one', () => {
    expect(pickByName(shops, 'Amazon')).toBe(shops[2]);
    expect(pickByName(shops, 'demo-a')).toBe(shops[0]);
    expect(pickByName(shops, 'shopify.demo_b')).toBe(shops[1]);
    expect(pickByName(shops, 'd883')).toBe(shops[2]);
    expect(pickByName(shops, '01a1fd82-07eb-7305-a07e-7bde90e835a0')).toBe(shops[1]);
  });

  test('what fits several is not guessed', () => {
    expect(pickByName(shops, 'shopify')).toEqual([shops[0], shops[1]]);
    expect(pickByName(shops, 'a1')).toBeNull();
    expect(pickByName(shops, '--')).toBeNull();
  });

  test('a whole name wins over a longer one that begins so', () => {
    const two = [
      { id: 'x1', name: 'Shop' },
      { id: 'x2', name: 'Shop two' },
    ];
    expect(pickByName(two, 'shop')).toBe(two[0]);
  });
});
