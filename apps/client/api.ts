/**
 * The typed client of the HTTP API: one function per call, every refusal an `ApiError`.
 * Knows no page and keeps no state; the web app and scripts pass where the server is and which key to use.
 */
import { ApiError, problemOf, unreachable } from './problem.ts';
import type {
  AlertPage,
  BufferAnswer,
  Connection,
  InventoryItem,
  InventoryPage,
  Movement,
  Order,
  Page,
} from './types.ts';

export interface ApiOptions {
  /** '' for the page's own server, else e.g. http://127.0.0.1:3000, without a slash at the end. */
  baseUrl: string;
  key: string;
  fetch?: typeof fetch;
}

export interface Api {
  inventory(
    query: { limit?: number; cursor?: string | undefined; search?: string | undefined },
    signal?: AbortSignal,
  ): Promise<InventoryPage>;
  inventoryItem(sku: string, signal?: AbortSignal): Promise<InventoryItem>;
  setBuffer(sku: string, buffer: number): Promise<BufferAnswer>;
  movements(query: { sku: string; limit?: number }, signal?: AbortSignal): Promise<Page<Movement>>;
  connections(signal?: AbortSignal): Promise<Page<Connection>>;
  orders(query: { limit?: number; cursor?: string | undefined }, signal?: AbortSignal): Promise<Page<Order>>;
  order(id: string, signal?: AbortSignal): Promise<Order>;
  unreadAlerts(signal?: AbortSignal): Promise<AlertPage>;
  markAlertRead(id: string): Promise<{ ok: boolean; id: string }>;
  /** A simulated buyer buys at a simulated connection. 409 `domain.not_simulated` on a live one, `domain.refused_by_channel` when the shop refuses. */
  buy(connectionId: string, lines: readonly { sku: string; quantity: number }[]): Promise<{ order: string }>;
}

/** The calls above as the API document names them; a test holds every one against /api/openapi.json. */
export const usedPaths = [
  ['get', '/api/inventory'],
  ['get', '/api/inventory/{sku}'],
  ['post', '/api/buffer/{sku}'],
  ['get', '/api/movements'],
  ['get', '/api/connections'],
  ['get', '/api/orders'],
  ['get', '/api/orders/{id}'],
  ['post', '/api/connections/{id}/purchases'],
  ['get', '/api/alerts/unread'],
  ['post', '/api/alerts/{id}/read'],
  ['get', '/api/events'],
] as const;

type Query = Record<string, string | number | undefined>;

function queryText(query: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') params.set(name, String(value));
  return params.size === 0 ? '' : `?${params}`;
}

/** A SKU may hold `/ # % +` and spaces: always one encoded segment. */
const segment = encodeURIComponent;

export function createClient({ baseUrl, key, fetch: send = globalThis.fetch }: ApiOptions): Api {
  async function call<Answer>(
    method: 'GET' | 'POST',
    path: string,
    options: { body?: unknown; signal?: AbortSignal | undefined } = {},
  ): Promise<Answer> {
    let response: Response;
    try {
      response = await send.call(globalThis, `${baseUrl}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
        ...(options.signal ? { signal: options.signal } : {}),
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw unreachable(error);
    }
    if (!response.ok) throw await problemOf(response);
    try {
      return (await response.json()) as Answer;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ApiError({
        status: response.status,
        code: 'client.unreadable',
        title: 'Unreadable answer',
        detail: 'The answer is not JSON.',
        cause: error,
      });
    }
  }

  return {
    inventory: (query, signal) => call('GET', `/api/inventory${queryText(query)}`, { signal }),
    inventoryItem: (sku, signal) => call('GET', `/api/inventory/${segment(sku)}`, { signal }),
    setBuffer: (sku, buffer) => call('POST', `/api/buffer/${segment(sku)}`, { body: { buffer } }),
    movements: (query, signal) => call('GET', `/api/movements${queryText(query)}`, { signal }),
    connections: (signal) => call('GET', '/api/connections', { signal }),
    orders: (query, signal) => call('GET', `/api/orders${queryText(query)}`, { signal }),
    unreadAlerts: (signal) => call('GET', '/api/alerts/unread?limit=50', { signal }),
    markAlertRead: (id) => call('POST', `/api/alerts/${segment(id)}/read`, { body: {} }),
    order: (id, signal) => call('GET', `/api/orders/${segment(id)}`, { signal }),
    buy: (connectionId, lines) =>
      call('POST', `/api/connections/${segment(connectionId)}/purchases`, { body: { lines } }),
  };
}
