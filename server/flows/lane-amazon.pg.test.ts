/** Lanes on a channel without compare-and-set, whose writes take time to show (races 1, 3a, 5, 6, 7, 14; P4, P6). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { failures, publishingStage, type Shop, type Stage } from './publishing.testing.ts';

let db: TestDatabase;
let stage: Stage;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
  await stage.variant('MUG');
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const mug = (shop: Shop) => stage.target(shop, 'MUG', 'DEFAULT');
const patches = async (shop: Shop) => (await shop.calls('patchListingsItem')).length;

/** In step with the channel: everything written, settled and read back, and that a while ago. */
async function inStep(
  shown: number,
  options: Parameters<typeof amazonShop>[2] = {},
): Promise<{ shop: Shop; publisher: ReturnType<Stage['publisher']> }> {
  await stage.stock('MUG', shown);
  const shop = await amazonShop(stage, { MUG: shown }, options);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  expect(await mug(shop)).toMatchObject({ desired: shown, expected: shown, state: 'in_sync' });
  stage.clock.advance(10_000);
  return { shop, publisher };
}

test('a change of stock is read, written, and read back', async () => {
  await stage.stock('MUG', 8);
  const shop = await amazonShop(stage, { MUG: 10 });
  await stage.publisher([shop]).drain();
  expect(await shop.number('MUG')).toBe(8);
  expect(await mug(shop)).toMatchObject({
    desired: 8,
    expected: 8,
    accepted: 8,
    observed: 8,
    observed_source: 'read',
    unseen: 0,
    state: 'in_sync',
    dirty: false,
  });
  expect(await stage.attempts(shop)).toMatchObject([{ value: 8, from_value: 10, outcome: 'proven_applied' }]);
});

test('race 1: a cut over unseen sales is judged by the channel’s own number and gives nothing back', async () => {
  const { shop, publisher } = await inStep(10);
  const soldAt = stage.clock.now();
  await shop.order('MUG', 7);
  await stage.sell('MUG', 2);
  await publisher.drain();
  // Desired 8 against a true 3: a raise. Seven are presumed sold, so one is left to show.
  expect(await shop.number('MUG')).toBe(1);
  expect(await mug(shop)).toMatchObject({ desired: 8, unseen: 7, state: 'pending' });
  await stage.importSale(shop, 'MUG', 7, soldAt);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(1);
  expect(await mug(shop)).toMatchObject({ desired: 1, unseen: 0, state: 'in_sync' });
});

test('race 3a: a sale that our absolute write overwrote is cut once its order is known', async () => {
  const { shop, publisher } = await inStep(10, { settleMs: 5_000, profile: 'open' });
  await stage.sell('MUG', 1);
  // The channel sells between our reading and our writing.
  const lane = stage.lane(shop, { hooks: { atSend: async () => void (await shop.order('MUG', 1)) } });
  const soldAt = stage.clock.now();
  await publisher.stop();
  await expand();
  await lane.drain();
  await lane.stop();
  expect(await shop.number('MUG')).toBe(9);
  stage.clock.advance(6_000);
  const later = stage.publisher([shop]);
  await later.drain();
  expect(await mug(shop)).toMatchObject({ expected: 9, unseen: 0, state: 'in_sync' });
  stage.clock.advance(60_000);
  await stage.importSale(shop, 'MUG', 1, soldAt);
  await later.drain();
  expect(await shop.number('MUG')).toBe(8);
});

test('race 7: while a write settles the old number is neither drift nor proof, and nothing is sent twice', async () => {
  const { shop, publisher } = await inStep(10, { settleMs: 120_000, profile: 'open' });
  await shop.control('/profile', { profile: 'vendor' });
  await stage.sell('MUG', 4);
  await publisher.drain();
  expect(await mug(shop)).toMatchObject({ desired: 6, accepted: 6, expected: null, state: 'settling' });
  expect(await shop.number('MUG')).toBe(10);
  const sent = await patches(shop);
  const looked = (await shop.calls('getListingsItem')).length;
  for (let look = 0; look < 4; look += 1) {
    stage.clock.advance(1_000);
    await publisher.requestStockSweep(shop.connection);
    await publisher.drain();
  }
  expect(await patches(shop)).toBe(sent);
  expect((await shop.calls('getListingsItem')).length).toBe(looked + 4);
  expect(await mug(shop)).toMatchObject({ observed: 10, unseen: 0, state: 'settling' });
  await shop.control('/clock', { advanceMs: 121_000 });
  stage.clock.advance(121_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(6);
  expect(await mug(shop)).toMatchObject({ expected: 6, observed: 6, unseen: 0, state: 'in_sync' });
  expect(await patches(shop)).toBe(sent);
});

test('race 7: a deeper cut does not wait for the settle time, a raise does', async () => {
  const { shop, publisher } = await inStep(10, { settleMs: 60_000 });
  await stage.sell('MUG', 4);
  await publisher.drain();
  await stage.sell('MUG', 6);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(0);
  await stage.stock('MUG', 30);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(0);
  expect(await mug(shop)).toMatchObject({ desired: 20, state: 'settling', dirty: true });
  stage.clock.advance(61_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(20);
});

test('accepted but never applied: after several settle times the target is rejected with an alert, and not hammered', async () => {
  const { shop, publisher } = await inStep(10, { settleMs: 1_000 });
  await shop.fault({ kind: 'feed_stuck', match: { operation: 'patchListingsItem' } }).catch(() => undefined);
  await shop.control('/profile', { profile: 'vendor' });
  await stage.sell('MUG', 1);
  await publisher.drain();
  const sent = await patches(shop);
  for (let settle = 0; settle < 4; settle += 1) {
    stage.clock.advance(1_100);
    await publisher.drain();
  }
  expect(await mug(shop)).toMatchObject({ state: 'rejected', observed: 10, expected: 10 });
  expect((await mug(shop)).reason).toContain('never applied');
  expect(await patches(shop)).toBe(sent);
  const { rows } = await db.owner.query(`select kind, severity from alerts where org_id = $1`, [stage.orgId]);
  expect(rows).toEqual([{ kind: 'listing_rejected', severity: 'warning' }]);
  expect((await stage.attempts(shop)).at(-1)?.outcome).toBe('proven_not_applied');
});

describe('race 6: killed between the call and its record', () => {
  for (const [gap, applied] of [
    ['beforeSend', 10],
    ['afterSend', 7],
  ] as const) {
    test(`in ${gap}: the attempt stands open, the successor waits and reads back before it sends`, async () => {
      const { shop, publisher } = await inStep(10);
      await publisher.stop();
      await stage.sell('MUG', 3);
      await expand();
      const killed = stage.lane(shop, { hooks: { [gap]: () => new Promise<void>(() => undefined) } });
      void killed.drain();
      await until(async () =>
        gap === 'beforeSend' ? (await stage.attempts(shop)).length === 1 : (await shop.number('MUG')) === 7,
      );
      expect(await stage.attempts(shop)).toMatchObject([{ value: 7, outcome: null }]);
      expect(await mug(shop)).toMatchObject({ expected: null, state: 'sent' });
      expect(await shop.number('MUG')).toBe(applied);

      killed.abandon();
      const before = (await shop.calls()).length;
      const successor = stage.lane(shop);
      await successor.drain();
      expect(await mug(shop)).toMatchObject({ state: 'sent' });
      await db.owner.query(`update lanes set expires_at = now() - interval '1 second' where org_id = $1`, [
        stage.orgId,
      ]);
      await successor.drain();
      // It may not touch the target yet: the old request may still arrive.
      expect((await shop.calls()).length).toBe(before);
      expect(await mug(shop)).toMatchObject({ state: 'unknown' });
      stage.clock.advance(60_000);
      await successor.drain();
      const calls = (await shop.calls()).slice(before).map(({ operation }) => operation);
      expect(calls[0]).toBe('getListingsItem');
      expect(calls.filter((one) => one === 'patchListingsItem').length).toBe(gap === 'beforeSend' ? 1 : 0);
      stage.clock.advance(2_000);
      await successor.drain();
      expect(await shop.number('MUG')).toBe(7);
      expect(await mug(shop)).toMatchObject({ expected: 7, unseen: 0, state: 'in_sync' });
      expect((await stage.attempts(shop))[0]?.outcome).toBe(
        gap === 'beforeSend' ? 'proven_not_applied' : 'proven_applied',
      );
    });
  }
});

test('race 5: a lane frozen after its send wakes after its lease: what it sent is unknown and is put right', async () => {
  const { shop, publisher } = await inStep(10);
  await publisher.stop();
  await stage.sell('MUG', 5);
  let wake: () => void = () => undefined;
  const frozen = new Promise<void>((resolve) => (wake = resolve));
  const first = stage.lane(shop, { leaseMs: 21_000, hooks: { afterSend: () => frozen } });
  const asleep = (async () => {
    await expand();
    await first.drain();
  })();
  await until(async () => (await stage.attempts(shop)).length === 1);
  // Its lease runs out; another takes over and publishes what is right by then.
  await db.owner.query(`update lanes set expires_at = now() - interval '1 second' where org_id = $1`, [stage.orgId]);
  await stage.sell('MUG', 3);
  await expand();
  const second = stage.lane(shop, { leaseMs: 21_000 });
  await second.drain();
  stage.clock.advance(120_000);
  await second.drain();
  expect(await shop.number('MUG')).toBe(2);
  wake();
  await asleep;
  // The frozen lane knows it lost its lease, and says so: what stands there is looked at again. What its successor has proven stays.
  expect(await mug(shop)).toMatchObject({ expected: null });
  expect((await stage.attempts(shop)).find(({ value }) => value === 5)?.outcome).toBe('proven_applied');
  stage.clock.advance(10_000);
  await second.drain();
  expect(await shop.number('MUG')).toBe(2);
  stage.clock.advance(10_000);
  await second.drain();
  expect(await mug(shop)).toMatchObject({ expected: 2, observed: 2, unseen: 0, state: 'in_sync' });
});

test('race 5: a lane frozen after its lease was checked asks once more before its call leaves, and sends nothing', async () => {
  const { shop, publisher } = await inStep(10);
  await publisher.stop();
  await stage.sell('MUG', 5);
  await expand();
  const writes = (await shop.calls('patchListingsItem')).length;
  const frozen = stage.lane(shop, {
    leaseMs: 21_000,
    hooks: {
      atSend: async () => {
        await db.owner.query(
          `update lanes set holder = gen_random_uuid(), generation = generation + 1, expires_at = now() + interval '1 hour' where org_id = $1`,
          [stage.orgId],
        );
        stage.clock.advance(100);
      },
    },
  });
  await frozen.drain();
  expect((await shop.calls('patchListingsItem')).length).toBe(writes);
  expect(await shop.number('MUG')).toBe(10);
  // Not ours to say any more: the lane that took over reads it back.
  expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).not.toContain('applied');
});

test('a lane whose lease would not outlast the request renews it first, and sends nothing when it cannot', async () => {
  const { shop, publisher } = await inStep(10);
  await publisher.stop();
  await stage.sell('MUG', 5);
  await expand();
  const late = stage.lane(shop, {
    leaseMs: 21_000,
    hooks: {
      beforeSend: async () => {
        await db.owner.query(
          `update lanes set holder = gen_random_uuid(), generation = generation + 1, expires_at = now() + interval '1 hour' where org_id = $1`,
          [stage.orgId],
        );
        stage.clock.advance(15_000);
      },
    },
  });
  await late.drain();
  expect(await patches(shop)).toBe(0);
  expect(await shop.number('MUG')).toBe(10);
});

describe('an answer that does not come', () => {
  test('a write that timed out after it was carried out is read back, not sent again', async () => {
    const { shop, publisher } = await inStep(10, { settleMs: 60_000 });
    await shop.fault({ kind: 'timeout_after', match: { operation: 'patchListingsItem' }, times: 1, ms: 50 });
    await stage.sell('MUG', 2);
    await publisher.drain();
    expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).not.toContain('applied');
    stage.clock.advance(61_000);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(8);
    expect(await patches(shop)).toBe(1);
    expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).toEqual(['proven_applied']);
    expect(await mug(shop)).toMatchObject({ expected: 8, state: 'in_sync', unseen: 0 });
  });

  test('a revoked token stops the connection with an alert and loses nothing', async () => {
    const { shop, publisher } = await inStep(10);
    await shop.fault({ kind: 'revoke' });
    await stage.sell('MUG', 2);
    await publisher.drain();
    expect(await mug(shop)).toMatchObject({ state: 'unauthorized', dirty: true });
    const calls = (await shop.calls()).length;
    await publisher.drain();
    expect((await shop.calls()).length).toBe(calls);
    const { rows } = await db.owner.query(
      `select kind, severity from alerts where org_id = $1 and resolved_at is null`,
      [stage.orgId],
    );
    expect(rows).toEqual([{ kind: 'connection_unauthorized', severity: 'critical' }]);
    await shop.control('/faults', undefined, 'DELETE');
    const { setConnectionState } = await import('#store/listings/states.ts');
    await db.store.tenant(stage.orgId, (tx) =>
      setConnectionState(tx, stage.orgId, shop.connection.connectionId, 'connected', null, stage.clock.now()),
    );
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(8);
  });
});

test('P6: after a blind or read write, what the channel sold before our last settled reading is never offered again', async () => {
  const { shop, publisher } = await inStep(10);
  await shop.order('MUG', 4);
  await stage.stock('MUG', 20);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(16);
  expect(await mug(shop)).toMatchObject({ desired: 20, unseen: 4 });
  stage.clock.advance(3_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(16);
  // Orders are read past it and none explains the gap: it was an edit, and is healed.
  await stage.readOrdersTo(shop, stage.clock.now());
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(20);
  expect(await mug(shop)).toMatchObject({ unseen: 0 });
});

async function expand(): Promise<void> {
  const { expandDirty } = await import('#store/listings/expand.ts');
  await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
}

async function until(check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 8_000;
  while (!(await check())) {
    if (performance.now() > end) throw new Error('it did not happen in 8 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
