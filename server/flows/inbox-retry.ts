/**
 * What becomes of an inbox row whose application failed. Pure.
 *
 *   unreadable payload                          → dead at once: the same bytes will never read differently
 *   our mistake, or data the database refuses   → poison: dead when the very same failure came three times
 *   a lost race, a vendor's refusal, the rest   → again with doubling pauses, dead after ten attempts
 *   rate limited, unreachable, unauthorized     → again when the vendor says, or with longer pauses; not counted, never dead:
 *                                                 the row is not at fault
 */
import { CodedError, ConnectorError } from '#core/errors.ts';

export interface Failure {
  code: string;
  message: string;
}

export type Retry =
  | { kind: 'again'; at: number; attempts: number; repeats: number }
  | { kind: 'dead'; attempts: number; repeats: number };

export const POISON_REPEATS = 3;
export const MOST_ATTEMPTS = 10;
const LONGEST_MS = 300_000;
const ATTENTION_MS = 60_000;

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CodedError) return { code: error.code, message };
  const { code } = error as { code?: unknown };
  return { code: typeof code === 'string' ? `database.${code}` : 'assertion', message };
}

export function retryOf(
  error: unknown,
  row: { attempts: number; repeats: number; error: string | null },
  context: { now: number; retryMs: number; chance: number },
): Retry {
  const failure = failureOf(error);
  const pause = (tries: number): number =>
    Math.min(LONGEST_MS, context.retryMs * 2 ** Math.min(tries, 20)) * (0.5 + context.chance);
  if (failure.code === 'connector.unreadable')
    return { kind: 'dead', attempts: row.attempts + 1, repeats: row.repeats };
  if (
    error instanceof ConnectorError &&
    ['connector.rate_limited', 'connector.unavailable', 'connector.unauthorized'].includes(error.code)
  ) {
    const wait = error.retryAfterMs ?? (error.code === 'connector.unauthorized' ? ATTENTION_MS : pause(row.repeats));
    return { kind: 'again', at: context.now + wait, attempts: row.attempts, repeats: row.repeats + 1 };
  }
  const attempts = row.attempts + 1;
  const repeats = row.error === failure.message ? row.repeats + 1 : 1;
  if ((isPoison(failure) && repeats >= POISON_REPEATS) || attempts >= MOST_ATTEMPTS)
    return { kind: 'dead', attempts, repeats };
  return { kind: 'again', at: context.now + pause(attempts - 1), attempts, repeats };
}

/** Repeating it cannot help: an assertion, or SQLSTATE class 22 (data) and 23 (constraints). */
const isPoison = ({ code }: Failure): boolean => code === 'assertion' || /^database\.(22|23)/.test(code);
