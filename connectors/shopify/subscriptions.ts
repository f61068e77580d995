/**
 * Webhook subscriptions: after `ensure(url)` every topic we act on is sent to `url`, once.
 *
 * All existing ones are listed first (two subscriptions of a topic mean two deliveries, §4.1). The new one is created
 * before an outdated one is removed, so that nothing falls between. Outdated = one of our topics at a URL with our own
 * webhook path, or one at this URL that brings another payload version, format, a filter or only part of the fields (then it goes
 * first: sweeps cover the moment between); subscriptions that some other program of the same app holds elsewhere are left alone.
 * Shopify removes a subscription after repeated failures (§4.5), so this runs again on a schedule.
 */
import type { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import type { SubscriptionsPort } from '../kit/ports.ts';
import type { ShopClient } from './client.ts';
import { subscribeDocument, subscriptionsDocument, unsubscribeDocument } from './documents.ts';
import { API_VERSION } from './manifest.ts';
import { readAll } from './pages.ts';
import { TOPICS } from './topics.ts';
import { subscribeSchema, subscriptionsSchema, unsubscribeSchema } from './wire.ts';

const OUR_PATH = '/webhook/shopify';

export function createSubscriptions(client: ShopClient): SubscriptionsPort {
  return {
    async ensure(url, options) {
      if (url === null)
        throw new ConnectorError('connector.rejected', 'Shopify needs an address to send webhooks to.', {});
      const all = await readAll(
        async (after) =>
          (await client.run(subscriptionsDocument, { after }, subscriptionsSchema, options)).data.webhookSubscriptions,
      );
      const existing: string[] = [];
      const created: string[] = [];
      const removed: string[] = [];

      const remove = async (topic: string, other: Subscription, why: string) => {
        const { data } = await client.run(unsubscribeDocument, { id: other.id }, unsubscribeSchema, options);
        if (data.webhookSubscriptionDelete.userErrors.every(({ message }) => !/does not exist/i.test(message)))
          refuseErrors(`remove ${other.id}`, data.webhookSubscriptionDelete.userErrors);
        removed.push(`${topic} ${other.uri} (${why})`);
      };

      for (const [topic, { subscription }] of Object.entries(TOPICS)) {
        const ofTopic = all.filter((other) => other.topic === subscription);
        const there = ofTopic.find((other) => other.uri === url);
        const fault = there ? faultOf(there) : null;
        // Two of one topic and address cannot stand side by side: this one has to go first.
        if (there && fault !== null) await remove(topic, there, fault);
        if (there && fault === null) existing.push(topic);
        else {
          const { data } = await client.run(
            subscribeDocument,
            { topic: subscription, uri: url },
            subscribeSchema,
            options,
          );
          refuseErrors(`subscribe to ${topic}`, data.webhookSubscriptionCreate.userErrors);
          created.push(topic);
        }
        for (const outdated of ofTopic.filter((other) => other !== there && isOurs(other.uri, url)))
          await remove(topic, outdated, outdated.uri === url ? 'doubled' : 'another address of ours');
      }
      return { existing, created, removed };
    },
  };
}

type Subscription = z.infer<typeof subscriptionsSchema>['webhookSubscriptions']['nodes'][number];

/** Why one at the right address brings something else than we read; null = it is right. Its version is that of its making (§4.1). */
function faultOf({ apiVersion, format, filter, includeFields }: Subscription): string | null {
  if (apiVersion.handle !== API_VERSION) return `payload version ${apiVersion.handle}`;
  if (format !== 'JSON') return `format ${format}`;
  if (filter != null && filter !== '') return 'filtered';
  return includeFields.length > 0 ? 'partial payload' : null;
}

function isOurs(uri: string, url: string): boolean {
  return uri === url || (URL.canParse(uri) && new URL(uri).pathname.startsWith(OUR_PATH));
}

function refuseErrors(what: string, errors: readonly { message: string }[]): void {
  if (errors.length === 0) return;
  const messages = errors.map(({ message }) => message);
  throw new ConnectorError('connector.rejected', `Could not ${what}: ${messages.join('; ')}`, { messages });
}
