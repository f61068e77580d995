/**
 * Lists and searches as the API makes them, as the app role under row security: 100,000 SKUs and 1,000,000 movements of 50
 * organizations, half of them of one large merchant; asked by the large one and by a small one.
 *
 * Yardstick beside each figure: `select 1` in the same scope (a transaction's two round trips).
 */
import pg from 'pg';
import { testStore } from '#store/ledger/ledger.testing.ts';
import { appUrl } from '#store/migrate.ts';
import type { Tx } from '#store/tx.ts';
import { readItem, readItems } from '#store/views/inventory.ts';
import { readMovements } from '#store/views/movements.ts';
import { readOrders } from '#store/views/orders.ts';
import { met, quantiles, round } from './kit/figures.ts';
import { databaseSettings } from './kit/product.ts';
import { scratchDatabase } from './kit/scratch-database.ts';
import type { BenchResult } from './run.ts';

const tenants = 50;
const skus = { large: 50_000, small: 1_020 };
const perSku = 10;
const rounds = 40;
const barMs = 50;

const orgOf = (tenant: number): string => `00000000-0000-4000-8000-${String(tenant).padStart(12, '0')}`;

/** Straight into the tables: loading them is not what is measured. Titles are words a merchant would search for. */
export async function seed(owner: pg.Pool): Promise<void> {
  await owner.query(
    `insert into organizations (org_id, name, slug) select ('00000000-0000-4000-8000-' || lpad(t::text, 12, '0'))::uuid, 'T' || t, 't' || t
     from generate_series(1, $1) t`,
    [tenants],
  );
  await owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority) select org_id, org_id, 'MAIN', 'Main', true, 1 from organizations`,
  );
  for (const [from, to, count] of [
    [1, 1, skus.large],
    [2, tenants, skus.small],
  ] as const) {
    await owner.query(
      `insert into variants (org_id, id, sku, title, barcode)
       select ('00000000-0000-4000-8000-' || lpad(t::text, 12, '0'))::uuid, gen_random_uuid(), 'SKU-' || lpad(n::text, 6, '0'),
         (array['Tee', 'Mug', 'Cap', 'Tote', 'Sock', 'Scarf', 'Bottle', 'Hoodie'])[1 + n % 8] || ' ' ||
         (array['black', 'white', 'red', 'blue', 'green', 'grey', 'navy'])[1 + n % 7] || ' ' || n, '40' || lpad((n * 7919)::text, 11, '0')
       from generate_series($1::int, $2::int) t, generate_series(1, $3::int) n`,
      [from, to, count],
    );
  }
  await owner.query(
    `insert into positions (org_id, variant_id, location_id, sellable) select org_id, id, org_id, 100 from variants`,
  );
  await owner.query(
    `insert into movements (org_id, id, variant_id, units, to_location, to_bucket, kind, reason, reference, actor, effect_key, business_at)
     select v.org_id, gen_random_uuid(), v.id, 1 + n, v.org_id, 'sellable', 'receipt', 'received', 'PO-' || right(v.sku, 4) || '-' || n, 'bench',
       'bench:' || v.id || ':' || n, timestamptz '2026-01-01' + (hashtext(v.id::text || n) & 16777215) * interval '1 second'
     from variants v, generate_series(1, $1::int) n`,
    [perSku],
  );
  await owner.query('vacuum analyze');
}

type Ask = (tx: Tx, orgId: string, round: number, skuCount: number) => Promise<unknown>;

const page = { limit: 50, after: null, search: null, location: null };
const skuAt = (n: number) => `SKU-${String(n).padStart(6, '0')}`;

export const questions: readonly [name: string, ask: Ask][] = [
  ['one SKU', (tx, org, n, count) => readItem(tx, org, skuAt(1 + ((n * 977) % count)))],
  ['first page', (tx, org) => readItems(tx, org, page)],
  ['page in the middle', (tx, org, n, count) => readItems(tx, org, { ...page, after: skuAt((n * 977) % count) })],
  ['search a SKU', (tx, org, n, count) => readItems(tx, org, { ...page, search: skuAt(1 + ((n * 977) % count)) })],
  ['search a common word', (tx, org) => readItems(tx, org, { ...page, search: 'hoodie' })],
  ['search nothing has', (tx, org) => readItems(tx, org, { ...page, search: 'zzz' })],
  ['movements, newest', (tx, org) => readMovements(tx, org, { sku: null, search: null, limit: 50, after: null })],
  [
    'movements of a SKU',
    (tx, org, n, count) =>
      readMovements(tx, org, { sku: skuAt(1 + ((n * 977) % count)), search: null, limit: 50, after: null }),
  ],
  [
    'movements, search',
    (tx, org, n, count) =>
      readMovements(tx, org, {
        sku: null,
        search: `PO-${skuAt(1 + ((n * 977) % count)).slice(-4)}-3`,
        limit: 50,
        after: null,
      }),
  ],
  [
    'orders, newest',
    (tx, org) => readOrders(tx, org, { limit: 50, after: null, connectionId: null, externalId: null, search: null }),
  ],
];

export async function run(): Promise<BenchResult> {
  const { url, stop } = await scratchDatabase();
  const owner = new pg.Pool({ connectionString: url, max: 1 });
  const store = testStore(appUrl(url), 2);
  try {
    await seed(owner);
    const timed = async (orgId: string, ask: (tx: Tx) => Promise<unknown>) => {
      const from = performance.now();
      await store.tenant(orgId, ask);
      return performance.now() - from;
    };
    const rows: BenchResult['rows'] = [];
    for (const [size, tenant, count] of [
      ['large', 1, skus.large],
      ['small', 7, skus.small],
    ] as const) {
      const orgId = orgOf(tenant);
      for (const [name, ask] of questions) {
        const own: number[] = [];
        const bare: number[] = [];
        for (let n = 0; n < rounds; n += 1) {
          own.push(await timed(orgId, (tx) => ask(tx, orgId, n, count)));
          bare.push(await timed(orgId, (tx) => tx.query('select 1')));
        }
        const { p50, p95 } = quantiles(own);
        const yard = quantiles(bare);
        rows.push({
          case: `${name}, ${size}`,
          'p50 ms': p50,
          'p95 ms': p95,
          'select 1 p50': yard.p50,
          'select 1 p95': yard.p95,
          ratio: round(p50 / yard.p50),
          bar: `p95 < ${barMs}`,
          is: met(p95 < barMs),
        });
      }
    }
    const { rows: sizes } = await owner.query<{ name: string; rows: number }>(
      `select relname as name, reltuples::int as rows from pg_class where relname in ('variants', 'movements', 'positions')`,
    );
    const settings = {
      ...(await databaseSettings(owner)),
      tenants,
      rows: Object.fromEntries(sizes.map((one) => [one.name, one.rows])),
    };
    return { title: 'Lists and searches under row security', rows, settings };
  } finally {
    await store.end();
    await owner.end();
    await stop();
  }
}
