/**
 * For this folder's tests: one story of an order, told in both of Shopify's shapes (fact sheet §4.6 and §6), so that a
 * test can hold the two mappings against each other and against expected numbers.
 */
export interface Story {
  updatedAt?: string;
  cancelled?: boolean;
  confirmed?: boolean;
  financial?: string | null;
  /** REST word and GraphQL word. */
  fulfillment?: [rest: string | null, graphql: string];
  returns?: boolean;
  counter?: number;
  lines: { n: number; quantity: number; current?: number; open?: number; variant?: number | null; group?: number }[];
  refunds?: {
    line: number;
    units: number;
    restock: 'cancel' | 'return' | 'no_restock' | 'legacy_restock';
    location?: number | null;
  }[][];
  shipments?: { status?: string; location?: number | null; parts: { line: number; units: number }[] }[];
}

const place = (location: number | null | undefined) => (location === undefined ? 7 : location);

export function restBody(story: Story): Record<string, unknown> {
  return {
    id: 5001,
    admin_graphql_api_id: 'gid://shopify/Order/5001',
    name: '#1001',
    created_at: '2026-11-20T10:00:00-05:00',
    updated_at: story.updatedAt ?? '2026-11-20T10:00:01-05:00',
    cancelled_at: story.cancelled ? '2026-11-20T10:00:01-05:00' : null,
    confirmed: story.confirmed ?? true,
    test: false,
    financial_status: story.financial === undefined ? 'paid' : story.financial,
    fulfillment_status: story.fulfillment?.[0] ?? null,
    location_id: story.counter ?? null,
    currency: 'USD',
    total_price: '20.00',
    total_price_set: { shop_money: { amount: '20.00', currency_code: 'USD' } },
    line_items: story.lines.map((line) => ({
      id: line.n,
      variant_id: line.variant === undefined ? 100 + line.n : line.variant,
      sku: `SKU-${line.n}`,
      title: `Thing ${line.n}`,
      quantity: line.quantity,
      current_quantity: line.current ?? line.quantity,
      fulfillable_quantity: line.open ?? line.current ?? line.quantity,
      sales_line_item_group_id: line.group ?? null,
    })),
    refunds: (story.refunds ?? []).map((parts, index) => ({
      id: 900 + index,
      refund_line_items: parts.map((part) => ({
        line_item_id: part.line,
        quantity: part.units,
        restock_type: part.restock,
        location_id: part.restock === 'no_restock' ? null : place(part.location),
      })),
    })),
    fulfillments: (story.shipments ?? []).map((shipment) => ({
      status: shipment.status ?? 'success',
      location_id: place(shipment.location),
      line_items: shipment.parts.map((part) => ({ id: part.line, quantity: part.units })),
    })),
    returns: story.returns ? [{ id: 1 }] : [],
    line_item_groups: story.lines.some((line) => line.group !== undefined) ? [{ id: 1, title: 'Kit' }] : [],
  };
}

export function graphqlNode(story: Story): Record<string, unknown> {
  const id = (type: string, n: number) => ({ id: `gid://shopify/${type}/${n}` });
  const whole = { pageInfo: { hasNextPage: false, endCursor: null } };
  const location = (n: number | null) => (n === null ? null : id('Location', n));
  return {
    id: 'gid://shopify/Order/5001',
    name: '#1001',
    createdAt: '2026-11-20T15:00:00Z',
    updatedAt: new Date(story.updatedAt ?? '2026-11-20T10:00:01-05:00').toISOString(),
    cancelledAt: story.cancelled ? '2026-11-20T15:00:01Z' : null,
    confirmed: story.confirmed ?? true,
    test: false,
    displayFinancialStatus: story.financial === undefined ? 'PAID' : (story.financial?.toUpperCase() ?? null),
    displayFulfillmentStatus: story.fulfillment?.[1] ?? 'UNFULFILLED',
    returnStatus: story.returns ? 'IN_PROGRESS' : 'NO_RETURN',
    retailLocation: story.counter === undefined ? null : id('Location', story.counter),
    totalPriceSet: { shopMoney: { amount: '20.0', currencyCode: 'USD' } },
    lineItems: {
      ...whole,
      nodes: story.lines.map((line) => ({
        ...id('LineItem', line.n),
        title: `Thing ${line.n}`,
        sku: `SKU-${line.n}`,
        quantity: line.quantity,
        currentQuantity: line.current ?? line.quantity,
        unfulfilledQuantity: line.open ?? line.current ?? line.quantity,
        variant: line.variant === null ? null : id('ProductVariant', line.variant ?? 100 + line.n),
      })),
    },
    refunds: (story.refunds ?? []).map((parts, index) => ({
      ...id('Refund', 900 + index),
      refundLineItems: {
        ...whole,
        nodes: parts.map((part) => ({
          quantity: part.units,
          restockType: part.restock.toUpperCase(),
          lineItem: id('LineItem', part.line),
          location: part.restock === 'no_restock' ? null : location(place(part.location)),
        })),
      },
    })),
    fulfillments: (story.shipments ?? []).map((shipment, index) => ({
      ...id('Fulfillment', 700 + index),
      status: (shipment.status ?? 'success').toUpperCase(),
      location: location(place(shipment.location)),
      fulfillmentLineItems: {
        ...whole,
        nodes: shipment.parts.map((part) => ({ quantity: part.units, lineItem: id('LineItem', part.line) })),
      },
    })),
  };
}
