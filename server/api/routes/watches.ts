/** What a connection is watched for: its subscriptions, and its daily orders as proof of the sweeps. */
import { z } from 'zod';
import { askWatch, readWatch, type WatchKind } from '#store/connections/watches.ts';
import { beginStockSweep, readStockSweeps } from '#store/listings/sweeps.ts';
import { readDayCounts } from '#store/orders/counts.ts';
import { readConnections } from '#store/views/connections.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { text } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(100) });

export async function watchRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const known = async (orgId: string, id: string) => {
    const found =
      z.uuid().safeParse(id).success &&
      (await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, id))).length === 1;
    if (!found) throw notFound(`connection ${id}`);
  };
  const ask = async (orgId: string, id: string, kind: WatchKind) => {
    await known(orgId, id);
    await deps.store.tenant(orgId, (tx) => askWatch(tx, orgId, id, kind, deps.clock.now()));
    return { ok: true, connectionId: id };
  };

  app.get(
    '/api/connections/:id/subscriptions',
    {
      schema: {
        summary: 'Whether the channel sends us its events: what was found and repaired, and silence',
        params: byId,
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      await known(orgId, id);
      const watch = await deps.store.tenant(orgId, (tx) => readWatch(tx, orgId, id, 'subscriptions'));
      return {
        lookedAt: null,
        nextAt: null,
        error: null,
        ...watch,
        ...(watch?.result ?? { state: 'unknown' }),
        result: undefined,
      };
    },
  );
  app.post(
    '/api/connections/:id/subscriptions',
    { schema: { summary: 'Look at the subscriptions now and repair them', params: byId } },
    async (request, reply) =>
      reply.code(202).send(await ask(callerOf(request).orgId, request.params.id, 'subscriptions')),
  );

  app.get(
    '/api/connections/:id/order-counts',
    {
      schema: {
        summary:
          'Orders per UTC day: what the channel says, what we hold, which were missing and fetched; newest day first',
        params: byId,
        querystring: z.object({ limit: z.coerce.number().int().min(1).max(400).default(30) }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      await known(orgId, id);
      const [items, watch] = await deps.store.tenant(orgId, async (tx) => [
        await readDayCounts(tx, orgId, id, request.query.limit),
        await readWatch(tx, orgId, id, 'order_counts'),
      ]);
      return {
        items,
        nextCursor: null,
        countedAt: watch?.lookedAt ?? null,
        nextAt: watch?.nextAt ?? null,
        error: watch?.error ?? null,
      };
    },
  );
  app.get(
    '/api/connections/:id/stock-sweeps',
    {
      schema: {
        summary: 'Readings of all its numbers: how many, as expected, lower, higher, missing, how long; newest first',
        params: byId,
        querystring: z.object({ limit: z.coerce.number().int().min(1).max(400).default(30) }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      await known(orgId, id);
      const items = await deps.store.tenant(orgId, (tx) => readStockSweeps(tx, orgId, id, request.query.limit));
      return { items, nextCursor: null };
    },
  );
  app.post(
    '/api/connections/:id/stock-sweeps',
    { schema: { summary: 'Read all its numbers now', params: byId } },
    async (request, reply) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      await known(orgId, id);
      const sweep = { id: deps.ids.uuid(), askedBy: actor, now: deps.clock.now() };
      const targets = await deps.store.tenant(orgId, (tx) => beginStockSweep(tx, orgId, id, sweep));
      deps.wake();
      return reply.code(202).send({ id: sweep.id, connectionId: id, targets });
    },
  );
  app.post(
    '/api/connections/:id/order-counts',
    { schema: { summary: 'Count the orders of the last days now', params: byId } },
    async (request, reply) =>
      reply.code(202).send(await ask(callerOf(request).orgId, request.params.id, 'order_counts')),
  );
}
