/**
 * Notifications to the seller's queue: after `ensure` Amazon sends every type we act on there, once.
 *
 *   destination   the application's name for the queue; found by its ARN, else made
 *   subscription  one per type, seller and application; one to another destination, of another payload version or with a
 *                 filter is ours too, and is replaced: removed first, because two cannot stand side by side [§7.2]
 *
 * A 409 means somebody was quicker or an answer was lost: it is looked up again. Checked at start, on a schedule and when the
 * queue falls silent. Who may write into the queue is the owner's policy at AWS (§7.2.1), which nothing here can see.
 */
import type { CallOptions, SubscriptionReport, SubscriptionsPort } from '../kit/ports.ts';
import type { AmazonClient, Answer } from './client.ts';
import type { AmazonSettings } from './settings.ts';

/** What we act on (notifications.ts), and the payload version its reader knows: documented [§7.1, §7.3]. */
const TYPES = [{ type: 'ORDER_CHANGE', payloadVersion: '1.0' }] as const;
const DESTINATION_NAME = 'syncstate';

export function subscriptionsPort({ client, queueArn }: { client: AmazonClient; queueArn: string }): SubscriptionsPort {
  return {
    async ensure(_, call) {
      const destinationId = await destinationOf(client, queueArn, call);
      const report: SubscriptionReport = { existing: [], created: [], removed: [] };
      for (const wanted of TYPES) await ensureType(client, { ...wanted, destinationId }, report, call);
      return report;
    },
  };
}

async function destinationOf(client: AmazonClient, arn: string, call: CallOptions): Promise<string> {
  const known = await find();
  if (known !== null) return known;
  const made = await client.createDestination(DESTINATION_NAME, arn, call);
  if (made.kind === 'answered') return made.answer.value.payload.destinationId;
  const again = made.refused.status === 409 ? await find() : null;
  if (again === null) throw made.refused.fault;
  return again;

  async function find(): Promise<string | null> {
    const { payload } = answered(await client.getDestinations(call));
    return payload.find(({ resource }) => resource?.sqs?.arn === arn)?.destinationId ?? null;
  }
}

interface Wanted {
  type: string;
  payloadVersion: string;
  destinationId: string;
}

async function ensureType(
  client: AmazonClient,
  { type, payloadVersion, destinationId }: Wanted,
  report: SubscriptionReport,
  call: CallOptions,
): Promise<void> {
  const found = await client.getSubscription(type, call);
  if (found.kind === 'refused' && found.refused.status !== 404) throw found.refused.fault;
  const there = found.kind === 'answered' ? (found.answer.value.payload ?? null) : null;
  const fault =
    there === null
      ? null
      : there.destinationId !== destinationId
        ? 'another destination'
        : there.payloadVersion !== payloadVersion
          ? `payload version ${there.payloadVersion}`
          : there.processingDirective == null
            ? null
            : 'filtered';
  if (there !== null && fault === null) {
    report.existing.push(type);
    return;
  }
  if (there !== null) {
    const gone = await client.deleteSubscription(type, there.subscriptionId, call);
    if (gone.kind === 'refused' && gone.refused.status !== 404) throw gone.refused.fault;
    report.removed.push(`${type} ${there.destinationId} (${fault})`);
  }
  const made = await client.createSubscription(type, { payloadVersion, destinationId }, call);
  if (made.kind === 'refused' && made.refused.status !== 409) throw made.refused.fault;
  report.created.push(type);
}

function answered<T>(answer: Answer<T>): T {
  if (answer.kind === 'refused') throw answer.refused.fault;
  return answer.answer.value;
}

/** `https://sqs.{region}.amazonaws.com/{account}/{name}` says the queue's ARN; elsewhere the settings must. null: no queue. */
export function queueArnOf({ queueUrl, queueArn }: AmazonSettings): string | null {
  if (queueArn !== undefined || queueUrl === undefined) return queueArn ?? null;
  const { hostname, pathname } = new URL(queueUrl);
  const region = /^sqs\.([a-z0-9-]+)\.amazonaws\.com$/.exec(hostname)?.[1];
  const [account, name] = pathname.split('/').filter(Boolean);
  return region && account && name ? `arn:aws:sqs:${region}:${account}:${name}` : null;
}
