/**
 * For this folder's tests: a small HTTP server that answers what the fact sheet says, word for word, while the connector
 * talks to it over the real transport. No stock, no orders: each test says what is answered.
 */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { createBudgets } from '../kit/budget.ts';
import type { CallOptions, Channel, ConnectionContext } from '../kit/ports.ts';
import { type CallLogEntry, type ConnectionTransport, createTransport } from '../kit/transport.ts';
import { shopify } from './index.ts';
import { manifest } from './manifest.ts';

export interface Asked {
  path: string;
  headers: IncomingHttpHeaders;
  /** The JSON body: GraphQL's `{ query, variables, operationName }`, or a token request. */
  body: Record<string, unknown> & { operationName?: string; query?: string; variables?: Record<string, unknown> };
}

export interface Told {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** Never answer. */
  hang?: boolean;
}

export const VENDOR_DATE = 'Fri, 20 Nov 2026 15:00:30 GMT';
export const VENDOR_AT = Date.UTC(2026, 10, 20, 15, 0, 30);

export interface Shop {
  channel: Channel;
  asked: Asked[];
  log: CallLogEntry[];
  transport: ConnectionTransport;
  /** Business time, ms; moves only by hand. */
  clock: Clock & { set(ms: number): void };
  saved: Record<string, string>[];
  close(): Promise<void>;
}

/** A successful GraphQL answer with the documented cost tail. */
export function answered(data: unknown, left = 1_954): Told {
  const throttleStatus = { maximumAvailable: 2_000, currentlyAvailable: left, restoreRate: 100 };
  return { body: { data, extensions: { cost: { requestedQueryCost: 12, actualQueryCost: 11, throttleStatus } } } };
}

export async function openShop(
  tell: (asked: Asked, nth: number) => Told | Promise<Told>,
  changes: Partial<ConnectionContext> = {},
): Promise<Shop> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const entry: Asked = {
        path: request.url ?? '',
        headers: request.headers,
        body: JSON.parse(Buffer.concat(chunks).toString() || '{}'),
      };
      asked.push(entry);
      const told = await tell(entry, asked.length);
      if (told.hang) return;
      const text = typeof told.body === 'string' ? told.body : JSON.stringify(told.body ?? {});
      response
        .writeHead(told.status ?? 200, { 'content-type': 'application/json', date: VENDOR_DATE, ...told.headers })
        .end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  let now = VENDOR_AT;
  const clock = {
    now: () => now,
    set: (ms: number) => {
      now = ms;
    },
    monotonicMs: () => performance.now(),
    sleep: (ms: number, signal?: AbortSignal) => sleep(ms, undefined, signal ? { signal } : {}).catch(() => undefined),
  };
  const random = { next: () => 0 };
  const log: CallLogEntry[] = [];
  const saved: Record<string, string>[] = [];
  const budgets = createBudgets(clock, manifest.budgets);
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl,
    allowedHosts: manifest.hosts,
    allowCustomEndpoints: false,
    budgets,
    log: (entry) => log.push(entry),
  });
  const channel = shopify.open({
    connectionId: 'c1',
    kind: 'simulated',
    baseUrl,
    settings: { shopDomain: 'demo.myshopify.com' },
    credentials: { accessToken: 'shpat_static' },
    renewCredentials: async (held, exchange) => {
      const credentials = await exchange(held);
      saved.push(credentials);
      return credentials;
    },
    transport,
    clock,
    random,
    ...changes,
  });
  return {
    channel,
    asked,
    log,
    transport,
    clock,
    saved,
    async close() {
      transport.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const soon = (ms = 5_000): CallOptions => ({ budget: 'urgent', signal: AbortSignal.timeout(ms) });

/** The ConnectorError a promise ends with; anything else fails the test. */
export async function faultOf(promise: Promise<unknown>): Promise<ConnectorError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome && outcome.error instanceof ConnectorError) return outcome.error;
  throw new Error(
    `expected a ConnectorError, got ${JSON.stringify(outcome)} ${'error' in outcome ? String(outcome.error) : ''}`,
  );
}
