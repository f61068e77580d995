/** Kills between two commits of a lane's turn, and channels that come back by themselves (P4, P10). */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { expandDirty } from '#store/listings/expand.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import type { LaneHooks } from './publisher-types.ts';
import { failures, publishingStage, type Shop, type Stage } from './publishing.testing.ts';
import { shopifyShop } from './shopify-shop.testing.ts';

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

const writes = async (shop: Shop) =>
  (await shop.calls()).filter(({ operation }) => /inventorySetQuantities|patchListingsItem/.test(operation)).length;

/** The next process, after a predecessor's requests can no longer arrive and whatever settles has settled. */
async function later(shop: Shop): Promise<void> {
  const publisher = stage.publisher([shop], { soleProcess: true });
  await publisher.drain();
  stage.clock.advance(60_000);
  await publisher.drain();
  stage.clock.advance(600_000);
  await publisher.drain();
  await publisher.stop();
}

/**
 * A lane that is killed at the first of these points, or at the first after another: not at a count of them, since a read
 * that a busy machine made too old for a write is done again.
 */
async function killedAt(shop: Shop, hook: keyof LaneHooks, after?: keyof LaneHooks): Promise<void> {
  let armed = after === undefined;
  let killed = false;
  const lane = stage.lane(shop, {
    soleProcess: true,
    hooks: {
      ...(after && {
        [after]: () => {
          armed = true;
        },
      }),
      [hook]: () => {
        if (!armed) return;
        killed = true;
        lane.abandon();
      },
    },
  });
  await lane.drain();
  expect(killed).toBe(true);
}

test('killed between the commit of a read-back and that of its finding, a written target does not stay “sent”', async () => {
  await stage.stock('MUG', 10);
  const shop = await amazonShop(stage, { MUG: 10 });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await publisher.stop();
  await stage.stock('MUG', 6);
  await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
  await killedAt(shop, 'afterReadRecord', 'afterRecord');
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'sent', expected: 6, observed: 6 });
  await later(shop);
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'in_sync', desired: 6, reason: null });
  expect(await shop.number('MUG')).toBe(6);
  expect(await writes(shop)).toBe(1);
});

test.each<[hook: 'atSend' | 'afterSend', written: number, proven: string]>([
  ['atSend', 1, 'proven_not_applied'],
  ['afterSend', 2, 'proven_applied'],
])(
  'a write that a kill at %s left open is proven before a cut to 0 is recorded, however long it may take to come into force',
  async (hook, written, proven) => {
    await stage.stock('MUG', 10);
    const shop = await amazonShop(stage, { MUG: 10 }, { settleMs: 5_000 });
    const first = stage.publisher([shop]);
    await first.drain();
    await first.stop();
    await stage.stock('MUG', 7);
    await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
    await killedAt(shop, hook);
    await stage.stock('MUG', 0);
    const next = stage.publisher([shop], { soleProcess: true });
    await next.drain();
    stage.clock.advance(4_000);
    await next.drain();
    const outcomes = async () => (await stage.attempts(shop)).map(({ value, outcome }) => [value, outcome]);
    if (hook === 'atSend') {
      // Read back: the old number proves nothing yet.
      expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({
        state: 'unknown',
        reason: 'The outcome of a write is not known; it is read back before anything else is sent.',
      });
      expect(await outcomes()).toEqual([[7, null]]);
    }
    for (let step = 0; step < 4; step += 1) {
      stage.clock.advance(6_000);
      await next.drain();
    }
    expect(await outcomes()).toEqual([
      [7, proven],
      [0, 'proven_applied'],
    ]);
    expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'in_sync', desired: 0, reason: null });
    expect(await shop.number('MUG')).toBe(0);
    expect(await writes(shop)).toBe(written);
  },
);

test('a write without an answer is read back after its settle time, and only then is a cut to 0 sent', async () => {
  await stage.stock('MUG', 10);
  const shop = await amazonShop(stage, { MUG: 10 }, { settleMs: 5_000 });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.stock('MUG', 7);
  await shop.fault({ kind: 'timeout_before', match: { operation: 'patchListingsItem' }, times: 1, ms: 50 });
  await publisher.drain();
  await stage.stock('MUG', 0);
  await publisher.drain();
  stage.clock.advance(4_000);
  await publisher.drain();
  expect(await writes(shop)).toBe(1);
  expect((await stage.attempts(shop)).map(({ value, outcome }) => [value, outcome])).toEqual([[7, 'unknown']]);
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'unknown', dirty: true });
  for (let step = 0; step < 4; step += 1) {
    stage.clock.advance(6_000);
    await publisher.drain();
  }
  expect((await stage.attempts(shop)).map(({ value, outcome }) => [value, outcome])).toEqual([
    [7, 'proven_not_applied'],
    [0, 'proven_applied'],
  ]);
  expect(await writes(shop)).toBe(2);
  expect(await shop.number('MUG')).toBe(0);
});

test('a state on its way that nothing moves on is work, whatever left it there', async () => {
  await stage.stock('MUG', 10);
  const shop = await amazonShop(stage, { MUG: 10 });
  await stage.publisher([shop]).drain();
  for (const state of ['pending', 'sent', 'settling', 'unknown', 'unreachable']) {
    await db.owner.query(`update targets set state = $2, reason = 'left behind', read_due = null where org_id = $1`, [
      stage.orgId,
      state,
    ]);
    await later(shop);
    expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'in_sync', reason: null, dirty: false });
  }
  expect(await writes(shop)).toBe(0);
});

test.each(['afterRead', 'afterReadRecord', 'beforeSend', 'atSend', 'afterSend', 'afterRecord'] as const)(
  'killed at %s while somebody’s edit is healed, the next lane heals it',
  async (hook) => {
    await stage.stock('MUG', 8);
    const shop = await shopifyShop(stage, { MUG: [8, 0] });
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    await publisher.stop();
    stage.clock.advance(5_000);
    await shop.edit('MUG', 30);
    await db.owner.query(`update targets set read_due = to_timestamp($2::float8 / 1000.0) where org_id = $1`, [
      stage.orgId,
      stage.clock.now(),
    ]);
    await killedAt(shop, hook);
    await later(shop);
    expect(await shop.number('MUG', shop.main)).toBe(8);
    expect(await stage.target(shop, shop.item('MUG'), shop.main)).toMatchObject({ state: 'in_sync', observed: 8 });
  },
);

test('a refusal that is over is noticed: the lane asks again, and what waited is sent', async () => {
  await stage.stock('MUG', 8);
  const shop = await amazonShop(stage, { MUG: 8 });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.stock('MUG', 5);
  await shop.fault({ kind: 'revoke' });
  await publisher.drain();
  // An order that could not be read meanwhile.
  await db.owner.query(
    `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, next_at, state, error_code)
     values ($1, $2, $3, 'order', '902-1', 'ORDER_CHANGE', 'queue', '\\x00', '\\x00', now(), now() + interval '1 day', 'waiting', 'connector.unauthorized')`,
    [stage.orgId, stage.ids.uuid(), shop.connection.connectionId],
  );
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'unauthorized' });
  await shop.control('/faults', undefined, 'DELETE');
  stage.clock.advance(1_300);
  await publisher.drain();
  await publisher.drain();
  stage.clock.advance(600_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(5);
  const { rows } = await db.owner.query(
    `select c.state, a.kind, a.resolved_at is not null as resolved from connections c join alerts a on a.org_id = c.org_id where c.org_id = $1`,
    [stage.orgId],
  );
  expect(rows).toEqual([{ state: 'connected', kind: 'connection_unauthorized', resolved: true }]);
  const { rows: waiting } = await db.owner.query(
    `select next_at <= to_timestamp($2::float8 / 1000.0) as due from inbox where org_id = $1`,
    [stage.orgId, stage.clock.now()],
  );
  expect(waiting).toEqual([{ due: true }]);
});

test('while it still refuses us, it is asked ever more rarely and nothing is sent', async () => {
  await stage.stock('MUG', 8);
  const shop = await amazonShop(stage, { MUG: 8 });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.stock('MUG', 5);
  await shop.fault({ kind: 'revoke' });
  const before = (await shop.calls()).length;
  for (let second = 0; second < 60; second += 1) {
    await publisher.drain();
    stage.clock.advance(1_000);
  }
  expect((await shop.calls()).length - before).toBeLessThanOrEqual(9);
  expect(await writes(shop)).toBe(0);
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'unauthorized', dirty: true });
});

test('a cut that the channel took and never applied is told, and sent again later', async () => {
  await stage.stock('MUG', 8);
  const shop = await amazonShop(stage, { MUG: 8 });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.stock('MUG', 5);
  await shop.fault({ kind: 'half_batch', times: 1, match: { operation: 'patchListingsItem' } });
  for (let look = 0; look < 5; look += 1) {
    await publisher.drain();
    stage.clock.advance(5_000);
  }
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'rejected', observed: 8, desired: 5 });
  expect(await shop.number('MUG')).toBe(8);
  stage.clock.advance(60_000);
  await publisher.drain();
  stage.clock.advance(5_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(5);
  expect(await stage.target(shop, 'MUG', 'DEFAULT')).toMatchObject({ state: 'in_sync', observed: 5, reason: null });
  const { rows } = await db.owner.query(
    `select kind, count, resolved_at is not null as resolved from alerts where org_id = $1`,
    [stage.orgId],
  );
  expect(rows).toEqual([{ kind: 'listing_rejected', count: 1, resolved: true }]);
});
