-- The ledger reads and writes less for the same promises (figures: docs/ledger-cost.md). ledger_take and ledger_book do what ledger_load and
-- ledger_write did; those stay for the release before and keep working on what changes here.

-- 0. All tables this changes, before anything: the release before posts meanwhile, and has some of them when it comes for the others, in
--    either order. Whoever posts is waited for at positions; what another still has then is not waited for: all is given back, and tried again.
do $$
begin
  loop
    begin
      lock table positions in access exclusive mode;
      lock table commitments, claim_events, events in access exclusive mode nowait;
      exit;
    exception when lock_not_available then
      perform pg_sleep(0.02 * random());
    end;
    if clock_timestamp() > transaction_timestamp() + interval '5 min' then
      raise exception 'the ledger''s tables are in use by a transaction that does not end';
    end if;
  end loop;
end $$;

-- 1. A commitment's row carries the first entry of its own log: one row and one index entry per order line instead of two and three. The
--    entry never changes: nobody has the right to. `claim_events`, the whole log, is a view of both; later entries are in claim_changes.
alter table claim_events rename to claim_changes;
alter sequence claim_events_seq_seq rename to claim_log_seq;
grant usage on sequence claim_log_seq to syncstate_app;
alter table commitments
  -- Place in the log, units, ClaimEvent, who, by which command, when it happened. Null: made before this was kept here, or without any entry.
  add column first_seq bigint,
  add column first_delta integer check (first_delta > 0),
  add column first_event text,
  add column actor text,
  add column effect_key text,
  add column business_at timestamptz;
revoke update on commitments from syncstate_app;
grant update (open, shipped, released) on commitments to syncstate_app;

-- Of a variant: the open ones, and those that are closed, for the past; the newest first. Each partial, so that no look-up by line takes it.
create index commitments_open_by_variant on commitments (org_id, variant_id, seq) where open > 0;
create index commitments_closed_by_variant on commitments (org_id, variant_id, seq) where open = 0;
drop index commitments_open;

create view claim_events with (security_invoker = true) as
  select org_id, first_seq as seq, 'commitment' as claim, line_id as claim_id, variant_id, location_id, first_delta as delta,
    first_event as event, actor, effect_key, business_at, created_at as recorded_at
  from commitments where first_delta is not null and open > 0
  union all
  select org_id, first_seq, 'commitment', line_id, variant_id, location_id, first_delta, first_event, actor, effect_key, business_at, created_at
  from commitments where first_delta is not null and open = 0
  union all
  select org_id, seq, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at, recorded_at from claim_changes;
grant select on claim_events to syncstate_app;

-- The release before writes its log where the rest of the log is now.
do $$
begin
  execute replace(pg_get_functiondef('ledger_write'::regproc), 'insert into claim_events ', 'insert into claim_changes ');
end $$;

-- 2. Stock that changed is told by one row per batch, of up to 64 variants, instead of a row per variant; who reads it finds the SKUs
--    (store/views/events.ts). key and version mean nothing then.
alter table events add column variants uuid[], add column versions bigint[];

-- 3. Whoever makes a position beside others of its variant, which it has locked, writes those anew: so who waited for them sees that
--    there may be more to lock than the statement that waited could see (ledger_take). It holds the variant until it ends: so there is
--    never a position beside it that it cannot see.
create function positions_beside() returns trigger
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
begin
  if exists (select from made) then
    -- One after the other: of two who make a variant's first positions at two places, neither sees the other's. By SKU, as whoever
    -- imports products has them.
    perform from (
      select m.org_id, m.variant_id
      from (select distinct x.org_id, x.variant_id from made x offset 0) m
      cross join lateral (
        -- As in ledger_skus.
        select x.sku from variants x where x.org_id = m.org_id and x.id >= m.variant_id order by x.id limit 1) v
      order by m.org_id, v.sku collate "C" offset 0) m
    cross join lateral (
      select from variants x where x.org_id = m.org_id and x.id >= m.variant_id order by x.id limit 1 for no key update) v;
    insert into positions as p (org_id, variant_id, location_id)
    select b.org_id, b.variant_id, b.location_id
    from (select distinct m.org_id, m.variant_id from made m offset 0) m
    cross join lateral (
      -- What this transaction wrote is young already. Not waited for, like what is locked in the second pass of ledger_take.
      select x.org_id, x.variant_id, x.location_id from positions x
      where x.org_id = m.org_id and x.variant_id = m.variant_id and x.xmin <> pg_current_xact_id()::xid
      for no key update nowait) b
    on conflict (org_id, variant_id, location_id) do update set version = p.version;
  end if;
  return null;
end $$;
create trigger positions_beside after insert on positions referencing new table as made
  for each statement execute function positions_beside();

-- Locks all positions of the variants a batch names, in (org, variant, location) order, then loads what it needs to decide.
-- p_orgs: the organizations that the other lists name by index, from 1 · w: variants · n: named positions, by index into w, made when missing
-- (null: at the default location) · c: claims · f: those of them, by index, whose variants only the claim knows · k: effect keys
-- positions: [index into w, location, buckets, version, place in the table] · added: variants added to w · waiting: variants with waiting shortfalls
create function ledger_take(
  p_orgs uuid[], w_org integer[], w_variant uuid[], n_variant integer[], n_location uuid[], c_org integer[], c_id uuid[], f_claim integer[],
  k_org integer[], k_key text[], p_seqs integer,
  out places json, out positions json, out added json, out waiting json, out claims json, out effects json, out seqs json,
  -- Variants that do not exist.
  out missing integer)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
declare
  -- Younger rows of positions may have been written after this began.
  horizon constant integer := age(pg_snapshot_xmin(pg_current_snapshot())::xid);
  found_org integer[];
  found_variant uuid[];
  -- Indexes of the variants of all locked positions, and of those locked positions that are younger than the horizon.
  locked integer[];
  young integer[];
  -- Variants with a position.
  held integer;
  made boolean := false;
begin
  if cardinality(f_claim) > 0 then
    select array_agg(f.org), array_agg(f.variant_id), json_agg(json_build_array(f.org, f.variant_id)) into found_org, found_variant, added
    from (
      select c_org[i.claim] as org, r.variant_id
      from unnest(f_claim) as i (claim)
      cross join lateral (
        select x.variant_id from commitments x where x.org_id = p_orgs[c_org[i.claim]] and x.line_id = c_id[i.claim]
        union all select x.variant_id from holds x where x.org_id = p_orgs[c_org[i.claim]] and x.hold_id = c_id[i.claim]
        union all select x.variant_id from shortfalls x where x.org_id = p_orgs[c_org[i.claim]] and x.line_id = c_id[i.claim]
        offset 0) r
      except
      select * from unnest(w_org, w_variant)) f;
    w_org := w_org || found_org;
    w_variant := w_variant || found_variant;
  end if;

  -- Lock and read in one pass, sorted: a row that was waited for is given as it is now (read committed), not as the snapshot has it.
  -- After the first pass without waiting: what is locked then may sort before what we hold, and who has it may wait for us
  -- (lock_not_available is a lost race: store/tx.ts repeats the transaction).
  loop
    if locked is null then
      select coalesce(array_agg(p.i), '{}'), count(distinct p.i), array_agg(p.i) filter (where p.age <= horizon), '[' || string_agg(p.row, ',') || ']'
      into locked, held, young, positions
      from (
        select w.i, p.age, p.row
        from (
          select p_orgs[o.org] as org_id, o.variant_id, o.i from unnest(w_org, w_variant) with ordinality as o (org, variant_id, i)
          order by 1, 2 offset 0) w
        cross join lateral (
          select age(x.xmin) as age, concat_ws(',', '[' || w.i, '"' || x.location_id || '"', x.sellable, x.damaged, x.quarantine,
            x.expired, x.incoming, x.committed, x.reserved, x.version, '"' || x.ctid || '"]') as row
          from positions x where x.org_id = w.org_id and x.variant_id = w.variant_id order by x.location_id
          for no key update) p
        offset 0) p;
    else
      select coalesce(array_agg(p.i), '{}'), count(distinct p.i), array_agg(p.i) filter (where p.age <= horizon), '[' || string_agg(p.row, ',') || ']'
      into locked, held, young, positions
      from (
        select w.i, p.age, p.row
        from (
          select p_orgs[o.org] as org_id, o.variant_id, o.i from unnest(w_org, w_variant) with ordinality as o (org, variant_id, i)
          order by 1, 2 offset 0) w
        cross join lateral (
          select age(x.xmin) as age, concat_ws(',', '[' || w.i, '"' || x.location_id || '"', x.sellable, x.damaged, x.quarantine,
            x.expired, x.incoming, x.committed, x.reserved, x.version, '"' || x.ctid || '"]') as row
          from positions x where x.org_id = w.org_id and x.variant_id = w.variant_id order by x.location_id
          for no key update nowait) p
        offset 0) p;
    end if;

    -- Positions that do not exist yet: named ones, and the default location's of a variant that has none. Sorted; whoever makes one
    -- waits for nothing afterwards.
    if not made and (held < cardinality(w_variant) or cardinality(n_variant) > 0) then
      made := true;
      insert into positions (org_id, variant_id, location_id)
      select distinct m.org_id, m.variant_id, l.location_id
      from (
        select p_orgs[w_org[n.variant]] as org_id, w_variant[n.variant] as variant_id, n.location_id
        from unnest(n_variant, n_location) as n (variant, location_id)
        union all
        select p_orgs[w.org], w.variant_id, null from unnest(w_org, w_variant) with ordinality as w (org, variant_id, i)
        where held < cardinality(w_variant)
          and not exists (select from positions p where p.org_id = p_orgs[w.org] and p.variant_id = w.variant_id offset 0)
          and w.i <> all (n_variant)) m
      cross join lateral (
        select coalesce(m.location_id, (
          select x.id from locations x where x.org_id = m.org_id order by x.is_default desc, x.priority, x.code limit 1)) as location_id
        offset 0) l
      where l.location_id is not null and not exists (
        select from positions p where p.org_id = m.org_id and p.variant_id = m.variant_id and p.location_id = l.location_id offset 0)
      order by 1, 2, 3
      on conflict do nothing;
      continue when found or held < cardinality(w_variant);
    end if;

    -- A position that is not locked was made while we waited for those beside it (positions_beside): theirs are young then.
    exit when young is null or (select count(*) from unnest(locked) as l (i) where l.i = any (young)) = (
      select count(*)
      from (select distinct y.i from unnest(young) as y (i) offset 0) y
      cross join lateral (
        select from positions x where x.org_id = p_orgs[w_org[y.i]] and x.variant_id = w_variant[y.i] offset 0) p);
  end loop;
  missing := 0;
  if held < cardinality(w_variant) then
    select count(*) into missing from unnest(w_org, w_variant) as w (org, variant_id)
    where not exists (
      -- As in ledger_skus.
      select from (select x.id from variants x where x.org_id = p_orgs[w.org] and x.id >= w.variant_id order by x.id limit 1) v
      where v.id = w.variant_id);
  end if;

  select json_agg(json_build_array(w.org, s.variant_id)) into waiting
  from (select o.org, array_agg(o.variant_id) as variants from unnest(w_org, w_variant) as o (org, variant_id) group by 1 offset 0) w
  cross join lateral (
    select distinct x.variant_id from shortfalls x
    where x.org_id = p_orgs[w.org] and x.variant_id = any (w.variants) and x.waiting > 0 offset 0) s;

  select json_agg(json_build_array(c.org, r.kind, r.claim_id, r.variant_id, r.location_id, r.open, r.spent, r.ended, r.lapsed, r.seq, r.origin,
    extract(epoch from r.expires_at) * 1000))
  into claims
  from (select o.org, array_agg(o.id) as ids from unnest(c_org, c_id) as o (org, id) group by 1 offset 0) c
  cross join lateral (
    select 'commitment' as kind, x.line_id as claim_id, x.variant_id, x.location_id, x.open, x.shipped as spent,
      x.released as ended, 0 as lapsed, x.seq, null as origin, null::timestamptz as expires_at
    from commitments x where x.org_id = p_orgs[c.org] and x.line_id = any (c.ids)
    union all
    select 'hold', x.hold_id, x.variant_id, x.location_id, x.open, x.confirmed, x.released, x.lapsed, x.seq, x.origin, x.expires_at
    from holds x where x.org_id = p_orgs[c.org] and x.hold_id = any (c.ids)
    union all
    select x.claim_kind || ' shortfall', x.line_id, x.variant_id, null, x.waiting, x.filled, x.cancelled, x.lapsed, x.seq,
      x.origin, x.expires_at
    from shortfalls x where x.org_id = p_orgs[c.org] and x.line_id = any (c.ids)
    offset 0) r;

  select json_agg(json_build_array(k.i, e.result)) into effects
  from unnest(k_org, k_key) with ordinality as k (org, effect_key, i)
  cross join lateral (
    select x.result from ledger_effects x where x.org_id = p_orgs[k.org] and x.effect_key = k.effect_key limit 1) e;

  select json_agg(nextval('ledger_seq')) into seqs
  from generate_series(1, p_seqs + coalesce(json_array_length(claims), 0));

  select json_agg(json_build_array(o.i, l.id, l.code, l.is_default, l.priority, l.serves_orders)) into places
  from unnest(p_orgs) with ordinality as o (org_id, i)
  cross join lateral (select x.* from locations x where x.org_id = o.org_id offset 0) l;
end
$$;

-- SKUs of variants, for the cases people read: [organization, variant, SKU].
create function ledger_skus(w_org uuid[], w_variant uuid[]) returns json
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select json_agg(json_build_array(w.org_id, v.id, v.sku))
    from unnest(w_org, w_variant) as w (org_id, id)
    cross join lateral (
      -- The first at or after the id: only the primary key has that order, so no plan over a small table picks the index by SKU. Not by
      -- comparing rows: under row security the index is then read from the organization's first entry on.
      select x.id, x.sku from variants x where x.org_id = w.org_id and x.id >= w.id order by x.id limit 1) v
    where v.id = w.id);
end
$$;

-- Writes what was decided, each row once. o, v, l: the organizations, variants and locations that the other lists name by index, from 1 ·
-- p: positions (absolute), at the places where they were locked · k: commands; p_results: their results, a line each · m: movements · c: first commitments
-- with the first entry of their log · e: other entries of the claim log · r: other claim rows (absolute) · d: variants to publish
-- (organizations together) · alerts, resolved, dues: rare, as JSON.
-- Times are Unix ms. Each row carries its command's key, actor and time: looking them up by index in an array of texts walks it.
create function ledger_book(
  o_id uuid[], v_id uuid[], l_id uuid[],
  p_at tid[], p_variant integer[], p_sellable integer[], p_damaged integer[], p_quarantine integer[],
  p_expired integer[], p_incoming integer[], p_committed integer[], p_reserved integer[], p_version bigint[],
  k_org integer[], k_key text[],
  m_org integer[], m_key text[], m_actor text[], m_reference text[], m_at double precision[], m_id uuid[], m_variant integer[], m_units integer[],
  m_from integer[], m_from_bucket text[], m_to integer[], m_to_bucket text[], m_kind text[], m_reason text[],
  c_org integer[], c_line uuid[], c_variant integer[], c_location integer[], c_open integer[], c_shipped integer[], c_released integer[], c_seq bigint[],
  c_delta integer[], c_event text[], c_actor text[], c_key text[], c_at double precision[],
  e_org integer[], e_key text[], e_actor text[], e_at double precision[], e_claim text[], e_claim_id uuid[], e_variant integer[], e_location integer[], e_delta integer[], e_event text[],
  r_kind text[], r_org integer[], r_claim uuid[], r_variant integer[], r_location integer[], r_as text[], r_open integer[],
  r_spent integer[], r_ended integer[], r_lapsed integer[], r_seq bigint[], r_origin text[], r_expires double precision[],
  d_org integer[], d_variant integer[], d_hint integer[], d_version bigint[],
  p_results text, p_alerts json, p_resolved json, p_dues json, p_now double precision)
returns void
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
declare
  written integer;
begin
  -- Sorted: who has used keys of ours up in another order would wait for us while we wait for him.
  insert into ledger_effects (org_id, effect_key, result)
  select o_id[k.org], k.effect_key, k.result::json from unnest(k_org, k_key, string_to_array(p_results, E'\n')) as k (org, effect_key, result)
  order by 1, k.effect_key collate "C";

  -- Absolute numbers, at the place and under the lock they were read with; a version that is not the one read is somebody else's mistake.
  update positions p set
    sellable = c.sellable, damaged = c.damaged, quarantine = c.quarantine, expired = c.expired, incoming = c.incoming,
    committed = c.committed, reserved = c.reserved, version = c.version, updated_at = clock_timestamp()
  from unnest(p_at, p_variant, p_sellable, p_damaged, p_quarantine, p_expired, p_incoming, p_committed, p_reserved, p_version)
    as c (at, variant, sellable, damaged, quarantine, expired, incoming, committed, reserved, version)
  where p.ctid = c.at and p.variant_id = v_id[c.variant] and p.version = c.version - 1;
  get diagnostics written = row_count;
  if written <> cardinality(p_at) then
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

  -- A claim's first row: nobody else can make it, its position is locked.
  if cardinality(c_org) > 0 then
    insert into commitments (org_id, line_id, variant_id, location_id, open, shipped, released, seq, first_seq, first_delta, first_event,
      actor, effect_key, business_at)
    select o_id[c.org], c.line_id, v_id[c.variant], l_id[c.location], c.open, c.shipped, c.released, c.seq,
      case when c.delta is not null then nextval('claim_log_seq') end, c.delta, c.event, c.actor, c.effect_key, to_timestamp(c.at / 1000)
    from unnest(c_org, c_line, c_variant, c_location, c_open, c_shipped, c_released, c_seq, c_delta, c_event, c_actor, c_key, c_at)
      as c (org, line_id, variant, location, open, shipped, released, seq, delta, event, actor, effect_key, at);
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
    insert into claim_changes (org_id, claim, claim_id, variant_id, location_id, delta, event, actor, effect_key, business_at)
    select o_id[e.org], e.claim, e.claim_id, v_id[e.variant], l_id[e.location], e.delta, e.event, e.actor, e.effect_key, to_timestamp(e.at / 1000)
    from unnest(e_org, e_key, e_actor, e_at, e_claim, e_claim_id, e_variant, e_location, e_delta, e_event)
      as e (org, effect_key, actor, at, claim, claim_id, variant, location, delta, event);
  end if;

  insert into dirty_variants as x (org_id, variant_id, hint)
  select o_id[d.org], v_id[d.variant], d.hint from unnest(d_org, d_variant, d_hint) as d (org, variant, hint)
  order by 1, 2
  on conflict (org_id, variant_id) do update set version = x.version + 1, hint = least(x.hint, excluded.hint);

  insert into events (org_id, type, key, version, variants, versions)
  select o_id[d.org], 'stock', '', 0, array_agg(v_id[d.variant]), array_agg(d.version)
  from unnest(d_org, d_variant, d_version) with ordinality as d (org, variant, version, i)
  group by d.org, (d.i - 1) / 64 order by min(d.i);

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
