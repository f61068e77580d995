/**
 * Live events: one reader per process follows the feed for every organization somebody listens to and hands events out.
 * It is woken after our own commits and looks by itself every 500 ms for those of other processes.
 */
import type { Clock } from '#core/effects.ts';
import type { Store } from '#store/tx.ts';
import { type FeedEvent, type FeedPoint, feedEnd, readFeed } from '#store/views/events.ts';

export interface EventHub {
  /**
   * Calls `listener` for the organization's events until `stop`. Once `joined` resolves, every event that a later read of
   * the feed could still lack will come; some may come that it already showed (`isAfter` tells).
   */
  listen(orgId: string, listener: (event: FeedEvent) => void): { joined: Promise<void>; stop(): void };
  wake(): void;
  stop(): Promise<void>;
}

export function createEventHub({
  store,
  clock,
  onError,
}: {
  store: Store;
  clock: Clock;
  onError: (error: unknown) => void;
}): EventHub {
  const listeners = new Map<string, Set<(event: FeedEvent) => void>>();
  const stopping = new AbortController();
  let nap = new AbortController();
  let point: FeedPoint | null = null;
  const joining: (() => void)[] = [];

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const events = listeners.size === 0 ? [] : await next();
        for (const event of events) for (const listener of listeners.get(event.orgId) ?? []) listener(event);
        if (events.length >= 1_000) continue;
      } catch (error) {
        onError(error);
      }
      await clock.sleep(500, AbortSignal.any([nap.signal, stopping.signal]));
      // A wake comes right after a commit; a few milliseconds let its neighbours in.
      if (nap.signal.aborted) await clock.sleep(15, stopping.signal);
      nap = new AbortController();
    }
  }

  async function next(): Promise<FeedEvent[]> {
    point ??= await store.system(feedEnd);
    const orgs = [...listeners.keys()];
    for (const join of joining.splice(0)) join();
    const events = await readFeed(store, orgs, point);
    const last = events.at(-1);
    if (last) {
      const [tx = '0', seq = '0'] = last.id.split('-');
      point = { tx, seq: Number(seq) };
    }
    return events;
  }

  const running = follow();
  return {
    listen(orgId, listener) {
      if (listeners.size === 0) point = null;
      const set = listeners.get(orgId) ?? new Set();
      listeners.set(orgId, set.add(listener));
      const joined = new Promise<void>((resolve) => joining.push(resolve));
      nap.abort();
      return {
        joined,
        stop() {
          set.delete(listener);
          if (set.size === 0 && listeners.get(orgId) === set) listeners.delete(orgId);
        },
      };
    },
    wake: () => nap.abort(),
    async stop() {
      stopping.abort();
      await running;
      for (const join of joining.splice(0)) join();
    },
  };
}
