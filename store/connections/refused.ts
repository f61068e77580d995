/** Deliveries refused for their signature: written down per connection, so that somebody can be told that a secret is wrong. */
import type { Tx } from '../tx.ts';

export async function noteRefusedWebhooks(
  tx: Tx,
  orgId: string,
  connectionId: string,
  count: number,
  now: number,
): Promise<void> {
  await tx.query(
    `update connections set webhooks_refused = least(webhooks_refused::bigint + $3, 1000000)::int, webhook_refused_at = to_timestamp($4::float8 / 1000.0)
     where org_id = $1 and id = $2`,
    [orgId, connectionId, count, now],
  );
}
