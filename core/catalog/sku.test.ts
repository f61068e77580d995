import { expect, test } from 'vitest';
import { normalizeSku, parseSku } from './sku.ts';

test('a SKU is trimmed and composed, and otherwise kept to the letter', () => {
  expect(parseSku('  Caf\u0065\u0301 / #1 %+  ')).toEqual({ kind: 'sku', sku: 'Caf\u00e9 / #1 %+' });
  expect(normalizeSku(' a  B ')).toBe('a  B');
  expect(normalizeSku(' ')).toBe(null);
});

test('a SKU has 1 to 200 code points, counted as people see them', () => {
  expect(parseSku('🧦'.repeat(200))).toEqual({ kind: 'sku', sku: '🧦'.repeat(200) });
  expect(parseSku('🧦'.repeat(201))).toEqual({ kind: 'invalid', problem: 'too_long' });
  expect(parseSku(' \t ')).toEqual({ kind: 'invalid', problem: 'empty' });
});

test('control characters and broken text are no SKU', () => {
  expect(parseSku('a\u0000b')).toEqual({ kind: 'invalid', problem: 'control_character' });
  expect(parseSku('a\ud800')).toEqual({ kind: 'invalid', problem: 'control_character' });
});
