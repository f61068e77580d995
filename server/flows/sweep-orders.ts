/**
 * Order sweep: reads a connection's orders since a mark, so that a lost webhook costs minutes and never an order.
 *
 * Windows overlap by the manifest's `overlapMs`; all pages are read; what our book already has in this version is left out,
 * so that a sweep of unchanged orders stores nothing. The rest takes the way of every other event. The mark moves to the
 * vendor's time of the first page, less `lagMs`, and only when everything the sweep stored is *applied*: presumed sales at
 * the channel are given up on the strength of this mark, and an order that is stored but not booked would be sold twice.
 * A dead letter holds the mark for the same reason, until a person has decided or a later version was applied.
 */
import type { ChannelOrder } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import {
  findDueSweeps,
  finishSweep,
  leaseSweep,
  type SweepStart,
  takeSweep,
  unappliedOrders,
} from '#store/connections/sweeps.ts';
import { askWatch } from '#store/connections/watches.ts';
import { knownVersions } from '#store/orders/load.ts';
import { markUnauthorized } from './drain-inbox.ts';
import { failureOf } from './failure.ts';
import { completeUnmapped, contentHashOf } from './import-order.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';
import type { Delivery, Received } from './receive-event.ts';
import { LATE_MS } from './watch-subscriptions.ts';

export type SweepResult =
  /** Every order changed up to `readTo` (Unix ms) is in our book. */
  | { kind: 'done'; seen: number; stored: number; readTo: number }
  /** Read and stored, but something is not applied: the mark stays. */
  | { kind: 'incomplete'; seen: number; stored: number; reason: 'waiting' | 'dead' }
  | { kind: 'failed'; code: string; message: string }
  /** Deleted, or no connector. */
  | { kind: 'gone' };

export interface SweepOptions extends IntakeOptions {
  /** Stores a page at once. */
  receive(deliveries: readonly Delivery[]): Promise<Received[]>;
  onStored(): void;
}

/** A sweep's turn; renewed while it runs. After a kill the next one waits this long, unless nobody else can be at work. */
const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
/** Two sweeps of one connection begin at least so far apart, however often they are asked for. */
const GAP_MS = 200;
/** How often turns are looked for. */
const LOOK_MS = 500;
const AT_ONCE = 8;
/** How long a sweep waits for its orders to be applied before it leaves the mark where it is. */
const APPLY_MS = 30_000;
/** Deliveries of which none was applied for so long wait for something else. */
const STUCK_MS = 300;
const LONGEST_PAUSE_MS = 300_000;

interface Line {
  running: Promise<SweepResult>;
  next: Promise<SweepResult> | null;
}

export function createSweeps(options: SweepOptions) {
  const { store, clock, random, log } = options;
  const stopping = new AbortController();
  const lines = new Map<string, Line>();
  const pauses = new Map<string, { failures: number; until: number }>();
  const begun = new Map<string, number>();
  let watching: Promise<void> | null = null;

  /** Shares the run that has not begun yet; one that runs already may have passed the order that is asked for. */
  function request(connection: ConnectionRef): Promise<SweepResult> {
    const line = lines.get(connection.connectionId);
    if (!line) return begin(connection);
    line.next ??= line.running.then(() => begin(connection));
    return line.next;
  }

  function begin(connection: ConnectionRef): Promise<SweepResult> {
    const running = turn(connection).finally(() => {
      const line = lines.get(connection.connectionId);
      if (line?.running === running && line.next === null) lines.delete(connection.connectionId);
    });
    lines.set(connection.connectionId, { running, next: null });
    return running;
  }

  async function turn(connection: ConnectionRef): Promise<SweepResult> {
    const { orgId, connectionId } = connection;
    const takeAtOnce = options.soleProcess === true && !begun.has(connectionId);
    const rest = (begun.get(connectionId) ?? Number.NEGATIVE_INFINITY) + GAP_MS - clock.monotonicMs();
    if (rest > 0) await clock.sleep(rest, stopping.signal);
    for (let tries = 0; !stopping.signal.aborted && tries < (2 * LEASE_MS) / GAP_MS; tries += 1) {
      begun.set(connectionId, clock.monotonicMs());
      const now = clock.now();
      const start = await store.tenant(orgId, (tx) =>
        takeSweep(tx, orgId, connectionId, now, now + LEASE_MS, takeAtOnce),
      );
      if (start) return guarded(connection, start);
      await clock.sleep(GAP_MS, stopping.signal);
    }
    return { kind: 'failed', code: 'sweep.busy', message: 'Another process is at it.' };
  }

  async function guarded(connection: ConnectionRef, start: SweepStart): Promise<SweepResult> {
    const { orgId, connectionId } = connection;
    const over = new AbortController();
    const renewing = renew(connection, over.signal);
    try {
      const result = await sweep(connection, start);
      pauses.delete(connectionId);
      return result;
    } catch (error) {
      const failure = failureOf(error);
      await store.tenant(orgId, (tx) => leaseSweep(tx, orgId, connectionId, 0)).catch(() => {});
      if (stopping.signal.aborted) return { kind: 'failed', code: 'sweep.stopped', message: 'Stopped.' };
      await pause(connection, error);
      log.warn({ connectionId, ...failure }, 'orders could not be swept');
      return { kind: 'failed', ...failure };
    } finally {
      over.abort();
      await renewing;
    }
  }

  async function renew({ orgId, connectionId }: ConnectionRef, signal: AbortSignal): Promise<void> {
    for (;;) {
      await clock.sleep(RENEW_MS, signal);
      if (signal.aborted) return;
      await store.tenant(orgId, (tx) => leaseSweep(tx, orgId, connectionId, clock.now() + LEASE_MS)).catch(() => {});
    }
  }

  async function pause({ orgId, connectionId }: ConnectionRef, error: unknown): Promise<void> {
    const failures = (pauses.get(connectionId)?.failures ?? 0) + 1;
    const told = error instanceof ConnectorError ? error.retryAfterMs : null;
    const wait =
      told ??
      Math.min(LONGEST_PAUSE_MS, (options.retryMs ?? 1_000) * 2 ** Math.min(failures, 10)) * (0.5 + random.next());
    pauses.set(connectionId, { failures, until: clock.monotonicMs() + wait });
    if (error instanceof ConnectorError && error.code === 'connector.unauthorized') {
      await store
        .tenant(orgId, (tx) =>
          markUnauthorized(
            tx,
            orgId,
            connectionId,
            `The channel no longer accepts our authorisation: ${error.message}`,
            options,
          ),
        )
        .catch(() => {});
    }
  }

  async function sweep(connection: ConnectionRef, start: SweepStart): Promise<SweepResult> {
    const { orgId, connectionId } = connection;
    const opened = await options.openConnection(connection);
    if (!opened) {
      await store.tenant(orgId, (tx) => finishSweep(tx, orgId, connectionId, { readTo: null, now: clock.now() }));
      return { kind: 'gone' };
    }
    const { orders: limits } = opened.manifest;
    await comeIn(connection, clock.now());
    const read = await readPages(connection, opened, Math.max(0, (start.readTo ?? start.createdAt) - limits.overlapMs));
    const left = await applied(connection, clock.now());
    const readTo = left === null ? read.vendorAt - limits.lagMs : null;
    await store.tenant(orgId, async (tx) => {
      await finishSweep(tx, orgId, connectionId, { readTo, now: clock.now() });
      // Orders that no event told of: whether events still come is looked at, once theirs have had their time.
      if (read.stored > 0) await askWatch(tx, orgId, connectionId, 'subscriptions', clock.now() + LATE_MS + 1_000);
    });
    options.onCommitted?.();
    const { seen, stored } = read;
    if (left !== null || readTo === null) return { kind: 'incomplete', seen, stored, reason: left ?? 'waiting' };
    return { kind: 'done', seen, stored, readTo };
  }

  /** What was already delivered is applied first, as long as that makes progress: else the sweep would store it once more. */
  async function comeIn({ orgId, connectionId }: ConnectionRef, storedBy: number): Promise<void> {
    let least = Number.POSITIVE_INFINITY;
    let since = clock.monotonicMs();
    while (!stopping.signal.aborted) {
      const { waiting } = await store.tenant(orgId, (tx) => unappliedOrders(tx, orgId, connectionId, storedBy));
      if (waiting === 0 || (waiting >= least && clock.monotonicMs() - since > STUCK_MS)) return;
      if (waiting < least) since = clock.monotonicMs();
      least = Math.min(least, waiting);
      await clock.sleep(50, stopping.signal);
    }
  }

  async function readPages(connection: ConnectionRef, opened: OpenedConnection, since: number) {
    const read = { seen: 0, stored: 0, vendorAt: Number.POSITIVE_INFINITY };
    let cursor: string | null = null;
    do {
      const page = await opened.channel.orders.changedSince(since, cursor, { budget: 'read', signal: stopping.signal });
      read.seen += page.orders.length;
      read.vendorAt = Math.min(read.vendorAt, page.vendorAt);
      read.stored += await storePage(connection, page.orders);
      await options.hooks?.afterPage?.(page.orders.length);
      cursor = page.cursor;
    } while (cursor !== null);
    return read;
  }

  async function storePage(connection: ConnectionRef, orders: readonly ChannelOrder[]): Promise<number> {
    const { orgId, connectionId } = connection;
    const versions = orders.map((order) => ({
      externalId: order.externalId,
      updatedAt: order.updatedAt,
      contentHash: contentHashOf(order),
    }));
    const known = await store.tenant(orgId, (tx) => knownVersions(tx, orgId, connectionId, versions));
    const news = orders.filter((order) => !known.has(order.externalId));
    const results = await options.receive(news.map((order) => deliveryOf(connection, order)));
    return results.filter(({ kind }) => kind === 'stored').length;
  }

  /** Waits until everything stored by then is applied; else what is in the way. */
  async function applied({ orgId, connectionId }: ConnectionRef, storedBy: number): Promise<'waiting' | 'dead' | null> {
    const end = clock.monotonicMs() + APPLY_MS;
    for (let wait = 5; ; wait = Math.min(200, wait * 2)) {
      const left = await store.tenant(orgId, (tx) => unappliedOrders(tx, orgId, connectionId, storedBy));
      if (left.waiting === 0) return left.dead === 0 ? null : 'dead';
      if (clock.monotonicMs() > end || stopping.signal.aborted) return 'waiting';
      await clock.sleep(wait, stopping.signal);
    }
  }

  /** Turns of all connections whose interval has passed; also the safety net for mappings made elsewhere. */
  async function watch(): Promise<void> {
    const every = new Map(
      options.platforms.flatMap((platform) => {
        const manifest = options.connectorOf(platform)?.manifest;
        return manifest ? [[platform, manifest.orders.sweepEveryMs] as const] : [];
      }),
    );
    while (!stopping.signal.aborted) {
      try {
        for (const connection of await findDueSweeps(store, every, clock.now(), 100)) {
          const paused = pauses.get(connection.connectionId);
          if (
            lines.size >= AT_ONCE ||
            lines.has(connection.connectionId) ||
            (paused && paused.until > clock.monotonicMs())
          )
            continue;
          void request(connection)
            .then(() => completeUnmapped(options, connection))
            .catch((error: unknown) => log.error({ ...failureOf(error) }, 'an order sweep broke off'));
        }
      } catch (error) {
        log.error({ ...failureOf(error) }, 'due order sweeps cannot be found');
      }
      await clock.sleep(LOOK_MS, stopping.signal);
    }
  }

  return {
    request,
    start() {
      watching ??= watch();
    },
    async stop(): Promise<void> {
      stopping.abort();
      await watching;
      await Promise.allSettled([...lines.values()].map(({ running }) => running));
    },
  };
}

export function deliveryOf({ orgId, connectionId }: ConnectionRef, order: ChannelOrder): Delivery {
  const body = Buffer.from(JSON.stringify(order));
  return {
    orgId,
    connectionId,
    source: 'poll',
    kind: 'order',
    externalId: order.externalId,
    topic: 'sweep',
    deliveryId: null,
    body,
  };
}
