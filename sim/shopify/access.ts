/**
 * Which scope each root field needs (sheet §2.6) and the refusal when the token lacks it (§5.7). Any one of the listed
 * scopes suffices; fields that are not listed are open to every installed app. Called by `roots.ts`.
 */
import { GraphQLError } from 'graphql';

const FULFILLMENT_ORDERS = ['merchant_managed', 'assigned', 'third_party'];
const read = FULFILLMENT_ORDERS.map((kind) => `read_${kind}_fulfillment_orders`);
const write = FULFILLMENT_ORDERS.map((kind) => `write_${kind}_fulfillment_orders`);

const NEEDED: Record<string, readonly string[]> = {
  locations: ['read_locations', 'read_inventory'],
  location: ['read_locations', 'read_inventory'],
  productVariants: ['read_products'],
  productVariant: ['read_products'],
  productVariantsCount: ['read_products'],
  products: ['read_products'],
  product: ['read_products'],
  productsCount: ['read_products'],
  inventoryItems: ['read_inventory', 'read_products'],
  inventoryItem: ['read_inventory', 'read_products'],
  inventoryLevel: ['read_inventory'],
  inventoryProperties: ['read_inventory'],
  orders: ['read_orders'],
  order: ['read_orders'],
  ordersCount: ['read_orders'],
  refund: ['read_orders'],
  return: ['read_returns', 'read_orders'],
  fulfillment: ['read_orders', ...read],
  fulfillmentOrder: read,
  inventorySetQuantities: ['write_inventory'],
  inventoryAdjustQuantities: ['write_inventory'],
  inventoryActivate: ['write_inventory'],
  orderCancel: ['write_orders'],
  refundCreate: ['write_orders'],
  fulfillmentCreate: write,
};

/** A write scope includes the read scope of the same resource. */
export const ALL_SCOPES = [
  'read_products',
  'read_inventory',
  'write_inventory',
  'read_locations',
  'read_orders',
  'write_orders',
  'read_returns',
  'write_returns',
  ...read,
  ...write,
].join(',');

/** @throws GraphQLError ACCESS_DENIED */
export function requireAccess(field: string, scopes: ReadonlySet<string>): void {
  const needed = NEEDED[field];
  if (needed === undefined) return;
  const held = needed.some((scope) => scopes.has(scope) || scopes.has(scope.replace(/^read_/, 'write_')));
  if (held) return;
  const requiredAccess = needed.map((scope) => `\`${scope}\``).join(' or ');
  throw new GraphQLError(`Access denied for ${field} field. Required access: ${requiredAccess} access scope.`, {
    extensions: {
      code: 'ACCESS_DENIED',
      documentation: 'https://shopify.dev/api/usage/access-scopes',
      requiredAccess: `${requiredAccess} access scope.`,
    },
  });
}
