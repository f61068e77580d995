/**
 * Many tenants: what 1,000 organizations with 3 orders each cost beside 3,000 orders of one, through intake as it runs (inbox, drain,
 * orders, ledger, row security; scope batch, races.md 30): rows are stored, then the drain runs until none waits.
 *
 * The yardstick is the one tenant's rate, measured in turn. Orders are our own normalised ones, as a sweep stores them.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { realClock, realIds, realRandom } from '#server/deps.ts';
import { createIntake } from '#server/flows/intake.ts';
import { testStore } from '#store/ledger/ledger.testing.ts';
import { appUrl } from '#store/migrate.ts';
import { median, met, round } from './kit/figures.ts';
import { databaseSettings } from './kit/product.ts';
import { scratchDatabase } from './kit/scratch-database.ts';
import type { BenchResult } from './run.ts';

const organizations = 1_000;
const each = 3;
const rounds = 2;
/** At least this part of one tenant's rate. */
const bar = 0.7;

interface Tenant {
  orgId: string;
  connectionId: string;
}

/** Organizations with one location, SKUs A–J in stock and one connection that lists them. */
async function found(owner: pg.Pool, count: number, skus: number): Promise<Tenant[]> {
  const tenants = Array.from({ length: count }, () => ({ orgId: realIds.uuid(), connectionId: realIds.uuid() }));
  const orgs = tenants.map(({ orgId }) => orgId);
  const connections = tenants.map(({ connectionId }) => connectionId);
  await owner.query(`insert into organizations (org_id, name, slug) select o, 'T', o::text from unnest($1::uuid[]) o`, [
    orgs,
  ]);
  await owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority) select o, o, 'MAIN', 'Main', true, 1 from unnest($1::uuid[]) o`,
    [orgs],
  );
  await owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token, created_at)
     select o, c, 'shopify', 'simulated', 'Shop', c::text, now() - interval '1 day' from unnest($1::uuid[], $2::uuid[]) as t (o, c)`,
    [orgs, connections],
  );
  await owner.query(
    `insert into connection_locations (org_id, connection_id, channel_location, location_id)
     select o, c, 'main', o from unnest($1::uuid[], $2::uuid[]) as t (o, c)`,
    [orgs, connections],
  );
  await owner.query(
    `with v as (insert into variants (org_id, id, sku) select o, gen_random_uuid(), 'S' || n from unnest($1::uuid[]) o, generate_series(1, $3::int) n
       returning org_id, id, sku),
     p as (insert into positions (org_id, variant_id, location_id, sellable) select org_id, id, org_id, 1000000 from v)
     insert into listings (org_id, id, connection_id, variant_id, external_id, channel_sku, stock_key)
     select v.org_id, gen_random_uuid(), t.c, v.id, v.sku, v.sku, v.sku from v join unnest($1::uuid[], $2::uuid[]) as t (o, c) on t.o = v.org_id`,
    [orgs, connections, skus],
  );
  await owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, compare_and_set, variant_id, base, base_at, expected, observed, state)
     select l.org_id, gen_random_uuid(), l.connection_id, l.stock_key, 'main', true, l.variant_id, 1000000, now() - interval '1 day', 1000000, 1000000, 'in_sync'
     from listings l where l.org_id = any ($1::uuid[])`,
    [orgs],
  );
  return tenants;
}

let orders = 0;
function orderOf(skus: number) {
  orders += 1;
  const at = Date.now();
  const sku = `S${1 + (orders % skus)}`;
  return {
    externalId: `bench-${orders}`,
    number: `#${orders}`,
    state: 'open',
    payment: 'paid',
    fulfillment: 'unfulfilled',
    fulfilledBy: 'us',
    updatedAt: at,
    placedAt: at,
    pending: false,
    currency: 'USD',
    totalMinor: 1_000,
    test: false,
    lines: [
      {
        externalId: randomUUID(),
        channelSku: sku,
        stockKey: sku,
        variantExternalId: null,
        title: sku,
        ordered: 1,
        wanted: 1,
        shipped: 0,
        taken: 1,
        channelLocation: 'main',
        bundleParent: false,
      },
    ],
  };
}

async function store_(owner: pg.Pool, tenants: readonly Tenant[], perTenant: number, skus: number): Promise<void> {
  const rows = tenants.flatMap((tenant) =>
    Array.from({ length: perTenant }, () => ({ ...tenant, order: orderOf(skus) })),
  );
  rows.sort(() => Math.random() - 0.5);
  await owner.query(
    `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, next_at)
     select o, gen_random_uuid(), c, 'order', x, 'sweep', 'poll', sha256(convert_to(b, 'utf8')), convert_to(b, 'utf8'), now(), now()
     from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as r (o, c, x, b)`,
    [
      rows.map(({ orgId }) => orgId),
      rows.map(({ connectionId }) => connectionId),
      rows.map(({ order }) => order.externalId),
      rows.map(({ order }) => JSON.stringify(order)),
    ],
  );
}

export async function run(): Promise<BenchResult> {
  const { url, stop } = await scratchDatabase();
  const owner = new pg.Pool({ connectionString: url, max: 1 });
  owner.on('error', () => undefined);
  const store = testStore(appUrl(url), 8);
  try {
    const many = await found(owner, organizations, 10);
    const one = await found(owner, 1, 10 * organizations);
    await owner.query('analyze');
    const intake = createIntake({
      store,
      connectorOf: () => null,
      platforms: [],
      openConnection: async () => null,
      vault: null as never,
      clock: realClock,
      random: realRandom,
      ids: realIds,
      log: { info() {}, warn() {}, error: (...told: unknown[]) => console.error(...told) } as never,
    });
    const drain = async (tenants: readonly Tenant[], perTenant: number, skus: number) => {
      await store_(owner, tenants, perTenant, skus);
      const from = performance.now();
      // Three at once, as the server's drain works.
      await Promise.all([intake.drain(), intake.drain(), intake.drain()]);
      const perSecond = (tenants.length * perTenant) / ((performance.now() - from) / 1_000);
      const { rows } = await owner.query<{ left: number }>(
        `select count(*)::int as left from inbox where state <> 'done'`,
      );
      if (rows[0]?.left !== 0) throw new Error(`${rows[0]?.left} orders were not applied`);
      return perSecond;
    };
    await drain(many.slice(0, 100), each, 10);
    await drain(one, 300, 10 * organizations);
    const figures = { many: [] as number[], one: [] as number[] };
    for (let n = 0; n < rounds; n += 1) {
      figures.many.push(await drain(many, each, 10));
      figures.one.push(await drain(one, organizations * each, 10 * organizations));
    }
    const [own, yard] = [median(figures.many), median(figures.one)];
    return {
      title: `Orders drained a second: ${organizations} organizations x ${each}, beside ${organizations * each} of one`,
      rows: [
        {
          figure: 'orders/s',
          'many tenants': Math.round(own),
          'one tenant': Math.round(yard),
          ratio: round(own / yard),
          bar: `>= ${bar}`,
          is: met(own / yard >= bar),
        },
      ],
      settings: { ...(await databaseSettings(owner)), rounds },
    };
  } finally {
    await store.end();
    await owner.end();
    await stop();
  }
}
