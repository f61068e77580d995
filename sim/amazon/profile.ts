/**
 * Amazon's pace under the two profiles: how long things take and whether usage plans bite.
 *
 * open    everything at once, no limits (the demo).
 * vendor  usage plans of `operations.ts`; an accepted stock write or shipment confirmation shows after `settleMs`
 *         ("a few minutes", documented as an observation in vendors/amazon.md §3.4.6: 120 s here); an order change is
 *         readable after 2 minutes (§6.3, documented); notifications leave after 3 s (assumed from the example's times).
 * All by the simulator's clock: tests advance it instead of waiting.
 */
import type { ProfileName } from '#sim/kit/profiles.ts';

export interface Pace {
  /** [least, most] time to answer a call. */
  latencyMs: readonly [number, number];
  /** From ACCEPTED (or 204 of a shipment confirmation) to effect. */
  settleMs: number;
  /** From a change of an order to its being readable; also the least age of a …Before filter. */
  orderVisibleAfterMs: number;
  notificationDelayMs: number;
  /** Whether token buckets refuse calls. */
  limited: boolean;
  /** A feed waits this long (or for the feeds before it), then runs this long. Normal: minutes (§4.4). */
  feedQueueMs: number;
  feedRunMs: number;
}

const PACES: Record<ProfileName, Pace> = {
  open: {
    latencyMs: [0, 0],
    settleMs: 0,
    orderVisibleAfterMs: 0,
    notificationDelayMs: 0,
    limited: false,
    feedQueueMs: 0,
    feedRunMs: 0,
  },
  vendor: {
    latencyMs: [20, 120],
    settleMs: 120_000,
    orderVisibleAfterMs: 120_000,
    notificationDelayMs: 3_000,
    limited: true,
    feedQueueMs: 60_000,
    feedRunMs: 300_000,
  },
};

export const paceOf = (profile: ProfileName): Pace => PACES[profile];

/** The longest any profile hides an order change: older versions of an order are forgotten after it. */
export const LONGEST_ORDER_DELAY_MS = PACES.vendor.orderVisibleAfterMs;

/** RFC 3339 in whole seconds, as Orders and Listings show times. */
export const isoSeconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** RFC 3339 with milliseconds, as notifications show times. */
export const isoMillis = (ms: number): string => new Date(ms).toISOString();
