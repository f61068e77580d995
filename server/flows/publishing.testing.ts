/**
 * An organization that publishes to a simulated vendor, for tests of the lanes: real PostgreSQL, real simulator over
 * loopback HTTP, the real connector over the real transport. Orders are "imported" by hand, so that a test decides when
 * we learn of a sale.
 */
import { createBudgets } from '#connectors/kit/budget.ts';
import type { Channel, Connector, Manifest, Transport } from '#connectors/kit/ports.ts';
import { type CallLogEntry, type ConnectionTransport, createTransport } from '#connectors/kit/transport.ts';
import type { Clock } from '#core/effects.ts';
import { LineId, type LocationId, type OrgId, type VariantId } from '#core/ids.ts';
import { uuidv7 } from '#core/uuid.ts';
import { createSimClock, type SimClock } from '#sim/kit/clock.ts';
import { createSimulatorHost, type SimulatorHost } from '#sim/kit/server.ts';
import type { Simulator } from '#sim/kit/simulator.ts';
import { exchangeLimits } from '#store/connections/limits.ts';
import { post } from '#store/ledger/post.ts';
import { applyChannelEffects, dropSettledUnplaced } from '#store/listings/effects.ts';
import { upsertListings } from '#store/listings/listings.ts';
import { recordObservation } from '#store/listings/observations.ts';
import { realClock, realRandom, type TestDatabase, testOrganization } from '#store/testing/database.ts';
import { createLane } from './lane.ts';
import { createPublisher } from './publisher.ts';
import type {
  ConnectionRef,
  Lane,
  LaneHooks,
  LaneOptions,
  OpenedConnection,
  Publisher,
  PublisherOptions,
} from './publisher-types.ts';

export const quiet = {
  info() {},
  warn() {},
  error(fields: Record<string, unknown>, message: string) {
    failures.push({ ...fields, message });
  },
};
/** What flows logged as errors. */
export const failures: Record<string, unknown>[] = [];

export interface TargetRow {
  id: string;
  desired: number | null;
  expected: number | null;
  expected_high: number | null;
  accepted: number | null;
  observed: number | null;
  observed_source: string | null;
  unseen: number;
  state: string;
  reason: string | null;
  settles_at: Date | null;
  dirty: boolean;
}

export interface SimCall {
  n: number;
  operation: string;
  method: string;
  status: number | null;
  body: string;
  response: string;
  applied: boolean;
}

export interface Shop {
  connection: ConnectionRef;
  opened: OpenedConnection;
  simulator: Simulator;
  url: string;
  /**
   * The same connection as another process opens it: the vendor's own budgets, shared through the database.
   * With `over` nothing is shared: whoever opens it so wraps the way out, and closes it.
   */
  open(another?: { clock: Clock; over: (way: ConnectionTransport) => Transport }): Channel;
  /** Calls as they left, newest last. */
  log: CallLogEntry[];
  control(path: string, body?: unknown, method?: string): Promise<Record<string, never>>;
  /** The vendor's own number. */
  number(sku: string, place?: string): Promise<number>;
  order(sku: string, quantity: number, more?: object): Promise<string>;
  calls(operation?: string): Promise<SimCall[]>;
  fault(fault: object): Promise<void>;
}

export interface Stage {
  db: TestDatabase;
  orgId: OrgId;
  clock: SimClock;
  host: SimulatorHost;
  main: LocationId;
  east: LocationId;
  variants: Record<string, VariantId>;
  ids: { uuid(): string };
  variant(sku: string): Promise<VariantId>;
  bundle(sku: string, parts: Record<string, number>): Promise<VariantId>;
  stock(sku: string, units: number, location?: LocationId): Promise<void>;
  /** A sale elsewhere (or a manual order): units are owed. */
  sell(sku: string, units: number): Promise<void>;
  /** An order of this connection becomes known: its claims and what it did to the channel's number, in one commit. */
  importSale(
    shop: Shop,
    sku: string,
    units: number,
    at: number,
    place?: string | null,
    order?: { externalId: string; swept: boolean },
  ): Promise<void>;
  webhook(shop: Shop, sku: string, place: string, value: number, vendorAt: number): Promise<string>;
  readOrdersTo(shop: Shop, at: number): Promise<void>;
  policy(
    scope: string,
    scopeId: string,
    fields: { buffer?: number; shareBp?: number; cap?: number; drift?: 'heal' | 'ask' | 'adopt' },
  ): Promise<void>;
  connect(options: ConnectOptions): Promise<Shop>;
  list(
    shop: Shop,
    listings: {
      sku: string;
      variantSku?: string | null;
      stockKey: string;
      externalId: string;
      variantExternalId?: string | null;
    }[],
  ): Promise<Awaited<ReturnType<typeof upsertListings>>>;
  lane(shop: Shop, more?: Partial<LaneOptions>): Lane;
  publisher(shops: readonly Shop[], more?: Partial<PublisherOptions>): Publisher;
  target(shop: Shop, stockKey: string, place: string): Promise<TargetRow>;
  attempts(
    shop: Shop,
  ): Promise<{ value: number; from_value: number | null; outcome: string | null; call_key: string }[]>;
  close(): Promise<void>;
}

export interface ConnectOptions {
  connector: Connector;
  simulator: Simulator;
  manifest?: Manifest;
  settings: Record<string, unknown>;
  credentials: Record<string, string>;
  places: { channelLocation: string; locationId: LocationId }[];
}

/**
 * @param options.ordersFollow orders are known past every first number as soon as it is read (default), as on a connection that has
 *   long been ours; false: only as `readOrdersTo` says, and what was read first is not raised before
 */
export async function publishingStage(
  db: TestDatabase,
  options: { clock?: Clock; ordersFollow?: boolean } = {},
): Promise<Stage> {
  const clock = createSimClock(options.clock ?? realClock);
  const random = realRandom;
  const ids = {
    uuid: () =>
      uuidv7(
        clock.now(),
        Uint8Array.from({ length: 10 }, () => Math.floor(Math.random() * 256)),
      ),
  };
  const orgId = (await testOrganization(db)) as OrgId;
  const [main, east] = [ids.uuid() as LocationId, ids.uuid() as LocationId];
  await db.owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority) values ($1, $2, 'MAIN', 'Main', true, 100), ($1, $3, 'EAST', 'East', false, 200)`,
    [orgId, main, east],
  );
  const host = await createSimulatorHost({ clock });
  const variants: Record<string, VariantId> = {};
  const stops: (() => Promise<void>)[] = [];
  let keys = 0;
  const tenant: typeof db.store.tenant = (org, work, more) => db.store.tenant(org, work, more);
  const ledger = () => ({ actor: 'test', ids, now: clock.now() });
  const keyed = () => {
    keys += 1;
    return { key: `test:${keys}`, businessAt: clock.now(), reason: 'test' };
  };
  const following = (hooks: LaneHooks = {}): LaneHooks => ({
    ...hooks,
    async afterReadRecord(targetIds) {
      if (options.ordersFollow !== false)
        await db.owner.query(
          `with read as materialized (select id from targets where org_id = $1 and id = any ($2) and raise_after is not null order by id for update)
           update targets set raise_after = null where org_id = $1 and id in (select id from read)`,
          [orgId, targetIds],
        );
      await hooks.afterReadRecord?.(targetIds);
    },
  });
  const id = (sku: string): VariantId => {
    const found = variants[sku];
    if (!found) throw new Error(`no variant ${sku}`);
    return found;
  };

  const stage: Stage = {
    db,
    orgId,
    clock,
    host,
    main,
    east,
    variants,
    ids,
    async variant(sku) {
      const variantId = ids.uuid() as VariantId;
      await db.owner.query(`insert into variants (org_id, id, sku) values ($1, $2, $3)`, [orgId, variantId, sku]);
      variants[sku] = variantId;
      return variantId;
    },
    async bundle(sku, parts) {
      const variantId = await stage.variant(sku);
      await db.owner.query(`update variants set is_bundle = true where org_id = $1 and id = $2`, [orgId, variantId]);
      for (const [part, units] of Object.entries(parts))
        await db.owner.query(
          `insert into bundle_components (org_id, variant_id, component_id, units, valid_from) values ($1, $2, $3, $4, now())`,
          [orgId, variantId, id(part), units],
        );
      return variantId;
    },
    async stock(sku, units, location = main) {
      await tenant(orgId, (tx) =>
        post(
          tx,
          orgId,
          [{ ...keyed(), kind: 'count', variantId: id(sku), locationId: location, set: units as never }],
          ledger(),
        ),
      );
    },
    async sell(sku, units) {
      await tenant(orgId, (tx) =>
        post(
          tx,
          orgId,
          [
            {
              ...keyed(),
              kind: 'commit',
              wish: false,
              lines: [{ lineId: LineId(ids.uuid()), variantId: id(sku), units: units as never, locationId: null }],
            },
          ],
          ledger(),
        ),
      );
    },
    async importSale(shop, sku, units, at, place = null, order = undefined) {
      const stockKey = (
        await db.owner.query(
          `select stock_key from listings where org_id = $1 and connection_id = $2 and channel_sku = $3`,
          [orgId, shop.connection.connectionId, sku],
        )
      ).rows[0].stock_key as string;
      await tenant(orgId, async (tx) => {
        await post(
          tx,
          orgId,
          [
            {
              ...keyed(),
              kind: 'commit',
              wish: false,
              lines: [{ lineId: LineId(ids.uuid()), variantId: id(sku), units: units as never, locationId: null }],
            },
          ],
          ledger(),
        );
        await applyChannelEffects(
          tx,
          orgId,
          shop.connection.connectionId,
          [{ stockKey, channelLocation: place, units, at, ...(order && { order }) }],
          { now: clock.now(), ids },
        );
      });
    },
    async webhook(shop, sku, place, value, vendorAt) {
      const stockKey = (
        await db.owner.query(
          `select stock_key from listings where org_id = $1 and connection_id = $2 and channel_sku = $3`,
          [orgId, shop.connection.connectionId, sku],
        )
      ).rows[0].stock_key as string;
      const result = await tenant(orgId, (tx) =>
        recordObservation(
          tx,
          orgId,
          shop.connection.connectionId,
          { stockKey, channelLocation: place, value, vendorAt },
          { ids, now: clock.now() },
        ),
      );
      return result.verdict;
    },
    async readOrdersTo(shop, at) {
      await db.owner.query(
        `update connections set orders_read_to = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2`,
        [orgId, shop.connection.connectionId, at],
      );
      const { connectionId } = shop.connection;
      await db.store.tenant(orgId, (tx) => dropSettledUnplaced(tx, orgId, connectionId, { keys: null, readTo: at }));
    },
    async policy(scope, scopeId, fields) {
      await db.owner.query(
        `update policies set valid_to = now() where org_id = $1 and scope = $2 and scope_id = $3 and valid_to is null`,
        [orgId, scope, scopeId],
      );
      await db.owner.query(
        `insert into policies (org_id, id, scope, scope_id, buffer, share_bp, cap, drift, valid_from, actor) values ($1, $2, $3, $4, $5, $6, $7, $8, now(), 'test')`,
        [
          orgId,
          ids.uuid(),
          scope,
          scopeId,
          fields.buffer ?? null,
          fields.shareBp ?? null,
          fields.cap ?? null,
          fields.drift ?? null,
        ],
      );
      await db.owner.query(
        `insert into dirty_policies as d (org_id, scope, scope_id) values ($1, $2, $3) on conflict (org_id, scope, scope_id) do update set version = d.version + 1`,
        [orgId, scope, scopeId],
      );
    },
    connect: (connectOptions) => connect(stage, connectOptions, stops),
    async list(shop, listings) {
      return tenant(orgId, (tx) =>
        upsertListings(
          tx,
          orgId,
          shop.connection.connectionId,
          listings.map((listing) => ({
            externalId: listing.externalId,
            variantExternalId: listing.variantExternalId ?? null,
            channelSku: listing.sku,
            stockKey: listing.stockKey,
            title: listing.sku,
            fulfilledBy: 'us',
            notWritable: null,
            variantId: listing.variantSku === null ? null : id(listing.variantSku ?? listing.sku),
            channelLocations: null,
          })),
          { ids, now: clock.now(), compareAndSet: shop.opened.manifest.stock.compareAndSet },
        ),
      );
    },
    lane(shop, more = {}) {
      const lane = createLane({
        store: db.store,
        connection: shop.connection,
        opened: shop.opened,
        clock,
        random,
        ids,
        log: quiet,
        ...more,
        hooks: following(more.hooks),
      });
      stops.push(() => lane.stop());
      return lane;
    },
    publisher(shops, more = {}) {
      const publisher = createPublisher({
        store: db.store,
        clock,
        random,
        ids,
        log: quiet,
        openConnection: async ({ connectionId }) =>
          shops.find((shop) => shop.connection.connectionId === connectionId)?.opened ?? null,
        stockSweepMs: 0,
        ...more,
        hooks: following(more.hooks),
      });
      stops.push(() => publisher.stop());
      return publisher;
    },
    async target(shop, stockKey, place) {
      const { rows } = await db.owner.query(
        `select id, desired, expected, expected_high, accepted, observed, observed_source, unseen, state, reason, settles_at, dirty_version > handled_version as dirty
         from targets where org_id = $1 and connection_id = $2 and stock_key = $3 and channel_location = $4`,
        [orgId, shop.connection.connectionId, stockKey, place],
      );
      return rows[0] as TargetRow;
    },
    async attempts(shop) {
      const { rows } = await db.owner.query(
        `select value, from_value, outcome, call_key from attempts where org_id = $1 and connection_id = $2 order by sent_at, id`,
        [orgId, shop.connection.connectionId],
      );
      return rows;
    },
    async close() {
      for (const stop of stops) await stop();
      await host.close();
    },
  };
  return stage;
}

async function connect(stage: Stage, options: ConnectOptions, stops: (() => Promise<void>)[]): Promise<Shop> {
  const { db, orgId, clock, host, ids } = stage;
  const { connector, simulator } = options;
  host.mount(simulator);
  const url = host.url(simulator.name);
  const connectionId = ids.uuid();
  const manifest = options.manifest ?? connector.manifest;
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, base_url, settings, webhook_token) values ($1, $2, $3, 'simulated', $4, $5, '{}', $6)`,
    [orgId, connectionId, manifest.platform, simulator.name, url, ids.uuid()],
  );
  for (const { channelLocation, locationId } of options.places)
    await db.owner.query(
      `insert into connection_locations (org_id, connection_id, channel_location, location_id) values ($1, $2, $3, $4)`,
      [orgId, connectionId, channelLocation, locationId],
    );
  const unlimited = () =>
    createBudgets(
      clock,
      Object.fromEntries(
        Object.entries(manifest.budgets).map(([name, limits]) => [
          name,
          { ...limits, ratePerSecond: 10_000, capacity: 10_000 },
        ]),
      ),
    );
  const simulated = {
    random: realRandom,
    kind: 'simulated',
    baseUrl: url,
    allowedHosts: [],
    allowCustomEndpoints: true,
  } as const;
  const log: CallLogEntry[] = [];
  const transport = createTransport({ ...simulated, clock, budgets: unlimited(), log: (entry) => log.push(entry) });
  const over = (way: Transport, itsClock: Clock = clock) =>
    connector.open({
      connectionId,
      kind: 'simulated',
      baseUrl: url,
      settings: options.settings,
      credentials: options.credentials,
      transport: way,
      clock: itsClock,
      random: realRandom,
    });
  const channel = over(transport);
  const control: Shop['control'] = async (path, body, method = body === undefined ? 'GET' : 'POST') => {
    const response = await fetch(`${url}/_sim${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return text === '' ? {} : JSON.parse(text);
  };
  return {
    connection: { orgId, connectionId },
    opened: { manifest, channel },
    open(way) {
      if (way) return over(way.over(createTransport({ ...simulated, clock, budgets: unlimited() })), way.clock);
      const holder = ids.uuid();
      const another = createTransport({
        ...simulated,
        clock,
        budgets: createBudgets(clock, manifest.budgets),
        shared: {
          exchange: (asked) =>
            db.store.tenant(orgId, (tx) =>
              exchangeLimits(tx, orgId, connectionId, holder, asked, { now: clock.now(), ids }),
            ),
        },
      });
      stops.push(() => another.close());
      return over(another);
    },
    simulator,
    url,
    log,
    control,
    async number(sku, place) {
      const { items } = (await control('/state')) as unknown as {
        items: { sku: string; location: string; quantity: number }[];
      };
      const item = items.find((one) => one.sku === sku && (place === undefined || one.location === place));
      if (!item) throw new Error(`no number of ${sku} at ${place}`);
      return item.quantity;
    },
    async order(sku, quantity, more = {}) {
      const { id } = (await control('/orders', { lines: [{ sku, quantity }], status: 'paid', ...more })) as unknown as {
        id: string;
      };
      return id;
    },
    async calls(operation) {
      const { calls } = (await control('/calls?since=0')) as unknown as { calls: SimCall[] };
      return operation === undefined ? calls : calls.filter((call) => call.operation === operation);
    },
    async fault(fault) {
      await control('/faults', fault);
    },
  };
}

/** Looks again and again; what does not happen in 8 s is a failure. */
export async function until(check: () => Promise<boolean>, everyMs = 20): Promise<void> {
  const end = performance.now() + 8_000;
  while (!(await check())) {
    if (performance.now() > end) throw new Error('it did not happen in 8 s');
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
