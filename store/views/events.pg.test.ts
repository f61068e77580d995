/** The event feed: a row of the ledger's that tells many variants is as many events, each with a place to go on from. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { command, makeWorld, run, testStore } from '../ledger/ledger.testing.ts';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import type { Store } from '../tx.ts';
import { type FeedEvent, type FeedPoint, isAfter, parseFeedId, readFeed } from './events.ts';

let db: TestDatabase;
let store: Store;

beforeAll(async () => {
  db = await testDatabase();
  store = testStore(db.appUrl);
});
afterAll(async () => {
  await store.end();
  await db.drop();
});

const start: FeedPoint = { tx: '0', seq: 0 };

/** Rows show once every transaction of the whole server that began before them has ended. */
async function feed(orgIds: string[], after: FeedPoint, events: number): Promise<FeedEvent[]> {
  await expect.poll(async () => (await readFeed(store, orgIds, after)).length, { timeout: 25_000 }).toBe(events);
  return readFeed(store, orgIds, after);
}

test('a batch of 130 variants is three rows and 130 events, and reading goes on after any of them', async () => {
  const world = await makeWorld(db.owner, 130);
  const receipts = (units: number) =>
    world.variants.map((variantId) => command({ kind: 'receive' as const, variantId, locationId: world.main, units }));
  await run(store, world, receipts(5));
  const rows = await db.owner.query<{ n: number }>(
    'select cardinality(variants) as n from events where org_id = $1 order by seq',
    [world.orgId],
  );
  expect(rows.rows).toEqual([{ n: 64 }, { n: 64 }, { n: 2 }]);
  const events = await feed([world.orgId], start, 130);
  expect(new Set(events.map(({ key }) => key))).toEqual(new Set(world.variants.map((_, i) => `SKU-${i + 1}`)));
  expect(new Set(events.map(({ type, version }) => `${type} ${version}`))).toEqual(new Set(['stock 1']));
  for (const at of [0, 63, 64, 129]) {
    const point = parseFeedId(events[at]?.id ?? '') as FeedPoint;
    const rest = await readFeed(store, [world.orgId], point);
    expect(rest.map(({ id }) => id)).toEqual(events.slice(at + 1).map(({ id }) => id));
    expect(events.filter((event) => isAfter(event, point))).toEqual(rest);
  }
  await run(store, world, receipts(1).slice(0, 2));
  const later = await feed([world.orgId], parseFeedId(events[129]?.id ?? '') as FeedPoint, 2);
  expect(later.map(({ key, version }) => `${key} ${version}`)).toEqual(['SKU-1 2', 'SKU-2 2']);
});

test('a point of the release before repeats its own transaction at most, and skips nothing', async () => {
  const world = await makeWorld(db.owner, 3);
  await run(
    store,
    world,
    world.variants.map((variantId) =>
      command({ kind: 'receive' as const, variantId, locationId: world.main, units: 5 }),
    ),
  );
  await db.owner.query(`insert into events (org_id, type, key, version) values ($1, 'order', 'a', 7)`, [world.orgId]);
  const all = await feed([world.orgId], start, 4);
  expect(all.map(({ type, key, version }) => [type, key, version])).toEqual([
    ['stock', 'SKU-1', 1],
    ['stock', 'SKU-2', 1],
    ['stock', 'SKU-3', 1],
    ['order', 'a', 7],
  ]);
  const { rows } = await db.owner.query<{ tx: string; seq: string }>(
    `select tx::text, seq::text from events where org_id = $1 order by seq`,
    [world.orgId],
  );
  for (const [row, left] of [
    [rows[0], 4],
    [rows[1], 1],
  ] as const) {
    const after = { tx: row?.tx ?? '', seq: Number(row?.seq) };
    expect((await readFeed(store, [world.orgId], after)).map(({ key }) => key)).toEqual(
      all.slice(4 - left).map(({ key }) => key),
    );
  }
});
