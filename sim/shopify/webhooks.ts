/**
 * Webhooks: which subscriptions hear of an event, the signed delivery, and the vendor's retry rules (sheet §4).
 *
 * HMAC-SHA256 of the raw body with the app's client secret, base64: the headers are not signed. Two subscriptions on
 * one topic give two deliveries with different webhook ids and one event id. After the last failed retry the
 * subscription is removed (`vendor`) or kept (`open`). Called by `orders.ts`, `shop.ts` and the mutations.
 */
import { createHmac } from 'node:crypto';
import { createSender, moveOrigin, type Sender } from '#sim/kit/sender.ts';
import { levelPayload, productPayload } from './payloads.ts';
import type { LevelRow, SubscriptionRow } from './rows.ts';
import type { Shop } from './shop.ts';

/** 8 retries over 4 hours, exponential (documented); the steps themselves are assumed. */
const VENDOR_RETRIES_MS = [1, 2, 4, 8, 16, 32, 60, 117].map((minutes) => minutes * 60_000);
/** The same eight steps sixty times faster. */
const OPEN_RETRIES_MS = VENDOR_RETRIES_MS.map((ms) => ms / 60);
/** Documented: 1 s to connect, 5 s in all. */
const TIMEOUTS = { connectTimeoutMs: 1_000, timeoutMs: 5_000 };

export interface Webhooks {
  readonly sender: Sender;
  /** @param topic as in the header, e.g. "orders/create" */
  emit(topic: string, eventId: string, payload: () => unknown): void;
  levelChanged(level: LevelRow, eventId: string): void;
  retarget(from: string | null, to: string): void;
}

/** "orders/create" → ORDERS_CREATE */
export const topicEnum = (topic: string): string => topic.replace('/', '_').toUpperCase();

/** ORDERS_CREATE → "orders/create": the resource is everything before the known verb. */
export function topicHeader(name: string): string {
  const resource = RESOURCES.find((candidate) => name.startsWith(`${candidate}_`));
  return resource === undefined
    ? name.toLowerCase().replace('_', '/')
    : `${resource.toLowerCase()}/${name.slice(resource.length + 1).toLowerCase()}`;
}

const RESOURCES = [
  'REVERSE_FULFILLMENT_ORDERS',
  'REVERSE_DELIVERIES',
  'FULFILLMENT_ORDERS',
  'FULFILLMENT_EVENTS',
  'INVENTORY_LEVELS',
  'INVENTORY_ITEMS',
  'INVENTORY_TRANSFERS',
  'INVENTORY_SHIPMENTS',
  'BULK_OPERATIONS',
];

export function createWebhooks(shop: Shop, clientSecret: string): Webhooks {
  const { core, subscriptions } = shop;
  const sender = createSender(core, {
    policy: () => ({
      ...TIMEOUTS,
      retryDelaysMs: core.profile.current() === 'vendor' ? VENDOR_RETRIES_MS : OPEN_RETRIES_MS,
    }),
    onGivenUp: (delivery) => {
      if (core.profile.current() === 'vendor') subscriptions.delete(delivery.subscription);
    },
  });

  function deliver(subscription: SubscriptionRow, topic: string, eventId: string, body: string): void {
    sender.enqueue({
      topic,
      subscription: subscription.id,
      uri: subscription.uri,
      body,
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Shopify-Captain-Hook',
        'X-Shopify-Topic': topic,
        'X-Shopify-Hmac-Sha256': createHmac('sha256', clientSecret).update(body, 'utf8').digest('base64'),
        'X-Shopify-Shop-Domain': shop.domain,
        'X-Shopify-API-Version': subscription.apiVersion,
        'X-Shopify-Webhook-Id': core.ids.uuid(),
        'X-Shopify-Event-Id': eventId,
        'X-Shopify-Triggered-At': new Date(shop.now()).toISOString(),
        ...(subscription.name === null ? {} : { 'X-Shopify-Name': subscription.name }),
      },
    });
  }

  function emit(topic: string, eventId: string, payload: () => unknown): void {
    const wanted = topicEnum(topic);
    let whole: unknown;
    for (const subscription of subscriptions.all()) {
      if (subscription.topic !== wanted) continue;
      whole ??= payload();
      deliver(subscription, topic, eventId, JSON.stringify(only(whole, subscription.includeFields)));
    }
  }

  return {
    sender,
    emit,
    levelChanged(level, eventId) {
      emit('inventory_levels/update', eventId, () => levelPayload(level));
      emit('products/update', eventId, () => {
        const variant = shop.variantOfItem(level.itemId);
        const total = shop.levelsOfItem(level.itemId).reduce((sum, one) => sum + one.quantities.available, 0);
        return variant === undefined ? {} : productPayload({ ...variant, updatedAt: level.updatedAt }, total, total);
      });
    },
    retarget(from, to) {
      for (const subscription of [...subscriptions.all()]) {
        const uri = moveOrigin(subscription.uri, from, to);
        if (uri !== null) subscriptions.put(subscription.id, { ...subscription, uri });
      }
      sender.retarget(from, to);
    },
  };
}

/** `includeFields`: top-level fields only; nested paths keep their first step. */
function only(payload: unknown, fields: readonly string[]): unknown {
  if (fields.length === 0 || payload === null || typeof payload !== 'object') return payload;
  const kept = new Set(fields.map((field) => field.split('.')[0]));
  return Object.fromEntries(Object.entries(payload).filter(([name]) => kept.has(name)));
}
