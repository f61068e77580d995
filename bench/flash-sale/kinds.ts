/**
 * The channels of the sale. One number per write call and twenty per reading, for every policy; every call, reading or writing, is paid
 * from one bucket. Two calls in flight: at such rates more would only grow old in the bucket's queue.
 */
import type { Manifest } from '#connectors/kit/ports.ts';
import type { ChannelSpec } from './channel.ts';

const latencyMs = 200;

export function channelSpec(name: string, perSecond: number): ChannelSpec {
  return { name, perSecond, burst: 1, latencyMs };
}

export function manifestOf({ name, perSecond, burst }: ChannelSpec): Manifest {
  return {
    platform: 'shopify',
    title: name,
    apiVersion: 'flash-sale',
    requestTimeoutMs: 15_000,
    hosts: [],
    stock: {
      compareAndSet: true,
      settleMs: 0,
      rejectAfterSettles: 3,
      urgentRows: 1,
      bulkRows: 1,
      readRows: 20,
      callsInFlight: 2,
      oneLocationPerCall: true,
      holdsOutsideNumber: false,
    },
    orders: { lagMs: 0, overlapMs: 0, sweepEveryMs: 0, counts: { everyMs: 0, days: 0, today: false, pagesMost: 0 } },
    events: { webhooks: true, queue: false },
    budgets: { one: { ratePerSecond: perSecond, capacity: burst } },
  };
}
