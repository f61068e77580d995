/**
 * The simulated Amazon: one seller account in one marketplace, with token endpoint, Selling Partner API and SQS queue
 * below one base path. Written from vendors/amazon.md alone.
 *
 *   <base>/auth/o2/token     Login with Amazon            <base>/sqs            the queue (AWS JSON protocol)
 *   <base>/listings/… etc.   Selling Partner API          <base>/_s3/feeds/…    feed documents
 *   <base>/_sim/…            control (sim/kit)
 *
 * Before any look at the account the agenda is caught up, so an accepted write is there once its settle time is over.
 * `location` in control bodies is ignored: Amazon keeps one number per SKU, shown at location DEFAULT.
 */
import { openSimCore, type SimCoreOptions } from '#sim/kit/core.ts';
import { type CallIdentity, ControlRefusal, type VendorCall, type VendorModel } from '#sim/kit/model.ts';
import { createSimulator, type Simulator } from '#sim/kit/simulator.ts';
import { createAgenda, type Deed } from './agenda.ts';
import { ApiError, errorForStatus } from './answers.ts';
import { createFeeds, DOCUMENT_PATH } from './feeds.ts';
import { createGate, type Handler } from './gate.ts';
import { createInventory } from './inventory.ts';
import { createListings } from './listings.ts';
import { createLwa, TOKEN_OPERATION, TOKEN_PATH } from './lwa.ts';
import { createNotifications } from './notifications.ts';
import { type CatalogEntry, createOffers, itemOf } from './offers.ts';
import { findOperation, type Operation } from './operations.ts';
import { createOrderLife, toSimOrder } from './order-life.ts';
import { createOrders } from './orders.ts';
import { paceOf } from './profile.ts';
import { parameter } from './request.ts';
import { openRows } from './rows.ts';
import { createShipments } from './shipments.ts';
import { createQueueService, queueArn, SQS_PATH } from './sqs.ts';

export type { CatalogEntry } from './offers.ts';

export interface AmazonSimulatorOptions extends SimCoreOptions {
  sellerId: string;
  marketplaceId: string;
  clientId: string;
  clientSecret: string;
  refreshToken: string;
  /** Planted when there is no journal yet, and by `/_sim/reset`. */
  catalog: readonly CatalogEntry[];
}

export interface AmazonSimulator extends Simulator {
  /** The queue that exists from the start, for a destination's `sqs.arn`. */
  readonly queueArn: string;
  /** Its URL below the simulator's base URL. */
  queueUrl(baseUrl: string): string;
}

interface AmazonCall extends CallIdentity {
  kind: 'token' | 'queue' | 'document' | 'api';
  route: Operation | null;
  rawParameters: Record<string, string>;
}

export async function createAmazonSimulator(options: AmazonSimulatorOptions): Promise<AmazonSimulator> {
  const core = await openSimCore(options);
  const rows = openRows(core);
  const queueName = `spapi-${options.name}`;
  const agenda = createAgenda(core, perform);
  const queues = createQueueService(core, agenda, queueName);
  const lwa = createLwa(core, rows, options);
  const notifications = createNotifications(core, rows, queues, options);
  const offers = createOffers(rows, notifications.fbaChanged);
  const life = createOrderLife(core, rows, offers, notifications.orderChanged);
  const listings = createListings(core, offers, agenda, options);
  const orders = createOrders(core, rows, options);
  const shipments = createShipments(core, rows, agenda, options);
  const inventory = createInventory(core, offers, options);
  const feeds = createFeeds(core, rows, offers, agenda, options, notifications.feedFinished);

  const seed = () => offers.seed(options.catalog, core.clock.now());
  if (rows.offers.size === 0) core.tables.transact(seed);

  function perform(deed: Deed, at: number): void {
    if (deed.kind === 'patch') offers.applyWrite(deed.sku, deed.patches, at);
    else if (deed.kind === 'shipment') life.ship(deed.order, deed.detail, at);
    else feeds.finish(deed.feed, at);
  }

  const handlers: Record<string, Handler> = {
    patchListingsItem: listings.patch,
    getListingsItem: listings.get,
    searchListingsItems: listings.search,
    getMarketplaceParticipations: inventory.marketplaces,
    getInventorySummaries: inventory.summaries,
    searchOrders: orders.search,
    getOrder: orders.get,
    confirmShipment: shipments.confirm,
    getDestinations: notifications.getDestinations,
    createDestination: (request) => notifications.createDestination(request.json()),
    getDestination: (request) => notifications.getDestination(parameter(request, 'destinationId')),
    deleteDestination: (request) => notifications.deleteDestination(parameter(request, 'destinationId')),
    getSubscription: (request) =>
      notifications.getSubscription(parameter(request, 'notificationType'), request.query.get('payloadVersion')),
    createSubscription: (request) =>
      notifications.createSubscription(parameter(request, 'notificationType'), request.json()),
    getSubscriptionById: (request) =>
      notifications.getSubscriptionById(parameter(request, 'notificationType'), parameter(request, 'subscriptionId')),
    deleteSubscriptionById: (request) =>
      notifications.deleteSubscriptionById(
        parameter(request, 'notificationType'),
        parameter(request, 'subscriptionId'),
      ),
    createFeedDocument: feeds.createDocument,
    getFeedDocument: feeds.getDocument,
    createFeed: feeds.create,
    getFeeds: feeds.list,
    getFeed: feeds.get,
    cancelFeed: feeds.cancel,
  };
  const gate = createGate(core, lwa, handlers);

  /** Before a look or an act: what was promised for by now has happened. */
  function current<T>(work: () => T): T {
    agenda.catchUp();
    return work();
  }

  const model: VendorModel<AmazonCall> = {
    identify,
    answer(call, identity) {
      agenda.catchUp();
      if (identity.kind === 'token') return lwa.answer(call);
      if (identity.kind === 'queue') return queues.answer(call);
      if (identity.kind === 'document') return feeds.store(call);
      return gate.answer(call, identity.route, identity.rawParameters);
    },
    refuse(fault, _call, identity) {
      const status = fault.status ?? 503;
      if (identity.kind === 'token') return fault.kind === 'revoke' ? lwa.revoked() : lwa.unavailable(status);
      if (identity.kind === 'queue') return queues.refuse(fault.kind === 'revoke' ? 403 : status);
      if (fault.kind !== 'revoke') return gate.refuse(errorForStatus(status), identity.route, fault.retryAfter);
      const details = 'The access token you provided is revoked, malformed or invalid.';
      const denied = new ApiError(403, 'Unauthorized', 'Access to requested resource is denied.', details);
      return gate.refuse(denied, identity.route, null);
    },
    latencyMs: () => paceOf(core.profile.current()).latencyMs,
    // Nothing here keeps an address: queue and document URLs are made from the base URL of each call.
    retarget: () => {},
    start: () => {},
    close: () => Promise.resolve(),

    items: () =>
      current(() => {
        const committed = life.committed();
        return offers.all().map((offer) => itemOf(offer, committed.get(offer.sku) ?? 0));
      }),
    orders: () => current(() => [...rows.orders.all()].map(toSimOrder)),
    placeOrder: (input) => current(() => life.place(input)),
    payOrder: ({ order }) => current(() => life.pay(order)),
    editOrder: ({ order, lines }) => current(() => life.lower(order, lines)),
    cancelOrder: ({ order, restock, lines }) => current(() => life.cancel(order, restock, lines)),
    returnGoods: ({ order, lines, restock }) => current(() => life.giveBack(order, lines, restock)),
    fulfillOrder: ({ order, lines }) => current(() => life.fulfill(order, lines)),
    setStock: ({ sku, quantity }) =>
      current(() => {
        const offer = offers.find(sku);
        if (offer === null) throw new ControlRefusal(404, `No offer with SKU ${sku}`);
        if (quantity < 0) throw new ControlRefusal(422, 'Amazon has no negative quantity');
        offers.setQuantity(offer, quantity, core.clock.now());
        return itemOf(offers.find(sku) ?? offer, life.committed().get(sku) ?? 0);
      }),
    reset() {
      agenda.clear();
      rows.orders.clear();
      feeds.clear();
      queues.clear();
      seed();
    },
  };

  return {
    ...createSimulator(core, model),
    queueArn: queueArn(queueName),
    queueUrl: (baseUrl) => queues.queueUrl(baseUrl, queueName),
  };

  function identify(call: VendorCall): AmazonCall {
    const none = { route: null, rawParameters: {} };
    if (call.path === TOKEN_PATH && call.method === 'POST')
      return { kind: 'token', operation: TOKEN_OPERATION, confidential: true, ...none };
    if (call.path === SQS_PATH || call.path.startsWith(`${SQS_PATH}/`)) {
      const operation = queues.actionOf(call);
      return { kind: 'queue', operation, operations: [operation, 'sqs'], ...none };
    }
    if (call.path.startsWith(DOCUMENT_PATH))
      return { kind: 'document', operation: call.method === 'PUT' ? 'uploadDocument' : 'downloadDocument', ...none };
    const found = findOperation(call.method, call.path);
    if (found === null) return { kind: 'api', operation: 'unknown', ...none };
    return { kind: 'api', operation: found.operation.name, route: found.operation, rawParameters: found.rawParameters };
  }
}
