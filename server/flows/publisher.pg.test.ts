/** The publisher as a whole: marks, lanes, due rows, pauses (races 9, 10, 11, 12; P4, P5, P10). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type HoldId, LineId, type VariantId } from '#core/ids.ts';
import { post } from '#store/ledger/post.ts';
import { expandDirty } from '#store/listings/expand.ts';
import { pauseConnection, pauseListing, resumeConnection, resumeListing } from '#store/listings/halts.ts';
import { mapListing } from '#store/listings/listings.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { failures, publishingStage, type Shop, type Stage, until } from './publishing.testing.ts';
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
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const pause = { reason: null, until: null };
const acting = () => ({ actor: 'test', now: stage.clock.now(), ids: stage.ids });

const listingId = async (shop: Shop, sku: string): Promise<string> =>
  (
    await db.owner.query(`select id from listings where connection_id = $1 and channel_sku = $2`, [
      shop.connection.connectionId,
      sku,
    ])
  ).rows[0].id as string;

const count = async (table: string): Promise<number> =>
  Number((await db.owner.query(`select count(*) from ${table} where org_id = $1`, [stage.orgId])).rows[0].count);

test('a commit reaches the other shop’s wire within milliseconds, and stopping takes less than a second', async () => {
  await stage.variant('CUP');
  await stage.stock('CUP', 500);
  const shop = await shopifyShop(stage, { CUP: [500, 0] }, { places: ['MAIN'] });
  const leaves: number[] = [];
  const publisher = stage.publisher([shop], { hooks: { atSend: () => void leaves.push(performance.now()) } });
  publisher.start();
  await until(async () => (await stage.target(shop, shop.item('CUP'), shop.main)).state === 'in_sync');
  const took: number[] = [];
  for (let sale = 0; sale < 25; sale += 1) {
    const sent = leaves.length;
    await stage.sell('CUP', 1);
    const committed = performance.now();
    publisher.wake();
    await until(async () => leaves.length > sent, 1);
    took.push((leaves.at(-1) ?? 0) - committed);
    await until(async () => (await shop.number('CUP', shop.main)) === 499 - sale, 1);
  }
  took.sort((a, b) => a - b);
  expect(took[12]).toBeLessThan(250);
  const stopping = performance.now();
  await publisher.stop();
  expect(performance.now() - stopping).toBeLessThan(1_000);
  const { rows } = await db.owner.query(`select holder from lanes where org_id = $1`, [stage.orgId]);
  expect(rows).toEqual([{ holder: null }]);
  process.stdout.write(
    `commit → call leaves: median ${took[12]?.toFixed(1)} ms, worst ${took.at(-1)?.toFixed(1)} ms\n`,
  );
});

test('race 9: a cut to zero overtakes bulk calls that are on their way', async () => {
  const skus = ['HOT', ...Array.from({ length: 12 }, (_, index) => `B-${index}`)];
  for (const sku of skus) await stage.variant(sku);
  for (const sku of skus) await stage.stock(sku, 50);
  const shop = await shopifyShop(stage, Object.fromEntries(skus.map((sku) => [sku, [50, 0] as [number, number]])), {
    places: ['MAIN'],
    bulkRows: 2,
    callsInFlight: 2,
  });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await publisher.stop();
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const lane = stage.lane(shop, { hooks: { atSend: ({ budget }) => (budget === 'bulk' ? held : undefined) } });
  for (const sku of skus.slice(1)) await stage.stock(sku, 40);
  await expand();
  lane.start();
  await until(async () => (await stage.attempts(shop)).length === 2);
  await stage.sell('HOT', 50);
  await expand();
  lane.wake();
  await until(async () => (await shop.number('HOT', shop.main)) === 0);
  expect(await shop.number('B-0', shop.main)).toBe(50);
  release();
  await until(async () => {
    lane.wake();
    return (await shop.number('B-11', shop.main)) === 40;
  });
  await lane.stop();
});

test('race 10: a sale of a part marks one row, whatever the number of bundles that hold it', async () => {
  await stage.variant('PART');
  await stage.stock('PART', 20);
  const kits = Array.from({ length: 40 }, (_, index) => `KIT-${index}`);
  for (const kit of kits) await stage.bundle(kit, { PART: 2 });
  const shop = await shopifyShop(stage, Object.fromEntries(kits.map((kit) => [kit, [10, 0] as [number, number]])), {
    places: ['MAIN'],
  });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  const before = (await shop.calls('inventorySetQuantities')).length;
  await stage.sell('PART', 4);
  const { rows } = await db.owner.query(`select variant_id from dirty_variants where org_id = $1`, [stage.orgId]);
  expect(rows).toEqual([{ variant_id: stage.variants.PART }]);
  await publisher.drain();
  for (const kit of kits) expect(await shop.number(kit, shop.main)).toBe(8);
  expect((await shop.calls('inventorySetQuantities')).length - before).toBe(1);
  expect(await count('dirty_variants')).toBe(0);
});

test('a mark that changes while it is expanded is kept, and one held by the ledger is not waited for', async () => {
  await stage.variant('CUP');
  await stage.stock('CUP', 5);
  const shop = await shopifyShop(stage, { CUP: [5, 0] }, { places: ['MAIN'] });
  await stage.publisher([shop]).drain();
  await stage.sell('CUP', 1);
  const ledger = await db.owner.connect();
  try {
    await ledger.query('begin');
    await ledger.query(`update dirty_variants set version = version + 1 where org_id = $1`, [stage.orgId]);
    const expanded = await expand();
    expect(expanded.connectionIds).toEqual([shop.connection.connectionId]);
    await ledger.query('commit');
  } finally {
    ledger.release();
  }
  expect(await count('dirty_variants')).toBe(1);
  await expand();
  expect(await count('dirty_variants')).toBe(0);
});

test('P5: ten thousand sales while the channel is away leave one mark per variant and a handful of calls', async () => {
  const skus = Array.from({ length: 20 }, (_, index) => `SKU-${index}`);
  for (const sku of skus) await stage.variant(sku);
  for (const sku of skus) await stage.stock(sku, 600);
  const shop = await shopifyShop(stage, Object.fromEntries(skus.map((sku) => [sku, [600, 0] as [number, number]])), {
    places: ['MAIN'],
  });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  const before = (await shop.calls('inventorySetQuantities')).length;
  for (let batch = 0; batch < 50; batch += 1) {
    await db.store.tenant(stage.orgId, (tx) =>
      post(
        tx,
        stage.orgId,
        Array.from({ length: 200 }, (_, index) => ({
          kind: 'commit' as const,
          key: `flash:${batch}:${index}`,
          businessAt: stage.clock.now(),
          reason: 'sale',
          wish: false,
          lines: [
            {
              lineId: LineId(stage.ids.uuid()),
              variantId: stage.variants[skus[index % 20] ?? ''] as VariantId,
              units: 1 as never,
              locationId: null,
            },
          ],
        })),
        { actor: 'test', ids: stage.ids, now: stage.clock.now() },
      ),
    );
    if (batch % 10 === 0) await expand();
    const waiting =
      (await count('dirty_variants')) +
      Number(
        (
          await db.owner.query(`select count(*) from targets where org_id = $1 and dirty_version > handled_version`, [
            stage.orgId,
          ])
        ).rows[0].count,
      );
    expect(waiting).toBeLessThanOrEqual(40);
  }
  await publisher.drain();
  for (const sku of skus) expect(await shop.number(sku, shop.main)).toBe(100);
  expect((await shop.calls('inventorySetQuantities')).length - before).toBe(1);
});

/** A wish of two cups for a minute. */
const holdCups = () =>
  db.store.tenant(stage.orgId, (tx) =>
    post(
      tx,
      stage.orgId,
      [
        {
          kind: 'hold',
          key: 'hold:1',
          businessAt: stage.clock.now(),
          reason: 'checkout',
          origin: 'own',
          expiresAt: stage.clock.now() + 60_000,
          wish: true,
          lines: [
            {
              holdId: stage.ids.uuid() as HoldId,
              variantId: stage.variants.CUP as VariantId,
              units: 2 as never,
              locationId: null,
            },
          ],
        },
      ],
      { actor: 'test', ids: stage.ids, now: stage.clock.now() },
    ),
  );

test('time is served while commits wake the publisher without a pause: a hold that ends is released', async () => {
  await stage.variant('CUP');
  await stage.stock('CUP', 3);
  const shop = await shopifyShop(stage, { CUP: [3, 0] }, { places: ['MAIN'] });
  const publisher = stage.publisher([shop]);
  publisher.start();
  const busy = setInterval(() => publisher.wake(), 2);
  try {
    await holdCups();
    await until(async () => (await shop.number('CUP', shop.main)) === 1);
    stage.clock.advance(61_000);
    await until(async () => (await shop.number('CUP', shop.main)) === 3);
    expect(await count('due')).toBe(0);
  } finally {
    clearInterval(busy);
    await publisher.stop();
  }
});

test('race 11: a hold whose time has passed gives its unit back to every channel', async () => {
  await stage.variant('CUP');
  await stage.stock('CUP', 3);
  const shop = await shopifyShop(stage, { CUP: [3, 0] }, { places: ['MAIN'] });
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await holdCups();
  await publisher.drain();
  expect(await shop.number('CUP', shop.main)).toBe(1);
  expect(await count('due')).toBe(1);
  stage.clock.advance(61_000);
  await publisher.drain();
  expect(await shop.number('CUP', shop.main)).toBe(3);
  expect(await count('due')).toBe(0);
});

describe('race 12: several listings, one number', () => {
  test('a second variant on a stock key is refused with a reason, and the number stays the first one’s', async () => {
    await stage.variant('CUP');
    await stage.variant('MUG');
    await stage.stock('CUP', 5);
    await stage.stock('MUG', 9);
    const shop = await amazonShop(stage, { CUP: 5 });
    const second = { sku: 'CUP-UK', variantSku: 'MUG', stockKey: 'CUP', externalId: 'asin-uk' };
    expect(await stage.list(shop, [second])).toMatchObject([{ kind: 'refused' }]);
    expect(await stage.list(shop, [{ ...second, variantSku: 'CUP' }])).toMatchObject([
      { kind: 'ok', variantId: stage.variants.CUP },
    ]);
    const context = { ids: stage.ids, now: stage.clock.now(), compareAndSet: false };
    const id = await listingId(shop, 'CUP-UK');
    const refused = await db.store.tenant(stage.orgId, (tx) =>
      mapListing(tx, stage.orgId, id, stage.variants.MUG as string, context),
    );
    expect(refused).toMatchObject({ kind: 'refused', reason: expect.stringContaining('already shows CUP') });
    await stage.publisher([shop]).drain();
    expect(await shop.number('CUP')).toBe(5);
    expect(await count('targets')).toBe(1);
  });

  test('an unmapped listing is never written; mapped later, it is published', async () => {
    await stage.variant('CUP');
    await stage.stock('CUP', 5);
    const shop = await amazonShop(stage, { OTHER: 7 });
    await stage.list(shop, [{ sku: 'OTHER', variantSku: null, stockKey: 'OTHER', externalId: 'asin-other' }]);
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    expect(await stage.target(shop, 'OTHER', 'DEFAULT')).toMatchObject({ state: 'unmapped' });
    expect(await shop.number('OTHER')).toBe(7);
    const id = await listingId(shop, 'OTHER');
    await db.store.tenant(stage.orgId, (tx) =>
      mapListing(tx, stage.orgId, id, stage.variants.CUP as string, {
        ids: stage.ids,
        now: stage.clock.now(),
        compareAndSet: false,
      }),
    );
    await publisher.drain();
    expect(await shop.number('OTHER')).toBe(5);
  });
});

describe('pauses keep what waits', () => {
  async function oneCup() {
    await stage.variant('CUP');
    await stage.stock('CUP', 5);
    const shop = await shopifyShop(stage, { CUP: [5, 0] }, { places: ['MAIN'] });
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    return { shop, publisher, cup: () => stage.target(shop, shop.item('CUP'), shop.main) };
  }

  test('a paused listing is not written, and shows the newest number when it resumes', async () => {
    const { shop, publisher, cup } = await oneCup();
    const id = await listingId(shop, 'CUP');
    await db.store.tenant(stage.orgId, (tx) => pauseListing(tx, stage.orgId, id, pause, acting()));
    await stage.sell('CUP', 1);
    await publisher.drain();
    expect(await cup()).toMatchObject({ state: 'paused', dirty: true });
    expect(await shop.number('CUP', shop.main)).toBe(5);
    await stage.sell('CUP', 1);
    await db.store.tenant(stage.orgId, (tx) => resumeListing(tx, stage.orgId, id, acting()));
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(3);
    expect(await cup()).toMatchObject({ state: 'in_sync', dirty: false });
  });

  test('a paused connection makes no call at all', async () => {
    const { shop, publisher, cup } = await oneCup();
    await db.store.tenant(stage.orgId, (tx) =>
      pauseConnection(tx, stage.orgId, shop.connection.connectionId, pause, acting()),
    );
    const before = (await shop.calls()).length;
    await stage.sell('CUP', 2);
    await publisher.drain();
    expect((await shop.calls()).length).toBe(before);
    expect(await cup()).toMatchObject({ state: 'paused' });
    await db.store.tenant(stage.orgId, (tx) =>
      resumeConnection(tx, stage.orgId, shop.connection.connectionId, acting()),
    );
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(3);
  });
});

describe('a stop that somebody else set and ended', () => {
  test.each([
    ['a pause', `update connections set paused_at = now()`, `update connections set paused_at = null`, 'paused'],
    ['a paused listing', `update listings set paused_at = now()`, `update listings set paused_at = null`, 'paused'],
    [
      'a lost authorisation',
      `update connections set state = 'unauthorized', state_reason = 'uninstalled'`,
      `update connections set state = 'connected'`,
      'unauthorized',
    ],
  ])('%s stops the target in a named state and ends by itself', async (_, stop, end, state) => {
    await stage.variant('CUP');
    await stage.stock('CUP', 5);
    const shop = await shopifyShop(stage, { CUP: [5, 0] }, { places: ['MAIN'] });
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    await db.owner.query(`${stop} where org_id = $1`, [stage.orgId]);
    await stage.sell('CUP', 2);
    await publisher.drain();
    expect(await stage.target(shop, shop.item('CUP'), shop.main)).toMatchObject({ state, dirty: true });
    expect(await shop.number('CUP', shop.main)).toBe(5);
    await db.owner.query(`${end} where org_id = $1`, [stage.orgId]);
    await publisher.drain();
    expect(await shop.number('CUP', shop.main)).toBe(3);
    expect(await stage.target(shop, shop.item('CUP'), shop.main)).toMatchObject({ state: 'in_sync', dirty: false });
  });
});

describe('a channel in trouble', () => {
  test('unreachable: said after three failures with one alert, everything kept, right again by itself', async () => {
    await stage.variant('CUP');
    await stage.stock('CUP', 5);
    const shop = await shopifyShop(stage, { CUP: [5, 0] }, { places: ['MAIN'] });
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    await shop.fault({ kind: 'status', status: 503 });
    await stage.sell('CUP', 2);
    for (let look = 0; look < 6; look += 1) {
      await publisher.drain();
      stage.clock.advance(20_000);
    }
    expect(await stage.target(shop, shop.item('CUP'), shop.main)).toMatchObject({ state: 'unreachable', dirty: true });
    const open = await db.owner.query(`select kind from alerts where org_id = $1 and resolved_at is null`, [
      stage.orgId,
    ]);
    expect(open.rows).toEqual([{ kind: 'connection_unreachable' }]);
    await shop.control('/faults', undefined, 'DELETE');
    for (let look = 0; look < 4; look += 1) {
      stage.clock.advance(40_000);
      await publisher.drain();
    }
    expect(await shop.number('CUP', shop.main)).toBe(3);
    expect(await stage.target(shop, shop.item('CUP'), shop.main)).toMatchObject({ state: 'in_sync', unseen: 0 });
    const after = await db.owner.query(`select kind from alerts where org_id = $1 and resolved_at is null`, [
      stage.orgId,
    ]);
    expect(after.rows).toEqual([]);
  });
});

test('P4: after a storm of sales, late orders, webhooks and edits every number is right once things go quiet', async () => {
  const skus = ['A', 'B', 'C'];
  for (const sku of skus) await stage.variant(sku);
  for (const sku of skus) await stage.stock(sku, 60);
  const shop = await shopifyShop(stage, { A: [60, 0], B: [60, 0], C: [60, 0] }, { places: ['MAIN'] });
  const account = await amazonShop(stage, { A: 60, B: 60, C: 60 });
  const publisher = stage.publisher([shop, account]);
  await publisher.drain();
  let seed = 20261121;
  const roll = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const untold: { shop: Shop; sku: string; at: number }[] = [];
  const sold = new Map<string, number>();
  for (let step = 0; step < 90; step += 1) {
    const sku = skus[roll(3)] ?? 'A';
    const place = roll(2) === 0 ? shop : account;
    const act = roll(10);
    if (act < 4 && (await place.number(sku)) > 0) {
      untold.push({ shop: place, sku, at: stage.clock.now() });
      await place.order(sku, 1);
      sold.set(sku, (sold.get(sku) ?? 0) + 1);
    } else if (act < 7) {
      const [told] = untold.splice(roll(Math.max(1, untold.length)), 1);
      if (told) await stage.importSale(told.shop, told.sku, 1, told.at);
    } else if (act === 7)
      await stage.webhook(shop, sku, shop.main, await shop.number(sku, shop.main), stage.clock.now());
    else if (act === 8) stage.clock.advance(1_000 * (1 + roll(4)));
    else await publisher.drain();
  }
  for (const told of untold) await stage.importSale(told.shop, told.sku, 1, told.at);
  for (let look = 0; look < 6; look += 1) {
    stage.clock.advance(10_000);
    for (const place of [shop, account]) await stage.readOrdersTo(place, stage.clock.now());
    await publisher.drain();
  }
  for (const sku of skus) {
    const left = 60 - (sold.get(sku) ?? 0);
    expect([sku, await shop.number(sku, shop.main), await account.number(sku)]).toEqual([sku, left, left]);
    for (const target of [
      await stage.target(shop, shop.item(sku), shop.main),
      await stage.target(account, sku, 'DEFAULT'),
    ])
      expect(target).toMatchObject({
        desired: left,
        observed: left,
        expected: left,
        unseen: 0,
        state: 'in_sync',
        dirty: false,
      });
  }
});

test('P4: the same while everything happens at once, with two publishers: no number is lost between import, webhook, expansion and lane', async () => {
  const skus = ['A', 'B', 'C', 'D'];
  for (const sku of skus) await stage.variant(sku);
  for (const sku of skus) await stage.stock(sku, 200);
  const shop = await shopifyShop(stage, Object.fromEntries(skus.map((sku) => [sku, [200, 0] as [number, number]])));
  const account = await amazonShop(stage, Object.fromEntries(skus.map((sku) => [sku, 200])));
  const publishers = [
    stage.publisher([shop, account], { pollMs: 20 }),
    stage.publisher([shop, account], { pollMs: 20 }),
  ];
  for (const publisher of publishers) publisher.start();
  const sold = new Map(skus.map((sku) => [sku, 0]));
  const wake = () => publishers.map((publisher) => publisher.wake());
  const buyer = async (place: Shop, from: number) => {
    for (let sale = 0; sale < 30; sale += 1) {
      const sku = skus[(sale + from) % 4] ?? 'A';
      const at = stage.clock.now();
      await place.order(sku, 1);
      sold.set(sku, (sold.get(sku) ?? 0) + 1);
      if (place === shop && sale % 3 === 0)
        await stage.webhook(shop, sku, shop.main, await shop.number(sku, shop.main), stage.clock.now());
      await stage.importSale(place, sku, 1, at);
      wake();
    }
  };
  const clerk = async () => {
    for (let sale = 0; sale < 30; sale += 1) {
      const sku = skus[sale % 4] ?? 'A';
      await stage.sell(sku, 1);
      sold.set(sku, (sold.get(sku) ?? 0) + 1);
      wake();
    }
  };
  await Promise.all([buyer(shop, 0), buyer(account, 1), clerk(), buyer(shop, 2)]);
  stage.clock.advance(20_000);
  for (const place of [shop, account]) await stage.readOrdersTo(place, stage.clock.now());
  const wrong = async () => {
    const states: unknown[] = [];
    for (const sku of skus) {
      const left = 200 - (sold.get(sku) ?? 0);
      if ((await shop.number(sku, shop.main)) !== left || (await account.number(sku)) !== left)
        states.push([sku, left, await shop.number(sku, shop.main), await account.number(sku)]);
    }
    const { rows } = await db.owner.query(
      `select stock_key, state, desired, observed, unseen from targets where org_id = $1 and (state <> 'in_sync' or observed is distinct from desired or unseen > 0 or dirty_version > handled_version)`,
      [stage.orgId],
    );
    return [...states, ...rows];
  };
  const end = performance.now() + 20_000;
  let left = await wrong();
  while (left.length > 0 && performance.now() < end) {
    stage.clock.advance(2_000);
    for (const place of [shop, account]) await stage.readOrdersTo(place, stage.clock.now());
    await new Promise((resolve) => setTimeout(resolve, 100));
    left = await wrong();
  }
  expect(left).toEqual([]);
  expect(await count('unplaced_effects')).toBe(0);
  await Promise.all(publishers.map((publisher) => publisher.stop()));
});

async function expand() {
  return db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId));
}
