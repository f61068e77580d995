/** Orders: read only here; they come in through webhooks, queues and sweeps. */
import { z } from 'zod';
import { readOrder, readOrders } from '#store/views/orders.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { encodeCursor, page, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

export async function orderRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/orders',
    {
      schema: {
        summary: 'Orders of every channel, newest first',
        querystring: page.extend({ connectionId: z.uuid().optional(), externalId: text(300).optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, connectionId, externalId, search } = request.query;
      const found = await deps.store.tenant(orgId, (tx) =>
        readOrders(tx, orgId, {
          connectionId: connectionId ?? null,
          externalId: externalId ?? null,
          search: search ?? null,
          limit,
          after: timeCursor('orders', cursor),
        }),
      );
      return { items: found.items, nextCursor: encodeCursor('orders', found.next) };
    },
  );

  app.get(
    '/api/orders/:id',
    { schema: { summary: 'One order with its lines, claims and timeline', params: z.object({ id: text(100) }) } },
    async (request) => {
      const { orgId } = callerOf(request);
      const id = z.uuid().safeParse(request.params.id);
      const order = id.success ? await deps.store.tenant(orgId, (tx) => readOrder(tx, orgId, id.data)) : null;
      if (order === null) throw notFound(`order ${request.params.id}`);
      return order;
    },
  );
}
