/**
 * Watches: looks at every connection now and then, whatever process has the turn.
 *
 *   subscriptions  does the channel still send us its events? (watch-subscriptions.ts)
 *   order_counts   are its daily orders all in our book? (count-orders.ts)
 *
 * A look that fails is tried again later and later; what it found stays shown. Every turn is a lease in the database, renewed
 * while it lasts: processes in any number may run this, and a killed one's turn is taken when its lease is over.
 */
import { listLiveConnections } from '#store/connections/sweeps.ts';
import {
  askWatch,
  findDueWatches,
  finishWatch,
  renewWatch,
  takeWatch,
  type WatchKind,
} from '#store/connections/watches.ts';
import { failureOf } from './failure.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';

export interface Watch {
  kind: WatchKind;
  platforms: readonly string[];
  look(
    connection: ConnectionRef,
    opened: OpenedConnection,
    context: { last: Record<string, unknown> | null; signal: AbortSignal },
  ): Promise<{ result: Record<string, unknown>; nextAt: number }>;
}

const LEASE_MS = 60_000;
const LOOK_MS = 1_000;
const AT_ONCE = 4;
const LONGEST_PAUSE_MS = 3_600_000;

export function createWatches(options: IntakeOptions, watches: readonly Watch[]) {
  const { store, clock, log } = options;
  const stopping = new AbortController();
  const running = new Map<string, Promise<unknown>>();
  let watching: Promise<void> | null = null;

  /** Looks now. @returns what was found, or null: another process is at it, or the look failed (it is tried again by itself). */
  async function lookNow(kind: WatchKind, connection: ConnectionRef): Promise<Record<string, unknown> | null> {
    const watch = watches.find((one) => one.kind === kind);
    return watch ? turn(watch, connection) : null;
  }

  async function turn(watch: Watch, connection: ConnectionRef): Promise<Record<string, unknown> | null> {
    const { orgId, connectionId } = connection;
    const startedAt = clock.now();
    const taken = await store.tenant(orgId, (tx) =>
      takeWatch(tx, orgId, connectionId, watch.kind, startedAt, startedAt + LEASE_MS),
    );
    if (!taken) return null;
    const over = new AbortController();
    const renewing = renew(watch.kind, connection, over.signal);
    let result: Record<string, unknown> | null = null;
    let error: string | null = null;
    let nextAt = startedAt + LONGEST_PAUSE_MS;
    try {
      const opened = await options.openConnection(connection);
      if (opened)
        ({ result, nextAt } = await watch.look(connection, opened, { last: taken.result, signal: stopping.signal }));
    } catch (caught) {
      const failure = failureOf(caught);
      error = failure.message;
      nextAt = clock.now() + Math.min(LONGEST_PAUSE_MS, 10_000 * 2 ** Math.min(taken.failures, 10));
      if (!stopping.signal.aborted)
        log.warn({ connectionId, kind: watch.kind, ...failure }, 'a look at a connection failed');
    } finally {
      over.abort();
      await renewing;
    }
    const look = { result, error, startedAt, now: clock.now(), nextAt };
    await store.tenant(orgId, (tx) => finishWatch(tx, orgId, connectionId, watch.kind, look));
    return result;
  }

  async function renew(kind: WatchKind, { orgId, connectionId }: ConnectionRef, signal: AbortSignal): Promise<void> {
    for (;;) {
      await clock.sleep(LEASE_MS / 3, signal);
      if (signal.aborted) return;
      await store
        .tenant(orgId, (tx) => renewWatch(tx, orgId, connectionId, kind, clock.now() + LEASE_MS))
        .catch(() => {});
    }
  }

  /** Begins what is due. */
  async function begin(): Promise<void> {
    for (const watch of watches) {
      for (const connection of await findDueWatches(store, watch.kind, watch.platforms, clock.now(), 100)) {
        const key = `${watch.kind}/${connection.connectionId}`;
        if (running.size >= AT_ONCE || running.has(key)) continue;
        const task = turn(watch, connection)
          .catch((error: unknown) => log.error({ ...failureOf(error) }, 'a look at a connection broke off'))
          .finally(() => running.delete(key));
        running.set(key, task);
      }
    }
  }

  /** While nobody ran, subscriptions may have been lost. */
  async function askAtStart(): Promise<void> {
    try {
      for (const { orgId, connectionId } of await listLiveConnections(store, options.platforms))
        await store.tenant(orgId, (tx) => askWatch(tx, orgId, connectionId, 'subscriptions', clock.now()));
    } catch (error) {
      log.error({ ...failureOf(error) }, 'subscriptions are looked at in their own time only');
    }
  }

  async function watchAll(): Promise<void> {
    while (!stopping.signal.aborted) {
      await begin().catch((error: unknown) => log.error({ ...failureOf(error) }, 'due looks cannot be found'));
      await clock.sleep(LOOK_MS, stopping.signal);
    }
  }

  return {
    lookNow,
    start() {
      watching ??= askAtStart().then(watchAll);
    },
    async stop(): Promise<void> {
      stopping.abort();
      await watching;
      await Promise.allSettled([...running.values()]);
    },
  };
}
