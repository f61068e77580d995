/** A simulated Amazon account behind the real connector, for tests of the lanes. */
import { amazon } from '#connectors/amazon/index.ts';
import { tuned } from '#connectors/kit/tuning.ts';
import { createAmazonSimulator } from '#sim/amazon/index.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import type { Shop, Stage } from './publishing.testing.ts';

const credentials = {
  clientId: 'amzn1.application-oa2-client.sim',
  clientSecret: 'amzn1.oa2-cs.v1.sim',
  refreshToken: 'Atzr|sim-refresh',
};

/** @param catalog SKU → Amazon's number; each is listed and mapped to our variant of the same SKU. */
export async function amazonShop(
  stage: Stage,
  catalog: Record<string, number>,
  options: { settleMs?: number; profile?: 'open' | 'vendor'; name?: string; bulk?: object } = {},
): Promise<Shop> {
  const random = seededRandom(11);
  const name = options.name ?? 'amazon';
  const simulator = await createAmazonSimulator({
    name,
    dir: null,
    clock: stage.clock,
    random,
    ids: seededIds(stage.clock, random),
    profile: options.profile ?? 'open',
    sellerId: 'A1SIMSELLER',
    marketplaceId: 'ATVPDKIKX0DER',
    ...credentials,
    catalog: Object.entries(catalog).map(([sku, quantity], index) => ({
      sku,
      asin: `B0SIM${String(index).padStart(5, '0')}`,
      title: sku,
      quantity,
      fulfillment: 'MFN',
    })),
  });
  const settings = {
    sellerId: 'A1SIMSELLER',
    region: 'na',
    marketplaceIds: ['ATVPDKIKX0DER'],
    settleMs: options.settleMs ?? 0,
    orderLagMs: 0,
    ...options.bulk,
  };
  const shop = await stage.connect({
    connector: amazon,
    simulator,
    manifest: tuned(amazon.manifest, settings),
    settings,
    credentials,
    places: [
      { channelLocation: 'DEFAULT', locationId: stage.main },
      { channelLocation: 'DEFAULT', locationId: stage.east },
    ],
  });
  await stage.list(
    shop,
    Object.keys(catalog)
      .filter((sku) => stage.variants[sku])
      .map((sku) => ({ sku, stockKey: sku, externalId: `asin-${sku}` })),
  );
  return shop;
}
