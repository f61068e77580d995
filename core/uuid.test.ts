import { expect, test } from 'vitest';
import { uuidv7 } from './uuid.ts';

test('the vector of RFC 9562 appendix A.6', () => {
  const chance = new Uint8Array([0x0c, 0xc3, 0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f]);
  expect(uuidv7(0x017f22e279b0, chance)).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f');
});

test('a later millisecond sorts later, whatever the chance', () => {
  const high = new Uint8Array(10).fill(255);
  const low = new Uint8Array(10);
  expect(uuidv7(1_000, high) < uuidv7(1_001, low)).toBe(true);
});
