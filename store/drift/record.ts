/**
 * Drifts as they are found: opened in the transaction that saw the number, with the evidence of that moment.
 *
 * One open drift per target; the same again adds to it. Locks: after the target (store/locks.ts), which every caller holds.
 */
import type { Ids } from '#core/effects.ts';
import { causeOf, type DriftCause } from '#core/stock/drift.ts';
import type { Shown } from '#core/stock/observe.ts';
import { resolveAlerts } from '../attention/alerts.ts';
import { announce } from '../listings/states.ts';
import type { Tx } from '../tx.ts';

export interface DriftDraft {
  targetId: string;
  /** observed − expected; a refused write's follows from what the target knows and what we wanted. */
  units: number;
  base: number | null;
  baseAt: number | null;
  effects: Shown['effects'];
  expected: number | null;
  observed: number | null;
  observedAt: number;
  cause: DriftCause;
  reason?: string | null;
}

/**
 * Opens, or adds to what is open. Numbers we do not keep (unmapped, the vendor's own, only watched) do not drift.
 * A due row asks when its cause can be settled.
 */
export async function openDrifts(
  tx: Tx,
  orgId: string,
  drafts: readonly DriftDraft[],
  context: { ids: Ids; now: number },
): Promise<void> {
  if (drafts.length === 0) return;
  const rows = drafts.map((draft) => ({ ...draft, reason: draft.reason ?? null, id: context.ids.uuid() }));
  const { rows: opened } = await tx.query<{ id: string; isNew: boolean }>(
    {
      name: 'drifts_open',
      text: `
    with r as (select * from jsonb_to_recordset($2::jsonb) as r(id uuid, "targetId" uuid, units int, base int, "baseAt" float8, effects jsonb,
      expected int, observed int, "observedAt" float8, cause text, reason text)),
    n as (select to_timestamp($3::float8 / 1000.0) as at)
    insert into drifts as d (org_id, id, target_id, connection_id, variant_id, cause, units, base, base_at, effects, expected, observed, observed_at,
      desired, attempts, reason, found_at, last_at)
    select $1, r.id, t.id, t.connection_id, t.variant_id, r.cause,
      case when r.cause = 'rejected_write' then coalesce(coalesce(r.observed, t.expected, t.observed) - r.expected, 0) else r.units end,
      coalesce(r.base, t.base), coalesce(to_timestamp(r."baseAt" / 1000.0), t.base_at), r.effects, r.expected, coalesce(r.observed, t.expected, t.observed),
      to_timestamp(r."observedAt" / 1000.0), t.desired,
      coalesce((select jsonb_agg(jsonb_build_object('value', a.value, 'from', a.from_value, 'outcome', a.outcome, 'sentAt', a.sent_at) order by a.sent_at desc, a.id desc)
        from (select * from attempts a where a.org_id = $1 and a.target_id = t.id and a.sent_at > n.at - interval '1 day'
          order by a.sent_at desc, a.id desc limit 10) a), '[]'),
      r.reason, n.at, n.at
    from r, n, targets t, connections c
    where t.org_id = $1 and t.id = r."targetId" and t.variant_id is not null and not t.read_only
      and c.org_id = $1 and c.id = t.connection_id and c.shadow_at is null
    order by r.id
    on conflict (org_id, target_id) where ended_at is null do update set
      units = case when excluded.cause = 'rejected_write' then excluded.units else d.units + excluded.units end,
      cause = case when excluded.cause = 'unknown' then d.cause else excluded.cause end,
      observed = excluded.observed, observed_at = greatest(d.observed_at, excluded.observed_at), attempts = excluded.attempts,
      reason = coalesce(excluded.reason, d.reason), times = d.times + 1, last_at = excluded.last_at, settled_at = null
    returning d.id, d.times = 1 as "isNew"`,
    },
    [orgId, JSON.stringify(rows), context.now],
  );
  if (opened.length === 0) return;
  await tx.query(
    {
      name: 'drifts_due',
      text: `insert into due (org_id, kind, subject_id, due_at) select $1, 'drift', i, to_timestamp($3::float8 / 1000.0) from unnest($2::uuid[]) as i order by i
             on conflict (org_id, kind, subject_id) do update set due_at = least(due.due_at, excluded.due_at)`,
    },
    [orgId, opened.map(({ id }) => id), context.now],
  );
}

/** Orders are known past these gaps: nobody sold those units, so they are drift, and no longer presumed sold. */
export async function releaseToDrift(
  tx: Tx,
  orgId: string,
  targetIds: readonly string[],
  context: { ids: Ids; now: number },
): Promise<void> {
  const { rows } = await tx.query<{
    id: string;
    unseen: number;
    unseen_at: Date;
    base: number | null;
    base_at: Date | null;
    effects: Shown['effects'];
    observed: number | null;
  }>(
    // Judged on the locked row: a gap that was added since is not released.
    `with locked as materialized (
       select t.* from targets t join connections c on c.org_id = $1 and c.id = t.connection_id
       where t.org_id = $1 and t.id = any($2) and t.unseen > 0 and date_trunc('second', c.orders_read_to) > t.unseen_at order by t.id for update of t),
     freed as (
       update targets t set unseen = 0, unseen_at = null, version = t.version + 1, dirty_version = t.dirty_version + 1,
         dirty_since = coalesce(t.dirty_since, to_timestamp($3::float8 / 1000.0))
       from locked l where t.org_id = $1 and t.id = l.id)
     select id, unseen, unseen_at, base, base_at, effects, observed from locked`,
    [orgId, targetIds, context.now],
  );
  await openDrifts(
    tx,
    orgId,
    rows.map((row) => ({
      targetId: row.id,
      units: -row.unseen,
      base: row.base,
      baseAt: row.base_at?.getTime() ?? null,
      effects: row.effects,
      expected: row.observed === null ? null : row.observed + row.unseen,
      observed: row.observed,
      observedAt: row.unseen_at.getTime(),
      cause: 'unknown' as const,
    })),
    context,
  );
  for (const { id } of await openOf(
    tx,
    orgId,
    rows.map(({ id }) => id),
  ))
    await settleDrift(tx, orgId, id, context.now);
}

async function openOf(tx: Tx, orgId: string, targetIds: readonly string[]): Promise<{ id: string }[]> {
  if (targetIds.length === 0) return [];
  const { rows } = await tx.query<{ id: string }>(
    'select id from drifts where org_id = $1 and target_id = any($2) and ended_at is null order by id',
    [orgId, targetIds],
  );
  return rows;
}

interface Unsettled {
  id: string;
  target_id: string;
  state: string;
  cause: DriftCause;
  units: number;
  observed: number | null;
  observed_at: Date;
  base_at: Date | null;
  attempts: { value: number; outcome: string | null }[];
  explained: { source: string; units: number }[];
  orders_read_to: Date | null;
  read_past: boolean;
  mapped_at: Date | null;
}

/**
 * Names the cause, once orders are read past the observation. @returns whether it is settled now (also: gone).
 * What an order that came by itself explains was no drift: the number was only quicker than its order.
 */
export async function settleDrift(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rows } = await tx.query<Unsettled>(
    `select d.id, d.target_id, d.state, d.cause, d.units, d.observed, d.observed_at, d.base_at, d.attempts, d.explained, c.orders_read_to,
       coalesce(date_trunc('second', c.orders_read_to) > d.observed_at, false) as read_past,
       (select max(m.valid_to) from listing_mappings m join targets t on t.org_id = $1 and t.id = d.target_id
          join listings l on l.org_id = $1 and l.connection_id = t.connection_id and l.stock_key = t.stock_key
        where m.org_id = $1 and m.listing_id = l.id) as mapped_at
     from drifts d join connections c on c.org_id = $1 and c.id = d.connection_id
     where d.org_id = $1 and d.id = $2 and d.settled_at is null for update of d`,
    [orgId, id],
  );
  const row = rows[0];
  if (!row) return true;
  if (!row.read_past && row.cause !== 'rejected_write') return false;
  const cause =
    row.cause === 'rejected_write'
      ? row.cause
      : causeOf({
          observed: row.observed,
          observedAt: row.observed_at.getTime(),
          baseAt: row.base_at?.getTime() ?? null,
          attempts: row.attempts,
          mappedAt: row.mapped_at?.getTime() ?? null,
          ordersRead: row.read_past,
          lostOrders: row.explained.some(({ source }) => source === 'sweep'),
        });
  await tx.query(
    `update drifts set cause = $3, settled_at = to_timestamp($4::float8 / 1000.0), orders_read_to = $5 where org_id = $1 and id = $2`,
    [orgId, id, cause, now, row.orders_read_to],
  );
  await announce(tx, orgId, [row.target_id]);
  return true;
}

/** Whose drift it is and when (Unix ms, ours) it was last seen; null when it is gone, or its connection is. */
export async function waitingSince(
  tx: Tx,
  orgId: string,
  id: string,
): Promise<{ connectionId: string; seenAt: number } | null> {
  const { rows } = await tx.query<{ connectionId: string; seenAt: Date }>(
    `select d.connection_id as "connectionId", d.last_at as "seenAt" from drifts d
     join connections c on c.org_id = $1 and c.id = d.connection_id and c.deleted_at is null where d.org_id = $1 and d.id = $2`,
    [orgId, id],
  );
  return rows[0] ? { ...rows[0], seenAt: rows[0].seenAt.getTime() } : null;
}

/** Nobody needs to decide about these numbers any more. */
export async function closeAlerts(tx: Tx, orgId: string, targetIds: readonly string[], now: number): Promise<void> {
  await resolveAlerts(tx, orgId, 'drift', targetIds, now);
  await resolveAlerts(tx, orgId, 'drift_flapping', targetIds, now);
}

/** Our number stands again. */
export async function endHealed(tx: Tx, orgId: string, targetIds: readonly string[], now: number): Promise<void> {
  if (targetIds.length === 0) return;
  await tx.query(
    {
      name: 'drifts_healed',
      text: `update drifts set state = 'healed', ended_at = to_timestamp($3::float8 / 1000.0)
             where org_id = $1 and target_id = any($2) and ended_at is null and (state = 'healing' or cause = 'rejected_write')`,
    },
    [orgId, targetIds, now],
  );
}

export interface Explanation {
  targetId: string;
  /** Signed like a drift: < 0 a sale, > 0 units given back. */
  units: number;
  order: string;
  /** The order came because a sweep found it: no event told us. */
  swept: boolean;
  observed: number | null;
  observedAt: number;
}

/** One explanation per target at a time: each may change which drift the next one is about. */
function turnsOf(found: readonly Explanation[]): Explanation[][] {
  const turns: Explanation[][] = [];
  const had = new Map<string, number>();
  for (const one of found) {
    const turn = had.get(one.targetId) ?? 0;
    had.set(one.targetId, turn + 1);
    const others = turns[turn];
    if (others) others.push(one);
    else turns[turn] = [one];
  }
  return turns;
}

const entryOf = ({ order, units, swept }: Explanation) => [
  { externalId: order, units, source: swept ? 'sweep' : 'event' },
];

interface Explained {
  /** Which of the turn's explanations, from 0. */
  n: number;
  id: string;
  ended: boolean;
  units: number;
  /** By all that explained it so far. */
  told: number;
  swept: boolean;
}

/**
 * Imported orders say why numbers were other than expected. A drift that stands is explained by them; of a gap that was only
 * presumed sales, one that a sweep had to find is kept as a lost order.
 */
export async function explainDrifts(
  tx: Tx,
  orgId: string,
  found: readonly Explanation[],
  context: { ids: Ids; now: number },
): Promise<void> {
  for (const turn of turnsOf(found)) {
    const told = await addExplanations(tx, orgId, turn);
    const known = new Set(told.map(({ n }) => n));
    await keepLostOrders(
      tx,
      orgId,
      turn.filter((one, n) => !known.has(n) && one.swept && one.units < 0),
      context,
    );
    await endExplained(
      tx,
      orgId,
      turn,
      told.filter(({ told: units, units: all }) => Math.abs(units) >= Math.abs(all)),
      context.now,
    );
  }
}

async function addExplanations(tx: Tx, orgId: string, turn: readonly Explanation[]): Promise<Explained[]> {
  const rows = turn.map((one, n) => ({ n, targetId: one.targetId, units: one.units, entry: entryOf(one) }));
  const { rows: told } = await tx.query<Explained>(
    {
      name: 'drifts_explain',
      text: `
    with r as (select * from jsonb_to_recordset($2::jsonb) as r(n int, "targetId" uuid, units int, entry jsonb)),
    meant as materialized (
      select r.n, r.entry, d.id from r cross join lateral (
        select o.id from drifts o where o.org_id = $1 and o.target_id = r."targetId" and sign(o.units) = sign(r.units)
          and o.cause <> 'rejected_write' and (o.ended_at is null or o.settled_at is null)
        order by o.ended_at nulls first, o.found_at desc limit 1) d)
    update drifts d set explained = d.explained || m.entry from meant m where d.org_id = $1 and d.id = m.id
    returning m.n, d.id, d.ended_at is not null as ended, d.units,
      (select sum((e->>'units')::int) from jsonb_array_elements(d.explained) e)::int as told,
      exists (select from jsonb_array_elements(d.explained) e where e->>'source' = 'sweep') as swept`,
    },
    [orgId, JSON.stringify(rows)],
  );
  return told;
}

/** What orders that came by themselves explain was no drift; what a sweep had to find stays as a lost order. */
async function endExplained(
  tx: Tx,
  orgId: string,
  turn: readonly Explanation[],
  whole: readonly Explained[],
  now: number,
): Promise<void> {
  if (whole.length === 0) return;
  const idsOf = (swept: boolean) => whole.filter((row) => row.swept === swept).map(({ id }) => id);
  await tx.query('delete from drifts where org_id = $1 and id = any($2)', [orgId, idsOf(false)]);
  await tx.query(
    `update drifts set cause = 'lost_order', state = case when ended_at is null and state <> 'healing' then 'explained' else state end,
       ended_at = coalesce(ended_at, case when state <> 'healing' then to_timestamp($3::float8 / 1000.0) end)
     where org_id = $1 and id = any($2)`,
    [orgId, idsOf(true), now],
  );
  const stood = whole.filter(({ ended }) => !ended).map(({ n }) => turn[n]?.targetId ?? '');
  await lookAgain(tx, orgId, stood, now);
}

/** Nothing stands in the way of our numbers any more. */
async function lookAgain(tx: Tx, orgId: string, targetIds: readonly string[], now: number): Promise<void> {
  if (targetIds.length === 0) return;
  await tx.query(
    `update targets set dirty_version = dirty_version + 1, dirty_since = coalesce(dirty_since, to_timestamp($3::float8 / 1000.0)), version = version + 1
     where org_id = $1 and id = any($2)`,
    [orgId, targetIds, now],
  );
  await closeAlerts(tx, orgId, targetIds, now);
}

/** How long its own event may still take until an order counts as lost. */
const lateMs = 120_000;

async function keepLostOrders(
  tx: Tx,
  orgId: string,
  lost: readonly Explanation[],
  { ids, now }: { ids: Ids; now: number },
): Promise<void> {
  if (lost.length === 0) return;
  const rows = lost.map((one) => ({
    id: ids.uuid(),
    targetId: one.targetId,
    units: one.units,
    expected: one.observed === null ? null : one.observed - one.units,
    observed: one.observed,
    observedAt: one.observedAt,
    entry: entryOf(one),
  }));
  await tx.query(
    {
      name: 'drifts_lost',
      text: `
    with r as (select * from jsonb_to_recordset($2::jsonb)
      as r(id uuid, "targetId" uuid, units int, expected int, observed int, "observedAt" float8, entry jsonb)),
    n as (select to_timestamp($3::float8 / 1000.0) as at),
    kept as (
      insert into drifts (org_id, id, target_id, connection_id, variant_id, cause, units, base, base_at, expected, observed, observed_at, desired, explained,
        state, found_at, last_at, ended_at)
      select $1, r.id, t.id, t.connection_id, t.variant_id, 'lost_order', r.units, t.base, t.base_at, r.expected, r.observed,
        to_timestamp(r."observedAt" / 1000.0), t.desired, r.entry, 'explained', n.at, n.at, n.at
      from r cross join n join targets t on t.org_id = $1 and t.id = r."targetId" order by r.id)
    insert into due (org_id, kind, subject_id, due_at) select $1, 'drift', r.id, to_timestamp($4::float8 / 1000.0) from r order by r.id`,
    },
    [orgId, JSON.stringify(rows), now, now + lateMs],
  );
}

/** Of a lost order whose event came after all nothing is kept: it was late. */
export async function dropLate(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `delete from drifts d where d.org_id = $1 and d.id = $2 and d.cause = 'lost_order' and d.state = 'explained'
       and not exists (select from jsonb_array_elements(d.explained) e where not exists (
         select from inbox i where i.org_id = $1 and i.connection_id = d.connection_id and i.kind = 'order' and i.external_id = e->>'externalId'
           and i.source in ('webhook', 'queue')))`,
    [orgId, id],
  );
  return (rowCount ?? 0) > 0;
}
