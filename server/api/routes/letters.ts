/** Dead letters: what failed for good and waits for a person. */
import { z } from 'zod';
import { type FailureClass, failurePolicies } from '#core/failure/retry.ts';
import { type LetterFilter, letterKinds } from '#store/views/letters.ts';
import {
  actOnFiltered,
  actOnLetters,
  editLetter,
  type LetterAct,
  listLetters,
  showLetter,
} from '../../flows/letters.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import { encodeCursor, page, text, timeTextCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(200) });
const classes = Object.keys(failurePolicies) as [FailureClass, ...FailureClass[]];
const days = z.coerce.number().int('must be a whole number').min(0, 'must not be negative').max(3_650);
const filter = {
  class: z.enum(classes).optional(),
  kind: z.enum(letterKinds).optional(),
  connectionId: z.uuid().optional(),
  search: text(200).optional(),
  /** Only those that are there for longer. */
  olderThanDays: days.optional(),
};
const filterBody = z.strictObject(filter);
const many = z.strictObject({
  ids: z.array(text(200).min(1)).min(1, 'must name at least one').max(500, 'at most 500 at once').optional(),
  /** Instead of ids; `{}` means all. */
  filter: filterBody.optional(),
});

export async function letterRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const filterOf = (given: z.infer<typeof filterBody>): LetterFilter => ({
    class: given.class ?? null,
    kind: given.kind ?? null,
    connectionId: given.connectionId ?? null,
    search: given.search ?? null,
    before: given.olderThanDays === undefined ? null : deps.clock.now() - given.olderThanDays * 86_400_000,
  });

  app.get(
    '/api/dead-letters',
    {
      schema: {
        summary: 'What failed for good and waits for a person: events, due work, runs, refused numbers; newest first',
        querystring: page.extend(filter),
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const after = timeTextCursor('dead-letters', cursor);
      const { items, next } = await listLetters(deps, callerOf(request).orgId, {
        ...filterOf(request.query),
        limit,
        after,
      });
      return { items, nextCursor: encodeCursor('dead-letters', next) };
    },
  );
  app.get(
    '/api/dead-letters/:id',
    { schema: { summary: 'One dead letter with its whole payload', params: byId } },
    async (request) => {
      const letter = await showLetter(deps, callerOf(request).orgId, request.params.id);
      if (!letter) throw notFound(`dead letter ${request.params.id}`);
      return letter;
    },
  );
  app.patch(
    '/api/dead-letters/:id',
    {
      schema: {
        summary:
          'Edit the payload of an event: parsed before it is accepted, the original is kept; retry it afterwards',
        params: byId,
        body: z.strictObject({
          payload: z
            .string()
            .min(1)
            .max(1_000_000)
            .refine((value) => value.isWellFormed(), 'must not contain broken Unicode'),
        }),
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      const { id } = request.params;
      const desk = { ...deps, connectorOf: (platform: string) => deps.registry.connector(platform) };
      const edited = await editLetter(desk, orgId, actor, id, request.body.payload);
      if (edited.kind === 'unknown') throw notFound(`dead letter ${id}`);
      if (edited.kind === 'unreadable') throw badField('payload', `cannot be read as the channel's own: ${edited.why}`);
      if (edited.kind === 'other_order') throw badField('payload', edited.why);
      if (edited.kind === 'not_editable') throw new Problem(409, 'domain.not_editable', edited.why);
      return { ok: true, id };
    },
  );

  const one = async (act: LetterAct, request: { params: { id: string } }, caller: { orgId: string; actor: string }) => {
    const { id } = request.params;
    if ((await actOnLetters(deps, caller.orgId, caller.actor, act, [id])) !== null) throw notFound(`dead letter ${id}`);
    if (act === 'retry') woken();
    return { ok: true, id };
  };
  const several = async (
    act: LetterAct,
    body: z.infer<typeof many>,
    { orgId, actor }: { orgId: string; actor: string },
  ) => {
    if ((body.ids === undefined) === (body.filter === undefined)) throw badField('ids', 'give either ids or a filter');
    if (body.ids) {
      const missing = await actOnLetters(deps, orgId, actor, act, body.ids);
      if (missing !== null) throw notFound(`dead letter ${missing}; nothing was changed`);
    }
    const count = body.ids
      ? new Set(body.ids).size
      : await actOnFiltered(deps, orgId, actor, act, filterOf(body.filter ?? {}));
    if (act === 'retry') woken();
    return { ok: true, count };
  };
  const woken = () => {
    deps.wake();
    deps.runs.wake();
  };

  app.post(
    '/api/dead-letters/:id/retry',
    { schema: { summary: 'Try again now', params: byId } },
    async (request, reply) => reply.code(202).send(await one('retry', request, callerOf(request))),
  );
  app.post(
    '/api/dead-letters/:id/discard',
    { schema: { summary: 'Give up on it: it stays stored and is never applied', params: byId } },
    async (request) => one('discard', request, callerOf(request)),
  );
  app.post(
    '/api/dead-letters/retry',
    { schema: { summary: 'Try many again now: these ids, all or nothing, or what fits a filter', body: many } },
    async (request, reply) => reply.code(202).send(await several('retry', request.body, callerOf(request))),
  );
  app.post(
    '/api/dead-letters/discard',
    { schema: { summary: 'Give up on many: these ids, all or nothing, or what fits a filter', body: many } },
    async (request) => several('discard', request.body, callerOf(request)),
  );
  app.post(
    '/api/dead-letters/purge',
    {
      schema: {
        summary: 'Throw away what has waited longer than so many days, with its payload',
        body: filterBody.extend({
          olderThanDays: z.number().int('must be a whole number').min(1, 'must be at least 1').max(3_650),
        }),
      },
    },
    async (request) => {
      const { orgId, actor } = callerOf(request);
      return { ok: true, count: await actOnFiltered(deps, orgId, actor, 'purge', filterOf(request.body)) };
    },
  );
}
