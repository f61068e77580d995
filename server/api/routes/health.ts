/** Alive, ready, metrics: no credentials, nothing a stranger may not see. And health with reasons, for callers. */
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { problemBody } from '../problem.ts';
import { callerOf } from './stock.ts';

export async function healthRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/health',
    { schema: { summary: 'Alive: the process answers; no dependency is asked', security: [] } },
    async () => ({ ok: true, version: deps.version }),
  );

  app.get(
    '/ready',
    { schema: { summary: 'Serving: database reachable, start finished', security: [] } },
    async (_request, reply) => {
      if (deps.isReady() && (await deps.databaseAnswers())) return { ready: true };
      return reply
        .code(503)
        .type('application/problem+json')
        .serializer(JSON.stringify)
        .send(
          problemBody(503, 'api.not_ready', deps.isReady() ? 'The database cannot be reached.' : 'Still starting.'),
        );
    },
  );

  app.get(
    '/api/health',
    {
      schema: {
        summary:
          'Health with reasons: database, pool, disk, clock, inbox, and per connection access, lane, sweeps, breaker; each ok, degraded or down',
      },
    },
    async (request) => deps.health.check(callerOf(request).orgId),
  );

  app.get('/metrics', { schema: { summary: 'Prometheus metrics', security: [] } }, async (_request, reply) => {
    reply.type(deps.metrics.registry.contentType);
    return deps.metrics.registry.metrics();
  });
}
