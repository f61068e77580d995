/**
 * Imports of a connected channel's catalogue: each is a run (kind catalog-import; cancel and undo are the run's), and beside
 * it what only such an import has: its report and what became of every item (store/catalog/channel-import-runs.ts).
 */
import { z } from 'zod';
import { CodedError } from '#core/errors.ts';
import { activeReason, requestCatalogImport } from '#server/flows/import-catalog.ts';
import { listCatalogImports, listImportItems, openImportOf } from '#store/catalog/channel-import-runs.ts';
import { readConnections } from '#store/views/connections.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import { encodeCursor, nameCursor, page, text } from './schemas.ts';
import { callerOf } from './stock.ts';

const ofConnection = z.object({ id: text(100) });
const ofImport = z.object({ id: text(100), importId: text(100) });
const startBody = z
  .object({
    mode: z.enum(['full', 'incremental']).default('full'),
    createProducts: z.boolean().default(false),
    dryRun: z.boolean().default(false),
    /** createProducts on a connection that is written to: new products have no stock, so it would show 0 for them. */
    zeroIsRight: z.boolean().default(false),
    /** An import of this connection whose stored answers are used instead of the channel's. */
    replay: z.uuid().nullish(),
  })
  .prefault({});
const outcomes = z.enum(['mapped', 'already_mapped', 'unmapped', 'refused']);

export async function catalogImportRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const isId = (id: string) => z.uuid().safeParse(id).success;
  const wholeConnection = async (orgId: string, id: string) => {
    const found = isId(id) ? (await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, id)))[0] : undefined;
    if (!found) throw notFound(`connection ${id}`);
    return found;
  };
  const connectionOf = async (orgId: string, id: string): Promise<string> => (await wholeConnection(orgId, id)).id;
  const view = async (orgId: string, connectionId: string, id: string) => {
    const wanted = { connectionId, id, after: null, limit: 1 };
    const [found] = isId(id) ? await deps.store.tenant(orgId, (tx) => listCatalogImports(tx, orgId, wanted)) : [];
    if (!found) throw notFound(`import ${id}`);
    return found;
  };
  const refused = (error: unknown): never => {
    if (error instanceof CodedError && error.code.startsWith('domain.'))
      throw new Problem(409, error.code, error.message);
    throw error;
  };

  app.post(
    '/api/connections/:id/import',
    {
      schema: {
        summary: "Import the channel's catalogue: listings, mapping by exact SKU, products if wanted; a run of its own",
        params: ofConnection,
        body: startBody,
      },
    },
    async (request, reply) => {
      const { orgId, actor } = callerOf(request);
      const { id: connectionId, paused, name } = await wholeConnection(orgId, request.params.id);
      const { createProducts, dryRun, zeroIsRight } = request.body;
      if (createProducts && !dryRun && !paused && !zeroIsRight)
        throw new Problem(409, 'domain.connection_active', activeReason(name));
      const running = await deps.store.tenant(orgId, (tx) => openImportOf(tx, orgId, connectionId));
      if (running !== null)
        throw new Problem(409, 'domain.import_running', `Import ${running} of this connection is not finished.`);
      const { mode, replay } = request.body;
      const asked = { mode, createProducts, dryRun, replayOf: replay ?? null };
      const id = await requestCatalogImport(deps, { orgId, connectionId }, name, actor, asked).catch(refused);
      deps.runs.wake();
      return reply.code(202).send(await view(orgId, connectionId, id));
    },
  );

  app.get(
    '/api/connections/:id/imports',
    {
      schema: { summary: "Imports of the channel's catalogue, newest first", params: ofConnection, querystring: page },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor } = request.query;
      const connectionId = await connectionOf(orgId, request.params.id);
      const after = idCursor('imports', cursor);
      const wanted = { connectionId, id: null, after, limit: limit + 1 };
      const found = await deps.store.tenant(orgId, (tx) => listCatalogImports(tx, orgId, wanted));
      return pageOfIds('imports', found, limit);
    },
  );

  app.get(
    '/api/connections/:id/imports/:importId',
    { schema: { summary: 'One import: state, progress, report, what undoing it did', params: ofImport } },
    async (request) => {
      const { orgId } = callerOf(request);
      return view(orgId, await connectionOf(orgId, request.params.id), request.params.importId);
    },
  );

  app.get(
    '/api/connections/:id/imports/:importId/items',
    {
      schema: {
        summary: 'What became of each item of the channel, in the order in which they came',
        params: ofImport,
        querystring: page.extend({ outcome: outcomes.optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, outcome = null } = request.query;
      const { id } = await view(orgId, await connectionOf(orgId, request.params.id), request.params.importId);
      const wanted = { outcome, after: idCursor('import-items', cursor), limit: limit + 1 };
      const found = await deps.store.tenant(orgId, (tx) => listImportItems(tx, orgId, id, wanted));
      return pageOfIds('import-items', found, limit);
    },
  );
}

function idCursor(list: string, cursor: string | undefined): string | null {
  const after = nameCursor(list, cursor);
  if (after !== null && !z.uuid().safeParse(after).success) throw badField('cursor', 'is not one of ours');
  return after;
}

/** Of one more than wanted: the page, and where to go on. */
function pageOfIds<T extends { id: string }>(list: string, found: readonly T[], limit: number) {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: found.length > limit && last ? encodeCursor(list, [last.id]) : null };
}
