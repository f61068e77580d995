/**
 * Expansion: dirty variants and dirty policies become dirty targets, set-wise.
 *
 * The ledger marks at most one row per variant, a policy change one row per policy; which targets they touch is found
 * here, outside those transactions. A mark is deleted only at the version it was expanded at, and never waited for:
 * the ledger may hold its row while it waits for our targets. A mark that stays is expanded again, which is harmless.
 */
import type { Tx } from '../tx.ts';

const marksAtOnce = 1_000;
/** Causes kept per target, the newest. */
const mostCauses = 8;
/** Causes are looked up for so many marks of one expansion; behind a longer backlog nobody asks which sale was which. */
const causesForMarks = 200;

/**
 * Why each marked variant must be published: the newest entries of its log since the mark, by effect key, with the order, its
 * correlation id and the sale's two times where an order was behind it. Read here, so that the ledger's own transactions carry nothing more.
 */
const causesSql = `
    because as materialized (
      select m.variant_id, x.effect_key, x.at, o.*
      from (select variant_id, marked_at from marks limit ${causesForMarks}) m
      cross join lateral (
        -- Looked at by place first: a pattern with a count costs as much as all the rest.
        select u.effect_key, max(u.recorded_at) as at, case when u.effect_key like 'order:%' and substr(u.effect_key, 43, 2) = ':r'
            and pg_input_is_valid(substr(u.effect_key, 7, 36), 'uuid') then substr(u.effect_key, 7, 36)::uuid end as order_id from (
          (select c.effect_key, c.created_at as recorded_at from commitments c
           where c.org_id = $1 and c.variant_id = m.variant_id and c.open > 0 and c.effect_key is not null order by c.seq desc limit ${mostCauses})
          union all
          (select c.effect_key, c.created_at from commitments c
           where c.org_id = $1 and c.variant_id = m.variant_id and c.open = 0 and c.effect_key is not null
           order by c.seq desc limit ${mostCauses})
          union all
          (select e.effect_key, e.recorded_at from claim_changes e where e.org_id = $1 and e.variant_id = m.variant_id
           order by e.business_at desc, e.seq desc limit ${mostCauses})
          union all
          (select v.effect_key, v.recorded_at from movements v where v.org_id = $1 and v.variant_id = m.variant_id
           order by v.business_at desc, v.id desc limit ${mostCauses})) u
        where u.recorded_at >= m.marked_at - interval '1 s' group by u.effect_key order by 2 desc limit ${mostCauses}) x
      left join lateral (
        select h.order_id, h.details from order_events h
        where h.org_id = $1 and h.order_id = x.order_id
          and h.details ->> 'revision' = substr(split_part(x.effect_key, ':', 3), 2)
        limit 1) o on true),
    why as (
      select s.variant_id, jsonb_agg(jsonb_strip_nulls(jsonb_build_object('key', b.effect_key, 'correlationId', coalesce(b.details -> 'correlationId',
          to_jsonb(case when b.effect_key like 'api:%' and length(b.effect_key) = 40 and pg_input_is_valid(substr(b.effect_key, 5), 'uuid') then substr(b.effect_key, 5) end)), 'orderId', b.order_id, 'order', b.details -> 'order',
          'from', b.details -> 'from', 'soldAt', b.details -> 'soldAt', 'receivedAt', b.details -> 'receivedAt')) order by b.at) as causes
      from (select v.variant_id, unnest(v.sources) as source from by_variant v) s join because b on b.variant_id = s.source group by s.variant_id)`;

export interface Expanded {
  /** Connections that now have work. */
  connectionIds: string[];
  /** Marks may be left. */
  more: boolean;
  /** The organization shares out last units: what must be judged anew (store/listings/scarcity.ts). */
  scarcity: { variantIds: string[]; every: boolean } | null;
}

/**
 * @param below only marks of variants that are near this few units: that have no more left, or show no more somewhere (a buffer, a bundle), or
 *   change again and again (each change counts for twenty units); default: all
 */
export async function expandDirty(tx: Tx, orgId: string, below: number | null = null): Promise<Expanded> {
  const { rows } = await tx.query<ExpandedRow>(
    {
      name: 'expand_dirty',
      text: `
    with marks as materialized (
      select variant_id, version, hint, marked_at from dirty_variants d
      where org_id = $1 and ($3::int is null or hint <= $3 + 20 * version
        or exists (select from targets t where t.org_id = $1 and t.variant_id = d.variant_id and t.desired <= $3)
        or exists (select from bundle_components b join targets t on t.org_id = $1 and t.variant_id = b.variant_id and t.desired <= $3
          where b.org_id = $1 and b.component_id = d.variant_id and b.valid_to is null))
      order by hint, marked_at limit $2),
    named as (select scope, scope_id, version, marked_at from dirty_policies where org_id = $1 limit $2),
    by_variant as (
      select variant_id, min(hint) as hint, min(marked_at) as since, array_agg(source) as sources, sum(version)::int as changes from (
        select variant_id, hint, marked_at, variant_id as source, version from marks
        union all
        select b.variant_id, least(m.hint, 1000000), m.marked_at, m.variant_id, m.version from marks m
        join bundle_components b on b.org_id = $1 and b.component_id = m.variant_id and b.valid_to is null
      ) every group by variant_id),
    by_policy as (
      -- LATERAL: without a changed policy no number is looked at.
      select t.id, min(p.marked_at) as since from named p cross join lateral (select t.id from targets t where t.org_id = $1 and (
        p.scope = 'organization'
        or (p.scope = 'connection' and t.connection_id = p.scope_id)
        or (p.scope = 'target' and t.id = p.scope_id)
        or (p.scope = 'variant' and (t.variant_id = p.scope_id or exists (select from bundle_components b
            where b.org_id = $1 and b.variant_id = t.variant_id and b.component_id = p.scope_id and b.valid_to is null)))
        or (p.scope = 'listing' and exists (select from listings l where l.org_id = $1 and l.id = p.scope_id
            and l.connection_id = t.connection_id and l.stock_key = t.stock_key))) offset 0) t
      group by t.id),
    touched as (
      select id, min(hint) as hint, min(since) as since, min(variant_id::text)::uuid as variant_id, max(changes) as changes from (
        select t.id, v.hint, v.since, v.variant_id, v.changes from by_variant v join targets t on t.org_id = $1 and t.variant_id = v.variant_id
        union all select id, 1000000, since, null, 0 from by_policy) every group by id),
    ${causesSql},
    locked as materialized (
      select t.id, c.hint, c.since, coalesce(w.causes, '[]') as causes, c.changes
      from targets t join touched c on c.id = t.id left join why w on w.variant_id = c.variant_id
      where t.org_id = $1 order by t.id for update of t),
    marked as (
      update targets t set
        dirty_version = t.dirty_version + 1,
        dirty_hint = case when t.dirty_version > t.handled_version then least(t.dirty_hint, l.hint) else l.hint end,
        dirty_since = coalesce(least(t.dirty_since, l.since), l.since),
        next_try_at = null,
        causes = (select coalesce(jsonb_agg(k.cause order by k.place), '[]') from (
          select old.cause, old.n as place from jsonb_array_elements(t.causes) with ordinality as old (cause, n) where t.dirty_version > t.handled_version
          union all
          select new.cause, 1000 + new.n from jsonb_array_elements(l.causes) with ordinality as new (cause, n)
          where not exists (select from jsonb_array_elements(t.causes) as told where told ->> 'key' = new.cause ->> 'key')
          order by 2 desc limit ${mostCauses}) k),
        changes_waiting = case when t.dirty_version > t.handled_version then t.changes_waiting else 0 end + l.changes,
        state = case when t.state = 'in_sync' then 'pending' else t.state end
      from locked l where t.org_id = $1 and t.id = l.id returning t.connection_id)
    select (select count(*) from marks)::int as marks, (select count(*) from named)::int as policies,
      (select array_agg(distinct connection_id) from marked) as connection_ids,
      (select jsonb_agg(jsonb_build_array(variant_id, version)) from marks) as variant_versions,
      (select jsonb_agg(jsonb_build_array(scope, scope_id, version)) from named) as policy_versions,
      exists (select from policies where org_id = $1 and last_units is not null and valid_to is null)
        or exists (select from scarcity_episodes where org_id = $1 and valid_to is null) as scarcity`,
    },
    [orgId, marksAtOnce, below],
  );
  const [row] = rows as [ExpandedRow];
  if (row.marks > 0) {
    await tx.query(
      {
        name: 'expand_clear',
        // Each mark by its key, then by its place in the table: joined, a plan made while the table was empty would walk all
        // marks for every mark, and the ledger would wait for it.
        text: `
      with seen as materialized (
        select d.ctid from unnest($2::uuid[], $3::bigint[]) as m (variant_id, version)
        cross join lateral (select ctid from dirty_variants
          where org_id = $1 and variant_id = m.variant_id and version = m.version for update skip locked) d)
      delete from dirty_variants where org_id = $1 and ctid = any (array(select ctid from seen))`,
      },
      [
        orgId,
        (row.variant_versions ?? []).map(([variantId]) => variantId),
        (row.variant_versions ?? []).map(([, version]) => version),
      ],
    );
  }
  if (row.policies > 0) {
    await tx.query(
      `delete from dirty_policies d using (
        select d.scope, d.scope_id, d.version from dirty_policies d
        join jsonb_array_elements($2::jsonb) m on d.scope = m ->> 0 and d.scope_id = (m ->> 1)::uuid and d.version = (m ->> 2)::bigint
        where d.org_id = $1 for update of d skip locked) done
      where d.org_id = $1 and d.scope = done.scope and d.scope_id = done.scope_id and d.version = done.version`,
      [orgId, JSON.stringify(row.policy_versions)],
    );
  }
  return {
    connectionIds: row.connection_ids ?? [],
    more: row.marks >= marksAtOnce || row.policies >= marksAtOnce,
    scarcity: row.scarcity && row.marks + row.policies > 0 ? concerned(row) : null,
  };
}

interface ExpandedRow {
  marks: number;
  policies: number;
  connection_ids: string[] | null;
  variant_versions: [variantId: string, version: number][] | null;
  policy_versions: [scope: string, scopeId: string, version: number][] | null;
  scarcity: boolean;
}

function concerned({ variant_versions, policy_versions }: ExpandedRow): { variantIds: string[]; every: boolean } {
  const policies = policy_versions ?? [];
  return {
    variantIds: [
      ...(variant_versions ?? []).map(([variantId]) => variantId),
      ...policies.filter(([scope]) => scope === 'variant').map(([, scopeId]) => scopeId),
    ],
    // A mark of the organization alone holds the targets of all connections, which share out the last units together.
    every: policies.some(([scope]) => scope === 'organization'),
  };
}

/** One row per policy, whatever it touches; called in the transaction that changes the policy. */
export async function markPolicyDirty(tx: Tx, orgId: string, scope: string, scopeId: string): Promise<void> {
  await tx.query(
    `insert into dirty_policies as d (org_id, scope, scope_id) values ($1, $2, $3)
     on conflict (org_id, scope, scope_id) do update set version = d.version + 1`,
    [orgId, scope, scopeId],
  );
}
