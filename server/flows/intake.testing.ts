/**
 * An organization that takes orders in, for tests: real PostgreSQL, the real Shopify connector over loopback HTTP against
 * a simulated shop, and a small server in the place of the webhook route. Nothing of ours is replaced.
 */
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type pg from 'pg';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { ChannelOrder, ChannelOrderLine } from '#connectors/kit/ports.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { shopify } from '#connectors/shopify/index.ts';
import type { Clock, Random } from '#core/effects.ts';
import { uuidv7 } from '#core/uuid.ts';
import { createConnection, mapLocation } from '#store/connections/connections.ts';
import { post } from '#store/ledger/post.ts';
import type { Store } from '#store/tx.ts';
import { createVault, fingerprint } from '../secrets.ts';
import { createIntake, type Intake, type IntakeOptions } from './intake.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';
import { deliveryOf } from './sweep-orders.ts';

export const clock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end);
    }),
};
export const random: Random = { next: () => Math.random() };
export const ids = {
  uuid: () =>
    uuidv7(
      clock.now(),
      Uint8Array.from({ length: 10 }, () => Math.floor(Math.random() * 256)),
    ),
};
export const vault = createVault([{ id: 'test', key: new Uint8Array(32).map((_, i) => i + 1) }]);

export interface Logged {
  level: string;
  message: string;
  [field: string]: unknown;
}

export interface Org {
  orgId: string;
  main: string;
  east: string;
  variants: Record<string, string>;
  /** Sets the sellable units. */
  stock(sku: string, units: number, location?: string): Promise<void>;
}

/** What tests judge by, read as the owner. */
export interface Judge {
  one<T extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<T>;
  all<T extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<T[]>;
  /** sellable, committed, reserved and waiting shortfall of a SKU over all locations. */
  numbers(org: Org, sku: string): Promise<{ sellable: number; committed: number; reserved: number; short: number }>;
}

export function judge(owner: pg.Pool): Judge {
  const all: Judge['all'] = async (sql, values) => (await owner.query(sql, values)).rows as never;
  return {
    all,
    one: async (sql, values) => (await all(sql, values))[0] as never,
    async numbers(org, sku) {
      const [row] = await all<{ sellable: number; committed: number; reserved: number; short: number }>(
        `select coalesce(sum(sellable), 0)::int as sellable, coalesce(sum(committed), 0)::int as committed, coalesce(sum(reserved), 0)::int as reserved,
           (select coalesce(sum(waiting), 0)::int from shortfalls where org_id = $1 and variant_id = $2) as short
         from positions where org_id = $1 and variant_id = $2`,
        [org.orgId, org.variants[sku]],
      );
      return row ?? { sellable: 0, committed: 0, reserved: 0, short: 0 };
    },
  };
}

export async function makeOrg(owner: pg.Pool, store: Store, skus: readonly string[]): Promise<Org> {
  const [orgId, main, east] = [ids.uuid(), ids.uuid(), ids.uuid()];
  await owner.query(`insert into organizations (org_id, name, slug) values ($1, 'Test', $2)`, [orgId, orgId]);
  await owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority) values ($1, $2, 'MAIN', 'Main', true, 1), ($1, $3, 'EAST', 'East', false, 2)`,
    [orgId, main, east],
  );
  const variants = Object.fromEntries(skus.map((sku) => [sku, ids.uuid()]));
  for (const [sku, id] of Object.entries(variants))
    await owner.query('insert into variants (org_id, id, sku) values ($1, $2, $3)', [orgId, id, sku]);
  let counts = 0;
  return {
    orgId,
    main,
    east,
    variants,
    async stock(sku, units, location = main) {
      counts += 1;
      await store.tenant(orgId, (tx) =>
        post(
          tx,
          orgId,
          [
            {
              kind: 'count',
              key: `test:count:${counts}`,
              businessAt: clock.now(),
              reason: 'cycle_count',
              variantId: variants[sku] as never,
              locationId: location as never,
              set: units,
            },
          ],
          { actor: 'test', now: clock.now(), ids },
        ),
      );
    },
  };
}

/** A connection with listings of the organization's SKUs (stock key `item-{sku}`), without any channel behind it. */
export async function makeConnection(
  owner: pg.Pool,
  store: Store,
  org: Org,
  options: {
    secret?: string;
    shopDomain?: string;
    createdAt?: number;
    unlisted?: string[];
    places?: Record<string, string>;
  } = {},
): Promise<ConnectionRef & { token: string; secret: string }> {
  const { secret = ids.uuid(), shopDomain = `${ids.uuid()}.myshopify.com`, unlisted = [] } = options;
  const connectionId = ids.uuid();
  const token = Buffer.from(ids.uuid() + ids.uuid()).toString('base64url');
  await store.tenant(org.orgId, async (tx) => {
    await createConnection(tx, org.orgId, {
      id: connectionId,
      platform: 'shopify',
      kind: 'simulated',
      name: shopDomain,
      baseUrl: null,
      settings: { shopDomain },
      credentials: null,
      webhookSecrets: vault.seal(JSON.stringify([secret]), {
        orgId: org.orgId,
        connectionId,
        column: 'webhook_secrets',
      }),
      webhookFingerprints: [fingerprint(secret)],
      webhookToken: token,
      createdAt: options.createdAt ?? clock.now() - 3_600_000,
    });
    for (const [place, location] of Object.entries(options.places ?? { 'gid://shopify/Location/1': org.main }))
      await mapLocation(tx, org.orgId, connectionId, place, location);
  });
  for (const [sku, variantId] of Object.entries(org.variants)) {
    if (unlisted.includes(sku)) continue;
    await owner.query(
      `insert into listings (org_id, id, connection_id, variant_id, external_id, variant_external_id, channel_sku, stock_key) values ($1, $2, $3, $4, $5, $6, $5, $7)`,
      [org.orgId, ids.uuid(), connectionId, variantId, sku, `variant-${sku}`, `item-${sku}`],
    );
  }
  return { orgId: org.orgId, connectionId, token, secret };
}

/** A line of a channel's order; what is not said follows from `wanted`. */
export function line(sku: string, wanted: number, more: Partial<ChannelOrderLine> = {}): ChannelOrderLine {
  return {
    externalId: `line-${sku}`,
    stockKey: `item-${sku}`,
    variantExternalId: null,
    channelSku: sku,
    title: sku,
    ordered: wanted,
    wanted,
    shipped: 0,
    taken: wanted,
    channelLocation: null,
    bundleParent: false,
    ...more,
  };
}

export function order(
  externalId: string,
  updatedAt: number,
  lines: ChannelOrderLine[],
  more: Partial<ChannelOrder> = {},
): ChannelOrder {
  return {
    externalId,
    number: `#${externalId}`,
    placedAt: updatedAt,
    updatedAt,
    state: 'open',
    payment: 'paid',
    fulfillment: 'unfulfilled',
    fulfilledBy: 'us',
    currency: 'USD',
    totalMinor: 1_000,
    test: false,
    lines,
    ...more,
  };
}

/** An orders/* webhook body as Shopify sends it. Times are cut to its resolution of a second. */
export function restOrder(
  id: number | string,
  updatedAt: number,
  lines: { id: number; sku: string; quantity: number; current?: number }[],
  more: Record<string, unknown> = {},
): string {
  const stamp = (at: number) => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
  const body = {
    id: 0,
    name: `#${id}`,
    created_at: stamp(updatedAt),
    updated_at: stamp(updatedAt),
    cancelled_at: null,
    confirmed: true,
    test: false,
    financial_status: 'paid',
    fulfillment_status: null,
    location_id: null,
    currency: 'USD',
    total_price: '10.00',
    line_items: lines.map(({ id: lineId, sku, quantity, current = quantity }) => ({
      id: lineId,
      variant_id: null,
      sku,
      title: sku,
      quantity,
      current_quantity: current,
      fulfillable_quantity: current,
    })),
    fulfillments: [],
    refunds: [],
    returns: [],
    line_item_groups: [],
    ...more,
  };
  return JSON.stringify(body).replace('"id":0', `"id":${id}`);
}

export const sign = (body: string, secret: string): string =>
  createHmac('sha256', secret).update(body).digest('base64');

export interface Taken {
  intake: Intake;
  log: Logged[];
  /** Commits of stored deliveries: how many each held. */
  commits: number[];
  outcomes: Record<string, number>;
  /** A version of an order as a sweep would bring it; `applied` waits until the inbox is empty. */
  bring(connection: ConnectionRef, ...orders: ChannelOrder[]): Promise<void>;
  /** A signed webhook, as the route hands it on. */
  webhook(connection: ConnectionRef, topic: string, body: string, deliveryId?: string): Promise<string>;
}

export function takeIn(
  store: Store,
  options: Partial<IntakeOptions> & { opened?: (connection: ConnectionRef) => OpenedConnection | null } = {},
): Taken {
  const log: Logged[] = [];
  const commits: number[] = [];
  const outcomes: Record<string, number> = {};
  const note = (level: string) => (fields: Record<string, unknown>, message: string) =>
    void log.push({ ...fields, level, message });
  const intake = createIntake({
    store,
    connectorOf: (platform) => (platform === 'shopify' ? shopify : null),
    platforms: ['shopify'],
    openConnection: async (connection) => options.opened?.(connection) ?? null,
    vault,
    clock,
    random,
    ids,
    log: { info: note('info'), warn: note('warn'), error: note('error') },
    retryMs: 20,
    metrics: {
      stored: (count) => commits.push(count),
      applied: (outcome, count) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
      },
    },
    ...options,
  });
  return {
    intake,
    log,
    commits,
    outcomes,
    async bring(connection, ...orders) {
      await Promise.all(orders.map((one) => intake.receive(deliveryOf(connection, one))));
      await intake.drain();
    },
    async webhook({ orgId, connectionId }, topic, body, deliveryId = ids.uuid()) {
      const raw = Buffer.from(body);
      const identity = shopify.webhook?.identify(raw, { 'x-shopify-topic': topic, 'x-shopify-webhook-id': deliveryId });
      if (!identity) throw new Error('no webhooks');
      const { kind } = await intake.receive({ orgId, connectionId, source: 'webhook', ...identity, body: raw });
      return kind;
    },
  };
}

/** The real connector over the real transport against a simulated shop. */
export function openShop(
  url: string,
  shopDomain: string,
  connectionId: string,
): { opened: OpenedConnection; close(): Promise<void> } {
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl: url,
    allowedHosts: [],
    allowCustomEndpoints: true,
    budgets: createBudgets(clock, shopify.manifest.budgets),
    log: () => {},
  });
  const channel = shopify.open({
    connectionId,
    kind: 'simulated',
    baseUrl: url,
    settings: { shopDomain },
    credentials: { accessToken: 'shpat_test' },
    transport,
    clock,
    random,
  });
  const manifest = { ...shopify.manifest, orders: { ...shopify.manifest.orders, lagMs: 0 } };
  return { opened: { manifest, channel }, close: async () => transport.close() };
}

/** In the place of the webhook route: resolve → verify → identify → store → 200. */
export async function webhookServer(
  intake: Intake,
): Promise<{ url: string; answers: number[]; close(): Promise<void> }> {
  const answers: number[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', async () => {
      const status = await answer(
        intake,
        request.url ?? '',
        request.headers as Record<string, string>,
        Buffer.concat(parts),
      ).catch(() => 500);
      answers.push(status);
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answers,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function answer(intake: Intake, path: string, headers: Record<string, string>, raw: Buffer): Promise<number> {
  const [, , platform = '', token = null] = path.split('/');
  const found = await intake.resolve(platform, token, headers['x-shopify-shop-domain'] ?? null);
  if (!found || !shopify.webhook?.verify(raw, headers, found.secrets)) return 401;
  const identity = shopify.webhook.identify(raw, headers);
  const { kind } = await intake.receive({
    orgId: found.orgId,
    connectionId: found.connectionId,
    source: 'webhook',
    ...identity,
    body: raw,
  });
  return kind === 'foreign' ? 401 : 200;
}
