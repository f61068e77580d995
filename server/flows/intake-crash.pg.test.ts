/**
 * Kills: a process that takes orders in is ended with SIGKILL inside every gap; what comes after (the channel's repeated
 * delivery, the next process, the next sweep) leaves one order with one set of claims, and books that add up.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelOrder } from '#connectors/kit/ports.ts';
import type { SimulatorHost } from '#sim/kit/server.ts';
import { verify } from '#store/ledger/verify.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { clock, type Judge, judge, line, makeConnection, makeOrg, type Org, order, takeIn } from './intake.testing.ts';
import type { IntakeHooks } from './intake.ts';
import type { Job } from './intake-process.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './intake-shop.testing.ts';

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;
const shops: SimulatedShop[] = [];
const children = new Set<ChildProcess>();

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await openHost();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const shop of shops) await shop.close();
  await host.close();
  await db.drop();
});

interface Running {
  go(): void;
  /** 'done', or the signal it died by. */
  ended: Promise<string>;
}

/** Resolves when the process is ready to begin. */
async function start(job: Partial<Job> & Pick<Job, 'connection'>): Promise<Running> {
  const given: Job = { appUrl: db.appUrl, orders: [], shop: null, sweep: false, changed: null, killAt: null, ...job };
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'intake-process.testing.ts'), JSON.stringify(given)],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  children.add(child);
  let said = '';
  let failed = '';
  child.stderr.on('data', (part: Buffer) => {
    failed += part.toString();
  });
  const ended = new Promise<string>((resolve) => {
    child.on('exit', (code, signal) => {
      children.delete(child);
      resolve(signal ?? (said.includes('done') ? 'done' : `exit ${code}: ${failed}`));
    });
  });
  const ready = new Promise<void>((resolve) => {
    child.stdout.on('data', (part: Buffer) => {
      said += part.toString();
      if (said.includes('ready')) resolve();
    });
  });
  await Promise.race([ready, ended]);
  return { go: () => child.stdin.write('go\n'), ended };
}

/** Resolves when the process has ended and PostgreSQL has noticed: until then a dead one's transaction keeps its locks. */
async function run(job: Parameters<typeof start>[0]): Promise<string> {
  const running = await start(job);
  running.go();
  const ended = await running.ended;
  const open = `select 1 from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null`;
  while ((await see.all(open, [])).length > 0) await clock.sleep(10);
  return ended;
}

async function setting() {
  const org = await makeOrg(db.owner, db.store, ['A', 'B']);
  const connection = await makeConnection(db.owner, db.store, org);
  await org.stock('A', 10);
  await org.stock('B', 1);
  return { org, connection };
}

const wanted = (): ChannelOrder => {
  const at = Math.floor(clock.now() / 1000) * 1000;
  return order('1', at, [line('A', 3), line('B', 2)]);
};

/** One order, its claims once, nothing waiting, and books that add up. */
async function takenInOnce(org: Org): Promise<void> {
  expect(await see.all('select revision from orders where org_id = $1', [org.orgId])).toEqual([{ revision: 1 }]);
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 10, committed: 3, reserved: 0, short: 0 });
  expect(await see.numbers(org, 'B')).toEqual({ sellable: 1, committed: 1, reserved: 0, short: 1 });
  expect(await see.all(`select 1 from inbox where org_id = $1 and state in ('waiting', 'dead')`, [org.orgId])).toEqual(
    [],
  );
  expect(await db.store.tenant(org.orgId, (tx) => verify(tx, org.orgId))).toMatchObject({ ok: true });
}

describe('killed while taking an order in (race 18, P10)', () => {
  // Before the commit of a delivery nobody was answered, so the channel sends it again; afterwards it need not.
  const gaps: [keyof IntakeHooks, stored: boolean][] = [
    ['beforeStore', false],
    ['afterStore', true],
    ['beforePost', true],
    ['afterPost', true],
    ['afterCommit', true],
  ];
  test.each(gaps)('at %s: the order is taken in once', async (killAt, stored) => {
    const { org, connection } = await setting();
    const given = wanted();
    expect(await run({ connection, orders: [given], killAt })).toBe('SIGKILL');
    const applied = killAt === 'afterCommit' ? 1 : 0;
    expect(await see.all('select 1 from orders where org_id = $1', [org.orgId])).toHaveLength(applied);
    expect(await see.numbers(org, 'A')).toMatchObject({ committed: applied * 3 });
    expect(await see.all('select 1 from inbox where org_id = $1', [org.orgId])).toHaveLength(stored ? 1 : 0);
    const { bring, intake } = takeIn(db.store);
    if (stored) await intake.drain();
    else await bring(connection, given);
    await takenInOnce(org);
    await bring(connection, given);
    await takenInOnce(org);
  });

  test('after a read that was not stored: it is read again when its time has passed', async () => {
    const org = await makeOrg(db.owner, db.store, ['A']);
    const shop = await simulatedShop(db.owner, db.store, org, { A: 10 }, host);
    shops.push(shop);
    await org.stock('A', 10);
    const { id } = (await shop.control('/orders', { lines: [{ sku: 'A', quantity: 4 }], status: 'paid' })) as {
      id: string;
    };
    expect(await run({ connection: shop.connection, shop, changed: id, killAt: 'afterFetch' })).toBe('SIGKILL');
    expect(await see.all('select state, fetching from inbox where org_id = $1', [org.orgId])).toEqual([
      { state: 'waiting', fetching: true },
    ]);
    await db.owner.query(`update inbox set next_at = now() - interval '1 second' where org_id = $1`, [org.orgId]);
    const { intake } = takeIn(db.store, { opened: () => shop.opened });
    await intake.drain();
    expect(await see.numbers(org, 'A')).toMatchObject({ committed: 4 });
    expect(await see.all(`select 1 from inbox where org_id = $1 and state = 'waiting'`, [org.orgId])).toEqual([]);
  });

  test('after a read that was not stored, by a process that is certainly alone: it is read again at once', async () => {
    const org = await makeOrg(db.owner, db.store, ['A']);
    const shop = await simulatedShop(db.owner, db.store, org, { A: 10 }, host);
    shops.push(shop);
    await org.stock('A', 10);
    const { id } = (await shop.control('/orders', { lines: [{ sku: 'A', quantity: 4 }], status: 'paid' })) as {
      id: string;
    };
    expect(await run({ connection: shop.connection, shop, changed: id, killAt: 'afterFetch' })).toBe('SIGKILL');
    const { intake } = takeIn(db.store, { opened: () => shop.opened, reading: false, soleProcess: true });
    intake.start();
    const end = clock.monotonicMs() + 5_000;
    while ((await see.numbers(org, 'A')).committed !== 4 && clock.monotonicMs() < end) await clock.sleep(20);
    await intake.stop();
    expect(await see.numbers(org, 'A')).toMatchObject({ committed: 4 });
    expect(await see.all(`select 1 from inbox where org_id = $1 and state = 'waiting'`, [org.orgId])).toEqual([]);
  });

  test('in a sweep after a page was stored: the mark has not moved and the next sweep completes it', async () => {
    const org = await makeOrg(db.owner, db.store, ['A']);
    const shop = await simulatedShop(db.owner, db.store, org, { A: 10 }, host);
    shops.push(shop);
    await org.stock('A', 10);
    await shop.control('/orders', { lines: [{ sku: 'A', quantity: 4 }], status: 'paid' });
    expect(await run({ connection: shop.connection, shop, sweep: true, killAt: 'afterPage' })).toBe('SIGKILL');
    expect(await see.one('select orders_read_to from connections where org_id = $1', [org.orgId])).toEqual({
      orders_read_to: null,
    });
    await db.owner.query(`update connections set order_sweep_lease = now() - interval '1 second' where org_id = $1`, [
      org.orgId,
    ]);
    const { intake } = takeIn(db.store, { opened: () => shop.opened, reading: false });
    intake.start();
    expect(await intake.requestSweep(shop.connection)).toMatchObject({ kind: 'done', stored: 0 });
    await intake.stop();
    expect(await see.numbers(org, 'A')).toMatchObject({ committed: 4 });
    expect(await see.one('select count(*)::int as orders from orders where org_id = $1', [org.orgId])).toEqual({
      orders: 1,
    });
  });
});

test('the same payload five times at the same instant from two processes is one order and one set of claims (P3)', async () => {
  const { org, connection } = await setting();
  const given = wanted();
  const five = Array.from({ length: 5 }, () => given);
  const both = await Promise.all([start({ connection, orders: five }), start({ connection, orders: five })]);
  for (const { go } of both) go();
  expect(await Promise.all(both.map(({ ended }) => ended))).toEqual(['done', 'done']);
  await takenInOnce(org);
  expect(await see.one('select count(*)::int as rows from inbox where org_id = $1', [org.orgId])).toEqual({ rows: 10 });
  expect(
    await see.one(
      `select count(*)::int as effects from ledger_effects where org_id = $1 and effect_key like 'order:%'`,
      [org.orgId],
    ),
  ).toEqual({ effects: 1 });
});
