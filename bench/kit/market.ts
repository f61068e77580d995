/**
 * A merchant to measure with: the product, one organization with `skus` SKUs in stock, and Shopify shops that list them all,
 * connected, imported and right. Everything goes the product's own ways (import, subscriptions, ledger).
 */
import { randomBytes } from 'node:crypto';
import { LocationId, OrgId } from '#core/ids.ts';
import { readConfig } from '#server/config.ts';
import { createDeps, type Deps, realIds } from '#server/deps.ts';
import { importCatalog } from '#server/flows/import-catalog.ts';
import { fingerprint } from '#server/secrets.ts';
import { createOrganization } from '#store/access/keys.ts';
import { findVariants, mergeProducts } from '#store/catalog/bulk.ts';
import { ensureLocations } from '#store/catalog/lookup.ts';
import { createConnection, mapLocation } from '#store/connections/connections.ts';
import { post } from '#store/ledger/post.ts';
import { appUrl } from '#store/migrate.ts';
import { type Helper, startHelper } from './child.ts';
import { until } from './figures.ts';
import type { Post } from './load.ts';
import { cpuSeconds, type Product, startProduct } from './product.ts';
import type { SellerSpec, ShopSpec, ShopsQuestion } from './shops.ts';
import { type CallCount, skuOf } from './skus.ts';

export interface MarketOptions {
  skus: number;
  shops: number;
  units: number;
  profile: 'open' | 'vendor';
  /** Added by the simulators to every answer. */
  latencyMs: number;
  /** An Amazon seller beside the shops, who lists the same SKUs. */
  seller?: boolean;
}

export interface SellerCalls {
  next: number;
  counts: Record<string, number>;
  /** Unix ms; NaN: none. */
  lastWriteAt: number;
}

export interface Market {
  /** May be replaced by another one on the same data folder. */
  product: Product;
  orgId: string;
  connections: string[];
  shopNames: string[];
  /** Processor seconds used so far by the simulators. */
  simulatorCpu(): number;
  /** From now on what the shops would send is kept (true) or sent (false). */
  hold(held: boolean): Promise<void>;
  buy(shop: string, orders: readonly number[][]): Promise<number[]>;
  /** One unit each of SKUs 0, 1, 2 …; when each was placed, Unix ms. */
  sell(shop: string, count: number, perSecond: number): Promise<number[]>;
  /** SKU number by the digits of the shop's stock item. */
  items(shop: string): Promise<Record<string, number>>;
  take(): Promise<Post[]>;
  calls(shop: string, since?: number): Promise<CallCount>;
  sellerCalls(since?: number): Promise<SellerCalls>;
  /** Everything came in, was booked, and every channel has taken the number it should show; it may not show it yet. */
  taken(): Promise<boolean>;
  /** Everything came in, was booked, and every channel shows the number it should: by our own book. */
  settled(): Promise<boolean>;
  /** The same by the shops' own truth, SKU by SKU. @returns what differs */
  differences(): Promise<string[]>;
  backlog(): Promise<{ inbox: number; dirty: number; targets: number }>;
  settings(): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

const parts = (rows: readonly unknown[], size: number): unknown[][] =>
  Array.from({ length: Math.ceil(rows.length / size) }, (_, index) => rows.slice(index * size, (index + 1) * size));

async function stockUp(deps: Deps, orgId: string, { skus, units }: MarketOptions): Promise<string> {
  const main = realIds.uuid();
  await deps.store.tenant(orgId, async (tx) => {
    await createOrganization(tx, { id: orgId, name: 'Bench', slug: `bench-${orgId.slice(-6)}` });
    await ensureLocations(tx, orgId, [
      { id: main, code: 'MAIN', name: 'Main', isDefault: true, priority: 1, servesOrders: true },
    ]);
  });
  const all = Array.from({ length: skus }, (_, index) => skuOf(index));
  for (const part of parts(all, 200) as string[][])
    await deps.store.tenant(orgId, async (tx) => {
      const products = part.map((sku) => ({ id: realIds.uuid(), sku, title: sku, barcode: null }));
      await mergeProducts(tx, orgId, products, new Date());
      const variants = await findVariants(tx, orgId, part);
      const commands = part.flatMap((sku) => {
        const variantId = variants.get(sku)?.id;
        if (!variantId) return [];
        const places = { variantId, locationId: LocationId(main) };
        return [
          {
            kind: 'count' as const,
            key: `bench:${sku}`,
            businessAt: Date.now(),
            reason: 'cycle_count',
            ...places,
            set: units,
          },
        ];
      });
      await post(tx, OrgId(orgId), commands, { actor: 'bench', now: Date.now(), ids: realIds });
    });
  return main;
}

async function connect(
  deps: Deps,
  product: Product,
  orgId: string,
  spec: ShopSpec,
  shop: { url: string; location: string },
  main: string,
): Promise<string> {
  const id = realIds.uuid();
  const seal = (plain: unknown, column: 'credentials' | 'webhook_secrets') =>
    deps.vault.seal(JSON.stringify(plain), { orgId, connectionId: id, column });
  const webhookToken = randomBytes(24).toString('base64url');
  await deps.store.tenant(orgId, async (tx) => {
    await createConnection(tx, orgId, {
      id,
      platform: 'shopify',
      kind: 'simulated',
      name: spec.name,
      baseUrl: shop.url,
      settings: { shopDomain: spec.domain, orderLagMs: 0 },
      credentials: seal({ accessToken: spec.accessToken }, 'credentials'),
      webhookSecrets: seal([spec.secret], 'webhook_secrets'),
      webhookFingerprints: [fingerprint(spec.secret)],
      webhookToken,
      createdAt: Date.now() - 1_000,
    });
    await mapLocation(tx, orgId, id, shop.location, main);
  });
  const ref = { orgId, connectionId: id };
  await importCatalog(deps, ref);
  const opened = await deps.openConnection(ref);
  await opened?.channel.subscriptions?.ensure(`${product.url}/webhook/shopify/${webhookToken}`, {
    budget: 'read',
    signal: AbortSignal.timeout(30_000),
  });
  return id;
}

async function connectSeller(
  deps: Deps,
  orgId: string,
  spec: SellerSpec,
  place: { url: string; queueUrl: string; queueArn: string },
  main: string,
): Promise<string> {
  const id = realIds.uuid();
  const { sellerId, marketplaceId, ...credentials } = spec;
  await deps.store.tenant(orgId, async (tx) => {
    await createConnection(tx, orgId, {
      id,
      platform: 'amazon',
      kind: 'simulated',
      name: 'seller',
      baseUrl: place.url,
      settings: {
        sellerId,
        region: 'na',
        marketplaceIds: [marketplaceId],
        queueUrl: place.queueUrl,
        queueArn: place.queueArn,
        queueEndpoint: `${place.url}/sqs`,
        // Each number by a call of its own: the bound is calls ÷ rate.
        bulk: false,
      },
      credentials: deps.vault.seal(JSON.stringify(credentials), { orgId, connectionId: id, column: 'credentials' }),
      webhookSecrets: deps.vault.seal('[]', { orgId, connectionId: id, column: 'webhook_secrets' }),
      webhookFingerprints: [],
      webhookToken: randomBytes(24).toString('base64url'),
      createdAt: Date.now() - 1_000,
    });
    await mapLocation(tx, orgId, id, 'DEFAULT', main);
  });
  await importCatalog(deps, { orgId, connectionId: id });
  return id;
}

/** @param dataDir of the product; default: one of its own */
export async function openMarket(options: MarketOptions, dataDir?: string): Promise<Market> {
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    return await open(options, closing, close, dataDir);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  options: MarketOptions,
  closing: (() => Promise<void>)[],
  close: () => Promise<void>,
  dataDir?: string,
): Promise<Market> {
  let product = await startProduct(dataDir === undefined ? {} : { dataDir });
  closing.push(() => product.stop());
  const helper: Helper = startHelper('shops.ts');
  closing.push(() => helper.stop());
  const ask = <T>(question: ShopsQuestion) => helper.ask<T>(question);
  const shops: ShopSpec[] = Array.from({ length: options.shops }, (_, index) => ({
    name: `shop-${index + 1}`,
    domain: `bench-${index + 1}.myshopify.com`,
    secret: `shpss_${randomBytes(16).toString('hex')}`,
    accessToken: `shpat_${randomBytes(16).toString('hex')}`,
  }));
  const places = await ask<{ url: string; location: string }[]>({ ...options, do: 'open', shops });
  const deps = await createDeps({
    config: readConfig({ SYNCSTATE_DATA_DIR: product.dataDir, SYNCSTATE_DEMO: 'off', LOG_LEVEL: 'warn', PORT: '0' }),
    dataDir: product.dataDir,
    appUrl: appUrl(product.ownerUrl),
    soleProcess: false,
  });
  const orgId = realIds.uuid();
  const main = await stockUp(deps, orgId, options);
  const connections: string[] = [];
  for (const [index, spec] of shops.entries())
    connections.push(await connect(deps, product, orgId, spec, places[index] ?? { url: '', location: '' }, main));
  if (options.seller) {
    const seller: SellerSpec = {
      sellerId: 'A1BENCHSELLER',
      marketplaceId: 'ATVPDKIKX0DER',
      clientId: 'amzn1.application-oa2-client.bench',
      clientSecret: randomBytes(16).toString('hex'),
      refreshToken: `Atzr|${randomBytes(16).toString('hex')}`,
    };
    const { skus, units, profile } = options;
    const place = await ask<{ url: string; queueUrl: string; queueArn: string }>({
      do: 'seller',
      seller,
      skus,
      units,
      profile,
    });
    connections.push(await connectSeller(deps, orgId, seller, place, main));
  }
  await deps.end();
  const market: Market = {
    get product() {
      return product;
    },
    set product(next) {
      product = next;
    },
    orgId,
    connections,
    shopNames: shops.map(({ name }) => name),
    simulatorCpu: () => cpuSeconds(helper.pid),
    hold: (held) => ask({ do: 'hold', held }),
    buy: (shop, orders) => ask<number[]>({ do: 'buy', shop, orders: [...orders] }),
    sell: (shop, count, perSecond) => ask<number[]>({ do: 'sell', shop, count, perSecond }),
    items: (shop) => ask<Record<string, number>>({ do: 'items', shop }),
    take: () => ask<Post[]>({ do: 'take' }),
    calls: (shop, since = 0) => ask<CallCount>({ do: 'calls', shop, since }),
    sellerCalls: (since = 0) => ask<SellerCalls>({ do: 'sellerCalls', since }),
    async taken() {
      const { rows } = await product.owner.query<{ open: number }>(
        `select (select count(*) from inbox where state = 'waiting')::int + (select count(*) from dirty_variants)::int
           + (select count(*) from targets where dirty_version > handled_version or state not in ('in_sync', 'settling'))::int as open`,
      );
      return rows[0]?.open === 0;
    },
    async settled() {
      const { inbox, dirty, targets } = await market.backlog();
      return inbox + dirty + targets === 0;
    },
    async backlog() {
      const { rows } = await product.owner.query<{ inbox: number; dirty: number; targets: number }>(
        `select (select count(*)::int from inbox where state = 'waiting') as inbox,
                (select count(*)::int from dirty_variants) as dirty,
                (select count(*)::int from targets where dirty_version > handled_version or state <> 'in_sync') as targets`,
      );
      return rows[0] ?? { inbox: 0, dirty: 0, targets: 0 };
    },
    async differences() {
      const { rows } = await product.owner.query<{ sku: string; available: number }>(
        `select v.sku, sum(p.sellable - p.committed - p.reserved)::int as available
         from variants v join positions p on p.org_id = v.org_id and p.variant_id = v.id where v.org_id = $1 group by v.sku`,
        [orgId],
      );
      const found: string[] = [];
      for (const { name } of shops) {
        const truth = await ask<Record<string, number>>({ do: 'truth', shop: name });
        for (const { sku, available } of rows)
          if (truth[sku] !== available) found.push(`${name} ${sku}: shows ${truth[sku]}, ours ${available}`);
      }
      return found;
    },
    settings: async () => ({
      ...(await product.settings()),
      profile: options.profile,
      latencyMs: options.latencyMs,
      skus: options.skus,
      shops: options.shops,
    }),
    close,
  };
  await until('every number is right at first', market.settled, 60_000, 100);
  return market;
}
