/**
 * What becomes of work that failed: again, when, and when no more. Pure; the one table for events (inbox) and due rows.
 *
 *   class       which codes                                     ends
 *   database    no database, its disk, memory, or a restart     never: the row is not at fault, it is not counted
 *   access      the channel refuses our access                  never: it resumes when access is renewed
 *   temporary   not reached, rate limited, outcome unknown      after 24 h of failing
 *   race        a lost race                                     after ten attempts
 *   rejected    a vendor's or a rule's refusal                  at once: the same again is refused again
 *   unreadable  not what the vendor documents                   at once: the same bytes never read differently
 *   mistake     our mistake, or data the database refuses       when the very same failure came three times
 *   unknown     everything else                                 when the very same failure came three times, or after ten attempts
 *
 * Pauses double from `retryMs` to five minutes, times 0.5 to 1.5 by chance; a vendor's own waiting time goes before.
 */
export type FailureClass =
  | 'database'
  | 'access'
  | 'temporary'
  | 'race'
  | 'rejected'
  | 'unreadable'
  | 'mistake'
  | 'unknown';

export interface FailurePolicy {
  /** Which codes: a regular expression that JavaScript and PostgreSQL read alike; no code fits two. Null: all others. */
  codes: string | null;
  ends: 'never' | 'after_24_h' | 'at_once' | 'three_identical' | 'ten_attempts';
  means: string;
  todo: string;
}

export const failurePolicies: Record<FailureClass, FailurePolicy> = {
  database: {
    codes: '^(store\\.unavailable|database\\.(08|53|57).*)$',
    ends: 'never',
    means: 'The database could not be reached, or had no room.',
    todo: 'Nothing; it is tried again until it works. Make room if the disk is full.',
  },
  access: {
    codes: '^connector\\.unauthorized$',
    ends: 'never',
    means: 'The channel no longer accepts our access.',
    todo: 'Connect the channel again; it is then tried by itself.',
  },
  temporary: {
    codes: '^connector\\.(unavailable|rate_limited|outcome_unknown)$',
    ends: 'after_24_h',
    means: 'The channel could not be reached for a day.',
    todo: 'Check that the channel works, then retry. It is retried by itself as soon as the channel answers.',
  },
  race: {
    codes: '^(store\\.conflict|database\\.(40|55).*)$',
    ends: 'ten_attempts',
    means: 'Something else changed the same thing every time it was tried.',
    todo: 'Retry; if it comes back, report it with its id.',
  },
  rejected: {
    codes: '^(connector\\.rejected|store\\.mismatch|domain\\..*)$',
    ends: 'at_once',
    means: 'It was refused: the same again would be refused again.',
    todo: 'Read the reason, mend what it names (at the channel, or the payload), then retry; or discard it.',
  },
  unreadable: {
    codes: '^connector\\.unreadable$',
    ends: 'at_once',
    means: 'The channel sent something that is not what it documents.',
    todo: 'Wait for a newer event of the same order, edit the payload and retry, or discard it. Report it: the channel may have changed its format.',
  },
  mistake: {
    codes: '^(assertion|database\\.(22|23).*)$',
    ends: 'three_identical',
    means: 'Its data breaks a rule that we hold for every order.',
    todo: 'Look at the payload for what the reason names; edit and retry, or discard it and book the order by hand. Report it with its id.',
  },
  unknown: {
    codes: null,
    ends: 'three_identical',
    means: 'It failed for a reason that we do not know.',
    todo: 'Retry; if it comes back, report it with its id.',
  },
};

const known = (Object.entries(failurePolicies) as [FailureClass, FailurePolicy][]).flatMap(([name, { codes }]) =>
  codes === null ? [] : [{ name, codes: new RegExp(codes) }],
);

export const failureClassOf = (code: string | null): FailureClass =>
  known.find(({ codes }) => codes.test(code ?? ''))?.name ?? 'unknown';

export interface Failure {
  code: string;
  message: string;
  /** The vendor says how long to wait. */
  retryAfterMs?: number | null;
}

/** What is kept of a row that failed before. */
export interface FailedBefore {
  /** Counted ones. */
  attempts: number;
  /** How often the very same failure came in a row. */
  repeats: number;
  error: string | null;
  /** Unix ms of the first failure of this series; null: it has not failed. */
  failingSince: number | null;
}

export type Retry = { attempts: number; repeats: number; failingSince: number } & (
  | { kind: 'again'; at: number }
  | { kind: 'dead' }
);

export const POISON_REPEATS = 3;
export const MOST_ATTEMPTS = 10;
export const LONGEST_FAILING_MS = 86_400_000;
const LONGEST_PAUSE_MS = 300_000;
const ACCESS_MS = 60_000;

export function retryOf(
  failure: Failure,
  before: FailedBefore,
  { now, retryMs, chance }: { now: number; retryMs: number; chance: number },
): Retry {
  const name = failureClassOf(failure.code);
  const { ends } = failurePolicies[name];
  const counted = ends !== 'never' && ends !== 'after_24_h';
  const attempts = before.attempts + (counted ? 1 : 0);
  const repeats = before.error === failure.message || !counted ? before.repeats + 1 : 1;
  const failingSince = before.failingSince ?? now;
  const kept = { attempts, repeats, failingSince };
  const isOver =
    ends === 'at_once' ||
    (ends === 'after_24_h' && now - failingSince >= LONGEST_FAILING_MS) ||
    (ends === 'three_identical' && repeats >= POISON_REPEATS) ||
    (counted && attempts >= MOST_ATTEMPTS);
  if (isOver) return { kind: 'dead', ...kept };
  const tries = counted ? attempts - 1 : before.repeats;
  const pause = Math.min(LONGEST_PAUSE_MS, retryMs * 2 ** Math.min(tries, 20)) * (0.5 + chance);
  return { kind: 'again', at: now + (failure.retryAfterMs ?? (name === 'access' ? ACCESS_MS : pause)), ...kept };
}
