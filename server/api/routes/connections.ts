/** Connections: what is linked and how it does. Pausing and stopping are in operation.ts. */
import { z } from 'zod';
import { readLimits } from '#store/connections/limits.ts';
import { readConnections } from '#store/views/connections.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { page, pageOf, sku, text, units } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(100) });

export async function connectionRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const one = async (orgId: string, id: string) => {
    const found = z.uuid().safeParse(id).success
      ? (await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, id)))[0]
      : undefined;
    if (!found) throw notFound(`connection ${id}`);
    return found;
  };

  app.get(
    '/api/connections',
    { schema: { summary: 'Linked channels with their state and backlog', querystring: page } },
    async (request) => {
      const { orgId } = callerOf(request);
      const connections = await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, null));
      return pageOf(
        'connections',
        connections,
        request.query,
        ({ id }) => id,
        ({ name, platform }) => `${name}\n${platform}`,
      );
    },
  );
  app.get(
    '/api/connections/:id',
    {
      schema: {
        summary:
          'One connection, with what is used of the channel’s limits (budget) and whether it is called (breaker)',
        params: byId,
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const connection = await one(orgId, request.params.id);
      return {
        ...connection,
        ...(await deps.store.tenant(orgId, (tx) => readLimits(tx, orgId, connection.id))),
      };
    },
  );

  app.post(
    '/api/connections/:id/sync',
    { schema: { summary: 'Now: orders since the last mark, then all stock read, then publish', params: byId } },
    async (request, reply) => {
      const { orgId } = callerOf(request);
      const connection = await one(orgId, request.params.id);
      deps.syncNow(orgId, connection.id);
      return reply.code(202).send({ ok: true, connectionId: connection.id });
    },
  );

  app.post(
    '/api/connections/:id/purchases',
    {
      schema: {
        summary: 'A simulated buyer buys at a simulated connection (409 on a live one)',
        params: byId,
        body: z.object({
          lines: z
            .array(z.object({ sku, quantity: units.max(1_000) }))
            .min(1)
            .max(20),
        }),
      },
    },
    async (request, reply) => {
      const connection = await one(callerOf(request).orgId, request.params.id);
      if (connection.kind !== 'simulated' || connection.baseUrl === null)
        throw new Problem(
          409,
          'domain.not_simulated',
          `${connection.name} is a live connection: real buyers buy there.`,
        );
      const bought = await deps.buyAt(connection.baseUrl, request.body.lines);
      if (bought.status >= 400) throw new Problem(409, 'domain.refused_by_channel', bought.error);
      return reply.code(201).send({ order: bought.id });
    },
  );
}
