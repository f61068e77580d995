-- The ledger's writing again, cheaper; what it takes, gives and promises is as in 0004. Loading: 0082.
--
-- A claim's first row is inserted plainly ('first commitment'): nobody else can make it, its position is locked; ON CONFLICT looked for
-- it first and wrote a third record to say that it stays.

create or replace function ledger_write(
  o_id uuid[], v_id uuid[], l_id uuid[],
  p_org uuid[], p_variant uuid[], p_location uuid[], p_sellable integer[], p_damaged integer[], p_quarantine integer[],
  p_expired integer[], p_incoming integer[], p_committed integer[], p_reserved integer[], p_version bigint[],
  k_org integer[], k_key text[], k_result json[],
  m_org integer[], m_key text[], m_actor text[], m_reference text[], m_at double precision[], m_id uuid[], m_variant integer[], m_units integer[],
  m_from integer[], m_from_bucket text[], m_to integer[],
  m_to_bucket text[], m_kind text[], m_reason text[],
  e_org integer[], e_key text[], e_actor text[], e_at double precision[], e_claim text[], e_claim_id uuid[], e_variant integer[], e_location integer[], e_delta integer[], e_event text[],
  r_kind text[], r_org integer[], r_claim uuid[], r_variant integer[], r_location integer[], r_as text[], r_open integer[],
  r_spent integer[], r_ended integer[], r_lapsed integer[], r_seq bigint[], r_origin text[], r_expires double precision[],
  d_org uuid[], d_variant uuid[], d_hint integer[], d_sku text[], d_version bigint[],
  p_alerts json, p_resolved json, p_dues json, p_now double precision)
returns void
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
declare
  written integer;
begin
  -- Sorted: who has used keys of ours up in another order would wait for us while we wait for him.
  insert into ledger_effects (org_id, effect_key, result)
  select o_id[k.org], k.effect_key, k.result from unnest(k_org, k_key, k_result) as k (org, effect_key, result)
  order by 1, k.effect_key collate "C";

  -- Absolute numbers, under the lock they were read with; a version that is not the one read is somebody else's mistake.
  insert into positions as p (org_id, variant_id, location_id, sellable, damaged, quarantine, expired, incoming, committed, reserved, version)
  select c.* from unnest(p_org, p_variant, p_location, p_sellable, p_damaged, p_quarantine, p_expired, p_incoming, p_committed, p_reserved, p_version) as c
  on conflict (org_id, variant_id, location_id) do update set
    sellable = excluded.sellable, damaged = excluded.damaged, quarantine = excluded.quarantine, expired = excluded.expired,
    incoming = excluded.incoming, committed = excluded.committed, reserved = excluded.reserved, version = excluded.version,
    updated_at = clock_timestamp()
  where p.version = excluded.version - 1;
  get diagnostics written = row_count;
  if written <> cardinality(p_org) then
    raise exception 'a position changed without its lock' using errcode = '40001';
  end if;

  if cardinality(m_org) > 0 then
    insert into movements (org_id, id, variant_id, units, from_location, from_bucket, to_location, to_bucket, kind, reason,
      reference, actor, effect_key, business_at)
    select o_id[m.org], m.id, v_id[m.variant], m.units, l_id[m.from_location], m.from_bucket, l_id[m.to_location], m.to_bucket, m.kind, m.reason,
      m.reference, m.actor, m.effect_key, to_timestamp(m.at / 1000)
    from unnest(m_org, m_key, m_actor, m_reference, m_at, m_id, m_variant, m_units, m_from, m_from_bucket, m_to, m_to_bucket, m_kind, m_reason)
      as m (org, effect_key, actor, reference, at, id, variant, units, from_location, from_bucket, to_location, to_bucket, kind, reason);
  end if;

  if 'first commitment' = any (r_kind) then
    insert into commitments (org_id, line_id, variant_id, location_id, open, shipped, released, seq)
    select o_id[r.org], r.claim_id, v_id[r.variant], l_id[r.location], r.open, r.spent, r.ended, r.seq
    from unnest(r_kind, r_org, r_claim, r_variant, r_location, r_open, r_spent, r_ended, r_seq)
      as r (kind, org, claim_id, variant, location, open, spent, ended, seq)
    where r.kind = 'first commitment';
  end if;

  if 'commitment' = any (r_kind) then
    insert into commitments (org_id, line_id, variant_id, location_id, open, shipped, released, seq)
    select o_id[r.org], r.claim_id, v_id[r.variant], l_id[r.location], r.open, r.spent, r.ended, r.seq
    from unnest(r_kind, r_org, r_claim, r_variant, r_location, r_open, r_spent, r_ended, r_seq)
      as r (kind, org, claim_id, variant, location, open, spent, ended, seq)
    where r.kind = 'commitment'
    on conflict (org_id, line_id, variant_id, location_id)
      do update set open = excluded.open, shipped = excluded.shipped, released = excluded.released;
  end if;

  if 'hold' = any (r_kind) then
    insert into holds (org_id, hold_id, variant_id, location_id, open, confirmed, released, lapsed, origin, expires_at, seq)
    select o_id[r.org], r.claim_id, v_id[r.variant], l_id[r.location], r.open, r.spent, r.ended, r.lapsed, r.origin, to_timestamp(r.expires / 1000), r.seq
    from unnest(r_kind, r_org, r_claim, r_variant, r_location, r_open, r_spent, r_ended, r_lapsed, r_origin, r_expires, r_seq)
      as r (kind, org, claim_id, variant, location, open, spent, ended, lapsed, origin, expires, seq)
    where r.kind = 'hold'
    on conflict (org_id, hold_id, variant_id, location_id) do update set
      open = excluded.open, confirmed = excluded.confirmed, released = excluded.released, lapsed = excluded.lapsed,
      origin = excluded.origin, expires_at = excluded.expires_at;
  end if;

  if 'shortfall' = any (r_kind) then
    insert into shortfalls (org_id, line_id, variant_id, claim_kind, waiting, filled, cancelled, lapsed, origin, expires_at, seq)
    select o_id[r.org], r.claim_id, v_id[r.variant], r.claim_as, r.open, r.spent, r.ended, r.lapsed, r.origin, to_timestamp(r.expires / 1000), r.seq
    from unnest(r_kind, r_org, r_claim, r_variant, r_as, r_open, r_spent, r_ended, r_lapsed, r_origin, r_expires, r_seq)
      as r (kind, org, claim_id, variant, claim_as, open, spent, ended, lapsed, origin, expires, seq)
    where r.kind = 'shortfall'
    on conflict (org_id, line_id, variant_id, claim_kind) do update set
      waiting = excluded.waiting, filled = excluded.filled, cancelled = excluded.cancelled, lapsed = excluded.lapsed,
      origin = excluded.origin, expires_at = excluded.expires_at;
  end if;

  if cardinality(e_org) > 0 then
    insert into claim_events (org_id, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at)
    select o_id[e.org], e.claim, e.claim_id, v_id[e.variant], l_id[e.location], e.delta, e.event, e.actor, e.effect_key, to_timestamp(e.at / 1000)
    from unnest(e_org, e_key, e_actor, e_at, e_claim, e_claim_id, e_variant, e_location, e_delta, e_event)
      as e (org, effect_key, actor, at, claim, claim_id, variant, location, delta, event);
  end if;

  insert into dirty_variants as x (org_id, variant_id, hint)
  select d.org_id, d.variant_id, d.hint from unnest(d_org, d_variant, d_hint) as d (org_id, variant_id, hint)
  order by d.org_id, d.variant_id
  on conflict (org_id, variant_id) do update set version = x.version + 1, hint = least(x.hint, excluded.hint);

  insert into events (org_id, type, key, version)
  select d.org_id, 'stock', d.sku, d.version from unnest(d_org, d_sku, d_version) as d (org_id, sku, version);

  if p_dues is not null then
    -- A batch may see only some variants of a hold: its row goes when nothing of it that expires stands any more.
    delete from due x using json_to_recordset(p_dues) as r (org_id uuid, subject_id uuid, due_at double precision)
    where r.due_at is null and x.org_id = r.org_id and x.kind = 'hold' and x.subject_id = r.subject_id
      and coalesce((select sum(h.open) from holds h where h.org_id = r.org_id and h.hold_id = r.subject_id and h.expires_at is not null), 0) = 0
      and coalesce((
        select sum(s.waiting) from shortfalls s where s.org_id = r.org_id and s.line_id = r.subject_id and s.claim_kind = 'hold'
          and s.expires_at is not null), 0) = 0;
    insert into due (org_id, kind, subject_id, due_at)
    select r.org_id, 'hold', r.subject_id, to_timestamp(r.due_at / 1000)
    from json_to_recordset(p_dues) as r (org_id uuid, subject_id uuid, due_at double precision)
    where r.due_at is not null order by r.org_id, r.subject_id
    on conflict (org_id, kind, subject_id) do update set due_at = excluded.due_at;
  end if;

  if p_resolved is not null then
    with resolved as (
      update alerts a set resolved_at = to_timestamp(p_now / 1000)
      from json_to_recordset(p_resolved) as r (org_id uuid, dedupe_key text)
      where a.org_id = r.org_id and a.dedupe_key = r.dedupe_key and a.resolved_at is null
      returning a.org_id, a.id, a.count)
    insert into events (org_id, type, key, version) select org_id, 'alert', id, count from resolved;
  end if;

  if p_alerts is not null then
    with raised as (
      insert into alerts as a (org_id, id, kind, severity, message, subject_kind, subject_id, dedupe_key, details, created_at, last_at)
      select r.org_id, r.id, r.kind, r.severity, r.message, r.subject_kind, r.subject_id, r.dedupe_key, r.details,
        to_timestamp(p_now / 1000), to_timestamp(p_now / 1000)
      from json_to_recordset(p_alerts) as r (org_id uuid, id uuid, kind text, severity text, message text, subject_kind text,
        subject_id text, dedupe_key text, details jsonb)
      order by r.org_id, r.dedupe_key
      on conflict (org_id, dedupe_key) where resolved_at is null
        do update set count = a.count + 1, last_at = excluded.last_at, message = excluded.message, details = excluded.details, read_at = null
      returning a.org_id, a.id, a.count)
    insert into events (org_id, type, key, version) select org_id, 'alert', id, count from raised;
  end if;
end
$$;
