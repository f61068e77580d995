/**
 * P1–P6 with pauses, stops and shadow mode thrown in at random while two publishers work: what is halted is not written once
 * its calls on the wire have ended, waiting work stays bounded, and in the end every number is right. A failure names its seed.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '#sim/kit/chance.ts';
import { verify } from '#store/ledger/verify.ts';
import {
  pauseConnection,
  pauseListing,
  readPushes,
  resumeConnection,
  resumeInstallation,
  resumeListing,
  resumePushes,
  stopInstallation,
  stopPushes,
} from '#store/listings/halts.ts';
import { setShadow } from '#store/listings/shadow.ts';
import { askListingSync } from '#store/listings/system.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Tx } from '#store/tx.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { failures, publishingStage, type Shop, type Stage } from './publishing.testing.ts';
import { shopifyShop } from './shopify-shop.testing.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const skus = ['A', 'B', 'C'];
const stocked = 80;
const steps = 45;

/** What halts a connection now, and how often it was written when that began to hold. */
interface Halt {
  name: string;
  shops: Shop[];
  quietAt: number[] | null;
  end(): Promise<unknown>;
}

const writesOf = async (shop: Shop): Promise<number> =>
  (await shop.calls('inventorySetQuantities')).length + (await shop.calls('patchListingsItem')).length;

class Story {
  readonly stage: Stage;
  readonly shops: Shop[];
  readonly roll: (below: number) => number;
  readonly halts = new Map<string, Halt>();
  readonly sold = new Map(skus.map((sku) => [sku, 0]));
  readonly untold: { shop: Shop; sku: string; at: number }[] = [];
  judged = 0;

  constructor(stage: Stage, shops: Shop[], roll: (below: number) => number) {
    this.stage = stage;
    this.shops = shops;
    this.roll = roll;
  }

  tenant = <T>(work: (tx: Tx) => Promise<T>): Promise<T> => db.store.tenant(this.stage.orgId, work);
  acting = () => ({ actor: 'test', now: this.stage.clock.now(), ids: this.stage.ids });
  one = <T>(items: readonly T[]): T => items[this.roll(items.length)] as T;

  async sell(sku: string): Promise<void> {
    this.sold.set(sku, (this.sold.get(sku) ?? 0) + 1);
    await this.stage.sell(sku, 1);
  }

  /** A buyer at the channel; we hear of it later. */
  async buy(shop: Shop, sku: string): Promise<void> {
    if ((await shop.number(sku)) < 1) return;
    this.untold.push({ shop, sku, at: this.stage.clock.now() });
    await shop.order(sku, 1);
    this.sold.set(sku, (this.sold.get(sku) ?? 0) + 1);
  }

  async hear(): Promise<void> {
    const [told] = this.untold.splice(this.roll(Math.max(1, this.untold.length)), 1);
    if (told) await this.stage.importSale(told.shop, told.sku, 1, told.at);
  }

  async syncListing(shop: Shop, sku: string): Promise<void> {
    const { rows } = await db.owner.query(`select id from listings where connection_id = $1 and channel_sku = $2`, [
      shop.connection.connectionId,
      sku,
    ]);
    await this.tenant((tx) => askListingSync(tx, this.stage.orgId, rows[0].id as string, this.stage.clock.now()));
  }

  /** Begins a halt, or ends it when it stands. */
  async toggle(kind: number, shop: Shop): Promise<void> {
    const { orgId } = this.stage;
    const id = shop.connection.connectionId;
    const names = [`pause:${id}`, 'stop', 'installation', `shadow:${id}`];
    const name = names[kind] ?? 'stop';
    const standing = this.halts.get(name);
    if (standing) return this.end(standing);
    const pause = { reason: null, until: null };
    const [begin, end]: [() => Promise<unknown>, () => Promise<unknown>] =
      kind === 0
        ? [
            () => this.tenant((tx) => pauseConnection(tx, orgId, id, pause, this.acting())),
            () => this.tenant((tx) => resumeConnection(tx, orgId, id, this.acting())),
          ]
        : kind === 1
          ? [
              () => this.tenant((tx) => stopPushes(tx, orgId, null, this.acting())),
              () => this.tenant((tx) => resumePushes(tx, orgId, this.acting())),
            ]
          : kind === 2
            ? [
                () => db.store.system((tx) => stopInstallation(tx, null, this.acting())),
                () => db.store.system((tx) => resumeInstallation(tx)),
              ]
            : [
                () => this.tenant((tx) => setShadow(tx, orgId, id, true, this.acting())),
                () => this.tenant((tx) => setShadow(tx, orgId, id, false, this.acting())),
              ];
    await begin();
    this.halts.set(name, { name, shops: kind === 0 || kind === 3 ? [shop] : this.shops, quietAt: null, end });
  }

  /** A halt holds once its calls on the wire have ended; from then on the vendor sees no write until it ends. */
  async judge(): Promise<void> {
    const { connections } = await this.tenant((tx) => readPushes(tx, this.stage.orgId));
    for (const halt of this.halts.values()) {
      const ids = halt.shops.map(({ connection }) => connection.connectionId);
      const counts = await Promise.all(halt.shops.map(writesOf));
      if (halt.quietAt) {
        expect([halt.name, counts]).toEqual([halt.name, halt.quietAt]);
        this.judged += 1;
      } else if (connections.every(({ id, onTheWire }) => !ids.includes(id) || onTheWire === 0))
        halt.quietAt = await Promise.all(halt.shops.map(writesOf));
    }
    const waiting = connections.reduce((sum, one) => sum + one.waiting, 0);
    expect(waiting).toBeLessThanOrEqual(2 * skus.length + skus.length);
  }

  async end(halt: Halt): Promise<void> {
    await this.judge();
    this.halts.delete(halt.name);
    await halt.end();
  }
}

test.each([7, 4711])(
  'seed %i: halted at random while everything happens, every number is right in the end',
  async (seed) => {
    failures.length = 0;
    const stage = await publishingStage(db);
    const random = seededRandom(seed);
    for (const sku of skus) {
      await stage.variant(sku);
      await stage.stock(sku, stocked);
    }
    const shop = await shopifyShop(
      stage,
      Object.fromEntries(skus.map((sku) => [sku, [stocked, 0] as [number, number]])),
      {
        places: ['MAIN'],
        name: `shop-${seed}`,
      },
    );
    const account = await amazonShop(stage, Object.fromEntries(skus.map((sku) => [sku, stocked])), {
      name: `amazon-${seed}`,
    });
    const shops: Shop[] = [shop, account];
    const publishers = [stage.publisher(shops, { pollMs: 20 }), stage.publisher(shops, { pollMs: 20 })];
    for (const publisher of publishers) publisher.start();
    const story = new Story(stage, shops, (below) => Math.floor(random.next() * below));

    for (let step = 0; step < steps; step += 1) {
      const sku = story.one(skus);
      const place = story.one(shops);
      const act = story.roll(12);
      if (act < 3) await story.sell(sku);
      else if (act < 5) await story.buy(place, sku);
      else if (act < 7) await story.hear();
      else if (act === 7) await story.syncListing(place, sku);
      else if (act === 8) stage.clock.advance(500 * (1 + story.roll(4)));
      else await story.toggle(story.roll(4), place);
      for (const publisher of publishers) publisher.wake();
      await new Promise((done) => setTimeout(done, story.roll(25)));
      await story.judge();
    }
    for (const halt of [...story.halts.values()]) await story.end(halt);
    while (story.untold.length > 0) await story.hear();

    const wrong = async () => {
      const numbers: unknown[] = [];
      for (const sku of skus) {
        const left = stocked - (story.sold.get(sku) ?? 0);
        const shown = [await shop.number(sku, shop.main), await account.number(sku)];
        if (shown.some((one) => one !== left)) numbers.push([sku, left, ...shown]);
      }
      const { rows } = await db.owner.query(
        `select stock_key, state, desired, observed, unseen from targets
       where org_id = $1 and (state <> 'in_sync' or observed is distinct from desired or unseen > 0 or dirty_version > handled_version)`,
        [stage.orgId],
      );
      return [...numbers, ...rows];
    };
    const until = performance.now() + 30_000;
    let left = await wrong();
    while (left.length > 0 && performance.now() < until) {
      stage.clock.advance(2_000);
      for (const place of shops) await stage.readOrdersTo(place, stage.clock.now());
      await new Promise((done) => setTimeout(done, 60));
      left = await wrong();
    }
    expect(left).toEqual([]);
    expect(story.judged).toBeGreaterThan(5);
    expect(await db.store.readOnly(stage.orgId, (tx) => verify(tx, stage.orgId))).toMatchObject({
      ok: true,
      faults: [],
    });
    const open = await db.owner.query(`select 1 from attempts where org_id = $1 and outcome is null`, [stage.orgId]);
    expect(open.rowCount).toBe(0);
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    await stage.close();
    expect(failures).toEqual([]);
  },
);

test('a listing paused at random is the only one that waits', async () => {
  failures.length = 0;
  const stage = await publishingStage(db);
  for (const sku of skus) {
    await stage.variant(sku);
    await stage.stock(sku, stocked);
  }
  const account = await amazonShop(stage, Object.fromEntries(skus.map((sku) => [sku, stocked])), {
    name: 'amazon-one',
  });
  const publisher = stage.publisher([account]);
  await publisher.drain();
  const { rows } = await db.owner.query(`select id from listings where connection_id = $1 and channel_sku = 'B'`, [
    account.connection.connectionId,
  ]);
  const id = rows[0].id as string;
  const acting = { actor: 'test', now: stage.clock.now(), ids: stage.ids };
  await db.store.tenant(stage.orgId, (tx) => pauseListing(tx, stage.orgId, id, { reason: null, until: null }, acting));
  for (const sku of skus) await stage.sell(sku, 5);
  await publisher.drain();
  expect([await account.number('A'), await account.number('B'), await account.number('C')]).toEqual([75, 80, 75]);
  await db.store.tenant(stage.orgId, (tx) => resumeListing(tx, stage.orgId, id, acting));
  await publisher.drain();
  expect(await account.number('B')).toBe(75);
  await stage.close();
  expect(failures).toEqual([]);
});
