/**
 * For this folder's tests: fixtures, and a small HTTP server that answers what the fact sheet says while the connector
 * talks to it over the real transport. No stock, no orders: each test says what is answered.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Clock } from '#core/effects.ts';
import { createBudgets } from '../kit/budget.ts';
import type { BudgetClass, CallOptions, Channel } from '../kit/ports.ts';
import { type CallLogEntry, createTransport } from '../kit/transport.ts';
import { amazon } from './index.ts';

export function fixture<T = Record<string, unknown>>(name: string): T {
  return JSON.parse(fixtureText(name)) as T;
}

export function fixtureText(name: string): string {
  return readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8');
}

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
};

export interface Asked {
  method: string;
  /** As it came, still encoded, without the query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: string;
}

/** `date: null` leaves the Date header out. */
export type Told =
  | { status?: number; body?: unknown; headers?: Record<string, string>; date?: string | null }
  | 'hang'
  | 'cut';

export const VENDOR_DATE = 'Sat, 21 Nov 2026 08:10:00 GMT';
export const VENDOR_AT = Date.UTC(2026, 10, 21, 8, 10, 0);

export interface VendorServer {
  url: string;
  /** Everything but token requests. */
  asked: Asked[];
  tokensAsked: Asked[];
  close(): Promise<void>;
}

/** Answers tokens "Atza|1", "Atza|2", … by itself unless `lwa` says otherwise. */
export async function vendorServer(
  answer: (asked: Asked, nth: number) => Told | Promise<Told>,
  lwa: (asked: Asked, nth: number) => Told | Promise<Told> = (_, nth) => ({
    body: { access_token: `Atza|${nth}`, token_type: 'bearer', expires_in: 3600, refresh_token: 'Atzr|1' },
  }),
): Promise<VendorServer> {
  const asked: Asked[] = [];
  const tokensAsked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const one = await readRequest(request);
    const isToken = one.path === '/auth/o2/token';
    const list = isToken ? tokensAsked : asked;
    list.push(one);
    tell(response, await (isToken ? lwa(one, list.length) : answer(one, list.length)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked, tokensAsked, close: () => closed(server) };
}

/** A feed of three messages that is DONE at the first look: one rejected, one with a warning. */
export function feedAnswer(asked: Asked, url: string): Told {
  const placed = (name: string): Told => ({ body: fixtureText(name).replace('@', url) });
  if (asked.method === 'PUT') return {};
  if (asked.path.startsWith('/_s3/')) return { body: gzipSync(fixtureText('feed-report')) };
  if (asked.path.endsWith('/documents')) return { status: 201, ...(placed('feed-document-new') as object) };
  if (asked.path.includes('/documents/')) return placed('feed-document');
  if (asked.method === 'POST') return { status: 202, body: fixture('feed-new') };
  if (asked.query.has('nextToken')) return { body: fixture('feeds-page-2') };
  if (asked.path.endsWith('/feeds')) return { body: fixture('feeds-page-1') };
  return asked.method === 'DELETE' ? { body: '' } : { body: fixture('feed-done') };
}

const unhurried = Object.fromEntries(
  Object.keys(amazon.manifest.budgets).map((bucket) => [bucket, { ratePerSecond: 10_000, capacity: 10_000 }]),
);

/** The connector opened on that server, as a simulated connection. */
export function openAmazon(
  url: string,
  settings: Record<string, unknown> = {},
  clock: Clock = realClock,
  log?: (entry: CallLogEntry) => void,
): { channel: Channel; close(): void } {
  const random = { next: () => 0 };
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl: url,
    allowedHosts: amazon.manifest.hosts,
    allowCustomEndpoints: false,
    budgets: createBudgets(clock, unhurried),
    ...(log && { log }),
  });
  const channel = amazon.open({
    connectionId: 'c1',
    kind: 'simulated',
    baseUrl: url,
    settings: { sellerId: 'A1SIMSELLER', region: 'na', marketplaceIds: ['ATVPDKIKX0DER'], ...settings },
    credentials: { clientId: 'amzn1.client', clientSecret: 'hush', refreshToken: 'Atzr|1' },
    transport,
    clock,
    random,
  });
  return { channel, close: () => transport.close() };
}

export function calling(budget: BudgetClass = 'read', signal: AbortSignal = AbortSignal.timeout(15_000)): CallOptions {
  return { budget, signal };
}

async function readRequest(request: IncomingMessage): Promise<Asked> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const [path = '', query = ''] = (request.url ?? '').split('?');
  return { method: request.method ?? '', path, query: new URLSearchParams(query), headers: request.headers, body };
}

function tell(response: ServerResponse, told: Told): void {
  if (told === 'hang') return;
  if (told === 'cut') {
    response.destroy();
    return;
  }
  const { status = 200, body = {}, headers = {}, date = VENDOR_DATE } = told;
  response.sendDate = false;
  const dated = date === null ? {} : { date };
  response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-requestid': 'req-1', ...dated, ...headers });
  response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}
