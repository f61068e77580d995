import { expect, test } from 'vitest';
import { createPressure } from './pressure.ts';
import { restAfter } from './pulse.ts';

test('a burst is four hundred events a second, is noticed within half a second and over when nothing came for 400 ms', () => {
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
  at += 149;
  expect(pressure.isHigh()).toBe(true);
  at += 1;
  expect(pressure.isHigh()).toBe(false);
  at += 500;
  pressure.applied(1, 250);
  expect(pressure.isHigh()).toBe(false);
  pressure.applied(1, 251);
  expect(pressure.isHigh()).toBe(true);
});

test('being late is no burst for what gathers, 600 events a second are', () => {
  let at = 0;
  const pressure = createPressure({ monotonicMs: () => at });
  pressure.applied(299, 9_999);
  expect([pressure.isHigh(), pressure.isBurst()]).toEqual([true, false]);
  pressure.applied(1);
  expect(pressure.isBurst()).toBe(true);
  at += 400;
  expect(pressure.isBurst()).toBe(false);
});

test('a loop rests as long as its look took; in a burst four times that, between a tenth and a quarter of a second', () => {
  expect([0, 10, 90].map((took) => restAfter(took))).toEqual([2, 10, 40]);
  expect([0, 30, 90].map((took) => restAfter(took, true))).toEqual([100, 120, 250]);
});

test('a flood is five hundred deliveries a second, and is over two fifths of a second after the last; fifty orders a second are none', () => {
  let at = 0;
  const pressure = createPressure({ monotonicMs: () => at });
  // Fifty orders a second bring two hundred deliveries, here in clumps of forty.
  for (let clump = 0; clump < 10; clump += 1, at += 200) {
    pressure.accepted(40);
    expect(pressure.isFlood()).toBe(false);
  }
  pressure.accepted(99);
  expect(pressure.isFlood()).toBe(false);
  pressure.accepted(1);
  expect(pressure.isFlood()).toBe(true);
  at += 200;
  expect(pressure.isFlood()).toBe(true);
  at += 200;
  expect(pressure.isFlood()).toBe(false);
});
