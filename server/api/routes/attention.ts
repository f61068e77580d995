/** Alerts: what a person must know. */
import { z } from 'zod';
import { markAlertRead, readAlerts } from '#store/views/attention.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { encodeCursor, page, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

const severity = z.enum(['info', 'warning', 'critical']);
const byId = z.object({ id: text(100) });
const isUuid = (id: string) => z.uuid().safeParse(id).success;

export async function alertRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const list = async (
    orgId: string,
    filter: { unread: boolean; severity: string | null },
    query: z.infer<typeof page>,
  ) => {
    const after = timeCursor('alerts', query.cursor);
    const found = await deps.store.tenant(orgId, (tx) =>
      readAlerts(tx, orgId, { ...filter, limit: query.limit, search: query.search ?? null, after }),
    );
    return {
      count: found.count,
      unreadCount: found.unreadCount,
      items: found.items,
      // The predecessor's name for the same list.
      alerts: found.items,
      nextCursor: encodeCursor('alerts', found.next),
    };
  };

  app.get('/api/alerts', { schema: { summary: 'Alerts, newest first', querystring: page } }, async (request) =>
    list(callerOf(request).orgId, { unread: false, severity: null }, request.query),
  );
  app.get('/api/alerts/unread', { schema: { summary: 'Alerts nobody has read', querystring: page } }, async (request) =>
    list(callerOf(request).orgId, { unread: true, severity: null }, request.query),
  );
  app.get(
    '/api/alerts/severity/:level',
    { schema: { summary: 'Alerts of one severity', params: z.object({ level: severity }), querystring: page } },
    async (request) => list(callerOf(request).orgId, { unread: false, severity: request.params.level }, request.query),
  );
  app.post('/api/alerts/:id/read', { schema: { summary: 'Mark an alert as read', params: byId } }, async (request) => {
    const { orgId } = callerOf(request);
    const { id } = request.params;
    if (!isUuid(id) || !(await deps.store.tenant(orgId, (tx) => markAlertRead(tx, orgId, id, deps.clock.now()))))
      throw notFound(`alert ${id}`);
    return { ok: true, id };
  });
}
