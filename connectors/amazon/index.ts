/**
 * Amazon as a channel: what server/deps.ts registers. Opens one seller in one region.
 *
 * A live connection talks to its region's host; a simulated (or explicitly allowed custom) one to its base URL, the token
 * endpoint below it. The queue is there when its address and keys are; without it the connection lives from sweeps alone.
 */
import type { Channel, ConnectionContext, Connector, Transport } from '../kit/ports.ts';
import { tuned } from '../kit/tuning.ts';
import { noTokens, type TokenSource, tokenSource } from './auth.ts';
import { amazonClient } from './client.ts';
import { bulkPort } from './feeds.ts';
import { catalogPort } from './listings.ts';
import { manifest, REGION_HOSTS, TOKEN_HOST } from './manifest.ts';
import { notificationPort } from './notifications.ts';
import { offerMemory } from './offer-memory.ts';
import { ordersPort } from './orders.ts';
import { type QueueOptions, queuePort } from './queue.ts';
import { type AmazonCredentials, type AmazonSettings, parseCredentials, parseSettings } from './settings.ts';
import { stockPort } from './stock.ts';
import { queueArnOf, subscriptionsPort } from './subscriptions.ts';

const TOKEN_PATH = '/auth/o2/token';

/** Accepted by a simulated queue, which checks no signature. */
const SIMULATED_QUEUE_KEYS = { accessKeyId: 'SIMULATED', secretAccessKey: 'simulated' };

export const amazon: Connector = {
  manifest,
  open,
  webhook: notificationPort,
};

/** @throws connector.rejected when settings or credentials are not usable. */
function open(context: ConnectionContext): Channel {
  const settings = parseSettings(context.settings);
  const credentials = parseCredentials(context.credentials);
  const { transport, clock } = context;
  const { sellerId, marketplaceIds, region } = settings;
  const baseUrl = (context.baseUrl ?? `https://${REGION_HOSTS[region]}`).replace(/\/+$/, '');
  const tokenBase = context.baseUrl === null ? `https://${TOKEN_HOST}` : baseUrl;
  const tokenUrl = atHome(settings.tokenUrl ?? tokenBase + TOKEN_PATH, context);
  const tokens = tokenSource({ url: tokenUrl, credentials, transport, clock });
  const grantless = tokenSource({ url: tokenUrl, credentials, transport, clock, grantless: true });
  const clientOver = (over: Transport, tokens: TokenSource) =>
    amazonClient({ baseUrl, sellerId, tokens, grantless, transport: over, clock });
  const client = clientOver(transport, tokens);
  const offers = offerMemory(clock);
  const queue = queueOptions(context, settings, credentials);
  const queueArn = queueArnOf(settings);
  return {
    stock: {
      ...stockPort({ client, offers, marketplaceIds }),
      bulk: bulkPort({ client, offers, sellerId, marketplaceIds }),
    },
    orders: ordersPort({ client, clock, lagMs: tuned(manifest, settings).orders.lagMs }),
    catalog: catalogPort({
      transport,
      clientOver: (over, signIn) => clientOver(over, signIn ? tokens : noTokens),
      offers,
      marketplaceIds,
      region,
    }),
    ...(queue === null ? {} : { queue: queuePort(queue) }),
    ...(queueArn === null ? {} : { subscriptions: subscriptionsPort({ client, queueArn }) }),
    /** One listing: proves the grant, the seller's id and the listings role at once; its 5/s are hardly used otherwise. */
    async test(call) {
      const result = await client.listListings(
        { createdAfter: null, token: null, size: 1, changedSince: null },
        marketplaceIds,
        call,
      );
      if (result.kind === 'refused') throw result.refused.fault;
    },
  };
}

/** Keys come from the connection only, never from the machine we run on: those are not the tenant's. */
function queueOptions(
  context: ConnectionContext,
  settings: AmazonSettings,
  credentials: AmazonCredentials,
): QueueOptions | null {
  const keys = queueKeys(context.kind, credentials);
  if (settings.queueUrl === undefined || keys === null) return null;
  return {
    transport: context.transport,
    sellerId: settings.sellerId,
    queueUrl: atHome(settings.queueUrl, context),
    endpoint: atHome(settings.queueEndpoint ?? new URL(settings.queueUrl).origin, context),
    region: settings.queueRegion ?? null,
    credentials: keys,
  };
}

/** A simulator may come back on another port than the one its stored addresses name: it is where its base URL says. */
function atHome(address: string, { kind, baseUrl }: ConnectionContext): string {
  if (kind !== 'simulated' || baseUrl === null) return address;
  const { pathname, search } = new URL(address);
  return new URL(baseUrl).origin + pathname + search;
}

function queueKeys(
  kind: ConnectionContext['kind'],
  credentials: AmazonCredentials,
): QueueOptions['credentials'] | null {
  const {
    awsAccessKeyId: accessKeyId,
    awsSecretAccessKey: secretAccessKey,
    awsSessionToken: sessionToken,
  } = credentials;
  if (accessKeyId !== undefined && secretAccessKey !== undefined) {
    return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
  }
  return kind === 'simulated' ? SIMULATED_QUEUE_KEYS : null;
}
