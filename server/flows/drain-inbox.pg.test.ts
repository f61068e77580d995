import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, line, makeConnection, makeOrg, order, restOrder, takeIn } from './intake.testing.ts';
import { deliveryOf } from './sweep-orders.ts';

let db: TestDatabase;
let see: Judge;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
});
afterAll(() => db.drop());

async function setting(skus: string[] = ['A'], more: Parameters<typeof takeIn>[1] = {}) {
  const org = await makeOrg(db.owner, db.store, skus);
  const connection = await makeConnection(db.owner, db.store, org);
  return { org, connection, ...takeIn(db.store, more) };
}

const at = () => Math.floor(clock.now() / 1000) * 1000;

async function until(what: () => Promise<boolean>, ms = 5_000): Promise<void> {
  const end = clock.monotonicMs() + ms;
  while (!(await what())) {
    if (clock.monotonicMs() > end) throw new Error('it never happened');
    await clock.sleep(10);
  }
}

test('waiting versions of one order are folded to the newest: one revision, the rest superseded', async () => {
  const { org, connection, intake } = await setting();
  await org.stock('A', 20);
  const t = at();
  for (const [n, wanted] of [
    [1, 4],
    [3, 9],
    [2, 6],
    [0, 1],
  ] as const)
    await intake.receive(deliveryOf(connection, order('1', t + n * 1000, [line('A', wanted)], { placedAt: t })));
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 9 });
  expect(await see.one('select revision from orders where org_id = $1', [org.orgId])).toEqual({ revision: 1 });
  expect(
    (await see.all('select state from inbox where org_id = $1 order by id', [org.orgId])).map((row) => row.state),
  ).toEqual(['superseded', 'done', 'superseded', 'superseded']);
});

test('while a version of an order is being applied its next one waits; other orders do not (race 20)', async () => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held = false;
  const slow = await setting(['A'], {
    hooks: {
      beforePost: () => {
        if (held) return;
        held = true;
        return gate;
      },
    },
  });
  await slow.org.stock('A', 20);
  const t = at();
  await slow.intake.receive(deliveryOf(slow.connection, order('1', t, [line('A', 2)])));
  const first = slow.intake.drain();
  await until(async () => held);
  const fast = takeIn(db.store);
  await fast.intake.receive(deliveryOf(slow.connection, order('1', t + 1000, [line('A', 5)], { placedAt: t })));
  await fast.intake.receive(deliveryOf(slow.connection, order('2', t, [line('A', 0)])));
  await fast.intake.drain();
  expect(await see.all('select external_id from orders where org_id = $1', [slow.org.orgId])).toEqual([
    { external_id: '2' },
  ]);
  release();
  await first;
  await fast.intake.drain();
  expect(await see.numbers(slow.org, 'A')).toMatchObject({ committed: 5 });
  expect(
    await see.one(`select revision from orders where org_id = $1 and external_id = '1'`, [slow.org.orgId]),
  ).toEqual({ revision: 2 });
});

test('a poison order dies after three identical failures and blocks nobody, of its own batch or of other tenants', async () => {
  const bad = await setting();
  const good = await setting();
  await bad.org.stock('A', 5);
  await good.org.stock('A', 5);
  const t = at();
  const poison = order('poison', t, [line('A', 1, { wanted: 1.5 })]);
  for (const delivery of [
    deliveryOf(bad.connection, order('1', t, [line('A', 1)])),
    deliveryOf(bad.connection, poison),
    deliveryOf(good.connection, order('2', t, [line('A', 2)])),
    deliveryOf(bad.connection, order('3', t, [line('A', 1)])),
  ])
    await bad.intake.receive(delivery);
  bad.intake.start();
  await until(
    async () =>
      (await see.all(`select 1 from inbox where state = 'dead' and org_id = $1`, [bad.org.orgId])).length === 1,
  );
  await bad.intake.stop();
  expect(await see.numbers(bad.org, 'A')).toMatchObject({ committed: 2 });
  expect(await see.numbers(good.org, 'A')).toMatchObject({ committed: 2 });
  const dead = await see.one(
    `select external_id, attempts, repeats, error_code from inbox where org_id = $1 and state = 'dead'`,
    [bad.org.orgId],
  );
  expect(dead).toEqual({ external_id: 'poison', attempts: 3, repeats: 3, error_code: 'assertion' });
  expect(await see.all('select kind, severity from alerts where org_id = $1', [bad.org.orgId])).toEqual([
    { kind: 'dead_letter', severity: 'critical' },
  ]);
  expect(
    await see.all(`select attempts from inbox where org_id = any($1) and state <> 'dead'`, [
      [bad.org.orgId, good.org.orgId],
    ]),
  ).toEqual([{ attempts: 0 }, { attempts: 0 }, { attempts: 0 }]);
});

test('after a dead version the next one of the order is applied, and the dead letter and its alert close', async () => {
  const { org, connection, webhook, intake } = await setting();
  await org.stock('A', 5);
  const t = at();
  const broken = restOrder(5, t, [{ id: 50, sku: 'A', quantity: 1 }])
    .replace('"quantity":1', '"quantity":"many"')
    .replace('"name":"#5"', '"name":5');
  await webhook(connection, 'orders/create', broken.replace(/"updated_at":"[^"]+"/, '"updated_at":"not a time"'));
  await intake.drain();
  expect(await see.all('select state, error_code from inbox where org_id = $1', [org.orgId])).toEqual([
    { state: 'dead', error_code: 'connector.unreadable' },
  ]);
  await webhook(connection, 'orders/updated', restOrder(5, t + 1000, [{ id: 50, sku: 'A', quantity: 2 }]));
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(
    (await see.all('select state from inbox where org_id = $1 order by id', [org.orgId])).map((row) => row.state),
  ).toEqual(['superseded', 'done']);
  expect(await see.all('select 1 from alerts where org_id = $1 and resolved_at is null', [org.orgId])).toEqual([]);
});

test('a dead letter that a person retries after the cause is gone is applied, and its alert closes', async () => {
  const { org, connection, intake } = await setting();
  await org.stock('A', 5);
  await intake.receive(deliveryOf(connection, order('1', at(), [line('A', 2)])));
  await db.owner.query(`alter table orders add constraint broken check (org_id <> '${org.orgId}')`);
  for (let i = 0; i < 3; i += 1) {
    await intake.drain();
    await db.owner.query(`update inbox set next_at = now() - interval '1 second' where org_id = $1`, [org.orgId]);
  }
  expect(await see.all('select state, error_code from inbox where org_id = $1', [org.orgId])).toEqual([
    { state: 'dead', error_code: 'database.23514' },
  ]);
  await db.owner.query('alter table orders drop constraint broken');
  await db.owner.query(`update inbox set state = 'waiting' where org_id = $1`, [org.orgId]);
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(await see.all('select kind from alerts where org_id = $1 and resolved_at is null', [org.orgId])).toEqual([]);
});

test('a dead body that the channel sends again gets another chance', async () => {
  const { org, connection, webhook, intake } = await setting();
  const body = restOrder(6, at(), [{ id: 60, sku: 'A', quantity: 1 }]);
  await webhook(connection, 'orders/create', body);
  await db.owner.query(`update inbox set state = 'dead' where org_id = $1`, [org.orgId]);
  expect(await webhook(connection, 'orders/create', body)).toBe('stored');
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ short: 1 });
});

test('of several numbers of one place the newest is judged, the others are superseded', async () => {
  const { org, connection, webhook, intake } = await setting();
  const t = at();
  const level = (available: number, seconds: number) =>
    JSON.stringify({
      inventory_item_id: 7,
      location_id: 1,
      available,
      updated_at: new Date(t + seconds * 1000).toISOString().replace('.000', ''),
    });
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id, compare_and_set) values ($1, gen_random_uuid(), $2, 'gid://shopify/InventoryItem/7', 'gid://shopify/Location/1', $3, true)`,
    [org.orgId, connection.connectionId, org.variants.A],
  );
  for (const body of [level(9, 1), level(7, 3), level(8, 2)])
    await webhook(connection, 'inventory_levels/update', body);
  await intake.drain();
  expect(await see.all('select value, source from observations where org_id = $1', [org.orgId])).toEqual([
    { value: 7, source: 'webhook' },
  ]);
  expect(
    (await see.all('select state from inbox where org_id = $1 order by id', [org.orgId])).map((row) => row.state),
  ).toEqual(['superseded', 'done', 'superseded']);
});

test('an uninstalled app ends the connection with a critical alert, once', async () => {
  const { org, connection, webhook, intake } = await setting();
  await webhook(connection, 'app/uninstalled', JSON.stringify({ id: 1, myshopify_domain: 'x.myshopify.com' }));
  await intake.drain();
  await webhook(
    connection,
    'app/uninstalled',
    JSON.stringify({ id: 1, myshopify_domain: 'x.myshopify.com', again: true }),
  );
  await intake.drain();
  expect(await see.one('select state from connections where org_id = $1', [org.orgId])).toEqual({
    state: 'unauthorized',
  });
  expect(await see.all('select kind, severity, count from alerts where org_id = $1', [org.orgId])).toEqual([
    { kind: 'connection_unauthorized', severity: 'critical', count: 1 },
  ]);
});

test('it stops within a second while polling, and what it claimed is applied', async () => {
  const { org, connection, intake } = await setting();
  await org.stock('A', 200);
  intake.start();
  await Promise.all(
    Array.from({ length: 150 }, (_, i) => intake.receive(deliveryOf(connection, order(`${i}`, at(), [line('A', 1)])))),
  );
  const begun = clock.monotonicMs();
  await intake.stop();
  expect(clock.monotonicMs() - begun).toBeLessThan(1_000);
  const rows = await see.all<{ state: string; n: number }>(
    'select state, count(*)::int as n from inbox where org_id = $1 group by 1',
    [org.orgId],
  );
  const done = rows.find(({ state }) => state === 'done')?.n ?? 0;
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: done });
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 150 });
});

test('a thousand orders of five organizations are applied in batches, each once', async () => {
  const orgs: Awaited<ReturnType<typeof setting>>[] = [];
  for (let i = 0; i < 5; i += 1) orgs.push(await setting(['A', 'B', 'C']));
  const [first] = orgs;
  if (!first) throw new Error('no organization');
  for (const { org } of orgs) for (const sku of ['A', 'B', 'C']) await org.stock(sku, 150);
  const t = at();
  await Promise.all(
    Array.from({ length: 1_000 }, (_, i) => {
      const { connection } = orgs[i % 5] ?? first;
      return first.intake.receive(
        deliveryOf(
          connection,
          order(
            `${i}`,
            t,
            ['A', 'B', 'C'].map((sku) => line(sku, 1)),
          ),
        ),
      );
    }),
  );
  const begun = clock.monotonicMs();
  first.intake.start();
  await until(
    async () =>
      (
        await see.all(`select 1 from inbox where state = 'waiting' and org_id = any($1)`, [
          orgs.map(({ org }) => org.orgId),
        ])
      ).length === 0,
    20_000,
  );
  const perSecond = Math.round(1_000 / ((clock.monotonicMs() - begun) / 1_000));
  await first.intake.stop();
  for (const { org } of orgs)
    expect(await see.numbers(org, 'B')).toEqual({ sellable: 150, committed: 150, reserved: 0, short: 50 });
  expect(first.log).toEqual([]);
  console.info(`orders drained per second: ${perSecond}`);
  // A yardstick that only a broken plan misses; the figures belong to the benches.
  expect(perSecond).toBeGreaterThan(30);
});

test('in a flood that does not end, a batch that is held up does not hold up other organizations', async () => {
  const go = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  let first = true;
  const slow = await setting(['A'], {
    pollMs: 10,
    pressure: {
      applied: () => undefined,
      accepted: () => undefined,
      isHigh: () => true,
      isBurst: () => true,
      isFlood: () => true,
    },
    hooks: {
      beforePost: () => {
        if (!first) return undefined;
        first = false;
        held.resolve();
        return go.promise;
      },
    },
  });
  const other = await setting(['A']);
  await slow.org.stock('A', 20);
  await other.org.stock('A', 20);
  const t = at();
  await slow.intake.receive(deliveryOf(slow.connection, order('1', t, [line('A', 2)])));
  slow.intake.start();
  await held.promise;
  await slow.intake.receive(deliveryOf(other.connection, order('2', t, [line('A', 3)])));
  await until(async () => (await see.numbers(other.org, 'A')).committed === 3, 20_000);
  expect(await see.numbers(slow.org, 'A')).toMatchObject({ committed: 0 });
  go.resolve();
  await until(async () => (await see.numbers(slow.org, 'A')).committed === 2, 20_000);
  await slow.intake.stop();
});

test('orders of three organizations are one transaction, not one for each', async () => {
  const stages: Awaited<ReturnType<typeof setting>>[] = [];
  for (let i = 0; i < 3; i += 1) stages.push(await setting(['A']));
  const [first] = stages;
  if (!first) throw new Error('no organization');
  for (const { org, connection } of stages) {
    await org.stock('A', 5);
    await first.intake.receive(deliveryOf(connection, order('together', at(), [line('A', 1)])));
  }
  const commits: number[] = [];
  const { intake } = takeIn(db.store, { hooks: { afterCommit: (keys) => void commits.push(keys) } });
  await intake.drain();
  expect(commits).toEqual([3]);
});

test('a stock notice waits behind orders of its connection that are due, another worker’s too; at most five seconds', async () => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held = false;
  const slow = await setting(['A'], {
    hooks: {
      beforePost: () => {
        held = true;
        return gate;
      },
    },
  });
  const other = await makeConnection(db.owner, db.store, slow.org);
  await slow.org.stock('A', 20);
  const level = (item: number) =>
    JSON.stringify({
      inventory_item_id: item,
      location_id: 1,
      available: 9,
      updated_at: new Date(at()).toISOString().replace('.000', ''),
    });
  const fast = takeIn(db.store);
  await fast.webhook(slow.connection, 'inventory_levels/update', level(1));
  await slow.intake.receive(deliveryOf(slow.connection, order('1', at(), [line('A', 2)])));
  const first = slow.intake.drain();
  await until(async () => held);
  await fast.webhook(slow.connection, 'inventory_levels/update', level(2));
  await fast.webhook(other, 'inventory_levels/update', level(3));
  const waiting = async () =>
    (
      await see.all(
        `select split_part(external_id, 'InventoryItem/', 2) as item from inbox
         where org_id = $1 and kind = 'stock' and state = 'waiting' order by id`,
        [slow.org.orgId],
      )
    ).map(({ item }) => String(item).split('/')[0]);
  const before = await waiting();
  await fast.intake.drain();
  const behind = await waiting();
  await db.owner.query(
    `update inbox set next_at = next_at - interval '6 s' where org_id = $1 and kind = 'stock' and state = 'waiting' and id =
       (select id from inbox where org_id = $1 and kind = 'stock' order by id limit 1)`,
    [slow.org.orgId],
  );
  await fast.intake.drain();
  const overdue = await waiting();
  release();
  await first;
  await fast.intake.drain();
  expect([before.length, behind.length, overdue.length, (await waiting()).length]).toEqual([3, 2, 1, 0]);
});
