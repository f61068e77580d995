/**
 * The whole server with its demo organization, in this process, for tests from outside: `run('start', …)` on a database of
 * its own and a data folder of its own, spoken to over loopback HTTP only. Nothing of ours is replaced.
 *
 *   const demo = await startDemo();
 *   await demo.api('/api/inventory/DEMO-001')            with the demo's key; status, headers and body
 *   await demo.sim('shopA', '/orders', { lines })        the simulator's control; without a body a GET
 *   await demo.until(async () => …)                      polls until the predicate is true, at most `withinMs`
 *   await demo.stop();
 */
import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { scratchFolder } from '#store/testing/scratch.ts';
import { readConfig } from '../config.ts';
import { type Running, run } from '../main.ts';

export type Place = 'shopA' | 'shopB' | 'amazon';

/** demo.json as outside tools read it. */
export interface DemoFile {
  url: string;
  email: null;
  password: null;
  apiKey: string;
  organizationId: string;
  connections: {
    id: string;
    platform: string;
    kind: string;
    name: string;
    webhookUrl: string | null;
    webhookSecret: string | null;
    simulatorUrl: string;
    shopDomain?: string;
    sellerId?: string;
    accessToken: string;
    locations: { code: string; externalId: string }[];
  }[];
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  /** Parsed where the answer is JSON, else null. */
  body: T;
  text: string;
}

export interface ApiInit {
  method?: string;
  /** An object is sent as JSON; a text as it stands. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Another key; null: none. */
  key?: string | null;
}

export interface Demo {
  url: string;
  demo: DemoFile;
  db: TestDatabase;
  running: Running;
  dataDir: string;
  /** A POST when there is a body and no method. */
  api<T = Record<string, unknown>>(path: string, init?: ApiInit): Promise<Answer<T>>;
  /** The answer's body; fails unless it was 2xx. */
  ok<T = Record<string, unknown>>(path: string, init?: ApiInit): Promise<T>;
  connection(place: Place): DemoFile['connections'][number];
  /** The simulator's control; fails unless it answers 2xx. */
  sim<T = Record<string, unknown>>(place: Place, path: string, body?: unknown, method?: string): Promise<T>;
  /** The channel's own number of a SKU at its first location, as a buyer meets it. */
  shown(place: Place, sku: string, location?: string): Promise<number | undefined>;
  /** Calls the simulator received that changed stock, after call `since`. */
  writes(place: Place, since?: number): Promise<SimulatorCall[]>;
  /** Number of the last call so far. */
  mark(place: Place): Promise<number>;
  /** Everything that came in is applied (what waits for a channel to show it aside) and every target stands in a quiet state. */
  quiet(withinMs?: number): Promise<void>;
  until(predicate: () => Promise<boolean> | boolean, withinMs?: number): Promise<void>;
  /** A delivery to a shop's webhook address, signed as the shop signs. */
  deliver(place: 'shopA' | 'shopB', body: unknown, options?: DeliverOptions): Promise<Answer>;
  /** A second organization with a key of its own; it shares nothing with the demo's. */
  stranger(): Promise<{ orgId: string; key: string }>;
  stop(): Promise<void>;
}

export interface DeliverOptions {
  topic?: string;
  secret?: string;
  signature?: string | null;
  url?: string;
  shop?: string | null;
  deliveryId?: string;
  headers?: Record<string, string>;
}

export interface SimulatorCall {
  n: number;
  at: string;
  method: string;
  path: string;
  operation: string;
  status: number;
  body: unknown;
  response: unknown;
  applied: boolean;
}

const order: readonly Place[] = ['shopA', 'shopB', 'amazon'];
const stockWrite = /inventorySet|inventoryAdjust|patchListingsItem|putListingsItem|createFeed/i;

export async function startDemo(environment: Record<string, string> = {}): Promise<Demo> {
  const db = await testDatabase();
  const dataDir = scratchFolder('syncstate-demo-');
  const config = readConfig({
    DATABASE_URL: db.ownerUrl,
    SYNCSTATE_DATA_DIR: dataDir,
    PORT: '0',
    SYNCSTATE_DEMO: 'on',
    LOG_LEVEL: 'fatal',
    ...environment,
  });
  const running = await run('start', config).catch(async (error: unknown) => {
    await db.drop();
    throw error;
  });
  const demo = JSON.parse(readFileSync(join(dataDir, 'demo.json'), 'utf8')) as DemoFile;
  const connection = (place: Place) => {
    const found = demo.connections[order.indexOf(place)];
    if (!found) throw new Error(`the demo has no ${place}`);
    return found;
  };

  async function call<T>(
    url: string,
    init: { method: string; headers: Record<string, string>; body?: string },
  ): Promise<Answer<T>> {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(60_000) });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson && text !== '' ? JSON.parse(text) : null) as T,
      text,
    };
  }

  async function api<T>(path: string, init: ApiInit = {}): Promise<Answer<T>> {
    const { body, key = demo.apiKey } = init;
    const raw = typeof body === 'string';
    return call<T>(`${demo.url}${path}`, {
      method: init.method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined || raw ? {} : { 'content-type': 'application/json' }),
        ...init.headers,
      },
      ...(body === undefined ? {} : { body: raw ? body : JSON.stringify(body) }),
    });
  }

  async function sim<T>(
    place: Place,
    path: string,
    body?: unknown,
    method = body === undefined ? 'GET' : 'POST',
  ): Promise<T> {
    const answer = await call<T>(`${connection(place).simulatorUrl}/_sim${path}`, {
      method,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (answer.status >= 300) throw new Error(`${method} /_sim${path} at ${place}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  async function until(predicate: () => Promise<boolean> | boolean, withinMs = 20_000): Promise<void> {
    const end = performance.now() + withinMs;
    while (!(await predicate())) {
      if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${predicate.toString().slice(0, 400)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  const settled = new Set(['in_sync', 'read_only', 'paused', 'unmapped', 'suspended']);
  interface Backlog {
    items: { waiting: number; targets: Record<string, number> }[];
  }

  return {
    url: demo.url,
    demo,
    db,
    running,
    dataDir,
    api,
    async ok<T>(path: string, init: ApiInit = {}) {
      const answer = await api<T>(path, init);
      if (answer.status >= 300)
        throw new Error(`${init.method ?? 'GET/POST'} ${path}: ${answer.status} ${answer.text}`);
      return answer.body;
    },
    connection,
    sim,
    async shown(place, sku, location) {
      const { items } = await sim<{ items: { sku: string; location: string; quantity: number }[] }>(place, '/state');
      const code =
        place === 'amazon' ? null : connection(place).locations.find((at) => at.code === (location ?? 'MAIN'));
      return items.find(
        (item) =>
          item.sku === sku && (code === null || item.location === code?.externalId || item.location === code?.code),
      )?.quantity;
    },
    async writes(place, since = 0) {
      const { calls } = await sim<{ calls: SimulatorCall[] }>(place, `/calls?since=${since}`);
      return calls.filter(({ operation }) => stockWrite.test(operation));
    },
    mark: async (place) => (await sim<{ next: number }>(place, '/calls?since=0')).next,
    quiet: (withinMs) =>
      until(async () => {
        const { rows } = await db.owner.query<{ busy: boolean }>(
          `select exists (select 1 from inbox where state = 'waiting' and error is null) or exists (select 1 from dirty_variants) or exists (select 1 from dirty_policies) as busy`,
        );
        if (rows[0]?.busy !== false) return false;
        const { body } = await api<Backlog>('/api/connections');
        return body.items.every(
          ({ waiting, targets }) => waiting === 0 && Object.keys(targets).every((state) => settled.has(state)),
        );
      }, withinMs),
    until,
    deliver(place, body, options = {}) {
      const { webhookUrl, webhookSecret, shopDomain } = connection(place);
      const raw = typeof body === 'string' ? body : JSON.stringify(body);
      const signature =
        options.signature === undefined
          ? createHmac('sha256', options.secret ?? webhookSecret ?? '')
              .update(raw)
              .digest('base64')
          : options.signature;
      const shop = options.shop === undefined ? (shopDomain ?? null) : options.shop;
      return call(options.url ?? webhookUrl ?? '', {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-shopify-topic': options.topic ?? 'orders/create',
          'x-shopify-webhook-id': options.deliveryId ?? randomUUID(),
          ...(shop === null ? {} : { 'x-shopify-shop-domain': shop }),
          ...(signature === null ? {} : { 'x-shopify-hmac-sha256': signature }),
          ...options.headers,
        },
        body: raw,
      });
    },
    async stranger() {
      const orgId = randomUUID();
      const key = `sk_test_${randomBytes(20).toString('hex')}`;
      await db.owner.query(`insert into organizations (org_id, name, slug) values ($1, 'Other', $2)`, [
        orgId,
        `other-${orgId.slice(0, 8)}`,
      ]);
      await db.owner.query(
        `insert into locations (org_id, id, code, name, is_default, priority) values ($1, $2, 'MAIN', 'Main', true, 1)`,
        [orgId, randomUUID()],
      );
      await db.owner.query(
        `insert into api_keys (org_id, id, name, hash, rate_per_minute) values ($1, $2, 'other', $3, 6000)`,
        [orgId, randomUUID(), createHash('sha256').update(key).digest()],
      );
      return { orgId, key };
    },
    async stop() {
      await running.stop();
      await db.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
