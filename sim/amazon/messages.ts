/**
 * The bodies of notifications (vendors/amazon.md §7.3). Pure. ORDER_CHANGE and FBA changes are in Pascal case and use the
 * vocabulary of Orders v0 (Canceled, Unshipped); feed messages are in camel case.
 */
import { isoMillis } from './profile.ts';
import { type FeedRow, latest, type Offer, type OrderLine, type OrderRow, type OrderStatus } from './rows.ts';

const V0_STATUS: Record<OrderStatus, string> = {
  PENDING: 'Pending',
  UNSHIPPED: 'Unshipped',
  PARTIALLY_SHIPPED: 'PartiallyShipped',
  SHIPPED: 'Shipped',
  CANCELLED: 'Canceled',
};

export interface Account {
  sellerId: string;
  marketplaceId: string;
}

/** What every notification says of itself. */
export interface Metadata {
  eventTime: string;
  applicationId: string;
  subscriptionId: string;
  publishTime: string;
  notificationId: string;
}

const envelope = (type: string, metadata: Metadata, payload: unknown) => ({
  NotificationVersion: '1.0',
  NotificationType: type,
  PayloadVersion: '1.0',
  EventTime: metadata.eventTime,
  Payload: payload,
  NotificationMetadata: {
    ApplicationId: metadata.applicationId,
    SubscriptionId: metadata.subscriptionId,
    PublishTime: metadata.publishTime,
    NotificationId: metadata.notificationId,
  },
});

export function orderChangePayload(
  order: OrderRow,
  kind: 'OrderStatusChange' | 'BuyerRequestedChange',
  account: Account,
  metadata: Metadata,
) {
  const { at, status, lines } = latest(order);
  // Only shown when the items' states differ (schema, documented).
  const differ = new Set(lines.map(itemStatus)).size > 1;
  const sum = (count: (line: OrderLine) => number) => lines.reduce((total, line) => total + count(line), 0);
  return envelope('ORDER_CHANGE', metadata, {
    OrderChangeNotification: {
      NotificationLevel: 'OrderLevel',
      SellerId: account.sellerId,
      AmazonOrderId: order.id,
      OrderChangeType: kind,
      OrderChangeTrigger: {
        TimeOfOrderChange: isoMillis(at),
        ChangeReason: kind === 'OrderStatusChange' ? 'Order Status Change' : 'Buyer Requested Change',
      },
      Summary: {
        MarketplaceId: account.marketplaceId,
        OrderStatus: V0_STATUS[status],
        PurchaseDate: isoMillis(order.createdAt),
        DestinationPostalCode: status === 'PENDING' ? null : '98101',
        FulfillmentType: order.fulfilledBy === 'AMAZON' ? 'AFN' : 'MFN',
        OrderType: 'StandardOrder',
        NumberOfItemsShipped: sum((line) => line.shipped),
        // A pending order's header counters are 0 (§6.3.1, documented by the vendor's sample).
        NumberOfItemsUnshipped: status === 'PENDING' ? 0 : sum((line) => line.ordered - line.shipped),
        OrderItems: lines.map((line) => ({
          OrderItemId: line.id,
          SellerSKU: line.sku,
          SupplySourceId: null,
          ...(differ ? { OrderItemStatus: itemStatus(line) } : {}),
          Quantity: line.ordered,
          QuantityShipped: line.shipped,
          IsBuyerRequestedCancel: false,
        })),
      },
    },
  });
}

const itemStatus = (line: OrderLine): 'Shipped' | 'Unshipped' =>
  line.shipped > 0 && line.shipped === line.ordered ? 'Shipped' : 'Unshipped';

export function fbaChangePayload(offer: Offer, account: Account, metadata: Metadata) {
  const stock = offer.fba;
  const unfulfillable = stock === null ? 0 : stock.customerDamaged + stock.defective + stock.expired;
  return envelope('FBA_INVENTORY_AVAILABILITY_CHANGES', metadata, {
    SellerId: account.sellerId,
    FNSKU: stock?.fnSku ?? '',
    ASIN: offer.asin,
    SKU: offer.sku,
    FulfillmentInventoryByMarketplace: [
      {
        MarketplaceId: account.marketplaceId,
        ItemName: offer.title,
        FulfillmentInventory: {
          InboundQuantityBreakdown: { Working: 0, Shipped: 0, Receiving: 0 },
          Fulfillable: stock?.fulfillable ?? 0,
          Unfulfillable: unfulfillable,
          Researching: 0,
          ReservedQuantityBreakdown: {
            WarehouseProcessing: 0,
            WarehouseTransfer: 0,
            PendingCustomerOrder: stock?.pendingOrders ?? 0,
          },
          FutureSupplyBuyable: 0,
          PendingCustomerOrderInTransit: 0,
        },
      },
    ],
  });
}

export const feedFinishedMessage = (feed: FeedRow, account: Account, metadata: Metadata) => ({
  notificationVersion: '2020-09-04',
  notificationType: 'FEED_PROCESSING_FINISHED',
  payloadVersion: '2020-09-04',
  eventTime: metadata.eventTime,
  payload: {
    feedProcessingFinishedNotification: {
      sellerId: account.sellerId,
      accountId: `amzn1.merchant.o.${account.sellerId}`,
      feedId: feed.feedId,
      feedType: feed.feedType,
      processingStatus: feed.status,
      ...(feed.resultFeedDocumentId === null ? {} : { resultFeedDocumentId: feed.resultFeedDocumentId }),
    },
  },
  notificationMetadata: {
    applicationId: metadata.applicationId,
    subscriptionId: metadata.subscriptionId,
    publishTime: metadata.publishTime,
    notificationId: metadata.notificationId,
  },
});
