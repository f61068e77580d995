import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectorError } from '#core/errors.ts';
import { Bucket, createBudgets } from './budget.ts';
import { virtualClock } from './clock.testing.ts';

const never = new AbortController().signal;

/** Fills the queue and notes who left at which time. */
function queueUp(limits: { ratePerSecond: number; capacity: number; urgentReserve?: number }) {
  const clock = virtualClock();
  const budgets = createBudgets(clock, { b: limits });
  const left: string[] = [];
  const ask = (name: string, budgetClass: 'urgent' | 'bulk' | 'read', cost = 1, signal = never) =>
    budgets.acquire('b', budgetClass, cost, signal).then((permit) => {
      left.push(`${name}@${clock.now()}`);
      permit.release();
    });
  return { clock, budgets, left, ask };
}

test('a full bucket lets a burst through at 90 % of its capacity, then at 90 % of its rate', async () => {
  const { clock, left, ask } = queueUp({ ratePerSecond: 10, capacity: 10 });
  for (let n = 1; n <= 12; n += 1) void ask(`u${n}`, 'urgent');
  await clock.advance(400);
  expect(left).toEqual([
    'u1@0',
    'u2@0',
    'u3@0',
    'u4@0',
    'u5@0',
    'u6@0',
    'u7@0',
    'u8@0',
    'u9@0',
    'u10@112',
    'u11@223',
    'u12@334',
  ]);
});

test('urgent calls overtake bulk calls that came before, and each class keeps its order', async () => {
  const { clock, left, ask } = queueUp({ ratePerSecond: 10, capacity: 10, urgentReserve: 0 });
  for (let n = 1; n <= 9; n += 1) void ask('x', 'urgent');
  await clock.advance(0);
  for (const name of ['b1', 'b2']) void ask(name, 'bulk');
  for (const name of ['u1', 'u2']) void ask(name, 'urgent');
  await clock.advance(2_000);
  expect(left.slice(9).map((entry) => entry.split('@')[0])).toEqual(['u1', 'u2', 'b1', 'b2']);
});

test('bulk leaves the reserve standing, so that an urgent call goes at once', async () => {
  const { clock, left, ask, budgets } = queueUp({ ratePerSecond: 1, capacity: 10, urgentReserve: 0.3 });
  for (let n = 1; n <= 8; n += 1) void ask(`b${n}`, 'bulk');
  await clock.advance(0);
  expect(left).toHaveLength(6);
  void ask('u1', 'urgent');
  void ask('u2', 'urgent');
  await clock.advance(0);
  expect(left.slice(6)).toEqual(['u1@0', 'u2@0']);
  expect(budgets.state()[0]?.waiting).toEqual({ urgent: 0, bulk: 2, read: 0 });
});

test('reads get a share of a bucket that urgent calls would empty', async () => {
  const { clock, left, ask } = queueUp({ ratePerSecond: 10, capacity: 10 });
  for (let n = 1; n <= 40; n += 1) void ask('u', 'urgent');
  for (let n = 1; n <= 10; n += 1) void ask('r', 'read');
  await clock.advance(3_000);
  const reads = left.filter((entry) => entry.startsWith('r')).length;
  expect(left.length).toBeGreaterThan(30);
  expect(reads / left.length).toBeGreaterThan(0.15);
  expect(reads / left.length).toBeLessThan(0.3);
});

test('the vendor raising its rate wakes those who wait', async () => {
  const { clock, left, ask, budgets } = queueUp({ ratePerSecond: 0.01, capacity: 1 });
  void ask('u1', 'urgent');
  void ask('u2', 'urgent');
  await clock.advance(10);
  expect(left).toEqual(['u1@0']);
  budgets.report('b', { ratePerSecond: 1_000, capacity: 2_000, available: 2_000 });
  await clock.advance(0);
  expect(left).toEqual(['u1@0', 'u2@10']);
});

test("the vendor's count of what is left wins, less what is in flight", () => {
  const bucket = new Bucket({ ratePerSecond: 100, capacity: 2_000 }, 0);
  bucket.take('urgent', 50);
  bucket.learn(0, { available: 260, capacity: 2_000, ratePerSecond: 100 });
  expect(bucket.state(0).tokens).toBeCloseTo(260 - 50 - 200);
  expect(bucket.waitMs(0, 'urgent', 100)).toBe(1_000);
});

test('a refusal halves the rate once for calls refused together, holds all calls back, and is won back in half a minute', async () => {
  const { clock, left, ask, budgets } = queueUp({ ratePerSecond: 10, capacity: 10 });
  budgets.refused('b', 2_000);
  budgets.refused('b', 2_000);
  expect(budgets.state()[0]).toMatchObject({ slowdown: 0.5, ratePerSecond: 4.5 });
  void ask('u1', 'urgent');
  await clock.advance(1_999);
  expect(left).toEqual([]);
  await clock.advance(1);
  expect(left).toEqual(['u1@2000']);
  await clock.advance(28_000);
  expect(budgets.state()[0]?.slowdown).toBe(1);
});

test('a caller whose deadline passes while waiting gets unavailable, pays nothing and blocks nobody', async () => {
  const { clock, left, ask, budgets } = queueUp({ ratePerSecond: 1, capacity: 1 });
  void ask('u1', 'urgent');
  const stop = new AbortController();
  const refused = ask('u2', 'urgent', 1, stop.signal).catch((error: unknown) => error);
  void ask('u3', 'urgent');
  await clock.advance(100);
  stop.abort();
  const error = await refused;
  expect(error instanceof ConnectorError && [error.code, error.details.abandoned]).toEqual([
    'connector.unavailable',
    true,
  ]);
  await clock.advance(2_000);
  expect(left).toEqual(['u1@0', 'u3@1112']);
  expect(budgets.state()[0]?.inFlight).toBe(0);
});

test('a call dearer than the bucket waits for a full one instead of for ever', async () => {
  const { clock, left, ask } = queueUp({ ratePerSecond: 10, capacity: 10 });
  void ask('u1', 'urgent', 5);
  void ask('u2', 'urgent', 50);
  void ask('b1', 'bulk', 1);
  await clock.advance(600);
  expect(left).toEqual(['u1@0', 'u2@556']);
});

test('whatever is asked, no more than 90 % of capacity plus rate × time leaves', () => {
  const calls = fc.array(
    fc.record({
      gapMs: fc.integer({ min: 0, max: 500 }),
      cost: fc.integer({ min: 1, max: 5 }),
      kind: fc.constantFrom('urgent' as const, 'bulk' as const, 'read' as const),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(calls, (asked) => {
      const bucket = new Bucket({ ratePerSecond: 10, capacity: 20 }, 0);
      let now = 0;
      let spent = 0;
      for (const { gapMs, cost, kind } of asked) {
        now += gapMs;
        if (bucket.waitMs(now, kind, cost) > 0) continue;
        bucket.take(kind, cost);
        spent += cost;
        expect(spent).toBeLessThanOrEqual(18 + (9 * now) / 1000 + 1e-6);
      }
    }),
  );
});
