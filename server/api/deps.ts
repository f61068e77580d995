/** What the routes are given; made in server/deps.ts. */
import type { Clock, Ids } from '#core/effects.ts';
import type { Store } from '#store/tx.ts';
import type { Config } from '../config.ts';

export interface IdempotencyScope {
  orgId: string;
  caller: string;
  method: string;
  path: string;
  key: string;
}

export type IdempotencyClaim =
  | { kind: 'mine' }
  | { kind: 'replay'; status: number; response: unknown }
  | { kind: 'mismatch' }
  | { kind: 'running' };
