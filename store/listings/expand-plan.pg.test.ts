/** What expansion reads must not grow with what waits: a file of 50,000 rows marks as many variants at once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeWorld, testStore } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { expandDirty } from './expand.ts';

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

test('marks are cleared by their keys, also by a plan made while nothing waited: not each beside all others', async () => {
  const { orgId } = await makeWorld(db.owner, 1);
  const mark = (count: number) =>
    db.owner.query(
      `insert into dirty_variants (org_id, variant_id, hint) select $1, gen_random_uuid(), 5 from generate_series(1, $2)`,
      [orgId, count],
    );
  // Six times: from then on PostgreSQL keeps one plan for whatever comes.
  for (let round = 0; round < 6; round += 1) {
    await mark(1);
    await store.tenant(orgId, (tx) => expandDirty(tx, orgId));
  }
  await mark(6_000);
  const read = await store.tenant(orgId, async (tx) => {
    const rows = async () =>
      (
        await tx.query<{ n: number }>(
          `select (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as n from pg_stat_xact_user_tables where relname = 'dirty_variants'`,
        )
      ).rows[0]?.n ?? 0;
    const before = await rows();
    expect(await expandDirty(tx, orgId)).toMatchObject({ more: true });
    return (await rows()) - before;
  });
  // All marks once, to take the most urgent thousand; those by their keys, and once more to delete them.
  expect(read).toBeLessThan(6_000 + 3 * 1_000 + 100);
  expect(
    (await db.owner.query('select count(*)::int as n from dirty_variants where org_id = $1', [orgId])).rows[0].n,
  ).toBe(5_000);
});
