/** What flows tell about themselves, as metrics. */
import type { IntakeMetrics } from './flows/intake.ts';
import type { LaneMetrics } from './flows/publisher-types.ts';
import type { Metrics } from './metrics.ts';

export const intakeMetrics = (metrics: Metrics): IntakeMetrics => ({
  applied: (outcome, count) => metrics.events.inc({ outcome }, count),
  batch: (orders) => metrics.batchOrders.observe(orders),
  waited: (ms) => metrics.eventSeconds.observe(Math.max(0, ms) / 1_000),
});

/** A sale older than this was not on its way all the time: it was imported late, or its listing was made later. */
const longestPathMs = 3_600_000;

export const laneMetrics = (metrics: Metrics): LaneMetrics => ({
  sent: ({ connectionId }, waitedMs) =>
    metrics.changeToSend.observe({ connection: metrics.connection(connectionId) }, Math.max(0, waitedMs) / 1_000),
  outcome: ({ connectionId }, outcome) =>
    metrics.attempts.inc({ connection: metrics.connection(connectionId), outcome }),
  inFlight: ({ connectionId }, budget, change) =>
    metrics.lanesInFlight.inc({ connection: metrics.connection(connectionId), budget }, change),
  accepted({ connectionId }, cause, at) {
    if (cause.from === undefined || cause.from === connectionId) return;
    const pair = metrics.pair(`${cause.from}/${connectionId}`);
    const [from = 'other', to = 'other'] = pair.split('/');
    const observe = (since: string, then: number | undefined) => {
      if (then !== undefined && at - then <= longestPathMs)
        metrics.saleToSibling.observe({ from, to, since }, Math.max(0, at - then) / 1_000);
    };
    observe('channel', cause.soldAt);
    observe('receipt', cause.receivedAt);
  },
});
