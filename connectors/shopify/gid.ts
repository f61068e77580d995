/**
 * Shopify's global ids: `gid://shopify/{Type}/{number}`, the number being the REST and webhook id (`documented`, §1).
 * We keep GIDs everywhere, as text.
 */
export type GidType = 'Order' | 'LineItem' | 'ProductVariant' | 'InventoryItem' | 'Location';

/** @param id digits */
export function gid(type: GidType, id: string): string {
  return `gid://shopify/${type}/${id}`;
}
