/**
 * The stage of one seed: an organization with a small catalogue of scarce goods, two simulated Shopify shops and a simulated
 * Amazon account that show what the ledger holds. Small numbers on purpose: last units are where the faults are.
 */
import type { Ids } from '#core/effects.ts';
import type { LocationId, OrgId, VariantId } from '#core/ids.ts';
import type { ConnectionRef } from '#server/flows/publisher-types.ts';
import { fingerprint } from '#server/secrets.ts';
import { createAmazonSimulator } from '#sim/amazon/index.ts';
import { seededIds } from '#sim/kit/chance.ts';
import type { SimItem, SimOrder } from '#sim/kit/model.ts';
import type { ProfileName } from '#sim/kit/profiles.ts';
import type { PostMessage } from '#sim/kit/sender.ts';
import type { Simulator } from '#sim/kit/simulator.ts';
import { createShopifySimulator } from '#sim/shopify/index.ts';
import { createOrganization } from '#store/access/keys.ts';
import { mergeProducts, setComponents } from '#store/catalog/bulk.ts';
import { ensureLocations } from '#store/catalog/lookup.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { createConnection, mapLocation } from '#store/connections/connections.ts';
import { setWebhookUrl } from '#store/connections/watches.ts';
import { post } from '#store/ledger/post.ts';
import { upsertListings } from '#store/listings/listings.ts';
import type { Store } from '#store/tx.ts';
import { Dice, stream } from './chance.ts';
import type { Leaning } from './leaning.ts';
import { connectors, vault } from './process.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import { origin, type Wire } from './wire.ts';

export const codes = ['MAIN', 'EAST'] as const;
export type Code = (typeof codes)[number];

export interface Bundle {
  sku: string;
  parts: { sku: string; units: number }[];
}

export interface SimState {
  items: SimItem[];
  orders: SimOrder[];
}

/** A channel of the world: our connection to it, and the simulated vendor. */
export interface ChannelOfWorld {
  place: 'shop-a' | 'shop-b' | 'amazon-a';
  platform: 'shopify' | 'amazon';
  connection: ConnectionRef;
  webhookUrl: string | null;
  /** So many of its next messages arrive with a body nobody can read. */
  garbled: number;
  simulator: Simulator;
  /** Shopify: GID by our code; Amazon: DEFAULT. */
  locations: Record<Code, string>;
  /** Listing ids by SKU. */
  listings: ReadonlyMap<string, string>;
  /** An act of somebody at the vendor. @returns what the vendor said; 4xx: refused, nothing changed */
  act(
    path: string,
    body: object,
    method?: 'POST' | 'DELETE',
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  state(): Promise<SimState>;
}

export interface Stage {
  orgId: OrgId;
  locations: Record<Code, LocationId>;
  plain: readonly string[];
  bundles: readonly Bundle[];
  variants: ReadonlyMap<string, VariantId>;
  channels: readonly ChannelOfWorld[];
}

const amazonCredentials = {
  clientId: 'amzn1.application-oa2-client.world',
  clientSecret: 'amzn1.oa2-cs.v1.world',
  refreshToken: 'Atzr|world-refresh',
};
const sellerId = 'A1WORLDSELLER';
const marketplaceId = 'ATVPDKIKX0DER';

export interface StageOptions {
  seed: number;
  leaning: Leaning;
  store: Store;
  scheduler: Scheduler;
  wire: Wire;
  /** How the shops' webhooks reach us. */
  post: PostMessage;
}

export async function buildStage(options: StageOptions): Promise<Stage> {
  const { seed, store, scheduler } = options;
  const dice = new Dice(stream(seed, 'stage'));
  const world: Owner = { name: 'stage', alive: true };
  const ids = seededIds(scheduler.clock(world), stream(seed, 'stage ids'));
  const orgId = ids.uuid() as OrgId;
  const locations = { MAIN: ids.uuid() as LocationId, EAST: ids.uuid() as LocationId };
  const plain = Array.from({ length: 4 }, (_, n) => `P-${n + 1}`);
  const bundles = makeBundles(dice, plain);
  // Some have plenty: numbers that may travel in a document.
  const most = dice.chance(0.5) ? { MAIN: 30, EAST: 15 } : { MAIN: 12, EAST: 6 };
  const goods = new Map(plain.map((sku) => [sku, { MAIN: dice.whole(0, most.MAIN), EAST: dice.whole(0, most.EAST) }]));
  const variants = new Map(
    [...plain, ...bundles.map(({ sku }) => sku)].map((sku) => [sku, ids.uuid() as VariantId] as const),
  );
  const now = scheduler.now;

  await store.tenant(orgId, async (tx) => {
    await createOrganization(tx, { id: orgId, name: 'World', slug: 'world' });
    await ensureLocations(tx, orgId, [
      { id: locations.MAIN, code: 'MAIN', name: 'Main', isDefault: true, priority: 1, servesOrders: true },
      { id: locations.EAST, code: 'EAST', name: 'East', isDefault: false, priority: 2, servesOrders: true },
    ]);
    await mergeProducts(
      tx,
      orgId,
      [...variants].map(([sku, id]) => ({ id, sku, title: sku, barcode: null })),
      new Date(now),
    );
    for (const { sku, parts } of bundles)
      await setComponents(
        tx,
        orgId,
        variants.get(sku) as VariantId,
        parts.map((part) => ({ variantId: variants.get(part.sku) as VariantId, units: part.units })),
        new Date(now),
      );
    await post(
      tx,
      orgId,
      [...goods].flatMap(([sku, units]) =>
        codes.map((code) => ({
          kind: 'count' as const,
          key: `world:seed:${sku}:${code}`,
          businessAt: now,
          reason: 'cycle_count',
          variantId: variants.get(sku) as VariantId,
          locationId: locations[code],
          set: units[code],
        })),
      ),
      { actor: 'world', now, ids },
    );
    await makePolicies(tx, { orgId, dice, plain, variants, ids, now });
  });

  const channels: ChannelOfWorld[] = [];
  for (const place of ['shop-a', 'shop-b', 'amazon-a'] as const)
    channels.push(
      await openChannel({
        ...options,
        place,
        dice,
        orgId,
        locations,
        ids,
        variants,
        shown: shownAtFirst(goods, bundles),
      }),
    );
  return { orgId, locations, plain, bundles, variants, channels };
}

/** Three bundles that share parts. */
function makeBundles(dice: Dice, plain: readonly string[]): Bundle[] {
  const shared = plain.slice(0, 4);
  return ['B-1', 'B-2', 'B-3'].map((sku) => {
    const first = dice.whole(0, shared.length - 1);
    const skus = [...new Set([shared[first], shared[(first + dice.whole(0, 3)) % shared.length]])];
    return { sku, parts: skus.map((part) => ({ sku: part as string, units: dice.whole(1, 3) })) };
  });
}

type Goods = ReadonlyMap<string, Record<Code, number>>;

/** Channels begin with what lies on the shelves; what policies hold back is cut by the first write. */
function shownAtFirst(goods: Goods, bundles: readonly Bundle[]): Goods {
  const built = bundles.map(({ sku, parts }) => {
    const at = (code: Code) =>
      Math.min(...parts.map((part) => Math.floor((goods.get(part.sku)?.[code] ?? 0) / part.units)));
    return [sku, { MAIN: at('MAIN'), EAST: at('EAST') }] as const;
  });
  return new Map([...goods, ...built]);
}

async function makePolicies(
  tx: Parameters<Parameters<Store['tenant']>[1]>[0],
  world: {
    orgId: string;
    dice: Dice;
    plain: readonly string[];
    variants: ReadonlyMap<string, VariantId>;
    ids: Ids;
    now: number;
  },
): Promise<void> {
  const { orgId, dice, plain, variants, ids, now } = world;
  const by = () => ({ actor: 'world', now, id: ids.uuid() });
  for (const sku of plain.filter(() => dice.chance(0.25)))
    await setPolicy(tx, orgId, { variantSku: sku }, { buffer: dice.whole(1, 2) }, by());
  const capped = variants.get(dice.of(plain) ?? '');
  if (capped) await setPolicy(tx, orgId, { scope: 'variant', scopeId: capped }, { cap: dice.whole(2, 6) }, by());
  if (dice.chance(0.3))
    await setPolicy(tx, orgId, { scope: 'organization', scopeId: orgId }, { lastUnits: dice.whole(1, 4) }, by());
}

const fingerprints = new Map<string, Buffer>();

/** Costly on purpose, and the same for every seed. */
function fingerprintOf(secret: string): Buffer {
  const known = fingerprints.get(secret) ?? fingerprint(secret);
  fingerprints.set(secret, known);
  return known;
}

interface ChannelOptions extends StageOptions {
  place: ChannelOfWorld['place'];
  dice: Dice;
  orgId: OrgId;
  locations: Record<Code, LocationId>;
  ids: Ids;
  variants: ReadonlyMap<string, VariantId>;
  shown: Goods;
}

async function openChannel(options: ChannelOptions): Promise<ChannelOfWorld> {
  const { place, orgId, ids, store, scheduler, wire } = options;
  const platform = place === 'amazon-a' ? 'amazon' : 'shopify';
  const made = platform === 'amazon' ? await makeAmazon(options) : await makeShopify(options);
  const { simulator } = made;
  const connectionId = ids.uuid();
  const connector = connectors[platform];
  const token = `token-${place}`.padEnd(43, '0');
  const webhookUrl = platform === 'shopify' ? `${origin}/webhook/shopify/${token}` : null;
  const seal = (plain: unknown, column: 'credentials' | 'webhook_secrets') =>
    vault.seal(JSON.stringify(plain), { orgId, connectionId, column });
  wire.mount(simulator);

  const act: ChannelOfWorld['act'] = async (path, body, method = 'POST') => {
    const request = { method, path, query: new URLSearchParams(), text: JSON.stringify(body) };
    const reply = await simulator.handleControl(request);
    return { status: reply.status, body: reply.body as Record<string, unknown> };
  };
  const state = async (): Promise<SimState> => {
    const request = { method: 'GET', path: '/state', query: new URLSearchParams(), text: '' };
    return (await simulator.handleControl(request)).body as SimState;
  };

  const { items } = await state();
  const skus = [...options.variants.keys()];
  const listed = await store.tenant(orgId, async (tx) => {
    await createConnection(tx, orgId, {
      id: connectionId,
      platform,
      kind: 'simulated',
      name: place,
      baseUrl: `${origin}/${place}`,
      settings: made.settings,
      credentials: seal(made.credentials, 'credentials'),
      webhookSecrets: seal(made.secrets, 'webhook_secrets'),
      webhookFingerprints: made.secrets.map(fingerprintOf),
      webhookToken: token,
      createdAt: scheduler.now,
    });
    for (const code of codes) await mapLocation(tx, orgId, connectionId, made.locations[code], options.locations[code]);
    if (webhookUrl) await setWebhookUrl(tx, orgId, connectionId, webhookUrl);
    return upsertListings(
      tx,
      orgId,
      connectionId,
      [...options.variants].map(([sku, variantId]) => {
        const item = items.find((one) => one.sku === sku);
        return {
          externalId: item?.externalId ?? sku,
          variantExternalId: item?.variantExternalId ?? null,
          channelSku: sku,
          stockKey: item?.stockKey ?? sku,
          title: sku,
          fulfilledBy: 'us' as const,
          notWritable: null,
          variantId,
          channelLocations: null,
        };
      }),
      { ids, now: scheduler.now, compareAndSet: connector?.manifest.stock.compareAndSet ?? false },
    );
  });
  return {
    place,
    platform,
    connection: { orgId, connectionId },
    webhookUrl,
    garbled: 0,
    simulator,
    locations: made.locations,
    listings: new Map(listed.map(({ listingId }, n) => [skus[n] ?? '', listingId])),
    act,
    state,
  };
}

interface MadeVendor {
  simulator: Simulator;
  settings: Record<string, unknown>;
  credentials: Record<string, string>;
  secrets: string[];
  locations: Record<Code, string>;
}

function common({ seed, place, scheduler }: ChannelOptions) {
  // A queue's long poll is the only thing Amazon sleeps over, besides the time that calls take.
  const polls = place === 'amazon-a' ? { pollsMs: 20_000 } : {};
  const clock = scheduler.clock({ name: place, alive: true, ...polls });
  const random = stream(seed, place);
  return { name: place, dir: null, clock, random, ids: seededIds(clock, random) };
}

/** How the vendor behaves, and what the connection is told of it. */
interface Manner {
  profile: ProfileName;
  settings: Record<string, unknown>;
}

/** At once and without limits, or at the vendor's own pace. */
function shopifyManner(dice: Dice): Manner {
  return dice.chance(0.7) ? { profile: 'open', settings: { orderLagMs: 0 } } : { profile: 'vendor', settings: {} };
}

/** Also: many numbers in one document, from few changes on. */
function amazonManner(dice: Dice, { slowAmazon = false }: Leaning): Manner {
  const chosen = dice.chance(0.7) ? 'open' : 'vendor';
  const profile = slowAmazon ? 'vendor' : chosen;
  const feeds = {
    bulkRowsMin: dice.whole(1, 2),
    bulkLeastUnits: dice.whole(0, 3),
    bulkEveryMs: dice.whole(0, 10) * 1_000,
    bulkStuckMs: 600_000,
  };
  return {
    profile,
    settings: {
      ...(profile === 'open' ? { settleMs: 0, orderLagMs: 0 } : { settleMs: 150_000 }),
      ...(dice.chance(0.7) && !slowAmazon ? feeds : { bulk: false }),
    },
  };
}

/** What a shop signs its messages with. */
export const secretOf = (place: string): string => `secret of ${place}`;

async function makeShopify(options: ChannelOptions): Promise<MadeVendor> {
  const { place, shown } = options;
  const shopDomain = `${place}.myshopify.com`;
  const manner = shopifyManner(options.dice);
  const [secret, accessToken] = [secretOf(place), `shpat_${place}`];
  const simulator = await createShopifySimulator({
    ...common(options),
    profile: manner.profile,
    shopDomain,
    clientId: `client ${place}`,
    clientSecret: secret,
    accessToken,
    post: options.post,
    locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
    catalog: [...shown].map(([sku, quantities]) => ({ sku, title: sku, quantities })),
  });
  const gid = (code: Code) => simulator.locations().find(({ name }) => name === code)?.externalId ?? '';
  return {
    simulator,
    settings: { shopDomain, ...manner.settings },
    credentials: { accessToken },
    secrets: [secret],
    locations: { MAIN: gid('MAIN'), EAST: gid('EAST') },
  };
}

async function makeAmazon(options: ChannelOptions): Promise<MadeVendor> {
  const manner = amazonManner(options.dice, options.leaning);
  const simulator = await createAmazonSimulator({
    ...common(options),
    profile: manner.profile,
    sellerId,
    marketplaceId,
    ...amazonCredentials,
    catalog: [...options.shown].map(([sku, units], n) => ({
      sku,
      asin: `B0WORLD${String(n).padStart(3, '0')}`,
      title: sku,
      quantity: units.MAIN + units.EAST,
      fulfillment: 'MFN' as const,
    })),
  });
  const base = `${origin}/${options.place}`;
  return {
    simulator,
    settings: {
      sellerId,
      region: 'na',
      marketplaceIds: [marketplaceId],
      queueUrl: simulator.queueUrl(base),
      queueArn: simulator.queueArn,
      queueEndpoint: `${base}/sqs`,
      ...manner.settings,
    },
    credentials: amazonCredentials,
    secrets: [],
    locations: { MAIN: 'DEFAULT', EAST: 'DEFAULT' },
  };
}
