/** Drift: numbers at channels that no order explains, why, and what is done about them. */
import { z } from 'zod';
import { driftCauses, driftStates } from '#core/stock/drift.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { decideDrift } from '#store/drift/decide.ts';
import { hasSubject, readDriftPolicies } from '#store/drift/policy.ts';
import { readDrift, readDrifts } from '#store/drift/read.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { encodeCursor, page, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(100) });
const isUuid = (id: string) => z.uuid().safeParse(id).success;
const policyBody = z.object({
  scope: z.enum(['organization', 'connection', 'listing']),
  /** The connection's or listing's id; not with organization. */
  id: z.uuid().optional(),
  /** null: this policy says nothing; a wider one decides, at last heal. */
  drift: z.enum(['heal', 'ask', 'adopt']).nullable(),
});

export async function driftRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/drift',
    {
      schema: {
        summary: 'Numbers at channels that no order explains, newest first, with cause and what was done',
        querystring: page.extend({
          since: z.iso.datetime({ offset: true }).optional(),
          connectionId: z.uuid().optional(),
          cause: z.enum(driftCauses).optional(),
          state: z.enum([...driftStates, 'open']).optional(),
        }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, search, since, connectionId, cause, state, cursor } = request.query;
      const found = await deps.store.tenant(orgId, (tx) =>
        readDrifts(tx, orgId, {
          since: since === undefined ? null : new Date(since),
          connectionId: connectionId ?? null,
          cause: cause ?? null,
          state: state ?? null,
          search: search ?? null,
          limit,
          after: timeCursor('drift', cursor),
        }),
      );
      return { items: found.items, nextCursor: encodeCursor('drift', found.next) };
    },
  );

  app.get(
    '/api/drift/policy',
    { schema: { summary: 'What is done about drift: heal, ask or adopt' } },
    async (request) => {
      const { orgId } = callerOf(request);
      return { items: await deps.store.tenant(orgId, (tx) => readDriftPolicies(tx, orgId)), nextCursor: null };
    },
  );

  app.post(
    '/api/drift/policy',
    {
      schema: {
        summary: 'Heal, ask or adopt, by organization, connection or listing; the most specific wins',
        body: policyBody,
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { scope, drift } = request.body;
      const id = scope === 'organization' ? orgId : request.body.id;
      const known =
        id !== undefined &&
        (scope === 'organization' || (await deps.store.tenant(orgId, (tx) => hasSubject(tx, orgId, scope, id))));
      if (!known) throw notFound(`${scope} ${id ?? '(no id)'}`);
      await deps.store.tenant(orgId, (tx) =>
        setPolicy(tx, orgId, { scope, scopeId: id }, { drift }, { actor, now: deps.clock.now(), id: deps.ids.uuid() }),
      );
      deps.wake();
      return { scope, id, drift };
    },
  );

  const one = async (orgId: string, id: string) => {
    const found = isUuid(id) ? await deps.store.tenant(orgId, (tx) => readDrift(tx, orgId, id)) : null;
    if (!found) throw notFound(`drift ${id}`);
    return found;
  };
  app.get('/api/drift/:id', { schema: { summary: 'One drift with all its evidence', params: byId } }, async (request) =>
    one(callerOf(request).orgId, request.params.id),
  );

  for (const [verb, summary] of [
    ['heal', 'Write our number again'],
    [
      'adopt',
      "Book the channel's number as a fact (a plain SKU at one place and one channel; else it is asked again, with the reason)",
    ],
    ['dismiss', 'Leave it as it is until our number changes'],
  ] as const)
    app.post(`/api/drift/:id/${verb}`, { schema: { summary, params: byId } }, async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      const decided = isUuid(id)
        ? await deps.store.tenant(orgId, (tx) => decideDrift(tx, orgId, id, verb, { actor, now: deps.clock.now() }))
        : { kind: 'unknown' as const };
      if (decided.kind === 'unknown') throw notFound(`drift ${id}`);
      if (decided.kind === 'ended')
        throw new Problem(409, 'domain.drift_ended', `This drift is ${decided.state}: nothing is left to decide.`);
      deps.wake();
      return one(orgId, id);
    });
}
