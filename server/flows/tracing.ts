/**
 * Tracing: what a call to a vendor is made for. Set around the call by whoever decides it (lane, fetcher), read where the call
 * is logged (server/deps.ts): the connectors between them know nothing of it. A value per asynchronous context, never shared state.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { WorkTarget } from '#store/listings/work.ts';

export interface CallTrace {
  /** Of the events behind it, oldest first. */
  correlationIds: string[];
  /** The key its attempts share. */
  callKey?: string;
  skus?: string[];
}

export const tracing = new AsyncLocalStorage<CallTrace>();

const unique = <T>(items: readonly (T | null | undefined)[]): T[] => [
  ...new Set(items.filter((item): item is T => item !== null && item !== undefined)),
];

export const correlationsOf = (rows: readonly { correlationId?: string | null }[]): string[] =>
  unique(rows.map(({ correlationId }) => correlationId));

export const traceOf = (
  targets: readonly Pick<WorkTarget, 'causes' | 'stockKey' | 'sku'>[],
  callKey?: string,
): CallTrace => ({
  correlationIds: correlationsOf(targets.flatMap(({ causes }) => causes)),
  skus: unique(targets.map(({ sku, stockKey }) => sku ?? stockKey)),
  ...(callKey !== undefined && { callKey }),
});

/** The log fields of one target: who it is and what it is about. */
export function targetFields(
  target: Pick<WorkTarget, 'id' | 'causes' | 'stockKey' | 'sku' | 'channelLocation'>,
): Record<string, unknown> {
  const last = target.causes.at(-1);
  return {
    correlationId: last?.correlationId,
    order: last?.order,
    ...(target.causes.length > 1 && { correlationIds: correlationsOf(target.causes) }),
    sku: target.sku,
    stockKey: target.stockKey,
    channelLocation: target.channelLocation,
    targetId: target.id,
  };
}
