/**
 * `@idempotent(key:)` on mutations (sheet §5.4, §5.5). Keys are kept 24 h per shop (one app):
 *
 *   key unknown                       carried out, remembered
 *   same key, same input, succeeded   the first result, rebuilt from records (or, with `reexecute`, carried out again,
 *                                     as one recorded live test saw: the compare is then stale)
 *   same key, same input, refused     IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED: use a new key
 *   same key, other input             IDEMPOTENCY_KEY_PARAMETER_MISMATCH
 *   same key, still running           IDEMPOTENCY_CONCURRENT_REQUEST
 *
 * Called by `roots.ts`; `graphql.ts` marks keys as running for as long as the vendor takes to answer.
 */
import { createHash } from 'node:crypto';
import type { SimCore } from '#sim/kit/core.ts';

const KEPT_MS = 24 * 3_600_000;
const SWEEP_EVERY = 500;

export type ReplayRule = 'result' | 'reexecute';

interface KeyRow {
  key: string;
  fingerprint: string;
  at: number;
  /** What the payload is rebuilt from; null: refused. */
  result: unknown;
}

export type Claim =
  | { kind: 'new'; remember(result: unknown): void }
  | { kind: 'replay'; result: unknown }
  | { kind: 'refused'; code: string; message: string };

export interface Idempotency {
  claim(key: string, field: string, args: unknown): Claim;
  /** @returns false when the key is already running. */
  enter(key: string): boolean;
  leave(key: string): void;
}

export const CONCURRENT = {
  kind: 'refused' as const,
  code: 'IDEMPOTENCY_CONCURRENT_REQUEST',
  message: 'This request is currently in progress, please try again.',
};

export function createIdempotency(core: SimCore, replay: ReplayRule): Idempotency {
  const keys = core.tables.table<KeyRow>('idempotency');
  const running = new Set<string>();
  let claims = 0;

  function forgetOld(): void {
    claims += 1;
    if (claims % SWEEP_EVERY !== 0) return;
    for (const row of keys.all()) {
      if (core.clock.now() - row.at < KEPT_MS) return;
      keys.delete(row.key);
    }
  }

  return {
    claim(key, field, args) {
      forgetOld();
      const fingerprint = createHash('sha256')
        .update(`${field} ${canonical(args)}`)
        .digest('base64');
      const row = keys.get(key);
      const fresh = row === undefined || core.clock.now() - row.at >= KEPT_MS;
      const remember = (result: unknown) => {
        keys.delete(key);
        keys.put(key, { key, fingerprint, at: core.clock.now(), result });
      };
      if (fresh) return { kind: 'new', remember };
      if (row.fingerprint !== fingerprint) {
        const message = 'The same idempotency key cannot be used with different operation parameters.';
        return { kind: 'refused', code: 'IDEMPOTENCY_KEY_PARAMETER_MISMATCH', message };
      }
      if (row.result === null) {
        const message = 'A previous request with this idempotency key failed. Retry with a new idempotency key.';
        return { kind: 'refused', code: 'IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED', message };
      }
      return replay === 'reexecute' ? { kind: 'new', remember } : { kind: 'replay', result: row.result };
    },
    enter(key) {
      if (running.has(key)) return false;
      running.add(key);
      return true;
    },
    leave: (key) => running.delete(key),
  };
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(',')}}`;
}
