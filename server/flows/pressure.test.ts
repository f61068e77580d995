import { expect, test } from 'vitest';
import { createPressure } from './pressure.ts';
import { restAfter } from './pulse.ts';

test('a burst is four hundred events a second, is noticed within half a second and forgotten within two halves more', () => {
  let at = 0;
  const pressure = createPressure({ monotonicMs: () => at });
  const seen: boolean[] = [];
  const come = (events: number, ms: number) => {
    pressure.applied(events);
    seen.push(pressure.isHigh());
    at += ms;
  };
  come(60, 250);
  come(60, 250);
  come(199, 250);
  come(1, 250);
  expect(seen).toEqual([false, false, false, true]);
  at += 250;
  expect(pressure.isHigh()).toBe(true);
  at += 500;
  expect(pressure.isHigh()).toBe(false);
  pressure.applied(1, 250);
  expect(pressure.isHigh()).toBe(false);
  pressure.applied(1, 251);
  expect(pressure.isHigh()).toBe(true);
});

test('a loop rests as long as its look took; in a burst four times that, between a tenth and a quarter of a second', () => {
  expect([0, 10, 90].map((took) => restAfter(took))).toEqual([2, 10, 40]);
  expect([0, 30, 90].map((took) => restAfter(took, true))).toEqual([100, 120, 250]);
});
