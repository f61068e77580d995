import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConnectorError } from '#core/errors.ts';
import type { SimulatorHost } from '#sim/kit/server.ts';
import type { CatalogReport } from '#store/catalog/channel-import.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import {
  type CatalogHooks,
  type CatalogImportOptions,
  continueCatalogImport,
  importCatalog,
  startCatalogImport,
} from './import-catalog.ts';
import { clock, ids, type Judge, judge, line, makeOrg, type Org, order, takeIn } from './intake.testing.ts';
import { openHost, type SimulatedShop, simulatedShop } from './intake-shop.testing.ts';

let db: TestDatabase;
let see: Judge;
let host: SimulatorHost;

beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
  host = await openHost();
});
afterAll(async () => {
  await host.close();
  await db.drop();
});

const skip = { ...clock, sleep: async () => {} };
const optionsOf = (shop: SimulatedShop, more: Partial<CatalogImportOptions> = {}): CatalogImportOptions => ({
  store: db.store,
  clock,
  ids,
  openConnection: async () => shop.opened,
  ...more,
});

/** 90 items, three pages of the shop; I1 … I10 are ours. */
const many = Object.fromEntries(Array.from({ length: 90 }, (_, n) => [`I${n + 1}`, n]));
const tenOfOurs = Array.from({ length: 10 }, (_, n) => `I${n + 1}`);

const listingsOf = (org: Org) =>
  see.all(
    `select l.channel_sku, v.sku, l.title from listings l left join variants v on v.org_id = l.org_id and v.id = l.variant_id
     where l.org_id = $1 order by l.channel_sku, l.id`,
    [org.orgId],
  );
const productsOf = async (org: Org) =>
  (await see.all<{ sku: string }>('select sku from variants where org_id = $1 order by sku', [org.orgId])).map(
    ({ sku }) => sku,
  );

test('a catalogue becomes listings: mapped where the SKU is ours, kept unmapped where not, and the same again', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'B']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1, B: 2, STRANGE: 3 }, host);
  const listings = () =>
    see.all('select channel_sku, variant_id, fulfilled_by from listings where org_id = $1 order by channel_sku', [
      org.orgId,
    ]);
  const expected = [
    { channel_sku: 'A', variant_id: org.variants.A, fulfilled_by: 'us' },
    { channel_sku: 'B', variant_id: org.variants.B, fulfilled_by: 'us' },
    { channel_sku: 'STRANGE', variant_id: null, fulfilled_by: 'us' },
  ];
  expect(await listings()).toEqual(expected);
  const again = await importCatalog(optionsOf(shop), shop.connection);
  expect(again).toMatchObject({
    pages: 1,
    processed: 3,
    newListings: 0,
    mapped: 0,
    alreadyMapped: 2,
    unmapped: 1,
    gone: 0,
  });
  expect(await listings()).toEqual(expected);
  expect(await productsOf(org)).toEqual(['A', 'B']);
  await shop.close();
});

test('what a person mapped stays mapped, although the SKU says otherwise', async () => {
  const org = await makeOrg(db.owner, db.store, ['A', 'OTHER']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host);
  await db.owner.query('update listings set variant_id = $2 where org_id = $1', [org.orgId, org.variants.OTHER]);
  await importCatalog(optionsOf(shop), shop.connection);
  expect(await see.all('select variant_id from listings where org_id = $1', [org.orgId])).toEqual([
    { variant_id: org.variants.OTHER },
  ]);
  await shop.close();
});

test('a connection that cannot be opened imports nothing', async () => {
  const nothing = { store: db.store, clock, ids, openConnection: async () => null };
  expect(await importCatalog(nothing, { orgId: ids.uuid(), connectionId: ids.uuid() })).toBe(null);
});

test('the report names new products, duplicates, near misses, what to mend and where the two sides differ', async () => {
  const org = await makeOrg(db.owner, db.store, ['LAMP', 'cup 1']);
  await db.owner.query(
    `update variants set title = 'Our lamp', barcode = '96385074' where org_id = $1 and sku = 'LAMP'`,
    [org.orgId],
  );
  const shop = await simulatedShop(db.owner, db.store, org, { LAMP: 1, CUP1: 2, NEW: 3, '': 4 }, host, {
    imported: false,
  });
  await shop.control('/products', { sku: 'LAMP', title: 'Desk lamp', barcode: '4006381333932' });
  const report = await importCatalog(optionsOf(shop), shop.connection);
  expect(report).toEqual({
    pages: 1,
    processed: 4,
    newListings: 4,
    created: 0,
    mapped: 1,
    alreadyMapped: 0,
    unmapped: 3,
    refused: 0,
    withIssues: 2,
    gone: 0,
    refusals: [],
    issues: expect.arrayContaining([
      { channelSku: 'LAMP', field: 'barcode', reason: 'has a wrong check digit' },
      { channelSku: '', field: 'sku', reason: 'is missing: the item cannot be mapped by SKU' },
    ]),
    duplicates: [],
    suggestions: [{ channelSku: 'CUP1', sku: 'cup 1' }],
    fields: [
      { field: 'title', equal: 0, differs: 1, oursOnly: 0, theirsOnly: 0, overlapPercent: 0 },
      { field: 'barcode', equal: 0, differs: 1, oursOnly: 0, theirsOnly: 0, overlapPercent: 0 },
    ],
    differences: [
      { channelSku: 'LAMP', field: 'barcode', ours: '96385074', theirs: '4006381333932' },
      { channelSku: 'LAMP', field: 'title', ours: 'Our lamp', theirs: 'Desk lamp' },
    ],
  } satisfies CatalogReport);
  await shop.close();
});

test('with products wanted, each new SKU becomes one, an empty one none, and the next time nothing is added', async () => {
  const org = await makeOrg(db.owner, db.store, ['A']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 1, N1: 2, N2: 3, '': 4 }, host, { imported: false });
  const create = () => importCatalog(optionsOf(shop), shop.connection, { createProducts: true });
  expect(await create()).toMatchObject({ processed: 4, created: 2, mapped: 3, unmapped: 1 });
  expect(await productsOf(org)).toEqual(['A', 'N1', 'N2']);
  const before = await listingsOf(org);
  expect(await create()).toMatchObject({
    processed: 4,
    newListings: 0,
    created: 0,
    mapped: 0,
    alreadyMapped: 3,
    unmapped: 1,
  });
  expect(await listingsOf(org)).toEqual(before);
  expect(await productsOf(org)).toEqual(['A', 'N1', 'N2']);
  await shop.close();
});

test('a dry run over several pages says exactly what the live run then does, and changes nothing', async () => {
  const org = await makeOrg(db.owner, db.store, tenOfOurs);
  const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
  const request = { createProducts: true };
  const dry = await importCatalog(optionsOf(shop), shop.connection, { ...request, dryRun: true });
  expect(await listingsOf(org)).toEqual([]);
  expect(await productsOf(org)).toHaveLength(10);
  expect(await see.all('select from targets where org_id = $1', [org.orgId])).toHaveLength(0);
  const live = await importCatalog(optionsOf(shop), shop.connection, request);
  expect(live).toEqual(dry);
  expect(live).toMatchObject({ pages: 3, processed: 90, created: 80, mapped: 90 });
  await shop.close();
});

describe('an import that goes on', () => {
  class Killed extends Error {}
  const pages = [0, 1, 2];
  const boundaries: [keyof CatalogHooks, number | undefined][] = [
    ...pages.flatMap((page): [keyof CatalogHooks, number][] => [
      ['beforePage', page],
      ['afterPage', page],
      ['beforeCommit', page],
      ['afterCommit', page],
    ]),
    ['beforeFinish', undefined],
    ['afterFinish', undefined],
  ];
  let shop: SimulatedShop;
  let expected: { listings: unknown; report: CatalogReport | null };
  const fresh = async () => {
    const org = await makeOrg(db.owner, db.store, tenOfOurs);
    const own = await simulatedShop(db.owner, db.store, org, {}, host, { imported: false });
    await own.close();
    return { org, connection: own.connection };
  };
  beforeAll(async () => {
    const org = await makeOrg(db.owner, db.store, tenOfOurs);
    shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
    const report = await importCatalog(optionsOf(shop), shop.connection, { createProducts: true });
    expected = { listings: await listingsOf(org), report };
  });
  afterAll(() => shop.close());

  test.each(boundaries)('after a death at %s %s ends as if nothing had happened', async (hook, page) => {
    const { org, connection } = await fresh();
    const hooks: CatalogHooks = {
      [hook]: (at: number | undefined) => {
        if (at === page) throw new Killed();
      },
    };
    const id = await startCatalogImport(optionsOf(shop), connection, { createProducts: true });
    await expect(continueCatalogImport(optionsOf(shop, { hooks }), org.orgId, id)).rejects.toThrow(Killed);
    const calls = await shop.calls('productVariants');
    const outcome = await continueCatalogImport(optionsOf(shop), org.orgId, id);
    expect(outcome).toEqual({ kind: 'finished', id, report: expected.report });
    expect(await listingsOf(org)).toEqual(expected.listings);
    const stored = { beforePage: 0, afterPage: 0, beforeCommit: 0, afterCommit: 1 }[hook as string] ?? 3;
    expect((await shop.calls('productVariants')) - calls).toBe(page === undefined ? 0 : 3 - page - stored);
    expect(await see.all('select page from catalog_pages where org_id = $1 order by page', [org.orgId])).toHaveLength(
      3,
    );
  });

  test('by two at once does every page once', async () => {
    const { org, connection } = await fresh();
    const id = await startCatalogImport(optionsOf(shop), connection, { createProducts: true });
    const both = await Promise.all([1, 2].map(() => continueCatalogImport(optionsOf(shop), org.orgId, id)));
    for (const outcome of both) expect(outcome).toEqual({ kind: 'finished', id, report: expected.report });
    expect(await listingsOf(org)).toEqual(expected.listings);
  });

  test('stopped between two pages, says so, and finishes later', async () => {
    const { org, connection } = await fresh();
    const id = await startCatalogImport(optionsOf(shop), connection, {});
    const stop = new AbortController();
    const options = optionsOf(shop, { signal: stop.signal, hooks: { afterCommit: () => stop.abort() } });
    expect(await continueCatalogImport(options, org.orgId, id)).toEqual({ kind: 'stopped', id });
    expect(await listingsOf(org)).toHaveLength(40);
    expect(await continueCatalogImport(optionsOf(shop), org.orgId, id)).toMatchObject({ kind: 'finished' });
    expect(await listingsOf(org)).toHaveLength(90);
  });
});

describe('a channel in trouble', () => {
  const inTrouble = async (fault: object, hooks: CatalogHooks = {}) => {
    const org = await makeOrg(db.owner, db.store, tenOfOurs);
    const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
    const id = await startCatalogImport(optionsOf(shop), shop.connection, {});
    const setFault = async (page: number) => {
      if (page === 1) await shop.control('/faults', fault);
    };
    const run = (more: Partial<CatalogImportOptions> = {}) =>
      continueCatalogImport(optionsOf(shop, more), org.orgId, id).catch((error: ConnectorError) => error);
    return { org, shop, id, run, hooks: { beforePage: setFault, ...hooks } };
  };

  test('that fails in the middle for long stops the import, which later goes on behind its last page', async () => {
    const { org, shop, run, hooks } = await inTrouble({ kind: 'status', status: 503 });
    const fault = await run({ hooks, clock: skip });
    expect(fault).toBeInstanceOf(ConnectorError);
    expect((fault as ConnectorError).code).toBe('connector.unavailable');
    expect(await listingsOf(org)).toHaveLength(40);
    await fetch(`${shop.url}/_sim/faults`, { method: 'DELETE' });
    const calls = await shop.calls('productVariants');
    expect(await run()).toMatchObject({ kind: 'finished', report: { processed: 90, pages: 3 } });
    expect((await shop.calls('productVariants')) - calls).toBe(2);
    await shop.close();
  });

  test('whose token is revoked in the middle stops at once, keeps what is stored, and goes on with a good one', async () => {
    const { org, shop, run, hooks } = await inTrouble({ kind: 'revoke' });
    const fault = await run({ hooks, clock: skip });
    expect((fault as ConnectorError).code).toBe('connector.unauthorized');
    expect(await listingsOf(org)).toHaveLength(40);
    await fetch(`${shop.url}/_sim/faults`, { method: 'DELETE' });
    expect(await run()).toMatchObject({ kind: 'finished', report: { processed: 90, pages: 3 } });
    await shop.close();
  });

  test('whose catalogue changes while we page: what went is not there, what came is, nothing twice', async () => {
    const org = await makeOrg(db.owner, db.store, tenOfOurs);
    const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
    const hooks: CatalogHooks = {
      async afterCommit(page) {
        if (page !== 0) return;
        await shop.control('/products', { sku: 'I1', removed: true });
        await shop.control('/products', { sku: 'I50', removed: true });
        await shop.control('/products', { sku: 'LATE', title: 'Late' });
      },
    };
    const report = await importCatalog(optionsOf(shop, { hooks }), shop.connection);
    expect(report).toMatchObject({ processed: 90, newListings: 90, mapped: 10, gone: 0 });
    const skus = (await listingsOf(org)).map(({ channel_sku }) => channel_sku);
    expect(skus.includes('I50')).toBe(false);
    expect(skus.filter((sku) => sku === 'LATE')).toHaveLength(1);
    expect(await importCatalog(optionsOf(shop), shop.connection)).toMatchObject({
      processed: 89,
      newListings: 0,
      gone: 1,
    });
    await shop.close();
  });
});

describe('what was kept', () => {
  test('is derived from again without a call, and brings what our catalogue knows by now', async () => {
    const org = await makeOrg(db.owner, db.store, tenOfOurs);
    const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
    const id = ids.uuid();
    await importCatalog(optionsOf(shop), shop.connection, { id });
    await db.owner.query(`insert into variants (org_id, id, sku) values ($1, $2, 'I90')`, [org.orgId, ids.uuid()]);
    const calls = await shop.calls('productVariants');
    const report = await importCatalog(optionsOf(shop), shop.connection, { replayOf: id });
    expect(report).toMatchObject({ pages: 3, processed: 90, newListings: 0, mapped: 1, alreadyMapped: 10 });
    expect(await shop.calls('productVariants')).toBe(calls);
    await shop.close();
  });

  test('holds no token, and is refused once its 90 days are over', async () => {
    const org = await makeOrg(db.owner, db.store, ['A']);
    const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
    const id = ids.uuid();
    await importCatalog(optionsOf(shop), shop.connection, { id });
    const { gunzipSync } = await import('node:zlib');
    const [page] = await see.all<{ answers: Buffer }>('select answers from catalog_pages where org_id = $1', [
      org.orgId,
    ]);
    const text = gunzipSync(page?.answers ?? Buffer.alloc(0)).toString();
    expect(text).toContain('productVariants');
    expect(text).not.toContain('shpat_test');
    const later = { ...clock, now: () => clock.now() + 91 * 86_400_000 };
    await importCatalog(optionsOf(shop, { clock: later }), shop.connection);
    await expect(importCatalog(optionsOf(shop), shop.connection, { replayOf: id })).rejects.toMatchObject({
      code: 'domain.no_raw_pages',
    });
    await shop.close();
  });

  test('of another connection is not replayed here', async () => {
    const org = await makeOrg(db.owner, db.store, ['A']);
    const shop = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
    const other = await simulatedShop(db.owner, db.store, org, { A: 1 }, host, { imported: false });
    const id = ids.uuid();
    await importCatalog(optionsOf(other), other.connection, { id });
    await expect(importCatalog(optionsOf(shop), shop.connection, { replayOf: id })).rejects.toMatchObject({
      code: 'domain.no_raw_pages',
    });
    await shop.close();
    await other.close();
  });
});

test('an incremental import asks for what changed since the last one began, and is full when there was none', async () => {
  const org = await makeOrg(db.owner, db.store, ['I1']);
  const shop = await simulatedShop(db.owner, db.store, org, many, host, { imported: false });
  const incremental = () => importCatalog(optionsOf(shop), shop.connection, { mode: 'incremental' });
  expect(await incremental()).toMatchObject({ processed: 90, gone: 0 });
  // The shop tells whole seconds; ten minutes are looked at again, because clocks differ.
  const [{ at } = { at: 0 }] = await see.all<{ at: number }>(
    `update catalog_imports set started_at = date_trunc('second', clock_timestamp()) + interval '601 s' where org_id = $1
     returning extract(epoch from started_at)::float8 * 1000 - 600000 as at`,
    [org.orgId],
  );
  while (clock.now() < at) await clock.sleep(20);
  await shop.control('/products', { sku: 'I7', title: 'Changed' });
  expect(await incremental()).toMatchObject({ processed: 1, newListings: 0, unmapped: 1, gone: null });
  expect(await see.all('select title from listings where org_id = $1 and channel_sku = $2', [org.orgId, 'I7'])).toEqual(
    [{ title: 'Changed' }],
  );
  await shop.close();
});

test('an order that waited for a mapping is booked by the import that brings it', async () => {
  const org = await makeOrg(db.owner, db.store, ['A']);
  const shop = await simulatedShop(db.owner, db.store, org, { A: 5 }, host, { imported: false });
  await org.stock('A', 5);
  const taken = takeIn(db.store, { opened: () => shop.opened });
  await taken.bring(shop.connection, order('1', clock.now(), [line('A', 2, { stockKey: null })]));
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 0, reserved: 0, short: 0 });
  await importCatalog(
    optionsOf(shop, { completeUnmapped: (connection) => taken.intake.completeUnmapped(connection) }),
    shop.connection,
  );
  expect(await see.numbers(org, 'A')).toEqual({ sellable: 5, committed: 2, reserved: 0, short: 0 });
  await shop.close();
});
