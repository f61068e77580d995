/**
 * Operation: what is written, and when not. Pausing a connection or a listing, one listing now, shadow mode, one stop for
 * all pushes. Stopping is easy and keeps everything: orders are taken in, what changed is sent once on resume.
 */
import { z } from 'zod';
import { previewPushes } from '#server/flows/preview.ts';
import {
  type Acting,
  pauseConnection,
  pauseListing,
  readPushes,
  resumeConnection,
  resumeListing,
  resumePushes,
  stopPushes,
} from '#store/listings/halts.ts';
import { readShadow, setShadow } from '#store/listings/shadow.ts';
import { askListingSync } from '#store/listings/system.ts';
import type { Tx } from '#store/tx.ts';
import { readConnections } from '#store/views/connections.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import { encodeCursor, nameCursor, page, text } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(100) });
const because = z.object({ reason: text(500).optional() }).nullish();
const pauseBody = z
  .object({
    reason: text(500).optional(),
    /** RFC 3339; it resumes by itself then. */
    until: z.iso.datetime({ offset: true }).optional(),
  })
  .nullish();

export async function operationRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const acting = (actor: string): Acting => ({ actor, now: deps.clock.now(), ids: deps.ids });

  /** Does it to a thing of the caller's organization, or 404; channels are told after the commit. */
  async function act(orgId: string, what: string, id: string, work: (tx: Tx) => Promise<boolean>): Promise<void> {
    const done = z.uuid().safeParse(id).success && (await deps.store.tenant(orgId, work));
    if (!done) throw notFound(`${what} ${id}`);
    deps.wake();
  }

  function pauseOf(body: z.infer<typeof pauseBody>): { reason: string | null; until: number | null } {
    const until = body?.until === undefined ? null : Date.parse(body.until);
    if (until !== null && until <= deps.clock.now()) throw badField('until', 'lies in the past');
    return { reason: body?.reason ?? null, until };
  }

  const connection = async (orgId: string, id: string) => {
    const [found] = await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, id));
    if (!found) throw notFound(`connection ${id}`);
    return found;
  };

  // ── connections ──

  app.post(
    '/api/connections/:id/pause',
    {
      schema: {
        summary: 'Stop writing to it, for good or until a time; changes are kept and sent once on resume',
        params: byId,
        body: pauseBody,
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      const pause = pauseOf(request.body);
      await act(orgId, 'connection', id, (tx) => pauseConnection(tx, orgId, id, pause, acting(actor)));
      return connection(orgId, id);
    },
  );
  app.post(
    '/api/connections/:id/resume',
    { schema: { summary: 'Write to it again', params: byId } },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      await act(orgId, 'connection', id, (tx) => resumeConnection(tx, orgId, id, acting(actor)));
      return connection(orgId, id);
    },
  );

  app.get(
    '/api/connections/:id/shadow',
    {
      schema: {
        summary: 'Shadow mode: what would be sent, number by number, with totals',
        params: byId,
        querystring: page.extend({ all: z.stringbool().default(false) }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, all } = request.query;
      if (!z.uuid().safeParse(request.params.id).success) throw notFound(`connection ${request.params.id}`);
      const { id } = await connection(orgId, request.params.id);
      const after = nameCursor('shadow', cursor);
      if (after !== null && !z.uuid().safeParse(after).success) throw badField('cursor', 'is not one of ours');
      const { next, ...report } = await deps.store.readOnly(orgId, (tx) =>
        readShadow(tx, orgId, id, { limit, after, differencesOnly: !all }),
      );
      return { ...report, nextCursor: encodeCursor('shadow', next === null ? null : [next]) };
    },
  );
  app.post(
    '/api/connections/:id/shadow',
    {
      schema: {
        summary: 'Switch shadow mode: everything is computed and recorded, nothing is sent',
        params: byId,
        body: z.object({ on: z.boolean() }),
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      await act(orgId, 'connection', id, (tx) => setShadow(tx, orgId, id, request.body.on, acting(actor)));
      return connection(orgId, id);
    },
  );

  // ── listings ──

  app.post(
    '/api/listings/:id/pause',
    { schema: { summary: 'Stop writing this listing, for good or until a time', params: byId, body: pauseBody } },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      const pause = pauseOf(request.body);
      await act(orgId, 'listing', id, (tx) => pauseListing(tx, orgId, id, pause, acting(actor)));
      return { ok: true, id, paused: true };
    },
  );
  app.post(
    '/api/listings/:id/resume',
    { schema: { summary: 'Write this listing again', params: byId } },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      await act(orgId, 'listing', id, (tx) => resumeListing(tx, orgId, id, acting(actor)));
      return { ok: true, id, paused: false };
    },
  );
  app.post(
    '/api/listings/:id/sync',
    { schema: { summary: 'Now: read what the channel shows of it, compare, publish', params: byId } },
    async (request, reply) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      const asked = z.uuid().safeParse(id).success
        ? await deps.store.tenant(orgId, (tx) => askListingSync(tx, orgId, id, deps.clock.now()))
        : null;
      if (!asked) throw notFound(`listing ${id}`);
      if (asked.paused)
        throw new Problem(409, 'domain.paused', 'Its publishing is paused or stopped: resume it, then it is compared.');
      deps.wake();
      return reply.code(202).send({ ok: true, id, connectionId: asked.connectionId, targets: asked.targets });
    },
  );

  // ── all pushes ──

  const pushes = async (orgId: string) => {
    const found = await deps.store.tenant(orgId, (tx) => readPushes(tx, orgId));
    const connections = [];
    for (const one of found.connections)
      connections.push({ ...one, preview: await previewPushes(deps.store, orgId, one.id, deps.clock.now()) });
    return { ...found, connections };
  };
  app.get(
    '/api/pushes',
    { schema: { summary: 'Are pushes stopped, by whom; what is on the wire; what would be sent per connection' } },
    async (request) => pushes(callerOf(request).orgId),
  );
  app.post(
    '/api/pushes/stop',
    { schema: { summary: 'Stop all pushes of the organization before the next call leaves', body: because } },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      await deps.store.tenant(orgId, (tx) => stopPushes(tx, orgId, request.body?.reason ?? null, acting(actor)));
      deps.wake();
      return pushes(orgId);
    },
  );
  app.post(
    '/api/pushes/resume',
    { schema: { summary: 'Push again; what would be sent is in GET /api/pushes' } },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      await deps.store.tenant(orgId, (tx) => resumePushes(tx, orgId, acting(actor)));
      deps.wake();
      return pushes(orgId);
    },
  );
}
