/**
 * Shopify's payloads as they come over the wire: GraphQL answers (version 2026-10) and webhook bodies (REST shape, same
 * version). Only what map.ts reads is required; everything else passes through unseen. Ids stay strings: numbers above
 * 2^53 reach these schemas as digits (kit/lossless.ts).
 */
import { z } from 'zod';

/** A REST id, bare number or digits, as digits. */
const numericId = z.union([z.number().int().nonnegative().transform(String), z.string().regex(/^\d+$/)]);
/** ISO 8601 with any offset, as Unix ms. */
const instant = z.string().transform((text, context) => {
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return at;
  context.addIssue({ code: 'custom', message: 'not a time' });
  return z.NEVER;
});
/** Within what our columns hold; anything beyond is no number of goods. */
const units = z.int32();

// ── GraphQL ──────────────────────────────────────────────────────────────────────────────────────────────────────

const graphqlError = z.looseObject({
  message: z.string(),
  path: z.array(z.union([z.string(), z.number()])).nullish(),
  extensions: z.looseObject({ code: z.string().optional() }).optional(),
});
export type GraphqlError = z.infer<typeof graphqlError>;

const costSchema = z.looseObject({
  requestedQueryCost: z.number().nullish(),
  actualQueryCost: z.number().nullish(),
  throttleStatus: z.looseObject({
    maximumAvailable: z.number(),
    currentlyAvailable: z.number(),
    restoreRate: z.number(),
  }),
});

export type Cost = z.infer<typeof costSchema>;

export const envelopeSchema = z.looseObject({
  data: z.unknown().optional(),
  // Refusals before GraphQL answer with a text instead of a list (`observed`, fact sheet §9).
  errors: z.union([z.array(graphqlError), z.string().transform((message): GraphqlError[] => [{ message }])]).optional(),
  extensions: z.looseObject({ cost: costSchema.nullish() }).nullish(),
});

const pageInfo = z.object({ hasNextPage: z.boolean(), endCursor: z.string().nullish() });
export const connectionOf = <T extends z.ZodType>(node: T) => z.object({ pageInfo, nodes: z.array(node) });
const ref = z.object({ id: z.string() });

const levelQuantities = z.array(z.object({ name: z.string(), quantity: units }));

export const stockLevelsSchema = z.object({
  nodes: z.array(
    z
      .object({
        // Absent when the id belongs to something that is no inventory item.
        id: z.string().optional(),
        tracked: z.boolean().optional(),
        inventoryLevel: z.object({ isActive: z.boolean(), quantities: levelQuantities }).nullish(),
      })
      .nullable(),
  ),
});

const setQuantitiesError = z.object({
  code: z.string().nullish(),
  field: z.array(z.string()).nullish(),
  message: z.string(),
});
export type SetQuantitiesError = z.infer<typeof setQuantitiesError>;

export const setQuantitiesSchema = z.object({
  inventorySetQuantities: z.object({
    inventoryAdjustmentGroup: z.object({ id: z.string(), createdAt: instant }).nullish(),
    userErrors: z.array(setQuantitiesError),
  }),
});

const lineNode = z.object({
  id: z.string(),
  title: z.string(),
  sku: z.string().nullish(),
  quantity: units,
  currentQuantity: units,
  unfulfilledQuantity: units,
  variant: ref.nullish(),
});
export const lineConnection = connectionOf(lineNode);

const orderNode = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: instant,
  updatedAt: instant,
  cancelledAt: z.string().nullish(),
  confirmed: z.boolean(),
  test: z.boolean(),
  displayFinancialStatus: z.string().nullish(),
  displayFulfillmentStatus: z.string(),
  returnStatus: z.string(),
  retailLocation: ref.nullish(),
  totalPriceSet: z.object({ shopMoney: z.object({ amount: z.string(), currencyCode: z.string() }) }),
  lineItems: lineConnection,
});
export type OrderNode = z.infer<typeof orderNode>;

export const refundLineConnection = connectionOf(
  z.object({ quantity: units, restockType: z.string(), lineItem: ref, location: ref.nullish() }),
);
export const fulfillmentLineConnection = connectionOf(z.object({ quantity: units.nullish(), lineItem: ref }));
const fulfillmentOrderConnection = z.object({
  pageInfo: z.object({ hasNextPage: z.boolean() }),
  nodes: z.array(
    z.object({
      status: z.string(),
      assignedLocation: z.object({ location: ref.nullish() }),
      lineItems: z.object({
        pageInfo: z.object({ hasNextPage: z.boolean() }),
        nodes: z.array(z.object({ totalQuantity: units, lineItem: ref })),
      }),
    }),
  ),
});

const wholeOrderNode = orderNode.extend({
  refunds: z.array(z.object({ id: z.string(), refundLineItems: refundLineConnection })),
  fulfillments: z.array(
    z.object({
      id: z.string(),
      status: z.string(),
      location: ref.nullish(),
      fulfillmentLineItems: fulfillmentLineConnection,
    }),
  ),
  fulfillmentOrders: fulfillmentOrderConnection.optional(),
});
export type WholeOrderNode = z.infer<typeof wholeOrderNode>;

export const changedOrdersSchema = z.object({ orders: connectionOf(orderNode) });
export const orderSchema = z.object({ order: wholeOrderNode.nullable() });
export const orderPartsSchema = z.object({
  order: z
    .object({
      updatedAt: instant,
      refunds: z.array(ref),
      fulfillments: z.array(z.object({ id: z.string(), status: z.string(), location: ref.nullish() })),
    })
    .nullable(),
});
export const orderLinesSchema = z.object({
  order: z.object({ updatedAt: instant, lineItems: lineConnection }).nullable(),
});
export const refundLinesSchema = z.object({ node: z.object({ refundLineItems: refundLineConnection }).nullable() });
export const fulfillmentLinesSchema = z.object({
  node: z.object({ fulfillmentLineItems: fulfillmentLineConnection }).nullable(),
});

const levelNode = z.object({ isActive: z.boolean(), location: ref, quantities: levelQuantities });
export const levelConnection = connectionOf(levelNode);
export type LevelNode = z.infer<typeof levelNode>;

const variantNode = z.object({
  id: z.string(),
  title: z.string(),
  sku: z.string().nullish(),
  barcode: z.string().nullish(),
  requiresComponents: z.boolean(),
  product: z.object({ id: z.string(), title: z.string() }),
  inventoryItem: z.object({ id: z.string(), tracked: z.boolean(), inventoryLevels: levelConnection }),
});
export type VariantNode = z.infer<typeof variantNode>;

export const variantsSchema = z.object({ productVariants: connectionOf(variantNode) });
export const itemLevelsSchema = z.object({ inventoryItem: z.object({ inventoryLevels: levelConnection }).nullable() });
export const locationsSchema = z.object({
  locations: connectionOf(z.object({ id: z.string(), name: z.string(), isActive: z.boolean() })),
});
export const shopSchema = z.object({ shop: z.object({ id: z.string(), myshopifyDomain: z.string() }) });

const userErrors = z.array(z.object({ field: z.array(z.string()).nullish(), message: z.string() }));
export const subscriptionsSchema = z.object({
  webhookSubscriptions: connectionOf(
    z.object({
      id: z.string(),
      topic: z.string(),
      uri: z.string(),
      format: z.string().default('JSON'),
      filter: z.string().nullish(),
      includeFields: z.array(z.string()).default([]),
      apiVersion: z.object({ handle: z.string() }),
    }),
  ),
});
export const countOrdersSchema = z.object({
  ordersCount: z.object({ count: z.int().min(0), precision: z.string() }).nullable(),
});
export const placedOrdersSchema = z.object({
  orders: connectionOf(z.object({ id: z.string(), createdAt: z.string() })),
});
export const subscribeSchema = z.object({
  webhookSubscriptionCreate: z.object({ webhookSubscription: ref.nullish(), userErrors }),
});
export const unsubscribeSchema = z.object({ webhookSubscriptionDelete: z.object({ userErrors }) });

// ── Webhook bodies ───────────────────────────────────────────────────────────────────────────────────────────────

const restLine = z.looseObject({
  id: numericId,
  variant_id: numericId.nullish(),
  sku: z.string().nullish(),
  title: z.string(),
  quantity: units,
  current_quantity: units,
  fulfillable_quantity: units.nullish(),
});

const restRefundLine = z.looseObject({
  line_item_id: numericId,
  quantity: units,
  restock_type: z.string(),
  location_id: numericId.nullish(),
});

const restFulfillment = z.looseObject({
  status: z.string().nullish(),
  location_id: numericId.nullish(),
  line_items: z.array(z.looseObject({ id: numericId, quantity: units })),
});

/** The one shape of orders/create, updated, paid, edited-by-update, cancelled, fulfilled (fact sheet §4.6), complete. */
export const restOrderSchema = z.looseObject({
  id: numericId,
  name: z.string(),
  created_at: instant,
  updated_at: instant,
  cancelled_at: z.string().nullish(),
  confirmed: z.boolean().nullish(),
  test: z.boolean().nullish(),
  financial_status: z.string().nullish(),
  fulfillment_status: z.string().nullish(),
  location_id: numericId.nullish(),
  currency: z.string().nullish(),
  total_price: z.string().nullish(),
  total_price_set: z
    .looseObject({ shop_money: z.looseObject({ amount: z.string(), currency_code: z.string() }) })
    .nullish(),
  line_items: z.array(restLine),
  fulfillments: z.array(restFulfillment),
  refunds: z.array(z.looseObject({ refund_line_items: z.array(restRefundLine) })),
  returns: z.array(z.unknown()).nullish(),
});
export type RestOrder = z.infer<typeof restOrderSchema>;

/** What even a partial order body must have. */
export const restOrderHeadSchema = z.looseObject({ id: numericId, updated_at: instant.nullish() });

export const orderEditedSchema = z.looseObject({
  order_edit: z.looseObject({ order_id: numericId, committed_at: instant.nullish() }),
});
export const refundCreatedSchema = z.looseObject({ order_id: numericId, created_at: instant.nullish() });

export const inventoryLevelSchema = z.looseObject({
  inventory_item_id: numericId,
  location_id: numericId,
  // Null where the item is not tracked.
  available: units.nullable(),
  updated_at: instant,
});

export const shopBodySchema = z.looseObject({ myshopify_domain: z.string().nullish(), id: numericId.nullish() });
