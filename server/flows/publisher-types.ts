/**
 * What publishing is given and what it offers: the lane of one connection, and the publisher that keeps them all.
 * Times are the clock's; everything outside is a parameter, so that the same flows run in a simulated world.
 */
import type { Channel, Manifest } from '#connectors/kit/ports.ts';
import type { Clock, Ids, Random } from '#core/effects.ts';
import type { Cause } from '#store/listings/work.ts';
import type { Store } from '#store/tx.ts';
import type { Pressure } from './pressure.ts';

export interface ConnectionRef {
  orgId: string;
  connectionId: string;
}

/** A connection opened for work. */
export interface OpenedConnection {
  /** With the connection's own settings laid over it (settleMs, …). */
  manifest: Manifest;
  channel: Channel;
}

export interface FlowLog {
  /** The stations of every single event (docs/logging.md): free while the level is above debug. */
  debug?(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

/** Named pause points inside the gaps of races; for tests. */
export interface LaneHooks {
  /** The attempts are committed, nothing was sent. */
  beforeSend?: (call: SentCall) => Promise<void> | void;
  /** The lease was checked; the very next step is the request. */
  atSend?: (call: SentCall) => Promise<void> | void;
  /** The vendor answered, nothing is recorded. */
  afterSend?: (call: SentCall) => Promise<void> | void;
  afterRecord?: (call: SentCall) => Promise<void> | void;
  /** A read came back, nothing is recorded. */
  afterRead?: (targetIds: readonly string[]) => Promise<void> | void;
  /** What was read is committed; what follows from it is not. */
  afterReadRecord?: (targetIds: readonly string[]) => Promise<void> | void;
  /** Between any two effects of a feed; `atSubmit` is the last before its request. */
  feed?: (after: FeedStep) => Promise<void> | void;
}

/** What has just been done about a feed, in this order. */
export const feedSteps = [
  'gathered',
  'read',
  'recorded',
  'prepared',
  'submitted',
  'named',
  'reported',
  'booked',
] as const;
export type FeedStep = (typeof feedSteps)[number];

export interface SentCall {
  key: string;
  budget: 'urgent' | 'bulk';
  rows: { targetId: string; stockKey: string; channelLocation: string; value: number; from: number | null }[];
}

export interface LaneOptions {
  store: Store;
  connection: ConnectionRef;
  opened: OpenedConnection;
  clock: Clock;
  random: Random;
  ids: Ids;
  log: FlowLog;
  /** Unseen sales are presumed: orders should be read soon, so that they are known. Coalesced by the receiver. */
  requestOrderSweep?: (connection: ConnectionRef) => void;
  /** Lines of this connection wait for a SKU that some of its numbers have now: they are to be booked. */
  completeUnmapped?: (connection: ConnectionRef) => void;
  hooks?: LaneHooks;
  /** Lease time; at least twice the request timeout (the default). */
  leaseMs?: number;
  /** No other process can be at work on this database: a lease that is left is a dead predecessor's. */
  soleProcess?: boolean;
  /** Targets claimed at once. */
  slice?: number;
  pressure?: Pressure;
  metrics?: LaneMetrics;
}

export interface LaneMetrics {
  /** From the change to the moment its call leaves. */
  sent?(connection: ConnectionRef, waitedMs: number): void;
  outcome?(connection: ConnectionRef, outcome: string): void;
  /** The channel has taken the number a sale elsewhere asks for. */
  accepted?(connection: ConnectionRef, cause: Cause, at: number): void;
  /** Calls under way change by so many. */
  inFlight?(connection: ConnectionRef, budget: 'urgent' | 'bulk' | 'read', change: 1 | -1): void;
}

export interface Lane {
  readonly connection: ConnectionRef;
  /** Does what there is to do now; resolves when nothing is left that can be done at once. */
  drain(): Promise<void>;
  /** Something may have changed; `forAll`: also what gathers in a burst. */
  wake(forAll?: boolean): void;
  start(): void;
  /** Waits for calls in flight, gives the lease back. */
  stop(): Promise<void>;
  /** As a killed process: nothing more is sent or recorded, the lease is kept. */
  abandon(): void;
}

export interface PublisherOptions {
  store: Store;
  clock: Clock;
  random: Random;
  ids: Ids;
  log: FlowLog;
  /** Opens a connection (credentials, transport, manifest with its settings), or null when it cannot be (deleted, no connector). */
  openConnection: (connection: ConnectionRef) => Promise<OpenedConnection | null>;
  requestOrderSweep?: (connection: ConnectionRef) => void;
  completeUnmapped?: (connection: ConnectionRef) => void;
  /** A channel's hold is due: is its order still pending? Default: nothing. */
  askChannelHold?: (orgId: string, holdId: string) => Promise<void>;
  hooks?: LaneHooks;
  metrics?: LaneMetrics;
  pollMs?: number;
  /** Every target is read this often; 0 = never. Default 6 hours. */
  stockSweepMs?: number;
  leaseMs?: number;
  /** Targets that a lane claims in one look; default: as many as its channel's calls can carry. */
  slice?: number;
  /** Says when a burst comes in: looks are rarer then. */
  pressure?: Pressure;
  /** This process holds the data folder's lock, so that nobody else is at work: dead predecessors' leases are taken at once. */
  soleProcess?: boolean;
}

export interface Publisher {
  start(): void;
  stop(): Promise<void>;
  /** After a commit that may have marked something dirty. Cheap; call it often. */
  wake(): void;
  /** Expands what is dirty and drains every lane until nothing can be done at once. */
  drain(): Promise<void>;
  /** Reads every number of the connection soon. */
  requestStockSweep(connection: ConnectionRef): Promise<void>;
  /** Opened again with new credentials or settings at the next chance. */
  reopen(connection: ConnectionRef): void;
}
