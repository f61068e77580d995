/**
 * `GET /api/events`: a stream of what changed, `text/event-stream`. Each event has a resumable id; a reader that was away
 * sends `Last-Event-ID` and gets what it missed (kept for a day) before the live ones. Heartbeat every 15 s.
 *
 * No gap and no double: the reader first joins the live feed (kept aside), then reads what it missed, then goes live; the
 * feed has one order, so an event is shown only when it comes after the last one shown. `: live` says that point is passed.
 */
import { type FeedEvent, feedEnd, isAfter, parseFeedId, readFeed } from '#store/views/events.ts';
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
    if (typeof header === 'string' && header !== '' && from === null)
      throw badField('Last-Event-ID', 'is not one of ours');
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    raw.flushHeaders();
    const gone = new AbortController();
    raw.on('close', () => gone.abort());
    const forget = deps.onStop(() => raw.end());
    gone.signal.addEventListener('abort', forget);

    const waiting: FeedEvent[] = [];
    let live = false;
    let point = from ?? (await deps.store.system(feedEnd));
    const show = (event: FeedEvent) => {
      if (!isAfter(event, point)) return;
      point = parseFeedId(event.id) ?? point;
      raw.write(frame(event));
    };
    const { joined, stop } = deps.events.listen(orgId, (event) => (live ? show(event) : waiting.push(event)));
    gone.signal.addEventListener('abort', stop);
    if (gone.signal.aborted) stop();
    await joined;
    for (let more = true; more && !gone.signal.aborted; ) {
      const missed = await readFeed(deps.store, [orgId], point);
      for (const event of missed) show(event);
      more = missed.length >= 1_000;
    }
    for (const event of waiting) show(event);
    live = true;
    raw.write(': live\n\n');
    while (!gone.signal.aborted) {
      await deps.clock.sleep(heartbeatMs, gone.signal);
      if (!gone.signal.aborted) raw.write(': heartbeat\n\n');
    }
  });
}
