/** Orders whose lines wait for a SKU: until they are booked, no number gives their units back (P6), whoever dies meanwhile (P10). */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { mapListing } from '#store/listings/listings.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { explain } from './explain.ts';
import { line, order, takeIn } from './intake.testing.ts';
import type { LaneOptions } from './publisher-types.ts';
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
  await stage.stock('MUG', 6);
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

interface Shelf {
  shop: Shop;
  stockKey: string;
  place: string;
}
const shelves: Record<string, () => Promise<Shelf>> = {
  async shopify() {
    const shop = await shopifyShop(stage, { MUG: [6, 0] }, { places: ['MAIN'] });
    return { shop, stockKey: shop.item('MUG'), place: shop.main };
  },
  async amazon() {
    return { shop: await amazonShop(stage, { MUG: 6 }), stockKey: 'MUG', place: 'DEFAULT' };
  },
};

const map = (shop: Shop, sku: string | null) =>
  db.store.tenant(stage.orgId, async (tx) => {
    const { rows } = await tx.query<{ id: string }>(
      'select id from listings where org_id = $1 and connection_id = $2',
      [stage.orgId, shop.connection.connectionId],
    );
    const { compareAndSet } = shop.opened.manifest.stock;
    const context = { ids: stage.ids, now: stage.clock.now(), compareAndSet };
    await mapListing(tx, stage.orgId, rows[0]?.id ?? '', sku === null ? null : (stage.variants[sku] ?? null), context);
  });

const writes = async (shop: Shop) =>
  (await shop.calls()).filter(({ operation }) => /inventorySetQuantities|patchListingsItem/.test(operation)).length;

/** A buyer takes so many, and the order becomes known. */
async function soldWhileUnmapped({ shop, stockKey }: Shelf, units: number) {
  // In a later second than the first look: vendors tell times in whole ones.
  stage.clock.advance(2_000);
  const { intake, bring } = takeIn(db.store, { clock: stage.clock, ids: stage.ids });
  await shop.order('MUG', units, { location: 'MAIN' });
  const sold = line('MUG', units, { stockKey, channelSku: 'MUG' });
  await bring(shop.connection, order(`order-${units}`, Math.floor(stage.clock.now() / 1000) * 1000, [sold]));
  return intake;
}

async function told({ shop, place }: Shelf) {
  const targets = await db.store.readOnly(stage.orgId, (tx) =>
    explain(tx, stage.orgId, 'MUG', null, stage.clock.now()),
  );
  return targets?.find(
    ({ connectionId, channelLocation }) => connectionId === shop.connection.connectionId && channelLocation === place,
  );
}

test.each(Object.keys(shelves))(
  'a unit sold at %s while its listing had no SKU is not offered again before it is booked',
  async (channel) => {
    const shelf = (await (shelves[channel] ?? shelves.shopify)?.()) as Shelf;
    const { shop, stockKey, place } = shelf;
    // Whoever mapped it was killed before the lines that waited were booked, and nobody else does.
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    await map(shop, null);
    const intake = await soldWhileUnmapped(shelf, 1);
    await map(shop, 'MUG');
    await publisher.drain();
    stage.clock.advance(5_000);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(5);
    expect(await writes(shop)).toBe(0);
    expect(await stage.target(shop, stockKey, place)).toMatchObject({
      state: 'pending',
      reason:
        '1 sold at the channel before this listing had its SKU; they are being booked before these units are offered again.',
      dirty: false,
    });
    expect(await told(shelf)).toMatchObject({ desired: 6, channel: { expected: 5, unbooked: 1, unseen: 0 } });

    // Other units may go up and down meanwhile.
    await stage.stock('MUG', 9);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(8);
    await stage.stock('MUG', 4);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(3);
    const written = await writes(shop);

    expect(await intake.completeUnmapped(shop.connection)).toBe(1);
    await publisher.drain();
    expect(await shop.number('MUG')).toBe(3);
    expect(await writes(shop)).toBe(written);
    expect(await stage.target(shop, stockKey, place)).toMatchObject({ state: 'in_sync', desired: 3, reason: null });
    expect(await told(shelf)).toMatchObject({ desired: 3, channel: { expected: 3, unbooked: 0, unseen: 0 } });
  },
);

test('a lane that sees lines wait has them booked, so that nothing waits for the next order sweep', async () => {
  const shelf = (await shelves.shopify?.()) as Shelf;
  const { shop, stockKey, place } = shelf;
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await map(shop, null);
  const intake = await soldWhileUnmapped(shelf, 2);
  await map(shop, 'MUG');
  const asked: Promise<number>[] = [];
  const completeUnmapped: LaneOptions['completeUnmapped'] = (ref) => void asked.push(intake.completeUnmapped(ref));
  const other = stage.publisher([shop], { completeUnmapped, soleProcess: true });
  await publisher.stop();
  await other.drain();
  expect(await Promise.all(asked)).toEqual([1]);
  stage.clock.advance(2_000);
  await other.drain();
  expect(await stage.target(shop, stockKey, place)).toMatchObject({ state: 'in_sync', desired: 4, observed: 4 });
  expect(await writes(shop)).toBe(0);
  expect(asked).toHaveLength(1);
});

test('a cancelled order that waited is waited for no longer, without being booked', async () => {
  const shelf = (await shelves.shopify?.()) as Shelf;
  const { shop, stockKey, place } = shelf;
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await map(shop, null);
  await soldWhileUnmapped(shelf, 1);
  await map(shop, 'MUG');
  await publisher.drain();
  expect(await stage.target(shop, stockKey, place)).toMatchObject({ state: 'pending', desired: 6, expected: 5 });
  // Cancelled without restock: the channel's number stays as it is, and nothing of ours is told to look.
  await db.owner.query(`update orders set status = 'cancelled' where org_id = $1`, [stage.orgId]);
  stage.clock.advance(5_000);
  await publisher.drain();
  expect(await shop.number('MUG')).toBe(6);
  expect(await stage.target(shop, stockKey, place)).toMatchObject({ state: 'in_sync', desired: 6 });
});
