/**
 * Receiving: a verified delivery is stored, committed, and only then answered.
 *
 * Deliveries of concurrent requests share one transaction: the first one leaves at once, those that come while a commit is under
 * way leave together when it is done. Organizations share that commit (scope `batch`) but never a failure: a batch that fails is repeated by organization, then by halves.
 * Refused is only what proves nothing: a body that another connection with the same secret already accepted (the signature
 * covers the body, not the shop), and keys the database cannot hold.
 * Called by the webhook route, the queue pollers and the order sweep.
 */
import { createHash } from 'node:crypto';
import type { Clock, Ids } from '#core/effects.ts';
import { CodedError, StoreError } from '#core/errors.ts';
import { getConnection } from '#store/connections/connections.ts';
import { findWebhookConnection } from '#store/connections/resolve.ts';
import {
  findForeignBodies,
  type InboxKind,
  type InboxSource,
  insertDeliveries,
  type NewDelivery,
} from '#store/inbox/insert.ts';
import type { Store } from '#store/tx.ts';
import type { Vault } from '../secrets.ts';
import type { IntakeHooks, IntakeMetrics } from './intake.ts';
import type { Pressure } from './pressure.ts';
import type { ConnectionRef } from './publisher-types.ts';

export interface Delivery {
  orgId: string;
  connectionId: string;
  source: InboxSource;
  kind: InboxKind;
  externalId: string;
  topic: string;
  deliveryId: string | null;
  body: Uint8Array;
  /** Follows the event from here to the push; default: a new one. */
  correlationId?: string;
}

/** `foreign`: answer as if the signature were wrong. */
export type Received = { kind: 'stored'; id: string } | { kind: 'duplicate' } | { kind: 'foreign' };

export interface WebhookConnection {
  orgId: string;
  connectionId: string;
  /** What a delivery may be signed with; empty: nothing is accepted. Never logged. */
  secrets: readonly string[];
}

export interface ReceiverOptions {
  store: Store;
  vault: Vault;
  clock: Clock;
  ids: Ids;
  onStored(): void;
  hooks?: IntakeHooks;
  metrics?: IntakeMetrics;
  /** Is told how many deliveries were stored. */
  pressure?: Pressure;
}

interface Pending {
  row: NewDelivery;
  resolve(received: Received): void;
  reject(error: unknown): void;
}

/** Rows per statement. */
const BATCH = 500;
/** Deliveries in memory; beyond that the sender is asked to come again. */
const MOST_WAITING = 20_000;
/** How long a connection found for a webhook is remembered: a changed secret is believed this late at most. */
const REMEMBER_MS = 2_000;
const MAX_KEY = 500;

export function createReceiver(options: ReceiverOptions) {
  const { store, clock, ids, hooks, metrics } = options;
  const known = new Map<
    string,
    { until: number; found: Promise<(WebhookConnection & { sharesSecret: boolean }) | null> }
  >();
  const sharing = new Map<string, boolean>();
  let waiting: Pending[] = [];
  /** One commit at a time: what comes meanwhile is the next one. */
  let running: Promise<void> | null = null;

  async function resolve(
    platform: string,
    token: string | null,
    shop: string | null,
  ): Promise<WebhookConnection | null> {
    const key = JSON.stringify([platform, token, shop]);
    const now = clock.monotonicMs();
    const before = known.get(key);
    if (before && before.until > now) return before.found;
    if (known.size > 10_000) known.clear();
    const found = look(platform, token, shop);
    known.set(key, { until: now + REMEMBER_MS, found });
    found.catch(() => known.delete(key));
    const connection = await found;
    // Nobody's address is not remembered: a stranger could fill the memory, and a new connection must work at once.
    if (connection === null) known.delete(key);
    return connection;
  }

  async function look(platform: string, token: string | null, shop: string | null) {
    const found = await findWebhookConnection(store, platform, token, shop);
    if (!found) return null;
    sharing.set(found.id, found.sharesSecret);
    const connection = await store.tenant(found.orgId, (tx) => getConnection(tx, found.orgId, found.id));
    if (!connection) return null;
    const owner = { orgId: found.orgId, connectionId: found.id, column: 'webhook_secrets' as const };
    const secrets =
      connection.webhookSecrets === null
        ? []
        : parseSecrets(options.vault.open(connection.webhookSecrets, owner).reveal());
    return { orgId: found.orgId, connectionId: found.id, secrets, sharesSecret: found.sharesSecret };
  }

  function receive(delivery: Delivery): Promise<Received> {
    if (waiting.length >= MOST_WAITING) {
      throw new StoreError('store.unavailable', 'Deliveries come faster than the database takes them.', {
        waiting: waiting.length,
      });
    }
    return new Promise((resolveOne, reject) => {
      waiting.push({ row: rowOf(delivery), resolve: resolveOne, reject });
      flush();
    });
  }

  function rowOf(delivery: Delivery): NewDelivery {
    const { externalId, topic } = delivery;
    if (
      externalId === '' ||
      externalId.length > MAX_KEY ||
      topic.length > MAX_KEY ||
      `${externalId}${topic}${delivery.deliveryId ?? ''}`.includes('\0')
    ) {
      throw new CodedError('connector.unreadable', 'A delivery without a usable key.', { topic: topic.slice(0, 100) });
    }
    const body = Buffer.from(delivery.body);
    return {
      orgId: delivery.orgId,
      id: ids.uuid(),
      connectionId: delivery.connectionId,
      kind: delivery.kind,
      externalId,
      topic,
      source: delivery.source,
      deliveryId: delivery.deliveryId,
      bodyHash: createHash('sha256').update(body).digest(),
      body,
      receivedAt: clock.now(),
      correlationId: delivery.correlationId ?? ids.uuid(),
    };
  }

  function flush(): void {
    if (waiting.length === 0 || running) return;
    const batch = waiting.slice(0, BATCH);
    waiting = waiting.slice(BATCH);
    running = commit(batch).finally(() => {
      running = null;
      flush();
    });
  }

  async function commit(batch: readonly Pending[]): Promise<void> {
    try {
      await hooks?.beforeStore?.(batch.length);
      const results = await storeRows(batch.map(({ row }) => row));
      metrics?.stored?.(batch.length);
      options.pressure?.accepted(batch.length);
      await hooks?.afterStore?.(batch.length);
      options.onStored();
      for (const [i, { resolve: answer }] of batch.entries()) answer(results[i] ?? { kind: 'duplicate' });
    } catch (error) {
      // Without a database every part would fail alike; the channel sends again.
      const outage = error instanceof StoreError && error.code === 'store.unavailable';
      const parts = outage ? null : split(batch, ({ row }) => row.orgId);
      if (parts === null) for (const { reject } of batch) reject(error);
      else for (const part of parts) await commit(part);
    }
  }

  async function storeRows(rows: readonly NewDelivery[]): Promise<Received[]> {
    const orgs = [...new Set(rows.map((row) => row.orgId))];
    // Only webhooks are signed; a connection that was not resolved here lately may share its secret for all we know.
    const suspects = rows.filter((row) => row.source === 'webhook' && sharing.get(row.connectionId) !== false);
    return store.batch(
      orgs,
      async (tx) => {
        const foreign = await findForeignBodies(tx, suspects);
        const stored = await insertDeliveries(
          tx,
          rows.filter((row) => !foreign.has(row.id)),
        );
        return rows.map((row): Received => {
          if (foreign.has(row.id)) return { kind: 'foreign' };
          return stored.has(row.id) ? { kind: 'stored', id: row.id } : { kind: 'duplicate' };
        });
      },
      { idempotent: true },
    );
  }

  return {
    resolve,
    receive: async (delivery: Delivery): Promise<Received> => receive(delivery),
    /** Many at once, without waiting for company (a sweep's page). */
    async storeNow(deliveries: readonly Delivery[]): Promise<Received[]> {
      const results: Received[] = [];
      for (let from = 0; from < deliveries.length; from += BATCH)
        results.push(...(await storeRows(deliveries.slice(from, from + BATCH).map(rowOf))));
      if (results.some(({ kind }) => kind === 'stored')) options.onStored();
      return results;
    },
    forget(connection: ConnectionRef): void {
      sharing.delete(connection.connectionId);
      known.clear();
    },
    /** What was taken is committed. */
    async stop(): Promise<void> {
      while (running) await running;
    },
  };
}

/** Sealed as a JSON list of texts. */
function parseSecrets(text: string): string[] {
  const parsed: unknown = JSON.parse(text);
  return Array.isArray(parsed)
    ? parsed.filter((secret): secret is string => typeof secret === 'string' && secret !== '')
    : [];
}

/** By organization, else in halves, else null. */
export function split<T>(batch: readonly T[], orgOf: (item: T) => string): T[][] | null {
  const byOrg = Map.groupBy(batch, orgOf);
  if (byOrg.size > 1) return [...byOrg.values()];
  if (batch.length < 2) return null;
  const middle = batch.length >> 1;
  return [batch.slice(0, middle), batch.slice(middle)];
}
