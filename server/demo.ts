/**
 * The demo organization: one merchant, two simulated Shopify shops and a simulated Amazon account, with right numbers.
 * The only part of what ships that loads simulators, and only when the demo is on.
 *
 * Everything has a fixed id and is found or made, so that a start after a kill at any point completes what is missing.
 * The simulators keep their own state; a change of port only moves their addresses.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { LocationId, OrgId, VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { createApiKey, createOrganization } from '#store/access/keys.ts';
import { findLocations, findVariants, mergeProducts, setComponents } from '#store/catalog/bulk.ts';
import { ensureLocations } from '#store/catalog/lookup.ts';
import { createConnection, getConnection, mapLocation, updateConnection } from '#store/connections/connections.ts';
import { setWebhookUrl } from '#store/connections/watches.ts';
import { post } from '#store/ledger/post.ts';
import { heldLanes } from '#store/listings/lease.ts';
import { readConnections } from '#store/views/connections.ts';
import type { Deps } from './deps.ts';
import { importCatalog } from './flows/import-catalog.ts';
import { fingerprint, keptOnce } from './secrets.ts';

const plain = Array.from({ length: 24 }, (_, index) => `DEMO-${String(index + 1).padStart(3, '0')}`);
const titles = [
  'Tee black M',
  'Tee black L',
  'Tee white M',
  'Tee white L',
  'Mug blue',
  'Mug white',
  'Cap red',
  'Cap navy',
  'Tote natural',
  'Socks grey',
  'Scarf green',
  'Bottle steel',
  'Hoodie black M',
  'Hoodie black L',
  'Beanie wool',
  'Gloves grey',
  'Notebook A5',
  'Notebook A6',
  'Pen black',
  'Pencil set',
  'Candle small',
  'Candle tall',
  'Soap bar',
  'Towel white',
];
const bundles = [
  { sku: 'KIT-2', title: 'Soap twin pack', parts: [{ sku: 'DEMO-023', units: 2 }] },
  {
    sku: 'KIT-3',
    title: 'Bath set',
    parts: [
      { sku: 'DEMO-021', units: 1 },
      { sku: 'DEMO-022', units: 2 },
      { sku: 'DEMO-023', units: 3 },
    ],
  },
] as const;

/** What a channel offers at first: SKU → units. Equal to what the ledger says, so that nothing has to be sent. */
const offered: { sku: string; title: string; units: number; fba?: true }[] = [
  ...plain.map((sku, index) => ({ sku, title: titles[index] ?? sku, units: 100 })),
  { sku: 'DEMO-LAST', title: 'The last one', units: 1 },
  { sku: 'DEMO-ZERO', title: 'Sold out', units: 0 },
  { sku: 'KIT-2', title: bundles[0].title, units: 50 },
  { sku: 'KIT-3', title: bundles[1].title, units: 33 },
];

const shops = [
  { name: 'Shopify Demo A', place: 'shop-a', domain: 'demo-a.myshopify.com' },
  { name: 'Shopify Demo B', place: 'shop-b', domain: 'demo-b.myshopify.com' },
] as const;
const seller = {
  name: 'Amazon Demo',
  place: 'amazon-a',
  sellerId: 'A1DEMOSELLER',
  marketplaceId: 'ATVPDKIKX0DER',
} as const;

export interface DemoConnection {
  id: string;
  platform: string;
  kind: 'simulated';
  name: string;
  webhookUrl: string | null;
  webhookSecret: string | null;
  simulatorUrl: string;
  shopDomain?: string;
  sellerId?: string;
  accessToken: string;
  locations: { code: string; externalId: string }[];
}

export interface Demo {
  /** Resolves when every number is right on every channel, or after `timeoutMs` with what is not. */
  settle(): Promise<void>;
  /** The content of demo.json. */
  describe(): {
    url: string;
    email: null;
    password: null;
    apiKey: string;
    organizationId: string;
    connections: DemoConnection[];
  };
  close(): Promise<void>;
}

/** A fixed UUID for something of the demo, so that every start finds it again. */
function fixedId(name: string): string {
  const hex = createHash('sha256').update(`syncstate demo: ${name}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const orgId = fixedId('organization');

/** The demo's one secret, made once and kept in the data folder; keys and passwords are derived from it. */
function keptSecret(dataDir: string): (label: string) => string {
  const secret = keptOnce(join(dataDir, 'demo-secret'), () => randomBytes(32).toString('base64url'));
  return (label) => createHmac('sha256', secret).update(label).digest('base64url');
}

export async function openDemo(deps: Deps, dataDir: string, url: string): Promise<Demo> {
  const secret = keptSecret(dataDir);
  const apiKey = `sk_demo_${secret('api key').slice(0, 40)}`;
  const { host, shopifies, amazon } = await openSimulators(deps, dataDir, secret);
  await seed(deps, apiKey);
  const killedAtWork = (await deps.store.tenant(orgId, (tx) => heldLanes(tx, orgId))) > 0;

  const connections: DemoConnection[] = [];
  for (const [index, shop] of shops.entries()) {
    const simulator = shopifies[index];
    if (!simulator) continue;
    const simulatorUrl = `${host.origin}/${shop.place}`;
    const id = fixedId(shop.place);
    const locations = simulator.locations().map(({ name, externalId }) => ({ code: name, externalId }));
    const webhookToken = secret(`${shop.place} webhook token`);
    const webhookSecret = secret(`${shop.place} app secret`);
    const accessToken = `shpat_${secret(`${shop.place} access token`).slice(0, 32)}`;
    await ensureConnection(deps, {
      id,
      platform: 'shopify',
      name: shop.name,
      baseUrl: simulatorUrl,
      settings: { shopDomain: shop.domain, ...openSettings(deps) },
      credentials: { accessToken },
      webhookSecrets: [webhookSecret],
      webhookToken,
      locations,
    });
    connections.push({
      id,
      platform: 'shopify',
      kind: 'simulated',
      name: shop.name,
      webhookUrl: `${url}/webhook/shopify/${webhookToken}`,
      webhookSecret,
      simulatorUrl,
      shopDomain: shop.domain,
      accessToken,
      locations,
    });
  }
  const simulatorUrl = `${host.origin}/${seller.place}`;
  const id = fixedId(seller.place);
  const locations = [
    { code: 'MAIN', externalId: 'DEFAULT' },
    { code: 'EAST', externalId: 'DEFAULT' },
    { code: 'FBA', externalId: 'AMAZON_NA' },
  ];
  const credentials = sellerCredentials(secret);
  await ensureConnection(deps, {
    id,
    platform: 'amazon',
    name: seller.name,
    baseUrl: simulatorUrl,
    settings: {
      sellerId: seller.sellerId,
      region: 'na',
      marketplaceIds: [seller.marketplaceId],
      queueUrl: amazon.queueUrl(simulatorUrl),
      queueArn: amazon.queueArn,
      queueEndpoint: `${simulatorUrl}/sqs`,
      ...openSettings(deps),
    },
    credentials,
    webhookSecrets: [],
    webhookToken: secret('amazon webhook token'),
    locations,
  });
  connections.push({
    id,
    platform: 'amazon',
    kind: 'simulated',
    name: seller.name,
    webhookUrl: null,
    webhookSecret: null,
    simulatorUrl,
    sellerId: seller.sellerId,
    accessToken: credentials.refreshToken,
    locations,
  });

  for (const shop of shopifies) await shop.retarget(null, new URL(url).origin);
  for (const simulator of [...shopifies, amazon]) host.mount(simulator);
  const linking = startLinking(
    deps,
    connections.map((connection) => () => link(deps, connection)),
  );
  await linking.tried;
  const traffic = deps.config.demoTraffic ? startTraffic(deps, connections) : null;

  return {
    settle: () => settle(deps, killedAtWork ? afterKillMs : 15_000),
    describe: () => ({ url, email: null, password: null, apiKey, organizationId: orgId, connections }),
    async close() {
      await traffic?.stop();
      await linking.stop();
      await host.close();
    },
  };
}

/** In the open profile the simulators apply at once and show orders at once. */
const openSettings = (deps: Deps): Record<string, unknown> =>
  deps.config.simProfile === 'open' ? { settleMs: 0, orderLagMs: 0 } : {};

function sellerCredentials(secret: (label: string) => string) {
  return {
    clientId: 'amzn1.application-oa2-client.demo',
    clientSecret: secret('amazon client secret'),
    refreshToken: `Atzr|${secret('amazon refresh token')}`,
  };
}

async function openSimulators(deps: Deps, dataDir: string, secret: (label: string) => string) {
  const [{ createSimulatorHost }, { createShopifySimulator }, { createAmazonSimulator }] = await Promise.all([
    import('#sim/kit/server.ts'),
    import('#sim/shopify/index.ts'),
    import('#sim/amazon/index.ts'),
  ]);
  const host = await createSimulatorHost({ clock: deps.clock });
  const common = {
    dir: join(dataDir, 'simulators'),
    clock: deps.clock,
    random: deps.random,
    ids: deps.ids,
    profile: deps.config.simProfile,
  };
  const shopifies = await Promise.all(
    shops.map((shop) =>
      createShopifySimulator({
        ...common,
        name: shop.place,
        shopDomain: shop.domain,
        clientId: `demo-${shop.place}`,
        clientSecret: secret(`${shop.place} app secret`),
        accessToken: `shpat_${secret(`${shop.place} access token`).slice(0, 32)}`,
        locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
        catalog: [
          ...offered.map(({ sku, title, units }) => ({ sku, title, quantities: { MAIN: units, EAST: 0 } })),
          ...(shop.place === 'shop-a'
            ? [{ sku: 'DEMO-UNMAPPED', title: 'Nobody mapped this', quantities: { MAIN: 25, EAST: 0 } }]
            : []),
        ],
      }),
    ),
  );
  const amazon = await createAmazonSimulator({
    ...common,
    name: seller.place,
    sellerId: seller.sellerId,
    marketplaceId: seller.marketplaceId,
    ...sellerCredentials(secret),
    catalog: [
      ...offered.map(({ sku, title, units }, index) => ({
        sku,
        asin: asinOf(index),
        title,
        quantity: units,
        fulfillment: 'MFN' as const,
      })),
      { sku: 'DEMO-FBA', asin: asinOf(900), title: 'Kept by Amazon', quantity: 40, fulfillment: 'AFN' as const },
    ],
  });
  return { host, shopifies, amazon };
}

const asinOf = (index: number): string => `B0DEMO${String(index + 1).padStart(4, '0')}`;

/** Organization, key, locations, products and goods. Every step is keyed: a second start changes nothing. */
async function seed(deps: Deps, apiKey: string): Promise<void> {
  const { ids, clock, store } = deps;
  const hash = createHash('sha256').update(apiKey).digest();
  const products = [...offered.map(({ sku, title }) => ({ sku, title })), { sku: 'DEMO-FBA', title: 'Kept by Amazon' }];
  const goods = await store.tenant(
    orgId,
    async (tx) => {
      await createOrganization(tx, { id: orgId, name: 'Demo', slug: 'demo' });
      await createApiKey(tx, orgId, {
        id: fixedId(`key ${hash.toString('hex')}`),
        name: 'demo',
        hash,
        ratePerMinute: null,
      });
      await ensureLocations(tx, orgId, [
        { id: fixedId('MAIN'), code: 'MAIN', name: 'Main warehouse', isDefault: true, priority: 1, servesOrders: true },
        {
          id: fixedId('EAST'),
          code: 'EAST',
          name: 'East warehouse',
          isDefault: false,
          priority: 2,
          servesOrders: true,
        },
        {
          id: fixedId('FBA'),
          code: 'FBA',
          name: 'Fulfilled by Amazon',
          isDefault: false,
          priority: 900,
          servesOrders: false,
        },
      ]);
      await mergeProducts(
        tx,
        orgId,
        products.map((product) => ({ id: ids.uuid(), ...product, barcode: null })),
        new Date(clock.now()),
      );
      const variants = await findVariants(
        tx,
        orgId,
        products.map(({ sku }) => sku),
      );
      for (const bundle of bundles)
        await setComponents(
          tx,
          orgId,
          variants.get(bundle.sku)?.id ?? '',
          bundle.parts.map(({ sku, units }) => ({ variantId: variants.get(sku)?.id ?? '', units })),
          new Date(clock.now()),
        );
      const { byCode } = await findLocations(tx, orgId);
      return { variants, byCode };
    },
    { idempotent: true },
  );
  const at = (code: string) => goods.byCode.get(code) ?? LocationId('');
  const shelved = offered.filter(({ sku }) => !bundles.some((bundle) => bundle.sku === sku));
  const count = (sku: string, code: string, units: number): Command => ({
    kind: 'count',
    key: `demo:seed:${sku}:${code}`,
    businessAt: clock.now(),
    reason: 'cycle_count',
    reference: 'demo',
    variantId: goods.variants.get(sku)?.id ?? VariantId(''),
    locationId: at(code),
    set: units,
  });
  const commands = [
    ...shelved.flatMap(({ sku, units }) => [count(sku, 'MAIN', units), count(sku, 'EAST', 0)]),
    count('DEMO-FBA', 'FBA', 40),
  ];
  await store.tenant(orgId, (tx) => post(tx, OrgId(orgId), commands, { actor: 'demo', now: clock.now(), ids }), {
    idempotent: true,
  });
}

interface WantedConnection {
  id: string;
  platform: string;
  name: string;
  baseUrl: string;
  settings: Record<string, unknown>;
  credentials: Record<string, string>;
  webhookSecrets: string[];
  webhookToken: string;
  locations: { code: string; externalId: string }[];
}

async function ensureConnection(deps: Deps, wanted: WantedConnection): Promise<void> {
  const seal = (plain: unknown, column: 'credentials' | 'webhook_secrets') =>
    deps.vault.seal(JSON.stringify(plain), { orgId, connectionId: wanted.id, column });
  const access = {
    baseUrl: wanted.baseUrl,
    settings: wanted.settings,
    credentials: seal(wanted.credentials, 'credentials'),
    webhookSecrets: seal(wanted.webhookSecrets, 'webhook_secrets'),
    webhookFingerprints: wanted.webhookSecrets.map(fingerprint),
  };
  await deps.store.tenant(
    orgId,
    async (tx) => {
      if (await getConnection(tx, orgId, wanted.id)) await updateConnection(tx, orgId, wanted.id, access);
      else
        await createConnection(tx, orgId, {
          id: wanted.id,
          platform: wanted.platform,
          kind: 'simulated',
          name: wanted.name,
          webhookToken: wanted.webhookToken,
          createdAt: deps.clock.now(),
          ...access,
        });
      const { byCode } = await findLocations(tx, orgId);
      for (const { code, externalId } of wanted.locations) {
        const location = byCode.get(code);
        if (location) await mapLocation(tx, orgId, wanted.id, externalId, location);
      }
    },
    { idempotent: true },
  );
  deps.intake.forget({ orgId, connectionId: wanted.id });
}

/** A start waits so long for the simulated channels. */
const linkPatienceMs = 5_000;
const linkAgainMs = 1_000;

/**
 * Each step until it works: a channel that refuses us or is away when we start is linked beside the running server.
 * `tried` resolves when everything worked or failed once, at the latest after the patience.
 */
function startLinking(
  deps: Deps,
  steps: readonly (() => Promise<void>)[],
): { tried: Promise<void>; stop(): Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const first: Promise<void>[] = [];
  const running = steps.map(async (step) => {
    const once = () =>
      step().then(
        () => true,
        (error: unknown) => {
          if (!signal.aborted)
            deps.api.log.warn({ error: String(error) }, 'A simulated channel could not be linked; trying again.');
          return false;
        },
      );
    const attempt = once();
    first.push(attempt.then(() => undefined));
    for (let done = await attempt; !done && !signal.aborted; done = signal.aborted || (await once()))
      await deps.clock.sleep(linkAgainMs, signal);
  });
  const patience = new AbortController();
  const tried = Promise.race([Promise.all(first), deps.clock.sleep(linkPatienceMs, patience.signal)]).then(() =>
    patience.abort(),
  );
  return {
    tried,
    async stop() {
      stopping.abort();
      await Promise.race([Promise.all(running), deps.clock.sleep(1_000)]);
    },
  };
}

/** Listings from the channel's catalogue, and its events to our address. */
async function link(deps: Deps, connection: DemoConnection): Promise<void> {
  const ref = { orgId, connectionId: connection.id };
  // First of all: whoever watches it must not hold the channel to an earlier port.
  const { webhookUrl } = connection;
  if (webhookUrl !== null) await deps.store.tenant(orgId, (tx) => setWebhookUrl(tx, orgId, connection.id, webhookUrl));
  await importCatalog(
    { store: deps.store, clock: deps.clock, ids: deps.ids, openConnection: deps.openConnection },
    ref,
  );
  const opened = await deps.openConnection(ref);
  await opened?.channel.subscriptions?.ensure(webhookUrl, { budget: 'read', signal: AbortSignal.timeout(10_000) });
}

/** After a kill ready means serving: numbers whose last write may still arrive stand in `unknown` until they are read back. */
const afterKillMs = 1_000;

/** Waits until every number is right on every channel (or its state says why not), at most `timeoutMs`. */
async function settle(deps: Deps, timeoutMs: number): Promise<void> {
  const quiet = new Set(['in_sync', 'read_only', 'paused', 'unmapped', 'unauthorized', 'rejected', 'suspended']);
  const until = deps.clock.monotonicMs() + timeoutMs;
  while (deps.clock.monotonicMs() < until) {
    const connections = await deps.store.tenant(orgId, (tx) => readConnections(tx, orgId, null));
    if (
      connections.every(
        ({ waiting, targets }) => waiting === 0 && Object.keys(targets).every((state) => quiet.has(state)),
      )
    )
      return;
    await deps.clock.sleep(25);
  }
}

/** Simulated buyers who buy by themselves, about one a second. */
function startTraffic(deps: Deps, connections: readonly DemoConnection[]): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(deps.random.next() * list.length)];
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await deps.clock.sleep(400 + deps.random.next() * 1_200, stopping.signal);
      const connection = pick(connections);
      const sku = pick(plain);
      if (stopping.signal.aborted || !connection || !sku) return;
      await deps.api.buyAt(connection.simulatorUrl, [{ sku, quantity: 1 }]).catch(() => undefined);
    }
  }
  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
