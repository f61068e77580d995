/**
 * Draining: claims sequence keys, applies all their waiting rows in one transaction, and goes on.
 *
 * A worker takes up to `batchKeys` keys of any organizations. When the transaction fails, it is undone and repeated in
 * smaller units: first by organization (tenants never share a failing unit), then by halves, until one key is left: only
 * that one is charged with the failure and waits, or dies after bounded attempts. Its neighbours are applied meanwhile.
 *
 * Reads from the channel are only noted in the transaction: the row keeps waiting, marked `fetching`, and falls due again
 * after a while should this process die; the read itself happens after the commit (fetch-order.ts). While one read of a
 * key is under way no second one begins, so that what was read last was read after everything that asked for it.
 */
import type { Connector } from '#connectors/kit/ports.ts';
import { AssertionFault, StoreError } from '#core/errors.ts';
import { type Failure, retryOf } from '#core/failure/retry.ts';
import { type FoldedEvent, foldOrder } from '#core/order/fold.ts';
import type { IncomingOrder } from '#core/order/order.ts';
import { type Alert, raiseAlerts, resolveAlerts } from '#store/attention/alerts.ts';
import {
  type ConnectionFacts,
  claimKeys,
  keyOf,
  loadConnectionFacts,
  loadWaiting,
  reclaimKeys,
  type SequenceKey,
  type WaitingRow,
} from '#store/inbox/claim.ts';
import { type Settlement, settleRows, supersedeDead } from '#store/inbox/settle.ts';
import { recordObservations } from '#store/listings/observations.ts';
import { setConnectionState } from '#store/listings/states.ts';
import { orderIdentity } from '#store/orders/write.ts';
import type { Tx } from '#store/tx.ts';
import { failureOf } from './failure.ts';
import type { FetchWork } from './fetch-order.ts';
import { GivingWay } from './giving-way.ts';
import { importOrders, type OrderGroup, type OrderOutcome } from './import-order.ts';
import type { IntakeOptions } from './intake.ts';
import { createPulse, type Pulse } from './pulse.ts';
import { split } from './receive-event.ts';

export interface DrainOptions extends IntakeOptions {
  /** Reads an order and stores the answer; never throws, not awaited. */
  ask(work: FetchWork): void;
}

export interface Drain {
  start(): void;
  stop(): Promise<void>;
  wake(): void;
  /** Applies what is due now; resolves when nothing is. */
  run(): Promise<void>;
}

const DEAD_LETTER = 'dead_letter';
/** How long a batch fills up in a burst. */
const GATHER_MS = 75;
/** A read may take this long before another is begun. */
const FETCH_MS = 60_000;

interface Worker {
  pulse: Pulse;
  /** Waits for work. */
  idle: boolean;
}

interface Batch {
  settlements: Settlement[];
  fetches: FetchWork[];
  applied: number;
  /** How long the oldest order event that was new had waited. */
  waitedMs: number;
  /** What is told to the log once it is committed. */
  told: OrderTold[];
}

interface OrderTold {
  correlationId: string | null;
  orgId: string;
  connectionId: string;
  externalId: string;
  orderId: string;
  order: string;
  revision: number;
  skus: (string | null)[];
}

export function createDrain(options: DrainOptions): Drain {
  const { store, clock, random, log, workers = 3, batchKeys = 100, pollMs = 100, retryMs = 1_000 } = options;
  const crew: Worker[] = Array.from({ length: workers }, () => ({ pulse: createPulse(clock), idle: false }));
  const stopping = new AbortController();
  const way = new GivingWay(clock, options.pressure);
  let loops: Promise<void>[] = [];

  /** One batch. @returns keys claimed */
  async function step(maxKeys = batchKeys): Promise<number> {
    let claimed: SequenceKey[] = [];
    try {
      const batch = await store.system(
        async (tx) => {
          claimed = await claimKeys(tx, { maxKeys, now: clock.now() });
          return claimed.length === 0 ? null : applyKeys(tx, claimed, options);
        },
        { idempotent: true, retryOn: [orderIdentity] },
      );
      if (batch) await committed(batch, claimed.length);
    } catch (error) {
      if (isOutage(error) || claimed.length === 0) throw error;
      await bisect(claimed, error);
    }
    return claimed.length;
  }

  async function committed(batch: Batch, keys: number): Promise<void> {
    await options.hooks?.afterCommit?.(keys);
    options.pressure?.applied(batch.settlements.length, batch.waitedMs);
    if (batch.applied > 0) options.onCommitted?.();
    if (batch.told.length > 0) options.metrics?.batch?.(batch.told.length);
    for (const told of batch.told) log.debug?.({ ...told }, 'order applied');
    for (const work of batch.fetches) options.ask(work);
  }

  async function bisect(keys: readonly SequenceKey[], error: unknown): Promise<void> {
    const parts = split(keys, (key) => key.orgId);
    if (parts === null) {
      for (const key of keys) await charge(key, error);
      return;
    }
    for (const part of parts) await unit(part);
  }

  async function unit(keys: readonly SequenceKey[]): Promise<void> {
    try {
      const batch = await store.batch(
        [...new Set(keys.map((key) => key.orgId))],
        async (tx) => {
          const mine = await reclaimKeys(tx, keys);
          return mine.length === 0 ? null : applyKeys(tx, mine, options);
        },
        { idempotent: true, retryOn: [orderIdentity] },
      );
      if (batch) await committed(batch, keys.length);
    } catch (error) {
      if (isOutage(error)) throw error;
      await bisect(keys, error);
    }
  }

  /** The failure belongs to this key: to the row that would have been applied. */
  async function charge(key: SequenceKey, error: unknown): Promise<void> {
    let correlationIds: (string | null)[] = [];
    const dead = await store.tenant(key.orgId, async (tx) => {
      if ((await reclaimKeys(tx, [key])).length === 0) return 0;
      const rows = await loadWaiting(tx, [key]);
      const facts = (await loadConnectionFacts(tx, [key])).get(key.connectionId);
      const guilty = facts ? guiltyRows(rows, facts, options) : rows;
      correlationIds = guilty.map((row) => row.correlationId);
      return settleFailures(
        tx,
        guilty.map((row) => ({ row, error })),
        options,
      );
    });
    log.error(
      {
        orgId: key.orgId,
        connectionId: key.connectionId,
        kind: key.kind,
        externalId: key.externalId,
        correlationIds,
        ...failureOf(error),
        dead,
      },
      'an event could not be applied',
    );
  }

  /** The first one looks for the work of other processes; the others are woken when there is more than one can carry. */
  async function loop(worker: Worker, first: boolean): Promise<void> {
    while (!stopping.signal.aborted) {
      const { beats } = worker.pulse;
      try {
        while (!way.mayBegin() && !stopping.signal.aborted) await clock.sleep(GATHER_MS, stopping.signal);
        const claimed = await way.during(step, batchKeys);
        if (claimed >= batchKeys) wakeOne();
        // In a burst the next batch fills up first, by one worker: a batch costs much, one more key in it little.
        const burst = claimed < batchKeys && options.pressure?.isBurst();
        if (burst && first && claimed > 0) await clock.sleep(GATHER_MS, stopping.signal);
        if (claimed > 0 && (first || !burst)) continue;
        worker.idle = true;
        await worker.pulse.wait(beats, first ? pollMs : pollMs * 20, stopping.signal);
      } catch (error) {
        log.error({ ...failureOf(error) }, 'the inbox cannot be drained');
        await clock.sleep(Math.max(pollMs, retryMs) * (0.5 + random.next()), stopping.signal);
      } finally {
        worker.idle = false;
      }
    }
  }

  function wake(): void {
    if (options.pressure?.isBurst()) crew[0]?.pulse.wake();
    else wakeOne();
  }

  /** One event needs one worker; when none is idle, all look once more before they rest. */
  function wakeOne(): void {
    const rested = crew.find(({ idle }) => idle);
    for (const { pulse } of rested ? [rested] : crew) pulse.wake();
    if (rested) rested.idle = false;
  }

  return {
    start() {
      if (loops.length === 0) loops = crew.map((worker, n) => loop(worker, n === 0));
    },
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
    wake,
    async run() {
      while ((await step()) > 0);
    },
  };

  function isOutage(error: unknown): boolean {
    return error instanceof StoreError && error.code === 'store.unavailable';
  }
}

/** Applies the waiting rows of claimed keys in this transaction. */
async function applyKeys(tx: Tx, keys: readonly SequenceKey[], options: DrainOptions): Promise<Batch> {
  await options.hooks?.afterClaim?.(keys.length);
  const now = options.clock.now();
  const [rows, facts] = await Promise.all([loadWaiting(tx, keys), loadConnectionFacts(tx, keys)]);
  const batch: Batch = { settlements: [], fetches: [], applied: 0, waitedMs: longestWait(rows, now), told: [] };
  const failures: { row: WaitingRow; error: unknown }[] = [];
  const orders: OrderGroup[] = [];
  const stock: ParsedStock[] = [];
  const closed: RowRef[] = [];
  for (const group of Map.groupBy(rows, keyOf).values()) {
    const [first] = group;
    const connection = first && facts.get(first.connectionId);
    if (!first || !connection) continue;
    if (connection.deleted) {
      for (const row of group) batch.settlements.push({ ...done(row, now), error: 'the connection is deleted' });
      continue;
    }
    const parsed = parseRows(group, connection, options, failures);
    if (first.kind === 'order')
      orders.push({
        key: keyAlone(first),
        connection,
        rows: parsed.flatMap(({ row, said }) =>
          said.kind === 'order' ? [{ row, event: said.event }] : [{ row, event: ignored }],
        ),
      });
    else for (const { row, said } of parsed) await applyOther(tx, row, said, stock, batch, options, now);
  }
  if (orders.length > 0) {
    const outcomes = await importOrders(
      tx,
      orders,
      { now, ids: options.ids, hooks: options.hooks },
      stock.map(({ row, said }) => ({ orgId: row.orgId, connectionId: row.connectionId, stockKey: said.stockKey })),
    );
    for (const outcome of outcomes) settleOrder(outcome, orders, batch, options, now);
    const judged = outcomes.filter(({ judged: row }) => row !== null).map(({ key }) => key);
    const [superseding] = await Promise.all([
      supersedeDead(tx, judged, now),
      applyStock(tx, stock, batch, options, now),
    ]);
    closed.push(...superseding);
  } else await applyStock(tx, stock, batch, options, now);
  await settleFailures(tx, failures, options);
  await settleRows(tx, batch.settlements, now);
  await closeAlerts(tx, [...closed, ...healed(rows, batch.settlements)], now);
  options.metrics?.applied?.('dead', failures.length);
  await options.hooks?.beforeCommit?.(keys.length);
  return batch;
}

const longestWait = (rows: readonly WaitingRow[], now: number): number =>
  Math.max(
    0,
    ...rows
      .filter(({ kind, attempts, fetching }) => kind === 'order' && attempts === 0 && !fetching)
      .map(({ receivedAt }) => now - receivedAt),
  );

type Said =
  | { kind: 'order'; event: FoldedEvent }
  | { kind: 'stock'; vendorAt: number; stockKey: string; channelLocation: string; value: number }
  | { kind: 'unauthorized' }
  | { kind: 'nothing' };

interface ParsedStock {
  row: WaitingRow;
  said: Extract<Said, { kind: 'stock' }>;
}

const ignored: FoldedEvent = { kind: 'ignored' };
const keyAlone = ({ orgId, connectionId, kind, externalId }: SequenceKey): SequenceKey => ({
  orgId,
  connectionId,
  kind,
  externalId,
});
const done = (row: WaitingRow, now: number): Settlement => ({ orgId: row.orgId, id: row.id, state: 'done', at: now });
const superseded = (row: WaitingRow, now: number): Settlement => ({
  orgId: row.orgId,
  id: row.id,
  state: 'superseded',
  at: now,
});

function parseRows(
  rows: readonly WaitingRow[],
  connection: ConnectionFacts,
  options: Pick<DrainOptions, 'connectorOf'>,
  failures: { row: WaitingRow; error: unknown }[],
): { row: WaitingRow; said: Said }[] {
  const connector = options.connectorOf(connection.platform);
  return rows.flatMap((row) => {
    try {
      return [{ row, said: whatItSays(row, connector) }];
    } catch (error) {
      failures.push({ row, error });
      return [];
    }
  });
}

function whatItSays(row: WaitingRow, connector: Connector | null): Said {
  if (row.source === 'poll' || row.source === 'fetch') {
    const order = JSON.parse(row.body.toString('utf8')) as IncomingOrder;
    return { kind: 'order', event: { kind: 'order', order, fresh: row.source === 'fetch' } };
  }
  if (!connector?.webhook) throw new AssertionFault('no connector reads the events of this platform');
  const event = connector.webhook.parse(row.body, row.topic);
  switch (event.kind) {
    case 'order':
      if (row.kind !== 'order' || event.order.externalId !== row.externalId)
        throw new AssertionFault('an order stands under another key', { externalId: row.externalId });
      return { kind: 'order', event: { kind: 'order', order: event.order, fresh: false } };
    case 'order_changed':
      return { kind: 'order', event: { kind: 'changed', vendorAt: event.vendorAt } };
    case 'stock':
      return {
        kind: 'stock',
        vendorAt: event.vendorAt,
        stockKey: event.ref.stockKey,
        channelLocation: event.ref.channelLocation,
        value: event.value,
      };
    case 'unauthorized':
      return { kind: 'unauthorized' };
    case 'ignored':
      return { kind: 'nothing' };
  }
}

function toldOf(row: WaitingRow, order: NonNullable<OrderOutcome['order']>): OrderTold {
  return {
    correlationId: row.correlationId,
    orgId: row.orgId,
    connectionId: row.connectionId,
    externalId: row.externalId,
    orderId: order.id,
    order: order.number,
    revision: order.revision,
    skus: order.lines.map(({ channelSku }) => channelSku),
  };
}

function settleOrder(
  outcome: OrderOutcome,
  groups: readonly OrderGroup[],
  batch: Batch,
  options: DrainOptions,
  now: number,
): void {
  const { judged, fetch } = outcome;
  if (judged) {
    batch.settlements.push(judged.outcome === 'older' ? superseded(judged.row, now) : done(judged.row, now));
    if (judged.outcome === 'applied') batch.applied += 1;
    if (outcome.order) batch.told.push(toldOf(judged.row, outcome.order));
    options.metrics?.applied?.(judged.outcome === 'applied' ? 'applied' : 'nothing', 1);
    options.metrics?.waited?.(now - judged.row.receivedAt);
  }
  for (const row of outcome.superseded) batch.settlements.push(superseded(row, now));
  if (fetch.length === 0) return;
  const underWay = fetch.find((row) => row.fetching && row.nextAt > now);
  if (underWay) {
    for (const row of fetch)
      if (!row.fetching)
        batch.settlements.push({ orgId: row.orgId, id: row.id, state: 'waiting', at: underWay.nextAt });
    return;
  }
  for (const row of fetch)
    batch.settlements.push({ orgId: row.orgId, id: row.id, state: 'waiting', fetching: true, at: now + FETCH_MS });
  const known = groups.some(({ key }) => key === outcome.key) && judged !== null;
  batch.fetches.push({ key: outcome.key, rows: fetch, known });
  options.metrics?.applied?.('fetch', 1);
}

async function applyOther(
  tx: Tx,
  row: WaitingRow,
  said: Said,
  stock: ParsedStock[],
  batch: Batch,
  options: DrainOptions,
  now: number,
): Promise<void> {
  if (said.kind === 'stock') {
    stock.push({ row, said });
    return;
  }
  batch.settlements.push(done(row, now));
  if (said.kind !== 'unauthorized') return;
  batch.applied += 1;
  await markUnauthorized(tx, row.orgId, row.connectionId, 'The channel says that our access has ended.', options);
}

/** The connection stops; a person is told. Nothing that waits is lost. */
export async function markUnauthorized(
  tx: Tx,
  orgId: string,
  connectionId: string,
  reason: string,
  options: Pick<DrainOptions, 'ids' | 'clock'>,
): Promise<void> {
  if (!(await setConnectionState(tx, orgId, connectionId, 'unauthorized', reason, options.clock.now()))) return;
  const alert: Alert = {
    kind: 'connection_unauthorized',
    message: `${reason} Its numbers are no longer written and its orders no longer read. Connect it again.`,
    subject: { kind: 'connection', id: connectionId },
  };
  await raiseAlerts(tx, orgId, [alert], { ids: options.ids, now: options.clock.now() });
}

/** Per number only the newest counts; the rest is superseded. */
async function applyStock(
  tx: Tx,
  stock: readonly ParsedStock[],
  batch: Batch,
  options: DrainOptions,
  now: number,
): Promise<void> {
  const newest = new Map<string, ParsedStock>();
  for (const item of stock) {
    const key = JSON.stringify([item.row.connectionId, item.said.stockKey, item.said.channelLocation]);
    const other = newest.get(key);
    if (other && other.said.vendorAt > item.said.vendorAt) batch.settlements.push(superseded(item.row, now));
    else {
      if (other) batch.settlements.push(superseded(other.row, now));
      newest.set(key, item);
    }
  }
  const byConnection = Map.groupBy(newest.values(), ({ row }) => row.connectionId);
  for (const [connectionId, items] of byConnection) {
    const orgId = items[0]?.row.orgId ?? '';
    await recordObservations(
      tx,
      orgId,
      connectionId,
      items.map(({ said }) => said),
      { ids: options.ids, now },
    );
    for (const { row } of items) batch.settlements.push(done(row, now));
    batch.applied += items.length;
  }
}

interface RowRef {
  orgId: string;
  id: string;
}

/** Rows that had failed before and are settled now: a dead letter that a person retried. */
function healed(rows: readonly WaitingRow[], settlements: readonly Settlement[]): RowRef[] {
  const failed = new Set(rows.filter(({ error }) => error !== null).map(({ id }) => id));
  return settlements.filter(({ id, state }) => failed.has(id) && (state === 'done' || state === 'superseded'));
}

async function closeAlerts(tx: Tx, rows: readonly RowRef[], now: number): Promise<void> {
  for (const [orgId, group] of Map.groupBy(rows, (row) => row.orgId)) {
    const subjects = group.map(({ id }) => id).sort();
    await resolveAlerts(tx, orgId, DEAD_LETTER, subjects, now);
  }
}

/** Rows that failed: they wait again, or are dead and a person is told. @returns how many died */
async function settleFailures(
  tx: Tx,
  failures: readonly { row: WaitingRow; error: unknown }[],
  options: DrainOptions,
): Promise<number> {
  const { clock, random, retryMs = 1_000 } = options;
  const now = clock.now();
  const judged = failures.map(({ row, error }) => {
    const failure = failureOf(error);
    return { row, failure, retry: retryOf(failure, row, { now, retryMs, chance: random.next() }) };
  });
  const settlements = judged.map(
    ({ row, failure, retry }): Settlement => ({
      orgId: row.orgId,
      id: row.id,
      state: retry.kind === 'dead' ? 'dead' : 'waiting',
      at: retry.kind === 'dead' ? now : retry.at,
      attempts: retry.attempts,
      repeats: retry.repeats,
      failingSince: retry.failingSince,
      errorCode: failure.code,
      error: failure.message,
    }),
  );
  await settleRows(tx, settlements, now);
  const dead = judged.filter(({ retry }) => retry.kind === 'dead');
  for (const [orgId, group] of Map.groupBy(dead, ({ row }) => row.orgId)) await tellDead(tx, orgId, group, options);
  return dead.length;
}

/** A person is told of each row that died. */
export async function tellDead(
  tx: Tx,
  orgId: string,
  dead: readonly { row: WaitingRow; failure: Failure }[],
  { ids, clock }: Pick<DrainOptions, 'ids' | 'clock'>,
): Promise<void> {
  const alerts = dead.map(
    ({ row, failure }): Alert => ({
      kind: DEAD_LETTER,
      message: `An event of ${row.kind} ${row.externalId} (${row.topic}) could not be applied: ${failure.message}. Later events of it are; look at the dead letter and retry or discard it.`,
      subject: { kind: 'dead_letter', id: row.id },
      details: { connectionId: row.connectionId, code: failure.code },
    }),
  );
  await raiseAlerts(tx, orgId, alerts, { ids, now: clock.now() });
}

/** Of a key that failed alone: the row whose version would be applied next; all when none holds a version. */
function guiltyRows(rows: readonly WaitingRow[], facts: ConnectionFacts, options: DrainOptions): WaitingRow[] {
  const parsed = parseRows(rows, facts, options, []);
  const fold = foldOrder(
    parsed.map(({ row, said }) => ({ row, event: said.kind === 'order' ? said.event : ignored })),
    null,
  );
  return fold.apply ? [fold.apply.row] : [...rows];
}
