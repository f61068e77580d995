/** What a thrown fault is to the table of failures (core/failure/retry.ts). */
import { CodedError, ConnectorError } from '#core/errors.ts';
import type { Failure } from '#core/failure/retry.ts';

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ConnectorError) return { code: error.code, message, retryAfterMs: error.retryAfterMs };
  if (error instanceof CodedError) return { code: error.code, message };
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string') return { code: 'assertion', message };
  // A refusal's code is one of ours (server/api/problem.ts); others are the database's.
  return { code: code.includes('.') ? code : `database.${code}`, message };
}
