/**
 * `GET /api/events`: a stream of what changed, `text/event-stream`. Each event has a resumable id; a reader that was away
 * sends `Last-Event-ID` and gets what it missed (kept for a day) before the live ones. Heartbeat every 15 s.
 */
import { type FeedEvent, parseFeedId, readFeed } from '#store/views/events.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField } from '../problem.ts';
import { callerOf } from './stock.ts';

const heartbeatMs = 15_000;

const frame = (event: FeedEvent): string =>
  `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify({
    type: event.type,
    ...(event.type === 'stock' ? { sku: event.key } : { id: event.key }),
    version: event.version,
    at: event.at,
  })}\n\n`;

export async function eventRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get('/api/events', { schema: { summary: 'Live changes (server-sent events)' } }, async (request, reply) => {
    const { orgId } = callerOf(request);
    const header = request.headers['last-event-id'];
    const from = typeof header === 'string' && header !== '' ? parseFeedId(header) : null;
    if (typeof header === 'string' && header !== '' && from === null) throw badField('Last-Event-ID', 'is not one of ours');
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', connection: 'keep-alive', 'x-accel-buffering': 'no' });
    raw.write(': live\n\n');
    const gone = new AbortController();
    raw.on('close', () => gone.abort());
    const forget = deps.onStop(() => raw.end());
    gone.signal.addEventListener('abort', forget);

    const waiting: FeedEvent[] = [];
    let live = from === null;
    const seen = new Set<string>();
    const stop = deps.events.listen(orgId, (event) => {
      if (!live) waiting.push(event);
      else if (!seen.has(event.id)) raw.write(frame(event));
    });
    gone.signal.addEventListener('abort', stop);
    if (from !== null) {
      for (let point = from; ; ) {
        const missed = await readFeed(deps.store, [orgId], point);
        for (const event of missed) {
          seen.add(event.id);
          raw.write(frame(event));
        }
        const last = missed.at(-1);
        if (missed.length < 1_000 || !last) break;
        point = parseFeedId(last.id) ?? point;
      }
      for (const event of waiting) if (!seen.has(event.id)) raw.write(frame(event));
      live = true;
    }
    while (!gone.signal.aborted) {
      await deps.clock.sleep(heartbeatMs, gone.signal);
      if (!gone.signal.aborted) raw.write(': heartbeat\n\n');
    }
  });
}
