/**
 * Importing: applies the waiting rows of many orders in one transaction.
 *
 *   fold each key to its newest version → decide (core/order/import.ts) under the order's row lock → write the orders, post
 *   their claims, book what they mean for the channels' numbers, tell history and people
 *
 * Set-wise over all orders of the batch, of any number of organizations. What needs a read from the channel is only noted:
 * there is no HTTP inside a transaction. Called by the drain; a fault anywhere undoes the whole batch, and the drain
 * finds the order that caused it.
 */
import { createHash } from 'node:crypto';
import { assert } from '#core/errors.ts';
import type { OrgId } from '#core/ids.ts';
import { type FoldedEvent, foldOrder } from '#core/order/fold.ts';
import { type Application, completeMapping, decideImport, type UnmappedLine } from '#core/order/import.ts';
import { contentOf, type IncomingOrder, type PreferredLocation } from '#core/order/order.ts';
import { type Command, MAX_COMMANDS } from '#core/stock/movement.ts';
import { raiseAlerts, resolveAlerts } from '#store/attention/alerts.ts';
import { getConnection } from '#store/connections/connections.ts';
import type { ConnectionFacts, SequenceKey, WaitingRow } from '#store/inbox/claim.ts';
import { postBatch } from '#store/ledger/post.ts';
import { bookEffects, targetsByKey } from '#store/listings/effects.ts';
import { lockByKeys } from '#store/listings/shown.ts';
import { lockOrders, lockUnmappedOrders, orderKeyOf, type StoredOrder } from '#store/orders/load.ts';
import { loadMappings, loadPreferences, type Mappings } from '#store/orders/mapping.ts';
import { writeOrders } from '#store/orders/write.ts';
import type { Store, Tx } from '#store/tx.ts';
import type { IntakeHooks, IntakeOptions } from './intake.ts';
import type { ConnectionRef } from './publisher-types.ts';

export interface OrderGroup {
  key: SequenceKey;
  connection: ConnectionFacts;
  rows: readonly { row: WaitingRow; event: FoldedEvent }[];
}

export interface OrderOutcome {
  key: SequenceKey;
  /** The row whose version was looked at, and what came of it; null when no row held a whole version. */
  judged: { row: WaitingRow; outcome: 'applied' | 'older' | 'same' } | null;
  superseded: WaitingRow[];
  /** Rows on whose behalf the order must be read. */
  fetch: WaitingRow[];
  /** As it stands now, when something of it was applied. */
  order?: Application['order'];
}

export interface TargetKey {
  orgId: string;
  connectionId: string;
  stockKey: string;
}

export interface ImportContext {
  now: number;
  ids: { uuid(): string };
  hooks?: IntakeHooks | undefined;
}

export const contentHashOf = (order: IncomingOrder): string =>
  createHash('sha256').update(contentOf(order)).digest('hex');

interface Applied {
  orgId: string;
  connectionId: string;
  application: Application;
  /** A sweep had to find it. */
  swept: boolean;
  cause?: { correlationId: string | null; receivedAt: number };
}

/** @param alsoLocked targets that the caller will touch in this transaction after the orders */
export async function importOrders(
  tx: Tx,
  groups: readonly OrderGroup[],
  context: ImportContext,
  alsoLocked: readonly TargetKey[],
): Promise<OrderOutcome[]> {
  const keys = groups.map(({ key }) => key);
  const [stored, preferences] = await Promise.all([lockOrders(tx, keys), loadPreferences(tx, connectionsOf(keys))]);
  const folded = groups
    .map((group) => ({ ...group, stored: stored.get(orderKeyOf(group.key)) ?? null }))
    .map((group) => ({
      ...group,
      fold: foldOrder(group.rows, group.stored?.version ?? null),
    }));
  const live = folded.filter(({ fold }) => fold.apply !== null);
  const mappings = await loadMappings(
    tx,
    live.map(({ key, fold, stored: order }) => ({
      ...key,
      lines: [...(fold.apply?.order.lines ?? []), ...unbooked(order)],
    })),
  );
  const outcomes: OrderOutcome[] = [];
  const applied: Applied[] = [];
  for (const { key, connection, fold, stored: order } of folded) {
    const outcome: OrderOutcome = { key, judged: null, superseded: fold.superseded, fetch: fold.fetch };
    outcomes.push(outcome);
    if (fold.apply === null) continue;
    const decision = decideImport(order, fold.apply.order, {
      contentHash: contentHashOf(fold.apply.order),
      fresh: fold.apply.fresh,
      bookedSince: connection.createdAt,
      mappingOf: (line) => mappings.of(key.connectionId, line),
      prefer: preferences.get(key.connectionId) ?? nowhere,
      ids: context.ids,
    });
    if (decision.kind === 'fetch') outcome.fetch = [...fold.fetch, fold.apply.row];
    else if (decision.kind === 'nothing') outcome.judged = { row: fold.apply.row, outcome: decision.reason };
    else {
      outcome.judged = { row: fold.apply.row, outcome: 'applied' };
      outcome.order = decision.order;
      const { correlationId, receivedAt, source } = fold.apply.row;
      applied.push({
        orgId: key.orgId,
        connectionId: key.connectionId,
        application: decision,
        swept: source === 'poll',
        cause: { correlationId, receivedAt },
      });
    }
  }
  await applyAll(tx, applied, context, alsoLocked);
  return outcomes;
}

/** Orders, then claims, then the channels' numbers, then people: the lock order of store/locks.ts. */
async function applyAll(
  tx: Tx,
  applied: readonly Applied[],
  context: ImportContext,
  alsoLocked: readonly TargetKey[] = [],
): Promise<void> {
  if (applied.length === 0) return;
  await writeOrders(
    tx,
    applied.map(({ orgId, connectionId, application, cause }) => ({
      orgId,
      connectionId,
      ...application,
      ...(cause && { cause }),
    })),
    { now: context.now, actor: 'channel', ids: context.ids },
  );
  await context.hooks?.beforePost?.(applied.length);
  await postAll(tx, applied, context);
  await context.hooks?.afterPost?.(applied.length);
  const locked = await lockByKeys(tx, [
    ...applied.flatMap(({ orgId, connectionId, application }) =>
      application.effects.map(({ stockKey }) => ({ orgId, connectionId, stockKey })),
    ),
    ...alsoLocked,
  ]);
  const told = [...byConnection(applied)].map(([connectionId, group]) => ({
    orgId: group[0]?.orgId ?? '',
    connectionId,
    effects: group.flatMap(({ application, swept }) =>
      application.effects.map((effect) => ({ ...effect, order: { externalId: application.order.externalId, swept } })),
    ),
  }));
  await bookEffects(tx, targetsByKey(locked), told, { now: context.now, ids: context.ids });
  await tellUnmapped(tx, applied, context);
}

/** One call for everything that fits; positions are locked sorted within a call, and a batch rarely needs a second. */
async function postAll(tx: Tx, applied: readonly Applied[], context: ImportContext): Promise<void> {
  for (const chunk of chunks(
    applied.flatMap(({ orgId, application }) => application.commands.map((command) => ({ orgId, command }))),
  )) {
    const shares = [...Map.groupBy(chunk, ({ orgId }) => orgId)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([orgId, list]) => ({ orgId: orgId as OrgId, commands: list.map(({ command }) => command) }));
    const answers = await postBatch(tx, shares, { actor: 'channel', now: context.now, ids: context.ids });
    for (const [i, share] of shares.entries()) {
      for (const [n, answer] of (answers[i] ?? []).entries()) {
        assert(answer.kind === 'posted' || answer.kind === 'nothing', 'a fact was not posted', {
          kind: answer.kind,
          key: share.commands[n]?.key,
        });
      }
    }
  }
}

function chunks(commands: readonly { orgId: string; command: Command }[]): { orgId: string; command: Command }[][] {
  const parts: { orgId: string; command: Command }[][] = [];
  for (let from = 0; from < commands.length; from += MAX_COMMANDS)
    parts.push(commands.slice(from, from + MAX_COMMANDS));
  return parts;
}

const nowhere: PreferredLocation = () => null;
/** Alerts of one kind from one connection in one batch; the orders themselves carry the whole list. */
const MOST_ALERTS = 20;

/** What makes it one alert: the same SKU of a connection, in however many orders. */
const unmappedOn = (connectionId: string, line: UnmappedLine): string =>
  `${connectionId}:${line.channelSku ?? line.title}`;

const reasons: Record<UnmappedLine['reason'], string> = {
  unknown: 'no listing of this connection has that SKU',
  unmapped: 'its listing has no SKU of ours',
  ambiguous: 'listings of different SKUs match it',
  empty_bundle: 'it is a bundle without parts',
};

async function tellUnmapped(tx: Tx, applied: readonly Applied[], context: ImportContext): Promise<void> {
  for (const [connectionId, group] of byConnection(applied)) {
    const lines = new Map<string, { line: UnmappedLine; application: Application }>();
    for (const { application } of group)
      for (const line of application.unmapped) lines.set(unmappedOn(connectionId, line), { line, application });
    const alerts = [...lines]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, MOST_ALERTS)
      .map(([on, { line, application }]) => ({
        kind: 'order_unmapped' as const,
        message: `Order ${application.order.number} has "${line.channelSku ?? line.title}", but ${reasons[line.reason]}. Its units are not booked; map it, and they will be.`,
        subject: { kind: 'order', id: application.order.id },
        on,
        details: { channelSku: line.channelSku, reason: line.reason, connectionId },
      }));
    await raiseAlerts(tx, group[0]?.orgId ?? '', alerts, context);
  }
}

/** Lines of the stored order that may still find their variant in this version. */
const unbooked = (order: StoredOrder | null) => (order?.lines ?? []).filter((line) => line.explosion === null);

function connectionsOf(keys: readonly SequenceKey[]): ConnectionRef[] {
  return [...new Map(keys.map(({ orgId, connectionId }) => [connectionId, { orgId, connectionId }])).values()];
}

const byConnection = (applied: readonly Applied[]): Map<string, Applied[]> =>
  Map.groupBy(applied, ({ connectionId }) => connectionId);

/** Orders per transaction when mappings are completed. */
const COMPLETE_AT_ONCE = 50;

/** Books the lines of a connection's unmapped orders that find their variant now. @returns orders changed */
export async function completeUnmapped(
  options: Pick<IntakeOptions, 'clock' | 'ids' | 'onCommitted'> & { store: Store },
  connection: ConnectionRef,
): Promise<number> {
  const { orgId, connectionId } = connection;
  let changed = 0;
  let after: string | null = null;
  for (;;) {
    const from: string | null = after;
    const page = await options.store.tenant(orgId, async (tx) => {
      const orders = await lockUnmappedOrders(tx, orgId, connectionId, from, COMPLETE_AT_ONCE);
      const done =
        orders.length === 0
          ? 0
          : await completeOrders(tx, connection, orders, { now: options.clock.now(), ids: options.ids });
      return { done, last: orders.at(-1)?.id ?? null };
    });
    changed += page.done;
    if (page.done > 0) options.onCommitted?.();
    if (page.last === null) return changed;
    after = page.last;
  }
}

async function completeOrders(
  tx: Tx,
  { orgId, connectionId }: ConnectionRef,
  orders: readonly StoredOrder[],
  context: ImportContext,
): Promise<number> {
  const mappings: Mappings = await loadMappings(tx, [{ orgId, connectionId, lines: orders.flatMap(unbooked) }]);
  const preferences = await loadPreferences(tx, [{ orgId, connectionId }]);
  const connection = await getConnection(tx, orgId, connectionId);
  const applied: Applied[] = [];
  const found = new Set<string>();
  for (const order of orders) {
    const application = completeMapping(order, {
      mappingOf: (line) => mappings.of(connectionId, line),
      prefer: preferences.get(connectionId) ?? nowhere,
      bookedSince: connection?.createdAt.getTime() ?? 0,
      now: context.now,
    });
    if (!application) continue;
    applied.push({ orgId, connectionId, application, swept: false });
    const still = new Set(application.unmapped.map((line) => line.externalId));
    for (const line of order.lines) {
      if (line.variantId === null && !still.has(line.externalId))
        found.add(unmappedOn(connectionId, { ...line, reason: 'unknown' }));
    }
  }
  await applyAll(tx, applied, context);
  await resolveAlerts(tx, orgId, 'order_unmapped', [...found], context.now);
  return applied.length;
}
