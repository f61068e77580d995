import { describe, expect, test } from 'vitest';
import { goalOf, type NextWrite, type NextWriteInput, nextWrite } from './next-write.ts';
import { urgency } from './urgency.ts';

const now = 1_000_000;
const base: NextWriteInput = {
  desired: 8,
  unseen: 0,
  unbooked: 0,
  raiseHeld: false,
  expected: 10,
  lastRead: null,
  settling: null,
  openAttempt: false,
  readFailed: false,
  quietUntil: null,
  now,
  compareAndSet: true,
};
const blindly = { ...base, compareAndSet: false };
const justRead = (value: number, ageMs = 20) => ({ lastRead: { value, ageMs }, expected: value });
const send = (value: number, from: number | null): NextWrite => ({ kind: 'send', value, from });
const read: NextWrite = { kind: 'read' };
const nothing: NextWrite = { kind: 'nothing' };

describe('with compare-and-set', () => {
  test.each<[string, Partial<NextWriteInput>, NextWrite]>([
    ['a cut goes from expected', {}, send(8, 10)],
    ['a raise goes from expected', { desired: 12 }, send(12, 10)],
    ['what is shown already is not sent', { desired: 10 }, nothing],
    ['unknown is read first, even for 0', { expected: null, desired: 0 }, read],
    ['unknown is never skipped', { expected: null, desired: 10 }, read],
    ['presumed sales are not offered again', { unseen: 3, desired: 12 }, send(9, 10)],
    ['presumed sales that explain the difference send nothing', { expected: 9, desired: 10, unseen: 1 }, nothing],
    [
      'sold and not booked: a number that shows it is left as it is',
      { expected: 9, desired: 10, unbooked: 1 },
      nothing,
    ],
    [
      '… and so is one that does not: how much falls here is not known',
      { expected: 10, desired: 10, unbooked: 1 },
      nothing,
    ],
    ['… is not offered again by a raise', { expected: 5, desired: 10, unbooked: 1 }, send(9, 5)],
    ['… nor by a cut', { expected: 10, desired: 8, unbooked: 1 }, send(7, 10)],
    ['… beside presumed sales', { expected: 5, desired: 10, unseen: 2, unbooked: 1 }, send(7, 5)],
    [
      '… is no reason to write 0 blind',
      { expected: null, desired: 1, unbooked: 1, readFailed: true },
      { kind: 'wait', until: now + 1_000 },
    ],
    ['a first number is not raised before orders are known past it', { desired: 12, raiseHeld: true }, nothing],
    ['… nor by what frees units', { expected: 5, desired: 12, unseen: 3, unbooked: 1, raiseHeld: true }, nothing],
    ['… is cut at once', { raiseHeld: true }, send(8, 10)],
    ['… is read when it is unknown', { expected: null, raiseHeld: true }, read],
    ['… and below 0 left as it is', { expected: -2, raiseHeld: true }, nothing],
    ['more presumed sales than goods is 0', { unseen: 20 }, send(0, 10)],
    ['below 0 compares as 0', { expected: -3, desired: 0 }, nothing],
    ['a raise from below 0 names the true number', { expected: -3, desired: 5 }, send(5, -3)],
    ['an open attempt is read back before anything', { openAttempt: true, desired: 0 }, read],
    [
      'an open attempt of a predecessor waits until its requests are over',
      { openAttempt: true, quietUntil: now + 900 },
      { kind: 'wait', until: now + 900 },
    ],
    [
      'an open attempt that cannot be read back waits, even for 0',
      { openAttempt: true, readFailed: true, desired: 0 },
      { kind: 'wait', until: now + 1_000 },
    ],
    ['unreadable and 0: blind', { expected: null, desired: 0, readFailed: true }, send(0, null)],
    ['unreadable and not 0: wait', { expected: null, readFailed: true }, { kind: 'wait', until: now + 1_000 }],
  ])('%s', (_, input, want) => {
    expect(nextWrite({ ...base, ...input })).toEqual(want);
  });
});

describe('without compare-and-set', () => {
  test.each<[string, Partial<NextWriteInput>, NextWrite]>([
    ['every write follows a read', {}, read],
    ['a cut to 0 too: what the read shows must not be forgotten', { desired: 0 }, read],
    ['a number just read is written over', justRead(10), send(8, 10)],
    ['a number read half a second ago is not "right before"', justRead(10, 501), read],
    ['a cut by belief that would be a raise is judged by the number read', { ...justRead(3), unseen: 7 }, send(1, 3)],
    ['shown already: nothing', { ...justRead(8) }, nothing],
    ['unknown is read', { expected: null }, read],
    [
      'a lower goal may go while a write settles',
      { settling: { value: 12, until: now + 5_000 }, expected: null, lastRead: { value: 10, ageMs: 5 } },
      send(8, 10),
    ],
    ['… after reading', { settling: { value: 12, until: now + 5_000 }, expected: null }, read],
    [
      '… but not as a raise over what stands there',
      { settling: { value: 12, until: now + 5_000 }, expected: null, lastRead: { value: 5, ageMs: 5 } },
      { kind: 'wait', until: now + 5_000 },
    ],
    [
      'a raise waits until the write has settled',
      { settling: { value: 5, until: now + 5_000 }, expected: null },
      { kind: 'wait', until: now + 5_000 },
    ],
    [
      'what is on its way already is waited for',
      { settling: { value: 8, until: now + 5_000 }, expected: null },
      { kind: 'wait', until: now + 5_000 },
    ],
    [
      'an outcome that is not known is waited for while it may come into force, even with a cut to 0',
      {
        openAttempt: true,
        settling: { value: 12, until: now + 5_000 },
        expected: null,
        desired: 0,
        lastRead: { value: 10, ageMs: 5 },
      },
      { kind: 'wait', until: now + 5_000 },
    ],
    [
      '… and for the longer of that and the quiet time',
      {
        openAttempt: true,
        settling: { value: 12, until: now + 5_000 },
        expected: null,
        desired: 0,
        quietUntil: now + 7_000,
      },
      { kind: 'wait', until: now + 7_000 },
    ],
    [
      '… then it is read back',
      { openAttempt: true, settling: { value: 12, until: now }, expected: null, desired: 0 },
      read,
    ],
    [
      '… and unreadable it waits on, and nothing is sent blind',
      { openAttempt: true, settling: { value: 12, until: now }, expected: null, desired: 0, readFailed: true },
      { kind: 'wait', until: now + 1_000 },
    ],
    ['a first number is not raised, just read or not', { ...justRead(5), raiseHeld: true }, nothing],
    ['… is cut from what was just read', { ...justRead(10), raiseHeld: true }, send(8, 10)],
    [
      '… is not raised over what is on its way, and what is on its way is not raised',
      {
        settling: { value: 5, until: now + 5_000 },
        expected: null,
        raiseHeld: true,
        lastRead: { value: 10, ageMs: 5 },
      },
      { kind: 'wait', until: now + 5_000 },
    ],
    [
      'sold and not booked: what is on its way is not cut for it',
      {
        settling: { value: 8, until: now + 5_000 },
        expected: null,
        desired: 9,
        unbooked: 2,
        lastRead: { value: 10, ageMs: 5 },
      },
      { kind: 'wait', until: now + 5_000 },
    ],
    ['settled: read', { settling: { value: 8, until: now }, expected: null }, read],
    ['unreadable and 0: blind', { desired: 0, readFailed: true }, send(0, null)],
    ['unreadable and not 0: wait', { readFailed: true }, { kind: 'wait', until: now + 1_000 }],
  ])('%s', (_, input, want) => {
    expect(nextWrite({ ...blindly, ...input })).toEqual(want);
  });
});

test('only 0 is ever written blind, and nothing is sent while expected is unknown or an attempt is open', () => {
  for (const compareAndSet of [true, false])
    for (const expected of [null, -2, 0, 3, 10])
      for (const desired of [0, 3, 10])
        for (const unseen of [0, 2, 12])
          for (const openAttempt of [true, false])
            for (const readFailed of [true, false])
              for (const lastRead of [null, { value: 3, ageMs: 1 }])
                for (const settlesIn of [null, 0, 5_000]) {
                  const settling = settlesIn === null ? null : { value: 12, until: now + settlesIn };
                  const next = nextWrite({
                    ...base,
                    compareAndSet,
                    expected,
                    desired,
                    unseen,
                    openAttempt,
                    readFailed,
                    lastRead,
                    settling,
                  });
                  if (next.kind !== 'send') continue;
                  expect(openAttempt).toBe(false);
                  expect(next.value).toBe(goalOf(desired, unseen));
                  expect(next.value).toBeLessThanOrEqual(Math.max(0, desired - unseen));
                  if (next.from === null) expect(next.value).toBe(0);
                  else expect(expected ?? settling).not.toBeNull();
                }
});

describe('urgency', () => {
  test.each([
    [10, 0, 0],
    [null, 0, 0],
    [10, 3, 1],
    [10, 4, 2],
    [0, 5, 3],
    [-2, 5, 3],
    [4, 5, 4],
  ])('from %s to %i is class %i', (shown, goal, wanted) => {
    expect(urgency(shown, goal, 0)).toBe(wanted);
  });

  test('a cut by belief that is a raise by the number is a raise', () => {
    expect(urgency(3, 8, 0)).toBe(4);
  });

  test('age lifts one class per half minute, among the urgent only after ten minutes, and never above a cut to zero', () => {
    const ages = [0, 29_999, 30_000, 60_000, 599_999, 600_000, 86_400_000];
    expect(ages.map((waited) => urgency(4, 5, waited))).toEqual([4, 4, 3, 2, 2, 1, 1]);
    expect(ages.map((waited) => urgency(10, 4, waited))).toEqual([2, 2, 2, 2, 2, 1, 1]);
    expect(ages.map((waited) => urgency(10, 3, waited))).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(ages.map((waited) => urgency(10, 0, waited))).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });
});
