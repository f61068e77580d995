import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { createBudgets } from './budget.ts';
import type { OutsideCall } from './ports.ts';
import {
  type CallLogEntry,
  type ConnectionTransport,
  createTransport,
  retryAfterMs,
  type TransportOptions,
} from './transport.ts';

const clock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(resolve, ms);
      const stop = () => {
        clearTimeout(timer);
        resolve();
      };
      signal?.addEventListener('abort', stop, { once: true });
    }),
};
const random = { next: () => 0.01 };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ url: string; server: Server }> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

function open(baseUrl: string, changes: Partial<TransportOptions> = {}): ConnectionTransport {
  const budgets = createBudgets(clock, { all: { ratePerSecond: 10_000, capacity: 10_000 } });
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl,
    allowedHosts: [],
    allowCustomEndpoints: false,
    budgets,
    ...changes,
  });
  closers.push(() => transport.close());
  return transport;
}

function call(url: string, changes: Partial<OutsideCall> = {}): OutsideCall {
  const base = {
    operation: 'test',
    method: 'POST' as const,
    headers: {},
    write: false,
    budget: 'urgent' as const,
    bucket: 'all',
  };
  return { ...base, url, timeoutMs: 2_000, signal: new AbortController().signal, ...changes };
}

async function fault(promise: Promise<unknown>): Promise<ConnectorError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectorError)) throw new Error(`expected a ConnectorError, got ${String(error)}`);
  return error;
}

test('an answer comes back with status, lower-case headers and body, over one kept connection', async () => {
  let sockets = 0;
  const { url, server } = await serve((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () =>
      response.writeHead(404, { 'X-Thing': 'Yes' }).end(`got ${Buffer.concat(chunks).toString()}`),
    );
  });
  server.on('connection', () => (sockets += 1));
  const transport = open(url);
  const answer = await transport.request(call(`${url}/a`, { body: 'ö{"a":1}' }));
  await transport.request(call(`${url}/b`, { body: new Uint8Array([65]) }));
  expect({ status: answer.status, thing: answer.headers['x-thing'], body: answer.body }).toEqual({
    status: 404,
    thing: 'Yes',
    body: 'got ö{"a":1}',
  });
  expect(sockets).toBe(1);
});

test('a compressed answer is unpacked', async () => {
  const { url } = await serve((_, response) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('zipped')),
  );
  expect((await open(url).request(call(url))).body).toBe('zipped');
});

test('a refused connection means nothing was sent: unavailable, for a write too, and it is not repeated', async () => {
  const { url, server } = await serve(() => {});
  await new Promise((resolve) => server.close(resolve));
  const log: CallLogEntry[] = [];
  const error = await fault(open(url, { log: (entry) => log.push(entry) }).request(call(url, { write: true })));
  expect([error.code, error.details.why, error.details.sent]).toEqual(['connector.unavailable', 'ECONNREFUSED', false]);
  expect(log.map(({ attempt, outcome, fault: why }) => ({ attempt, outcome, why }))).toEqual([
    { attempt: 1, outcome: 'connector.unavailable', why: 'ECONNREFUSED' },
  ]);
});

test('a write that times out after sending is of unknown outcome and is sent once only', async () => {
  let calls = 0;
  const { url } = await serve(() => (calls += 1));
  const error = await fault(open(url).request(call(url, { write: true, timeoutMs: 80 })));
  expect([error.code, error.details.why, calls]).toEqual(['connector.outcome_unknown', 'timeout', 1]);
});

test('a write whose connection breaks after sending is of unknown outcome', async () => {
  const { url } = await serve((request) => request.socket.destroy());
  expect((await fault(open(url).request(call(url, { write: true })))).code).toBe('connector.outcome_unknown');
});

test('a server error to a write is of unknown outcome, to a read unavailable after three attempts', async () => {
  let calls = 0;
  const { url } = await serve((_, response) => {
    calls += 1;
    response.writeHead(503).end();
  });
  const write = await fault(open(url).request(call(url, { write: true })));
  expect([write.code, write.details.status, calls]).toEqual(['connector.outcome_unknown', 503, 1]);
  const read = await fault(open(url).request(call(url)));
  expect([read.code, calls]).toEqual(['connector.unavailable', 4]);
});

test('a read that fails once is repeated and succeeds', async () => {
  let calls = 0;
  const { url } = await serve((_, response) => {
    calls += 1;
    response.writeHead(calls === 1 ? 502 : 200).end(String(calls));
  });
  expect((await open(url).request(call(url))).body).toBe('2');
});

test('a TCP connection that is taken but never answered by TLS has sent nothing', async () => {
  const server = createTcpServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const error = await fault(open(url).request(call(url, { write: true, timeoutMs: 100 })));
  expect([error.code, error.details.sent]).toEqual(['connector.unavailable', false]);
});

test('429 is rate_limited with the wait in seconds or as a date, and slows the bucket down', async () => {
  const { url } = await serve((_, response) => response.writeHead(429, { 'retry-after': '2' }).end());
  const transport = open(url);
  const error = await fault(transport.request(call(url)));
  expect([error.code, error.retryAfterMs, transport.budgets()[0]?.slowdown]).toEqual([
    'connector.rate_limited',
    2_000,
    expect.closeTo(0.5, 1),
  ]);
  expect(retryAfterMs({ 'retry-after': 'Sat, 21 Nov 2026 10:00:10 GMT' }, Date.UTC(2026, 10, 21, 10, 0, 0))).toBe(
    10_000,
  );
  expect(retryAfterMs({ 'retry-after': 'soon' }, 0)).toBe(null);
  expect(retryAfterMs({}, 0)).toBe(null);
});

test('a caller that gives up after sending leaves a write of unknown outcome, before sending a write that never was', async () => {
  let calls = 0;
  const { url } = await serve(() => (calls += 1));
  const transport = open(url);
  const error = await fault(transport.request(call(url, { write: true, signal: AbortSignal.timeout(80) })));
  expect([error.code, error.details.why, calls]).toEqual(['connector.outcome_unknown', 'abandoned', 1]);
  const before = await fault(transport.request(call(url, { write: true, signal: AbortSignal.abort() })));
  expect([before.code, calls]).toEqual(['connector.unavailable', 1]);
});

test('an answer above the size limit is dropped', async () => {
  const { url } = await serve((_, response) => response.end('x'.repeat(3_000)));
  const error = await fault(open(url, { maxAnswerBytes: 1_000 }).request(call(url)));
  expect([error.code, error.details.why]).toEqual(['connector.unavailable', 'too_large']);
});

test('a redirect is an answer, not followed', async () => {
  let calls = 0;
  const { url } = await serve((_, response) => {
    calls += 1;
    response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
  });
  expect([(await open(url).request(call(url))).status, calls]).toEqual([302, 1]);
});

test('P9: a simulated connection reaches its simulator only, a live one its vendor over https only', async () => {
  let calls = 0;
  const { url } = await serve((_, response) => {
    calls += 1;
    response.end();
  });
  const refused = async (target: string, changes: Partial<TransportOptions>) =>
    (await fault(open(url, changes).request(call(target)))).details.reason;
  const live = { kind: 'live' as const, baseUrl: null, allowedHosts: ['myshopify.com'] };
  expect(await refused(url.replace('127.0.0.1', 'localhost'), {})).toBe('endpoint_not_allowed');
  expect(await refused('https://x.myshopify.com/', {})).toBe('endpoint_not_allowed');
  expect(await refused(url, live)).toBe('endpoint_not_allowed');
  expect(await refused('http://x.myshopify.com/', live)).toBe('endpoint_not_allowed');
  expect(await refused('https://evilmyshopify.com/', live)).toBe('endpoint_not_allowed');
  expect(await refused('https://myshopify.com.evil.example/', live)).toBe('endpoint_not_allowed');
  expect(await refused(url, { ...live, baseUrl: url })).toBe('endpoint_not_allowed');
  expect(calls).toBe(0);
  await open(url, { ...live, baseUrl: url, allowCustomEndpoints: true }).request(call(url));
  expect(calls).toBe(1);
});

test('a vendor name that resolves to a private address is refused at connecting', async () => {
  const transport = open('', { kind: 'live', baseUrl: null, allowedHosts: ['localhost'] });
  const error = await fault(transport.request(call('https://localhost:1/', { write: true })));
  expect([error.code, error.details.why, error.details.sent]).toEqual(['connector.unavailable', 'EPRIVATE', false]);
});

test('after five unanswered calls nothing is sent until a probe succeeds', async () => {
  let calls = 0;
  let healthy = false;
  const { url } = await serve((_, response) => {
    calls += 1;
    response.writeHead(healthy ? 200 : 500).end();
  });
  const transport = open(url);
  for (let n = 0; n < 5; n += 1) await fault(transport.request(call(url, { write: true })));
  expect(transport.breaker().kind).toBe('open');
  const error = await fault(transport.request(call(url, { write: true })));
  expect([error.code, error.details.breakerOpen, calls]).toEqual(['connector.unavailable', true, 5]);
  expect(error.message).toBe('test: not sent, the vendor has not been answering (it answered 500).');
  healthy = true;
  await clock.sleep(1_020);
  await transport.request(call(url, { write: true }));
  expect([transport.breaker(), calls]).toEqual([{ kind: 'closed', failures: 0 }, 6]);
});

test('the log holds the call without its secrets', async () => {
  const { url } = await serve((_, response) =>
    response.end('{"access_token":"shpat_1","scope":"read_orders","nextToken":"page2"}'),
  );
  const log: CallLogEntry[] = [];
  const transport = open(url, { log: (entry) => log.push(entry) });
  const headers = {
    'X-Shopify-Access-Token': 'shpat_0',
    Authorization: 'Bearer b',
    'content-type': 'application/json',
  };
  await transport.request(
    call(`${url}/t?client_secret=cs&limit=5`, {
      headers,
      body: '{"client_id":"c","client_secret":"cs","refresh_token":"r\\"t"}',
      write: true,
    }),
  );
  await transport.request(call(`${url}/t`, { body: 'grant_type=refresh_token&refresh_token=rt&client_secret=cs' }));
  expect(JSON.stringify(log)).not.toMatch(/shpat_|Bearer b|"cs|=cs|=rt|r\\\\\\"t/);
  expect(log[0]).toMatchObject({
    operation: 'test',
    url: `${url}/t?client_secret=[secret]&limit=5`,
    requestHeaders: {
      'x-shopify-access-token': '[secret]',
      authorization: '[secret]',
      'content-type': 'application/json',
    },
    requestBody: '{"client_id":"c","client_secret":"[secret]","refresh_token":"[secret]"}',
    responseBody: '{"access_token":"[secret]","scope":"read_orders","nextToken":"page2"}',
    status: 200,
    outcome: 'answered',
    attempt: 1,
  });
  expect(log[1]?.requestBody).toBe('grant_type=refresh_token&refresh_token=[secret]&client_secret=[secret]');
});

test('a call over loopback costs about a millisecond', async () => {
  const { url } = await serve((_, response) => response.end('{}'));
  const transport = open(url, { log: () => {} });
  for (let n = 0; n < 50; n += 1) await transport.request(call(url, { body: '{}' }));
  const times: number[] = [];
  for (let n = 0; n < 200; n += 1) {
    const startedAt = performance.now();
    await transport.request(call(url, { body: '{}' }));
    times.push(performance.now() - startedAt);
  }
  // The median of the whole round trip, the test's own server included; a busy machine is given room.
  expect(times.sort((a, b) => a - b)[100]).toBeLessThan(5);
});

test('who waits for his turn when the transport is closed is told so, was not sent, and nobody goes after him', async () => {
  let arrived = 0;
  const { url } = await serve((_, response) => {
    arrived += 1;
    response.end();
  });
  const transport = open(url, { budgets: createBudgets(clock, { all: { ratePerSecond: 0.001, capacity: 1 } }) });
  await transport.request(call(url));
  const waiting = fault(transport.request(call(url, { write: true })));
  await transport.close();
  const late = fault(transport.request(call(url, { write: true })));
  expect((await Promise.all([waiting, late])).map(({ code, details }) => [code, details.abandoned])).toEqual([
    ['connector.unavailable', true],
    ['connector.unavailable', true],
  ]);
  expect(arrived).toBe(1);
});
