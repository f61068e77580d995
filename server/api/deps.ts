/** What the routes are given; made in server/deps.ts. */
import type { FastifyBaseLogger } from 'fastify';
import type { Connector } from '#connectors/kit/ports.ts';
import type { Clock, Ids } from '#core/effects.ts';
import type { Command, Posted } from '#core/stock/movement.ts';
import type { Idempotency } from '#store/access/idempotency.ts';
import type { FoundKey } from '#store/access/keys.ts';
import type { Store } from '#store/tx.ts';
import type { Config } from '../config.ts';
import type { EventHub } from '../events.ts';
import type { Intake } from '../flows/intake.ts';
import type { ConnectionRef, OpenedConnection } from '../flows/publisher-types.ts';
import type { HealthCheck } from '../health.ts';
import type { Metrics } from '../metrics.ts';

export interface ApiDeps {
  config: Config;
  store: Store;
  clock: Clock;
  ids: Ids;
  log: FastifyBaseLogger;
  metrics: Metrics;
  health: HealthCheck;
  /** A delivery to this connection's address was not signed as it must be. */
  refusedWebhook(connection: ConnectionRef): void;
  version: string;
  /** apps/web/dist; null: no page is served. */
  webDir: string | null;
  keys: { find(hash: Uint8Array): Promise<FoundKey | null> };
  idempotency: Idempotency;
  events: EventHub;
  intake: Intake;
  registry: { connector(platform: string): Connector | null };
  isReady(): boolean;
  databaseAnswers(): Promise<boolean>;
  /** One ledger command of one caller, exactly once by its key; channels are told after the commit. */
  command(caller: { orgId: string; actor: string }, command: Command): Promise<Posted>;
  /** Runs were made or released. */
  runs: { wake(): void };
  /** Something was committed that may have to be published, applied or shown. */
  wake(): void;
  /** Listings of this connection became mapped: orders that waited for them are booked. */
  mapped(orgId: string, connectionId: string): void;
  /** Order sweep, then stock sweep, then publish; returns at once. */
  syncNow(orgId: string, connectionId: string): void;
  /** Opened for a question to the channel; null when it cannot be. */
  openConnection(ref: ConnectionRef): Promise<OpenedConnection | null>;
  /** A simulated buyer at a simulated connection. */
  buyAt(
    baseUrl: string,
    lines: { sku: string; quantity: number }[],
  ): Promise<{ status: number; id: string; error: string }>;
  /** Called when the process stops; open streams end themselves. Returns a function that takes it back. */
  onStop(stop: () => void): () => void;
}
