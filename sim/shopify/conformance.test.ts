import { createBudgets } from '#connectors/kit/budget.ts';
import { describeConformance } from '#connectors/kit/conformance.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { shopify } from '#connectors/shopify/index.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { realClock } from '#sim/kit/clock.ts';
import { sessionOf } from '#sim/kit/conformance.testing.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import { createShopifySimulator } from './index.ts';

const skus = ['TEE', 'MUG / blue #1', 'CAP'];

describeConformance({
  name: 'Shopify',
  writeOperation: 'inventorySetQuantities',
  readOperation: 'stockLevels',
  orders: 60,
  async open() {
    const clock = realClock();
    const random = seededRandom(7);
    const host = await createSimulatorHost({ clock });
    const simulator = await createShopifySimulator({
      name: 'shop',
      dir: null,
      clock,
      random,
      ids: seededIds(clock, random),
      profile: 'open',
      shopDomain: 'conformance.myshopify.com',
      clientId: 'app',
      clientSecret: 'app-secret',
      accessToken: 'shpat_conformance',
      locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
      catalog: skus.map((sku) => ({ sku, title: sku, quantities: { MAIN: 10, EAST: 0 } })),
    });
    host.mount(simulator);
    const url = host.url('shop');
    const transport = createTransport({
      clock,
      random,
      kind: 'simulated',
      baseUrl: url,
      allowedHosts: [],
      allowCustomEndpoints: false,
      budgets: createBudgets(clock, shopify.manifest.budgets),
    });
    const channel = shopify.open({
      connectionId: 'conformance',
      kind: 'simulated',
      baseUrl: url,
      settings: { shopDomain: 'conformance.myshopify.com' },
      credentials: { accessToken: 'shpat_conformance' },
      transport,
      clock,
      random,
    });
    const location = simulator.locations()[0]?.externalId ?? '';
    return sessionOf({
      url,
      host,
      transport,
      channel,
      manifest: { ...shopify.manifest, orders: { ...shopify.manifest.orders, lagMs: 0 } },
      skus,
      location,
      unknownRef: { stockKey: 'gid://shopify/InventoryItem/1', channelLocation: location },
      unknownOrderId: 'gid://shopify/Order/1',
    });
  },
});
