import { expect, test } from 'vitest';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { createBreaker } from './breaker.ts';
import { pauseMs, retryRead } from './retry.ts';

function handClock(): Clock & { move(ms: number): void; slept: number[] } {
  let now = 0;
  const slept: number[] = [];
  return {
    now: () => now,
    monotonicMs: () => now,
    sleep: async (ms) => {
      slept.push(ms);
      now += ms;
    },
    move: (ms) => {
      now += ms;
    },
    slept,
  };
}

function failing(clock: Clock, times: number) {
  const breaker = createBreaker(clock);
  for (let n = 0; n < times; n += 1) {
    breaker.ask();
    breaker.failed();
  }
  return breaker;
}

test('five failures in a row open it, a success in between starts the count again', () => {
  const clock = handClock();
  const breaker = failing(clock, 4);
  breaker.succeeded();
  expect(breaker.state()).toEqual({ kind: 'closed', failures: 0 });
  for (let n = 0; n < 5; n += 1) breaker.failed();
  expect(breaker.state()).toEqual({ kind: 'open', retryAfterMs: 1_000 });
  expect(breaker.ask()).toEqual({ kind: 'stay_away', retryAfterMs: 1_000 });
});

test('after its time exactly one probe goes; its success closes, its failure opens for twice as long, up to half a minute', () => {
  const clock = handClock();
  const breaker = failing(clock, 5);
  for (const openMs of [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    clock.move(60_000);
    expect(breaker.state()).toEqual({ kind: 'half_open' });
    expect([breaker.ask().kind, breaker.ask().kind]).toEqual(['go', 'stay_away']);
    breaker.failed();
    expect(breaker.state()).toEqual({ kind: 'open', retryAfterMs: openMs });
  }
  clock.move(30_000);
  expect(breaker.ask()).toEqual({ kind: 'go' });
  breaker.succeeded();
  expect(breaker.state()).toEqual({ kind: 'closed', failures: 0 });
});

test('a probe that its caller gave up frees the place for the next', () => {
  const clock = handClock();
  const breaker = failing(clock, 5);
  clock.move(1_000);
  breaker.ask();
  breaker.withdrawn();
  expect(breaker.ask()).toEqual({ kind: 'go' });
});

test('calls that were under way when it opened do not lengthen the wait', () => {
  const clock = handClock();
  const breaker = failing(clock, 5);
  breaker.failed();
  expect(breaker.state()).toEqual({ kind: 'open', retryAfterMs: 1_000 });
});

const unavailable = (details: Record<string, unknown> = {}) =>
  new ConnectorError('connector.unavailable', 'no answer', details);
const half = { next: () => 0.5 };

async function attempts(error: Error, spentMs = 10_000): Promise<{ made: number; slept: number[] }> {
  const clock = handClock();
  let made = 0;
  const send = async () => {
    made += 1;
    throw error;
  };
  await expect(retryRead(clock, half, { spentMs, signal: new AbortController().signal }, send)).rejects.toBe(error);
  return { made, slept: clock.slept };
}

test('a read without an answer is tried three times, with a growing random pause', async () => {
  expect(await attempts(unavailable())).toEqual({ made: 3, slept: [50, 100] });
  expect([pauseMs(1, half), pauseMs(2, half), pauseMs(9, half)]).toEqual([50, 100, 500]);
});

test('nothing else is repeated: refusals, open breakers, given-up calls, spent time', async () => {
  expect((await attempts(new ConnectorError('connector.rate_limited', 'slow down', { retryAfterMs: 1 }))).made).toBe(1);
  expect((await attempts(new ConnectorError('connector.outcome_unknown', 'who knows'))).made).toBe(1);
  expect((await attempts(unavailable({ breakerOpen: true }))).made).toBe(1);
  expect((await attempts(unavailable({ abandoned: true }))).made).toBe(1);
  expect((await attempts(unavailable({ repeatable: false }))).made).toBe(1);
  expect((await attempts(unavailable(), 0)).made).toBe(1);
  expect((await attempts(new Error('a mistake'))).made).toBe(1);
});
