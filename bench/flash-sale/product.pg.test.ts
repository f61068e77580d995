/**
 * The model beside the product: one small sale, the same buyers, played by bench/flash-sale and by the product itself: real PostgreSQL, the
 * real publisher and lanes, the real Shopify connector over loopback HTTP against the Shopify simulator, whose own webhooks tell of sales and
 * numbers. Both in virtual time: the clock goes on only when every transaction and every call has ended, so that no machine is too slow.
 *
 * Not in it: the webhook route, inbox and drain (a webhook is booked when its learning delay is over), and the vendor's own limit (calls are
 * paced before they leave, as in the model).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { Transport } from '#connectors/kit/ports.ts';
import { shopify } from '#connectors/shopify/index.ts';
import type { OpenedConnection } from '#server/flows/publisher-types.ts';
import { failures, publishingStage, type Stage } from '#server/flows/publishing.testing.ts';
import { shopifyShop, type TestShopify } from '#server/flows/shopify-shop.testing.ts';
import type { Message } from '#sim/kit/sender.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { Agenda, clockOf } from './agenda.ts';
import type { ChannelSpec } from './channel.ts';
import { type Buyer, demandOf } from './demand.ts';
import { channelSpec, manifestOf } from './kinds.ts';
import { nonePolicy } from './others.ts';
import { oursPolicy } from './ours.ts';
import { playSale, type SaleSpec } from './sale.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const spec: SaleSpec = {
  channels: [channelSpec('slow', 1), channelSpec('fast', 4)],
  unitsEach: 5,
  skus: 30,
  seconds: 15,
  buffer: 0,
  learnMs: 1_000,
  seed: 1,
};
/** By then every number is right and has been looked at. */
const quietAfterMs = 40_000;
const skuOf = (number: number): string => `S${number}`;

/** Both clocks: the agenda moves on when no transaction and no call is under way. */
function virtualTime() {
  const agenda = new Agenda(Math.floor(Date.now() / 1_000) * 1_000);
  let open = 0;
  let rests: (() => void) | null = null;
  return {
    agenda,
    clock: clockOf(agenda),
    async counted<T>(work: () => Promise<T>): Promise<T> {
      open += 1;
      return work().finally(() => {
        open -= 1;
        if (open === 0) rests?.();
      });
    },
    /** What ends may begin the next thing: quiet is what stays so for a few turns of the loop. */
    async quiet(): Promise<void> {
      for (let still = 0; still < 3; still += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        if (open === 0) continue;
        await new Promise<void>((resolve) => {
          rests = resolve;
        });
        still = -1;
      }
    },
  };
}

type Time = ReturnType<typeof virtualTime>;

function countedStore({ store }: TestDatabase, { counted }: Time): TestDatabase['store'] {
  return {
    ...store,
    metrics: () => store.metrics(),
    end: () => store.end(),
    tenant: (org, work, options) => counted(() => store.tenant(org, work, options)),
    batch: (orgs, work, options) => counted(() => store.batch(orgs, work, options)),
    system: (work, options) => counted(() => store.system(work, options)),
    readOnly: (org, work, options) => counted(() => store.readOnly(org, work, options)),
  };
}

interface Calls {
  reads: number;
  writes: number;
  stale: number;
}

/** The shop behind the limits and the latency of the model's channel. */
function paced(shop: TestShopify, channel: ChannelSpec, { clock, counted }: Time, calls: Calls): OpenedConnection {
  const { stock, requestTimeoutMs } = manifestOf(channel);
  const budgets = createBudgets(clock, { one: { ratePerSecond: channel.perSecond, capacity: channel.burst } });
  const over = (way: Transport): Transport => ({
    report: () => undefined,
    async request(call) {
      const permit = await budgets.acquire('one', call.budget, 1, call.signal);
      calls[call.write ? 'writes' : 'reads'] += 1;
      await clock.sleep(channel.latencyMs / 2);
      const answer = await counted(() => way.request(call));
      await clock.sleep(channel.latencyMs / 2);
      if (answer.body.includes('CHANGE_FROM_QUANTITY_STALE')) calls.stale += 1;
      permit.release();
      return answer;
    },
  });
  return { manifest: { ...shopify.manifest, requestTimeoutMs, stock }, channel: shop.open({ clock, over }) };
}

/** Two shops that list everything, known and right, whose webhooks go to `post`. */
async function openShops(stage: Stage, post: (shop: number, message: Message) => void): Promise<TestShopify[]> {
  for (let sku = 0; sku < spec.skus; sku += 1) {
    await stage.variant(skuOf(sku));
    await stage.stock(skuOf(sku), spec.unitsEach);
  }
  const catalog = Object.fromEntries(
    Array.from({ length: spec.skus }, (_, sku) => [skuOf(sku), [spec.unitsEach, 0] as [number, number]]),
  );
  const shops: TestShopify[] = [];
  for (const [index, { name }] of spec.channels.entries()) {
    const sendTo = (message: Message) => {
      post(index, message);
      return Promise.resolve(true);
    };
    const shop = await shopifyShop(stage, catalog, { name, places: ['MAIN'], post: sendTo });
    const signal = new AbortController().signal;
    await shop.opened.channel.subscriptions?.ensure('http://127.0.0.1:9/webhook/shopify/told', {
      budget: 'read',
      signal,
    });
    shops.push(shop);
  }
  const first = stage.publisher(shops);
  await first.drain();
  await first.stop();
  return shops;
}

/** Marks carry the database's own time, and their age decides urgency: here it tells the sale's. */
async function marksTellTime(): Promise<(now: number) => Promise<unknown>> {
  await db.owner.query('create table sale_time (at timestamptz)');
  await db.owner.query('insert into sale_time values (now())');
  await db.owner.query(`create function sale_now() returns timestamptz security definer set search_path = public
    language sql as 'select at from sale_time'`);
  await db.owner.query('alter table dirty_variants alter column marked_at set default sale_now()');
  return (now) => db.owner.query('update sale_time set at = to_timestamp($1::float8 / 1000)', [now]);
}

async function playProduct(buyers: readonly Buyer[]) {
  const time = virtualTime();
  const { agenda, counted } = time;
  const stage = await publishingStage({ ...db, store: countedStore(db, time) }, { clock: time.clock });
  const told: { shop: number; message: Message }[] = [];
  let tell = (shop: number, message: Message): void => void told.push({ shop, message });
  const shops = await openShops(stage, (shop, message) => tell(shop, message));
  const setTime = await marksTellTime();
  const calls: Calls = { reads: 0, writes: 0, stale: 0 };
  const connected = shops.map((shop, index) => ({
    ...shop,
    opened: paced(shop, spec.channels[index] as ChannelSpec, time, calls),
  }));
  const publisher = stage.publisher(connected);
  const skuByItem = new Map(
    shops.flatMap((shop) =>
      Array.from({ length: spec.skus }, (_, sku) => [shop.item(skuOf(sku)).split('/').at(-1), skuOf(sku)] as const),
    ),
  );
  tell = (index, { topic, body }) => {
    const shop = shops[index] as TestShopify;
    const said = JSON.parse(body);
    const book = () =>
      agenda.after(spec.learnMs, () => {
        void counted(async () => {
          if (topic === 'orders/create') {
            await setTime(agenda.now);
            await stage.importSale(shop, said.line_items[0].sku, 1, Date.parse(said.created_at), shop.main);
            publisher.wake();
          } else if (topic === 'inventory_levels/update') {
            const sku = skuByItem.get(String(said.inventory_item_id)) ?? '';
            await stage.webhook(shop, sku, shop.main, said.available, Date.parse(said.updated_at));
          }
        });
      });
    // The order is booked before what the channel tells of its number (migration 0048).
    if (topic === 'orders/create') book();
    else agenda.after(0, book);
  };
  const sold = new Map<number, number>();
  let refused = 0;
  const opensAt = agenda.now + 60_000;
  for (const { at, sku, channel } of buyers)
    agenda.at(opensAt + at, () => {
      void counted(async () => {
        const before = sold.get(sku) ?? 0;
        const bought = await connected[channel]?.order(skuOf(sku), 1, { location: shops[channel]?.main }).then(
          () => true,
          () => false,
        );
        if (bought) sold.set(sku, before + 1);
        else if (before < spec.unitsEach) refused += 1;
      });
    });
  const endsAt = opensAt + spec.seconds * 1_000 + quietAfterMs;
  publisher.start();
  await agenda.runPromises(time.quiet, () => agenda.now > endsAt);
  const numbers = await Promise.all(shops.map(async (shop) => numbersOf(shop)));
  const stopped = publisher.stop();
  await agenda.runPromises(time.quiet);
  await stopped;
  await stage.close();
  const units = [...sold.values()];
  const oversold = units.reduce((sum, one) => sum + Math.max(0, one - spec.unitsEach), 0);
  const right = Array.from({ length: spec.skus }, (_, sku) => Math.max(0, spec.unitsEach - (sold.get(sku) ?? 0)));
  expect(told.filter(({ message }) => message.topic === 'orders/create')).toEqual([]);
  expect(numbers).toEqual([right, right]);
  return { sold: units.reduce((sum, one) => sum + one, 0), oversold, refused, ...calls };
}

async function numbersOf(shop: TestShopify): Promise<number[]> {
  const { items } = (await shop.control('/state')) as unknown as {
    items: { sku: string; location: string; quantity: number }[];
  };
  const at = new Map(
    items.filter(({ location }) => location === shop.main).map(({ sku, quantity }) => [sku, quantity]),
  );
  return Array.from({ length: spec.skus }, (_, sku) => at.get(skuOf(sku)) ?? Number.NaN);
}

/** What is written next among numbers of one urgency is chance in the database: a call more or less, and what follows from it. */
const tolerance = { sold: 3, oversold: 3, refused: 3, reads: 5, writes: 5, stale: 3 };

test('the model and the product come to the same in a small sale', async () => {
  const buyers = demandOf({ skus: spec.skus, ordersPerSecond: 12, seconds: spec.seconds, channels: 2 }, 1);
  const product = await playProduct(buyers);
  const model = playSale(spec, buyers, (market) => oursPolicy(market, 0));
  const none = playSale(spec, buyers, nonePolicy);
  const far = Object.entries(tolerance).filter(
    ([figure, most]) => Math.abs(model[figure as keyof Calls] - product[figure as keyof Calls]) > most,
  );
  expect({ far, model, product }).toMatchObject({ far: [] });
  // It is a sale in which it matters what one does.
  expect(none.oversold - product.oversold).toBeGreaterThan(10);
  expect(failures).toEqual([]);
}, 120_000);
