/**
 * Hostile input at every parser that faces the outside, with fixed seeds; `npm run hostile` goes on with others.
 * What is asked of each: an answer or one of our coded errors, within the stated time and memory.
 */
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { enormous } from './mutations.testing.ts';
import { judge, type Parser, parsers, portParsers } from './parsers.testing.ts';
import { recordAmazon, recordShopify } from './recordings.testing.ts';

const seed = 20_261_128;
/** A busy machine charges its pauses to whoever runs; a real hang is far beyond. */
const patientMs = 10_000;

/** Names of the answers that were spoiled. */
const spoiled = new Set<string>();

async function attack(parser: Parser, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(parser.input, async (input) => {
      const wrong = await judge(parser, input, patientMs);
      if (wrong !== null) throw new Error(`${parser.name}: ${wrong}`);
    }),
    { seed, numRuns },
  );
}

test('hostile input at every parser', async () => {
  for (const parser of parsers) await attack(parser, parser.slow ? 3 : 15);
});

test.each([
  ['shopify', recordShopify],
  ['amazon', recordAmazon],
] as const)('hostile answers of %s, one spoiled at a time', async (vendor, record) => {
  const all = portParsers(vendor, await record());
  expect(all.length).toBeGreaterThan(20);
  for (const { name } of all) spoiled.add(name);
  for (const parser of all) await attack(parser, 15);
});

test.each(enormous)('$name', async ({ body }) => {
  const all = parsers.filter(({ name }) =>
    /^(?:files readImport stock auto|shopify.webhook orders.create)$/.test(name),
  );
  expect(all.length).toBe(2);
  for (const parser of all) expect([parser.name, await judge(parser, body, patientMs)]).toEqual([parser.name, null]);
});

/** Every module of a room that outside input passes, and the parser above that takes hostile input through it; null: it reads none. */
const told: Readonly<Record<string, string | null>> = {
  'connectors/amazon/auth.ts': 'amazon test lwa.token',
  'connectors/amazon/client.ts': 'amazon catalog.list searchListingsItems',
  'connectors/amazon/errors.ts': 'amazon/errors vendorErrors',
  'connectors/amazon/feeds.ts': 'amazon bulk downloadDocument',
  'connectors/amazon/index.ts': null,
  'connectors/amazon/listings.ts': 'amazon catalog.list searchListingsItems',
  'connectors/amazon/manifest.ts': null,
  'connectors/amazon/map.ts': 'amazon orders.get getOrder',
  'connectors/amazon/notifications.ts': 'amazon/notifications parse',
  'connectors/amazon/offer-memory.ts': null,
  'connectors/amazon/orders.ts': 'amazon orders.changedSince searchOrders',
  'connectors/amazon/queue.ts': 'amazon queue.receive sqs.ReceiveMessage',
  'connectors/amazon/settings.ts': null,
  'connectors/amazon/stock.ts': 'amazon stock.read getListingsItem',
  'connectors/amazon/subscriptions.ts': 'amazon subscriptions.ensure getDestinations',
  'connectors/amazon/warehouse.ts': 'amazon stock.read getInventorySummaries',
  'connectors/amazon/wire.ts': 'amazon/wire order',
  'connectors/shopify/auth.ts': null,
  'connectors/shopify/client.ts': 'shopify test shop',
  'connectors/shopify/documents.ts': null,
  'connectors/shopify/errors.ts': 'shopify/errors status',
  'connectors/shopify/gid.ts': 'shopify/webhook orders/create',
  'connectors/shopify/index.ts': null,
  'connectors/shopify/listings.ts': 'shopify catalog.list variants',
  'connectors/shopify/manifest.ts': null,
  'connectors/shopify/map.ts': 'shopify orders.get orderById',
  'connectors/shopify/money.ts': 'shopify/webhook orders/create',
  'connectors/shopify/orders.ts': 'shopify orders.changedSince changedOrders',
  'connectors/shopify/pages.ts': 'shopify catalog.list variants',
  'connectors/shopify/settings.ts': null,
  'connectors/shopify/stock.ts': 'shopify stock.write inventorySetQuantities',
  'connectors/shopify/subscriptions.ts': 'shopify subscriptions.ensure webhookSubscriptions',
  'connectors/shopify/topics.ts': null,
  'connectors/shopify/webhook.ts': 'shopify/webhook orders/create',
  'connectors/shopify/wire.ts': 'shopify/wire restOrderSchema',
  'core/catalog/formats/amazon-listings.ts': 'files readImport stock amazon-listings',
  'core/catalog/formats/format.ts': 'files readImport stock auto',
  'core/catalog/formats/index.ts': 'files readImport stock auto',
  'core/catalog/formats/json-list.ts': 'formats json',
  'core/catalog/formats/shopify-inventory.ts': 'files readImport stock shopify-inventory',
  'core/catalog/formats/shopify-products.ts': 'files readImport products shopify-products',
  'core/catalog/formats/text.ts': 'formats text',
};

test('every module that outside input passes is told here, with the parser that spoils it', () => {
  const root = new URL('../../', import.meta.url);
  const rooms = [
    ...readdirSync(new URL('connectors/', root), { withFileTypes: true })
      .filter((room) => room.isDirectory() && room.name !== 'kit')
      .map(({ name }) => `connectors/${name}/`),
    'core/catalog/formats/',
  ];
  const modules = rooms.flatMap((room) =>
    readdirSync(new URL(room, root))
      .filter((name) => /^[^.]+\.ts$/.test(name))
      .map((name) => `${room}${name}`),
  );
  expect(modules.sort()).toEqual(Object.keys(told).sort());
  const names = new Set([...parsers.map(({ name }) => name), ...spoiled]);
  expect(Object.values(told).filter((name) => name !== null && !names.has(name))).toEqual([]);
});
