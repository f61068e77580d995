/** Feeds: documents of many numbers that a channel works off by itself, each row with what it said; and what it would say to one. */
import { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import { readFeed, readFeedRows, readFeeds } from '#store/views/feeds.ts';
import { askChannel } from '../../flows/ask-channel.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import { encodeCursor, nameCursor, page, quantity, text, timeCursor } from './schemas.ts';
import { callerOf } from './stock.ts';

const byId = z.object({ id: text(100) });
/** The channel is given this long to answer a question. */
const askMs = 20_000;

export async function feedRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/feeds',
    {
      schema: {
        summary: 'Documents of many numbers sent to channels, newest first',
        querystring: page.extend({ connectionId: z.uuid().optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, search, connectionId, cursor } = request.query;
      const filter = { connectionId: connectionId ?? null, search: search ?? null, limit };
      const found = await deps.store.tenant(orgId, (tx) =>
        readFeeds(tx, orgId, { ...filter, after: timeCursor('feeds', cursor) }),
      );
      return { items: found.items, nextCursor: encodeCursor('feeds', found.next) };
    },
  );

  app.get(
    '/api/feeds/:id',
    {
      schema: {
        summary: 'One of them, with its rows in order: what was sent, what became of it, in the channel’s words',
        params: byId,
        querystring: page.omit({ search: true }).extend({
          outcome: z
            .enum([
              'accepted',
              'rejected',
              'unknown',
              'not_applied',
              'not_sent',
              'proven_applied',
              'proven_not_applied',
            ])
            .optional(),
        }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, outcome, cursor } = request.query;
      const after = nameCursor('feed', cursor);
      if (after !== null && !/^\d{1,9}$/.test(after)) throw badField('cursor', 'is not one of ours');
      const found = await deps.store.readOnly(orgId, async (tx) => {
        const feed = await readFeed(tx, orgId, request.params.id);
        if (feed === null) return null;
        const filter = { outcome: outcome ?? null, limit, after: after === null ? null : Number(after) };
        return { feed, ...(await readFeedRows(tx, orgId, feed.id, filter)) };
      });
      if (found === null) throw notFound(`feed ${request.params.id}`);
      const nextCursor = encodeCursor('feed', found.next === null ? null : [String(found.next)]);
      return { ...found.feed, items: found.rows, nextCursor };
    },
  );

  app.post(
    '/api/listings/:id/preview',
    {
      schema: {
        summary:
          'A dry run: what the channel would say to this number (default: the one it should show). Nothing is written',
        params: byId,
        body: z.object({ quantity: quantity.optional() }).nullish(),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      if (!z.uuid().safeParse(id).success) throw notFound(`listing ${id}`);
      const signal = AbortSignal.timeout(askMs);
      const asked = await askChannel(deps, orgId, id, request.body?.quantity ?? null, signal).catch(
        (error: unknown) => {
          if (error instanceof ConnectorError)
            throw new Problem(503, 'domain.channel_unanswered', `The channel did not answer: ${error.message}`);
          throw error;
        },
      );
      if (asked.kind === 'unknown_listing') throw notFound(`listing ${id}`);
      if (asked.kind === 'cannot_ask')
        throw new Problem(409, 'domain.no_preview', `${asked.connection} cannot be asked without writing.`);
      return { id, items: asked.items, nextCursor: null };
    },
  );
}
