/**
 * Webhook subscriptions: after `ensure(url)` every topic we act on is sent to `url`, once.
 *
 * All existing ones are listed first (two subscriptions of a topic mean two deliveries, §4.1). The new one is created
 * before an outdated one is removed, so that nothing falls between. Outdated = one of our topics at a URL with our own
 * webhook path; subscriptions that some other program of the same app holds elsewhere are left alone.
 * Shopify removes a subscription after repeated failures (§4.5), so this runs again on a schedule.
 */
import { ConnectorError } from '#core/errors.ts';
import type { SubscriptionsPort } from '../kit/ports.ts';
import type { ShopClient } from './client.ts';
import { subscribeDocument, subscriptionsDocument, unsubscribeDocument } from './documents.ts';
import { readAll } from './pages.ts';
import { TOPICS } from './topics.ts';
import { subscribeSchema, subscriptionsSchema, unsubscribeSchema } from './wire.ts';

const OUR_PATH = '/webhook/shopify';

export function createSubscriptions(client: ShopClient): SubscriptionsPort {
  return {
    async ensure(url, options) {
      const all = await readAll(
        async (after) =>
          (await client.run(subscriptionsDocument, { after }, subscriptionsSchema, options)).data.webhookSubscriptions,
      );
      const existing: string[] = [];
      const created: string[] = [];
      const removed: string[] = [];

      for (const [topic, { subscription }] of Object.entries(TOPICS)) {
        const ofTopic = all.filter((other) => other.topic === subscription);
        if (ofTopic.some((other) => other.uri === url)) existing.push(topic);
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
        const kept = ofTopic.find((other) => other.uri === url);
        for (const outdated of ofTopic.filter((other) => other !== kept && isOurs(other.uri, url))) {
          const { data } = await client.run(unsubscribeDocument, { id: outdated.id }, unsubscribeSchema, options);
          if (data.webhookSubscriptionDelete.userErrors.every(({ message }) => !/does not exist/i.test(message)))
            refuseErrors(`remove ${outdated.id}`, data.webhookSubscriptionDelete.userErrors);
          removed.push(`${topic} ${outdated.uri}`);
        }
      }
      return { existing, created, removed };
    },
  };
}

function isOurs(uri: string, url: string): boolean {
  return uri === url || (URL.canParse(uri) && new URL(uri).pathname.startsWith(OUR_PATH));
}

function refuseErrors(what: string, errors: readonly { message: string }[]): void {
  if (errors.length === 0) return;
  const messages = errors.map(({ message }) => message);
  throw new ConnectorError('connector.rejected', `Could not ${what}: ${messages.join('; ')}`, { messages });
}
