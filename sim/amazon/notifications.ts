/**
 * Notifications v1: destinations and subscriptions, and the messages they lead to the queue (vendors/amazon.md §7).
 *
 * One subscription per type for a seller and application (409 StateConflict), one destination per ARN (409 Conflict),
 * a destination in use cannot go (403). Types that only EventBridge carries are refused for an SQS destination
 * (transport column documented; the refusal's wording assumed). Only SQS destinations deliver here.
 */
import { z } from 'zod';
import type { SimCore } from '#sim/kit/core.ts';
import { type Answer, ApiError, invalidInput, notFound, read } from './answers.ts';
import { type Account, fbaChangePayload, feedFinishedMessage, type Metadata, orderChangePayload } from './messages.ts';
import { isoMillis, paceOf } from './profile.ts';
import {
  type DestinationRow,
  type FeedRow,
  latest,
  type Offer,
  type OrderRow,
  type OrderStatus,
  type Rows,
  type SubscriptionRow,
} from './rows.ts';
import type { QueueService } from './sqs.ts';

const BY_QUEUE = [
  'ORDER_CHANGE',
  'FBA_INVENTORY_AVAILABILITY_CHANGES',
  'FEED_PROCESSING_FINISHED',
  'REPORT_PROCESSING_FINISHED',
  'FULFILLMENT_ORDER_STATUS',
  'FBA_OUTBOUND_SHIPMENT_STATUS',
];
const BY_EVENT_BRIDGE = [
  'LISTINGS_ITEM_MFN_QUANTITY_CHANGE',
  'LISTINGS_ITEM_STATUS_CHANGE',
  'LISTINGS_ITEM_ISSUES_CHANGE',
];
export const APPLICATION_ID = 'amzn1.sellerapps.app.sim';

const destinationBody = z.object({
  name: z.string().min(1).max(256),
  resourceSpecification: z.union([
    z.strictObject({ sqs: z.object({ arn: z.string().max(1000) }) }),
    z.strictObject({ eventBridge: z.object({ accountId: z.string(), region: z.string() }) }),
  ]),
});
const subscriptionBody = z.object({
  payloadVersion: z.string().min(1),
  destinationId: z.string().min(1),
  processingDirective: z
    .object({
      eventFilter: z
        .looseObject({
          eventFilterType: z.string(),
          orderChangeTypes: z
            .array(z.enum(['BuyerRequestedChange', 'DeliveryTipChange', 'OrderStatusChange']))
            .optional(),
        })
        .optional(),
      filterExpression: z.string().min(1).max(256).optional(),
    })
    .optional(),
});

export interface Notifications {
  getDestinations(): Answer;
  createDestination(body: unknown): Answer;
  getDestination(id: string): Answer;
  deleteDestination(id: string): Answer;
  getSubscription(type: string, payloadVersion: string | null): Answer;
  createSubscription(type: string, body: unknown): Answer;
  getSubscriptionById(type: string, id: string): Answer;
  deleteSubscriptionById(type: string, id: string): Answer;
  orderChanged(order: OrderRow, before: OrderStatus | null): void;
  fbaChanged(offer: Offer, at: number): void;
  feedFinished(feed: FeedRow, at: number): void;
}

export function createNotifications(core: SimCore, rows: Rows, queues: QueueService, account: Account): Notifications {
  const { destinations, subscriptions } = rows;

  function destinationOf(id: string): DestinationRow {
    const found = destinations.get(id);
    if (found === undefined) throw notFound(`No destination ${id}`);
    return found;
  }

  function checkType(type: string): void {
    if (!BY_QUEUE.includes(type) && !BY_EVENT_BRIDGE.includes(type)) throw invalidInput(`notificationType ${type}`);
  }

  const byType = (type: string) => [...subscriptions.all()].find((one) => one.notificationType === type);

  function subscriptionOf(type: string, id: string): SubscriptionRow {
    const found = subscriptions.get(id);
    if (found === undefined || found.notificationType !== type) throw notFound(`No subscription ${id}`);
    return found;
  }

  /** Sends to whoever subscribed to the type. @param build the message, given its metadata */
  function publish(
    type: string,
    at: number,
    build: (metadata: Metadata) => unknown,
    wanted = (_: SubscriptionRow) => true,
  ): void {
    const subscription = byType(type);
    if (subscription === undefined || !wanted(subscription)) return;
    const destination = destinations.get(subscription.destinationId);
    if (destination === undefined || !('sqs' in destination.resource)) return;
    const delayMs = paceOf(core.profile.current()).notificationDelayMs;
    const message = build({
      eventTime: isoMillis(at),
      applicationId: APPLICATION_ID,
      subscriptionId: subscription.subscriptionId,
      publishTime: isoMillis(core.clock.now() + delayMs),
      notificationId: core.ids.uuid(),
    });
    queues.byArn(destination.resource.sqs.arn)?.send(type, JSON.stringify(message), delayMs);
  }

  return {
    getDestinations: () => read({ payload: [...destinations.all()] }),
    createDestination(body) {
      const { name, resourceSpecification } = parse(destinationBody, body);
      let resource: DestinationRow['resource'];
      if ('sqs' in resourceSpecification) {
        const { arn } = resourceSpecification.sqs;
        for (const { resource: other } of destinations.all())
          if ('sqs' in other && other.sqs.arn === arn)
            throw conflict(
              'Conflict',
              `A destination with arn ${arn} already exists for the application ${APPLICATION_ID}`,
            );
        // The queue must let Amazon's account send (§7.2); here every queue of ours does, others do not exist.
        if (queues.byArn(arn) === null) throw invalidInput(`The queue ${arn} does not exist or does not allow sending`);
        resource = { sqs: { arn } };
      } else {
        const { accountId, region } = resourceSpecification.eventBridge;
        resource = {
          eventBridge: { accountId, region, name: `aws.partner/sellingpartnerapi.amazon.com/${accountId}/sim` },
        };
      }
      const destination: DestinationRow = { destinationId: core.ids.uuid(), name, resource };
      destinations.put(destination.destinationId, destination);
      return { ...read({ payload: destination }), applied: true };
    },
    getDestination: (id) => read({ payload: destinationOf(id) }),
    deleteDestination(id) {
      destinationOf(id);
      if ([...subscriptions.all()].some((one) => one.destinationId === id))
        throw new ApiError(
          403,
          'Unauthorized',
          'Access to requested resource is denied.',
          'Destination has subscriptions',
        );
      destinations.delete(id);
      return { status: 200, body: {}, applied: true };
    },
    getSubscription(type, payloadVersion) {
      checkType(type);
      const found = byType(type);
      if (found === undefined || (payloadVersion !== null && found.payloadVersion !== payloadVersion))
        throw notFound(`No subscription for ${type}`);
      return read({ payload: shown(found) });
    },
    createSubscription(type, body) {
      checkType(type);
      const { payloadVersion, destinationId, processingDirective } = parse(subscriptionBody, body);
      if (processingDirective?.eventFilter !== undefined && processingDirective.filterExpression !== undefined)
        throw invalidInput('filterExpression excludes eventFilter');
      const destination = destinationOf(destinationId);
      if ('sqs' in destination.resource && BY_EVENT_BRIDGE.includes(type))
        throw invalidInput(`${type} is delivered by EventBridge only`);
      if (byType(type) !== undefined)
        throw conflict('StateConflict', `Subscription already exist for notification type ${type}`);
      const subscription: SubscriptionRow = {
        subscriptionId: core.ids.uuid(),
        notificationType: type,
        payloadVersion,
        destinationId,
        processingDirective,
        orderChangeTypes: processingDirective?.eventFilter?.orderChangeTypes ?? null,
      };
      subscriptions.put(subscription.subscriptionId, subscription);
      return { status: 200, body: { payload: shown(subscription) }, applied: true };
    },
    getSubscriptionById: (type, id) => read({ payload: shown(subscriptionOf(type, id)) }),
    deleteSubscriptionById(type, id) {
      subscriptions.delete(subscriptionOf(type, id).subscriptionId);
      return { status: 200, body: {}, applied: true };
    },
    orderChanged(order, before) {
      const { at, status } = latest(order);
      // Lines lowered without a new status: the kind is not documented; taken for the buyer's wish (assumed).
      const kind = before === status ? 'BuyerRequestedChange' : 'OrderStatusChange';
      publish(
        'ORDER_CHANGE',
        at,
        (metadata) => orderChangePayload(order, kind, account, metadata),
        ({ orderChangeTypes }) => orderChangeTypes === null || orderChangeTypes.includes(kind),
      );
    },
    fbaChanged(offer, at) {
      publish('FBA_INVENTORY_AVAILABILITY_CHANGES', at, (metadata) => fbaChangePayload(offer, account, metadata));
    },
    feedFinished(feed, at) {
      publish('FEED_PROCESSING_FINISHED', at, (metadata) => feedFinishedMessage(feed, account, metadata));
    },
  };
}

function shown({ subscriptionId, payloadVersion, destinationId, processingDirective }: SubscriptionRow) {
  return {
    subscriptionId,
    payloadVersion,
    destinationId,
    ...(processingDirective === undefined ? {} : { processingDirective }),
  };
}

function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(body);
  if (!result.success) throw invalidInput(result.error.issues.map((one) => one.path.join('.')).join(', '));
  return result.data;
}

const conflict = (code: string, details: string) =>
  new ApiError(409, code, 'The request could not be completed because of a conflict.', details);
