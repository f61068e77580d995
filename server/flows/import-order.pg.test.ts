import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, line, makeConnection, makeOrg, order, takeIn } from './intake.testing.ts';

let db: TestDatabase;
let see: Judge;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
});
afterAll(() => db.drop());

async function setting(skus: string[], more: Parameters<typeof makeConnection>[3] = {}) {
  const org = await makeOrg(db.owner, db.store, skus);
  const connection = await makeConnection(db.owner, db.store, org, more);
  return { org, connection, ...takeIn(db.store) };
}

const at = () => Math.floor(clock.now() / 1000) * 1000;

test('an order becomes claims, history, a feed entry and a dirty mark in one commit', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 10);
  await db.owner.query('delete from dirty_variants where org_id = $1', [org.orgId]);
  await bring(connection, order('1', at(), [line('A', 3)]));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 10, committed: 3, reserved: 0, short: 0 });
  const stored = await see.one<{ status: string; revision: number; tx: string }>(
    'select status, revision, xmin::text as tx from orders where org_id = $1',
    [org.orgId],
  );
  expect(stored).toMatchObject({ status: 'confirmed', revision: 1 });
  const commits = await see.all<{ tx: string }>(
    `select xmin::text as tx from order_lines where org_id = $1 union select xmin::text from order_events where org_id = $1 union select xmin::text from commitments where org_id = $1
     union select xmin::text from dirty_variants where org_id = $1 union select xmin::text from inbox where org_id = $1 union select xmin::text from events where org_id = $1 and type = 'order'`,
    [org.orgId],
  );
  expect(commits).toEqual([{ tx: stored.tx }]);
  expect(await see.all('select kind from order_events where org_id = $1', [org.orgId])).toEqual([{ kind: 'imported' }]);
});
