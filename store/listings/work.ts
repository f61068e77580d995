/**
 * Work of a lane: a slice of targets with everything their numbers follow from, in one statement, so that a slice is one
 * moment in time. Which targets a lane claims is asked right before: in one statement with the rest it took three times as
 * long to plan, on every connection anew, and what is claimed is looked at as of the load in any case.
 *
 * Claimed, in this order: dirty by the stored hint (0, few, other; a part of the slice for what waited half a minute), numbers to be
 * read, gaps and first numbers whose orders have been read past, writes a predecessor left open, and states on their way that nothing else moves on:
 * whatever was committed before a kill, what remains is work. A stock key's other targets are loaded
 * too: buffer and cap are spent once over all of them.
 */

import { type DriftPolicy, healsWithinMs, type StandingDrift } from '#core/stock/drift.ts';
import type { PolicyFields, PolicyScope } from '#core/stock/publishable.ts';
import { fewUnits } from '#core/stock/urgency.ts';
import type { Tx } from '../tx.ts';

/** Why a target is to be published (migrations/0040). Times are Unix ms. */
export interface Cause {
  /** The effect key of the ledger command. */
  key: string;
  correlationId?: string;
  orderId?: string;
  /** The order's number. */
  order?: string;
  /** The connection of the sale. */
  from?: string;
  /** The channel's own time of the order's version. */
  soldAt?: number;
  /** When its event reached us. */
  receivedAt?: number;
}

export interface WorkTarget {
  id: string;
  picked: boolean;
  stockKey: string;
  channelLocation: string;
  variantId: string | null;
  expected: number | null;
  expectedHigh: number | null;
  unknown: boolean;
  base: number | null;
  unseen: number;
  /** Orders are known past the gap: nobody sold it. */
  unseenReleased: boolean;
  /** Units of its channel's own orders that no booking knows yet: their lines wait for the SKU that this number now has. */
  unbooked: number;
  /**
   * It is not raised before orders are known past this vendor time; null = it may be. `raiseOpen`: that of another number of its
   * stock key, which may settle the matter sooner.
   */
  raiseAfter: number | null;
  raiseOpen: boolean;
  pendingValue: number | null;
  /** The outcome of its last write, or of one before, is not known. */
  openAttempt: boolean;
  /** Unix ms by our clock; null = nothing settles. */
  settlesAt: number | null;
  observed: number | null;
  desired: number | null;
  accepted: number | null;
  state: string;
  reason: string | null;
  readOnly: boolean;
  seenVersion: number;
  effectSeq: number;
  dirtyVersion: number;
  dirty: boolean;
  dirtySince: number | null;
  readDue: number | null;
  tries: number;
  /** Counts every change but dirty marks. */
  version: number;
  /** The open feed its number travels in. */
  feedId: string | null;
  /** The stock sweep it owes a look. */
  sweepId: string | null;
  /** What stands unexplained about its number: open, or dismissed and left as it is. */
  drift: (StandingDrift & { id: string; settled: boolean }) | null;
  /** What the waiting, or last handled, changes were; oldest first. */
  causes: Cause[];
  sku: string | null;
}

export interface WorkListing {
  id: string;
  stockKey: string;
  variantId: string | null;
  paused: boolean;
  notWritable: string | null;
  fulfilledBy: 'us' | 'channel';
}

export interface WorkVariant {
  id: string;
  sku: string;
  isBundle: boolean;
  /** A plain variant's own stock is one part with one unit. */
  parts: WorkPart[];
}

export interface WorkPart {
  variantId: string;
  sku: string;
  units: number;
  buffer: number;
  /** By location id. */
  available: Record<string, number>;
  /** Its last units are offered on this connection only. */
  scarce: { connectionId: string; connection: string; lastUnits: number } | null;
}

export interface WorkPlace {
  channelLocation: string;
  locationId: string;
  isDefault: boolean;
  priority: number;
  /** Its stock is older than its limit. */
  outdated?: { code: string; readAt: number; limitMs: number; action: 'zero' | 'suspend' } | null;
}

export interface Work {
  connection: {
    id: string;
    state: string;
    /** Halted by a pause of its own or a stop of all pushes (halts.ts). */
    paused: boolean;
    /** Computed and recorded, not sent (shadow.ts). */
    shadow: boolean;
    settings: Record<string, unknown>;
    priority: number;
    /**
     * Somewhere on it sales are presumed that no imported order explains yet, and their orders should be asked for: none of its
     * orders come in by themselves just now, or a gap stands for longer than they would take.
     */
    askOrders: boolean;
    /** The first of the times of its gaps; null = there is none. */
    gapsAfter: number | null;
    /** The first of the times that orders must be known past before something may be raised; null = nothing is held for it. */
    raisesAfter: number | null;
  } | null;
  targets: WorkTarget[];
  listings: WorkListing[];
  variants: WorkVariant[];
  places: WorkPlace[];
  policies: { scope: PolicyScope; scopeId: string; fields: WorkPolicy }[];
}

/** `lastUnits` of a connection: 0 = its numbers are never withheld for scarcity. */
export type WorkPolicy = PolicyFields & { lastUnits: number | null; drift: DriftPolicy | null };

/** Looks that are due wait so much longer where more units are shown than this. */
export interface LateLooks {
  ms: number;
  above: number;
}

export type Pick =
  /**
   * `below`: only what may fall to so few units, and nothing that can wait; null = everything. `orFast`: also what shows no more (a
   * buffer), and what has lost a fifth or more since its number was last computed.
   */
  | {
      kind: 'claim';
      limit: number;
      exclude: readonly string[];
      below: number | null;
      orFast: boolean;
      openWrites: boolean;
      /** Default: no look waits. */
      lateLooks?: LateLooks | null;
    }
  | { kind: 'ids'; ids: readonly string[] };

/** While a connection's orders come in by themselves, a gap waits so long for its own. */
const lateOrderMs = 10_000;

/** The pause or the lost authorisation that stopped it still stands; judged by its cause, whoever set or ended that. */
export const notStopped = `not (t.state = 'unauthorized' and c.state = 'unauthorized')
         and not (t.state = 'paused' and (c.halted is not null or exists (select from listings l
           where l.org_id = $1 and l.connection_id = $2 and l.stock_key = t.stock_key and l.paused_at is not null)))`;

/** As the index targets_on_the_way has it. */
const onTheWay = `t.state in ('pending', 'sent', 'settling', 'unknown', 'unreachable') and t.dirty_version <= t.handled_version
         and t.read_due is null and t.pending_value is null and t.unseen = 0 and t.variant_id is not null and not t.read_only`;

/** Not already in this lane's hands, and not in a feed: what is there, lane-feeds.ts follows. */
const single = `t.id <> all($4::uuid[]) and t.feed_id is null`;

const given = `n as (select to_timestamp($3::float8 / 1000.0) as at),
  c as materialized (select *, pushes_halted($1, $2) as halted from connections where org_id = $1 and id = $2 and deleted_at is null)`;

const claimSql = `
  with ${given}
    select id, min(rank), min(since) from (
      (select t.id, case when t.dirty_hint <= 0 then 0 when t.dirty_hint <= ${fewUnits} then 1 else 2 end as rank, t.dirty_since as since
       from targets t, n, c where t.org_id = $1 and t.connection_id = $2 and t.dirty_version > t.handled_version and t.variant_id is not null
         and ${notStopped} and not t.read_only and (t.next_try_at is null or t.next_try_at <= n.at) and ${single}
         and ($6::int is null or t.dirty_hint <= $6 or ($8 and (t.desired is null or t.desired <= $6 or (t.desired - t.dirty_hint) * 4 > t.dirty_hint)))
       order by t.dirty_hint limit $5)
      union all
      -- What has waited long is always among the slice, so that nothing starves behind a stream of urgent work.
      (select t.id, 1, t.dirty_since
       from targets t, n, c where t.org_id = $1 and t.connection_id = $2 and t.dirty_version > t.handled_version and t.variant_id is not null
         and t.dirty_since < n.at - interval '30 s' and $6::int is null
         and ${notStopped} and not t.read_only and (t.next_try_at is null or t.next_try_at <= n.at) and ${single}
       order by t.dirty_since limit greatest(1, $5 / 4))
      union all
      (select t.id, 3, t.read_due from targets t, n
       where t.org_id = $1 and t.connection_id = $2 and t.read_due <= (select at from n) and $6::int is null and t.state <> 'unauthorized'
         and ($9::int is null or t.read_due <= n.at - $9 * interval '1 ms' or coalesce(t.desired, 0) <= $10) and ${single} order by t.read_due limit $5)
      union all
      (select t.id, 3, t.unseen_at from targets t, n, c
       where t.org_id = $1 and t.connection_id = $2 and t.unseen > 0 and date_trunc('second', c.orders_read_to) > t.unseen_at and $6::int is null
         and ${notStopped} and ${single} limit $5)
      union all
      (select t.id, 3, t.raise_after from targets t, n, c
       where t.org_id = $1 and t.connection_id = $2 and t.state = 'pending' and t.raise_after < (select date_trunc('second', orders_read_to) from c) and $6::int is null
         and ${notStopped} and (t.next_try_at is null or t.next_try_at <= n.at) and ${single} order by t.raise_after limit $5)
      union all
      (select t.id, 2, null from targets t, n, c
       where $7 and t.org_id = $1 and t.connection_id = $2 and t.pending_value is not null and t.settles_at is null
         and t.variant_id is not null and not t.read_only
         and ${notStopped} and (t.next_try_at is null or t.next_try_at <= n.at) and ${single} limit $5)
      union all
      (select t.id, 2, t.state_at from targets t, c
       where t.org_id = $1 and t.connection_id = $2 and t.state in ('paused', 'unauthorized') and $6::int is null and ${notStopped}
         and ${single} limit $5)
      union all
      -- Between two commits of a turn somebody was killed: a state that is on its way, and nothing that moves it on.
      (select t.id, 2, t.state_at from targets t, n, c
       where t.org_id = $1 and t.connection_id = $2 and ${onTheWay} and $6::int is null and not (t.state = 'unreachable' and c.state = 'unreachable')
         and (t.next_try_at is null or t.next_try_at <= n.at) and ${single} limit $5)
    ) every group by id order by 2, 3 nulls last limit greatest(1, $5 * 5 / 4)`;

/** Each looked up by one key of its item: LATERAL, or a plan made over few lines would read all that wait. */
const waitingLines = (key: string) => `cross join lateral (
        select x.id, x.order_id, x.channel_location, x.wanted, x.shipped from order_lines x
        where (select waits from unmapped) and x.org_id = $1 and x.variant_id is null and not x.bundle_parent and ${key} offset 0) l`;

/**
 * Units that are off these numbers and in no position: what `completeMapping` (core/order/import.ts) will book. A line is found by
 * the first thing that names its item, as its variant will be.
 */
const unbookedSql = `
  -- Looked at first: nearly always there is none, and no line is looked for.
  unmapped as materialized (select exists (select from orders x where x.org_id = $1 and x.connection_id = $2 and x.unmapped) as waits),
  unbooked as materialized (
    select w.stock_key, w.channel_location, sum(
      case when o.status = 'cancelled' then 0 else greatest(0, w.wanted - w.shipped) end
      + case when o.placed_at >= (select created_at from c) then w.shipped else 0 end)::int as units
    from (
      select k.stock_key, l.* from k ${waitingLines('x.stock_key = k.stock_key')}
      union
      select ls.stock_key, l.* from ls ${waitingLines('x.stock_key is null and x.variant_external_id = ls.variant_external_id')}
      union
      select ls.stock_key, l.* from ls ${waitingLines('x.stock_key is null and x.variant_external_id is null and x.channel_sku = ls.channel_sku')}) w
    cross join lateral (select x.connection_id, x.unmapped, x.fulfilled_by, x.status, x.placed_at from orders x
      where x.org_id = $1 and x.id = w.order_id offset 0) o
    where o.connection_id = $2 and o.unmapped and o.fulfilled_by = 'us'
    group by w.stock_key, w.channel_location)`;

/**
 * Until when orders must be known before a number is raised (core/stock/observe.ts): its first one, and units of unknown place, as long as
 * another number of the stock key may show them, or where one lacked more than they explain.
 */
const heldSql = `
  held as materialized (
    select e.* from (
      select t.id, t.raise_after as at, false as open from ts t where t.raise_after is not null
      union all
      select t.id, case when u.unexplained_at is null or other.open then greatest(u.last_at, u.unexplained_at) else u.unexplained_at end, true
      from ts t cross join lateral (select x.last_at, x.unexplained_at from unplaced_effects x
        where x.org_id = $1 and x.connection_id = $2 and x.stock_key = t.stock_key offset 0) u
      cross join lateral (select exists (select from ts o where o.stock_key = t.stock_key and o.id <> t.id and o.unknown and o.base is not null
        and o.state <> 'rejected' and not o.read_only) as open) other
      where other.open or u.unexplained_at is not null) e
    where not coalesce(date_trunc('second', (select orders_read_to from c)) > e.at, false))`;

/** json, not jsonb: it is only read by us, and sorting its keys took more than half of the time. */
const loadSql = `
  with ${given},
  -- Looked at only when there is a gap.
  orders_flow as (select exists (select from inbox i, n where i.org_id = $1 and i.connection_id = $2 and i.received_at > n.at - interval '1 s'
    and i.kind = 'order' and i.source in ('webhook', 'queue')) as flowing),
  -- LATERAL: a slice costs what it holds, however many numbers the connection has and whenever the plan was made.
  picked as materialized (select t.id, t.stock_key from unnest($4::uuid[]) as w (id)
    cross join lateral (select x.id, x.stock_key from targets x where x.org_id = $1 and x.id = w.id and x.connection_id = $2 offset 0) t),
  k as materialized (select distinct stock_key from picked),
  ts as materialized (select t.*, p.id is not null as picked from k
    cross join lateral (select x.* from targets x where x.org_id = $1 and x.connection_id = $2 and x.stock_key = k.stock_key offset 0) t
    left join picked p on p.id = t.id),
  ls as materialized (select l.* from k
    cross join lateral (select x.* from listings x where x.org_id = $1 and x.connection_id = $2 and x.stock_key = k.stock_key offset 0) l),
  ${unbookedSql},
  ${heldSql},
  vs as materialized (select v.id, v.sku, v.is_bundle from (select distinct variant_id as id from ts) w
    cross join lateral (select x.id, x.sku, x.is_bundle from variants x where x.org_id = $1 and x.id = w.id offset 0) v)
  select
    (select json_build_object('id', c.id, 'state', c.state, 'paused', c.halted is not null, 'shadow', c.shadow_at is not null, 'settings', c.settings, 'priority', c.priority,
      'askOrders', exists (select from targets t where t.org_id = $1 and t.connection_id = $2 and t.unseen > 0
        and (t.unseen_at <= (select at from n) - interval '${lateOrderMs} ms' or (select not flowing from orders_flow))),
      'gapsAfter', (select round(extract(epoch from min(t.unseen_at)) * 1000) from targets t where t.org_id = $1 and t.connection_id = $2 and t.unseen > 0),
      'raisesAfter', (select round(extract(epoch from t.raise_after) * 1000) from targets t where t.org_id = $1 and t.connection_id = $2 and t.state = 'pending'
        and t.raise_after is not null and t.raise_after >= coalesce(date_trunc('second', c.orders_read_to), '-infinity') order by t.raise_after limit 1)) from c) as connection,
    coalesce((select json_agg(json_build_object('id', t.id, 'picked', t.picked, 'stockKey', t.stock_key, 'channelLocation', t.channel_location,
      'variantId', t.variant_id, 'expected', t.expected, 'expectedHigh', t.expected_high, 'unknown', t.unknown, 'base', t.base, 'unseen', t.unseen,
      'unseenReleased', t.unseen > 0 and coalesce(date_trunc('second', (select orders_read_to from c)) > t.unseen_at, false),
      'unbooked', coalesce((select sum(u.units) from unbooked u where u.stock_key = t.stock_key and coalesce(u.channel_location, t.channel_location) = t.channel_location), 0),
      'raiseAfter', (select round(extract(epoch from max(h.at)) * 1000) from held h where h.id = t.id), 'raiseOpen', exists (select from held h where h.id = t.id and h.open),
      'pendingValue', t.pending_value,
      'openAttempt', t.pending_value is not null and exists (select from attempts a where a.org_id = $1 and a.connection_id = $2 and a.target_id = t.id
        and (a.outcome is null or a.outcome = 'unknown')),
      'settlesAt', round(extract(epoch from t.settles_at) * 1000), 'observed', t.observed, 'desired', t.desired,
      'accepted', t.accepted, 'state', t.state, 'reason', t.reason, 'readOnly', t.read_only, 'seenVersion', t.seen_version, 'effectSeq', t.effect_seq,
      'dirtyVersion', t.dirty_version, 'dirty', t.dirty_version > t.handled_version,
      'dirtySince', round(extract(epoch from t.dirty_since) * 1000), 'readDue', round(extract(epoch from t.read_due) * 1000), 'tries', t.tries, 'version', t.version, 'feedId', t.feed_id, 'causes', t.causes,
      'sweepId', t.sweep_id, 'drift', (select json_build_object('id', d.id, 'state', d.state, 'units', d.units, 'desired', d.desired, 'refused', d.cause = 'rejected_write',
          'settled', d.settled_at is not null, 'heals', (select coalesce(sum(h.times), 0) from drifts h where h.org_id = $1 and h.target_id = t.id
            and h.policy = 'heal' and h.id <> d.id and h.found_at > (select at from n) - interval '${healsWithinMs} ms'))
        from drifts d where d.org_id = $1 and d.target_id = t.id and (d.ended_at is null or (d.state = 'dismissed' and t.state = 'drifted'))
        order by d.ended_at desc nulls first limit 1))) from ts t), '[]') as targets,
    coalesce((select json_agg(json_build_object('id', l.id, 'stockKey', l.stock_key, 'variantId', l.variant_id, 'paused', l.paused_at is not null,
      'notWritable', l.not_writable, 'fulfilledBy', l.fulfilled_by) order by l.id) from ls l), '[]') as listings,
    coalesce((select json_agg(json_build_object('id', v.id, 'sku', v.sku, 'isBundle', v.is_bundle, 'parts', coalesce((
        select json_agg(json_build_object('variantId', p.variant_id, 'sku', p.sku, 'units', p.units,
          'buffer', case when v.is_bundle then coalesce((select o.buffer from policies o where o.org_id = $1 and o.scope = 'variant' and o.scope_id = p.variant_id and o.valid_to is null), 0) else 0 end,
          'available', coalesce((select json_object_agg(s.location_id, s.sellable - s.committed - s.reserved) from positions s
            where s.org_id = $1 and s.variant_id = p.variant_id), '{}'),
          'scarce', (select json_build_object('connectionId', e.connection_id, 'connection', n.name, 'lastUnits', e.last_units)
            from scarcity_episodes e join connections n on n.org_id = $1 and n.id = e.connection_id
            where e.org_id = $1 and e.variant_id = p.variant_id and e.valid_to is null)) order by p.sku)
        from (
          select v.id as variant_id, v.sku, 1 as units where not v.is_bundle
          union all
          select b.component_id, w.sku, b.units from bundle_components b join variants w on w.org_id = $1 and w.id = b.component_id
          where v.is_bundle and b.org_id = $1 and b.variant_id = v.id and b.valid_to is null) p), '[]'))) from vs v), '[]') as variants,
    coalesce((select json_agg(json_build_object('channelLocation', m.channel_location, 'locationId', m.location_id, 'isDefault', l.is_default, 'priority', l.priority,
      'outdated', (select json_build_object('code', l.code, 'readAt', round(extract(epoch from f.read_at) * 1000), 'limitMs', f.limit_ms, 'action', f.action) from location_freshness f, n
        where f.org_id = $1 and f.location_id = l.id and f.read_at + f.limit_ms * interval '1 ms' <= n.at))
      order by l.is_default desc, l.priority, l.code)
      from connection_locations m join locations l on l.org_id = $1 and l.id = m.location_id
      where m.org_id = $1 and m.connection_id = $2), '[]') as places,
    coalesce((select json_agg(json_build_object('scope', o.scope, 'scopeId', o.scope_id, 'fields',
      json_build_object('buffer', o.buffer, 'shareBp', o.share_bp, 'cap', o.cap, 'lastUnits', o.last_units, 'drift', o.drift))) from policies o
      where o.org_id = $1 and o.valid_to is null and (
        (o.scope = 'organization' and o.scope_id = $1) or (o.scope = 'connection' and o.scope_id = $2)
        or (o.scope = 'variant' and o.scope_id in (select id from vs)) or (o.scope = 'listing' and o.scope_id in (select id from ls))
        or (o.scope = 'target' and o.scope_id in (select id from ts)))), '[]') as policies`;

const claim = { name: 'work_claim', text: claimSql };
const load = { name: 'work_load', text: loadSql };

/** @param now our clock, Unix ms. */
export async function loadWork(tx: Tx, orgId: string, connectionId: string, now: number, pick: Pick): Promise<Work> {
  const ids = pick.kind === 'ids' ? pick.ids : await claimed(tx, orgId, connectionId, now, pick);
  const { rows } = await tx.query<Loaded>(load, [orgId, connectionId, now, ids]);
  const work = rows[0] as Loaded;
  const skus = new Map(work.variants.map(({ id, sku }) => [id, sku]));
  return {
    ...work,
    targets: work.targets.map((target) => ({ ...target, sku: skus.get(target.variantId ?? '') ?? null })),
  };
}

type Loaded = Omit<Work, 'targets'> & { targets: Omit<WorkTarget, 'sku'>[] };

async function claimed(
  tx: Tx,
  orgId: string,
  connectionId: string,
  now: number,
  { exclude, limit, below, openWrites, orFast, lateLooks: late }: Extract<Pick, { kind: 'claim' }>,
): Promise<string[]> {
  const values = [
    orgId,
    connectionId,
    now,
    exclude,
    limit,
    below,
    openWrites,
    orFast,
    late?.ms ?? null,
    late?.above ?? 0,
  ];
  const { rows } = await tx.query<{ id: string }>(claim, values);
  return rows.map(({ id }) => id);
}

/** Some number of the connection, preferably one we keep: to ask the channel anything. */
export async function anyTarget(
  tx: Tx,
  orgId: string,
  connectionId: string,
): Promise<{ stockKey: string; channelLocation: string } | null> {
  const { rows } = await tx.query<{ stockKey: string; channelLocation: string }>(
    {
      name: 'target_any',
      text: `select stock_key as "stockKey", channel_location as "channelLocation" from targets
             where org_id = $1 and connection_id = $2 order by read_only, stock_key limit 1`,
    },
    [orgId, connectionId],
  );
  return rows[0] ?? null;
}
