/** Runs: long work that is going on, what became of it, stopping it and taking it back. */
import { z } from 'zod';
import { cancelRun, createUndo } from '#store/runs/runs.ts';
import { readRun, readRunItems, readRuns } from '#store/views/runs.ts';
import { undoKindOf } from '../../flows/runs.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import { encodeCursor, nameCursor, page, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

export const runView = z.object({
  id: z.string(),
  kind: z.string(),
  title: z.string(),
  connectionId: z.string().nullable(),
  dryRun: z.boolean(),
  state: z
    .enum(['receiving', 'waiting', 'running', 'stuck', 'done', 'failed', 'cancelled', 'undone'])
    .describe('stuck: its worker does not answer any more; the next one goes on with it'),
  total: z.number().int().nullable(),
  done: z.number().int().describe('succeeded + failed + unchanged'),
  succeeded: z.number().int(),
  failed: z.number().int(),
  unchanged: z.number().int(),
  errorCode: z.string().nullable().describe('Why it failed as a whole: a code of docs/errors.md'),
  message: z.string().nullable(),
  actor: z.string(),
  taken: z.number().int().describe('How often it was taken up'),
  cancelRequested: z.boolean(),
  inverseOf: z.string().nullable(),
  undoneBy: z.string().nullable(),
  errorFile: z.string().nullable(),
  params: z.record(z.string(), z.unknown()),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
});
const itemView = z.object({
  item: z.number().int().describe('The row of its file; the header is 1'),
  outcome: z.enum(['done', 'failed']),
  subject: z.string(),
  field: z.string().nullable(),
  value: z.string().nullable(),
  reason: z.string().nullable(),
});
const byId = z.object({ id: text(100) });

export async function runRoutes(app: Api, deps: ApiDeps): Promise<void> {
  const one = async (orgId: string, id: string) => {
    const found = z.uuid().safeParse(id).success
      ? await deps.store.tenant(orgId, (tx) => readRun(tx, orgId, id, deps.clock.now()))
      : null;
    if (found === null) throw notFound(`run ${id}`);
    return found;
  };

  app.get(
    '/api/runs',
    {
      schema: {
        summary: 'Runs, newest first',
        querystring: page.extend({ open: z.enum(['true', 'false']).optional().describe('true: only those not ended') }),
        response: { 200: z.object({ items: z.array(runView), nextCursor: z.string().nullable() }) },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, search, cursor, open } = request.query;
      const after = timeCursor('runs', cursor);
      const found = await deps.store.tenant(orgId, (tx) =>
        readRuns(tx, orgId, deps.clock.now(), { limit, after, search: search ?? null, open: open === 'true' }),
      );
      return { items: found.items, nextCursor: encodeCursor('runs', found.next) };
    },
  );

  app.get(
    '/api/runs/:id',
    { schema: { summary: 'One run', params: byId, response: { 200: runView } } },
    async (request) => one(callerOf(request).orgId, request.params.id),
  );

  app.get(
    '/api/runs/:id/items',
    {
      schema: {
        summary: 'What became of its items: those that failed or changed something',
        params: byId,
        querystring: page.omit({ search: true }).extend({ outcome: z.enum(['done', 'failed']).optional() }),
        response: { 200: z.object({ items: z.array(itemView), nextCursor: z.string().nullable() }) },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const run = await one(orgId, request.params.id);
      const { limit, cursor, outcome } = request.query;
      const mark = nameCursor('run-items', cursor);
      const after = mark === null ? null : Number(mark);
      if (after !== null && !Number.isSafeInteger(after)) throw badField('cursor', 'is not one of ours');
      const found = await deps.store.tenant(orgId, (tx) =>
        readRunItems(tx, orgId, run.id, { limit, after, outcome: outcome ?? null }),
      );
      return {
        items: found.items,
        nextCursor: encodeCursor('run-items', found.next === null ? null : [String(found.next)]),
      };
    },
  );

  app.post(
    '/api/runs/:id/cancel',
    {
      schema: {
        summary: 'Stop it at its next step; what is done stays done',
        params: byId,
        response: { 200: runView },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const run = await one(orgId, request.params.id);
      const open = await deps.store.tenant(orgId, (tx) => cancelRun(tx, orgId, run.id, deps.clock.now()));
      if (!open) throw new Problem(409, 'domain.nothing_to_do', `The run has ended already: ${run.state}.`);
      return one(orgId, run.id);
    },
  );

  app.post(
    '/api/runs/:id/undo',
    {
      schema: {
        summary: 'Take back what it changed, as a run of its own; what cannot be taken back is named there',
        params: byId,
        response: { 202: runView },
      },
    },
    async (request, reply) => {
      const { orgId, actor } = callerOf(request);
      const run = await one(orgId, request.params.id);
      const kind = undoKindOf(run);
      if (kind.kind === 'refused') throw new Problem(409, 'domain.nothing_to_do', kind.reason);
      const undo = { id: deps.ids.uuid(), kind: kind.undo, actor, now: deps.clock.now() };
      const made = await deps.store.tenant(orgId, (tx) => createUndo(tx, orgId, undo, run));
      deps.runs.wake();
      return reply.code(202).send(await one(orgId, made));
    },
  );
}
