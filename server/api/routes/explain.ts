/** Every published number can be taken apart. */
import { z } from 'zod';
import { explain } from '../../flows/explain.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound } from '../problem.ts';
import { sku } from './schemas.ts';
import { callerOf } from './stock.ts';

export async function explainRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/inventory/:sku/explain',
    {
      schema: {
        summary:
          'How each listing’s number comes about, now or at a past time: ordered steps with running totals, and what the channel knows',
        params: z.object({ sku }),
        querystring: z.object({ listing: z.uuid().optional(), at: z.iso.datetime({ offset: true }).optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const now = deps.clock.now();
      const at = request.query.at === undefined ? null : Date.parse(request.query.at);
      if (at !== null && at > now) throw badField('at', 'must not be in the future');
      const targets = await deps.store.readOnly(orgId, (tx) =>
        explain(tx, orgId, request.params.sku, request.query.listing ?? null, now, at),
      );
      if (targets === null) throw notFound(`listing of SKU ${request.params.sku}`);
      return { sku: request.params.sku, at: new Date(at ?? now).toISOString(), targets };
    },
  );
}
