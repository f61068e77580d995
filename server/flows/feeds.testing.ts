/** Many SKUs on a simulated Amazon, for tests of feeds: in step with it first, so that only what a test changes is a change. */
import type { VariantId } from '#core/ids.ts';
import { post } from '#store/ledger/post.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import type { Shop, Stage } from './publishing.testing.ts';

export interface FeedStage {
  shop: Shop;
  skus: string[];
  /** Our stock of these SKUs becomes that. */
  stock(skus: readonly string[], units: number): Promise<void>;
  feeds(): Promise<FeedOfTest[]>;
  /** state → how many of the connection's targets. */
  states(): Promise<Record<string, number>>;
  /** The vendor's own numbers, by SKU. */
  numbers(): Promise<Map<string, number>>;
  /** How many calls of each operation since the last time this was asked. */
  callsSince(): Promise<Record<string, number>>;
}

export interface FeedOfTest {
  id: string;
  state: string;
  reason: string | null;
  rows: number;
  accepted: number;
  rejected: number;
  unknown: number;
  submission_id: string | null;
}

export async function feedStage(
  stage: Stage,
  count: number,
  options: { bulk?: object; settleMs?: number; profile?: 'open' | 'vendor' } = {},
): Promise<FeedStage> {
  const { db, orgId } = stage;
  const skus = Array.from({ length: count }, (_, index) => `SKU-${String(index).padStart(4, '0')}`);
  const ids = skus.map(() => stage.ids.uuid() as VariantId);
  await db.owner.query(
    `insert into variants (org_id, id, sku) select $1, v.id, v.sku from unnest($2::uuid[], $3::text[]) as v(id, sku)`,
    [orgId, ids, skus],
  );
  for (const [index, sku] of skus.entries()) stage.variants[sku] = ids[index] as VariantId;
  let keys = 0;
  const stock = async (wanted: readonly string[], units: number) => {
    for (let start = 0; start < wanted.length; start += 200) {
      const commands = wanted.slice(start, start + 200).map((sku) => {
        keys += 1;
        const what = { kind: 'count' as const, variantId: stage.variants[sku] as VariantId, locationId: stage.main };
        return { ...what, key: `feeds:${keys}`, businessAt: stage.clock.now(), reason: 'test', set: units as never };
      });
      await db.store.tenant(orgId, (tx) =>
        post(tx, orgId, commands, { actor: 'test', ids: stage.ids, now: stage.clock.now() }),
      );
    }
  };
  await stock(skus, 100);
  const shop = await amazonShop(stage, Object.fromEntries(skus.map((sku) => [sku, 100])), {
    settleMs: options.settleMs ?? 0,
    profile: options.profile ?? 'open',
    bulk: { bulkRowsMin: 20, bulkEveryMs: 0, ...options.bulk },
  });
  // Plans for tables of this size, which a server has after its first minute.
  await db.owner.query('analyze');
  // Plans for tables of this size, which a server has after its first minute.
  await db.owner.query('analyze');
  // As after a quiet night: read, compared, nothing to do.
  await db.owner.query(`delete from dirty_variants where org_id = $1`, [orgId]);
  await db.owner.query(
    `update targets set base = 100, base_at = to_timestamp($2::float8 / 1000.0), observed = 100, observed_at = to_timestamp($2::float8 / 1000.0),
       expected = 100, expected_high = 100, desired = 100, accepted = 100, state = 'in_sync', handled_version = dirty_version, dirty_since = null, read_due = null
     where org_id = $1`,
    [orgId, stage.clock.now()],
  );
  stage.clock.advance(10_000);
  let seen = Number((await shop.control('/calls?since=0')).next);
  return {
    shop,
    skus,
    stock,
    async feeds() {
      const { rows } = await db.owner.query(
        `select id, state, reason, rows, accepted, rejected, unknown, submission_id from feeds where org_id = $1 order by created_at, id`,
        [orgId],
      );
      return rows;
    },
    async states() {
      const { rows } = await db.owner.query(
        `select state, count(*)::int as n from targets where org_id = $1 and connection_id = $2 group by state`,
        [orgId, shop.connection.connectionId],
      );
      return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
    },
    async numbers() {
      const { items } = (await shop.control('/state')) as unknown as { items: { sku: string; quantity: number }[] };
      return new Map(items.map(({ sku, quantity }) => [sku, quantity]));
    },
    async callsSince() {
      const { calls, next } = (await shop.control(`/calls?since=${seen}`)) as unknown as {
        calls: { operation: string }[];
        next: number;
      };
      seen = next;
      const counts: Record<string, number> = {};
      for (const { operation } of calls) counts[operation] = (counts[operation] ?? 0) + 1;
      return counts;
    },
  };
}
