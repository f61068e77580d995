/**
 * Orders of a shop: one whole, or those changed since a time, page by page.
 *
 * A page brings 25 orders with their first lines; those that were shipped, edited, refunded, returned or cancelled, or
 * have more lines, are read whole. A whole order is read to the end of every inner list, and read again if it changed
 * meanwhile, so that its parts belong to one version. Used by order sweeps and by the inbox when a payload is not enough.
 */
import { ConnectorError } from '#core/errors.ts';
import type { CallOptions, ChannelOrder, OrderPage, OrdersPort } from '../kit/ports.ts';
import type { ShopClient } from './client.ts';
import {
  changedOrdersDocument,
  countOrdersDocument,
  fulfillmentLinesDocument,
  orderDocument,
  orderLinesDocument,
  orderPartsDocument,
  placedOrdersDocument,
  refundLinesDocument,
} from './documents.ts';
import { factsOfNode, toChannelOrder } from './map.ts';
import { readOn } from './pages.ts';
import {
  changedOrdersSchema,
  countOrdersSchema,
  fulfillmentLinesSchema,
  type OrderNode,
  orderLinesSchema,
  orderPartsSchema,
  orderSchema,
  placedOrdersSchema,
  refundLinesSchema,
  type WholeOrderNode,
} from './wire.ts';

/** Lists without pages: as many as `orderById` asks for may mean there are more. */
const LISTED_PARTS = 5;
const READS_OF_A_MOVING_ORDER = 4;
const WHOLE_READS_AT_ONCE = 4;

export function createOrders(client: ShopClient): OrdersPort {
  const reader = createReader(client);
  return {
    get: (externalId, options) => reader.whole(externalId, options),
    async changedSince(since, cursor, options) {
      // Whole seconds, as the search documents show them; rounded down, so nothing is missed.
      const from = new Date(since).toISOString().replace(/\.\d+Z$/, 'Z');
      const { data, vendorAt } = await client.run(
        changedOrdersDocument,
        { query: `updated_at:>='${from}'`, after: cursor },
        changedOrdersSchema,
        options,
      );
      const { nodes, pageInfo } = data.orders;
      const orders = await inGroups(nodes, WHOLE_READS_AT_ONCE, (node) =>
        needsParts(node) ? reader.whole(node.id, options) : Promise.resolve(toChannelOrder(factsOfNode(node))),
      );
      const page: OrderPage = {
        // An order that went away between page and reading changes nothing.
        orders: orders.filter((order) => order !== null),
        cursor: pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null,
        vendorAt,
        total: null,
      };
      return page;
    },
    async countPlaced(from, to, options) {
      const { data } = await client.run(countOrdersDocument, { query: placedIn(from, to) }, countOrdersSchema, options);
      return data.ordersCount?.precision === 'EXACT' ? data.ordersCount.count : null;
    },
    async placedBetween(from, to, cursor, options) {
      const variables = { query: placedIn(from, to), after: cursor };
      const { data } = await client.run(placedOrdersDocument, variables, placedOrdersSchema, options);
      const { nodes, pageInfo } = data.orders;
      return {
        externalIds: nodes.map(({ id }) => id),
        cursor: pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null,
      };
    },
  };
}

const second = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
const placedIn = (from: number, to: number): string => `created_at:>='${second(from)}' created_at:<'${second(to)}'`;

/** True unless the page's own fields say all: placed, and nothing happened since. */
function needsParts(node: OrderNode): boolean {
  const untouched = ['UNFULFILLED', 'OPEN', 'ON_HOLD', 'SCHEDULED', 'IN_PROGRESS'].includes(
    node.displayFulfillmentStatus,
  );
  const changed = node.lineItems.nodes.some(
    (line) => line.quantity !== line.currentQuantity || line.unfulfilledQuantity !== line.quantity,
  );
  return (
    !untouched ||
    changed ||
    node.cancelledAt != null ||
    node.returnStatus !== 'NO_RETURN' ||
    node.lineItems.pageInfo.hasNextPage
  );
}

interface OrderReader {
  whole(id: string, options: CallOptions): Promise<ChannelOrder | null>;
}

function createReader(client: ShopClient): OrderReader {
  // Fulfillment orders need scopes of their own (fact sheet §2.6); without them orders are read without their places.
  let canReadRouting = true;

  async function readNode(id: string, options: CallOptions): Promise<WholeOrderNode | null> {
    try {
      const { data } = await client.run(orderDocument, { id, routing: canReadRouting }, orderSchema, options);
      return data.order;
    } catch (error) {
      if (!canReadRouting || !lacksScope(error)) throw error;
      canReadRouting = false;
      return readNode(id, options);
    }
  }

  /** The whole order, or 'moved' when it changed while its lists were read on. */
  async function complete(order: WholeOrderNode, options: CallOptions): Promise<WholeOrderNode | 'moved'> {
    const { id } = order;
    let moved = false;
    const parts = await allParts(order);
    if (parts === null) return 'moved';

    const lines = await readOn(order.lineItems, async (after) => {
      const { data } = await client.run(orderLinesDocument, { id, after }, orderLinesSchema, options);
      if (data.order?.updatedAt !== order.updatedAt) moved = true;
      return data.order?.lineItems ?? null;
    });
    const refunds = [];
    for (const refund of parts.refunds)
      refunds.push({
        ...refund,
        refundLineItems: await readOn(
          refund.refundLineItems,
          async (after) =>
            (await client.run(refundLinesDocument, { id: refund.id, after }, refundLinesSchema, options)).data.node
              ?.refundLineItems ?? null,
        ),
      });
    const fulfillments = [];
    for (const part of parts.fulfillments)
      fulfillments.push({
        ...part,
        fulfillmentLineItems: await readOn(
          part.fulfillmentLineItems,
          async (after) =>
            (await client.run(fulfillmentLinesDocument, { id: part.id, after }, fulfillmentLinesSchema, options)).data
              .node?.fulfillmentLineItems ?? null,
        ),
      });
    return moved ? 'moved' : { ...order, lineItems: lines, refunds, fulfillments };

    /** With five of either there may be more: the ids of all, each to be read from its start; null when the order changed. */
    async function allParts(known: WholeOrderNode): Promise<Pick<WholeOrderNode, 'refunds' | 'fulfillments'> | null> {
      if (known.refunds.length < LISTED_PARTS && known.fulfillments.length < LISTED_PARTS) return known;
      const { data } = await client.run(orderPartsDocument, { id }, orderPartsSchema, options);
      if (data.order?.updatedAt !== known.updatedAt) return null;
      const unread = { pageInfo: { hasNextPage: true, endCursor: null }, nodes: [] };
      return {
        refunds: data.order.refunds.map(
          (refund) => known.refunds.find((other) => other.id === refund.id) ?? { ...refund, refundLineItems: unread },
        ),
        fulfillments: data.order.fulfillments.map(
          (part) =>
            known.fulfillments.find((other) => other.id === part.id) ?? { ...part, fulfillmentLineItems: unread },
        ),
      };
    }
  }

  return {
    async whole(id, options) {
      for (let attempt = 1; attempt <= READS_OF_A_MOVING_ORDER; attempt += 1) {
        const order = await readNode(id, options);
        if (order === null) return null;
        const whole = await complete(order, options);
        if (whole !== 'moved') return toChannelOrder(factsOfNode(whole));
      }
      throw new ConnectorError('connector.unavailable', 'The order changed each time it was read.', {
        operation: 'orderById',
        orderId: id,
      });
    },
  };
}

function lacksScope(error: unknown): boolean {
  return error instanceof ConnectorError && error.details.reason === 'scope';
}

/** Maps with a few calls at once, keeping the order. */
async function inGroups<T, R>(items: readonly T[], size: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += size)
    results.push(...(await Promise.all(items.slice(from, from + size).map(work))));
  return results;
}
