import { describe, expect, test } from 'vitest';
import { chooseWay, cutInBulk, fitsBulk, type WayInput } from './way.ts';

const rules = {
  rowsMin: 1_500,
  rowsMax: 5_000,
  leastUnits: 10,
  everyMs: 1_200_000,
  submitsPerWindow: 5,
  windowMs: 300_000,
};
const now = 10_000_000;
const ago = (...ms: number[]) => ms.map((one) => now - one);
const calm: WayInput = { waiting: 1_500, open: false, submittedAt: [], retryAt: null, now };

describe('how changed numbers travel', () => {
  test.each<[string, Partial<WayInput>, Partial<typeof rules>, ReturnType<typeof chooseWay>]>([
    ['many, nothing open', {}, {}, { kind: 'bulk', rows: 5_000 }],
    ['one fewer than many', { waiting: 1_499 }, {}, { kind: 'singly', why: 'few' }],
    ['one is open or stuck', { open: true }, {}, { kind: 'singly', why: 'open' }],
    ['the last a moment ago', { submittedAt: ago(1_199_999) }, {}, { kind: 'singly', why: 'too_soon' }],
    ['the last long enough ago', { submittedAt: ago(1_200_000) }, {}, { kind: 'bulk', rows: 5_000 }],
    ['four in the window', { submittedAt: ago(1, 2, 3, 4) }, { everyMs: 0 }, { kind: 'bulk', rows: 5_000 }],
    ['five in the window', { submittedAt: ago(1, 2, 3, 4, 5) }, { everyMs: 0 }, { kind: 'singly', why: 'window' }],
    [
      'five, one of them before the window',
      { submittedAt: ago(1, 2, 3, 4, 300_000) },
      { everyMs: 0 },
      { kind: 'bulk', rows: 5_000 },
    ],
    ['refused, and to be asked later', { retryAt: now + 1 }, {}, { kind: 'singly', why: 'refused' }],
    ['refused once, long ago', { retryAt: now }, {}, { kind: 'bulk', rows: 5_000 }],
  ])('%s', (_, input, changed, way) => {
    expect(chooseWay({ ...calm, ...input }, { ...rules, ...changed })).toEqual(way);
  });

  test.each([
    [0, 10, false],
    [3, 0, false],
    [4, 0, true],
    [9, 10, false],
    [10, 10, true],
  ])('a number of %i with at least %i in a document: %s', (goal, leastUnits, fits) => {
    expect(fitsBulk(goal, { leastUnits })).toBe(fits);
  });

  test.each<[string, { value: number; goal: number; started: boolean }, ReturnType<typeof cutInBulk>]>([
    ['a raise waits for the end', { value: 50, goal: 70, started: false }, 'none'],
    ['the same number is no change', { value: 50, goal: 50, started: false }, 'none'],
    ['a cut that leaves enough waits for the end', { value: 50, goal: 4, started: false }, 'none'],
    ['an urgent cut takes back a document that has not started', { value: 50, goal: 3, started: false }, 'cancel'],
    ['an urgent cut to nothing too', { value: 50, goal: 0, started: false }, 'cancel'],
    ['one that is being worked off is waited for, and that is said', { value: 50, goal: 0, started: true }, 'wait'],
    ['to nothing where nothing is on its way', { value: 0, goal: 0, started: true }, 'none'],
  ])('%s', (_, input, outcome) => {
    expect(cutInBulk(input)).toBe(outcome);
  });
});
