-- As 0040, with what the ledger has taken and long work. The count of ledger commands is the statistics' own: nothing is counted.
create or replace function system_figures(p_now timestamptz) returns table (org_id uuid, connection_id uuid, figure text, value double precision)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
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
