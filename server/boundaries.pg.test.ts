/**
 * P10, enumerated: the process dies at every boundary between two of its effects, one after the other, from a sale's
 * signed webhook to the last read-back after its cancellation; another process on the same database ends it right.
 *
 * Nobody lists the boundaries: they are counted (mortal.testing.ts) while the real intake and the real publisher work
 * against real simulators, so a new effect is killed around without anybody remembering to.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shopify } from '#connectors/shopify/index.ts';
import type { Message } from '#sim/kit/sender.ts';
import { verify } from '#store/ledger/verify.ts';
import { realClock, realRandom, type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './flows/amazon-shop.testing.ts';
import { vault } from './flows/intake.testing.ts';
import { createIntake } from './flows/intake.ts';
import { createPublisher } from './flows/publisher.ts';
import type { ConnectionRef, OpenedConnection } from './flows/publisher-types.ts';
import { failures, publishingStage, quiet, type Shop, type Stage } from './flows/publishing.testing.ts';
import { shopifyShop, type TestShopify } from './flows/shopify-shop.testing.ts';
import { type Mortal, mortal } from './mortal.testing.ts';
import { fingerprint } from './secrets.ts';

let databases: TestDatabase[];
beforeAll(async () => {
  databases = await Promise.all(Array.from({ length: 3 }, testDatabase));
});
afterAll(async () => {
  for (const db of databases) await db.drop();
});

interface World {
  db: TestDatabase;
  stage: Stage;
  seller: TestShopify;
  follower: TestShopify;
  shops: Shop[];
  /** Deliveries of the seller that nobody has accepted yet, in the order they are sent. */
  mail: Message[];
}

async function build(db: TestDatabase): Promise<World> {
  const stage = await publishingStage(db);
  const mail: Message[] = [];
  await stage.variant('MUG');
  await stage.stock('MUG', 10);
  // Deliveries of two shops with one secret and equal bytes are one forged one: every shop has its own.
  const secret = stage.ids.uuid();
  const post = async (message: Message) => mail.push(message) > 0;
  const seller = await shopifyShop(
    stage,
    { MUG: [10, 0] },
    { name: 'seller', places: ['MAIN'], post, clientSecret: secret },
  );
  const follower = await shopifyShop(
    stage,
    { MUG: [10, 0] },
    { name: 'follower', places: ['MAIN'], post, clientSecret: secret },
  );
  const amazon = await amazonShop(stage, { MUG: 10 }, { settleMs: 5_000 });
  await subscribe(db, seller, secret, [
    'ORDERS_CREATE',
    'ORDERS_CANCELLED',
    'REFUNDS_CREATE',
    'INVENTORY_LEVELS_UPDATE',
  ]);
  await subscribe(db, follower, secret, ['ORDERS_CREATE', 'INVENTORY_LEVELS_UPDATE']);
  const shops = [seller, follower, amazon];
  const first = stage.publisher(shops, { soleProcess: true });
  await first.drain();
  await first.stop();
  return { db, stage, seller, follower, shops, mail };
}

/** The shop sends these to our address, signed. */
async function subscribe(
  db: TestDatabase,
  shop: TestShopify,
  secret: string,
  topics: readonly string[],
): Promise<void> {
  const { orgId, connectionId } = shop.connection;
  const sealed = vault.seal(JSON.stringify([secret]), { orgId, connectionId, column: 'webhook_secrets' });
  const { rows } = await db.owner.query(
    `update connections set webhook_secrets = $3, webhook_fingerprints = $4 where org_id = $1 and id = $2 returning webhook_token`,
    [orgId, connectionId, sealed, [fingerprint(secret)]],
  );
  const uri = `${shop.url}/webhook/shopify/${rows[0].webhook_token}`;
  const each = topics.map(
    (topic, n) =>
      `t${n}: webhookSubscriptionCreate(topic: ${topic}, webhookSubscription: { uri: "${uri}" }) { userErrors { message } }`,
  );
  const answer = await fetch(`${shop.url}/admin/api/2026-10/graphql.json`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-shopify-access-token': 'shpat_test' },
    body: JSON.stringify({ query: `mutation { ${each.join(' ')} }` }),
  });
  const { data } = (await answer.json()) as { data: Record<string, { userErrors: unknown[] }> };
  const refused = Object.values(data).flatMap(({ userErrors }) => userErrors);
  if (refused.length > 0) throw new Error(JSON.stringify(refused));
}

/** One process: intake and publisher as the server wires them, each with its own way to every channel. */
interface Life {
  self: Mortal;
  /** Everything that waits is done, what time brings included. */
  toQuiet(): Promise<void>;
}

function live(world: World, dieAt: number | null): Life {
  const { db, stage, shops, mail } = world;
  const self = mortal({ store: db.store, clock: stage.clock, dieAt });
  const { store, clock } = self;
  const opened = new Map(
    shops.map((shop): [string, OpenedConnection] => [
      shop.connection.connectionId,
      { manifest: shop.opened.manifest, channel: shop.open({ clock, over: self.over }) },
    ]),
  );
  const openConnection = async ({ connectionId }: ConnectionRef) => opened.get(connectionId) ?? null;
  const common = { store, clock, random: realRandom, ids: stage.ids, log: quiet, openConnection, soleProcess: true };
  const sweeps: ConnectionRef[] = [];
  const intake = createIntake({
    ...common,
    connectorOf: (platform) => (platform === 'shopify' ? shopify : null),
    platforms: ['shopify'],
    vault,
    reading: false,
  });
  const publisher = createPublisher({ ...common, requestOrderSweep: (connection) => sweeps.push(connection) });

  async function webhook({ uri, headers: sent, body }: Message): Promise<void> {
    const headers = Object.fromEntries(Object.entries(sent).map(([name, value]) => [name.toLowerCase(), value]));
    const raw = Buffer.from(body);
    const found = await intake.resolve(
      'shopify',
      uri.split('/').at(-1) ?? '',
      headers['x-shopify-shop-domain'] ?? null,
    );
    if (!found || !shopify.webhook?.verify(raw, headers, found.secrets)) throw new Error('a webhook is refused');
    const { orgId, connectionId } = found;
    const identity = shopify.webhook.identify(raw, headers);
    const { kind } = await intake.receive({ orgId, connectionId, source: 'webhook', ...identity, body: raw });
    if (kind === 'foreign') throw new Error('a webhook is taken for another shop’s');
  }

  async function settle(): Promise<void> {
    for (let asked: ConnectionRef[] = []; ; asked = []) {
      await intake.drain();
      await publisher.drain();
      asked = [...new Map(sweeps.splice(0).map((one) => [one.connectionId, one])).values()];
      if (asked.length === 0) return;
      for (const connection of asked) await sweep(connection);
    }
  }

  /** What it finds is applied while it waits for that, and time passes: a dead process's read of an order is begun again. */
  async function sweep(connection: ConnectionRef): Promise<void> {
    let over = false;
    const result = intake.requestSweep(connection).finally(() => {
      over = true;
    });
    while (!over) {
      await intake.drain();
      stage.clock.advance(250);
      await realClock.sleep(1);
    }
    const { kind } = await result;
    if (kind === 'failed' || kind === 'gone') throw new Error(`a sweep ${kind}`);
  }

  /** Shopify sends a webhook again until it is answered. */
  async function deliver(): Promise<void> {
    for (let message = mail[0]; message; message = mail[0]) {
      await webhook(message);
      mail.shift();
      await settle();
      await posted(world);
    }
  }

  return {
    self,
    async toQuiet() {
      await settle();
      await posted(world);
      await deliver();
      for (const ms of [60_000, 60_000, 600_000, 600_000]) {
        stage.clock.advance(ms);
        await settle();
        await posted(world);
        await deliver();
        if (await atRest(world)) return;
      }
    },
  };
}

/** Nothing is on its way from the shops any more. */
async function posted({ seller, follower }: World): Promise<void> {
  for (const { simulator } of [seller, follower]) while (simulator.pendingWebhooks() > 0) await realClock.sleep(1);
}

/** Nothing waits, whatever the numbers. */
async function atRest({ db, stage }: World): Promise<boolean> {
  const { rows } = await db.owner.query(
    `select 1 from targets where org_id = $1 and (state <> 'in_sync' or unseen > 0 or dirty_version > handled_version)
     union all select 1 from attempts where org_id = $1 and outcome is null
     union all select 1 from inbox where org_id = $1 and state = 'waiting'`,
    [stage.orgId],
  );
  return rows.length === 0;
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, one) => total + one, 0);

/** What is wrong with a world at rest. @param owed units by SKU of open orders, by shop */
async function judged({ db, stage, shops, mail }: World, owed: readonly number[]): Promise<string[]> {
  const wrong: string[] = [];
  const say = (what: string, is: unknown, should: unknown) => {
    if (JSON.stringify(is) !== JSON.stringify(should))
      wrong.push(`${what}: ${JSON.stringify(is)} instead of ${JSON.stringify(should)}`);
  };
  const ask = async (sql: string) => (await db.owner.query(sql, [stage.orgId])).rows;
  const right = 10 - sum(owed);
  say('mail', mail.length, 0);
  say('numbers', await Promise.all(shops.map((shop) => shop.number('MUG'))), [right, right, right]);
  say(
    'books',
    await ask(
      `select sum(sellable)::int as sellable, sum(committed)::int as committed, sum(reserved)::int as reserved from positions where org_id = $1`,
    ),
    [{ sellable: 10, committed: sum(owed), reserved: 0 }],
  );
  say(
    'orders',
    await ask(`select connection_id, count(*)::int as orders from orders where org_id = $1 group by 1 order by 1`),
    shops
      .filter((_, n) => n === 0 || (owed[n] ?? 0) > 0)
      .map((shop) => ({ connection_id: shop.connection.connectionId, orders: 1 })),
  );
  say('shortfalls', await ask(`select waiting from shortfalls where org_id = $1 and waiting > 0`), []);
  say(
    'targets',
    await ask(
      `select desired, state, unseen, dirty_version > handled_version as dirty, pending_value from targets where org_id = $1`,
    ),
    shops.map(() => ({ desired: right, state: 'in_sync', unseen: 0, dirty: false, pending_value: null })),
  );
  say('inbox', await ask(`select state, error from inbox where org_id = $1 and state in ('waiting', 'dead')`), []);
  say(
    'open attempts',
    await ask(`select value from attempts where org_id = $1 and (outcome is null or outcome = 'unknown')`),
    [],
  );
  say('drifts', await ask(`select * from drifts where org_id = $1 and ended_at is null`), []);
  say('alerts', await ask(`select kind from alerts where org_id = $1 and resolved_at is null`), []);
  const verdict = await db.store.tenant(stage.orgId, (tx) => verify(tx, stage.orgId));
  if (!verdict.ok) wrong.push(`books: ${JSON.stringify(verdict.faults)}`);
  return wrong;
}

/** Units a channel has sold and not taken back are never offered there again: what was written between these calls of it. */
interface Limit {
  shop: Shop;
  most: number;
  since: number;
  until: number;
}

const callsTo = async (shop: Shop): Promise<number> => (await shop.calls()).length;

async function reopened({ shop, most, since, until }: Limit): Promise<string[]> {
  const calls = await shop.calls();
  return calls
    .slice(since, until)
    .filter(({ applied, operation }) => applied && /inventorySetQuantities|patchListingsItem/.test(operation))
    .flatMap(({ body }) => [...JSON.stringify(body).matchAll(/"quantity":(-?\d+)/g)].map(([, units]) => Number(units)))
    .filter((units) => units > most)
    .map((units) => `${shop.simulator.name} was told ${units}, at most ${most} are left for it`);
}

/** Waiting work is bounded by what there is, not by what happened. */
async function backlog({ db, stage }: World): Promise<number> {
  const { rows } = await db.owner.query(
    `select (select count(*) from dirty_variants where org_id = $1)::int
       + (select count(*) from targets where org_id = $1 and dirty_version > handled_version)::int as waiting`,
    [stage.orgId],
  );
  return rows[0].waiting;
}

/** Outside calls, and transactions by the tables they write. */
const way = [
  'inbox',
  'orders order_lines order_events events targets inbox',
  'targets dirty_variants',
  'lanes',
  'targets attempts',
  'inventorySetQuantities',
  'targets attempts events alerts',
  'lwa.token',
  'getListingsItem',
  'patchListingsItem',
  'targets attempts events',
  'targets observations attempts',
  'targets observations events inbox',
  'targets events alerts',
];

interface Lived {
  /** Boundaries of the first process, the last of which it died at. */
  passed: readonly string[];
  died: boolean;
  /** Outside calls that reached the simulators. */
  calls: number;
  wrong: string[];
}

async function lifeAndDeath(db: TestDatabase, dieAt: number | null): Promise<Lived> {
  const made = await build(db);
  const { stage, seller, follower } = made;
  const reached = async () => sum(await Promise.all(made.shops.map(callsTo)));
  const limits: Limit[] = made.shops.map((shop) => ({ shop, most: 10, since: 0, until: Infinity }));
  const sold: Limit = { shop: seller, most: 7, since: 0, until: Infinity };
  const before = await reached();
  const first = live(made, dieAt);
  let now = first;
  const owed = [0, 0, 0];
  const wrong: string[] = [];
  let order = '';
  for (const step of ['sale', 'cancellation']) {
    if (step === 'sale') {
      order = await seller.order('MUG', 3);
      owed[0] = 3;
      limits.push(sold);
      sold.since = await callsTo(seller);
    } else {
      sold.until = await callsTo(seller);
      await seller.control('/cancellations', { order, restock: true });
      owed[0] = 0;
    }
    await posted(made);
    if (!(await now.self.lives(now.toQuiet))) {
      await now.self.buried();
      const waiting = await backlog(made);
      if (waiting > 4) wrong.push(`${waiting} waiting`);
      // While nobody runs, a buyer buys at another channel; its webhooks come late.
      await follower.order('MUG', 1);
      owed[1] = 1;
      limits.push({ shop: follower, most: 9, since: await callsTo(follower), until: Infinity });
      await posted(made);
      now = live(made, null);
      await now.toQuiet();
    }
    wrong.push(...(await judged(made, owed)).map((one) => `after the ${step}: ${one}`));
    if (first.self.dead) break;
  }
  stage.clock.advance(600_000);
  await now.toQuiet();
  wrong.push(...(await judged(made, owed)).map((one) => `and later: ${one}`));
  await now.self.buried();
  const calls = (await reached()) - before;
  for (const limit of limits) wrong.push(...(await reopened(limit)));
  await stage.close();
  await db.owner.query(`update connections set deleted_at = now() where org_id = $1`, [stage.orgId]);
  await db.owner.query(`delete from due where org_id = $1`, [stage.orgId]);
  return { passed: first.self.passed, died: first.self.dead, calls, wrong };
}

/** Real time for one life and what comes after it; a quiet machine needs a fifth of a second. */
const longestMs = 90_000;

async function within(at: number, lived: Promise<Lived>): Promise<Lived> {
  const over = new AbortController();
  const late = realClock.sleep(longestMs, over.signal).then(() => {
    if (!over.signal.aborted) throw new Error(`killed at ${at}, it has not come to rest`);
    return lived;
  });
  return Promise.race([lived, late]).finally(() => over.abort());
}

const effectsOf = (boundaries: readonly string[]): string[] =>
  [...new Set(boundaries.map((one) => one.split(':')[0] ?? ''))].sort();

test('killed at any boundary between two effects, the next process ends what was begun', async () => {
  const [first] = databases as [TestDatabase];
  const whole = await lifeAndDeath(first, null);
  expect(whole).toMatchObject({ died: false, wrong: [] });
  const boundaries = whole.passed.length;
  const wrong: string[] = [];
  const deaths: string[] = [];
  let next = 1;
  await Promise.all(
    databases.map(async (db) => {
      for (let at = next++; at <= boundaries; at = next++) {
        const life = await within(at, lifeAndDeath(db, at));
        if (life.died) deaths.push(life.passed.at(-1) ?? '');
        wrong.push(...life.wrong.map((one) => `killed at ${at} of ${boundaries}, ${life.passed.at(-1)}: ${one}`));
      }
    }),
  );
  expect(wrong).toEqual([]);
  expect(failures).toEqual([]);
  // Nothing went out but through a boundary, and what the way of a sale is made of was all killed around.
  expect(whole.passed.filter((one) => one.endsWith('before it leaves'))).toHaveLength(whole.calls);
  expect(boundaries).toBeGreaterThanOrEqual(90);
  // Lanes work side by side: a life may have an effect less than the first had.
  expect(deaths.length).toBeGreaterThanOrEqual(boundaries - 10);
  expect(effectsOf(whole.passed)).toEqual(expect.arrayContaining(way));
  // What happens once in a life (a sign-in) stands at another number in the next one, and may be missed for that.
  const often = way.filter((effect) => whole.passed.filter((one) => one.split(':')[0] === effect).length > 2);
  expect(often.length).toBeGreaterThanOrEqual(way.length - 2);
  expect(effectsOf(deaths)).toEqual(expect.arrayContaining(often));
}, 300_000);
