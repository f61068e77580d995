/**
 * Refused deliveries of known connections, noted once a minute each: a stranger who sends rubbish to an address costs a counter in
 * memory, not a write.
 */
import type { Clock } from '#core/effects.ts';
import { noteRefusedWebhooks } from '#store/connections/refused.ts';
import type { Store } from '#store/tx.ts';
import type { ConnectionRef } from './flows/publisher-types.ts';

const everyMs = 60_000;

export function createRefusedWebhooks(options: { store: Store; clock: Clock; onError(error: unknown): void }) {
  const { store, clock } = options;
  const known = new Map<string, { count: number; writtenAt: number }>();
  return ({ orgId, connectionId }: ConnectionRef): void => {
    const entry = known.get(connectionId) ?? { count: 0, writtenAt: Number.NEGATIVE_INFINITY };
    known.set(connectionId, entry);
    entry.count += 1;
    if (clock.monotonicMs() - entry.writtenAt < everyMs) return;
    const { count } = entry;
    Object.assign(entry, { count: 0, writtenAt: clock.monotonicMs() });
    void store
      .tenant(orgId, (tx) => noteRefusedWebhooks(tx, orgId, connectionId, count, clock.now()))
      .catch(options.onError);
  };
}
