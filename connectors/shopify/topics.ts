/**
 * The webhook topics we act on: the name a delivery carries, and the name it is subscribed by (fact sheet §4.2).
 * Read by webhook.ts (what to do with a delivery) and subscriptions.ts (what to ask for). All others are ignored.
 */
export type TopicKind = 'order' | 'order_edit' | 'refund' | 'stock' | 'uninstalled';

export const TOPICS: Readonly<Record<string, { subscription: string; kind: TopicKind }>> = {
  'orders/create': { subscription: 'ORDERS_CREATE', kind: 'order' },
  'orders/updated': { subscription: 'ORDERS_UPDATED', kind: 'order' },
  'orders/paid': { subscription: 'ORDERS_PAID', kind: 'order' },
  'orders/cancelled': { subscription: 'ORDERS_CANCELLED', kind: 'order' },
  'orders/fulfilled': { subscription: 'ORDERS_FULFILLED', kind: 'order' },
  'orders/partially_fulfilled': { subscription: 'ORDERS_PARTIALLY_FULFILLED', kind: 'order' },
  'orders/edited': { subscription: 'ORDERS_EDITED', kind: 'order_edit' },
  'refunds/create': { subscription: 'REFUNDS_CREATE', kind: 'refund' },
  'inventory_levels/update': { subscription: 'INVENTORY_LEVELS_UPDATE', kind: 'stock' },
  'app/uninstalled': { subscription: 'APP_UNINSTALLED', kind: 'uninstalled' },
};
