import { expect, test } from 'vitest';
import { inTime } from './duration.ts';

test.each([
  [0, '0 s'],
  [1_499, '1 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [600_000, '10 min'],
  [7_199_000, '120 min'],
  [7_200_000, '2 h'],
  [28_800_000, '8 h'],
])('%i ms is %s', (ms, words) => {
  expect(inTime(ms)).toBe(words);
});
