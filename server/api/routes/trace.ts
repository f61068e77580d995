/** Looking back: the path of one order or event, and every call that left the house. */
import { z } from 'zod';
import { readCalls } from '#store/views/calls.ts';
import { readTrace } from '#store/views/trace.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { encodeCursor, page, sku, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

const time = z.iso.datetime({ offset: true }).transform((value) => new Date(value));

export async function traceRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/trace',
    {
      schema: {
        summary:
          'The whole path of an order, an event or a SKU: events, claims, movements, attempts, calls, numbers seen',
        description:
          'Give one term: an order’s number, its id at the channel, its id here, a correlation id, or a SKU.',
        querystring: z.object({ q: text(300).min(1) }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const trace = await deps.store.readOnly(orgId, (tx) => readTrace(tx, orgId, request.query.q));
      if (trace === null) throw notFound(`order, event or SKU ${request.query.q}`);
      return trace;
    },
  );

  app.get(
    '/api/calls',
    {
      schema: {
        summary: 'Calls to vendors with request and answer, secrets removed, newest first; kept for 90 days',
        querystring: page.omit({ search: true }).extend({
          from: time.optional(),
          to: time.optional(),
          connectionId: z.uuid().optional(),
          operation: text(200).optional(),
          status: z.union([z.coerce.number().int().min(0).max(599), z.literal('failed')]).optional(),
          sku: sku.optional(),
          correlationId: z.uuid().optional(),
        }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, from, to, connectionId, operation, status, sku: wanted, correlationId } = request.query;
      const found = await deps.store.tenant(orgId, (tx) =>
        readCalls(tx, orgId, {
          from: from ?? null,
          to: to ?? null,
          connectionId: connectionId ?? null,
          operation: operation ?? null,
          status: status ?? null,
          sku: wanted ?? null,
          correlationId: correlationId ?? null,
          limit,
          after: timeCursor('calls', cursor),
        }),
      );
      return { items: found.items, nextCursor: encodeCursor('calls', found.next) };
    },
  );
}
