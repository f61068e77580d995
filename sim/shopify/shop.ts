/**
 * The shop: its rows, its ids, and the one way its numbers change.
 *
 * Stock changes only through `changeLevel`, which stamps the level's time and tells the outside (`inventory_levels/update`)
 * when `available` changed, whoever caused it: a buyer, staff, or an app's own write (the echo, sheet §10).
 * Orders change only through `saveOrder`, which stamps `updatedAt`. Times are kept in ms and shown in whole seconds, so
 * two changes within a second share a version, as Shopify's do.
 */

import type { SimCore } from '#sim/kit/core.ts';
import { ControlRefusal } from '#sim/kit/model.ts';
import type { Table } from '#sim/kit/tables.ts';
import {
  type LevelRow,
  type LocationRow,
  levelKey,
  type OrderRow,
  STORED_NAMES,
  type StoredName,
  type SubscriptionRow,
  type VariantRow,
} from './rows.ts';

export interface ShopSeed {
  locations: { name: string; isDefault?: boolean }[];
  catalog: {
    sku: string;
    title: string;
    /** Available units by location name; a location that is not named is not activated for the item. */
    quantities: Record<string, number>;
    barcode?: string;
    priceCents?: number;
    inventoryPolicy?: 'DENY' | 'CONTINUE';
    requiresComponents?: boolean;
    tracked?: boolean;
  }[];
}

/** What the shop tells its subscribers; payloads are made in `webhooks.ts`. */
export interface ShopEvents {
  levelChanged(level: LevelRow, eventId: string): void;
}

export interface Shop {
  readonly core: SimCore;
  readonly domain: string;
  /** The shop's own number. */
  readonly shopId: string;
  readonly locations: Table<LocationRow>;
  readonly variants: Table<VariantRow>;
  readonly levels: Table<LevelRow>;
  readonly orders: Table<OrderRow>;
  readonly subscriptions: Table<SubscriptionRow>;
  now(): number;
  /** A new number, never used before in this shop and unlike any other shop's. */
  newId(kind: IdKind): string;
  /** Makes or changes the variant of this SKU; null deletes it with its levels (then undefined = there was none). */
  editProduct(
    sku: string,
    changes: { title?: string | undefined; barcode?: string | undefined } | null,
  ): VariantRow | undefined;
  variantBySku(sku: string): VariantRow | undefined;
  variantOfItem(itemId: string): VariantRow | undefined;
  level(itemId: string, locationId: string): LevelRow | undefined;
  levelsOfItem(itemId: string): LevelRow[];
  defaultLocation(): LocationRow;
  /** By GID, number or name. @throws ControlRefusal 404 */
  findLocation(given: string): LocationRow;
  activate(itemId: string, locationId: string, isActive: boolean): LevelRow;
  /** Adds to named quantities. @returns the level after it; unchanged and silent when nothing differs. */
  changeLevel(
    itemId: string,
    locationId: string,
    deltas: Partial<Record<StoredName, number>>,
    eventId: string,
  ): LevelRow;
  saveOrder(order: OrderRow): OrderRow;
  /** The order that a fulfillment order, fulfillment, refund or return belongs to, by the part's number. */
  orderOfPart(id: string): OrderRow | undefined;
  seed(): void;
  unseed(): void;
}

/** Orders and their parts get numbers above 2^53, as in Shopify's samples: whoever parses them as doubles corrupts them. */
const ID_BASES = {
  catalog: 40_000_000_000_000n,
  level: 90_000_000_000n,
  order: 820_982_911_946_154_508n,
  other: 50_000_000_000n,
};
export type IdKind = keyof typeof ID_BASES;
const IDS_PER_SHOP = 10_000_000n;

export function createShop(core: SimCore, domain: string, seed: ShopSeed, events: () => ShopEvents): Shop {
  const locations = core.tables.table<LocationRow>('locations');
  const variants = core.tables.table<VariantRow>('variants');
  const levels = core.tables.table<LevelRow>('levels');
  const orders = core.tables.table<OrderRow>('orders');
  const subscriptions = core.tables.table<SubscriptionRow>('subscriptions');
  const shopNumber = BigInt([...domain].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % 9_973, 7));
  const index = createIndex(variants);
  const parts = createPartIndex(orders);

  const now = () => core.clock.now();
  const newId = (kind: IdKind) =>
    String(ID_BASES[kind] + shopNumber * IDS_PER_SHOP + BigInt(core.tables.next(`id.${kind}`)));

  function activate(itemId: string, locationId: string, isActive: boolean): LevelRow {
    const existing = levels.get(levelKey(itemId, locationId));
    const level: LevelRow = existing
      ? { ...existing, isActive: existing.isActive || isActive }
      : {
          id: newId('level'),
          itemId,
          locationId,
          isActive,
          quantities: noQuantities(),
          createdAt: now(),
          updatedAt: now(),
        };
    levels.put(levelKey(itemId, locationId), level);
    return level;
  }

  function changeLevel(
    itemId: string,
    locationId: string,
    deltas: Partial<Record<StoredName, number>>,
    eventId: string,
  ): LevelRow {
    const before = levels.get(levelKey(itemId, locationId)) ?? activate(itemId, locationId, false);
    const quantities = { ...before.quantities };
    for (const name of STORED_NAMES) quantities[name] += deltas[name] ?? 0;
    if (STORED_NAMES.every((name) => quantities[name] === before.quantities[name])) return before;
    const level = { ...before, quantities, updatedAt: now() };
    levels.put(levelKey(itemId, locationId), level);
    if (quantities.available !== before.quantities.available) events().levelChanged(level, eventId);
    return level;
  }

  function plantSeed(): void {
    for (const { name, isDefault } of seed.locations) {
      const id = newId('other');
      const row = { id, name, isDefault: isDefault === true, isActive: true, createdAt: now(), updatedAt: now() };
      locations.put(id, row);
    }
    for (const entry of seed.catalog) plantVariant(entry);
    plantLevels();
  }

  function plantVariant(entry: Omit<ShopSeed['catalog'][number], 'quantities'>): VariantRow {
    const [productId, id, itemId] = [newId('catalog'), newId('catalog'), newId('catalog')];
    const variant: VariantRow = {
      id,
      productId,
      itemId,
      sku: entry.sku,
      title: entry.title,
      barcode: entry.barcode ?? null,
      priceCents: entry.priceCents ?? 1_000,
      inventoryPolicy: entry.inventoryPolicy ?? 'DENY',
      requiresComponents: entry.requiresComponents ?? false,
      tracked: entry.tracked ?? true,
      createdAt: now(),
      updatedAt: now(),
    };
    variants.put(id, variant);
    return variant;
  }

  function editProduct(sku: string, changes: { title?: string | undefined; barcode?: string | undefined } | null) {
    const known = index.bySku(sku);
    index.forget();
    if (changes === null) {
      if (known === undefined) return undefined;
      for (const level of [...levels.all()])
        if (level.itemId === known.itemId) levels.delete(levelKey(level.itemId, level.locationId));
      variants.delete(known.id);
      return known;
    }
    const { title = known?.title ?? sku, barcode } = changes;
    if (known === undefined) return plantVariant({ sku, title, ...(barcode === undefined ? {} : { barcode }) });
    const changed = { ...known, title, barcode: barcode ?? known.barcode, updatedAt: now() };
    variants.put(known.id, changed);
    return changed;
  }

  /** Sets every level to the catalogue's number and forgets levels the catalogue does not name. */
  function plantLevels(): void {
    const planted = new Set<string>();
    for (const entry of seed.catalog) {
      const variant = index.bySku(entry.sku);
      if (variant === undefined) continue;
      for (const [locationName, available] of Object.entries(entry.quantities)) {
        const level = activate(variant.itemId, locationNamed(locationName).id, true);
        const quantities = { ...noQuantities(), available };
        levels.put(levelKey(level.itemId, level.locationId), { ...level, quantities, updatedAt: now() });
        planted.add(level.id);
      }
    }
    for (const level of [...levels.all()]) {
      if (!planted.has(level.id)) levels.delete(levelKey(level.itemId, level.locationId));
    }
  }

  function locationNamed(name: string): LocationRow {
    for (const location of locations.all()) if (location.name === name) return location;
    throw new Error(`The catalogue names an unknown location: ${name}`);
  }

  return {
    core,
    domain,
    shopId: String(ID_BASES.other + shopNumber),
    locations,
    variants,
    levels,
    orders,
    subscriptions,
    now,
    newId,
    editProduct,
    variantBySku: index.bySku,
    variantOfItem: index.byItem,
    level: (itemId, locationId) => levels.get(levelKey(itemId, locationId)),
    levelsOfItem(itemId) {
      const found = [...locations.all()].map((location) => levels.get(levelKey(itemId, location.id)));
      return found.filter((level) => level !== undefined);
    },
    defaultLocation() {
      const all = [...locations.all()];
      const found = all.find((location) => location.isDefault) ?? all[0];
      if (found === undefined) throw new Error('A shop has at least one location');
      return found;
    },
    findLocation(given) {
      const id = /^gid:\/\/shopify\/Location\/(\d+)$/.exec(given)?.[1] ?? given;
      const byId = locations.get(id);
      if (byId !== undefined) return byId;
      for (const location of locations.all()) if (location.name === given) return location;
      throw new ControlRefusal(404, `No such location: ${given}`);
    },
    activate,
    changeLevel,
    saveOrder(order) {
      const saved = { ...order, updatedAt: now() };
      orders.put(order.id, saved);
      parts.note(saved);
      return saved;
    },
    orderOfPart: parts.find,
    seed: plantSeed,
    unseed() {
      orders.clear();
      plantLevels();
    },
  };
}

const noQuantities = () => Object.fromEntries(STORED_NAMES.map((name) => [name, 0])) as Record<StoredName, number>;

/** Look-ups by SKU and by item, rebuilt when the number of variants changes. */
function createIndex(variants: Table<VariantRow>) {
  let size = -1;
  let skus = new Map<string, VariantRow>();
  let items = new Map<string, VariantRow>();
  function refresh(): void {
    if (size === variants.size) return;
    size = variants.size;
    skus = new Map();
    items = new Map();
    for (const variant of variants.all()) {
      if (!skus.has(variant.sku)) skus.set(variant.sku, variant);
      items.set(variant.itemId, variant);
    }
  }
  return {
    forget() {
      size = -1;
    },
    bySku(sku: string): VariantRow | undefined {
      refresh();
      return skus.get(sku);
    },
    byItem(itemId: string): VariantRow | undefined {
      refresh();
      return items.get(itemId);
    },
  };
}

/** Which order a part belongs to; read once from the recovered orders, then kept. */
function createPartIndex(orders: Table<OrderRow>) {
  let owners: Map<string, string> | null = null;
  function note(order: OrderRow): void {
    const parts = [order.fulfillmentOrders, order.fulfillments, order.refunds, order.returns].flat();
    for (const part of parts) owners?.set(part.id, order.id);
  }
  return {
    note,
    find(id: string): OrderRow | undefined {
      if (owners === null) {
        owners = new Map();
        for (const order of orders.all()) note(order);
      }
      return orders.get(owners.get(id) ?? '');
    },
  };
}
