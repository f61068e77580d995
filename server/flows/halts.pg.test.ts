/** What keeps numbers from leaving: pauses, snoozes, stops and shadow mode, judged by the simulators' own call logs. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { deleteConnection } from '#store/connections/connections.ts';
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
import { readShadow, setShadow } from '#store/listings/shadow.ts';
import { askListingSync } from '#store/listings/system.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { Tx } from '#store/tx.ts';
import { amazonShop } from './amazon-shop.testing.ts';
import { serveDue } from './due.ts';
import { previewPushes } from './preview.ts';
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
  await stage.variant('CUP');
  await stage.variant('MUG');
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

const acting = () => ({ actor: 'test', now: stage.clock.now(), ids: stage.ids });
const tenant = <T>(work: (tx: Tx) => Promise<T>): Promise<T> => db.store.tenant(stage.orgId, work);
const pause = { reason: 'stock take', until: null };
const idOf = (shop: Shop) => shop.connection.connectionId;
const listingOf = async (shop: Shop, sku: string): Promise<string> =>
  (await db.owner.query(`select id from listings where connection_id = $1 and channel_sku = $2`, [idOf(shop), sku]))
    .rows[0].id as string;
const writes = async (shop: Shop) =>
  (await shop.calls('inventorySetQuantities')).length + (await shop.calls('patchListingsItem')).length;

async function shopWith(cups: number, mugs: number) {
  await stage.stock('CUP', cups);
  await stage.stock('MUG', mugs);
  const shop = await shopifyShop(stage, { CUP: [cups, 0], MUG: [mugs, 0] }, { places: ['MAIN'] });
  const target = (sku: string) => stage.target(shop, shop.item(sku), shop.main);
  return { shop, target };
}

const halts: [string, (shop: Shop) => Promise<unknown>, (shop: Shop) => Promise<unknown>][] = [
  [
    'a pause of the connection',
    (shop) => tenant((tx) => pauseConnection(tx, stage.orgId, idOf(shop), pause, acting())),
    (shop) => tenant((tx) => resumeConnection(tx, stage.orgId, idOf(shop), acting())),
  ],
  [
    'a pause of the listing',
    async (shop) => {
      const id = await listingOf(shop, 'CUP');
      await tenant((tx) => pauseListing(tx, stage.orgId, id, pause, acting()));
    },
    async (shop) => {
      const id = await listingOf(shop, 'CUP');
      await tenant((tx) => resumeListing(tx, stage.orgId, id, acting()));
    },
  ],
  [
    'the organization’s stop',
    () => tenant((tx) => stopPushes(tx, stage.orgId, 'wrong file', acting())),
    () => tenant((tx) => resumePushes(tx, stage.orgId, acting())),
  ],
  [
    'the installation’s stop',
    () => db.store.system((tx) => stopInstallation(tx, 'wrong file', acting())),
    () => db.store.system((tx) => resumeInstallation(tx)),
  ],
];

test.each(halts)(
  '%s drops a call that was planned, and what changed meanwhile is sent once',
  async (_name, halt, go) => {
    const { shop, target } = await shopWith(10, 10);
    let halted = false;
    const publisher = stage.publisher([shop], {
      hooks: {
        // The lease was checked, the attempt is committed: the very next step is the request.
        atSend: async () => {
          if (halted) return;
          halted = true;
          await halt(shop);
          stage.clock.advance(100);
        },
      },
    });
    await publisher.drain();
    await stage.sell('CUP', 1);
    await publisher.drain();
    expect(halted).toBe(true);
    expect(await writes(shop)).toBe(0);
    expect(await target('CUP')).toMatchObject({ state: 'paused', dirty: true });
    expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).toEqual(['not_sent']);
    await stage.sell('CUP', 1);
    await stage.sell('CUP', 2);
    await publisher.drain();
    expect(await writes(shop)).toBe(0);
    await go(shop);
    await publisher.drain();
    expect(await writes(shop)).toBe(1);
    expect(await shop.number('CUP', shop.main)).toBe(6);
    expect(await target('CUP')).toMatchObject({ desired: 6, accepted: 6, state: 'in_sync', dirty: false });
  },
);

test('a halt between the decision and the attempt records nothing and sends nothing', async () => {
  const { shop, target } = await shopWith(10, 10);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  await stage.sell('CUP', 1);
  const [{ rows }] = [await db.owner.query(`select paused_at from connections where id = $1`, [idOf(shop)])];
  expect(rows).toEqual([{ paused_at: null }]);
  // Set as another process would, without telling the targets.
  await db.owner.query(`insert into push_stops (org_id, stopped_at, stopped_by) values ($1, now(), 'elsewhere')`, [
    stage.orgId,
  ]);
  await publisher.drain();
  expect(await stage.attempts(shop)).toEqual([]);
  expect(await writes(shop)).toBe(0);
  expect(await target('CUP')).toMatchObject({
    state: 'paused',
    reason: 'All publishing of this organization is stopped.',
  });
  expect(await target('MUG')).toMatchObject({ state: 'paused' });
});

test('a snooze ends by itself at its time, and not before when it was prolonged', async () => {
  const { shop, target } = await shopWith(10, 10);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  const until = stage.clock.now() + 60_000;
  await tenant((tx) => pauseConnection(tx, stage.orgId, idOf(shop), { reason: null, until }, acting()));
  await stage.sell('CUP', 3);
  await publisher.drain();
  const later = until + 60_000;
  await tenant((tx) => pauseConnection(tx, stage.orgId, idOf(shop), { reason: 'longer', until: later }, acting()));
  stage.clock.advance(70_000);
  await publisher.drain();
  expect(await target('CUP')).toMatchObject({ state: 'paused' });
  expect(await writes(shop)).toBe(0);
  stage.clock.advance(60_000);
  await publisher.drain();
  expect(await target('CUP')).toMatchObject({ desired: 7, state: 'in_sync' });
  expect(await writes(shop)).toBe(1);
  expect((await db.owner.query('select 1 from due where org_id = $1', [stage.orgId])).rowCount).toBe(0);
  const acts = await db.owner.query(`select actor, action from audit where org_id = $1 order by at`, [stage.orgId]);
  expect(acts.rows).toEqual([
    { actor: 'test', action: 'connection.pause' },
    { actor: 'test', action: 'connection.pause' },
    { actor: 'due', action: 'connection.resume' },
  ]);
});

test('a stop is told with actor and reason, counts the calls on the wire, and previews what a resume would send', async () => {
  const { shop } = await shopWith(10, 10);
  let answered: Promise<unknown> = Promise.resolve();
  const seen: { onTheWire: number }[] = [];
  const publisher = stage.publisher([shop], {
    hooks: {
      afterSend: async () => {
        answered = tenant((tx) => stopPushes(tx, stage.orgId, 'wrong file', acting()));
        await answered;
        seen.push(await tenant((tx) => readPushes(tx, stage.orgId)));
      },
    },
  });
  await publisher.drain();
  await stage.sell('CUP', 1);
  await publisher.drain();
  // The one on the wire was counted while it was, and its answer is booked.
  expect(seen).toMatchObject([{ stopped: true, onTheWire: 1, organization: { by: 'test', reason: 'wrong file' } }]);
  expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).toEqual(['applied']);
  await stage.sell('CUP', 4);
  await stage.stock('MUG', 12);
  await publisher.drain();
  expect(await writes(shop)).toBe(1);
  expect(await previewPushes(db.store, stage.orgId, idOf(shop), stage.clock.now())).toEqual({
    cuts: 1,
    unitsCut: 4,
    raises: 1,
    unitsRaised: 2,
    equal: 0,
    unknown: 0,
    complete: true,
  });
  const alerts = () =>
    db.owner.query(`select severity, message, resolved_at is null as open from alerts where org_id = $1`, [
      stage.orgId,
    ]);
  expect((await alerts()).rows).toEqual([
    {
      severity: 'critical',
      message:
        'All publishing of this organization is stopped by test: wrong file. Orders are taken in; nothing is written to any channel.',
      open: true,
    },
  ]);
  expect(await tenant((tx) => stopPushes(tx, stage.orgId, 'again', acting()))).toBe(false);
  await tenant((tx) => resumePushes(tx, stage.orgId, acting()));
  expect((await alerts()).rows).toMatchObject([{ open: false }]);
});

test('one listing synced now is read first of all and set right; a paused one is refused', async () => {
  const { shop, target } = await shopWith(10, 10);
  const publisher = stage.publisher([shop]);
  await publisher.drain();
  stage.clock.advance(10_000);
  await publisher.drain();
  await shop.edit('CUP', 4);
  await shop.edit('MUG', 4);
  await publisher.drain();
  const before = (await shop.calls()).length;
  expect(await writes(shop)).toBe(0);
  const id = await listingOf(shop, 'CUP');
  expect(await tenant((tx) => askListingSync(tx, stage.orgId, id, stage.clock.now()))).toMatchObject({
    paused: false,
    targets: 1,
  });
  await publisher.drain();
  expect((await shop.calls()).length).toBeGreaterThan(before);
  expect(await target('CUP')).toMatchObject({ observed: 4, unseen: 6 });
  expect(await target('MUG')).toMatchObject({ observed: 10, unseen: 0 });
  await tenant((tx) => pauseListing(tx, stage.orgId, id, pause, acting()));
  const calls = (await shop.calls()).length;
  expect(await tenant((tx) => askListingSync(tx, stage.orgId, id, stage.clock.now()))).toMatchObject({ paused: true });
  await publisher.drain();
  expect((await shop.calls()).length).toBe(calls);
});

const vendors: [string, () => Promise<{ shop: Shop; number(sku: string): Promise<number> }>][] = [
  [
    'Shopify',
    async () => {
      const shop = await shopifyShop(stage, { CUP: [7, 0], MUG: [10, 0] }, { places: ['MAIN'] });
      return { shop, number: (sku) => shop.number(sku, shop.main) };
    },
  ],
  [
    'Amazon',
    async () => {
      const shop = await amazonShop(stage, { CUP: 7, MUG: 10 });
      return { shop, number: (sku) => shop.number(sku) };
    },
  ],
];

test.each(vendors)(
  'what shadow mode recorded at %s is what is sent when it ends, and nothing before',
  async (_n, open) => {
    await stage.stock('CUP', 10);
    await stage.stock('MUG', 10);
    const { shop, number } = await open();
    await tenant((tx) => setShadow(tx, stage.orgId, idOf(shop), true, acting()));
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    await stage.sell('MUG', 1);
    await publisher.drain();
    await stage.sell('MUG', 3);
    await publisher.drain();
    expect(await writes(shop)).toBe(0);
    expect(await stage.attempts(shop)).toEqual([]);
    const report = await tenant((tx) =>
      readShadow(tx, stage.orgId, idOf(shop), { limit: 10, after: null, differencesOnly: true }),
    );
    expect(report.totals).toMatchObject({
      targets: 2,
      wouldCut: 1,
      unitsCut: 4,
      wouldRaise: 1,
      unitsRaised: 3,
      equal: 0,
    });
    const said = report.items.map(({ sku, state, desired, wouldSend }) => ({ sku, state, desired, ...wouldSend }));
    expect(said.sort((a, b) => String(a.sku).localeCompare(String(b.sku)))).toMatchObject([
      { sku: 'CUP', state: 'shadow', desired: 10, value: 10 },
      { sku: 'MUG', state: 'shadow', desired: 6, value: 6 },
    ]);
    // 9 was superseded by 6.
    const kept = await db.owner.query(
      `select value, superseded_at is null as open from shadow_writes where org_id = $1 and connection_id = $2 order by recorded_at, value desc`,
      [stage.orgId, idOf(shop)],
    );
    expect(kept.rows.filter(({ open: one }) => !one)).toEqual([{ value: 9, open: false }]);
    const recorded = said.map(({ value, from }) => [value, from]).sort();
    await tenant((tx) => setShadow(tx, stage.orgId, idOf(shop), false, acting()));
    await publisher.drain();
    expect((await stage.attempts(shop)).map(({ value, from_value }) => [value, from_value]).sort()).toEqual(recorded);
    expect([await number('CUP'), await number('MUG')]).toEqual([10, 6]);
  },
);

test('shadow mode switched on drops a call that was planned', async () => {
  const { shop, target } = await shopWith(10, 10);
  const publisher = stage.publisher([shop], {
    hooks: {
      atSend: async () => {
        await tenant((tx) => setShadow(tx, stage.orgId, idOf(shop), true, acting()));
        stage.clock.advance(100);
      },
    },
  });
  await publisher.drain();
  await stage.sell('CUP', 1);
  await publisher.drain();
  expect(await writes(shop)).toBe(0);
  expect(await target('CUP')).toMatchObject({ state: 'shadow', desired: 9 });
  expect((await stage.attempts(shop)).map(({ outcome }) => outcome)).toEqual(['not_sent']);
});

test('the end of a pause whose connection was deleted meanwhile is served once, not for ever', async () => {
  const { shop } = await shopWith(5, 5);
  const until = stage.clock.now() + 60_000;
  await tenant((tx) => pauseConnection(tx, stage.orgId, idOf(shop), { reason: null, until }, acting()));
  await tenant((tx) => deleteConnection(tx, stage.orgId, idOf(shop), stage.clock.now()));
  stage.clock.advance(61_000);
  const { store } = db;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  await serveDue({ store, clock: stage.clock, ids: stage.ids, random: { next: () => 0.5 }, log });
  const { rows } = await db.owner.query(`select from due where org_id = $1 and kind = 'connection_pause'`, [
    stage.orgId,
  ]);
  expect(rows).toHaveLength(0);
});
