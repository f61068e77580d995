import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, line, makeConnection, makeOrg, order, restOrder, takeIn } from './intake.testing.ts';

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

test('quantity changes are booked as differences, whichever way and however often they come', async () => {
  const { org, connection, bring } = await setting(['A', 'B']);
  await org.stock('A', 10);
  await org.stock('B', 10);
  const t = at();
  await bring(connection, order('1', t, [line('A', 3), line('B', 2)]));
  await bring(
    connection,
    order('1', t + 1000, [line('A', 5), line('B', 0, { ordered: 2, taken: 0 })], { placedAt: t }),
  );
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 5, short: 0 });
  expect(await see.numbers(org, 'B')).toMatchObject({ committed: 0, short: 0 });
  await bring(
    connection,
    order('1', t + 1000, [line('A', 5), line('B', 0, { ordered: 2, taken: 0 })], { placedAt: t, number: 'again' }),
  );
  await bring(
    connection,
    order('1', t + 2000, [line('A', 1, { ordered: 3 }), line('B', 0, { ordered: 2, taken: 0 })], { placedAt: t }),
  );
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1, short: 0 });
  const keys = await see.all<{ effect_key: string }>(
    `select regexp_replace(effect_key, '[0-9a-f-]{36}', '*', 'g') as effect_key from ledger_effects where org_id = $1 and effect_key like 'order:%' order by 1`,
    [org.orgId],
  );
  expect(keys.map((row) => row.effect_key)).toEqual([
    'order:*:r1:commit',
    'order:*:r2:commit',
    'order:*:r2:release:*',
    'order:*:r3:release:*',
  ]);
});

test('an older version changes nothing, also when it comes first and the newer one follows', async () => {
  const { org, connection, bring, intake } = await setting(['A']);
  await org.stock('A', 10);
  const t = at();
  await bring(connection, order('1', t + 5000, [line('A', 2)], { placedAt: t }));
  await bring(connection, order('1', t, [line('A', 7)]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2, short: 0 });
  expect(await see.all('select state from inbox where org_id = $1 order by id', [org.orgId])).toEqual([
    { state: 'done' },
    { state: 'superseded' },
  ]);
  expect(await see.one('select revision from orders where org_id = $1', [org.orgId])).toEqual({ revision: 1 });
  await intake.stop();
});

test('an update that arrives before its create is the order, and the create is superseded', async () => {
  const { org, connection, webhook, intake } = await setting(['A']);
  await org.stock('A', 10);
  const t = at();
  const items = (current: number) => [{ id: 11, sku: 'A', quantity: 4, current }];
  expect(await webhook(connection, 'orders/updated', restOrder(9, t + 3000, items(1)))).toBe('stored');
  await intake.drain();
  expect(await webhook(connection, 'orders/create', restOrder(9, t, items(4)))).toBe('stored');
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  expect(await see.all('select topic, state from inbox where org_id = $1 order by id', [org.orgId])).toEqual([
    { topic: 'orders/updated', state: 'done' },
    { topic: 'orders/create', state: 'superseded' },
  ]);
});

test('a cancelled order gives everything back, shortfall included, and shipped units stay shipped', async () => {
  const { org, connection, bring } = await setting(['A', 'B']);
  await org.stock('A', 4);
  await org.stock('B', 4);
  const t = at();
  await bring(connection, order('1', t, [line('A', 6), line('B', 3)]));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 4, committed: 4, reserved: 0, short: 2 });
  await bring(
    connection,
    order('1', t + 1000, [line('A', 6), line('B', 3, { shipped: 2 })], { placedAt: t, fulfillment: 'partly_shipped' }),
  );
  expect(await see.numbers(org, 'B')).toEqual({ sellable: 2, committed: 1, reserved: 0, short: 0 });
  await bring(
    connection,
    order('1', t + 2000, [line('A', 0, { ordered: 6, taken: 0 }), line('B', 2, { ordered: 3, shipped: 2, taken: 2 })], {
      placedAt: t,
      state: 'cancelled',
    }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 4, committed: 0, reserved: 0, short: 0 });
  expect(await see.numbers(org, 'B')).toEqual({ sellable: 2, committed: 0, reserved: 0, short: 0 });
  expect(await see.one('select status from orders where org_id = $1', [org.orgId])).toEqual({ status: 'cancelled' });
});

test('pending, then paid, then cancelled: held, committed, free (race 21: no clock ever ends the hold)', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 5);
  const t = at();
  await bring(connection, order('1', t, [line('A', 6)], { state: 'pending', payment: 'pending' }));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 0, reserved: 5, short: 1 });
  expect(await see.all('select origin, expires_at from holds where org_id = $1', [org.orgId])).toEqual([
    { origin: 'channel', expires_at: null },
  ]);
  expect(await see.all(`select 1 from due where org_id = $1 and kind = 'hold'`, [org.orgId])).toEqual([]);
  await bring(connection, order('1', t + 1000, [line('A', 6)], { placedAt: t }));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 5, reserved: 0, short: 1 });
  await bring(
    connection,
    order('1', t + 2000, [line('A', 0, { ordered: 6, taken: 0 })], { placedAt: t, state: 'cancelled' }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 0, reserved: 0, short: 0 });
  expect(
    (await see.all('select kind from order_events where org_id = $1 order by at', [org.orgId])).map((row) => row.kind),
  ).toEqual(['imported', 'confirmed', 'payment', 'cancelled']);
});

test('pending, then cancelled: the held units are free and nothing was ever committed', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 5);
  const t = at();
  await bring(connection, order('1', t, [line('A', 2)], { state: 'pending', payment: 'pending' }));
  await bring(
    connection,
    order('1', t + 1000, [line('A', 0, { ordered: 2, taken: 0 })], {
      placedAt: t,
      state: 'cancelled',
      payment: 'failed',
    }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 0, reserved: 0, short: 0 });
  expect(await see.all('select 1 from commitments where org_id = $1', [org.orgId])).toEqual([]);
});

test('a version that calls a certain order pending again keeps its commitments', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 5);
  const t = at();
  await bring(connection, order('1', t, [line('A', 2)]));
  await bring(connection, order('1', t + 1000, [line('A', 3)], { placedAt: t, state: 'pending', payment: 'pending' }));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 3, reserved: 0, short: 0 });
});

test('a bundle books its parts as they were at the first booking, and gives back just those (race 24)', async () => {
  const { org, connection, bring } = await setting(['A', 'B', 'KIT']);
  await org.stock('A', 20);
  await org.stock('B', 20);
  await db.owner.query('update variants set is_bundle = true where org_id = $1 and id = $2', [
    org.orgId,
    org.variants.KIT,
  ]);
  const parts = async (units: Record<string, number>) => {
    await db.owner.query('update bundle_components set valid_to = now() where org_id = $1 and valid_to is null', [
      org.orgId,
    ]);
    for (const [sku, count] of Object.entries(units))
      await db.owner.query(
        'insert into bundle_components (org_id, variant_id, component_id, units, valid_from) values ($1, $2, $3, $4, clock_timestamp())',
        [org.orgId, org.variants.KIT, org.variants[sku], count],
      );
  };
  await parts({ A: 2, B: 1 });
  const t = at();
  await bring(connection, order('1', t, [line('KIT', 3)]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 6 });
  expect(await see.numbers(org, 'B')).toMatchObject({ committed: 3 });
  await parts({ A: 1, B: 1 });
  await bring(connection, order('1', t + 1000, [line('KIT', 4)], { placedAt: t }));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 8 });
  expect(await see.numbers(org, 'B')).toMatchObject({ committed: 4 });
  await bring(
    connection,
    order('1', t + 2000, [line('KIT', 0, { ordered: 4, taken: 0 })], { placedAt: t, state: 'cancelled' }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 20, committed: 0, reserved: 0, short: 0 });
  expect(await see.numbers(org, 'B')).toEqual({ sellable: 20, committed: 0, reserved: 0, short: 0 });
});

test('the parent of a bundle that the channel exploded is never booked, only its parts (race 24)', async () => {
  const { org, connection, bring } = await setting(['A', 'KIT']);
  await org.stock('A', 5);
  await org.stock('KIT', 5);
  await bring(connection, order('1', at(), [line('KIT', 1, { bundleParent: true, taken: 0 }), line('A', 2)]));
  expect(await see.numbers(org, 'KIT')).toMatchObject({ committed: 0 });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(await see.one('select unmapped from orders where org_id = $1', [org.orgId])).toEqual({ unmapped: false });
});

test('an unknown SKU keeps the order, books the rest, and is booked when its mapping appears', async () => {
  const { org, connection, bring, intake } = await setting(['A', 'NEW'], { unlisted: ['NEW'] });
  await org.stock('A', 5);
  await org.stock('NEW', 5);
  await bring(connection, order('1', at(), [line('A', 1), line('NEW', 2)]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  expect(await see.numbers(org, 'NEW')).toMatchObject({ committed: 0 });
  expect(await see.one('select unmapped from orders where org_id = $1', [org.orgId])).toEqual({ unmapped: true });
  expect(await see.all('select kind, severity, resolved_at from alerts where org_id = $1', [org.orgId])).toEqual([
    { kind: 'order_unmapped', severity: 'warning', resolved_at: null },
  ]);
  expect(await intake.completeUnmapped(connection)).toBe(0);
  await db.owner.query(
    `insert into listings (org_id, id, connection_id, variant_id, external_id, channel_sku, stock_key) values ($1, gen_random_uuid(), $2, $3, 'NEW', 'NEW', 'item-NEW')`,
    [org.orgId, connection.connectionId, org.variants.NEW],
  );
  expect(await Promise.all([intake.completeUnmapped(connection), intake.completeUnmapped(connection)])).toContain(1);
  expect(await see.numbers(org, 'NEW')).toMatchObject({ committed: 2 });
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  expect(await see.one('select unmapped, revision from orders where org_id = $1', [org.orgId])).toEqual({
    unmapped: false,
    revision: 2,
  });
  expect(await see.all('select 1 from alerts where org_id = $1 and resolved_at is null', [org.orgId])).toEqual([]);
});

test('keys of different SKUs make a line ambiguous: it stays unmapped and nothing is booked', async () => {
  const { org, connection, bring } = await setting(['A', 'B']);
  await org.stock('A', 5);
  await org.stock('B', 5);
  await db.owner.query(`update listings set channel_sku = 'SAME' where org_id = $1`, [org.orgId]);
  await bring(connection, order('1', at(), [line('A', 1, { stockKey: null, channelSku: 'SAME' })]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 0 });
  expect(await see.numbers(org, 'B')).toMatchObject({ committed: 0 });
  expect(await see.one(`select details ->> 'reason' as reason from alerts where org_id = $1`, [org.orgId])).toEqual({
    reason: 'ambiguous',
  });
});

test('an order the channel fulfils is kept and claims nothing of ours', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 5);
  await bring(
    connection,
    order('1', at(), [line('A', 2, { taken: null, shipped: 2 })], { fulfilledBy: 'channel', fulfillment: 'shipped' }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 0, reserved: 0, short: 0 });
  expect(await see.one('select status, fulfilled_by, unmapped from orders where org_id = $1', [org.orgId])).toEqual({
    status: 'completed',
    fulfilled_by: 'channel',
    unmapped: false,
  });
});

test('the location behind the place that sold is taken first, even before the default one', async () => {
  const { org, connection, bring } = await setting(['A'], { places: {} });
  for (const [place, location] of [
    ['here', org.main],
    ['there', org.east],
  ] as const)
    await db.owner.query(
      'insert into connection_locations (org_id, connection_id, channel_location, location_id) values ($1, $2, $3, $4)',
      [org.orgId, connection.connectionId, place, location],
    );
  await org.stock('A', 5);
  await org.stock('A', 5, org.east);
  await bring(
    connection,
    order('1', at(), [line('A', 2, { channelLocation: 'there' })]),
    order('2', at(), [line('A', 1)]),
  );
  expect(
    await see.all(
      'select location_id, sum(open)::int as open from commitments where org_id = $1 group by 1 order by 2',
      [org.orgId],
    ),
  ).toEqual([
    { location_id: org.main, open: 1 },
    { location_id: org.east, open: 2 },
  ]);
});

test('of an order older than the connection what had left is not booked, and what is owed is', async () => {
  const { org, connection, bring } = await setting(['A'], { createdAt: clock.now() });
  await org.stock('A', 5);
  const old = at() - 86_400_000;
  await bring(
    connection,
    order('1', at(), [line('A', 4, { shipped: 3 })], { placedAt: old, fulfillment: 'partly_shipped' }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 1, reserved: 0, short: 0 });
  await bring(
    connection,
    order('1', at() + 1000, [line('A', 4, { shipped: 4 })], { placedAt: old, fulfillment: 'shipped' }),
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 4, committed: 0, reserved: 0, short: 0 });
});

test('500 lines, several of one SKU, are one order and one revision; cancelling gives all back', async () => {
  const skus = Array.from({ length: 250 }, (_, i) => `S${i}`);
  const { org, connection, bring } = await setting(skus);
  const lines = (wanted: number) =>
    Array.from({ length: 500 }, (_, i) =>
      line(skus[i % 250] ?? '', wanted, { externalId: `l${i}`, ordered: 1, taken: wanted }),
    );
  for (const sku of skus.slice(0, 3)) await org.stock(sku, 2);
  const t = at();
  await bring(connection, order('1', t, lines(1)));
  expect(
    await see.one('select count(*)::int as lines, sum(claimed)::int as claimed from order_lines where org_id = $1', [
      org.orgId,
    ]),
  ).toEqual({ lines: 500, claimed: 500 });
  expect(await see.numbers(org, 'S0')).toEqual({ sellable: 2, committed: 2, reserved: 0, short: 0 });
  expect(await see.one('select sum(waiting)::int as waiting from shortfalls where org_id = $1', [org.orgId])).toEqual({
    waiting: 494,
  });
  await bring(connection, order('1', t + 1000, lines(0), { placedAt: t, state: 'cancelled' }));
  expect(await see.one('select sum(waiting)::int as waiting from shortfalls where org_id = $1', [org.orgId])).toEqual({
    waiting: 0,
  });
  expect(await see.numbers(org, 'S0')).toEqual({ sellable: 2, committed: 0, reserved: 0, short: 0 });
  expect(await see.one('select revision, status from orders where org_id = $1', [org.orgId])).toEqual({
    revision: 2,
    status: 'cancelled',
  });
});

test('orders come in while the connection is paused; of a deleted one nothing is applied', async () => {
  const { org, connection, bring, intake } = await setting(['A']);
  await org.stock('A', 5);
  await db.owner.query('update connections set paused_at = now() where org_id = $1', [org.orgId]);
  await bring(connection, order('1', at(), [line('A', 1)]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  await db.owner.query('update connections set deleted_at = now() where org_id = $1', [org.orgId]);
  await bring(connection, order('2', at(), [line('A', 1)]));
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 1 });
  expect(await see.one(`select state, error from inbox where org_id = $1 and external_id = '2'`, [org.orgId])).toEqual({
    state: 'done',
    error: 'the connection is deleted',
  });
  expect(await intake.resolve('shopify', connection.token, null)).toBe(null);
});

test('what a version tells about the channel number is the difference of what it took, once', async () => {
  const { org, connection, bring } = await setting(['A']);
  await org.stock('A', 10);
  const t = at();
  const targetId = (
    await see.one<{ id: string }>(
      `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id, compare_and_set, base, base_at, expected, expected_high)
       values ($1, gen_random_uuid(), $2, 'item-A', 'gid://shopify/Location/1', $3, true, 10, to_timestamp($4), 10, 10) returning id`,
      [org.orgId, connection.connectionId, org.variants.A, (t - 60_000) / 1000],
    )
  ).id;
  const expected = async () =>
    (
      await see.one<{ expected: number | null }>('select expected from targets where org_id = $1 and id = $2', [
        org.orgId,
        targetId,
      ])
    ).expected;
  await bring(connection, order('1', t, [line('A', 3)]));
  expect(await expected()).toBe(7);
  await bring(connection, order('1', t + 1000, [line('A', 3)], { placedAt: t, payment: 'refunded' }));
  expect(await expected()).toBe(7);
  await bring(connection, order('1', t + 2000, [line('A', 2, { ordered: 3 })], { placedAt: t, payment: 'refunded' }));
  expect(await expected()).toBe(8);
});
