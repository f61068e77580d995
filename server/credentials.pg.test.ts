/** Exchanged credentials: stored before they are used, by one process at a time, and recovered after a kill (the real connector and simulator). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createBudgets } from '#connectors/kit/budget.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { shopify } from '#connectors/shopify/index.ts';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { getConnection, updateConnection } from '#store/connections/connections.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import {
  type Credentials,
  credentialRenewal,
  openCredentials,
  replaceCredentials,
  sealCredentials,
} from './credentials.ts';
import { clock, ids, makeOrg, random, vault } from './flows/intake.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './flows/intake-shop.testing.ts';

let db: TestDatabase;
let host: SimulatorHost;
let shop: SimulatedShop;

beforeAll(async () => {
  db = await testDatabase();
  host = await openHost();
});
afterAll(async () => {
  await host.close();
  await db.drop();
});
beforeEach(async () => {
  const org = await makeOrg(db.owner, db.store, ['A']);
  shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
  await keep(await installed());
  return () => shop.close();
});

const soon = () => ({ budget: 'read' as const, signal: AbortSignal.timeout(10_000) });

/** What the app holds after its installation, already past its hour. */
async function installed(): Promise<Credentials> {
  const redirect = await fetch(
    `${shop.url}/admin/oauth/authorize?client_id=client&redirect_uri=${encodeURIComponent('http://127.0.0.1:9/back')}&state=s&scope=read_products,read_inventory,read_orders,read_locations`,
    { redirect: 'manual' },
  );
  const code = new URL(redirect.headers.get('location') ?? '').searchParams.get('code') ?? '';
  const granted = await fetch(`${shop.url}/admin/oauth/access_token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: 'client', client_secret: shop.connection.secret, code, expiring: '1' }),
  });
  const pair = (await granted.json()) as Record<string, string>;
  return {
    clientId: 'client',
    clientSecret: shop.connection.secret,
    accessToken: pair.access_token ?? '',
    accessTokenExpiresAt: '0',
    refreshToken: pair.refresh_token ?? '',
  };
}

const keep = (credentials: Credentials) =>
  db.store.tenant(shop.connection.orgId, (tx) =>
    updateConnection(tx, shop.connection.orgId, shop.connection.connectionId, {
      credentials: sealCredentials(vault, shop.connection, credentials),
    }),
  );

async function stored(): Promise<Credentials> {
  const { orgId, connectionId } = shop.connection;
  const row = await db.store.tenant(orgId, (tx) => getConnection(tx, orgId, connectionId));
  return openCredentials(vault, shop.connection, row?.credentials ?? null);
}

/** Answers to refreshes so far: what was asked of the token endpoint after the code of the installation. */
async function exchanges(): Promise<number[]> {
  const answer = await fetch(`${shop.url}/_sim/calls?since=0`);
  const { calls } = (await answer.json()) as { calls: { operation: string; status: number }[] };
  return calls
    .filter(({ operation }) => operation === 'access_token')
    .map(({ status }) => status)
    .slice(1);
}

/** One process's channel with what is stored now. `die`: ended after the channel's answer, before the commit. */
async function open(die?: () => Promise<never>) {
  const renewal = credentialRenewal({ store: db.store, vault, clock, ids }, shop.connection);
  return shopify.open({
    connectionId: shop.connection.connectionId,
    kind: 'simulated',
    baseUrl: shop.url,
    settings: { shopDomain: shop.shopDomain },
    credentials: await stored(),
    renewCredentials: (held, exchange) =>
      renewal(held, async (from) => {
        const given = await exchange(from);
        return die ? die() : given;
      }),
    transport: createTransport({
      clock,
      random,
      kind: 'simulated',
      baseUrl: shop.url,
      allowedHosts: [],
      allowCustomEndpoints: true,
      budgets: createBudgets(clock, shopify.manifest.budgets),
      log: () => {},
    }),
    clock,
    random,
  });
}

test('what the channel gives is stored, and the next start uses it without asking again', async () => {
  const before = await stored();
  await (await open()).test(soon());
  const after = await stored();
  expect(after).toMatchObject({ clientId: 'client', clientSecret: before.clientSecret });
  expect(after.accessToken).not.toBe(before.accessToken);
  expect(after.refreshToken).not.toBe(before.refreshToken);
  expect(Number(after.accessTokenExpiresAt) - clock.now()).toBeGreaterThan(3_500_000);
  await (await open()).test(soon());
  expect(await exchanges()).toEqual([200]);
});

test('five processes at the same instant exchange once, and all of them are let in', async () => {
  const channels = await Promise.all(Array.from({ length: 5 }, () => open()));
  await Promise.all(channels.map((channel) => channel.test(soon())));
  expect(await exchanges()).toEqual([200]);
  await Promise.all(channels.map((channel) => channel.test(soon())));
  expect(await exchanges()).toEqual([200]);
});

test('killed between the answer and the commit: the lease ends, and the stored token is exchanged again', async () => {
  const { orgId, connectionId } = shop.connection;
  const before = await stored();
  const reached = Promise.withResolvers<void>();
  const dying = await open(() => {
    reached.resolve();
    return new Promise<never>(() => undefined);
  });
  void dying.test(soon()).catch(() => undefined);
  await reached.promise;
  expect(await stored()).toEqual(before);
  const ended = await db.owner.query(
    `update connections set renewal_until = now() - interval '1 second' where org_id = $1 and id = $2 and renewal_until > now() returning 1`,
    [orgId, connectionId],
  );
  expect(ended.rowCount).toBe(1);
  await (await open()).test(soon());
  expect((await stored()).refreshToken).not.toBe(before.refreshToken);
  expect(await exchanges()).toEqual([200, 200]);
});

test('what a person stored while the exchange was under way stays', async () => {
  const given = { ...(await stored()), accessToken: 'shpat_by_hand', accessTokenExpiresAt: '0' };
  const renewal = credentialRenewal({ store: db.store, vault, clock, ids }, shop.connection);
  const answer = await renewal(await stored(), async (from) => {
    await keep(given);
    return { ...from, accessToken: 'shpat_exchanged' };
  });
  expect(answer).toEqual(given);
  expect(await stored()).toEqual(given);
});

const deps = () => ({ store: db.store, vault, clock, ids });
const nothingMore = async () => undefined;

test('a person’s change and an exchange at the same time both last: whoever comes second waits and builds on the first', async () => {
  const [exchanging, changing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const go = Promise.withResolvers<void>();
  const renewal = credentialRenewal(deps(), shop.connection);
  const first = renewal(await stored(), async (from) => {
    exchanging.resolve();
    await go.promise;
    return { ...from, accessToken: 'shpat_1', refreshToken: 'shprt_1' };
  });
  await exchanging.promise;
  const change = replaceCredentials(
    deps(),
    shop.connection,
    async (from) => {
      changing.resolve();
      return { ...from, clientSecret: 'changed' };
    },
    nothingMore,
  );
  go.resolve();
  await first;
  await changing.promise;
  await change;
  const changed = await stored();
  expect(changed).toMatchObject({ accessToken: 'shpat_1', refreshToken: 'shprt_1', clientSecret: 'changed' });

  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const second = replaceCredentials(
    deps(),
    shop.connection,
    async (from) => {
      asked.resolve();
      await answer.promise;
      return { ...from, refreshToken: 'shprt_by_hand' };
    },
    nothingMore,
  );
  await asked.promise;
  const late = renewal(changed, async () => expect.fail('exchanged what a person was replacing'));
  answer.resolve();
  await second;
  expect(await late).toEqual({ ...changed, refreshToken: 'shprt_by_hand' });
});

test('a change that is refused, or that another overtook, changes nothing and gives the lease back', async () => {
  const before = await stored();
  const refused = replaceCredentials(deps(), shop.connection, () => Promise.reject(new Error('refused')), nothingMore);
  await expect(refused).rejects.toThrow('refused');
  expect(await stored()).toEqual(before);
  const overtaken = replaceCredentials(
    deps(),
    shop.connection,
    async (from) => {
      await keep({ ...before, accessToken: 'shpat_first' });
      return { ...from, accessToken: 'shpat_second' };
    },
    () => expect.fail('went along with nothing'),
  );
  await expect(overtaken).rejects.toMatchObject({ code: 'store.mismatch' });
  expect(await stored()).toEqual({ ...before, accessToken: 'shpat_first' });
  const { rows } = await db.owner.query('select renewal_until from connections where org_id = $1', [
    shop.connection.orgId,
  ]);
  expect(rows).toEqual([{ renewal_until: null }]);
});

test('a failed exchange gives the lease back and stores nothing', async () => {
  const before = await stored();
  const renewal = credentialRenewal({ store: db.store, vault, clock, ids }, shop.connection);
  await expect(
    renewal(before, async () => {
      throw new Error('no answer');
    }),
  ).rejects.toThrow('no answer');
  expect(await stored()).toEqual(before);
  const { rows } = await db.owner.query('select renewal_until from connections where org_id = $1', [
    shop.connection.orgId,
  ]);
  expect(rows).toEqual([{ renewal_until: null }]);
});
