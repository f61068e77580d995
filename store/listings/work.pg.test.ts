/** What a lane's look loads: which units are off a number and in no booking, and at what cost. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { testStore } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase, testOrganization } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { loadWork } from './work.ts';

let db: TestDatabase;
let store: Store;
let org: string;
beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl, 1);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const noon = Date.UTC(2026, 0, 5, 12);
const ids = { shop: '', other: '', variant: '', main: '', east: '' };
const one = async <T>(sql: string, values: unknown[] = []): Promise<T> =>
  (await db.owner.query(sql, values)).rows[0] as T;

beforeEach(async () => {
  org = await testOrganization(db);
  for (const name of Object.keys(ids) as (keyof typeof ids)[])
    ids[name] = (await one<{ id: string }>('select gen_random_uuid() as id')).id;
  await db.owner.query(`insert into variants (org_id, id, sku) values ($1, $2, 'MUG')`, [org, ids.variant]);
  for (const id of [ids.shop, ids.other])
    await db.owner.query(
      `insert into connections (org_id, id, platform, kind, name, settings, webhook_token, created_at) values ($1, $2::uuid, 'shopify', 'simulated', $2::uuid::text, '{}', $2::uuid::text, to_timestamp($3))`,
      [org, id, noon / 1000],
    );
  await db.owner.query(
    `insert into listings (org_id, id, connection_id, variant_id, external_id, variant_external_id, channel_sku, stock_key)
     values ($1, gen_random_uuid(), $2, $3, 'p-1', 'v-1', 'MUG', 'item-1')`,
    [org, ids.shop, ids.variant],
  );
  for (const [id, place] of [
    [ids.main, 'MAIN'],
    [ids.east, 'EAST'],
  ])
    await db.owner.query(
      `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id) values ($1, $2, $3, 'item-1', $4, $5)`,
      [org, id, ids.shop, place, ids.variant],
    );
});

interface Draft {
  connection?: string;
  status?: string;
  fulfilledBy?: string;
  unmapped?: boolean;
  placedAt?: number;
  stockKey?: string | null;
  variantExternalId?: string | null;
  channelSku?: string | null;
  variantId?: string | null;
  wanted?: number;
  shipped?: number;
  place?: string | null;
  parent?: boolean;
}
async function order(draft: Draft): Promise<void> {
  const { id } = await one<{ id: string }>(
    `insert into orders (org_id, id, connection_id, external_id, number, status, payment, fulfillment, fulfilled_by, channel_version, content_hash, unmapped, placed_at)
     values ($1, gen_random_uuid(), $2, gen_random_uuid(), '1', $3, 'paid', 'unfulfilled', $4, now(), '', $5, to_timestamp($6)) returning id`,
    [
      org,
      draft.connection ?? ids.shop,
      draft.status ?? 'confirmed',
      draft.fulfilledBy ?? 'us',
      draft.unmapped ?? true,
      (draft.placedAt ?? noon) / 1000,
    ],
  );
  await db.owner.query(
    `insert into order_lines (org_id, id, order_id, external_id, stock_key, variant_external_id, channel_sku, variant_id, ordered, wanted, shipped, channel_location, bundle_parent)
     values ($1, gen_random_uuid(), $2, 'l', $3, $4, $5, $6, 9, $7, $8, $9, $10)`,
    [
      org,
      id,
      draft.stockKey === undefined ? 'item-1' : draft.stockKey,
      draft.variantExternalId ?? null,
      draft.channelSku ?? null,
      draft.variantId ?? null,
      draft.wanted ?? 1,
      draft.shipped ?? 0,
      draft.place ?? null,
      draft.parent ?? false,
    ],
  );
}

async function unbooked(): Promise<Record<string, number>> {
  const work = await store.tenant(org, (tx) => loadWork(tx, org, ids.shop, noon, { kind: 'ids', ids: [ids.main] }));
  return Object.fromEntries(work.targets.map((target) => [target.channelLocation, target.unbooked]));
}

test('lines that wait for the SKU of a number are counted where they were sold, once, by whatever names their item first', async () => {
  expect(await unbooked()).toEqual({ MAIN: 0, EAST: 0 });
  await order({ wanted: 2 });
  expect(await unbooked()).toEqual({ MAIN: 2, EAST: 2 });
  await order({ wanted: 3, place: 'EAST' });
  expect(await unbooked()).toEqual({ MAIN: 2, EAST: 5 });
  await order({ stockKey: null, variantExternalId: 'v-1', channelSku: 'MUG', wanted: 4, place: 'MAIN' });
  await order({ stockKey: null, channelSku: 'MUG', wanted: 5, place: 'MAIN' });
  expect(await unbooked()).toEqual({ MAIN: 11, EAST: 5 });
});

test('units that left count as long as their leaving is to be booked; an order older than the connection’s book left without it', async () => {
  await order({ wanted: 5, shipped: 2, place: 'MAIN' });
  await order({ wanted: 5, shipped: 2, place: 'EAST', placedAt: noon - 1 });
  expect(await unbooked()).toEqual({ MAIN: 5, EAST: 3 });
  await order({ status: 'cancelled', wanted: 7, shipped: 1, place: 'MAIN' });
  expect(await unbooked()).toEqual({ MAIN: 6, EAST: 3 });
});

test('what is booked, another channel’s, another item’s, shipped by the channel, or a bundle’s parent does not count', async () => {
  await order({ variantId: ids.variant });
  await order({ unmapped: false });
  await order({ connection: ids.other });
  await order({ stockKey: 'item-2', variantExternalId: 'v-1', channelSku: 'MUG' });
  await order({ stockKey: null, variantExternalId: 'v-2', channelSku: 'CUP' });
  await order({ fulfilledBy: 'channel' });
  await order({ parent: true });
  expect(await unbooked()).toEqual({ MAIN: 0, EAST: 0 });
});

test('a look planned over empty tables reads no line that waits for another item, however many wait', async () => {
  const read = async () => {
    let rows = new Map<string, number>();
    await store.tenant(
      org,
      async (tx) => {
        const count = async () =>
          new Map(
            (
              await tx.query<{ relname: string; n: number }>(
                `select relname, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_xact_user_tables where relname in ('orders', 'order_lines')`,
                [],
              )
            ).rows.map(({ relname, n }) => [relname, n]),
          );
        const before = await count();
        const pick = { kind: 'claim', limit: 100, exclude: [], below: null, orFast: false, openWrites: true } as const;
        await loadWork(tx, org, ids.shop, noon, { kind: 'ids', ids: [ids.main] });
        await loadWork(tx, org, ids.shop, noon, pick);
        rows = new Map([...(await count())].map(([table, n]) => [table, n - (before.get(table) ?? 0)]));
      },
      { keepPlans: true },
    );
    return { orders: rows.get('orders') ?? 0, lines: rows.get('order_lines') ?? 0 };
  };
  for (let look = 0; look < 7; look += 1) expect(await read()).toEqual({ orders: 0, lines: 0 });
  await db.owner.query(
    `with o as (insert into orders (org_id, id, connection_id, external_id, number, status, payment, fulfillment, channel_version, content_hash, unmapped, placed_at)
       select $1, gen_random_uuid(), $2, 'x' || i, '1', 'confirmed', 'paid', 'unfulfilled', now(), '', true, now() from generate_series(1, 20000) i returning id, external_id)
     insert into order_lines (org_id, id, order_id, external_id, stock_key, variant_external_id, channel_sku, ordered, wanted)
     select $1, gen_random_uuid(), id, 'l', case when right(external_id, 1) < '5' then 'item-' || external_id end, 'v-' || external_id, external_id, 1, 1 from o`,
    [org, ids.shop],
  );
  await order({ wanted: 2 });
  expect(await unbooked()).toEqual({ MAIN: 2, EAST: 2 });
  const after = await read();
  expect(after.lines).toBeLessThanOrEqual(8);
  expect(after.orders).toBeLessThanOrEqual(8);
});

test('a look reads no number that is held for its orders, however many are, and takes each once they are known past it', async () => {
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id, state, base, base_at, expected, desired, raise_after, read_due)
     select $1, gen_random_uuid(), $2, 'held-' || i, 'MAIN', $3, 'pending', 4, now(), 4, 6, to_timestamp($4::float8 / 1000.0) + i * interval '1 s', to_timestamp($4::float8 / 1000.0) + interval '6 h'
     from generate_series(1, 20000) i`,
    [org, ids.shop, ids.variant, noon],
  );
  await db.owner.query('analyze targets');
  const pick = { kind: 'claim', limit: 100, exclude: [], below: null, orFast: false, openWrites: true } as const;
  const look = async () => {
    let read = 0;
    const work = await store.tenant(
      org,
      async (tx) => {
        const count = async () =>
          (
            await tx.query<{ n: number }>(
              `select (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_xact_user_tables where relname = 'targets'`,
              [],
            )
          ).rows[0]?.n ?? 0;
        const before = await count();
        const found = await loadWork(tx, org, ids.shop, noon, pick);
        read = (await count()) - before;
        return found;
      },
      { keepPlans: true },
    );
    const held = work.targets.filter(({ stockKey }) => stockKey.startsWith('held-'));
    return {
      held: held.map(({ stockKey, raiseAfter }) => [stockKey, raiseAfter]),
      after: work.connection?.raisesAfter,
      read,
    };
  };
  const first = await look();
  expect(first).toMatchObject({ held: [], after: noon + 1_000 });
  expect(first.read).toBeLessThan(100);
  await db.owner.query(
    `update connections set orders_read_to = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2`,
    [org, ids.shop, noon + 3_900],
  );
  const second = await look();
  expect(second.held.sort()).toEqual([
    ['held-1', null],
    ['held-2', null],
  ]);
  expect(second.after).toBe(noon + 3_000);
  expect(second.read).toBeLessThan(100);
});
