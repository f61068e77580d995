/**
 * Conformance: what every connector must do when it meets its vendor, told as tests that any pair of connector and
 * simulator runs (`sim/<vendor>/conformance.test.ts`). The connector is driven through its ports only, the simulator through its
 * control only, and the simulator's truth decides.
 *
 * Each test opens a fresh session. Vendors differ in what the manifest says: without compare-and-set the stale cases fall
 * away, with a settle time a write is waited for. This file knows no vendor and imports none.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ConnectorError } from '#core/errors.ts';
import type {
  BudgetClass,
  CallOptions,
  Channel,
  ChannelOrder,
  Manifest,
  StockReading,
  StockRef,
  StockWrite,
  StockWriteOutcome,
} from './ports.ts';

/** The simulator's control calls; bodies and answers as the contract says (`POST /_sim/…`). */
export interface ConformanceControl {
  state(): Promise<{
    now: number | string;
    items: { sku: string; stockKey: string; location: string; quantity: number }[];
  }>;
  /** `POST /stock`: someone edits the number in the vendor's admin. */
  edit(sku: string, quantity: number, location?: string): Promise<unknown>;
  /** `POST /orders`. */
  order(body: {
    lines: { sku: string; quantity: number }[];
    status?: 'paid' | 'pending';
    location?: string;
  }): Promise<{ id: string }>;
  /** `POST /faults`. */
  fault(body: {
    kind: string;
    match?: { operation?: string; topic?: string };
    times?: number;
    ms?: number;
    status?: number;
    retryAfter?: number;
  }): Promise<unknown>;
  /** `POST /clock`, for vendors whose writes or orders show late. */
  advance?(ms: number): Promise<unknown>;
}

export interface ConformanceSession {
  channel: Channel;
  manifest: Manifest;
  control: ConformanceControl;
  /** At least three writable numbers at one channel location. */
  refs: readonly { sku: string; ref: StockRef }[];
  /** A number the vendor does not know, at the same location. */
  unknownRef: StockRef;
  /** An order id of the vendor's form that does not exist. */
  unknownOrderId: string;
  /** Stops the simulator; after it, connections are refused. */
  stop(): Promise<void>;
  /** Ends everything, the simulator included, even after `stop`. */
  close(): Promise<void>;
}

export interface ConformanceSubject {
  name: string;
  open(): Promise<ConformanceSession>;
  /** The vendor's operation of a stock write, as faults match it; absent: faults meet every call. */
  writeOperation?: string;
  /** The vendor's operation of a stock read. */
  readOperation?: string;
  /** More orders than one page holds; default 30. */
  orders?: number;
  /** The largest number the vendor takes; default 999,999. */
  largest?: number;
}

const WAIT_MS = 8_000;

export function describeConformance(subject: ConformanceSubject): void {
  const run = (name: string, body: (session: ConformanceSession) => Promise<void>) =>
    test(`${subject.name}: ${name}`, async () => {
      const session = await subject.open();
      try {
        await body(session);
      } finally {
        await session.close();
      }
    });
  const onWrite = subject.writeOperation === undefined ? {} : { match: { operation: subject.writeOperation } };
  const onRead = subject.readOperation === undefined ? {} : { match: { operation: subject.readOperation } };

  describe(`${subject.name} and its connector`, () => {
    run('the authorisation is good', (session) => session.channel.test(calls('read')));
    describeReading(run, onRead);
    describeWriting(run, subject.largest ?? 999_999);
    describeFaults(run, onWrite, onRead);
    run('many numbers in one document: told row by row, in force, and nothing before it is submitted', bulkDocument);
    run('orders page completely, each once, with their lines', (session) =>
      ordersPageCompletely(session, subject.orders ?? 30),
    );
    run('an order is read whole by its id, and one the vendor does not know is null', async (session) => {
      const { channel, control, refs } = session;
      await setAll(session, [9]);
      const { id } = await control.order({ lines: [{ sku: at(refs, 0).sku, quantity: 2 }] });
      await control.advance?.(session.manifest.orders.lagMs);
      const paged = await anOrder(channel, control, id);
      const read = await channel.orders.get(paged.externalId, calls('read'));
      expect(read?.lines.map((line) => [line.channelSku, line.ordered, line.wanted, line.shipped])).toEqual([
        [at(refs, 0).sku, 2, 2, 0],
      ]);
      expect(await channel.orders.get(session.unknownOrderId, calls('read'))).toBe(null);
    });
    run('listings and locations name the numbers that are read and written', async ({ channel, refs }) => {
      const listings = [];
      for (let cursor: string | null = null, page = 0; page < 100; page += 1) {
        const answer = await channel.catalog.list(cursor, calls('read'));
        listings.push(...answer.listings);
        cursor = answer.cursor;
        if (cursor === null) break;
      }
      for (const { sku, ref } of refs)
        expect(listings.find((listing) => listing.stockKey === ref.stockKey)).toMatchObject({
          channelSku: sku,
          notWritable: null,
        });
      const locations = await channel.catalog.locations(calls('read'));
      expect(locations.map(({ channelLocation }) => channelLocation)).toContain(at(refs, 0).ref.channelLocation);
    });
  });
}

/** Vendors without such a document have nothing to show here. */
async function bulkDocument(session: ConformanceSession): Promise<void> {
  const { channel, control, refs } = session;
  const { bulk } = channel.stock;
  if (!bulk) return expect(session.manifest.stock.bulk).toBeUndefined();
  await setAll(session, [40, 41, 42]);
  const readings = await channel.stock.read(
    refs.map(({ ref }) => ref),
    calls('read'),
  );
  const since = Math.min(...readings.map((reading) => (reading.kind === 'quantity' ? reading.vendorAt : 0)));
  const rows = refs.slice(0, 3).map(({ ref }, index) => ({ messageId: index + 1, ref, value: 50 + index }));
  const numbers = async () => {
    const { items } = await control.state();
    return rows.map(({ ref }) => items.find(({ stockKey }) => stockKey === ref.stockKey)?.quantity);
  };
  const { documentId, left } = await bulk.prepare(rows, calls('bulk'));
  expect([left, await numbers()]).toEqual([[], [40, 41, 42]]);
  const { submissionId } = await bulk.submit(documentId, calls('bulk'));
  expect((await bulk.since(since, calls('read'))).map((one) => one.submissionId)).toEqual([submissionId]);
  let status = await bulk.status(submissionId, calls('read'));
  for (const until = performance.now() + WAIT_MS; status.state !== 'done' && performance.now() < until; ) {
    await pause(20);
    status = await bulk.status(submissionId, calls('read'));
  }
  const told = rows.map(({ messageId, ref: { stockKey } }) => ({ messageId, stockKey }));
  expect(await bulk.outcomes(status.resultId ?? '', { sent: 3, rows: told }, calls('read'))).toEqual(
    told.map(({ messageId }) => ({ messageId, kind: 'accepted' })),
  );
  expect(await numbers()).toEqual([50, 51, 52]);
  // Over, and asked for all the same: its status stands.
  await bulk.cancel(submissionId, calls('urgent'));
  expect((await bulk.status(submissionId, calls('read'))).state).toBe('done');
}

type Run = (name: string, body: (session: ConformanceSession) => Promise<void>) => void;
type Match = { match?: { operation: string } };

function describeReading(run: Run, onRead: Match): void {
  run('reads what the vendor shows, at the vendor’s time, also 0', async (session) => {
    const { control, refs } = session;
    await setAll(session, [7, 0, 31]);
    const before = vendorMs((await control.state()).now);
    const readings = await session.channel.stock.read(three(refs), calls('read'));
    expect(sorted(readings, refs).map((reading) => reading.kind === 'quantity' && reading.value)).toEqual([7, 0, 31]);
    for (const reading of readings)
      expect(reading.kind === 'quantity' && reading.vendorAt >= before - 1_000).toBe(true);
  });

  run('answers every ref once, and says which number does not exist', async ({ channel, refs, unknownRef }) => {
    const readings = await channel.stock.read([at(refs, 0).ref, unknownRef, at(refs, 1).ref], calls('read'));
    expect(readings).toHaveLength(3);
    expect(readings.filter((reading) => reading.kind === 'missing').map((reading) => reading.ref)).toEqual([
      unknownRef,
    ]);
  });

  run(
    'a read that fails once is repeated; one that keeps failing is unavailable',
    async ({ channel, control, refs }) => {
      await control.fault({ kind: 'status', status: 503, times: 1, ...onRead });
      expect(await channel.stock.read([at(refs, 0).ref], calls('read'))).toHaveLength(1);
      await control.fault({ kind: 'status', status: 503, ...onRead });
      expect(await codeOf(channel.stock.read([at(refs, 0).ref], calls('read')))).toBe('connector.unavailable');
    },
  );
}

function describeWriting(run: Run, largest: number): void {
  for (const value of [4, 0, largest]) {
    run(`reads back ${value} after writing it`, async (session) => {
      await setAll(session, [9, 9, 9]);
      const { ref } = at(session.refs, 0);
      const [outcome] = await session.channel.stock.write([{ ref, value, from: 9 }], key(), calls('urgent'));
      expect(['applied', 'accepted']).toContain(outcome?.kind);
      await untilRead(session, ref, value);
      expect(await truth(session, 3)).toEqual([value, 9, 9]);
    });
  }

  run('the same call under the same key is not applied twice', async (session) => {
    await setAll(session, [9, 9, 9]);
    const rows = rowsOf(session, [4], 9);
    const sameKey = key();
    await session.channel.stock.write(rows, sameKey, calls('urgent'));
    await untilRead(session, at(session.refs, 0).ref, 4);
    const [again] = await session.channel.stock.write(rows, sameKey, calls('urgent'));
    // Vendors differ: the first answer again, or that the number is no longer the one named.
    expect(['applied', 'accepted', 'stale']).toContain(again?.kind);
    expect(await truth(session, 1)).toEqual([4]);
  });

  run('zero may be written blind', async (session) => {
    await setAll(session, [9, 9, 9]);
    const { ref } = at(session.refs, 0);
    await session.channel.stock.write([{ ref, value: 0, from: null }], key(), calls('urgent'));
    await untilRead(session, ref, 0);
  });

  run(
    'a number sold meanwhile is stale where the vendor compares, and overwritten where it cannot',
    async (session) => {
      await setAll(session, [9, 9, 9]);
      await session.control.edit(at(session.refs, 0).sku, 8, at(session.refs, 0).ref.channelLocation);
      if (!session.manifest.stock.compareAndSet) {
        const [outcome] = await session.channel.stock.write(rowsOf(session, [5], 9), key(), calls('urgent'));
        expect(['applied', 'accepted']).toContain(outcome?.kind);
        await untilRead(session, at(session.refs, 0).ref, 5);
        return;
      }
      const outcomes = await session.channel.stock.write(rowsOf(session, [5, 6], 9), key(), calls('urgent'));
      expect(sorted(outcomes, session.refs).map((outcome) => outcome.kind)).toEqual(['stale', 'not_applied']);
      expect(await truth(session, 3)).toEqual([8, 9, 9]);
    },
  );

  run('one bad row among many is named, and no other row is blamed', async (session) => {
    await setAll(session, [9, 9, 9]);
    const bad: StockWrite = { ref: session.unknownRef, value: 3, from: 3 };
    const [first, second] = rowsOf(session, [5, 6], 9);
    const rows = [first, bad, second].filter((row) => row !== undefined);
    // A vendor that takes one row a call is asked three times.
    const perCall = session.manifest.stock.urgentRows === 1 ? 1 : rows.length;
    const outcomes: StockWriteOutcome[] = [];
    for (let start = 0; start < rows.length; start += perCall)
      outcomes.push(...(await session.channel.stock.write(rows.slice(start, start + perCall), key(), calls('urgent'))));
    expect(outcomes).toHaveLength(3);
    const kindOf = (ref: StockRef) => outcomes.find((outcome) => sameRef(outcome.ref, ref))?.kind;
    expect(kindOf(session.unknownRef)).toBe('rejected');
    for (const [index, value] of [5, 6].entries()) {
      const { ref } = at(session.refs, index);
      const kind = kindOf(ref);
      expect(['applied', 'accepted', 'not_applied']).toContain(kind);
      await untilRead(session, ref, kind === 'not_applied' ? 9 : value);
    }
  });
}

function describeFaults(run: Run, onWrite: Match, onRead: Match): void {
  const write = (session: ConformanceSession, value: number, signal = AbortSignal.timeout(WAIT_MS)) =>
    session.channel.stock.write(rowsOf(session, [value], 9), key(), { budget: 'urgent', signal });

  run('a write that was applied but never answered is of unknown outcome; reading back tells', async (session) => {
    await setAll(session, [9, 9, 9]);
    await session.channel.test(calls('read'));
    await session.control.fault({ kind: 'timeout_after', times: 1, ...onWrite });
    expect(await codeOf(write(session, 4, AbortSignal.timeout(700)))).toBe('connector.outcome_unknown');
    await untilRead(session, at(session.refs, 0).ref, 4);
  });

  run('a server error to a write is of unknown outcome, and the write is not sent again', async (session) => {
    await setAll(session, [9, 9, 9]);
    await session.channel.test(calls('read'));
    await session.control.fault({ kind: 'status', status: 500, times: 1, ...onWrite });
    expect(await codeOf(write(session, 4))).toBe('connector.outcome_unknown');
    expect(await truth(session, 1)).toEqual([9]);
  });

  run('a refusal for rate says how long to wait, and nothing is written', async (session) => {
    await setAll(session, [9, 9, 9]);
    await session.channel.test(calls('read'));
    await session.control.fault({ kind: 'status', status: 429, retryAfter: 2, times: 1, ...onWrite });
    const error = await faultOf(write(session, 4));
    expect([error.code, error.retryAfterMs]).toEqual(['connector.rate_limited', 2_000]);
    expect(await truth(session, 1)).toEqual([9]);
  });

  run('a revoked authorisation is unauthorized, and nothing is written', async (session) => {
    await setAll(session, [9, 9, 9]);
    await session.control.fault({ kind: 'revoke' });
    expect(await codeOf(write(session, 4))).toBe('connector.unauthorized');
    expect(await codeOf(session.channel.stock.read([at(session.refs, 0).ref], calls('read')))).toBe(
      'connector.unauthorized',
    );
    expect(await truth(session, 1)).toEqual([9]);
  });

  run('a read that is never answered ends at the caller’s deadline as unavailable', async (session) => {
    await session.channel.test(calls('read'));
    await session.control.fault({ kind: 'timeout_before', ...onRead });
    const signal = AbortSignal.timeout(500);
    expect(await codeOf(session.channel.stock.read([at(session.refs, 0).ref], { budget: 'read', signal }))).toBe(
      'connector.unavailable',
    );
  });

  run('a refused connection is unavailable for reads and writes: nothing was sent', async (session) => {
    await session.channel.test(calls('read'));
    await session.stop();
    // The closing of kept connections must have reached us.
    await pause(100);
    expect(await codeOf(write(session, 4))).toBe('connector.unavailable');
    expect(await codeOf(session.channel.stock.read([at(session.refs, 0).ref], calls('read')))).toBe(
      'connector.unavailable',
    );
  });
}

async function ordersPageCompletely(
  { channel, control, refs, manifest }: ConformanceSession,
  count: number,
): Promise<void> {
  const { sku, ref } = at(refs, 0);
  await control.edit(sku, count * 2, ref.channelLocation);
  const since = vendorMs((await control.state()).now) - 1_000;
  const placed: { id: string; quantity: number }[] = [];
  for (let n = 0; n < count; n += 1) {
    const quantity = 1 + (n % 2);
    placed.push({ ...(await control.order({ lines: [{ sku, quantity }] })), quantity });
  }
  await control.advance?.(manifest.orders.lagMs);
  const seen = await eventually(
    () => allOrders(channel, since),
    (orders) => placed.every(({ id }) => orders.some((order) => isOrder(order, id))),
  );
  const found = placed.map(({ id }) => seen.filter((order) => isOrder(order, id)));
  expect(found.map((orders) => orders.length)).toEqual(placed.map(() => 1));
  expect(
    found.map((orders) => orders[0]?.lines.map((line) => [line.channelSku, line.ordered, line.wanted, line.shipped])),
  ).toEqual(placed.map(({ quantity }) => [[sku, quantity, quantity, 0]]));
}

async function allOrders(channel: Channel, since: number): Promise<ChannelOrder[]> {
  const orders: ChannelOrder[] = [];
  for (let cursor: string | null = null, page = 0; page < 100; page += 1) {
    const answer = await channel.orders.changedSince(since, cursor, calls('read'));
    orders.push(...answer.orders);
    cursor = answer.cursor;
    if (cursor === null) break;
  }
  return orders;
}

async function anOrder(channel: Channel, control: ConformanceControl, id: string): Promise<ChannelOrder> {
  const since = vendorMs((await control.state()).now) - 60_000;
  const orders = await eventually(
    () => allOrders(channel, since),
    (found) => found.some((order) => isOrder(order, id)),
  );
  const order = orders.find((each) => isOrder(each, id));
  if (!order) throw new Error(`order ${id} never showed`);
  return order;
}

/** Simulators name orders as people do there; connectors may prefix (Shopify: a GID). */
const isOrder = (order: ChannelOrder, id: string) => order.externalId === id || order.externalId.endsWith(`/${id}`);

const calls = (budget: BudgetClass): CallOptions => ({ budget, signal: AbortSignal.timeout(WAIT_MS) });
/** A key no other session used: sessions may meet the same simulator, which remembers keys. */
let keys = Math.floor(performance.timeOrigin + performance.now());
const key = () => `01932f3c-0000-7000-8000-${(++keys).toString(16).padStart(12, '0')}`;
const three = (refs: ConformanceSession['refs']) => refs.slice(0, 3).map(({ ref }) => ref);
const sameRef = (a: StockRef, b: StockRef) => a.stockKey === b.stockKey && a.channelLocation === b.channelLocation;
const vendorMs = (now: number | string) => (typeof now === 'number' ? now : Date.parse(now));

function at(refs: ConformanceSession['refs'], index: number): { sku: string; ref: StockRef } {
  const entry = refs[index];
  if (!entry) throw new Error('a conformance session needs at least three refs');
  return entry;
}

/** Answers may come in any order. */
function sorted<T extends StockReading | StockWriteOutcome>(
  answers: readonly T[],
  refs: ConformanceSession['refs'],
): T[] {
  return refs.flatMap(({ ref }) => answers.filter((answer) => sameRef(answer.ref, ref)));
}

function rowsOf(session: ConformanceSession, values: number[], from: number): StockWrite[] {
  return values.map((value, index) => ({ ref: at(session.refs, index).ref, value, from }));
}

async function setAll({ control, refs }: ConformanceSession, values: number[]): Promise<void> {
  for (const [index, value] of values.entries())
    await control.edit(at(refs, index).sku, value, at(refs, index).ref.channelLocation);
}

async function truth({ control, refs }: ConformanceSession, count: number): Promise<(number | undefined)[]> {
  const { items } = await control.state();
  return refs
    .slice(0, count)
    .map(
      ({ ref }) =>
        items.find((item) => item.stockKey === ref.stockKey && item.location === ref.channelLocation)?.quantity,
    );
}

/** Reads until the number shows, moving the vendor's clock past its settle time. */
async function untilRead(
  { channel, control, manifest }: ConformanceSession,
  ref: StockRef,
  value: number,
): Promise<void> {
  if (manifest.stock.settleMs > 0) await control.advance?.(manifest.stock.settleMs);
  const [reading] = await eventually(
    () => channel.stock.read([ref], calls('read')),
    ([found]) => found?.kind === 'quantity' && found.value === value,
  );
  expect(reading).toMatchObject({ kind: 'quantity', ref, value });
}

/** Asks again until it is good or time is up; the last answer either way. */
async function eventually<T>(ask: () => Promise<T>, isGood: (answer: T) => boolean): Promise<T> {
  const endsAt = performance.now() + WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (isGood(answer) || performance.now() > endsAt) return answer;
    await pause(50);
  }
}

async function faultOf(promise: Promise<unknown>): Promise<ConnectorError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome && outcome.error instanceof ConnectorError) return outcome.error;
  throw new Error(
    `expected a ConnectorError, got ${'error' in outcome ? String(outcome.error) : JSON.stringify(outcome.value)}`,
  );
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await faultOf(promise)).code;
}
