/** Freshness: how old a location's stock may be that somebody else keeps; past that its targets show 0 or are suspended. */
import { z } from 'zod';
import { noteReading, readFreshness, setFreshness } from '#store/catalog/freshness.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { locationCode } from './schemas.ts';
import { callerOf } from './stock.ts';

export async function freshnessRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const list = async (orgId: string) => ({
    items: await deps.store.tenant(orgId, (tx) => readFreshness(tx, orgId, deps.clock.now())),
    nextCursor: null,
  });

  app.get(
    '/api/freshness',
    { schema: { summary: 'Locations whose stock may grow too old, with their last reading' } },
    async (request) => list(callerOf(request).orgId),
  );
  app.post(
    '/api/freshness',
    {
      schema: {
        summary: "A location's limit; null: its number has no age",
        body: z.object({
          location: locationCode,
          limitMs: z.number().int().min(1_000).max(31_536_000_000).nullable(),
          action: z.enum(['zero', 'suspend']).default('zero'),
        }),
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { location, limitMs, action } = request.body;
      const by = { actor, now: deps.clock.now() };
      if (!(await deps.store.tenant(orgId, (tx) => setFreshness(tx, orgId, location, { limitMs, action }, by))))
        throw notFound(`location ${location}`);
      deps.wake();
      return list(orgId);
    },
  );
  app.post(
    '/api/freshness/readings',
    {
      schema: {
        summary: "A location's stock was read whole; default: now",
        body: z.object({ location: locationCode, at: z.iso.datetime({ offset: true }).optional() }),
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { location, at } = request.body;
      const now = deps.clock.now();
      const reading = { at: at === undefined ? now : Date.parse(at), by: actor, now };
      if (!(await deps.store.tenant(orgId, (tx) => noteReading(tx, orgId, location, reading))))
        throw notFound(`freshness limit of location ${location}`);
      deps.wake();
      return list(orgId);
    },
  );
}
