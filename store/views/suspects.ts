/** What about an organization's connections looks misconfigured, for `syncstate doctor`: facts only, words are the command's. */
import type { Tx } from '../tx.ts';

export interface Suspect {
  code:
    | 'webhooks_refused'
    | 'location_unmapped'
    | 'orders_unmapped'
    | 'subscriptions_missing'
    | 'webhook_address_missing'
    | 'settle_absurd'
    | 'lag_absurd';
  connection: string;
  /** How many, or the number in question. */
  n: number;
  /** What exactly, e.g. the channel's location. */
  what: string | null;
}

/** @param webhookPlatforms platforms whose channels call us */
export async function readSuspects(tx: Tx, orgId: string, webhookPlatforms: readonly string[]): Promise<Suspect[]> {
  const { rows } = await tx.query<Suspect>(
    `with c as (select * from connections where org_id = $1 and deleted_at is null)
     select 'webhooks_refused' as code, c.name as connection, c.webhooks_refused as n, null as what from c
     where c.webhook_refused_at > now() - interval '1 day' and not exists (
       select from inbox i where i.connection_id = c.id and i.org_id = $1 and i.source = 'webhook' and i.received_at > c.webhook_refused_at)
     union all
     select 'location_unmapped', c.name, count(*)::int, t.channel_location from c join targets t on t.org_id = $1 and t.connection_id = c.id
     where not t.read_only and not exists (select from connection_locations m where m.org_id = $1 and m.connection_id = c.id and m.channel_location = t.channel_location)
     group by c.name, t.channel_location
     union all
     select 'orders_unmapped', c.name, count(*)::int, min(o.number) from c join orders o on o.org_id = $1 and o.connection_id = c.id
     where o.unmapped and o.placed_at > now() - interval '30 days' group by c.name
     union all
     select 'subscriptions_missing', c.name, w.failures, coalesce(w.error, 'orders came without an event') from c
     join connection_watches w on w.org_id = $1 and w.connection_id = c.id and w.kind = 'subscriptions'
     where w.error is not null or case when jsonb_typeof(w.result -> 'silent' -> 'orders') = 'array' then jsonb_array_length(w.result -> 'silent' -> 'orders') > 0 else false end
     union all
     select 'webhook_address_missing', c.name, 1, null from c where c.kind = 'live' and c.webhook_url is null and c.platform = any ($2::text[])
     union all
     select 'settle_absurd', c.name, (c.settings ->> 'settleMs')::float8::int, null from c where jsonb_typeof(c.settings -> 'settleMs') = 'number'
       and ((c.settings ->> 'settleMs')::float8 < 0 or (c.settings ->> 'settleMs')::float8 > 600000)
     union all
     select 'lag_absurd', c.name, (c.settings ->> 'orderLagMs')::float8::int, null from c where jsonb_typeof(c.settings -> 'orderLagMs') = 'number'
       and ((c.settings ->> 'orderLagMs')::float8 < 0 or (c.settings ->> 'orderLagMs')::float8 > 3600000)
     order by 1, 2, 4`,
    [orgId, webhookPlatforms],
  );
  return rows;
}
