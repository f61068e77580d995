import { expect, test } from 'vitest';
import { AssertionFault, StoreError } from '#core/errors.ts';
import { classifyFault, parseInt8 } from './tx.ts';

const pgError = (code: string, constraint?: string) =>
  Object.assign(new Error('from the server'), { code, ...(constraint ? { constraint } : {}) });

test.each([
  ['serialization failure', pgError('40001'), 'race'],
  ['deadlock', pgError('40P01'), 'race'],
  ['lock not available', pgError('55P03'), 'race'],
  ['a conflict of our own', new StoreError('store.conflict', 'lost'), 'race'],
  ['a mismatch of our own', new StoreError('store.mismatch', 'other content'), 'other'],
  ['a unique violation nobody named', pgError('23505', 'variants_org_id_sku_key'), 'other'],
  ['a check violation', pgError('23514'), 'other'],
  ['an administrator ended the connection', pgError('57P01'), 'connection'],
  ['a crash of another backend', pgError('57P02'), 'connection'],
  ['a server that starts up', pgError('57P03'), 'connection'],
  ['no server', pgError('ECONNREFUSED'), 'connection'],
  ['no socket', pgError('ENOENT'), 'connection'],
  ['too many connections', pgError('53300'), 'connection'],
  ['a broken stream', new Error('Connection terminated unexpectedly'), 'connection'],
  ['a statement that ran too long', pgError('57014'), 'other'],
  ['our mistake', new AssertionFault('no'), 'other'],
  ['a thrown string', 'oops', 'other'],
])('%s', (_name, error, fault) => {
  expect(classifyFault(error)).toBe(fault);
});

test('a unique violation is a lost race only on the constraints the caller names', () => {
  expect(classifyFault(pgError('23505', 'orders_key'), ['orders_key'])).toBe('race');
  expect(classifyFault(pgError('23505', 'other_key'), ['orders_key'])).toBe('other');
});

test('an int8 is a number while it is exact, and refused when it is not', () => {
  expect(parseInt8('9007199254740991')).toBe(9_007_199_254_740_991);
  expect(parseInt8('-9007199254740991')).toBe(-9_007_199_254_740_991);
  expect(() => parseInt8('9007199254740992')).toThrow('an int8 beyond 2^53 has no exact number');
});
