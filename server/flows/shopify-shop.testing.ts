/** A simulated Shopify shop with two locations behind the real connector, for tests of the lanes. */
import { shopify } from '#connectors/shopify/index.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import type { PostMessage } from '#sim/kit/sender.ts';
import { createShopifySimulator, type ShopifySimulator } from '#sim/shopify/index.ts';
import type { Shop, Stage } from './publishing.testing.ts';

export interface TestShopify extends Shop {
  simulator: ShopifySimulator;
  main: string;
  east: string;
  /** Inventory item GID of a SKU. */
  item(sku: string): string;
  /** In the vendor's admin someone sets a number. */
  edit(sku: string, quantity: number, location?: string): Promise<void>;
}

/** @param catalog SKU → numbers at MAIN and EAST; each is listed and mapped to our variant of the same SKU. */
export async function shopifyShop(
  stage: Stage,
  catalog: Record<string, [main: number, east: number]>,
  options: {
    name?: string;
    places?: ('MAIN' | 'EAST')[];
    bulkRows?: number;
    callsInFlight?: number;
    policy?: 'DENY' | 'CONTINUE';
    /** What its webhooks are signed with. */
    clientSecret?: string;
    /** Where its webhooks go, instead of over HTTP. */
    post?: PostMessage;
  } = {},
): Promise<TestShopify> {
  const random = seededRandom(13);
  const name = options.name ?? 'shop-a';
  const places = options.places ?? ['MAIN', 'EAST'];
  const simulator: ShopifySimulator = await createShopifySimulator({
    name,
    dir: null,
    clock: stage.clock,
    random,
    ids: seededIds(stage.clock, random),
    profile: 'open',
    shopDomain: `${name}.myshopify.com`,
    clientId: 'client-1',
    clientSecret: options.clientSecret ?? 'hush-1',
    accessToken: 'shpat_test',
    ...(options.post && { post: options.post }),
    locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
    catalog: Object.entries(catalog).map(([sku, [main, east]]) => ({
      sku,
      title: sku,
      quantities: { MAIN: main, EAST: east },
      ...(options.policy && { inventoryPolicy: options.policy }),
    })),
  });
  const gid = (place: string) => simulator.locations().find((one) => one.name === place)?.externalId ?? '';
  const manifest = {
    ...shopify.manifest,
    stock: {
      ...shopify.manifest.stock,
      ...(options.bulkRows && { bulkRows: options.bulkRows }),
      ...(options.callsInFlight && { callsInFlight: options.callsInFlight }),
    },
  };
  const shop = await stage.connect({
    connector: shopify,
    simulator,
    manifest,
    settings: { shopDomain: `${name}.myshopify.com` },
    credentials: { accessToken: 'shpat_test' },
    places: places.map((place) => ({
      channelLocation: gid(place),
      locationId: place === 'MAIN' ? stage.main : stage.east,
    })),
  });
  const { items } = (await shop.control('/state')) as unknown as { items: { sku: string; stockKey: string }[] };
  const stockKeys = new Map(items.map((one) => [one.sku, one.stockKey]));
  const item = (sku: string) => stockKeys.get(sku) ?? '';
  await stage.list(
    shop,
    Object.keys(catalog)
      .filter((sku) => stage.variants[sku])
      .map((sku) => ({ sku, stockKey: item(sku), externalId: `product-${sku}`, variantExternalId: `variant-${sku}` })),
  );
  return {
    ...shop,
    simulator,
    main: gid('MAIN'),
    east: gid('EAST'),
    item,
    async edit(sku, quantity, location = gid('MAIN')) {
      await shop.control('/stock', { sku, location, quantity });
    },
  };
}
