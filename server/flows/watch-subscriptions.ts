/**
 * Whether a channel still sends us its events: its subscriptions are compared with what we want and put right, and its silence
 * is told from quiet times by its orders: a sweep that finds new ones while no event comes is the evidence.
 *
 * Looked at when a connection is new, every hour, at start, after re-authorisation, and soon after a sweep had to find an order.
 * Shopify removes a subscription after repeated failures; nobody tells (documented).
 */
import { raiseAlerts, resolveAlerts } from '#store/attention/alerts.ts';
import { readSilence, type Silence, webhookUrlOf } from '#store/connections/watches.ts';
import type { Tx } from '#store/tx.ts';
import type { IntakeOptions } from './intake.ts';
import type { ConnectionRef } from './publisher-types.ts';
import type { Watch } from './watch-connections.ts';

const EVERY_MS = 3_600_000;
/** An order's own event may come so long after a sweep has found it. */
export const LATE_MS = 120_000;

export interface SubscriptionLook {
  /** right: as wanted · repaired: something was missing or wrong · no_address: nobody said where webhooks go · none: the channel has no events for us */
  state: 'right' | 'repaired' | 'no_address' | 'none';
  url: string | null;
  existing: string[];
  created: string[];
  removed: string[];
  silent: Silence | null;
}

export function subscriptionWatch(options: IntakeOptions): Watch {
  const { store, clock, platforms } = options;
  return {
    kind: 'subscriptions',
    platforms,
    async look(connection, opened, { last, signal }) {
      const { orgId, connectionId } = connection;
      const nothing = { existing: [], created: [], removed: [], silent: null };
      const { subscriptions } = opened.channel;
      const url = await store.tenant(orgId, (tx) => webhookUrlOf(tx, orgId, connectionId));
      if (!subscriptions) return next({ state: 'none', url, ...nothing });
      if (url === null && opened.manifest.events.webhooks) return next({ state: 'no_address', url, ...nothing });
      const report = await subscriptions.ensure(url, { budget: 'read', signal });
      const changed = report.created.length + report.removed.length > 0;
      const silent = await store.tenant(orgId, (tx) => readSilence(tx, orgId, connectionId, clock.now() - LATE_MS));
      const look: SubscriptionLook = { state: changed ? 'repaired' : 'right', url, ...report, silent };
      // Of a connection that is new, or told another address by us, nothing was lost.
      const expected = last !== null && ['right', 'repaired'].includes(String(last.state)) && last.url === url;
      await store.tenant(orgId, (tx) => tell(options, tx, connection, look, expected));
      return next(look);
    },
  };

  function next(look: SubscriptionLook): { result: Record<string, unknown>; nextAt: number } {
    return { result: { ...look }, nextAt: clock.now() + EVERY_MS };
  }
}

async function tell(
  { ids, clock }: IntakeOptions,
  tx: Tx,
  { orgId, connectionId }: ConnectionRef,
  look: SubscriptionLook,
  expected: boolean,
): Promise<void> {
  const now = clock.now();
  const about = { subject: { kind: 'connection', id: connectionId }, details: { ...look } };
  const raise = (kind: 'subscription_repaired' | 'subscription_silent', message: string) =>
    raiseAlerts(tx, orgId, [{ ...about, kind, message }], { ids, now });
  const orders = look.silent?.orders.map(({ externalId }) => externalId) ?? [];
  const evidence =
    orders.length === 0
      ? ''
      : ` Meanwhile ${orders.length === 1 ? 'an order was' : `${orders.length} orders were`} found by sweeps alone (${orders.slice(0, 3).join(', ')}).`;
  if (look.state === 'repaired' && expected) {
    const what =
      look.created.length > 0 ? `made anew: ${look.created.join(', ')}` : `removed: ${look.removed.join(', ')}`;
    await raise(
      'subscription_repaired',
      `Events of this channel were not subscribed as they should be; ${what}.${evidence} Sweeps cover the time between.`,
    );
  }
  if (look.state === 'right' && look.silent)
    await raise(
      'subscription_silent',
      `Everything is subscribed, yet no event of this channel arrives.${evidence} Check that ${look.url ?? 'the queue'} can be reached and its secret is right.`,
    );
  else if (!look.silent) await resolveAlerts(tx, orgId, 'subscription_silent', [connectionId], now);
}
