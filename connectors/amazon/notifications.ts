/**
 * What Amazon's notifications say. Pure; called by queue.ts when a message arrives, and through `webhook` for stored ones.
 *
 * Envelopes come in PascalCase and camelCase (§7.1), as the message itself or, from EventBridge, inside `detail` (§7.4).
 *   ORDER_CHANGE                        → the order, when the payload is enough (map.ts), else order_changed
 *   LISTINGS_ITEM_MFN_QUANTITY_CHANGE   → stock: the merchant's own number as of the event's time
 *   everything else                     → ignored; its topic is counted by the caller
 */
import { ConnectorError } from '#core/errors.ts';
import type { IncomingEvent, WebhookPort } from '../kit/ports.ts';
import { jsonOrNull } from './errors.ts';
import { MERCHANT_CHANNEL } from './manifest.ts';
import { orderOfChange } from './map.ts';
import { type Envelope, envelope, orderChange, quantityChange, vendorTime } from './wire.ts';

export const ORDER_CHANGE = 'ORDER_CHANGE';
export const QUANTITY_CHANGE = 'LISTINGS_ITEM_MFN_QUANTITY_CHANGE';

export interface Identity {
  topic: string;
  deliveryId: string | null;
  kind: 'order' | 'stock' | 'other';
  externalId: string;
  /** Whose it is; null when the payload does not say. */
  sellerId: string | null;
}

/** The smallest look: what it is about and whose. @throws connector.unreadable */
export function identify(rawBody: Uint8Array): Identity {
  const message = readEnvelope(rawBody);
  const inner = innerPayload(message.payload);
  const deliveryId = message.notificationMetadata?.notificationId ?? null;
  const identity = { topic: message.notificationType, deliveryId, sellerId: text(inner, 'SellerId') };
  const orderId = text(inner, 'AmazonOrderId');
  const sku = text(inner, 'Sku');
  if (identity.topic === ORDER_CHANGE && orderId !== null) return { ...identity, kind: 'order', externalId: orderId };
  if (identity.topic === QUANTITY_CHANGE && sku !== null) return { ...identity, kind: 'stock', externalId: sku };
  return { ...identity, kind: 'other', externalId: deliveryId ?? identity.topic };
}

/** What a stored notification says. @throws connector.unreadable */
export function parseNotification(rawBody: Uint8Array): IncomingEvent {
  const message = readEnvelope(rawBody);
  if (message.notificationType === ORDER_CHANGE) return orderEvent(message);
  if (message.notificationType === QUANTITY_CHANGE) return stockEvent(message);
  return { kind: 'ignored', externalId: identify(rawBody).externalId, vendorAt: eventTime(message) };
}

/**
 * Stored notifications are parsed like stored webhooks. There are no signed posts from Amazon (§0), so nothing that
 * arrives over HTTP is ever believed: `verify` is false for whatever secrets.
 */
export const notificationPort: WebhookPort = {
  verify: () => false,
  identify(rawBody) {
    const { topic, deliveryId, kind, externalId } = identify(rawBody);
    return { topic, deliveryId, kind, externalId, shop: null };
  },
  parse: (rawBody) => parseNotification(rawBody),
};

function orderEvent(message: Envelope): IncomingEvent {
  const parsed = orderChange.safeParse(innerPayload(message.payload));
  if (!parsed.success) throw unreadable(message.notificationType, parsed.error.issues);
  const change = parsed.data;
  const vendorAt = change.OrderChangeTrigger.TimeOfOrderChange ?? null;
  const order = orderOfChange(change);
  if (order === null) return { kind: 'order_changed', externalId: change.AmazonOrderId, vendorAt };
  return { kind: 'order', externalId: order.externalId, vendorAt, order };
}

function stockEvent(message: Envelope): IncomingEvent {
  const parsed = quantityChange.safeParse(innerPayload(message.payload));
  const vendorAt = eventTime(message);
  if (!parsed.success) throw unreadable(message.notificationType, parsed.error.issues);
  const { Sku: sku, FulfillmentChannelCode: channelLocation, Quantity: value } = parsed.data;
  if (vendorAt === null || channelLocation !== MERCHANT_CHANNEL) return { kind: 'ignored', externalId: sku, vendorAt };
  return { kind: 'stock', externalId: sku, vendorAt, ref: { stockKey: sku, channelLocation }, value };
}

function readEnvelope(rawBody: Uint8Array): Envelope {
  const outer = lowered(jsonOrNull(new TextDecoder().decode(rawBody)));
  const message = outer.detail === undefined ? outer : lowered(outer.detail);
  const parsed = envelope.safeParse({ ...message, notificationMetadata: lowered(message.notificationMetadata) });
  if (!parsed.success) throw unreadable('envelope', parsed.error.issues);
  return parsed.data;
}

/** An object with the first letter of its keys in lower case; empty for anything else. */
function lowered(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key.charAt(0).toLowerCase() + key.slice(1), inner]),
  );
}

/** Some types wrap their payload once more, under a key that ends in "Notification": documented [§7.1, §7.3]. */
function innerPayload(payload: Record<string, unknown>): Record<string, unknown> {
  const [key] = Object.keys(payload).filter((name) => name.endsWith('Notification'));
  const inner = key === undefined ? payload : payload[key];
  return typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : payload;
}

/** A text field in either case. */
function text(payload: Record<string, unknown>, name: string): string | null {
  const value = payload[name] ?? payload[name.charAt(0).toLowerCase() + name.slice(1)];
  return typeof value === 'string' && value !== '' ? value : null;
}

function eventTime(message: Envelope): number | null {
  const parsed = vendorTime.safeParse(message.eventTime);
  return parsed.success ? parsed.data : null;
}

function unreadable(topic: string, issues: readonly { path: PropertyKey[] }[]): ConnectorError {
  const fields = issues.map((issue) => issue.path.join('.')).slice(0, 5);
  return new ConnectorError('connector.unreadable', `An Amazon notification does not match its schema (${topic})`, {
    topic,
    fields,
  });
}
