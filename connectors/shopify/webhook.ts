/**
 * Webhook deliveries: is it Shopify's, what is it about, what does it say.
 *
 * Verify over the raw bytes first (HMAC of the body only: headers are unsigned, so nothing but routing is taken from
 * them), identify with the smallest look at the body, parse later when the stored delivery is worked on. An orders/* body
 * with all its lists is the whole order; anything less asks for a read. Pure. Used by the webhook route and the inbox.
 */
import type { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import { parseLossless, topLevelField } from '../kit/lossless.ts';
import type { IncomingEvent, WebhookPort } from '../kit/ports.ts';
import { verifySignature } from '../kit/signature.ts';
import { gid } from './gid.ts';
import { orderEvent } from './map.ts';
import { TOPICS, type TopicKind } from './topics.ts';
import {
  inventoryLevelSchema,
  orderEditedSchema,
  refundCreatedSchema,
  restOrderHeadSchema,
  restOrderSchema,
  shopBodySchema,
} from './wire.ts';

export const webhook: WebhookPort = {
  verify: (rawBody, headers, secrets) => verifySignature(rawBody, headers['x-shopify-hmac-sha256'], secrets, 'base64'),

  identify(rawBody, headers) {
    const topic = headers['x-shopify-topic'];
    if (!topic) throw unreadable('The delivery names no topic.', {});
    const shop = headers['x-shopify-shop-domain']?.toLowerCase() ?? null;
    const deliveryId = headers['x-shopify-webhook-id'] ?? null;
    const { kind, externalId } = subjectOf(TOPICS[topic]?.kind, textOf(rawBody), topic, shop);
    return { topic, deliveryId, kind, externalId, shop };
  },

  parse(rawBody, topic) {
    const text = textOf(rawBody);
    const kind = TOPICS[topic]?.kind;
    const { externalId } = subjectOf(kind, text, topic, null);
    return kind === undefined
      ? { kind: 'ignored', externalId, vendorAt: null }
      : EVENTS[kind](parseLossless(text), topic);
  },
};

interface Subject {
  kind: 'order' | 'stock' | 'other';
  externalId: string;
}

/** What a delivery is about: deliveries about the same thing are worked on one after the other. */
function subjectOf(kind: TopicKind | undefined, body: string, topic: string, shop: string | null): Subject {
  switch (kind) {
    case 'order':
      return { kind: 'order', externalId: gid('Order', idIn(body, 'id', topic)) };
    case 'order_edit':
      return {
        kind: 'order',
        externalId: gid('Order', idIn(topLevelField(body, 'order_edit') ?? '', 'order_id', topic)),
      };
    case 'refund':
      return { kind: 'order', externalId: gid('Order', idIn(body, 'order_id', topic)) };
    case 'stock':
      return {
        kind: 'stock',
        externalId: stockSubject(idIn(body, 'inventory_item_id', topic), idIn(body, 'location_id', topic)),
      };
    default:
      return { kind: 'other', externalId: plainId(body) ?? shop ?? topic };
  }
}

function stockSubject(item: string, location: string): string {
  return `${gid('InventoryItem', item)}@${gid('Location', location)}`;
}

function plainId(body: string): string | null {
  const match = /^"?(\d+)"?$/.exec(topLevelField(body, 'id') ?? '');
  return match?.[1] ?? null;
}

/** Digits of an id field: bare numbers of any size, or digits in quotes. */
function idIn(body: string, field: string, topic: string): string {
  const match = /^"?(\d{1,20})"?$/.exec(topLevelField(body, field) ?? '');
  if (!match?.[1]) throw unreadable(`A ${topic} body has no ${field}.`, { topic, field });
  return match[1];
}

const EVENTS: Readonly<Record<TopicKind, (body: unknown, topic: string) => IncomingEvent>> = {
  order(body, topic) {
    const whole = restOrderSchema.safeParse(body);
    if (whole.success) return orderEvent(whole.data);
    const head = read(restOrderHeadSchema, body, topic);
    return { kind: 'order_changed', externalId: gid('Order', head.id), vendorAt: head.updated_at ?? null };
  },
  // Deltas only, and no order id at the top (fact sheet §4.6): read the order.
  order_edit(body, topic) {
    const { order_edit: edit } = read(orderEditedSchema, body, topic);
    return { kind: 'order_changed', externalId: gid('Order', edit.order_id), vendorAt: edit.committed_at ?? null };
  },
  refund(body, topic) {
    const refund = read(refundCreatedSchema, body, topic);
    return { kind: 'order_changed', externalId: gid('Order', refund.order_id), vendorAt: refund.created_at ?? null };
  },
  stock(body, topic) {
    const level = read(inventoryLevelSchema, body, topic);
    const externalId = stockSubject(level.inventory_item_id, level.location_id);
    if (level.available === null) return { kind: 'ignored', externalId, vendorAt: level.updated_at };
    const ref = {
      stockKey: gid('InventoryItem', level.inventory_item_id),
      channelLocation: gid('Location', level.location_id),
    };
    return { kind: 'stock', externalId, vendorAt: level.updated_at, ref, value: level.available };
  },
  uninstalled(body, topic) {
    const shop = read(shopBodySchema, body, topic);
    return { kind: 'unauthorized', externalId: shop.id ?? shop.myshopify_domain ?? topic, vendorAt: null };
  },
};

function read<S extends z.ZodType>(schema: S, body: unknown, topic: string): z.infer<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw unreadable(`A ${topic} body does not have the documented shape.`, { topic, issues });
}

function textOf(rawBody: Uint8Array): string {
  return Buffer.from(rawBody.buffer, rawBody.byteOffset, rawBody.byteLength).toString('utf8');
}

function unreadable(message: string, details: Record<string, unknown>): ConnectorError {
  return new ConnectorError('connector.unreadable', message, details);
}
