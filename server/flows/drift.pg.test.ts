/** Drift against the simulated shop: each cause, each policy, and what is never healed. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { decideDrift } from '#store/drift/decide.ts';
import { readDrift, readDrifts } from '#store/drift/read.ts';
import { explainDrifts } from '#store/drift/record.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { serveDrift } from './drift.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';
import { shopifyShop, type TestShopify } from './shopify-shop.testing.ts';

let db: TestDatabase;
let stage: Stage;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
  await stage.variant('CUP');
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const cup = (shop: TestShopify) => stage.target(shop, shop.item('CUP'), shop.main);
const writes = async (shop: TestShopify) => (await shop.calls('inventorySetQuantities')).length;
const everything = { since: null, connectionId: null, cause: null, state: null, search: null, limit: 50, after: null };
const drifts = async () =>
  (await db.store.tenant(stage.orgId, (tx) => readDrifts(tx, stage.orgId, everything))).items.map(
    ({ cause, state, units, expected, observed, policy, sku }) => ({
      cause,
      state,
      units,
      expected,
      observed,
      policy,
      sku,
    }),
  );
const openId = async () => {
  const { items } = await db.store.tenant(stage.orgId, (tx) =>
    readDrifts(tx, stage.orgId, { ...everything, state: 'open' }),
  );
  expect(items).toHaveLength(1);
  return items[0]?.id ?? '';
};
const alerts = async () => {
  const { rows } = await db.owner.query<{ kind: string; open: boolean }>(
    `select kind, resolved_at is null as open from alerts where org_id = $1 order by created_at`,
    [stage.orgId],
  );
  return rows;
};
const decide = async (to: 'heal' | 'adopt' | 'dismiss') => {
  const id = await openId();
  return db.store.tenant(stage.orgId, (tx) =>
    decideDrift(tx, stage.orgId, id, to, { actor: 'ann', now: stage.clock.now() }),
  );
};
const decideDriftOf = (id: string) =>
  db.store.tenant(stage.orgId, (tx) =>
    decideDrift(tx, stage.orgId, id, 'heal', { actor: 'ann', now: stage.clock.now() }),
  );
const sellable = async () => {
  const { rows } = await db.owner.query<{ sellable: number }>(
    `select sellable from positions where org_id = $1 and location_id = $2`,
    [stage.orgId, stage.main],
  );
  return rows[0]?.sellable;
};

/** A shop with one place, in step; its number is then edited in the vendor's admin and read. */
async function inStep(main = 10, options: Parameters<typeof shopifyShop>[2] = { places: ['MAIN'] }) {
  await stage.stock('CUP', main);
  const shop = await shopifyShop(stage, { CUP: [main, 0] }, options);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  stage.clock.advance(10_000);
  await publisher.drain();
  expect(await cup(shop)).toMatchObject({ desired: main, expected: main, state: 'in_sync' });
  const look = async () => {
    stage.clock.advance(2_000);
    await publisher.requestStockSweep(shop.connection);
    await publisher.drain();
  };
  return {
    shop,
    publisher,
    look,
    async edited(quantity: number) {
      await shop.edit('CUP', quantity);
      await look();
    },
    /** Orders are read completely past everything so far. */
    async ordersRead() {
      stage.clock.advance(11_000);
      await stage.readOrdersTo(shop, stage.clock.now());
      await publisher.drain();
    },
  };
}

describe('causes', () => {
  test('a number raised in the vendor admin is put right at once, and is a channel edit once orders are read past it', async () => {
    const { shop, edited, ordersRead } = await inStep();
    await edited(14);
    expect(await shop.number('CUP', shop.main)).toBe(10);
    expect(await drifts()).toEqual([
      { cause: 'unknown', state: 'healed', units: 4, expected: 10, observed: 14, policy: 'heal', sku: 'CUP' },
    ]);
    await ordersRead();
    expect(await drifts()).toMatchObject([{ cause: 'channel_edit', state: 'healed' }]);
    expect(await alerts()).toEqual([]);
  });

  test('P6: a lower number is presumed sold and not healed until orders are read past it; then it is a channel edit', async () => {
    const { shop, edited, ordersRead } = await inStep();
    await edited(7);
    expect(await shop.number('CUP', shop.main)).toBe(7);
    expect(await drifts()).toEqual([]);
    await ordersRead();
    expect(await shop.number('CUP', shop.main)).toBe(10);
    expect(await drifts()).toEqual([
      { cause: 'channel_edit', state: 'healed', units: -3, expected: 10, observed: 7, policy: 'heal', sku: 'CUP' },
    ]);
    expect(await cup(shop)).toMatchObject({ unseen: 0, state: 'in_sync' });
  });

  test('an order whose event never came explains the gap as a lost order, and nothing is written', async () => {
    const { shop, look } = await inStep();
    const soldAt = stage.clock.now();
    await shop.order('CUP', 2);
    await look();
    await stage.importSale(shop, 'CUP', 2, soldAt, shop.main, { externalId: 'order-1', swept: true });
    await look();
    expect(await drifts()).toEqual([
      { cause: 'lost_order', state: 'explained', units: -2, expected: 10, observed: 8, policy: null, sku: 'CUP' },
    ]);
    expect(await writes(shop)).toBe(0);
    const { items } = await db.store.tenant(stage.orgId, (tx) => readDrifts(tx, stage.orgId, everything));
    const shown = await db.store.tenant(stage.orgId, (tx) => readDrift(tx, stage.orgId, items[0]?.id ?? ''));
    expect(shown?.evidence.explained).toEqual([{ externalId: 'order-1', units: -2, source: 'sweep' }]);
  });

  test('orders that explain many numbers cost as many statements as for one; two of one number make one lost order', async () => {
    const { shop } = await inStep();
    await stage.variant('BOWL');
    const { rows } = await db.owner.query<{ id: string }>(
      `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id)
       select t.org_id, gen_random_uuid(), t.connection_id, 'more-' || n, t.channel_location, t.variant_id
       from targets t, generate_series(1, 30) n where t.org_id = $1 and t.stock_key = $2 and t.channel_location = $3 returning id`,
      [stage.orgId, shop.item('CUP'), shop.main],
    );
    const found = (targetId: string, order: string, units = -1) => ({
      targetId,
      units,
      order,
      swept: true,
      observed: 9,
      observedAt: stage.clock.now(),
    });
    const statements = (explanations: ReturnType<typeof found>[]) =>
      db.store.tenant(stage.orgId, async (tx) => {
        let count = 0;
        const query: typeof tx.query = (...asked) => {
          count += 1;
          return tx.query(...asked);
        };
        await explainDrifts({ query, run: (built) => tx.run(built) }, stage.orgId, explanations, {
          ids: { uuid: () => crypto.randomUUID() },
          now: stage.clock.now(),
        });
        return count;
      });
    const [one, ...others] = rows.map(({ id }) => id);
    const single = await statements([found(one ?? '', 'order-1')]);
    expect(await statements(others.map((id, n) => found(id, `order-${n + 2}`)))).toBe(single);
    await statements([found(one ?? '', 'order-40'), found(others[0] ?? '', 'order-41')]);
    const kept = await db.owner.query<{ told: number; drifts: number }>(
      `select jsonb_array_length(explained) as told, count(*)::int as drifts from drifts
       where org_id = $1 and cause = 'lost_order' and state = 'explained' and units = -1 group by 1 order by 1`,
      [stage.orgId],
    );
    expect(kept.rows).toEqual([
      { told: 1, drifts: 28 },
      { told: 2, drifts: 2 },
    ]);
  });

  test('an order that was only slower than its number leaves no drift', async () => {
    const { shop, look } = await inStep();
    const soldAt = stage.clock.now();
    await shop.order('CUP', 2);
    await look();
    await stage.importSale(shop, 'CUP', 2, soldAt, shop.main, { externalId: 'order-1', swept: false });
    await look();
    expect(await drifts()).toEqual([]);
  });

  test('the number of a write we held for lost is an echo', async () => {
    const { shop, publisher, edited, ordersRead } = await inStep();
    await shop.fault({ kind: 'status', status: 500, match: { operation: 'inventorySetQuantities' }, times: 1 });
    await stage.sell('CUP', 1);
    await publisher.drain();
    stage.clock.advance(5_000);
    await stage.sell('CUP', 2);
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(7);
    await edited(9);
    await ordersRead();
    expect(await drifts()).toMatchObject([{ cause: 'echo', state: 'healed', observed: 9, expected: 7 }]);
  });

  test('a write the channel refuses is drift with the vendor words, and ends when one lands', async () => {
    const { shop, publisher } = await inStep();
    await db.owner.query(`update targets set stock_key = 'gid://shopify/InventoryItem/404' where org_id = $1`, [
      stage.orgId,
    ]);
    await db.owner.query(`update listings set stock_key = 'gid://shopify/InventoryItem/404' where org_id = $1`, [
      stage.orgId,
    ]);
    await stage.sell('CUP', 1);
    await publisher.drain();
    expect(await drifts()).toMatchObject([{ cause: 'rejected_write', expected: 9, observed: 10 }]);
    await db.owner.query(`update targets set stock_key = $2 where org_id = $1`, [stage.orgId, shop.item('CUP')]);
    await db.owner.query(`update listings set stock_key = $2 where org_id = $1`, [stage.orgId, shop.item('CUP')]);
    expect(await decide('heal')).toEqual({ kind: 'done', state: 'healing' });
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(9);
    expect(await drifts()).toMatchObject([{ cause: 'rejected_write', state: 'healed' }]);
  });

  test('a number that changed with the mapping of its listing is named so', async () => {
    const { shop, edited, ordersRead } = await inStep();
    await stage.variant('MUG');
    await stage.stock('MUG', 10);
    stage.clock.advance(1_000);
    await db.owner.query(
      `update listings set variant_id = $2, updated_at = to_timestamp($3::float8 / 1000) where org_id = $1`,
      [stage.orgId, stage.variants.MUG, stage.clock.now()],
    );
    await db.owner.query(`update targets set variant_id = $2 where org_id = $1`, [stage.orgId, stage.variants.MUG]);
    await edited(12);
    await ordersRead();
    expect(await drifts()).toMatchObject([{ cause: 'mapping', state: 'healed', sku: 'MUG' }]);
    expect(await shop.number('CUP', shop.main)).toBe(10);
  });
});

describe('policies', () => {
  test('ask: it stands in drifted with an alert and nothing is written; a person heals it', async () => {
    const { shop, publisher, edited } = await inStep();
    await stage.policy('organization', stage.orgId, { drift: 'ask' });
    await edited(14);
    expect(await cup(shop)).toMatchObject({ state: 'drifted', observed: 14 });
    expect(await writes(shop)).toBe(0);
    expect(await alerts()).toEqual([{ kind: 'drift', open: true }]);
    expect(await decide('heal')).toEqual({ kind: 'done', state: 'healing' });
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(10);
    expect(await drifts()).toMatchObject([{ state: 'healed' }]);
    expect(await alerts()).toEqual([{ kind: 'drift', open: false }]);
  });

  test('ask: what is dismissed is left alone until our own number changes', async () => {
    const { shop, publisher, look, edited } = await inStep();
    await stage.policy('connection', shop.connection.connectionId, { drift: 'ask' });
    await edited(14);
    await publisher.drain();
    expect(await decide('dismiss')).toEqual({ kind: 'done', state: 'dismissed' });
    await look();
    expect(await cup(shop)).toMatchObject({ state: 'drifted', observed: 14 });
    expect(await writes(shop)).toBe(0);
    await stage.sell('CUP', 1);
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(9);
    expect(await cup(shop)).toMatchObject({ state: 'in_sync' });
  });

  test('adopt: the number becomes a fact in the book once orders are read past it, and nothing is written there', async () => {
    const { shop, edited, ordersRead, publisher } = await inStep();
    await stage.policy('connection', shop.connection.connectionId, { drift: 'adopt' });
    await edited(14);
    expect(await sellable()).toBe(10);
    await ordersRead();
    expect(await sellable()).toBe(14);
    expect(await cup(shop)).toMatchObject({ desired: 14, expected: 14, state: 'in_sync' });
    expect(await writes(shop)).toBe(0);
    expect(await drifts()).toMatchObject([{ cause: 'channel_edit', state: 'adopted', units: 4, policy: 'adopt' }]);
    await edited(11);
    await ordersRead();
    await publisher.drain();
    expect(await sellable()).toBe(11);
    expect(await writes(shop)).toBe(0);
    const { rows } = await db.owner.query(
      `select reason, units, effect_key like 'drift:%:adopt' as keyed from movements where org_id = $1 and reason = 'channel_adopted' order by recorded_at`,
      [stage.orgId],
    );
    expect(rows).toEqual([
      { reason: 'channel_adopted', units: 4, keyed: true },
      { reason: 'channel_adopted', units: 3, keyed: true },
    ]);
  });

  test('adopt: two processes at it book it once, and later decisions are refused', async () => {
    const { shop, edited } = await inStep();
    await stage.policy('connection', shop.connection.connectionId, { drift: 'adopt' });
    await edited(14);
    stage.clock.advance(11_000);
    await stage.readOrdersTo(shop, stage.clock.now());
    const id = await openId();
    const options = { store: db.store, clock: stage.clock, ids: stage.ids };
    await Promise.all([serveDrift(options, stage.orgId, id), serveDrift(options, stage.orgId, id)]);
    expect(await sellable()).toBe(14);
    expect(await drifts()).toMatchObject([{ state: 'adopted', units: 4 }]);
    await serveDrift(options, stage.orgId, id);
    expect(await sellable()).toBe(14);
    expect(await decideDriftOf(id)).toEqual({ kind: 'ended', state: 'adopted' });
  });

  test('adopt is refused with the reason where the number does not say where the units are, and is then asked', async () => {
    const { shop, edited, ordersRead, publisher } = await inStep(10, {});
    await stage.policy('connection', shop.connection.connectionId, { drift: 'adopt' });
    await edited(14);
    await ordersRead();
    await publisher.drain();
    expect(await sellable()).toBe(10);
    expect(await drifts()).toMatchObject([{ state: 'asked' }]);
    const shown = await db.store.tenant(stage.orgId, async (tx) => readDrift(tx, stage.orgId, await openId()));
    expect(shown?.reason).toBe('This SKU is shown by 2 numbers; one of them cannot say what all of them share.');
    expect(await alerts()).toEqual([{ kind: 'drift', open: true }]);
    expect(await writes(shop)).toBe(0);
  });

  test('a channel that edits back again and again is asked about after three heals within an hour', async () => {
    const { shop, edited } = await inStep();
    for (let time = 0; time < 3; time += 1) await edited(14);
    expect(await shop.number('CUP', shop.main)).toBe(10);
    expect(await writes(shop)).toBe(3);
    await edited(14);
    expect(await shop.number('CUP', shop.main)).toBe(14);
    expect(await writes(shop)).toBe(3);
    expect(await cup(shop)).toMatchObject({ state: 'drifted' });
    expect(await alerts()).toEqual([{ kind: 'drift_flapping', open: true }]);
    expect((await drifts()).map(({ state }) => state)).toEqual(['asked', 'healed', 'healed', 'healed']);
  });
});
