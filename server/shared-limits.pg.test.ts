/** Two processes on one connection: together they keep to the vendor's limits, and an open breaker is known to both. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BUDGETS } from '#connectors/amazon/manifest.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { BudgetClass, BudgetLimits } from '#connectors/kit/ports.ts';
import type { SharedLimits } from '#connectors/kit/sharing.ts';
import { type ConnectionTransport, createTransport } from '#connectors/kit/transport.ts';
import type { Clock } from '#core/effects.ts';
import { createSimClock } from '#sim/kit/clock.ts';
import { readLimits } from '#store/connections/limits.ts';
import { realClock, realRandom, type TestDatabase, testDatabase, testOrganization } from '#store/testing/database.ts';
import { realIds, sharedLimits } from './deps.ts';
import { amazonShop } from './flows/amazon-shop.testing.ts';
import { publishingStage } from './flows/publishing.testing.ts';

let db: TestDatabase;
let orgId: string;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(() => db.drop());

interface Vendor {
  url: string;
  calls: { at: number; who: string; status: number }[];
  /** Answers every call with this instead. */
  broken: number | null;
}

/** A vendor with one documented token bucket, full at the start; above it 429, as Amazon's usage plans. */
async function vendor(limits: BudgetLimits, clock: Clock = realClock): Promise<Vendor> {
  let tokens = limits.capacity;
  let at = clock.monotonicMs();
  const it: Vendor = { url: '', calls: [], broken: null };
  const server: Server = createServer((request, response) => {
    const now = clock.monotonicMs();
    tokens = Math.min(limits.capacity, tokens + (limits.ratePerSecond * (now - at)) / 1_000);
    at = now;
    const status = it.broken ?? (tokens >= 1 ? 200 : 429);
    if (tokens >= 1) tokens -= 1;
    it.calls.push({ at: now, who: String(request.headers['x-who']), status });
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  closing.push(() => new Promise((done) => server.close(done)));
  it.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return it;
}

async function connection(): Promise<string> {
  const id = realIds.uuid();
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'amazon', 'simulated', 'shared', $3)`,
    [orgId, id, id],
  );
  return id;
}

function processOn(
  connectionId: string,
  { url }: Vendor,
  limits: BudgetLimits,
  clock: Clock = realClock,
  shared: SharedLimits | null = sharedLimits({ store: db.store, clock, ids: realIds }, { orgId, connectionId }),
): ConnectionTransport {
  const transport = createTransport({
    clock,
    random: realRandom,
    kind: 'simulated',
    baseUrl: url,
    allowedHosts: [],
    allowCustomEndpoints: true,
    budgets: createBudgets(clock, { b: limits }),
    ...(shared && { shared }),
  });
  closing.push(() => transport.close());
  return transport;
}

const call = (transport: ConnectionTransport, { url }: Vendor, who: string, budget: BudgetClass, write = true) =>
  transport.request({
    operation: 'test',
    method: 'POST',
    url: `${url}/`,
    headers: { 'x-who': who },
    write,
    budget,
    bucket: 'b',
    timeoutMs: 20_000,
    signal: AbortSignal.timeout(20_000),
  });

/** Keeps `width` calls of a kind asked for until the time is over. @returns how long each waited */
async function pressing(width: number, untilMs: number, one: () => Promise<unknown>): Promise<number[]> {
  const waits: number[] = [];
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (performance.now() < untilMs) {
        const asked = performance.now();
        await one().catch(() => undefined);
        waits.push(performance.now() - asked);
      }
    }),
  );
  return waits;
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

test('two processes that both press keep to Amazon’s documented rate, use most of it, and send what is urgent first', async () => {
  const stage = await publishingStage(db);
  closing.push(() => stage.close());
  const skus = Array.from({ length: 40 }, (_, n) => `SKU-${n}`);
  const account = await amazonShop(stage, Object.fromEntries(skus.map((sku) => [sku, 9])), { profile: 'vendor' });
  const [a, b] = [account.open(), account.open()];
  const calls = { a: 0, b: 0 };
  const write = (who: 'a' | 'b', budget: 'urgent' | 'bulk') => async () => {
    const channel = who === 'a' ? a : b;
    const ref = { stockKey: `SKU-${calls[who]++ % 40}`, channelLocation: 'DEFAULT' };
    await channel.stock.write([{ ref, value: 5, from: null }], stage.ids.uuid(), {
      budget,
      signal: AbortSignal.timeout(20_000),
    });
  };
  const patches = async () => account.calls('patchListingsItem');
  const began = performance.now();
  const until = began + 5_000;
  const pressed = Promise.all([
    pressing(1, until, write('a', 'urgent')),
    pressing(3, until, write('a', 'bulk')),
    pressing(6, until, write('b', 'bulk')),
  ]);
  await realClock.sleep(5_000);
  const seen = await patches();
  const seconds = (performance.now() - began) / 1_000;
  const [urgent, bulk] = await pressed;
  const answered = seen.filter(({ status }) => status === 200).length;
  const refused = seen.filter(({ status }) => status === 429).length;
  const { ratePerSecond, capacity } = BUDGETS.patchListingsItem;
  const allowed = capacity + ratePerSecond * seconds;
  expect(refused).toBe(0);
  expect(answered).toBeGreaterThan(0.8 * 0.9 * allowed);
  expect(calls.b).toBeGreaterThan(6);
  expect(median(urgent)).toBeLessThan(median(bulk) / 2);
});

test('a call costs no question: a hundred calls ask the database a few times', async () => {
  const limits = { ratePerSecond: 10_000, capacity: 10_000 };
  const connectionId = await connection();
  const shop = await vendor(limits);
  let asked = 0;
  const real = sharedLimits({ store: db.store, clock: realClock, ids: realIds }, { orgId, connectionId });
  const counted: SharedLimits = {
    exchange: (question) => {
      asked += 1;
      return real.exchange(question);
    },
  };
  const transport = processOn(connectionId, shop, limits, realClock, counted);
  await call(transport, shop, 'a', 'urgent');
  const began = performance.now();
  for (let n = 0; n < 100; n += 1) await call(transport, shop, 'a', 'urgent');
  const took = performance.now() - began;
  expect(asked).toBeLessThanOrEqual(2 + Math.ceil(took / 500));
  expect(shop.calls.length).toBe(101);
});

test('a breaker that one process opened keeps the other away too, and one probe closes it for both', async () => {
  const limits = { ratePerSecond: 1_000, capacity: 1_000 };
  const connectionId = await connection();
  const clock = createSimClock(realClock);
  const shop = await vendor(limits, clock);
  const [a, b] = [processOn(connectionId, shop, limits, clock), processOn(connectionId, shop, limits, clock)];
  await call(a, shop, 'a', 'urgent');
  await call(b, shop, 'b', 'urgent');
  shop.broken = 503;
  for (let n = 0; n < 5; n += 1) await call(a, shop, 'a', 'urgent').catch(() => undefined);
  const breaker = async () => (await db.store.tenant(orgId, (tx) => readLimits(tx, orgId, connectionId))).breaker.state;
  await until(async () => (await breaker()) === 'open', clock);
  // A call after a quiet second asks first.
  clock.advance(1_100);
  const before = shop.calls.length;
  await expect(call(b, shop, 'b', 'urgent')).rejects.toMatchObject({
    code: 'connector.unavailable',
    details: { breakerOpen: true },
  });
  expect(shop.calls.length).toBe(before);
  expect(b.breaker().kind).toBe('open');
  shop.broken = null;
  // Whoever opened it probes; the other one waits a little longer for the answer.
  await expect(call(b, shop, 'b', 'urgent')).rejects.toMatchObject({ code: 'connector.unavailable' });
  await call(a, shop, 'a', 'urgent');
  await until(async () => (await breaker()) === 'closed', clock);
  clock.advance(1_100);
  await call(b, shop, 'b', 'urgent');
  expect(shop.calls.slice(before).map(({ who }) => who)).toEqual(['a', 'b']);
  expect(b.breaker().kind).toBe('closed');
});

test('80 % of a quota in use for a while raises one alert, which ends by itself', async () => {
  const connectionId = await connection();
  const shared = sharedLimits({ store: db.store, clock: realClock, ids: realIds }, { orgId, connectionId });
  const ask = () => {
    const claim = {
      bucket: 'b',
      rate: 1_000,
      capacity: 1_000,
      told: false,
      tokens: 900,
      demand: 1,
      refusals: 0,
      blockedForMs: 0,
      untold: null,
      lapsed: false,
    };
    return shared.exchange({
      claims: [{ ...claim, relaxed: false, leaves: false }],
      breaker: { epoch: 0, transition: null },
    });
  };
  const level = (value: number) =>
    db.owner.query(`update shared_limits set buckets = jsonb_set(buckets, '{b,level}', $2) where connection_id = $1`, [
      connectionId,
      JSON.stringify(value),
    ]);
  const alerts = async () =>
    (
      await db.owner.query(
        `select message, resolved_at is not null as over from alerts where org_id = $1 and kind = 'quota_nearly_used'`,
        [orgId],
      )
    ).rows;
  await ask();
  expect(await alerts()).toEqual([]);
  await level(0.1);
  await ask();
  await ask();
  expect(await alerts()).toEqual([
    {
      message: 'More than 80 % of the channel’s quota is in use (b): changes wait for their turn, cuts first.',
      over: false,
    },
  ]);
  const used = (await db.store.tenant(orgId, (tx) => readLimits(tx, orgId, connectionId))).budget[0]?.used;
  expect(used).toBeGreaterThan(0.5);
  await level(0.9);
  await ask();
  expect(await alerts()).toMatchObject([{ over: true }]);
});

test('without the database a process goes on at a tenth of the rate, and has its share again when it is back', async () => {
  const limits = { ratePerSecond: 100, capacity: 20 };
  const connectionId = await connection();
  const clock = createSimClock(realClock);
  const shop = await vendor(limits, clock);
  const real = sharedLimits({ store: db.store, clock, ids: realIds }, { orgId, connectionId });
  let hangs = false;
  const shaky: SharedLimits = {
    exchange: (question) => (hangs ? new Promise(() => undefined) : real.exchange(question)),
  };
  const transport = processOn(connectionId, shop, limits, clock, {
    exchange: (question) =>
      Promise.race([shaky.exchange(question), clock.sleep(2_000).then(() => Promise.reject(new Error('no answer')))]),
  });
  await call(transport, shop, 'a', 'urgent');
  const rate = () => transport.budgets()[0]?.ratePerSecond ?? 0;
  expect(rate()).toBeCloseTo(90, 0);
  hangs = true;
  await until(async () => {
    clock.advance(500);
    await realClock.sleep(10);
    return rate() < 10;
  }, clock);
  expect(rate()).toBeCloseTo(9, 0);
  await call(transport, shop, 'a', 'urgent');
  hangs = false;
  await until(async () => {
    clock.advance(500);
    await call(transport, shop, 'a', 'urgent');
    return rate() > 20;
  }, clock);
  expect(shop.calls.filter(({ status }) => status !== 200)).toEqual([]);
});

async function until(done: () => Promise<boolean>, clock: Clock): Promise<void> {
  for (let tries = 0; tries < 1_000; tries += 1) {
    if (await done()) return;
    await realClock.sleep(10);
  }
  throw new Error(`not within ${clock.monotonicMs()} ms`);
}
