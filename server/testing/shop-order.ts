/** Order bodies as a shop sends them (REST shape, ids as bare numbers), for orders its own simulator never saw. */
import type { Demo } from './demo.ts';

export interface ShopLine {
  sku: string;
  quantity: unknown;
  /** Default: all of `quantity`. */
  current?: unknown;
  /** Default: of the listing. */
  variantId?: string;
  id?: string;
}

let last = 9_007_199_254_740_993n;
/** An id no double can hold. */
export function nextId(): string {
  last += 2n;
  return String(last);
}

/** Digits of the shop's variant behind a SKU. */
export async function variantOf(demo: Demo, place: 'shopA' | 'shopB', sku: string): Promise<string> {
  const { listings } = await demo.ok<{ listings: { connectionId: string; variantExternalId: string }[] }>(
    `/api/inventory/${encodeURIComponent(sku)}`,
  );
  const found = listings.find(({ connectionId }) => connectionId === demo.connection(place).id)?.variantExternalId;
  return found?.split('/').at(-1) ?? '';
}

const stamp = (at: number): string => new Date(Math.floor(at / 1000) * 1000).toISOString().replace('.000Z', '+00:00');

/** The whole body as text: ids are written as bare digits, whatever their size. */
export async function shopOrder(
  demo: Demo,
  place: 'shopA' | 'shopB',
  lines: readonly ShopLine[],
  options: { id?: string; at?: number; updatedAt?: number; more?: Record<string, unknown> } = {},
): Promise<{ id: string; externalId: string; text: string }> {
  const id = options.id ?? nextId();
  const at = options.at ?? Date.now();
  const known = new Map<string, string>();
  for (const { sku, variantId } of lines)
    if (variantId === undefined && !known.has(sku)) known.set(sku, await variantOf(demo, place, sku));
  const digits: string[] = [];
  const bare = (value: string) => `@@${digits.push(value) - 1}@@`;
  const body = {
    id: bare(id),
    admin_graphql_api_id: `gid://shopify/Order/${id}`,
    name: `#${id.slice(-6)}`,
    created_at: stamp(at),
    updated_at: stamp(options.updatedAt ?? at),
    cancelled_at: null,
    confirmed: true,
    test: false,
    financial_status: 'paid',
    fulfillment_status: null,
    location_id: null,
    currency: 'USD',
    total_price: '10.00',
    line_items: lines.map((line) => ({
      id: bare(line.id ?? nextId()),
      variant_id: bare(line.variantId ?? known.get(line.sku) ?? '1'),
      product_id: bare('1'),
      sku: line.sku,
      title: line.sku,
      name: line.sku,
      quantity: line.quantity,
      current_quantity: line.current ?? line.quantity,
      fulfillable_quantity: line.current ?? line.quantity,
      fulfillment_status: null,
      price: '1.00',
    })),
    fulfillments: [],
    refunds: [],
    returns: [],
    ...options.more,
  };
  const text = JSON.stringify(body).replaceAll(/"@@(\d+)@@"/g, (_, index: string) => digits[Number(index)] ?? '');
  return { id, externalId: `gid://shopify/Order/${id}`, text };
}
