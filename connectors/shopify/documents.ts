/**
 * Every GraphQL document this connector sends, in one place, so that a test can hold each against Shopify's own schema.
 *
 * `points` is what the document is thought to cost (objects 1, connections by `first`, a mutation 10; fact sheet §9)
 * until an answer tells: a single query above 1,000 is refused, so page sizes are chosen to stay below. Inner
 * connections are short because orders are; whatever does not fit is read to its end with the documents for the rest.
 */
export interface GraphqlDocument {
  /** The operation's own name; also what calls are logged and matched by. */
  operation: string;
  points: number;
  /** Added for each row asked for or written. */
  pointsPerRow: number;
  text: string;
}

function documentOf(points: number, text: string, pointsPerRow = 0): GraphqlDocument {
  const operation = /^\s*(?:query|mutation)\s+(\w+)/.exec(text)?.[1] ?? '';
  return { operation, points, pointsPerRow, text: text.trim() };
}

export const shopDocument = documentOf(1, 'query shop { shop { id myshopifyDomain } }');

/** Inactive levels included: since 2026-04 they keep and take quantities (§5.2). */
export const stockLevelsDocument = documentOf(
  1,
  `query stockLevels($ids: [ID!]!, $location: ID!) {
  nodes(ids: $ids) {
    ... on InventoryItem {
      id
      tracked
      inventoryLevel(locationId: $location, includeInactive: true) {
        isActive
        quantities(names: ["available"]) { name quantity }
      }
    }
  }
}`,
  3,
);

export const setQuantitiesDocument = documentOf(
  12,
  `mutation inventorySetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt }
    userErrors { code field message }
  }
}`,
);

const ORDER_FIELDS = `
      id
      name
      createdAt
      updatedAt
      cancelledAt
      confirmed
      test
      displayFinancialStatus
      displayFulfillmentStatus
      returnStatus
      retailLocation { id }
      totalPriceSet { shopMoney { amount currencyCode } }`;
const LINE_FIELDS = `id title sku quantity currentQuantity unfulfilledQuantity variant { id }`;
const REFUND_LINE_FIELDS = `quantity restockType lineItem { id } location { id }`;

/** A page of changed orders: enough for those nobody has touched since they were placed. */
export const changedOrdersDocument = documentOf(
  750,
  `query changedOrders($query: String!, $after: String) {
  orders(first: 25, after: $after, sortKey: UPDATED_AT, query: $query) {
    pageInfo { hasNextPage endCursor }
    nodes {${ORDER_FIELDS}
      lineItems(first: 10) {
        pageInfo { hasNextPage endCursor }
        nodes { ${LINE_FIELDS} }
      }
    }
  }
}`,
);

/** One order whole; longer lists are read on with the documents below. */
export const orderDocument = documentOf(
  700,
  `query orderById($id: ID!, $routing: Boolean!) {
  order(id: $id) {${ORDER_FIELDS}
      lineItems(first: 60) {
        pageInfo { hasNextPage endCursor }
        nodes { ${LINE_FIELDS} }
      }
      refunds(first: 5) {
        id
        refundLineItems(first: 10) {
          pageInfo { hasNextPage endCursor }
          nodes { ${REFUND_LINE_FIELDS} }
        }
      }
      fulfillments(first: 5) {
        id
        status
        location { id }
        fulfillmentLineItems(first: 10) {
          pageInfo { hasNextPage endCursor }
          nodes { quantity lineItem { id } }
        }
      }
      fulfillmentOrders(first: 5) @include(if: $routing) {
        pageInfo { hasNextPage }
        nodes {
          status
          assignedLocation { location { id } }
          lineItems(first: 10) {
            pageInfo { hasNextPage }
            nodes { totalQuantity lineItem { id } }
          }
        }
      }
  }
}`,
);

/** The ids of all refunds and fulfillments, for orders with more than five of either. Both are lists without pages. */
export const orderPartsDocument = documentOf(
  500,
  `query orderParts($id: ID!) {
  order(id: $id) {
    updatedAt
    refunds(first: 250) { id }
    fulfillments(first: 250) { id status location { id } }
  }
}`,
);

export const orderLinesDocument = documentOf(
  510,
  `query orderLines($id: ID!, $after: String) {
  order(id: $id) {
    updatedAt
    lineItems(first: 250, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { ${LINE_FIELDS} }
    }
  }
}`,
);

export const refundLinesDocument = documentOf(
  460,
  `query refundLines($id: ID!, $after: String) {
  node(id: $id) {
    ... on Refund {
      refundLineItems(first: 150, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { ${REFUND_LINE_FIELDS} }
      }
    }
  }
}`,
);

export const fulfillmentLinesDocument = documentOf(
  510,
  `query fulfillmentLines($id: ID!, $after: String) {
  node(id: $id) {
    ... on Fulfillment {
      fulfillmentLineItems(first: 250, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { quantity lineItem { id } }
      }
    }
  }
}`,
);

const LEVEL_FIELDS = `isActive location { id } quantities(names: ["available"]) { name quantity }`;

export const variantsDocument = documentOf(
  720,
  `query variants($after: String, $query: String) {
  productVariants(first: 40, after: $after, sortKey: ID, query: $query) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id
      title
      sku
      barcode
      requiresComponents
      product { id title }
      inventoryItem {
        id
        tracked
        inventoryLevels(first: 4) {
          pageInfo { hasNextPage endCursor }
          nodes { ${LEVEL_FIELDS} }
        }
      }
    }
  }
}`,
);

export const itemLevelsDocument = documentOf(
  310,
  `query itemLevels($id: ID!, $after: String) {
  inventoryItem(id: $id) {
    inventoryLevels(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { ${LEVEL_FIELDS} }
    }
  }
}`,
);

/** Inactive and fulfillment-service (legacy) locations are hidden unless asked for (§6). */
export const locationsDocument = documentOf(
  110,
  `query locations($after: String) {
  locations(first: 100, after: $after, includeInactive: true, includeLegacy: true) {
    pageInfo { hasNextPage endCursor }
    nodes { id name isActive }
  }
}`,
);

export const subscriptionsDocument = documentOf(
  110,
  `query webhookSubscriptions($after: String) {
  webhookSubscriptions(first: 100, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { id topic uri format filter includeFields apiVersion { handle } }
  }
}`,
);

/** How many orders: one object, whatever the number (§9). `limit: null` counts to the end instead of to 10,000 (schema). */
export const countOrdersDocument = documentOf(
  1,
  `query ordersCount($query: String!) {
  ordersCount(query: $query, limit: null) { count precision }
}`,
);

/** Ids of orders placed in a time, oldest first. */
export const placedOrdersDocument = documentOf(
  255,
  `query placedOrders($query: String!, $after: String) {
  orders(first: 250, after: $after, query: $query, sortKey: CREATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes { id createdAt }
  }
}`,
);

export const subscribeDocument = documentOf(
  10,
  `mutation webhookSubscriptionCreate($topic: WebhookSubscriptionTopic!, $uri: String!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: { uri: $uri, format: JSON }) {
    webhookSubscription { id }
    userErrors { field message }
  }
}`,
);

export const unsubscribeDocument = documentOf(
  10,
  `mutation webhookSubscriptionDelete($id: ID!) {
  webhookSubscriptionDelete(id: $id) {
    deletedWebhookSubscriptionId
    userErrors { field message }
  }
}`,
);
