/**
 * Rows as GraphQL objects: plain values and functions that graphql-js calls for the fields a document asks for.
 * Names and meanings: Shopify's schema 2026-10; the excerpt is `schema.graphql`. Reads only.
 */
import type { GroupRow } from './inventory.ts';
import { createOrderViews, type OrderViews } from './order-views.ts';
import { connection, listed, type PageArgs } from './paging.ts';
import { money, SHOP_ZONE } from './payloads.ts';
import {
  gid,
  HELD_NAMES,
  type LevelRow,
  type LocationRow,
  levelGid,
  type QuantityName,
  quantityOf,
  STORED_NAMES,
  type SubscriptionRow,
  type VariantRow,
} from './rows.ts';
import { parseSearch, type SearchFields } from './search.ts';
import type { Shop } from './shop.ts';
import { ADDRESS, count, gqlTime, type View } from './view-values.ts';

const byId = (row: { id: string }) => ({ value: 0, id: row.id });

export const VARIANT_FIELDS: SearchFields<VariantRow> = {
  sku: (variant) => ({ text: variant.sku }),
  default: (variant) => ({ text: [variant.sku, variant.title] }),
  title: (variant) => ({ text: variant.title }),
  barcode: (variant) => ({ text: variant.barcode ?? '' }),
  product_id: (variant) => ({ id: variant.productId }),
  updated_at: (variant) => ({ time: variant.updatedAt }),
  created_at: (variant) => ({ time: variant.createdAt }),
  id: (variant) => ({ id: variant.id }),
};

export interface Views extends OrderViews {
  shop(): View;
  location(row: LocationRow): View;
  locations(args: PageArgs & { includeInactive?: boolean; query?: string | null }): unknown;
  variant(row: VariantRow): View;
  variants(args: PageArgs & { query?: string | null; sortKey?: string }): unknown;
  product(row: VariantRow): View;
  products(args: PageArgs & { query?: string | null }): unknown;
  item(row: VariantRow): View;
  items(args: PageArgs & { query?: string | null }): unknown;
  level(row: LevelRow): View;
  subscription(row: SubscriptionRow): View;
  group(row: GroupRow): View;
  quantityNames(): View[];
}

export function createViews(shop: Shop): Views {
  const variantRows = (query: string | null | undefined) => {
    const fits = parseSearch(query, VARIANT_FIELDS);
    const rows = [...shop.variants.all()];
    return fits === null ? rows : rows.filter(fits);
  };

  function shopView(): View {
    return {
      __typename: 'Shop',
      id: gid('Shop', shop.shopId),
      name: shop.domain.split('.')[0],
      email: `owner@${shop.domain}`,
      myshopifyDomain: shop.domain,
      primaryDomain: { id: gid('Domain', '1'), host: shop.domain, url: `https://${shop.domain}`, sslEnabled: true },
      url: `https://${shop.domain}`,
      plan: { displayName: 'Basic', publicDisplayName: 'Basic', partnerDevelopment: false, shopifyPlus: false },
      currencyCode: 'USD',
      ianaTimezone: SHOP_ZONE.name,
      timezoneAbbreviation: SHOP_ZONE.abbreviation,
      timezoneOffset: SHOP_ZONE.offset,
      timezoneOffsetMinutes: SHOP_ZONE.minutes,
      createdAt: gqlTime(shop.defaultLocation().createdAt),
      updatedAt: gqlTime(shop.defaultLocation().updatedAt),
    };
  }

  function location(row: LocationRow): View {
    const levels = (includeInactive: boolean) =>
      [...shop.levels.all()].filter((level) => level.locationId === row.id && (includeInactive || level.isActive));
    return {
      __typename: 'Location',
      id: gid('Location', row.id),
      legacyResourceId: row.id,
      name: row.name,
      isActive: row.isActive,
      isPrimary: row.isDefault,
      fulfillsOnlineOrders: row.isActive,
      shipsInventory: row.isActive,
      isFulfillmentService: false,
      hasActiveInventory: () => levels(false).length > 0,
      hasUnfulfilledOrders: false,
      activatable: !row.isActive,
      deactivatable: row.isActive,
      deletable: false,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      deactivatedAt: null,
      address: { ...ADDRESS, formatted: [ADDRESS.address1, ADDRESS.city] },
      inventoryLevel: ({ inventoryItemId, includeInactive }: { inventoryItemId: string; includeInactive?: boolean }) =>
        levelAt(inventoryItemId.split('/').at(-1) ?? '', row.id, includeInactive === true),
      inventoryLevels: (args: PageArgs & { includeInactive?: boolean }) =>
        connection(levels(args.includeInactive === true), args, byId, level),
    };
  }

  function levelAt(itemId: string, locationId: string, includeInactive: boolean): View | null {
    const found = shop.level(itemId, locationId);
    return found === undefined || (!found.isActive && !includeInactive) ? null : level(found);
  }

  function level(row: LevelRow): View {
    return {
      __typename: 'InventoryLevel',
      id: levelGid(row),
      isActive: row.isActive,
      canDeactivate: row.isActive,
      deactivationAlert: null,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      item: () => itemOf(row.itemId),
      location: () => locationOf(row.locationId),
      quantities: ({ names }: { names: string[] }) =>
        names.filter(isQuantityName).map((name) => ({
          id: `${gid('InventoryQuantity', row.id)}?name=${name}`,
          name,
          quantity: quantityOf(row, name),
          updatedAt: gqlTime(row.updatedAt),
        })),
    };
  }

  function itemOf(itemId: string): View | null {
    const variant = shop.variantOfItem(itemId);
    return variant === undefined ? null : item(variant);
  }

  function locationOf(locationId: string | null): View | null {
    const row = locationId === null ? undefined : shop.locations.get(locationId);
    return row === undefined ? null : location(row);
  }

  function item(row: VariantRow): View {
    return {
      __typename: 'InventoryItem',
      id: gid('InventoryItem', row.itemId),
      legacyResourceId: row.itemId,
      sku: row.sku,
      tracked: row.tracked,
      requiresShipping: true,
      duplicateSkuCount: () => [...shop.variants.all()].filter((other) => other.sku === row.sku).length - 1,
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      harmonizedSystemCode: null,
      countryCodeOfOrigin: null,
      inventoryHistoryUrl: null,
      unitCost: null,
      variant: () => variant(row),
      variants: (args: PageArgs) => connection([row], args, byId, variant),
      locationsCount: () => count(shop.levelsOfItem(row.itemId).filter((one) => one.isActive).length),
      inventoryLevel: ({ locationId, includeInactive }: { locationId: string; includeInactive?: boolean }) =>
        levelAt(row.itemId, locationId.split('/').at(-1) ?? '', includeInactive === true),
      inventoryLevels: (args: PageArgs & { includeInactive?: boolean }) =>
        connection(
          shop.levelsOfItem(row.itemId).filter((one) => one.isActive || args.includeInactive === true),
          args,
          byId,
          level,
        ),
    };
  }

  const totalAvailable = (itemId: string) =>
    shop.levelsOfItem(itemId).reduce((sum, one) => sum + (one.isActive ? one.quantities.available : 0), 0);

  function variant(row: VariantRow): View {
    return {
      __typename: 'ProductVariant',
      id: gid('ProductVariant', row.id),
      legacyResourceId: row.id,
      title: 'Default Title',
      displayName: `${row.title} - Default Title`,
      sku: row.sku,
      barcode: row.barcode,
      price: money(row.priceCents),
      compareAtPrice: null,
      position: 1,
      inventoryPolicy: row.inventoryPolicy,
      inventoryQuantity: () => totalAvailable(row.itemId),
      sellableOnlineQuantity: () => totalAvailable(row.itemId),
      requiresComponents: row.requiresComponents,
      availableForSale: () => row.inventoryPolicy === 'CONTINUE' || totalAvailable(row.itemId) > 0,
      taxable: true,
      selectedOptions: [{ name: 'Title', value: 'Default Title' }],
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      product: () => product(row),
      inventoryItem: () => item(row),
      productVariantComponents: (args: PageArgs) => listed([], args, () => null),
    };
  }

  /** Every product here has exactly one variant, so the variant's row stands for both. */
  function product(row: VariantRow): View {
    return {
      __typename: 'Product',
      id: gid('Product', row.productId),
      legacyResourceId: row.productId,
      title: row.title,
      handle: row.sku.toLowerCase(),
      status: 'ACTIVE',
      vendor: shop.domain.split('.')[0],
      productType: '',
      tags: [],
      hasOnlyDefaultVariant: true,
      tracksInventory: row.tracked,
      totalInventory: () => totalAvailable(row.itemId),
      createdAt: gqlTime(row.createdAt),
      updatedAt: gqlTime(row.updatedAt),
      publishedAt: gqlTime(row.createdAt),
      variants: (args: PageArgs) => connection([row], args, byId, variant),
      variantsCount: count(1),
    };
  }

  return {
    shop: shopView,
    location,
    locations(args) {
      const rows = [...shop.locations.all()].filter((row) => row.isActive || args.includeInactive === true);
      return connection(rows, args, (row) => ({ value: row.name, id: row.id }), location);
    },
    variant,
    variants(args) {
      const key = args.sortKey === 'SKU' ? (row: VariantRow) => ({ value: row.sku, id: row.id }) : byId;
      return connection(variantRows(args.query), args, key, variant);
    },
    product,
    products: (args) => connection(variantRows(args.query), args, (row) => ({ value: 0, id: row.productId }), product),
    item,
    items: (args) => connection(variantRows(args.query), args, (row) => ({ value: 0, id: row.itemId }), item),
    level,
    ...createOrderViews(shop, { variant, product, locationOf }),
    subscription: subscriptionView,
    group: (row) => groupView(row, itemOf, locationOf),
    quantityNames: () =>
      [...STORED_NAMES, 'on_hand' as const].map((name) => ({
        name,
        displayName: name.replaceAll('_', ' '),
        isInUse: true,
        belongsTo: (HELD_NAMES as readonly string[]).includes(name) ? ['on_hand'] : [],
        comprises: name === 'on_hand' ? [...HELD_NAMES] : [],
      })),
  };
}

function isQuantityName(name: string): name is QuantityName {
  return name === 'on_hand' || (STORED_NAMES as readonly string[]).includes(name);
}

function subscriptionView(row: SubscriptionRow): View {
  return {
    __typename: 'WebhookSubscription',
    id: gid('WebhookSubscription', row.id),
    legacyResourceId: row.id,
    topic: row.topic,
    uri: row.uri,
    callbackUrl: row.uri,
    endpoint: { __typename: 'WebhookHttpEndpoint', callbackUrl: row.uri },
    format: row.format,
    filter: row.filter,
    includeFields: row.includeFields,
    metafieldNamespaces: row.metafieldNamespaces,
    name: row.name,
    createdAt: gqlTime(row.createdAt),
    updatedAt: gqlTime(row.updatedAt),
    apiVersion: { handle: row.apiVersion, displayName: row.apiVersion, supported: true },
  };
}

type ChangeFilter = {
  quantityNames?: string[] | null;
  inventoryItemIds?: string[] | null;
  locationIds?: string[] | null;
};

function groupView(
  row: GroupRow,
  item: (itemId: string) => View | null,
  location: (locationId: string) => View | null,
): View {
  return {
    __typename: 'InventoryAdjustmentGroup',
    id: gid('InventoryAdjustmentGroup', row.id),
    createdAt: gqlTime(row.createdAt),
    reason: row.reason,
    referenceDocumentUri: row.referenceDocumentUri,
    changes: ({ quantityNames, inventoryItemIds, locationIds }: ChangeFilter) =>
      row.changes
        .filter((change) => quantityNames?.includes(change.name) ?? true)
        .filter((change) => inventoryItemIds?.includes(gid('InventoryItem', change.itemId)) ?? true)
        .filter((change) => locationIds?.includes(gid('Location', change.locationId)) ?? true)
        .map((change) => ({
          name: change.name,
          delta: change.delta,
          quantityAfterChange: change.quantityAfterChange,
          ledgerDocumentUri: change.ledgerDocumentUri,
          item: () => item(change.itemId),
          location: () => location(change.locationId),
        })),
  };
}
