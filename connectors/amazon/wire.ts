/**
 * The vendor's payloads, as far as we read them. Objects stay open: the models allow unknown fields nearly everywhere
 * (§15), and open enums stay strings so that a new status is `unrecognized`, not a crash.
 */
import { z } from 'zod';

/** Within what our columns hold; anything beyond is no number of goods. */
const count = z.int32().min(0);

/** A time as the vendor writes it (ISO 8601 with offset), as Unix milliseconds. */
export const vendorTime = z.string().transform((text, context) => {
  const at = Date.parse(text);
  if (Number.isNaN(at)) context.addIssue({ code: 'custom', message: 'not a time' });
  return at;
});

const vendorError = z.object({
  code: z.string(),
  message: z.string().default(''),
  details: z.string().nullish(),
});
export type VendorError = z.infer<typeof vendorError>;

/** The application's destinations: documented [§7.2]. */
const destination = z.object({
  destinationId: z.string().min(1),
  resource: z.looseObject({ sqs: z.looseObject({ arn: z.string() }).nullish() }).nullish(),
});
export const destinations = z.object({ payload: z.array(destination).default([]) });
export const newDestination = z.object({ payload: destination });
export const subscription = z.object({
  payload: z
    .object({
      subscriptionId: z.string().min(1),
      payloadVersion: z.string(),
      destinationId: z.string(),
      processingDirective: z.unknown().optional(),
    })
    .nullish(),
});

/** Every error body: documented [§10]. */
export const errorList = z.object({ errors: z.array(vendorError) });

/** LWA success: documented [§2.2]. */
export const tokenAnswer = z.object({
  access_token: z.string().min(1),
  token_type: z.string().optional(),
  expires_in: z.number().positive(),
});
/** LWA refusal, the OAuth shape: documented [§2.2]. */
export const tokenRefusal = z.object({ error: z.string(), error_description: z.string().optional() });

const listingIssue = z.object({
  code: z.string(),
  message: z.string(),
  severity: z.string(),
  attributeNames: z.array(z.string()).optional(),
});
export type ListingIssue = z.infer<typeof listingIssue>;

export const listingsItem = z.object({
  sku: z.string(),
  summaries: z
    .array(
      z.object({
        marketplaceId: z.string(),
        asin: z.string().optional(),
        productType: z.string().optional(),
        itemName: z.string().optional(),
        createdDate: vendorTime.optional(),
      }),
    )
    .default([]),
  fulfillmentAvailability: z
    .array(z.object({ fulfillmentChannelCode: z.string(), quantity: count.optional() }))
    .default([]),
  issues: z.array(listingIssue).default([]),
});
export type ListingsItem = z.infer<typeof listingsItem>;

export const listingsPage = z.object({
  numberOfResults: count,
  pagination: z.object({ nextToken: z.string().optional() }).optional(),
  items: z.array(listingsItem),
});
export type ListingsPage = z.infer<typeof listingsPage>;

export const submission = z.object({
  sku: z.string(),
  status: z.string(),
  submissionId: z.string(),
  issues: z.array(listingIssue).default([]),
});
export type Submission = z.infer<typeof submission>;

/** A new document and where to put its bytes within five minutes: documented [§4.1]. */
export const newDocument = z.object({ feedDocumentId: z.string().min(1), url: z.url() });

export const newFeed = z.object({ feedId: z.string().min(1) });

/** documented [§4.1]. `resultFeedDocumentId` once it is DONE (or, some say, FATAL). */
export const feed = z.object({
  feedId: z.string(),
  processingStatus: z.string(),
  createdTime: vendorTime,
  processingEndTime: vendorTime.optional(),
  resultFeedDocumentId: z.string().optional(),
});
export type Feed = z.infer<typeof feed>;

export const feedsPage = z.object({ feeds: z.array(feed), nextToken: z.string().optional() });
export type FeedsPage = z.infer<typeof feedsPage>;

export const feedDocument = z.object({
  feedDocumentId: z.string(),
  url: z.url(),
  compressionAlgorithm: z.string().optional(),
});

/** The processing report of a JSON_LISTINGS_FEED: documented [§4.3]. An issue without `messageId` is about the whole feed. */
export const feedReport = z.object({
  issues: z.array(
    z.object({
      messageId: z.int().min(1).optional(),
      sku: z.string().optional(),
      code: z.string().optional(),
      severity: z.string(),
      message: z.string(),
    }),
  ),
  summary: z.object({ messagesProcessed: count, messagesAccepted: count, messagesInvalid: count }),
});
export type FeedReport = z.infer<typeof feedReport>;

/** `pagination` sits beside `payload`, and errors come inside a 200: documented, observed [§5.1]. */
export const inventorySummaries = z.object({
  payload: z
    .object({
      inventorySummaries: z.array(
        z.object({
          sellerSku: z.string().optional(),
          inventoryDetails: z.object({ fulfillableQuantity: count.optional() }).optional(),
        }),
      ),
    })
    .optional(),
  pagination: z.object({ nextToken: z.string().optional() }).optional(),
  errors: z.union([errorList, z.array(vendorError)]).optional(),
});
export type InventorySummaries = z.infer<typeof inventorySummaries>;

const orderItem = z.object({
  orderItemId: z.string(),
  quantityOrdered: count,
  product: z.object({ sellerSku: z.string().optional(), title: z.string().optional() }),
  cancellation: z
    .object({ cancellationExecution: z.object({ cancelledBy: z.string().optional() }).optional() })
    .optional(),
  fulfillment: z.object({ quantityFulfilled: count.optional(), quantityUnfulfilled: count.optional() }).optional(),
});
export type OrderItem = z.infer<typeof orderItem>;

export const order = z.object({
  orderId: z.string(),
  createdTime: vendorTime,
  lastUpdatedTime: vendorTime,
  salesChannel: z.object({ channelName: z.string() }),
  /** Absent unless FULFILLMENT is asked for: documented, inferred [§6.1]. */
  fulfillment: z.object({ fulfillmentStatus: z.string(), fulfilledBy: z.string().optional() }).optional(),
  proceeds: z.object({ grandTotal: z.object({ amount: z.string(), currencyCode: z.string() }).optional() }).optional(),
  orderItems: z.array(orderItem),
});
export type Order = z.infer<typeof order>;

export const ordersPage = z.object({
  orders: z.array(order),
  pagination: z.object({ nextToken: z.string().optional() }).optional(),
  lastUpdatedBefore: vendorTime.optional(),
});
export type OrdersPage = z.infer<typeof ordersPage>;

export const orderAnswer = z.object({ order });

/** The envelope with its first letters lowered (Pascal and camel both occur, §7.1). The payload keeps its own case. */
export const envelope = z.object({
  notificationType: z.string(),
  eventTime: z.string().optional(),
  payload: z.record(z.string(), z.unknown()),
  notificationMetadata: z.object({ notificationId: z.string().optional() }).optional(),
});
export type Envelope = z.infer<typeof envelope>;

export const orderChange = z.object({
  NotificationLevel: z.string(),
  SellerId: z.string(),
  AmazonOrderId: z.string().min(1),
  OrderChangeTrigger: z.object({ TimeOfOrderChange: vendorTime.nullish() }),
  Summary: z.object({
    OrderStatus: z.string(),
    PurchaseDate: vendorTime.nullish(),
    FulfillmentType: z.string(),
    NumberOfItemsShipped: count.optional(),
    NumberOfItemsUnshipped: count.optional(),
    OrderItems: z.array(
      z.object({
        OrderItemId: z.string(),
        SellerSKU: z.string(),
        SupplySourceId: z.string().nullish(),
        Quantity: count,
        QuantityShipped: count.optional(),
      }),
    ),
  }),
});
export type OrderChange = z.infer<typeof orderChange>;

export const quantityChange = z.object({
  FulfillmentChannelCode: z.string(),
  Sku: z.string().min(1),
  Quantity: count,
});
