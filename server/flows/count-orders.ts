/**
 * Daily counts as proof of the order sweeps: how many orders the channel says were placed on a UTC day, against those we hold.
 *
 *   counted (one call where the vendor has one)  equal → proved
 *   else the day's ids are read to the end       → the missing ones are named, fetched and applied, and shown
 *
 * Bounded: `manifest.orders.counts` says how often, how many days and pages the vendor's budget bears; a day with more is shown
 * as unknown, never as equal. The time just before now is left out: a channel may show an order late.
 */
import { getConnection } from '#store/connections/connections.ts';
import { type DayCount, heldOf, heldPlaced, keepDayCount } from '#store/orders/counts.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';
import type { Delivery } from './receive-event.ts';
import { deliveryOf } from './sweep-orders.ts';
import type { Watch } from './watch-connections.ts';

const DAY_MS = 86_400_000;
/** Left out before now, besides the channel's own lag. */
const MARGIN_MS = 120_000;
/** Missing orders fetched per day and look; the next look goes on. */
const FETCH_MOST = 200;

export interface CountOptions extends IntakeOptions {
  /** Stores what was read; it is applied soon. */
  receive(deliveries: readonly Delivery[]): Promise<unknown>;
  onStored(): void;
}

export function countWatch(options: CountOptions): Watch {
  const { store, clock } = options;
  const countsOf = (platform: string) => options.connectorOf(platform)?.manifest.orders.counts;
  return {
    kind: 'order_counts',
    platforms: options.platforms.filter((platform) => countsOf(platform) !== undefined),
    async look(connection, opened, { signal }) {
      const { counts, lagMs } = opened.manifest.orders;
      const to = wholeSecond(clock.now() - lagMs - MARGIN_MS);
      const today = Math.floor(to / DAY_MS);
      const { orgId, connectionId } = connection;
      const row = await store.tenant(orgId, (tx) => getConnection(tx, orgId, connectionId));
      const createdAt = wholeSecond((row?.createdAt.getTime() ?? to) + 999);
      const days: DayCount[] = [];
      for (let day = today - (counts?.days ?? 0); day <= today - (counts?.today ? 0 : 1); day += 1) {
        // Before it was linked nothing was read.
        if ((day + 1) * DAY_MS <= createdAt) continue;
        const range = { from: Math.max(day * DAY_MS, createdAt), to: Math.min((day + 1) * DAY_MS, to) };
        if (range.from < range.to) days.push(await countDay(options, connection, opened, range, signal));
      }
      return { result: { days: days.map(({ day }) => day) }, nextAt: clock.now() + (counts?.everyMs ?? DAY_MS) };
    },
  };
}

/** What vendors' searches can tell apart. */
const wholeSecond = (time: number): number => Math.floor(time / 1000) * 1000;

async function countDay(
  options: CountOptions,
  connection: ConnectionRef,
  opened: OpenedConnection,
  { from, to }: { from: number; to: number },
  signal: AbortSignal,
): Promise<DayCount> {
  const { store, clock } = options;
  const { orgId, connectionId } = connection;
  const { orders } = opened.channel;
  const held = () => store.tenant(orgId, (tx) => heldPlaced(tx, orgId, connectionId, from, to));
  const base = { day: new Date(from).toISOString().slice(0, 10), countedTo: to };
  const told = (await orders.countPlaced?.(from, to, { budget: 'read', signal })) ?? null;
  let count: DayCount;
  const before = await held();
  if (told !== null && told === before.length)
    count = { ...base, channelCount: told, heldCount: told, method: 'count', missing: [], extra: [], fetched: 0 };
  else {
    const theirs = await idsPlaced(opened, from, to, signal);
    const known = await store.tenant(orgId, (tx) => heldOf(tx, orgId, connectionId, theirs.ids));
    const missing = theirs.ids.filter((id) => !known.has(id));
    const found = await fetchMissing(options, connection, opened, missing.slice(0, FETCH_MOST), signal);
    const shown = new Set(theirs.ids);
    count = {
      ...base,
      channelCount: theirs.whole ? theirs.ids.length : told,
      heldCount: (await held()).length,
      method: 'pages',
      missing: missing.map((externalId) => ({ externalId, found: found.has(externalId) })),
      extra: theirs.whole ? before.filter((id) => !shown.has(id)).slice(0, 1_000) : [],
      fetched: found.size,
    };
  }
  await store.tenant(orgId, (tx) => keepDayCount(tx, orgId, connectionId, count, clock.now()));
  return count;
}

async function idsPlaced(
  { channel, manifest }: OpenedConnection,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<{ ids: string[]; whole: boolean }> {
  const ids = new Set<string>();
  let cursor: string | null = null;
  for (let page = 0; page < (manifest.orders.counts?.pagesMost ?? 0); page += 1) {
    const read: { externalIds: string[]; cursor: string | null } | undefined = await channel.orders.placedBetween?.(
      from,
      to,
      cursor,
      { budget: 'read', signal },
    );
    if (!read) return { ids: [], whole: false };
    for (const id of read.externalIds) ids.add(id);
    cursor = read.cursor;
    if (cursor === null) return { ids: [...ids], whole: true };
  }
  return { ids: [...ids], whole: false };
}

/** Reads and applies them. @returns those that are in our book then */
async function fetchMissing(
  options: CountOptions,
  connection: ConnectionRef,
  { channel }: OpenedConnection,
  externalIds: readonly string[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const { store, clock } = options;
  const { orgId, connectionId } = connection;
  for (const externalId of externalIds) {
    const order = await channel.orders.get(externalId, { budget: 'read', signal });
    if (order) await options.receive([deliveryOf(connection, order)]);
    options.onStored();
  }
  let held = new Set<string>();
  for (let wait = 20; externalIds.length > 0 && wait < 10_000; wait *= 2) {
    held = await store.tenant(orgId, (tx) => heldOf(tx, orgId, connectionId, externalIds));
    if (held.size === externalIds.length) break;
    await clock.sleep(wait, signal);
  }
  return held;
}
