/** The client against a real HTTP server on loopback. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createClient } from './api.ts';
import { ApiError } from './problem.ts';
import { createSseParser, followEvents, type StreamState } from './stream.ts';
import type { LiveEvent } from './types.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

async function serve(
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ baseUrl: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
    seen.push(one);
    answer(one, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

test('a SKU of any characters is one encoded path segment, and the key goes along', async () => {
  const { baseUrl, seen } = await serve((_, response) => json(response, 200, { sku: 'ok' }));
  const api = createClient({ baseUrl, key: 'sk_1' });
  await api.inventoryItem('A/B #1 %20 ق');
  await api.setBuffer('A/B', 3);
  expect(seen.map(({ method, url, body }) => ({ method, url, body }))).toEqual([
    { method: 'GET', url: '/api/inventory/A%2FB%20%231%20%2520%20%D9%82', body: '' },
    { method: 'POST', url: '/api/buffer/A%2FB', body: '{"buffer":3}' },
  ]);
  expect(seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer sk_1', 'Bearer sk_1']);
});

test('a query leaves out what was not asked for', async () => {
  const { baseUrl, seen } = await serve((_, response) =>
    json(response, 200, { items: [], nextCursor: null, totalSkus: 0 }),
  );
  const api = createClient({ baseUrl, key: 'k' });
  await api.inventory({ limit: 100, cursor: undefined, search: 'a b' });
  await api.inventory({});
  expect(seen.map(({ url }) => url)).toEqual(['/api/inventory?limit=100&search=a+b', '/api/inventory']);
});

test('a refusal becomes one typed error with code, fields, request id and wait', async () => {
  const problem = {
    type: 't',
    title: 'Refused by a rule',
    status: 409,
    code: 'domain.insufficient',
    detail: '1 missing',
    errors: [{ field: 'sku', message: '1 missing' }],
  };
  const { baseUrl } = await serve((_, response) =>
    json(response, 409, problem, { 'x-request-id': 'r1', 'retry-after': '2' }),
  );
  const error = await createClient({ baseUrl, key: 'k' })
    .buy('c', [{ sku: 'S', quantity: 1 }])
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status: 409,
    code: 'domain.insufficient',
    title: 'Refused by a rule',
    message: '1 missing',
    errors: [{ field: 'sku', message: '1 missing' }],
    requestId: 'r1',
    retryAfter: 2,
  });
});

test('an answer that is not ours, and no answer at all, are told apart', async () => {
  const { baseUrl } = await serve((_, response) => response.writeHead(502).end('<html>'));
  const bad = await createClient({ baseUrl, key: 'k' })
    .connections()
    .catch((caught: unknown) => caught);
  expect(bad).toMatchObject({ status: 502, code: 'client.unreadable', retryAfter: null });
  const none = await createClient({ baseUrl: 'http://127.0.0.1:1', key: 'k' })
    .connections()
    .catch((caught: unknown) => caught);
  expect(none).toMatchObject({ status: 0, code: 'client.unreachable' });
});

test('messages are read whatever the chunk borders; comments give none', () => {
  const parse = createSseParser();
  const text = ': live\n\nid: 7-1\nevent: stock\ndata: {"a":\ndata: 1}\n\n: heartbeat\r\n\r\ndata: x\r\n\r\n';
  const whole = createSseParser()(text);
  const pieces = [...text].flatMap((letter) => parse(letter));
  expect(whole).toEqual([
    { id: '7-1', data: '{"a":\n1}' },
    { id: '7-1', data: 'x' },
  ]);
  expect(pieces).toEqual(whole);
});

const frame = (id: string, sku: string) =>
  `id: ${id}\nevent: stock\ndata: ${JSON.stringify({ type: 'stock', sku, version: 1, at: '2026-01-01T00:00:00Z' })}\n\n`;

function follow(baseUrl: string, options: { enough: number; silenceMs?: number; lastEventId?: string }) {
  const events: LiveEvent[] = [];
  const states: [StreamState, boolean][] = [];
  const done = new AbortController();
  closing.push(() => done.abort());
  const ended = followEvents({
    baseUrl,
    key: 'k',
    signal: done.signal,
    firstWaitMs: 5,
    silenceMs: options.silenceMs ?? 5_000,
    lastEventId: options.lastEventId ?? null,
    onEvent: (event) => {
      events.push(event);
      if (events.length >= options.enough) done.abort();
    },
    onState: (state, resumed) => states.push([state, resumed]),
  });
  return { events, states, ended };
}

test('a broken stream is resumed after the last event seen', async () => {
  let calls = 0;
  const { baseUrl, seen } = await serve((_, response) => {
    calls += 1;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': live\n\n');
    response.write(frame(`9-${calls}`, `S${calls}`));
    if (calls === 1) response.end();
  });
  const { events, states, ended } = follow(baseUrl, { enough: 2 });
  await ended;
  expect(events.map(({ sku }) => sku)).toEqual(['S1', 'S2']);
  expect(seen.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '9-1']);
  expect(states).toEqual([
    ['connecting', false],
    ['live', false],
    ['reconnecting', true],
    ['reconnecting', true],
    ['live', true],
  ]);
});

test('a stream silent for too long counts as dead and is opened again', async () => {
  let calls = 0;
  const { baseUrl } = await serve((_, response) => {
    calls += 1;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': live\n\n');
    if (calls === 2) response.write(frame('1-1', 'S'));
  });
  const { events, ended } = follow(baseUrl, { enough: 1, silenceMs: 100 });
  await ended;
  expect(events).toHaveLength(1);
  expect(calls).toBe(2);
});

test('a place the server no longer knows is given up, and the page is told that something may be missing', async () => {
  const { baseUrl, seen } = await serve((one, response) => {
    if (one.headers['last-event-id']) return json(response, 400, { code: 'api.invalid', detail: 'is not one of ours' });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(frame('1-1', 'S'));
  });
  const { states, ended } = follow(baseUrl, { enough: 1, lastEventId: 'old' });
  await ended;
  expect(seen.map(({ headers }) => headers['last-event-id'])).toEqual(['old', undefined]);
  expect(states.at(-1)).toEqual(['live', false]);
});

test('a refused key ends the following: nothing is tried again', async () => {
  const { baseUrl, seen } = await serve((_, response) =>
    json(response, 401, { code: 'api.unauthorized', title: 'Not signed in', detail: 'Send a key.' }),
  );
  const { ended } = follow(baseUrl, { enough: 1 });
  await expect(ended).rejects.toMatchObject({ status: 401, code: 'api.unauthorized' });
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(seen).toHaveLength(1);
});
