import { expect, test } from 'vitest';
import { createPressure } from './pressure.ts';
import { restAfter } from './pulse.ts';

test('a burst is three hundred events a second, is noticed within a fifth of one and forgotten within two', () => {
  let at = 0;
  const pressure = createPressure({ monotonicMs: () => at });
  const seen: boolean[] = [];
  const come = (events: number, ms: number) => {
    pressure.applied(events);
    seen.push(pressure.isHigh());
    at += ms;
  };
  come(20, 100);
  come(20, 100);
  come(59, 100);
  come(1, 100);
  expect(seen).toEqual([false, false, false, true]);
  at += 100;
  expect(pressure.isHigh()).toBe(true);
  at += 200;
  expect(pressure.isHigh()).toBe(false);
});

test('a loop rests as long as its look took; in a burst four times that, between a tenth and a quarter of a second', () => {
  expect([0, 10, 90].map((took) => restAfter(took))).toEqual([2, 10, 40]);
  expect([0, 30, 90].map((took) => restAfter(took, true))).toEqual([100, 120, 250]);
});
