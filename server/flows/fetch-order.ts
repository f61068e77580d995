/**
 * Fetching: reads one order from the channel because a stored event alone could not be applied, outside any transaction.
 *
 *   shown      → the version is stored as an inbox row (source fetch) in the same commit that closes the rows that asked
 *   not shown  → nothing changes: an order we have stays as it is; a new one may not be visible yet and is asked for again a few times
 *   failed     → the rows wait and ask again
 *
 * A process that dies in between leaves rows that fall due again.
 */
import { createHash } from 'node:crypto';
import { ConnectorError } from '#core/errors.ts';
import { retryOf } from '#core/failure/retry.ts';
import type { SequenceKey, WaitingRow } from '#store/inbox/claim.ts';
import { insertDeliveries, type NewDelivery } from '#store/inbox/insert.ts';
import { type Settlement, settleRows } from '#store/inbox/settle.ts';
import { markUnauthorized, tellDead } from './drain-inbox.ts';
import { failureOf } from './failure.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef } from './publisher-types.ts';
import { correlationsOf, tracing } from './tracing.ts';

export interface FetchWork {
  key: SequenceKey;
  /** On whose behalf; marked `fetching`. */
  rows: readonly WaitingRow[];
  /** A version of the order was looked at in the same transaction. */
  known: boolean;
}

export interface FetcherOptions extends IntakeOptions {
  onStored(): void;
}

/** Reads at once; the vendor's budget decides the rest. */
const AT_ONCE = 4;
/** Shorter than the time after which another read of the order is begun. */
const GIVE_UP_MS = 45_000;
/** How often a change of an order that the channel does not show is asked for. */
const NOT_SHOWN = 5;

export function createFetcher(options: FetcherOptions) {
  const { store, clock, random, ids, log, retryMs = 1_000 } = options;
  const queue: FetchWork[] = [];
  const running = new Set<Promise<void>>();
  let ended = 0;
  const stopping = new AbortController();

  function run(work: FetchWork): void {
    queue.push(work);
    pump();
  }

  function pump(): void {
    while (running.size < AT_ONCE && !stopping.signal.aborted) {
      const work = queue.shift();
      if (!work) return;
      const task: Promise<void> = serve(work)
        .catch((error: unknown) =>
          log.error(
            { connectionId: work.key.connectionId, externalId: work.key.externalId, ...failureOf(error) },
            'a read order could not be stored',
          ),
        )
        .finally(() => {
          ended += 1;
          running.delete(task);
          pump();
        });
      running.add(task);
    }
  }

  async function serve(work: FetchWork): Promise<void> {
    const { key } = work;
    let body: Buffer | null;
    try {
      body = await tracing.run({ correlationIds: correlationsOf(work.rows) }, () => read(key));
    } catch (error) {
      await failed(work, error);
      return;
    }
    await options.hooks?.afterFetch?.(key.externalId);
    await store.tenant(key.orgId, async (tx) => {
      if (body !== null) await insertDeliveries(tx, [rowOf(key, body, work.rows.at(-1)?.correlationId ?? null)]);
      await settleRows(
        tx,
        work.rows.map((row) => answered(row, work.known, body !== null)),
        clock.now(),
      );
    });
    if (body !== null) options.onStored();
  }

  /** Null when the channel shows no such order. Our own words for it, as JSON. */
  async function read(key: SequenceKey): Promise<Buffer | null> {
    const opened = await options.openConnection({ orgId: key.orgId, connectionId: key.connectionId });
    if (!opened) return null;
    const over = new AbortController();
    const limit = new AbortController();
    void clock.sleep(GIVE_UP_MS, over.signal).then(() => limit.abort());
    try {
      const signal = AbortSignal.any([stopping.signal, limit.signal]);
      const order = await opened.channel.orders.get(key.externalId, { budget: 'read', signal });
      return order === null ? null : Buffer.from(JSON.stringify(order));
    } finally {
      over.abort();
    }
  }

  function rowOf(key: SequenceKey, body: Buffer, correlationId: string | null): NewDelivery {
    return {
      ...key,
      id: ids.uuid(),
      topic: 'read',
      source: 'fetch',
      deliveryId: null,
      bodyHash: createHash('sha256').update(body).digest(),
      body,
      receivedAt: clock.now(),
      correlationId: correlationId ?? ids.uuid(),
    };
  }

  function answered(row: WaitingRow, known: boolean, shown: boolean): Settlement {
    const base = { orgId: row.orgId, id: row.id };
    if (shown) return { ...base, state: 'superseded', at: clock.now() };
    const attempts = row.attempts + 1;
    if (known || attempts >= NOT_SHOWN)
      return { ...base, state: 'done', at: clock.now(), attempts, error: 'the channel shows no such order' };
    return {
      ...base,
      state: 'waiting',
      at: clock.now() + retryMs * 4 ** attempts,
      attempts,
      error: 'the channel does not show it yet',
    };
  }

  async function failed({ key, rows }: FetchWork, error: unknown): Promise<void> {
    const failure = failureOf(error);
    if (stopping.signal.aborted) {
      // Given back: another process, or the next start, asks at once.
      const at = clock.now();
      await store.tenant(key.orgId, (tx) =>
        settleRows(
          tx,
          rows.map((row): Settlement => ({ orgId: row.orgId, id: row.id, state: 'waiting', at })),
          at,
        ),
      );
      return;
    }
    log.warn(
      {
        orgId: key.orgId,
        connectionId: key.connectionId,
        externalId: key.externalId,
        correlationIds: correlationsOf(rows),
        ...failure,
      },
      'an order could not be read',
    );
    await store.tenant(key.orgId, async (tx) => {
      if (error instanceof ConnectorError && error.code === 'connector.unauthorized') {
        await markUnauthorized(tx, key.orgId, key.connectionId, 'The channel refuses our access.', options);
      }
      const settlements = rows.map((row) => again(row, error));
      await settleRows(tx, settlements, clock.now());
      const dead = rows.filter(({ id }) => settlements.some((one) => one.id === id && one.state === 'dead'));
      await tellDead(
        tx,
        key.orgId,
        dead.map((row) => ({ row, failure })),
        options,
      );
    });
  }

  function again(row: WaitingRow, error: unknown): Settlement {
    const now = clock.now();
    const retry = retryOf(failureOf(error), row, { now, retryMs, chance: random.next() });
    const { code, message } = failureOf(error);
    const base = {
      orgId: row.orgId,
      id: row.id,
      attempts: retry.attempts,
      repeats: retry.repeats,
      errorCode: code,
      error: message,
      failingSince: retry.failingSince,
    };
    return retry.kind === 'dead' ? { ...base, state: 'dead', at: now } : { ...base, state: 'waiting', at: retry.at };
  }

  return {
    run,
    /** Waits for the reads under way. @returns whether one ended since the last call, so that there may be rows to apply */
    async idle(): Promise<boolean> {
      while (running.size > 0) await Promise.all(running);
      const any = ended > 0;
      ended = 0;
      return any;
    },
    /** Reads one order now and stores what is shown. */
    async refresh({ orgId, connectionId }: ConnectionRef, externalId: string): Promise<void> {
      const key: SequenceKey = { orgId, connectionId, kind: 'order', externalId };
      const body = await read(key);
      if (body === null) return;
      await store.tenant(orgId, (tx) => insertDeliveries(tx, [rowOf(key, body, null)]));
      options.onStored();
    },
    async stop(): Promise<void> {
      stopping.abort();
      queue.length = 0;
      await Promise.all(running);
    },
  };
}
