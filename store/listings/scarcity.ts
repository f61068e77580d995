/**
 * Scarcity in the database: who has the last units of which variant. Judged where dirty marks become dirty targets, in
 * the same transaction, so that a change of stock and what it means for the last units cannot be torn apart by a kill.
 *
 * Locks: after the targets that the expansion holds, and only rows of `scarcity_episodes`, which nobody locks before targets.
 */
import type { Ids } from '#core/effects.ts';
import { judgeScarcity, type Offer, type ScarcitySettings, type ScarcityVerdict } from '#core/stock/scarcity.ts';
import type { Tx } from '../tx.ts';
import { expandDirty } from './expand.ts';

/** Sales of the last two weeks decide, where sales decide. */
const recentSalesMs = 14 * 86_400_000;

interface Candidate {
  variantId: string;
  available: number;
  variant: ScarcitySettings;
  organization: ScarcitySettings;
  offers: Offer[];
  open: { id: string; connectionId: string; lastUnits: number } | null;
}

/** Dirty marks become dirty targets, and the last units find their connection. @returns as `expandDirty`. */
export async function expand(
  tx: Tx,
  orgId: string,
  context: { now: number; ids: Ids; below?: number | null },
): Promise<{ connectionIds: string[]; more: boolean }> {
  const { scarcity, ...expanded } = await expandDirty(tx, orgId, context.below);
  if (scarcity) await settleScarcity(tx, orgId, scarcity, context);
  return expanded;
}

/** @param asked the variants whose stock or setting changed; `every` = a setting that may concern all of them. */
export async function settleScarcity(
  tx: Tx,
  orgId: string,
  asked: { variantIds: readonly string[]; every: boolean },
  { now, ids }: { now: number; ids: Ids },
): Promise<void> {
  const { rows } = await tx.query<Candidate>({ name: 'scarcity_candidates', text: candidatesSql }, [
    orgId,
    asked.variantIds,
    asked.every,
    new Date(now - recentSalesMs),
  ]);
  const changes = rows
    .map((row) => ({ row, verdict: judgeScarcity(row) }))
    .filter((change): change is Change => change.verdict.kind !== 'unchanged');
  if (changes.length === 0) return;
  const ended = changes.flatMap(({ row }) => (row.open === null ? [] : [row.open.id]));
  if (ended.length > 0)
    await tx.query(
      'update scarcity_episodes set valid_to = greatest($3, valid_from) where org_id = $1 and id = any ($2::uuid[]) and valid_to is null',
      [orgId, ended, new Date(now)],
    );
  await begin(tx, orgId, changes, now, ids);
}

interface Change {
  row: Candidate;
  verdict: Exclude<ScarcityVerdict, { kind: 'unchanged' }>;
}

async function begin(tx: Tx, orgId: string, changes: readonly Change[], now: number, ids: Ids): Promise<void> {
  const begun = changes.flatMap(({ row, verdict }) =>
    verdict.kind === 'end'
      ? []
      : [
          {
            id: ids.uuid(),
            variant_id: row.variantId,
            connection_id: verdict.connectionId,
            last_units: verdict.lastUnits,
            available: row.available,
          },
        ],
  );
  if (begun.length === 0) return;
  await tx.query(
    `insert into scarcity_episodes (org_id, id, variant_id, connection_id, last_units, available, valid_from)
     select $1, id, variant_id, connection_id, last_units, available, $3
     from jsonb_to_recordset($2::jsonb) as b (id uuid, variant_id uuid, connection_id uuid, last_units integer, available integer)
     order by variant_id
     -- Another process, on its way through other marks, was first: its choice stands.
     on conflict (org_id, variant_id) where valid_to is null do nothing`,
    [orgId, JSON.stringify(begun), new Date(now)],
  );
  // Everywhere else it is a cut to zero: first of all. The expansion holds these targets already.
  await tx.query(
    `update targets t set dirty_hint = 0
     from jsonb_to_recordset($2::jsonb) as b (variant_id uuid, connection_id uuid)
     where t.org_id = $1 and t.connection_id <> b.connection_id and t.dirty_version > t.handled_version
       and (t.variant_id = b.variant_id or t.variant_id in (select k.variant_id from bundle_components k
         where k.org_id = $1 and k.component_id = b.variant_id and k.valid_to is null))`,
    [orgId, JSON.stringify(begun)],
  );
}

/** What may have become scarce, or may be so no longer, with everything the judgement needs. $1 org, $2 variants, $3 every, $4 sales since. */
const candidatesSql = `
  with ps as (select scope, scope_id, last_units, last_units_to from policies where org_id = $1 and valid_to is null and (last_units is not null or last_units_to is not null)),
  opened as (select id, variant_id, connection_id, last_units from scarcity_episodes where org_id = $1 and valid_to is null),
  stock as (
    select v.id, coalesce(sum(p.sellable - p.committed - p.reserved) filter (where l.serves_orders), 0)::integer as available
    from variants v
    left join positions p on p.org_id = $1 and p.variant_id = v.id
    left join locations l on l.org_id = $1 and l.id = p.location_id
    where v.org_id = $1 and not v.is_bundle and (v.id = any ($2::uuid[]) or $3)
    group by v.id),
  candidates as materialized (
    select s.id, s.available from stock s
    where s.available <= (select coalesce(max(last_units), -1) from ps) or exists (select from opened e where e.variant_id = s.id)),
  sold_as as (
    select id as part, id as whole, 1 as units from candidates
    union all
    select b.component_id, b.variant_id, b.units from bundle_components b
    where b.org_id = $1 and b.valid_to is null and b.component_id in (select id from candidates)),
  offers as (
    select a.part, t.connection_id, bool_or(a.part = a.whole) as direct,
      bool_or(t.state not in ('paused', 'suspended', 'shadow', 'rejected')) as open
    from sold_as a join targets t on t.org_id = $1 and t.variant_id = a.whole and not t.read_only
    group by a.part, t.connection_id)
  select s.id as "variantId", s.available,
    jsonb_build_object('lastUnits', v.last_units, 'to', v.last_units_to) as variant,
    jsonb_build_object('lastUnits', o.last_units, 'to', o.last_units_to) as organization,
    (select jsonb_build_object('id', e.id, 'connectionId', e.connection_id, 'lastUnits', e.last_units) from opened e where e.variant_id = s.id) as open,
    coalesce((select jsonb_agg(jsonb_build_object('connectionId', c.id, 'priority', c.priority, 'direct', f.direct,
        'writable', f.open and c.paused_at is null and c.state = 'connected' and c.shadow_at is null,
        'sold', case when exists (select from ps where last_units_to = 'sales') then coalesce((
            select sum(l.wanted * a.units) from sold_as a join order_lines l on l.org_id = $1 and l.variant_id = a.whole
            join orders r on r.org_id = $1 and r.id = l.order_id
            where a.part = s.id and r.connection_id = c.id and r.placed_at >= $4), 0) else 0 end,
        'settings', jsonb_build_object('lastUnits', k.last_units, 'to', k.last_units_to)))
      from offers f join connections c on c.org_id = $1 and c.id = f.connection_id and c.deleted_at is null
      left join ps k on k.scope = 'connection' and k.scope_id = c.id
      where f.part = s.id), '[]') as offers
  from candidates s
  left join ps v on v.scope = 'variant' and v.scope_id = s.id
  left join ps o on o.scope = 'organization'`;
