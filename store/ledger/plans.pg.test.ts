/** Plans are made once per connection, the first over empty tables: what they read must not grow with the organization. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HoldId, LineId, type VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store, Tx } from '../tx.ts';
import { command, context, makeWorld, noon, testIds, testStore, type World } from './ledger.testing.ts';
import { post } from './post.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl, 1);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const tables = ['positions', 'variants', 'commitments', 'holds', 'shortfalls', 'ledger_effects', 'dirty_variants'];

const reading = new Set(['ledger_take', 'ledger_skus']);

/** Posts each command in a transaction of its own; the rows each table gave for it, and the pages one statement that reads looked at, at most. */
async function rowsRead(world: World, commands: readonly Command[]): Promise<Record<string, number>> {
  const most: Record<string, number> = {};
  for (const one of commands) {
    await store.tenant(world.orgId, async (tx) => {
      // The view also counts transactions of this connection that are not reported yet.
      const read = async () => {
        const { rows } = await tx.query<{ relname: string; n: number }>(
          `select relname, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_xact_user_tables where relname = any ($1)`,
          [tables],
        );
        return new Map(rows.map(({ relname, n }) => [relname, n]));
      };
      const before = await read();
      const watched: Tx = {
        run: (query) => tx.run(query),
        async query(statement, values) {
          if (typeof statement !== 'string' && reading.has(statement.name)) {
            const plan = await tx.query<{ 'QUERY PLAN': string }>(
              `explain (analyze, buffers, timing off) ${statement.text}`,
              values,
            );
            const pages = Number(
              /Buffers: shared hit=(\d+)/.exec(plan.rows.map((row) => row['QUERY PLAN']).join())?.[1],
            );
            most.pages = Math.max(most.pages ?? 0, pages);
          }
          return tx.query(statement, values);
        },
      };
      await post(watched, world.orgId, [one], context);
      for (const [table, n] of await read()) most[table] = Math.max(most[table] ?? 0, n - (before.get(table) ?? 0));
    });
  }
  return most;
}

/** One of each kind that matters: claims, displaces, fills, ships, expires, releases. */
function life(world: World, v: VariantId): Command[] {
  const [lineId, holdId] = [LineId(testIds.uuid()), HoldId(testIds.uuid())];
  const at = { variantId: v, locationId: world.main };
  const need = { variantId: v, units: 2, locationId: null };
  return [
    command({ kind: 'receive' as const, ...at, units: 5 }),
    command({ kind: 'commit' as const, wish: false, lines: [{ ...need, lineId }] }),
    command({
      kind: 'hold' as const,
      wish: true,
      origin: 'own' as const,
      expiresAt: noon,
      lines: [{ ...need, holdId }],
    }),
    command({ kind: 'count' as const, ...at, set: 1 }),
    command({ kind: 'receive' as const, ...at, units: 9 }),
    command({ kind: 'expire' as const, holdId }),
    command({ kind: 'ship' as const, lineId, variantId: v, units: 1, locationId: null }),
    command({ kind: 'release' as const, claimId: lineId, lines: 'all' as const }),
  ];
}

test('a connection that planned over empty tables reads no more rows when the organization has 20,000 of each', async () => {
  const world = await makeWorld(db.owner, 2);
  const [v, w] = world.variants as [VariantId, VariantId];
  await db.owner.query('analyze');
  await rowsRead(world, life(world, v));
  await db.owner.query(
    `with v as (insert into variants (org_id, id, sku) select $1, ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'X' || i from generate_series(1, 20000) i returning id),
       p as (insert into positions (org_id, variant_id, location_id, sellable, committed, reserved) select $1, id, $2, 9, 1, 1 from v),
       c as (insert into commitments (org_id, line_id, variant_id, location_id, open, seq) select $1, gen_random_uuid(), id, $2, 1, 1 from v),
       h as (insert into holds (org_id, hold_id, variant_id, location_id, open, seq, origin) select $1, gen_random_uuid(), id, $2, 1, 1, 'own' from v),
       e as (insert into ledger_effects (org_id, effect_key, result) select $1, 'x' || id, '{"n":"closed"}' from v),
       d as (insert into dirty_variants (org_id, variant_id, hint) select $1, id, 7 from v)
     insert into shortfalls (org_id, line_id, variant_id, claim_kind, waiting, seq) select $1, gen_random_uuid(), id, 'commitment', 1, 1 from v`,
    [world.orgId, world.main],
  );
  const read = await rowsRead(world, life(world, w));
  expect(Object.keys(read).sort()).toEqual([...tables, 'pages'].sort());
  const { pages = 0, ...rows } = read;
  for (const [table, n] of Object.entries(rows)) expect([table, n <= 40]).toEqual([table, true]);
  expect(pages).toBeLessThan(100);
});
