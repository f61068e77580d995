/**
 * Intake: everything that comes in from channels, as one thing for server/deps.ts to wire.
 *
 *   webhook → receive ┐
 *   queue   → receive ├→ inbox → drain → order, claims, channel effects, history: one commit
 *   sweep   → receive ┘            ↘ needs a read → fetch (outside transactions) → inbox
 *
 * Any number of processes may run it against one database.
 */
import type { Connector } from '#connectors/kit/ports.ts';
import type { Clock, Ids, Random } from '#core/effects.ts';
import { listLiveConnections } from '#store/connections/sweeps.ts';
import type { WatchKind } from '#store/connections/watches.ts';
import { retryAbandoned } from '#store/inbox/settle.ts';
import type { Store } from '#store/tx.ts';
import type { Vault } from '../secrets.ts';
import { countWatch } from './count-orders.ts';
import { createDrain } from './drain-inbox.ts';
import { failureOf } from './failure.ts';
import { createFetcher } from './fetch-order.ts';
import { completeUnmapped } from './import-order.ts';
import { createQueues } from './poll-queues.ts';
import type { Pressure } from './pressure.ts';
import type { ConnectionRef, FlowLog, OpenedConnection } from './publisher-types.ts';
import { createReceiver, type Delivery, type Received, type WebhookConnection } from './receive-event.ts';
import { createSweeps, type SweepResult } from './sweep-orders.ts';
import { createWatches } from './watch-connections.ts';
import { subscriptionWatch } from './watch-subscriptions.ts';

/** Named pause points inside the gaps of races; for tests. */
export interface IntakeHooks {
  /** Deliveries are about to be committed. */
  beforeStore?: (deliveries: number) => Promise<void> | void;
  /** Deliveries are committed, nobody was answered. */
  afterStore?: (deliveries: number) => Promise<void> | void;
  /** Keys are claimed, nothing was applied. */
  afterClaim?: (keys: number) => Promise<void> | void;
  /** Order rows are written, the ledger is not. */
  beforePost?: (orders: number) => Promise<void> | void;
  /** The ledger is posted; effects and inbox rows are not. */
  afterPost?: (orders: number) => Promise<void> | void;
  /** Everything is written, the commit is next. */
  beforeCommit?: (keys: number) => Promise<void> | void;
  afterCommit?: (keys: number) => Promise<void> | void;
  /** An order was read from the channel, and is not stored. */
  afterFetch?: (externalId: string) => Promise<void> | void;
  /** A sweep's page is stored. */
  afterPage?: (orders: number) => Promise<void> | void;
}

export interface IntakeMetrics {
  /** One transaction of stored deliveries. */
  stored?(deliveries: number): void;
  applied?(outcome: 'applied' | 'nothing' | 'superseded' | 'fetch' | 'dead' | 'retry', count: number): void;
  /** Orders applied in one transaction. */
  batch?(orders: number): void;
  /** From arrival to commit of the order. */
  waited?(ms: number): void;
}

export interface IntakeOptions {
  store: Store;
  /** The connector of a platform; null when there is none. */
  connectorOf(platform: string): Connector | null;
  /** All platforms with a connector. */
  platforms: readonly string[];
  /** Opens a connection, or null when it cannot be (deleted, no connector). May throw ConnectorError. */
  openConnection(connection: ConnectionRef): Promise<OpenedConnection | null>;
  vault: Vault;
  clock: Clock;
  random: Random;
  ids: Ids;
  log: FlowLog;
  /** Something was committed that others wait for: lanes, live events. Cheap; called often. */
  onCommitted?(): void;
  hooks?: IntakeHooks;
  metrics?: IntakeMetrics;
  /** Is told how many events were stored and applied. */
  pressure?: Pressure;
  /** Concurrent drains of this process; default 3. */
  workers?: number;
  /** Sequence keys per transaction; default 100. */
  batchKeys?: number;
  /** How often work of other processes is looked for; default 100. */
  pollMs?: number;
  /** First pause after a failure; doubles. Default 1,000. */
  retryMs?: number;
  /** Sweeps and queue polling run by themselves after `start`; default true. */
  reading?: boolean;
  /** This process holds the data folder's lock: a sweep's turn or a read that stands when it begins is a dead predecessor's. */
  soleProcess?: boolean;
}

export interface Intake {
  /** Whose webhook this is, with the secrets it must be signed by (maybe none); null: nobody's. */
  resolve(platform: string, token: string | null, shop: string | null): Promise<WebhookConnection | null>;
  /** Stores a verified delivery; resolves after the commit. */
  receive(delivery: Delivery): Promise<Received>;
  start(): void;
  /** No new work; what runs is finished. */
  stop(): Promise<void>;
  /** Rows may be waiting. */
  wake(): void;
  /** Applies what is due, reads included, until nothing is; for tests, the world and `sync`. */
  drain(): Promise<void>;
  /** Reads the connection's orders since the last mark; resolves when they are applied. Calls meanwhile share the next run. */
  requestSweep(connection: ConnectionRef): Promise<SweepResult>;
  /** Looks at its subscriptions, or counts its orders, now; null: another process is at it, or it failed. */
  look(kind: WatchKind, connection: ConnectionRef): Promise<Record<string, unknown> | null>;
  /** Books the lines of this connection's unmapped orders that can be found now. @returns orders changed */
  completeUnmapped(connection: ConnectionRef): Promise<number>;
  /** Reads one order again and applies what it shows. */
  refreshOrder(connection: ConnectionRef, externalId: string): Promise<void>;
  /** Secrets or settings of the connection changed: nothing remembered of it counts any more. */
  forget(connection: ConnectionRef): void;
}

export function createIntake(options: IntakeOptions): Intake {
  const receiver = createReceiver({ ...options, onStored: () => drain.wake() });
  const fetcher = createFetcher({ ...options, onStored: () => drain.wake() });
  const drain = createDrain({ ...options, ask: (work) => fetcher.run(work) });
  const sweeps = createSweeps({
    ...options,
    receive: (deliveries) => receiver.storeNow(deliveries),
    onStored: () => drain.wake(),
  });
  const watches = createWatches(options, [
    subscriptionWatch(options),
    countWatch({ ...options, receive: (deliveries) => receiver.storeNow(deliveries), onStored: () => drain.wake() }),
  ]);
  const queues = createQueues({ ...options, receive: (delivery) => receiver.receive(delivery) });
  const settled = async (): Promise<void> => {
    do {
      await drain.run();
    } while (await fetcher.idle());
  };
  return {
    resolve: receiver.resolve,
    receive: receiver.receive,
    start() {
      if (options.soleProcess === true)
        void takeOver(options).then(drain.wake, (error: unknown) =>
          options.log.error({ ...failureOf(error) }, 'reads of a dead predecessor wait out their time'),
        );
      drain.start();
      if (options.reading === false) return;
      sweeps.start();
      queues.start();
      watches.start();
    },
    async stop() {
      await Promise.all([sweeps.stop(), queues.stop(), watches.stop()]);
      await receiver.stop();
      await fetcher.stop();
      await drain.stop();
    },
    wake: drain.wake,
    drain: settled,
    requestSweep: sweeps.request,
    look: watches.lookNow,
    completeUnmapped: (connection) => completeUnmapped(options, connection),
    async refreshOrder(connection, externalId) {
      await fetcher.refresh(connection, externalId);
    },
    forget: receiver.forget,
  };
}

/** Orders that a dead predecessor was reading are read now, not when its time is over. */
async function takeOver({ store, platforms, clock }: IntakeOptions): Promise<void> {
  for (const { orgId, connectionId } of await listLiveConnections(store, platforms))
    await store.tenant(orgId, (tx) => retryAbandoned(tx, orgId, connectionId, clock.now()));
}
