import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import {
  clock,
  type Judge,
  judge,
  line,
  makeConnection,
  makeOrg,
  order,
  restOrder,
  sign,
  takeIn,
  webhookServer,
} from './intake.testing.ts';
import { deliveryOf } from './sweep-orders.ts';

let db: TestDatabase;
let see: Judge;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
});
afterAll(() => db.drop());

async function setting(skus: string[] = ['A'], more: Parameters<typeof makeConnection>[3] = {}) {
  const org = await makeOrg(db.owner, db.store, skus);
  const connection = await makeConnection(db.owner, db.store, org, more);
  return { org, connection, ...takeIn(db.store) };
}

const at = () => Math.floor(clock.now() / 1000) * 1000;
const one = (id: number, quantity = 1) => restOrder(id, at(), [{ id: id * 10, sku: 'A', quantity }]);

test('deliveries that come while one is being committed share the next commit, of whatever organization', async () => {
  const first = await setting();
  const other = await setting();
  const deliveries = Array.from({ length: 60 }, (_, i) =>
    deliveryOf(i % 2 ? first.connection : other.connection, order(`${i}`, at(), [line('A', 1)])),
  );
  const answers = await Promise.all(deliveries.map((delivery) => first.intake.receive(delivery)));
  expect(answers.map(({ kind }) => kind)).toEqual(Array.from({ length: 60 }, () => 'stored'));
  expect(first.commits).toEqual([1, 59]);
  const stored = await see.all(
    'select count(*)::int as rows from inbox where org_id = any($1) group by xmin order by rows',
    [[first.org.orgId, other.org.orgId]],
  );
  expect(stored).toEqual([{ rows: 1 }, { rows: 59 }]);
});

test('nobody is answered before the commit', async () => {
  const { org, connection } = await setting();
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { intake } = takeIn(db.store, { hooks: { beforeStore: () => gate } });
  let answered = false;
  const answer = intake.receive(deliveryOf(connection, order('1', at(), [line('A', 1)]))).then(() => {
    answered = true;
  });
  await clock.sleep(30);
  expect(answered).toBe(false);
  expect(await see.all('select 1 from inbox where org_id = $1', [org.orgId])).toEqual([]);
  release();
  await answer;
  expect(await see.all('select 1 from inbox where org_id = $1', [org.orgId])).toHaveLength(1);
});

test('a delivery that cannot be stored fails alone: its neighbours, of its own organization too, are stored', async () => {
  const { org, connection, intake } = await setting();
  const gone = { orgId: org.orgId, connectionId: '00000000-0000-7000-8000-000000000000' };
  const answers = await Promise.allSettled([
    intake.receive(deliveryOf(connection, order('1', at(), [line('A', 1)]))),
    intake.receive(deliveryOf(gone, order('2', at(), [line('A', 1)]))),
    intake.receive(deliveryOf(connection, order('3', at(), [line('A', 1)]))),
  ]);
  expect(answers.map((answer) => answer.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await see.all('select external_id from inbox where org_id = $1 order by 1', [org.orgId])).toEqual([
    { external_id: '1' },
    { external_id: '3' },
  ]);
});

test('an identical body is the same event whatever its delivery id (race 19a)', async () => {
  const { org, connection, webhook, intake } = await setting();
  await org.stock('A', 5);
  const body = one(1, 2);
  expect(await webhook(connection, 'orders/create', body, 'd-1')).toBe('stored');
  expect(await webhook(connection, 'orders/create', body, 'd-2')).toBe('duplicate');
  expect(await webhook(connection, 'orders/paid', body, 'd-3')).toBe('duplicate');
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(
    await see.all('select state, delivery_id, length(body) > 0 as body from inbox where org_id = $1 order by id', [
      org.orgId,
    ]),
  ).toEqual([
    { state: 'done', delivery_id: 'd-1', body: true },
    { state: 'duplicate', delivery_id: 'd-2', body: false },
    { state: 'duplicate', delivery_id: 'd-3', body: false },
  ]);
});

test('the same delivery id with other content is a new version, never an error (race 19b)', async () => {
  const { org, connection, webhook, intake, log } = await setting();
  await org.stock('A', 9);
  const t = at();
  const items = (current: number) => [{ id: 10, sku: 'A', quantity: 3, current }];
  expect(await webhook(connection, 'orders/create', restOrder(1, t, items(3)), 'same')).toBe('stored');
  expect(await webhook(connection, 'orders/create', restOrder(1, t + 1000, items(2)), 'same')).toBe('stored');
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(log).toEqual([]);
});

test('two orders in one second that share a delivery id are both taken in (race 19c)', async () => {
  const { org, connection, webhook, intake } = await setting();
  await org.stock('A', 9);
  expect(await webhook(connection, 'orders/create', one(1, 1), 'shared')).toBe('stored');
  expect(await webhook(connection, 'orders/create', one(2, 2), 'shared')).toBe('stored');
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 3 });
  expect(await see.one('select count(*)::int as orders from orders where org_id = $1', [org.orgId])).toEqual({
    orders: 2,
  });
});

test('a body that shop A sent is refused at shop B when one app secret signs for both (race 33)', async () => {
  const secret = 'one secret for every shop of the app';
  const a = await setting(['A'], { secret, shopDomain: 'shared-a.myshopify.com' });
  const b = await setting(['A'], { secret, shopDomain: 'shared-b.myshopify.com' });
  const server = await webhookServer(a.intake);
  const send = (path: string, body: string, shop: string, key = secret) =>
    fetch(`${server.url}${path}`, {
      method: 'POST',
      body,
      headers: {
        'x-shopify-topic': 'orders/create',
        'x-shopify-shop-domain': shop,
        'x-shopify-hmac-sha256': sign(body, key),
      },
    }).then((response) => response.status);
  const captured = one(77);
  // Without a token a shared secret proves no shop.
  expect(await send('/webhook/shopify', captured, 'shared-a.myshopify.com')).toBe(401);
  expect(await send(`/webhook/shopify/${a.connection.token}`, captured, 'shared-a.myshopify.com')).toBe(200);
  expect(await send(`/webhook/shopify/${b.connection.token}`, captured, 'shared-b.myshopify.com')).toBe(401);
  expect(await send(`/webhook/shopify/${b.connection.token}`, one(78), 'shared-b.myshopify.com')).toBe(200);
  expect(await send(`/webhook/shopify/${a.connection.token}`, one(79), 'shared-a.myshopify.com', 'guessed')).toBe(401);
  expect(await see.all('select external_id from inbox where org_id = $1', [b.org.orgId])).toEqual([
    { external_id: 'gid://shopify/Order/78' },
  ]);
  await server.close();
});

test('of one body that arrives at two shops with one secret at the same instant, one is stored (race 33)', async () => {
  const secret = 'another shared secret';
  const a = await setting(['A'], { secret });
  const b = await setting(['A'], { secret });
  const other = takeIn(db.store);
  const body = one(90);
  const answers = await Promise.all([
    a.webhook(a.connection, 'orders/create', body),
    other.webhook(b.connection, 'orders/create', body),
  ]);
  expect(answers.sort()).toEqual(['foreign', 'stored']);
});

test('without a token the shop is believed when exactly one connection has it and its secret is its own', async () => {
  const a = await setting(['A'], { shopDomain: 'own.myshopify.com' });
  expect(await a.intake.resolve('shopify', null, 'own.myshopify.com')).toMatchObject({
    connectionId: a.connection.connectionId,
    secrets: [a.connection.secret],
  });
  expect(await a.intake.resolve('amazon', null, 'own.myshopify.com')).toBe(null);
  expect(await a.intake.resolve('shopify', null, 'nobody.myshopify.com')).toBe(null);
  expect(await a.intake.resolve('shopify', 'guessed', 'own.myshopify.com')).toBe(null);
  await setting(['A'], { shopDomain: 'own.myshopify.com' });
  a.intake.forget(a.connection);
  expect(await a.intake.resolve('shopify', null, 'own.myshopify.com')).toBe(null);
  expect(await a.intake.resolve('shopify', a.connection.token, null)).toMatchObject({
    connectionId: a.connection.connectionId,
  });
});

test('a key the database cannot hold is refused as unreadable and nothing is stored', async () => {
  const { org, connection, intake } = await setting();
  for (const externalId of ['', 'a\0b', 'x'.repeat(501)]) {
    await expect(intake.receive({ ...deliveryOf(connection, order('1', at(), [])), externalId })).rejects.toMatchObject(
      { code: 'connector.unreadable' },
    );
  }
  expect(await see.all('select 1 from inbox where org_id = $1', [org.orgId])).toEqual([]);
});
