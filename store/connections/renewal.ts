/**
 * Renewal of credentials that a channel exchanges: under a lease per connection, so that two processes never exchange at the same
 * time (the second would kill the token that the first one just got).
 *
 *   take → mine: ask the channel, then keep | give back
 *        → another's: wait, and take again: what is stored has changed by then, or the lease has ended
 */
import type { Tx } from '../tx.ts';

/** What is stored now, and whether the caller has the lease. */
export interface Renewal {
  credentials: Buffer | null;
  mine: boolean;
}

/** @returns null: no such connection, or deleted */
export async function takeRenewal(
  tx: Tx,
  orgId: string,
  connectionId: string,
  { holder, now, untilMs }: { holder: string; now: number; untilMs: number },
): Promise<Renewal | null> {
  const { rows } = await tx.query<Renewal>(
    `update connections set
       renewal_holder = case when renewal_until > to_timestamp($4::float8 / 1000.0) then renewal_holder else $3::uuid end,
       renewal_until = case when renewal_until > to_timestamp($4::float8 / 1000.0) then renewal_until else to_timestamp($5::float8 / 1000.0) end
     where org_id = $1 and id = $2 and deleted_at is null
     returning credentials, renewal_holder = $3::uuid as mine`,
    [orgId, connectionId, holder, now, untilMs],
  );
  return rows[0] ?? null;
}

/**
 * Stores what the channel gave, if what is stored is still what was exchanged, and ends the lease.
 * @returns what is stored now: ours, or what somebody else stored meanwhile
 */
export async function keepRenewed(
  tx: Tx,
  orgId: string,
  connectionId: string,
  { holder, before, after }: { holder: string; before: Buffer | null; after: Buffer },
): Promise<Buffer | null> {
  const { rows } = await tx.query<{ credentials: Buffer | null }>(
    `update connections set credentials = case when credentials is not distinct from $4::bytea then $5::bytea else credentials end,
       renewal_until = case when renewal_holder = $3::uuid then null else renewal_until end
     where org_id = $1 and id = $2 and deleted_at is null
     returning credentials`,
    [orgId, connectionId, holder, before, after],
  );
  return rows[0]?.credentials ?? null;
}

/** The exchange failed: the next one may try at once. */
export async function giveRenewalBack(tx: Tx, orgId: string, connectionId: string, holder: string): Promise<void> {
  await tx.query(
    'update connections set renewal_until = null where org_id = $1 and id = $2 and renewal_holder = $3::uuid',
    [orgId, connectionId, holder],
  );
}
