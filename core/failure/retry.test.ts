import { expect, test } from 'vitest';
import { type FailedBefore, failureClassOf, failurePolicies, retryOf } from './retry.ts';

const fresh: FailedBefore = { attempts: 0, repeats: 0, error: null, failingSince: null };
const at = (now: number, chance = 0.5) => ({ now, retryMs: 1_000, chance });
const hour = 3_600_000;

test.each([
  ['store.unavailable', 'database'],
  ['database.53100', 'database'],
  ['database.57P01', 'database'],
  ['database.08006', 'database'],
  ['connector.unauthorized', 'access'],
  ['connector.unavailable', 'temporary'],
  ['connector.rate_limited', 'temporary'],
  ['connector.outcome_unknown', 'temporary'],
  ['store.conflict', 'race'],
  ['database.40P01', 'race'],
  ['connector.rejected', 'rejected'],
  ['store.mismatch', 'rejected'],
  ['domain.insufficient', 'rejected'],
  ['connector.unreadable', 'unreadable'],
  ['assertion', 'mistake'],
  ['database.23505', 'mistake'],
  ['database.22003', 'mistake'],
  ['database.42P01', 'unknown'],
  ['anything', 'unknown'],
  [null, 'unknown'],
])('a failure with code %s is of class %s, and of no other', (code, name) => {
  expect(failureClassOf(code)).toBe(name);
  const fits = Object.values(failurePolicies).filter(
    ({ codes }) => codes !== null && new RegExp(codes).test(code ?? ''),
  );
  expect(fits.length).toBe(name === 'unknown' ? 0 : 1);
});

/** The same failure again and again, each when it is due. @returns how many failures until it was dead, and after how long */
function until(
  code: string,
  message: (n: number) => string = () => 'the same',
): { failures: number; afterMs: number } | 'never' {
  let [row, now] = [fresh, 0];
  for (let failures = 1; failures <= 2_000; failures += 1) {
    const retry = retryOf({ code, message: message(failures) }, row, at(now));
    if (retry.kind === 'dead') return { failures, afterMs: now };
    row = { ...retry, error: message(failures) };
    now = retry.at;
  }
  return 'never';
}

test.each([
  ['store.unavailable', 'never'],
  ['database.53100', 'never'],
  ['connector.unauthorized', 'never'],
  ['connector.rejected', { failures: 1, afterMs: 0 }],
  ['connector.unreadable', { failures: 1, afterMs: 0 }],
  ['assertion', { failures: 3, afterMs: 3_000 }],
  ['anything', { failures: 3, afterMs: 3_000 }],
  ['store.conflict', { failures: 10, afterMs: 1_000 * (1 + 2 + 4 + 8 + 16 + 32 + 64 + 128 + 256) }],
] as const)('%s, the same every time, ends: %o', (code, end) => {
  expect(until(code)).toEqual(end);
});

test('what differs every time is no poison; it ends with the tenth', () => {
  expect(until('assertion', (n) => `fault ${n}`)).toMatchObject({ failures: 10 });
});

test('a channel out of reach is asked at longest every five minutes, for 24 hours, and no attempt is counted', () => {
  const end = until('connector.unavailable');
  expect(end).toMatchObject({ failures: expect.any(Number) });
  if (end === 'never') throw new Error('it ends');
  expect(end.afterMs).toBeGreaterThanOrEqual(24 * hour);
  expect(end.afterMs).toBeLessThan(24 * hour + 300_000);
  expect(end.failures).toBeGreaterThan(280);
  const failure = { code: 'connector.unavailable', message: 'x' };
  expect(retryOf(failure, { ...fresh, repeats: 30, failingSince: 0 }, at(hour))).toEqual({
    kind: 'again',
    at: hour + 300_000,
    attempts: 0,
    repeats: 31,
    failingSince: 0,
  });
});

test('the vendor’s own waiting time goes before ours; chance spreads the rest from half to one and a half', () => {
  const failure = { code: 'connector.rate_limited', message: 'x' };
  expect(retryOf({ ...failure, retryAfterMs: 7_000 }, fresh, at(0))).toMatchObject({ at: 7_000 });
  expect(retryOf(failure, fresh, at(0, 0))).toMatchObject({ at: 500 });
  expect(retryOf(failure, fresh, at(0, 1))).toMatchObject({ at: 1_500 });
});
