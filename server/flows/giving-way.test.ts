import { expect, test } from 'vitest';
import { GivingWay } from './giving-way.ts';

function setting() {
  const it = { at: 0, flood: true };
  const way = new GivingWay({ monotonicMs: () => it.at }, { isFlood: () => it.flood });
  /** From now on, in steps of 25 ms: when batches begin that take 100 ms each. */
  async function begins(batches: number, full: boolean): Promise<number[]> {
    const times: number[] = [];
    for (; times.length < batches; it.at += 25) {
      if (!way.mayBegin()) continue;
      times.push(it.at);
      await way.during(async () => {
        it.at += 100;
        return full ? 10 : 9;
      }, 10);
    }
    return times;
  }
  return { it, way, begins };
}

test('without a flood every batch begins at once', async () => {
  const { it, begins } = setting();
  it.flood = false;
  expect(await begins(3, true)).toEqual([0, 125, 250]);
});

test('in a flood a batch begins half a second after the one before; when it passes, at once', async () => {
  const { it, begins } = setting();
  expect(await begins(3, true)).toEqual([500, 1_100, 1_700]);
  it.flood = false;
  expect(await begins(1, true)).toEqual([it.at - 125]);
});

test('a flood that lasts five seconds is booked beside, as long as batches are full', async () => {
  const { begins } = setting();
  expect((await begins(12, true)).slice(6)).toEqual([4_100, 4_700, 5_000, 5_125, 5_250, 5_375]);
  const { begins: folded } = setting();
  expect((await folded(10, false)).slice(6)).toEqual([4_100, 4_700, 5_300, 5_900]);
});

test('a batch that is held up holds up no other: half a second later the next one begins', async () => {
  const { it, way } = setting();
  expect(way.mayBegin()).toBe(false);
  it.at = 6_000;
  expect(way.mayBegin()).toBe(true);
  const held = Promise.withResolvers<number>();
  const first = way.during(() => held.promise, 10);
  it.at = 6_499;
  expect(way.mayBegin()).toBe(false);
  it.at = 6_500;
  expect(way.mayBegin()).toBe(true);
  held.resolve(10);
  await first;
});

test('batches are small while a flood may still pass, and whole without one or when it lasts', async () => {
  const { it, way } = setting();
  const given = () => way.during(async (most) => most, 100);
  it.flood = false;
  expect([way.mayBegin(), await given()]).toEqual([true, 100]);
  it.flood = true;
  way.mayBegin();
  expect(await given()).toBe(30);
  it.at = 5_000;
  way.mayBegin();
  expect(await given()).toBe(100);
});
