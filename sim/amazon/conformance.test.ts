import { amazon } from '#connectors/amazon/index.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import { describeConformance } from '#connectors/kit/conformance.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { tuned } from '#connectors/kit/tuning.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { realClock } from '#sim/kit/clock.ts';
import { sessionOf } from '#sim/kit/conformance.testing.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import { createAmazonSimulator } from './index.ts';

const skus = ['TEE', 'MUG / blue #1+2', 'CAP'];
const credentials = {
  clientId: 'amzn1.application-oa2-client.sim',
  clientSecret: 'amzn1.oa2-cs.v1.sim',
  refreshToken: 'Atzr|sim-refresh',
};

describeConformance({
  name: 'Amazon',
  writeOperation: 'patchListingsItem',
  readOperation: 'getListingsItem',
  orders: 120,
  async open() {
    const clock = realClock();
    const random = seededRandom(7);
    const host = await createSimulatorHost({ clock });
    const simulator = await createAmazonSimulator({
      name: 'amazon',
      dir: null,
      clock,
      random,
      ids: seededIds(clock, random),
      profile: 'open',
      sellerId: 'A1SIMSELLER',
      marketplaceId: 'ATVPDKIKX0DER',
      ...credentials,
      catalog: skus.map((sku, index) => ({
        sku,
        asin: `B0SIM0000${index}`,
        title: sku,
        quantity: 10,
        fulfillment: 'MFN' as const,
      })),
    });
    host.mount(simulator);
    const url = host.url('amazon');
    const settings = {
      sellerId: 'A1SIMSELLER',
      region: 'na',
      marketplaceIds: ['ATVPDKIKX0DER'],
      settleMs: 0,
      orderLagMs: 0,
    };
    const manifest = tuned(amazon.manifest, settings);
    // The budgets of the documented plan would make this suite wait for minutes; the simulator's open profile has none.
    const budgets = Object.fromEntries(
      Object.keys(manifest.budgets).map((bucket) => [bucket, { ratePerSecond: 1_000, capacity: 1_000 }]),
    );
    const transport = createTransport({
      clock,
      random,
      kind: 'simulated',
      baseUrl: url,
      allowedHosts: [],
      allowCustomEndpoints: false,
      budgets: createBudgets(clock, budgets),
    });
    const channel = amazon.open({
      connectionId: 'conformance',
      kind: 'simulated',
      baseUrl: url,
      settings,
      credentials,
      transport,
      clock,
      random,
    });
    return sessionOf({
      url,
      host,
      transport,
      channel,
      manifest,
      skus,
      location: 'DEFAULT',
      unknownRef: { stockKey: 'NOBODY', channelLocation: 'DEFAULT' },
      unknownOrderId: '902-9999999-9999999',
    });
  },
});
