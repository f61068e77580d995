-- Seeing: why a number was sent, from the webhook to the read-back (docs/logging.md), and what is thrown away when (docs/retention.md).

-- What the waiting (or last handled) changes of a target were: the newest eight as
-- [{ key: effect key, correlationId, orderId, order, from: connection of the sale, soldAt: the channel's time, receivedAt: ours }], Unix ms;
-- and how many changes the dirty marks counted in all. Filled by expansion; an attempt keeps what stood there when it was recorded.
alter table targets
  add column causes jsonb not null default '[]',
  add column changes_waiting integer not null default 0;
alter table attempts add column causes jsonb not null default '[]';

-- attempt: 1 for the first try of a call. call_key: that of the attempts it carried. correlation_ids: the changes it was made for.
alter table outside_calls
  add column attempt integer not null default 1,
  add column waited_ms integer not null default 0,
  add column call_key uuid,
  add column correlation_ids uuid[] not null default '{}',
  add column skus text[] not null default '{}';
create index outside_calls_by_time on outside_calls (org_id, at desc, id desc);
create index outside_calls_by_key on outside_calls (org_id, call_key) where call_key is not null;

-- Not led by org_id for the reason given at inbox_open_key.
create index inbox_by_correlation on inbox (correlation_id);

-- Throws away old rows of one kind: a small batch, oldest first, in whichever organization has some, never waiting for a lock. One process at a
-- time: the advisory lock is the lease, and ends with the transaction. Ids are time-ordered (UUIDv7), so that the primary key finds the oldest.
-- @returns rows deleted; null: another process is at it.
create function system_prune(p_kind text, p_before timestamptz, p_limit integer) returns integer
  language plpgsql as $$
declare
  org uuid;
  gone integer := 0;
  batch integer;
  oldest uuid := rpad(lpad(to_hex((extract(epoch from p_before) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('syncstate.prune', 0)) then
    return null;
  end if;
  for org in select o.org_id from organizations o order by o.org_id loop
    case p_kind
      when 'outside_calls' then
        delete from outside_calls x where x.org_id = org and x.id in (
          select y.id from outside_calls y where y.org_id = org and y.at < p_before order by y.at limit p_limit - gone for update skip locked);
      when 'inbox' then
        delete from inbox x where x.org_id = org and x.id in (
          select y.id from inbox y where y.org_id = org and y.id < oldest and y.state in ('done', 'superseded', 'duplicate') and y.received_at < p_before
          order by y.id limit p_limit - gone for update skip locked);
      when 'idempotency_keys' then
        delete from idempotency_keys x where x.org_id = org and x.ctid = any (array(
          select y.ctid from idempotency_keys y where y.org_id = org and y.created_at < p_before limit p_limit - gone for update skip locked));
      when 'events' then
        delete from events x where x.org_id = org and x.seq in (
          select y.seq from (
            -- Their numbers rise with time, nearly: the lowest ones are looked at, not all that are old.
            select e.seq, e.at from events e where e.org_id = org order by e.seq limit p_limit - gone for update skip locked) y where y.at < p_before);
      when 'observations' then
        -- The newest of each target stays: it is what we know.
        delete from observations x where x.org_id = org and x.id in (
          select y.id from observations y where y.org_id = org and y.id < oldest and y.recorded_at < p_before and exists (
            select from observations n where n.org_id = org and n.target_id = y.target_id and n.vendor_at > y.vendor_at)
          order by y.id limit p_limit - gone for update skip locked);
      when 'attempts' then
        -- Open ones stay whatever their age, and the newest of each target.
        delete from attempts x where x.org_id = org and x.id in (
          select y.id from attempts y where y.org_id = org and y.id < oldest and y.sent_at < p_before and y.outcome is not null and y.outcome <> 'unknown'
            and exists (select from attempts n where n.org_id = org and n.target_id = y.target_id and n.sent_at > y.sent_at)
          order by y.id limit p_limit - gone for update skip locked);
      when 'import_files' then
        delete from import_files x where x.org_id = org and x.id in (
          select y.id from import_files y where y.org_id = org and y.created_at < p_before order by y.id limit p_limit - gone for update skip locked);
      when 'catalog_pages' then
        -- A channel's raw answers; what came of them stays, and so does what undoing needs (catalog_items).
        delete from catalog_pages x where x.org_id = org and x.ctid = any (array(
          select y.ctid from catalog_pages y where y.org_id = org and y.fetched_at < p_before limit p_limit - gone for update skip locked));
      when 'run_files' then
        delete from run_files x where x.org_id = org and x.ctid = any (array(
          select y.ctid from run_files y join runs r on r.org_id = org and r.id = y.run_id and r.finished_at < p_before
          where y.org_id = org limit p_limit - gone for update of y skip locked));
      when 'run_items' then
        -- The run itself stays, with its counts.
        delete from run_items x where x.org_id = org and x.ctid = any (array(
          select y.ctid from runs r join run_items y on y.org_id = org and y.run_id = r.id
          where r.org_id = org and r.finished_at < p_before limit p_limit - gone for update of y skip locked));
      else
        raise exception 'nothing is known of pruning %', p_kind;
    end case;
    get diagnostics batch = row_count;
    gone := gone + batch;
    exit when gone >= p_limit;
  end loop;
  return gone;
end $$;
call system_function('system_prune(text, timestamptz, integer)');

-- The figures that are facts of the database, for /metrics and /api/health: any process tells the same. One row per figure and label.
-- The count of ledger commands is the statistics' own: nothing is counted.
create function system_figures(p_now timestamptz) returns table (org_id uuid, connection_id uuid, figure text, value double precision)
  language sql stable as $$
  select null::uuid, null::uuid, 'inbox_waiting', count(*)::float8 from public.inbox i where i.state = 'waiting'
  union all
  select null, null, 'inbox_oldest_seconds', coalesce(greatest(0, extract(epoch from p_now - min(i.received_at))), 0)::float8
    from public.inbox i where i.state = 'waiting' and not i.fetching
  union all
  select null, null, 'dirty_waiting', count(*)::float8 from public.dirty_variants d
  union all
  select null, null, 'dead_letters', count(*)::float8 from public.inbox i where i.state = 'dead'
  union all
  select null, null, 'alerts_unread', count(*)::float8 from public.alerts a where a.read_at is null and a.resolved_at is null
  union all
  select null, null, 'ledger_commands', pg_stat_get_tuples_inserted('public.ledger_effects'::regclass)::float8
  union all
  select null, null, 'runs_open', (select count(*) from public.catalog_imports i where i.finished_at is null)::float8
      + (select count(*) from public.runs r where r.state in ('waiting', 'running'))::float8
  union all
  select w.org_id, w.id, f.figure, f.value
  from (
    select c.org_id, c.id, c.state, c.orders_swept_at, c.stock_swept_at, t.waiting, t.oldest, (
        select count(*) from public.attempts a where a.org_id = c.org_id and a.connection_id = c.id and (a.outcome is null or a.outcome = 'unknown')) as open
    from public.connections c cross join lateral (
      select count(*) as waiting, min(t.dirty_since) as oldest from public.targets t where t.org_id = c.org_id and t.connection_id = c.id
        and t.dirty_version > t.handled_version and t.variant_id is not null and not t.read_only) t
    where c.deleted_at is null) w
  cross join lateral (values
    ('targets_waiting', w.waiting::float8),
    ('targets_oldest_seconds', coalesce(greatest(0, extract(epoch from p_now - w.oldest)), 0)::float8),
    ('attempts_open', w.open::float8),
    ('orders_swept_seconds', extract(epoch from p_now - w.orders_swept_at)::float8),
    ('stock_swept_seconds', extract(epoch from p_now - w.stock_swept_at)::float8),
    ('connection_up', case when w.state = 'connected' then 1 else 0 end::float8)) f (figure, value)
  where f.value is not null
$$;
call system_function('system_figures(timestamptz)');
