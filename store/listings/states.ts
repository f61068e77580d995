/**
 * States of targets: what a look at them came to when nothing was sent, and the events that tell a screen.
 */
import type { Tx } from '../tx.ts';
import { markOffersOpen } from './scarce-marks.ts';

export interface Finding {
  targetId: string;
  desired: number | null;
  steps: unknown;
  state: string;
  reason: string | null;
  /** Dirty version that is dealt with; null = the mark stays. */
  handledVersion: number | null;
  /** Our clock; null = at the next chance. */
  nextTryAt: number | null;
  /** Orders are known past the gap: it is no sale. */
  releaseUnseen: boolean;
  /** The reading that was due is done or not needed; a number = look again then. */
  readDue: 'keep' | 'clear' | number;
  /** The row's version this follows from: a look that somebody asked for since is kept. */
  version: number;
  readOnly?: boolean;
  /** In shadow mode: what would have been sent, null = nothing; absent = not looked at so far. */
  wouldSend?: { value: number; from: number | null } | null;
}

export async function recordFindings(tx: Tx, orgId: string, findings: readonly Finding[], now: number): Promise<void> {
  if (findings.length === 0) return;
  const rows = findings.map((finding) => ({
    ...finding,
    readAt: typeof finding.readDue === 'number' ? finding.readDue : null,
    keepRead: finding.readDue === 'keep',
    readOnly: finding.readOnly ?? null,
  }));
  await tx.query(
    {
      name: 'findings_record',
      text: `
    with r as (select * from jsonb_to_recordset($2::jsonb) as r("targetId" uuid, desired int, steps jsonb, state text, reason text,
      "handledVersion" bigint, "nextTryAt" float8, "releaseUnseen" boolean, "readAt" float8, "keepRead" boolean, "readOnly" boolean, version bigint)),
    n as (select to_timestamp($3::float8 / 1000.0) as at),
    -- A gap that was added since is not released: judged on the locked row.
    locked as materialized (
      select t.id, coalesce(date_trunc('second', c.orders_read_to) > t.unseen_at, false) as released,
        case when date_trunc('second', c.orders_read_to) > t.raise_after then null else t.raise_after end as raise_after
      from targets t join r on r."targetId" = t.id join connections c on c.org_id = $1 and c.id = t.connection_id
      where t.org_id = $1 order by t.id for update of t)
    update targets t set
      desired = coalesce(r.desired, t.desired), desired_at = case when r.desired is null then t.desired_at else n.at end,
      desired_steps = coalesce(r.steps, t.desired_steps),
      state = case when r.state = 'in_sync' and t.dirty_version > coalesce(r."handledVersion", t.handled_version) then 'pending' else r.state end,
      reason = r.reason, state_at = case when t.state = r.state and t.desired is not distinct from coalesce(r.desired, t.desired) then t.state_at else n.at end,
      handled_version = case when r."handledVersion" is null then t.handled_version else greatest(t.handled_version, r."handledVersion") end,
      dirty_since = case when r."handledVersion" >= t.dirty_version then null else t.dirty_since end,
      next_try_at = to_timestamp(r."nextTryAt" / 1000.0),
      read_due = case when r."keepRead" or t.version <> r.version then coalesce(t.read_due, to_timestamp(r."readAt" / 1000.0)) else to_timestamp(r."readAt" / 1000.0) end,
      unseen = case when l.released and r."releaseUnseen" then 0 else t.unseen end,
      unseen_at = case when l.released and r."releaseUnseen" then null else t.unseen_at end,
      raise_after = l.raise_after,
      read_only = coalesce(r."readOnly", t.read_only), version = t.version + 1
    from r, n, locked l where t.org_id = $1 and t.id = r."targetId" and l.id = t.id`,
    },
    [orgId, JSON.stringify(rows), now],
  );
}

/** One row per listing in `events` for targets whose visible numbers or state changed. */
export async function announce(tx: Tx, orgId: string, targetIds: readonly string[]): Promise<void> {
  if (targetIds.length === 0) return;
  await tx.query(
    {
      name: 'listing_events',
      // LATERAL, as in the ledger: a plan made while the tables were small would walk all listings for each target.
      text: `insert into events (org_id, type, key, version)
           select $1, 'listing', l.id::text, max(t.version) from unnest($2::uuid[]) as w (id)
           cross join lateral (
             select x.connection_id, x.stock_key, x.version from targets x where x.org_id = $1 and x.id = w.id offset 0) t
           cross join lateral (
             select x.id from listings x
             where x.org_id = $1 and x.connection_id = t.connection_id and x.stock_key = t.stock_key offset 0) l
           group by l.id order by l.id`,
    },
    [orgId, targetIds],
  );
}

/** The connection works again, or does not: its targets stand in that state, with everything that waits kept. */
export async function setConnectionState(
  tx: Tx,
  orgId: string,
  connectionId: string,
  state: 'connected' | 'unauthorized' | 'unreachable',
  reason: string | null,
  now: number,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update connections set state = $3, state_reason = $4 where org_id = $1 and id = $2 and state <> $3`,
    [orgId, connectionId, state, reason],
  );
  if (rowCount === 0) return false;
  if (state === 'connected') await markOffersOpen(tx, orgId);
  await tx.query(
    state === 'connected'
      ? `update targets t set state = 'pending', reason = null, state_at = to_timestamp($3::float8 / 1000.0), next_try_at = null,
           dirty_version = t.dirty_version + 1, dirty_since = coalesce(t.dirty_since, to_timestamp($3::float8 / 1000.0)), version = version + 1
         where t.org_id = $1 and t.connection_id = $2 and t.state in ('unauthorized', 'unreachable') and not t.read_only and $4::text is null`
      : `update targets t set state = $5, reason = $4, state_at = to_timestamp($3::float8 / 1000.0), version = version + 1
         where t.org_id = $1 and t.connection_id = $2 and t.state not in ('read_only', 'paused', 'unmapped', 'shadow') and t.state <> $5`,
    state === 'connected' ? [orgId, connectionId, now, null] : [orgId, connectionId, now, reason, state],
  );
  return true;
}

/** Whoever found out that the authorisation has ended: its targets stand in that state. */
export async function settleUnauthorized(tx: Tx, orgId: string, connectionId: string, now: number): Promise<void> {
  await tx.query(
    {
      name: 'unauthorized_settle',
      text: `
    with locked as materialized (
      select t.id, c.state_reason from targets t join connections c on c.org_id = $1 and c.id = $2 and c.state = 'unauthorized'
      where t.org_id = $1 and t.connection_id = $2 and t.state not in ('unauthorized', 'read_only', 'paused', 'unmapped', 'shadow')
      order by t.id for update of t)
    update targets t set state = 'unauthorized', reason = l.state_reason, state_at = to_timestamp($3::float8 / 1000.0), version = t.version + 1
    from locked l where t.org_id = $1 and t.id = l.id`,
    },
    [orgId, connectionId, now],
  );
}
