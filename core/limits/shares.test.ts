import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  claimBreaker,
  claimShare,
  closedBreaker,
  freshBucket,
  type ShareClaim,
  type SharedBucket,
  safety,
} from './shares.ts';

const limits = { rate: 5, capacity: 10 };
const usable = limits.capacity * safety;
const claim = (more: Partial<ShareClaim> = {}): ShareClaim => ({
  bucket: 'b',
  ...limits,
  told: false,
  tokens: 0,
  demand: 1,
  refusals: 0,
  blockedForMs: 0,
  relaxed: false,
  leaves: false,
  untold: null,
  lapsed: false,
  ...more,
});

test('a process alone has the whole bucket, full as it rested', () => {
  const { bucket, grant } = claimShare(freshBucket(limits, 0), 'a', claim(), 1_000);
  expect(grant).toMatchObject({ share: 1, tokens: usable, members: 1 });
  expect(bucket.pool).toBe(0);
});

test('a second one waits until the first has heard of it, then they divide by demand, tokens included', () => {
  const first = claimShare(freshBucket(limits, 0), 'a', claim({ demand: 4 }), 0);
  const second = claimShare(first.bucket, 'b', claim({ demand: 1 }), 100);
  expect(second.grant).toMatchObject({ share: 0, tokens: 0, members: 2 });
  const again = claimShare(second.bucket, 'a', claim({ demand: 4, tokens: usable }), 500);
  expect(again.grant.share).toBe(0.8);
  expect(again.grant.tokens).toBeCloseTo(-0.2 * usable);
  const then = claimShare(again.bucket, 'b', claim({ demand: 1 }), 600);
  expect(then.grant.share).toBeCloseTo(0.2);
  expect(then.grant.tokens).toBeCloseTo(0.2 * usable);
});

test('who hardly uses it holds a quarter, so that another gets the rest at once, and all of it when it is busy again', () => {
  const first = claimShare(freshBucket(limits, 0), 'a', claim(), 0);
  const relaxed = claimShare(first.bucket, 'a', claim({ tokens: usable, relaxed: true }), 500);
  expect(relaxed.grant.share).toBe(0.25);
  const busy = claimShare(relaxed.bucket, 'b', claim({ demand: 9 }), 600);
  expect(busy.grant.share).toBe(0.75);
  const gone = claimShare(busy.bucket, 'b', claim({ tokens: 0, leaves: true }), 700);
  const again = claimShare(gone.bucket, 'a', claim({ tokens: usable / 4 }), 800);
  expect(again.grant.share).toBe(1);
});

test('what the vendor told one of them is everybody’s limit while that one is there', () => {
  const told = claimShare(
    freshBucket(limits, 0),
    'a',
    claim({ told: true, rate: 50, capacity: 100, relaxed: true }),
    0,
  );
  const second = claimShare(told.bucket, 'b', claim(), 500);
  expect(second.grant).toMatchObject({ rate: 50, capacity: 100, share: 0.5 });
  const gone = claimShare(second.bucket, 'a', claim({ told: true, rate: 50, capacity: 100, leaves: true }), 600);
  expect(claimShare(gone.bucket, 'b', claim(), 700).grant).toMatchObject({ ...limits });
});

test('a process that dies is out after its lease; what it may have spent meanwhile is not given again', () => {
  const first = claimShare(freshBucket(limits, 0), 'dead', claim({ demand: 2 }), 0);
  const early = claimShare(first.bucket, 'b', claim(), 2_999);
  expect(early.grant.share).toBe(0);
  const late = claimShare(early.bucket, 'b', claim(), 3_001);
  expect(late.grant).toMatchObject({ share: 1, members: 1 });
  expect(late.grant.tokens).toBeCloseTo(usable - 2 * 3, 1);
});

test('after a night without anybody the bucket is full, whoever held it when all were killed', () => {
  const first = claimShare(freshBucket(limits, 0), 'dead', claim({ tokens: -3, demand: 50 }), 0);
  const next = claimShare(first.bucket, 'b', claim(), 8 * 3_600_000);
  expect(next.grant).toMatchObject({ share: 1, tokens: usable });
});

test('who rested gives its tokens back; the next one finds them', () => {
  const first = claimShare(freshBucket(limits, 0), 'a', claim(), 0);
  const left = claimShare(first.bucket, 'a', claim({ tokens: 3, leaves: true }), 100);
  expect(left.bucket.members).toEqual({});
  const next = claimShare(left.bucket, 'b', claim(), 100);
  expect(next.grant).toMatchObject({ share: 1, tokens: 3 });
});

test('a refusal told by one is heard by all, with the time the vendor wants quiet', () => {
  const first = claimShare(freshBucket(limits, 0), 'a', claim({ refusals: 1, blockedForMs: 2_000 }), 0);
  const { grant } = claimShare(first.bucket, 'b', claim(), 500);
  expect(grant).toMatchObject({ refusals: 1, blockedForMs: 1_500 });
});

test('80 % of the quota in use for a while is tight, a lull ends it, a burst alone is neither', () => {
  let bucket = claimShare(freshBucket(limits, 0), 'a', claim({ tokens: 0 }), 0).bucket;
  const after = (ms: number, tokens: number) => {
    for (let at = 0; at < ms; at += 500) bucket = claimShare(bucket, 'a', claim({ tokens }), bucket.at + 500).bucket;
    return bucket.tight;
  };
  expect(after(5_000, 0)).toBe(false);
  expect(after(60_000, 0)).toBe(true);
  expect(after(10_000, usable)).toBe(true);
  expect(after(10_000, usable)).toBe(false);
});

test('whatever they ask, shares never sum above one and tokens never above the bucket', () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b', 'c', 'd'),
    ms: fc.integer({ min: 0, max: 4_000 }),
    demand: fc.double({ min: 0, max: 100, noNaN: true }),
    spends: fc.double({ min: 0, max: 1, noNaN: true }),
    relaxed: fc.boolean(),
    leaves: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let bucket: SharedBucket = freshBucket(limits, 0);
      let now = 0;
      const hands = new Map<string, number>();
      for (const { who, ms, demand, spends, relaxed, leaves } of steps) {
        now += ms;
        const tokens = (hands.get(who) ?? 0) * spends;
        const answer = claimShare(bucket, who, claim({ tokens, demand, relaxed, leaves }), now);
        bucket = answer.bucket;
        hands.set(who, tokens + answer.grant.tokens);
        const members = Object.values(bucket.members);
        expect(members.reduce((sum, { share }) => sum + share, 0)).toBeLessThanOrEqual(1 + 1e-9);
        const held = members.reduce((sum, one) => sum + one.tokens, 0);
        expect(held + bucket.pool).toBeLessThanOrEqual(usable + 1e-6);
        expect(bucket.pool).toBeGreaterThanOrEqual(0);
      }
    }),
    { numRuns: 300, seed: 35 },
  );
});

test('a breaker’s transition is written once: who has not heard of the last one hears of it instead', () => {
  const opened = claimBreaker(closedBreaker, 'a', { epoch: 0, transition: { state: 'open', forMs: 1_000 } }, 50);
  expect(opened.grant).toEqual({ state: 'open', epoch: 1, remainingMs: 1_000, mine: true });
  const late = claimBreaker(opened.breaker, 'b', { epoch: 0, transition: { state: 'open', forMs: 9_000 } }, 100);
  expect(late.breaker).toEqual(opened.breaker);
  expect(late.grant).toEqual({ state: 'open', epoch: 1, remainingMs: 950, mine: false });
  const closed = claimBreaker(late.breaker, 'a', { epoch: 1, transition: { state: 'closed' } }, 1_100);
  expect(closed.grant).toMatchObject({ state: 'closed', epoch: 2 });
  expect(claimBreaker(closed.breaker, 'b', { epoch: 1, transition: null }, 1_200).grant).toMatchObject({
    state: 'closed',
    epoch: 2,
  });
});
