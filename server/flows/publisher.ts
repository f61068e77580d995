/**
 * The publisher: dirty marks → dirty targets → lanes, for every connection of every organization.
 *
 * Woken after commits in this process, and by itself every `pollMs` for what other processes, time and recovery leave:
 * expands marks, serves due rows, wakes the lanes that have work, asks for stock sweeps. It holds no state that matters:
 * any number of processes may run one, leases decide who writes.
 */

import { expand } from '#store/listings/scarcity.ts';
import { beginStockSweep } from '#store/listings/sweeps.ts';
import {
  type ConnectionIds,
  dirtyOrgs,
  lanesWithWork,
  publishingConnections,
  takeStockSweep,
} from '#store/listings/system.ts';
import { serveDue } from './due.ts';
import { Gathering, plentyUnits } from './gathering.ts';
import { createLane } from './lane.ts';
import type { ConnectionRef, Lane, OpenedConnection, Publisher, PublisherOptions } from './publisher-types.ts';

import { restAfter } from './pulse.ts';

export type * from './publisher-types.ts';

const defaultStockSweepMs = 6 * 3_600_000;
/** Connections that come, go or change are noticed this often. */
const housekeepingMs = 1_000;
/** While wakes follow one another, what nobody wakes it for is looked at this often. */
const busyPollMs = 1_000;

export function createPublisher(options: PublisherOptions): Publisher {
  return new LanePublisher(options);
}

class LanePublisher implements Publisher {
  readonly #options: PublisherOptions;
  readonly #gathering: Gathering;
  readonly #lanes = new Map<string, Lane>();
  /** What each lane was opened with. */
  readonly #opened = new WeakMap<Lane, OpenedConnection>();
  readonly #opening = new Map<string, Promise<Lane | null>>();
  readonly #retired = new Set<Promise<void>>();
  #renewing: Promise<void> | null = null;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | null = null;
  #woken = false;
  #wakeUp: (() => void) | null = null;
  #keptHouseAt = Number.NEGATIVE_INFINITY;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#gathering = new Gathering(options.clock, options.pressure);
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.wake();
    await this.#loop;
    await this.#renewing;
    await Promise.all([...[...this.#lanes.values()].map((lane) => lane.stop()), ...this.#retired]);
    this.#lanes.clear();
  }

  wake(): void {
    this.#woken = true;
    this.#wakeUp?.();
  }

  reopen(connection: ConnectionRef): void {
    const lane = this.#lanes.get(keyOf(connection));
    if (!lane) return;
    this.#lanes.delete(keyOf(connection));
    const gone: Promise<void> = lane.stop().finally(() => this.#retired.delete(gone));
    this.#retired.add(gone);
    this.wake();
  }

  async requestStockSweep(connection: ConnectionRef): Promise<void> {
    const { store, clock, ids } = this.#options;
    await store.tenant(connection.orgId, (tx) =>
      beginStockSweep(tx, connection.orgId, connection.connectionId, {
        id: ids.uuid(),
        askedBy: 'request',
        now: clock.now(),
      }),
    );
    this.wake();
  }

  async drain(): Promise<void> {
    for (let round = 0; round < 1_000; round += 1) {
      await serveDue(this.#options);
      const expanded = await this.#expand();
      const busy = await this.#options.store.system((tx) => lanesWithWork(tx, this.#options.clock.now()));
      await Promise.all(busy.map(async (connection) => (await this.#laneOf(connection))?.drain()));
      if (!expanded) return;
    }
  }

  async #run(): Promise<void> {
    const { clock, pollMs = 200 } = this.#options;
    let polledAt = Number.NEGATIVE_INFINITY;
    while (!this.#stopping.signal.aborted) {
      const began = clock.monotonicMs();
      // Commits may wake it without a pause: time and others are looked after all the same.
      const polled = !this.#woken || began - polledAt >= busyPollMs;
      this.#woken = false;
      if (polled) polledAt = began;
      const found = await this.#pass(polled).catch((error: unknown) => this.#failed(error));
      // A commit that marked nothing costs the next one no rest.
      if (found !== false && this.#woken && !this.#stopping.signal.aborted)
        await clock.sleep(
          restAfter(clock.monotonicMs() - began, this.#options.pressure?.isHigh()),
          this.#stopping.signal,
        );
      if (this.#woken || this.#stopping.signal.aborted) continue;
      const idle = new AbortController();
      this.#wakeUp = () => idle.abort();
      if (!this.#woken) await clock.sleep(pollMs, idle.signal);
      this.#wakeUp = null;
    }
  }

  #failed(error: unknown): void {
    this.#options.log.error(
      { error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
      'Publishing failed; it goes on at the next look.',
    );
  }

  /** Woken: the marks alone. By itself, and now and then when it is woken all the time: everything that time, others and recovery leave. */
  async #pass(polled: boolean): Promise<boolean> {
    const { store, clock } = this.#options;
    // Before a lane is woken for the first time: numbers nobody knows yet are then read in bulk, not one by one.
    if (polled || this.#keptHouseAt === Number.NEGATIVE_INFINITY) await this.#keepHouse();
    const below = this.#gathering.look() ? plentyUnits : null;
    const found = await this.#expand(below);
    if (!polled) return found || below !== null;
    const served = await serveDue(this.#options);
    if (served > 0) await this.#expand(below);
    const busy = await store.system((tx) => lanesWithWork(tx, clock.now()));
    for (const connection of busy) await this.#nudge(connection);
    return true;
  }

  async #expand(below: number | null = null): Promise<boolean> {
    const { store, clock, ids } = this.#options;
    const orgs = await store.system((tx) => dirtyOrgs(tx));
    let any = false;
    for (const orgId of orgs) {
      for (let more = true; more; ) {
        const expanded = await store.tenant(orgId, (tx) => expand(tx, orgId, { now: clock.now(), ids, below }), {
          keepPlans: true,
        });
        any ||= expanded.connectionIds.length > 0;
        for (const connectionId of expanded.connectionIds) await this.#nudge({ orgId, connectionId }, below === null);
        more = expanded.more && !this.#stopping.signal.aborted;
      }
    }
    return any;
  }

  async #nudge(connection: ConnectionIds, forAll = false): Promise<void> {
    const lane = this.#lanes.get(keyOf(connection));
    if (lane) return lane.wake(forAll);
    // Opening may need keys and take time: others do not wait for it.
    void this.#laneOf(connection)
      .then((opened) => opened?.wake())
      .catch((error: unknown) => this.#failed(error));
  }

  async #laneOf(connection: ConnectionIds): Promise<Lane | null> {
    const key = keyOf(connection);
    const known = this.#lanes.get(key);
    if (known) return known;
    const opening = this.#opening.get(key) ?? this.#open(connection, key);
    this.#opening.set(key, opening);
    return opening.finally(() => this.#opening.delete(key));
  }

  async #open(connection: ConnectionIds, key: string): Promise<Lane | null> {
    const {
      openConnection,
      store,
      clock,
      random,
      ids,
      log,
      requestOrderSweep,
      completeUnmapped,
      hooks,
      metrics,
      leaseMs,
      slice,
      soleProcess,
      pressure,
    } = this.#options;
    const opened = await openConnection(connection);
    if (!opened || this.#stopping.signal.aborted) return null;
    const lane = createLane({
      store,
      connection: { orgId: connection.orgId, connectionId: connection.connectionId },
      opened,
      clock,
      random,
      ids,
      log,
      ...(requestOrderSweep && { requestOrderSweep }),
      ...(completeUnmapped && { completeUnmapped }),
      ...(hooks && { hooks }),
      ...(metrics && { metrics }),
      ...(leaseMs !== undefined && { leaseMs }),
      ...(slice !== undefined && { slice }),
      ...(soleProcess !== undefined && { soleProcess }),
      ...(pressure && { pressure }),
    });
    this.#lanes.set(key, lane);
    this.#opened.set(lane, opened);
    if (this.#loop) lane.start();
    return lane;
  }

  async #keepHouse(): Promise<void> {
    const { store, clock, stockSweepMs = defaultStockSweepMs } = this.#options;
    const mono = clock.monotonicMs();
    if (mono - this.#keptHouseAt < housekeepingMs) return;
    this.#keptHouseAt = mono;
    const connections = await store.system((tx) => publishingConnections(tx));
    const alive = new Set(connections.map(keyOf));
    for (const [key, lane] of this.#lanes) if (!alive.has(key)) this.reopen(lane.connection);
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = null;
    });
    if (stockSweepMs <= 0) return;
    for (const connection of connections) await sweepStock(this.#options, connection, stockSweepMs);
  }

  /** A lane keeps the channel it was opened with: after new credentials or another address it is opened anew. Marks do not wait for it. */
  async #renewAll(): Promise<void> {
    for (const lane of [...this.#lanes.values()]) {
      const opened = await this.#options.openConnection(lane.connection).catch(() => null);
      if (this.#stopping.signal.aborted) return;
      if (opened !== null && opened !== this.#opened.get(lane)) this.reopen(lane.connection);
    }
  }
}

const keyOf = ({ orgId, connectionId }: ConnectionIds): string => `${orgId}/${connectionId}`;

/** The stock sweep: every target is read once per period; the lane reads them in bulk, behind everything urgent. */
async function sweepStock(
  { store, clock, ids }: PublisherOptions,
  { orgId, connectionId }: ConnectionIds,
  everyMs: number,
): Promise<void> {
  const now = clock.now();
  await store.tenant(orgId, async (tx) => {
    if (await takeStockSweep(tx, orgId, connectionId, now, everyMs))
      await beginStockSweep(tx, orgId, connectionId, { id: ids.uuid(), askedBy: 'schedule', now });
  });
}
