/** Orders: read only here; they come in through webhooks, queues and sweeps. */
import { z } from 'zod';
import { readOrder, readOrders } from '#store/views/orders.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound } from '../problem.ts';
import { decodeCursor, encodeCursor, page } from './schemas.ts';
import { callerOf } from './stock.ts';

const timeAndId = z.tuple([z.iso.datetime(), z.uuid()]);

/** A cursor of [time, id], null when none was sent; one that is not ours is a 400. */
export function timeCursor(cursor: string | undefined): [string, string] | null {
  const value = decodeCursor(cursor);
  if (value === null) return null;
  const parsed = timeAndId.safeParse(value);
  if (!parsed.success) throw badField('cursor', 'is not one of ours');
  return parsed.data;
}

export async function orderRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/orders',
    {
      schema: {
        summary: 'Orders of every channel, newest first',
        querystring: page.extend({ connectionId: z.uuid().optional(), externalId: z.string().max(300).optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, connectionId, externalId, search } = request.query;
      const found = await deps.store.tenant(orgId, (tx) =>
        readOrders(tx, orgId, { connectionId: connectionId ?? null, externalId: externalId ?? null, search: search ?? null, limit, after: timeCursor(cursor) }),
      );
      return { items: found.items, nextCursor: found.next === null ? null : encodeCursor(found.next) };
    },
  );

  app.get('/api/orders/:id', { schema: { summary: 'One order with its lines, claims and timeline', params: z.object({ id: z.string().max(100) }) } }, async (request) => {
    const { orgId } = callerOf(request);
    const id = z.uuid().safeParse(request.params.id);
    const order = id.success ? await deps.store.tenant(orgId, (tx) => readOrder(tx, orgId, id.data)) : null;
    if (order === null) throw notFound(`order ${request.params.id}`);
    return order;
  });
}
