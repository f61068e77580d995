/**
 * The outside-call log: every request to a vendor with its answer, secrets removed by the transport, kept 90 days.
 * Written behind the work (batches, at most a second late): losing the last second in a crash costs evidence, never stock;
 * what was sent and is unknown stands in the attempts table.
 */
import type { CallLogEntry } from '#connectors/kit/transport.ts';
import type { Clock, Ids } from '#core/effects.ts';
import type { OutsideCallRow } from '#store/connections/outside-calls.ts';
import type { ConnectionRef } from './flows/publisher-types.ts';
import type { CallTrace } from './flows/tracing.ts';

const maxWaiting = 5_000;
const maxText = 16_000;
/** Correlation ids and SKUs kept per call. */
const maxTraced = 250;

export function createOutsideCallLog(options: {
  clock: Clock;
  ids: Ids;
  keep(orgId: string, entries: OutsideCallRow[]): Promise<void>;
  onError(error: unknown): void;
}) {
  let waiting = new Map<string, OutsideCallRow[]>();
  let count = 0;
  const stopping = new AbortController();

  async function flush(): Promise<void> {
    const batch = waiting;
    waiting = new Map();
    count = 0;
    for (const [orgId, entries] of batch) {
      try {
        await options.keep(orgId, entries);
      } catch (error) {
        options.onError(error);
      }
    }
  }
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await options.clock.sleep(1_000, stopping.signal);
      if (count > 0) await flush();
    }
  }
  const running = run();

  return {
    add(ref: ConnectionRef, entry: CallLogEntry, trace?: CallTrace): void {
      if (count >= maxWaiting) return;
      count += 1;
      const row: OutsideCallRow = {
        id: options.ids.uuid(),
        connectionId: ref.connectionId,
        operation: entry.operation,
        method: entry.method,
        url: entry.url,
        status: entry.status,
        request: entry.requestBody?.slice(0, maxText) ?? null,
        response: entry.responseBody?.slice(0, maxText) ?? null,
        errorCode: entry.outcome === 'answered' ? null : entry.outcome,
        tookMs: Math.round(entry.durationMs),
        at: new Date(entry.startedAt),
        attempt: entry.attempt,
        waitedMs: Math.round(entry.waitedMs),
        callKey: trace?.callKey ?? null,
        correlationIds: trace?.correlationIds.slice(0, maxTraced) ?? [],
        skus: trace?.skus?.slice(0, maxTraced) ?? [],
      };
      const list = waiting.get(ref.orgId);
      if (list) list.push(row);
      else waiting.set(ref.orgId, [row]);
    },
    async stop(): Promise<void> {
      stopping.abort();
      await running;
      await flush();
    },
  };
}
