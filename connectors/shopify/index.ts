/**
 * Shopify, opened: the ports of one shop over one client. Named by the registry in server/deps.ts only.
 */
import type { Channel, ConnectionContext, Connector } from '../kit/ports.ts';
import { createAuth, noAuth } from './auth.ts';
import { createClient } from './client.ts';
import { shopDocument } from './documents.ts';
import { createListings } from './listings.ts';
import { manifest } from './manifest.ts';
import { createOrders } from './orders.ts';
import { readSettings } from './settings.ts';
import { createStock } from './stock.ts';
import { createSubscriptions } from './subscriptions.ts';
import { webhook } from './webhook.ts';
import { shopSchema } from './wire.ts';

export const shopify: Connector = { manifest, open, webhook };

/** Throws connector.rejected when settings or credentials are incomplete. */
function open(context: ConnectionContext): Channel {
  const settings = readSettings(context);
  const memory = { auth: createAuth(settings, context), corrections: new Map<string, number>() };
  const client = createClient(settings, context, memory);
  return {
    stock: createStock(client),
    orders: createOrders(client),
    catalog: createListings(client, context.transport, (transport, signIn) =>
      createClient(settings, { ...context, transport }, signIn ? memory : { ...memory, auth: noAuth }),
    ),
    subscriptions: createSubscriptions(client),
    async test(options) {
      await client.run(shopDocument, {}, shopSchema, options);
    },
  };
}
