/**
 * Amazon's orders, read from the Orders API 2026-01-01.
 *
 * The order sweep is a safety net at one call per three minutes (§6.1); news come through the queue. Amazon does not
 * promise an order of results, so a sweep's mark may only move when its last page has been read, and then to the time
 * the *first* page was good for: later pages belong to the same search and know nothing newer. The cursor carries it.
 */
import { Buffer } from 'node:buffer';
import { z } from 'zod';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import type { CallOptions, ChannelOrder, OrderPage, OrdersPort } from '../kit/ports.ts';
import type { AmazonClient } from './client.ts';
import { jsonOrNull } from './errors.ts';
import { isOwnSaleElsewhere, orderOf } from './map.ts';

export interface OrdersOptions {
  client: AmazonClient;
  clock: Clock;
  /** The manifest's, as the connection's settings correct it. */
  lagMs: number;
}

/** Two years of history: documented [§6.3]; a day less, so that the bound is never beyond it. */
const HISTORY_MS = (2 * 365 - 1) * 86_400_000;

const cursorShape = z.object({ token: z.string(), vendorAt: z.number() });

export function ordersPort(options: OrdersOptions): OrdersPort {
  return {
    get: (externalId, call) => getOrder(options, externalId, call),
    changedSince: (since, cursor, call) => changedSince(options, since, cursor, call),
    placedBetween: (from, to, cursor, call) => placedBetween(options, from, to, cursor, call),
  };
}

async function getOrder(
  { client }: OrdersOptions,
  externalId: string,
  call: CallOptions,
): Promise<ChannelOrder | null> {
  const result = await client.getOrder(externalId, call);
  if (result.kind === 'answered') {
    const { order } = result.answer.value;
    return isOwnSaleElsewhere(order) ? null : orderOf(order);
  }
  if (result.refused.status === 404) return null;
  throw result.refused.fault;
}

async function changedSince(
  options: OrdersOptions,
  since: number,
  cursor: string | null,
  call: CallOptions,
): Promise<OrderPage> {
  const earlier = cursor === null ? null : readCursor(cursor);
  const oldest = options.clock.now() - HISTORY_MS;
  const result = await options.client.searchOrders(Math.max(since, oldest, 0), earlier?.token ?? null, call);
  if (result.kind === 'refused') throw result.refused.fault;
  const { value: page, vendorAt: answeredAt } = result.answer;
  const vendorAt = Math.min(
    earlier?.vendorAt ?? Number.POSITIVE_INFINITY,
    goodFor(page.lastUpdatedBefore, answeredAt, options.lagMs),
  );
  const token = page.pagination?.nextToken;
  const orders = page.orders.filter((order) => !isOwnSaleElsewhere(order)).map(orderOf);
  return {
    orders: orders.sort((a, b) => a.updatedAt - b.updatedAt),
    cursor: token === undefined || token === '' ? null : writeCursor({ token, vendorAt }),
    vendorAt,
    total: null,
  };
}

/** A token stands with the search it belongs to, so its bounds are sent again. `to` must lie two minutes back: documented [§6.1]. */
async function placedBetween(
  { client }: OrdersOptions,
  from: number,
  to: number,
  cursor: string | null,
  call: CallOptions,
): Promise<{ externalIds: string[]; cursor: string | null }> {
  const result = await client.searchPlaced(from, to, cursor, call);
  if (result.kind === 'refused') throw result.refused.fault;
  const { orders, pagination } = result.answer.value;
  return {
    externalIds: orders.filter((order) => !isOwnSaleElsewhere(order)).map(({ orderId }) => orderId),
    cursor: pagination?.nextToken || null,
  };
}

/**
 * The page says itself up to when it is complete (`lastUpdatedBefore`, about two minutes back); callers subtract the lag
 * from what we return, so it is added here. Never later than the answer.
 */
function goodFor(lastUpdatedBefore: number | undefined, answeredAt: number, lagMs: number): number {
  return lastUpdatedBefore === undefined ? answeredAt : Math.min(answeredAt, lastUpdatedBefore + lagMs);
}

function writeCursor(cursor: z.infer<typeof cursorShape>): string {
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

function readCursor(text: string): z.infer<typeof cursorShape> {
  const parsed = cursorShape.safeParse(jsonOrNull(Buffer.from(text, 'base64url').toString('utf8')));
  if (parsed.success) return parsed.data;
  throw new ConnectorError('connector.rejected', 'This is no cursor of an Amazon order search', {
    operation: 'searchOrders',
  });
}
