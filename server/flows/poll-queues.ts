/**
 * Queues: polls the message queues some vendors send their events to (Amazon). A message is removed there only after it is
 * committed here; one that comes twice is the same event. Every process polls: the queue hands each message to one of them.
 */
import type { QueueMessage } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import { listLiveConnections } from '#store/connections/sweeps.ts';
import { markUnauthorized } from './drain-inbox.ts';
import { failureOf } from './failure.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef } from './publisher-types.ts';
import type { Delivery, Received } from './receive-event.ts';

export interface QueueOptions extends IntakeOptions {
  receive(delivery: Delivery): Promise<Received>;
}

/** SQS: long poll and batch size at their most (documented). */
const WAIT_MS = 20_000;
const MOST = 10;
/** How often new and gone connections are looked for. */
const LOOK_MS = 5_000;

export function createQueues(options: QueueOptions) {
  const { store, clock, random, log } = options;
  const stopping = new AbortController();
  const polled = new Map<string, { stop: AbortController; loop: Promise<void> }>();
  let watching: Promise<void> | null = null;
  const platforms = options.platforms.filter(
    (platform) => options.connectorOf(platform)?.manifest.events.queue === true,
  );

  async function watch(): Promise<void> {
    while (!stopping.signal.aborted && platforms.length > 0) {
      try {
        const now = await listLiveConnections(store, platforms);
        const live = new Set(now.map(({ connectionId }) => connectionId));
        for (const [id, { stop }] of polled) if (!live.has(id)) stop.abort();
        for (const connection of now) if (!polled.has(connection.connectionId)) begin(connection);
      } catch (error) {
        log.error({ ...failureOf(error) }, 'connections with queues cannot be listed');
      }
      await clock.sleep(LOOK_MS, stopping.signal);
    }
  }

  function begin({ orgId, connectionId }: ConnectionRef): void {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, stopping.signal]);
    const loop = poll({ orgId, connectionId }, signal).finally(() => polled.delete(connectionId));
    polled.set(connectionId, { stop, loop });
  }

  async function poll(connection: ConnectionRef, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const queue = (await options.openConnection(connection))?.channel.queue;
        if (!queue) {
          await clock.sleep(LOOK_MS, signal);
          continue;
        }
        const { messages } = await queue.receive({ budget: 'read', signal, waitMs: WAIT_MS, max: MOST });
        failures = 0;
        await Promise.all(messages.map((message) => take(connection, message)));
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        log.warn({ connectionId: connection.connectionId, ...failureOf(error) }, 'a queue cannot be read');
        if (error instanceof ConnectorError && error.code === 'connector.unauthorized') {
          await store
            .tenant(connection.orgId, (tx) =>
              markUnauthorized(
                tx,
                connection.orgId,
                connection.connectionId,
                'The channel refuses our access to its queue.',
                options,
              ),
            )
            .catch(() => {});
        }
        const wait = error instanceof ConnectorError ? error.retryAfterMs : null;
        await clock.sleep(wait ?? Math.min(60_000, 500 * 2 ** Math.min(failures, 10)) * (0.5 + random.next()), signal);
      }
    }
  }

  async function take(connection: ConnectionRef, message: QueueMessage): Promise<void> {
    await options.receive({
      ...connection,
      source: 'queue',
      kind: message.kind,
      externalId: message.externalId,
      topic: message.topic,
      deliveryId: message.deliveryId,
      body: message.rawBody,
    });
    await message.done();
  }

  return {
    start() {
      watching ??= watch();
    },
    async stop(): Promise<void> {
      stopping.abort();
      await watching;
      await Promise.all([...polled.values()].map(({ loop }) => loop));
    },
  };
}
