/** Processes on one connection whose tokens are rare, as Amazon's order search: one call in three minutes, a burst of twenty. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { claimBreaker, claimShare, closedBreaker, freshBucket, type SharedBucket } from '#core/limits/shares.ts';
import { createBreaker } from './breaker.ts';
import { createBudgets } from './budget.ts';
import { virtualClock } from './clock.testing.ts';
import { createSharing, type SharedLimits } from './sharing.ts';

const orders = { ratePerSecond: 0.0056, capacity: 20, urgentReserve: 0 };
const usable = 18;
const tokenMs = 1_000 / (orders.ratePerSecond * 0.9);
const never = new AbortController().signal;

/** The vendor, the row all processes ask, and a clock for all of them. */
function connection(limits = orders) {
  const clock = virtualClock();
  let row: SharedBucket | undefined;
  let breaker = closedBreaker;
  let processes = 0;
  const vendor = { tokens: limits.capacity, at: 0, calls: 0, refused: 0 };
  /** What one process alone would have left: each call that left took one, and each that died after it was told of. */
  const ours = { tokens: usable, at: 0 };
  const spent = () => void spend(ours, usable, limits.ratePerSecond * 0.9);
  const database = { answers: true };

  /** What stands in the row when it is gone stays there, and what it asked for is not answered. */
  function start() {
    const name = `process ${processes++}`;
    const life = new AbortController();
    const own = { ...clock, sleep: (ms: number, signal?: AbortSignal) => asleep(ms, signal) };
    const asleep = async (ms: number, signal?: AbortSignal) => {
      await clock.sleep(ms, signal);
      if (life.signal.aborted) await new Promise(() => undefined);
    };
    const limitsRow: SharedLimits = {
      async exchange({ claims, breaker: claim }) {
        await Promise.resolve();
        if (life.signal.aborted) return new Promise(() => undefined);
        if (!database.answers) throw new Error('no database');
        const grants = claims.map((one) => {
          const answer = claimShare(row ?? freshBucket(one, clock.now()), name, one, clock.now());
          row = answer.bucket;
          return answer.grant;
        });
        const told = claimBreaker(breaker, name, claim, clock.now());
        breaker = told.breaker;
        return { grants, breaker: told.grant };
      },
    };
    let taken = 0;
    const kill = () => {
      for (; taken > 0; taken -= 1) spent();
      life.abort();
    };
    const budgets = createBudgets(own, { b: limits });
    const sharing = createSharing({ clock: own, budgets, breaker: createBreaker(own), limits: limitsRow });
    return {
      alive: () => !life.signal.aborted,
      kill,
      budgets,
      /** One call, as the transport makes it. @returns whether it left */
      async call(diesBeforeItLeaves = false): Promise<boolean> {
        await sharing.ready('b');
        const permit = await budgets.acquire('b', 'read', 1, never);
        if (life.signal.aborted) return false;
        taken += 1;
        const may = await sharing.told('b', 1, never);
        if (diesBeforeItLeaves) kill();
        if (life.signal.aborted) return false;
        taken -= 1;
        if (may) spent();
        if (!may) permit.giveBack();
        else arrives();
        permit.release();
        return may;
      },
    };
  }

  function refill(bucket: { tokens: number; at: number }, capacity: number, ratePerSecond: number): number {
    const now = clock.now();
    bucket.tokens = Math.min(capacity, bucket.tokens + (ratePerSecond * (now - bucket.at)) / 1_000);
    bucket.at = now;
    return bucket.tokens;
  }

  function spend(bucket: { tokens: number; at: number }, capacity: number, ratePerSecond: number): boolean {
    if (refill(bucket, capacity, ratePerSecond) < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  function arrives(): void {
    vendor.calls += 1;
    if (!spend(vendor, limits.capacity, limits.ratePerSecond)) vendor.refused += 1;
  }
  return { clock, vendor, database, start, left: () => refill(ours, usable, limits.ratePerSecond * 0.9) };
}

/** How many calls leave by themselves within a second. */
async function atOnce({ clock, vendor }: ReturnType<typeof connection>, call: () => Promise<boolean>): Promise<number> {
  const before = vendor.calls;
  for (let n = 0; n < 30; n += 1) void call();
  await clock.advance(1_000);
  return vendor.calls - before;
}

test('who waits minutes for a rare token gets it: a share is not given back while somebody waits for it', async () => {
  const shop = connection();
  const one = shop.start();
  expect(await atOnce(shop, one.call)).toBe(usable);
  for (let next = 1; next <= 3; next += 1) {
    await shop.clock.advance(tokenMs + 1_000);
    expect(shop.vendor.calls).toBe(usable + next);
  }
  expect(shop.vendor.refused).toBe(0);
});

test('a process killed after its calls has spent those and no more: the next one has all the rest', async () => {
  const shop = connection();
  const killed = shop.start();
  for (let n = 0; n < 3; n += 1) expect(await killed.call()).toBe(true);
  killed.kill();
  await shop.clock.advance(40_000);
  expect(await atOnce(shop, shop.start().call)).toBe(usable - 3);
  expect(shop.vendor.refused).toBe(0);
});

test('a call that was told of and then died before it left counts as made: once', async () => {
  const shop = connection();
  const killed = shop.start();
  expect(await killed.call(true)).toBe(false);
  await shop.clock.advance(40_000);
  expect(await atOnce(shop, shop.start().call)).toBe(usable - 1);
});

test('without the database a rare call does not leave, and costs nothing', async () => {
  const shop = connection();
  const one = shop.start();
  expect(await one.call()).toBe(true);
  shop.database.answers = false;
  expect(await one.call()).toBe(false);
  await shop.clock.advance(1_000);
  for (let n = 0; n < 5; n += 1) expect(await one.call()).toBe(false);
  expect(shop.vendor.calls).toBe(1);
  await shop.clock.advance(40_000);
  shop.database.answers = true;
  await shop.clock.advance(1_000);
  expect(await atOnce(shop, one.call)).toBe(usable - 1);
});

test('a process whose share ran out unnoticed sends nothing on it', async () => {
  const shop = connection();
  const sleeper = shop.start();
  expect(await sleeper.call()).toBe(true);
  await shop.clock.advance(600);
  const other = shop.start();
  sleeper.kill();
  await shop.clock.advance(40_000);
  expect(await atOnce(shop, other.call)).toBe(usable - 1);
  await shop.clock.advance(tokenMs / 2);
  expect(shop.vendor.refused).toBe(0);
});

test('whoever calls, dies and starts whenever: the vendor never refuses, and nothing but what was sent is missing', async () => {
  const step = fc.record({
    who: fc.nat(2),
    act: fc.constantFrom('call', 'call', 'call', 'kill', 'die calling', 'database'),
    ms: fc.constantFrom(0, 1, 200, 700, 2_900, 3_100, 12_000, 31_000, 200_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const shop = connection();
      const fleet = [shop.start(), shop.start(), shop.start()];
      for (const { who, act, ms } of steps) {
        const one = fleet[who] as (typeof fleet)[number];
        if (act === 'kill') one.kill();
        else if (act === 'database') shop.database.answers = !shop.database.answers;
        else void one.call(act === 'die calling');
        await shop.clock.advance(ms);
        if (!one.alive()) fleet[who] = shop.start();
      }
      shop.database.answers = true;
      for (const one of fleet) one.kill();
      await shop.clock.advance(40_000);
      const left = shop.left();
      const calls = await atOnce(shop, shop.start().call);
      expect(shop.vendor.refused).toBe(0);
      expect(calls).toBeGreaterThan(left - 2);
    }),
    { numRuns: 150, seed: 14 },
  );
});
