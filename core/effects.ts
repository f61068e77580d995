/**
 * Time, chance and identity as values that are handed in, so that the same code runs in production,
 * in a test and in the simulated world. Real ones are made in `server/deps.ts` only.
 */

export interface Clock {
  /** Business time: milliseconds since the Unix epoch, UTC. May jump. */
  now(): number;
  /** Milliseconds that never go back; for leases, timeouts and durations. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once (normally, not by throwing) when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** A float in [0, 1). */
  next(): number;
}

export interface Ids {
  /** A UUIDv7 (RFC 9562): sorts by creation time. */
  uuid(): string;
}
