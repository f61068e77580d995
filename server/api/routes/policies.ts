/** Buffers and mapping: policy, never goods. A change re-publishes every listing it touches. */
import { z } from 'zod';
import { mapAsin, readAsin } from '#store/catalog/mapping.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { readItem } from '#store/views/inventory.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { sku } from './schemas.ts';
import { callerOf } from './stock.ts';

const bufferAnswer = z.object({
  sku: z.string(),
  physical: z.number().int(),
  buffer: z.number().int(),
  broadcast: z.number().int(),
  lastBroadcast: z.object({ count: z.number().int(), txId: z.string(), timestamp: z.string() }).nullable(),
});
const bufferUnits = z
  .number()
  .int('must be a whole number')
  .min(0, 'must not be negative')
  .max(1_000_000, 'must be at most 1,000,000');

export async function policyRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const answer = async (orgId: string, wanted: string) => {
    const item = await deps.store.tenant(orgId, (tx) => readItem(tx, orgId, wanted));
    if (item === null) throw notFound(`SKU ${wanted}`);
    return {
      sku: item.sku,
      physical: item.physical,
      buffer: item.buffer,
      broadcast: item.broadcast,
      lastBroadcast: item.lastBroadcast,
    };
  };

  app.get(
    '/api/buffer/:sku',
    { schema: { summary: 'Units kept back of a SKU', params: z.object({ sku }), response: { 200: bufferAnswer } } },
    async (request) => answer(callerOf(request).orgId, request.params.sku),
  );

  app.post(
    '/api/buffer/:sku',
    {
      schema: {
        summary: 'Keep this many units back when publishing; channels follow',
        params: z.object({ sku }),
        body: z
          .object({ bufferQty: bufferUnits.optional(), buffer: bufferUnits.optional() })
          .refine((body) => (body.bufferQty ?? body.buffer) !== undefined, { message: 'is missing', path: ['buffer'] })
          .refine(
            (body) => body.bufferQty === undefined || body.buffer === undefined || body.bufferQty === body.buffer,
            { message: 'differs from bufferQty', path: ['buffer'] },
          ),
        response: { 200: bufferAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const buffer = request.body.bufferQty ?? request.body.buffer ?? 0;
      const found = await deps.store.tenant(caller.orgId, (tx) =>
        setPolicy(
          tx,
          caller.orgId,
          { variantSku: request.params.sku },
          { buffer },
          { actor: caller.actor, now: deps.clock.now(), id: deps.ids.uuid() },
        ),
      );
      if (!found) throw notFound(`SKU ${request.params.sku}`);
      deps.wake();
      return answer(caller.orgId, request.params.sku);
    },
  );

  const mappingAnswer = z.object({ sku: z.string(), asin: z.string(), mappedAt: z.string() });

  app.get(
    '/api/mapping/:sku',
    { schema: { summary: 'The ASIN of a SKU', params: z.object({ sku }), response: { 200: mappingAnswer } } },
    async (request) => {
      const { orgId } = callerOf(request);
      const found = await deps.store.tenant(orgId, (tx) => readAsin(tx, orgId, request.params.sku));
      if (found === null) throw notFound(`mapping of SKU ${request.params.sku}`);
      return found;
    },
  );

  app.post(
    '/api/mapping',
    {
      schema: {
        summary: 'Offer a SKU under an ASIN on an Amazon connection',
        body: z.object({
          sku,
          asin: z
            .string()
            .trim()
            .toUpperCase()
            .regex(/^[A-Z0-9]{10}$/, 'must be 10 letters or digits'),
          connectionId: z.uuid().optional(),
        }),
        response: { 200: mappingAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const mapped = await deps.store.tenant(caller.orgId, (tx) =>
        mapAsin(
          tx,
          caller.orgId,
          { sku: body.sku, asin: body.asin, connectionId: body.connectionId ?? null },
          { now: deps.clock.now(), ids: deps.ids },
        ),
      );
      if (mapped.kind === 'unknown_sku') throw notFound(`SKU ${body.sku}`);
      if (mapped.kind === 'unknown_connection') throw notFound('Amazon connection of that id');
      if (mapped.kind === 'ambiguous')
        throw new Problem(
          422,
          'domain.ambiguous_connection',
          `${mapped.count} Amazon connections: name one with connectionId.`,
          [{ field: 'connectionId', message: 'is needed' }],
        );
      if (mapped.kind === 'taken')
        throw new Problem(
          409,
          'domain.stock_key_taken',
          `That listing's number already belongs to ${mapped.bySku}. Unmap it there first.`,
        );
      deps.mapped(caller.orgId, mapped.connectionId);
      deps.wake();
      return { sku: body.sku, asin: body.asin, mappedAt: mapped.mappedAt };
    },
  );
}
