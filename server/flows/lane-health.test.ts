import { expect, test } from 'vitest';
import { createSimClock } from '#sim/kit/clock.ts';
import { LaneHealth } from './lane-health.ts';
import type { LaneOptions } from './publisher-types.ts';

/** Time stands still until it is told; nothing is written before a failure is said. */
function health() {
  const stands = { now: () => 0, monotonicMs: () => 0, sleep: () => new Promise<void>(() => undefined) };
  const clock = createSimClock(stands);
  const options = { clock, random: { next: () => 0 }, connection: { orgId: 'o', connectionId: 'c' } };
  const one = new LaneHealth(options as unknown as LaneOptions, () => undefined, new AbortController().signal);
  return { clock, health: one };
}

test('calls that fail together are one failure: after a blip it goes on at once, however many were on their way', async () => {
  const { clock, health: lane } = health();
  for (let call = 0; call < 20; call += 1) await lane.notReached('503');
  expect(lane.isSlow('urgent')).toBe(true);
  expect(lane.unreachable).toBe(false);
  clock.advance(199);
  expect(lane.isSlow('read')).toBe(true);
  clock.advance(1);
  expect([lane.isSlow('urgent'), lane.isSlow('bulk'), lane.isSlow('read')]).toEqual([false, false, false]);
});

test('one failure after another backs off twice as long', async () => {
  const { clock, health: lane } = health();
  await lane.notReached('503');
  clock.advance(200);
  await lane.notReached('503');
  expect(lane.unreachable).toBe(true);
  clock.advance(399);
  expect(lane.isSlow('urgent')).toBe(true);
  clock.advance(1);
  expect(lane.isSlow('urgent')).toBe(false);
});
