-- What alarms are judged by, per organization (server/jobs/alarms.ts): facts of the database, the same for every process.
--   calls, calls_failed   calls to channels since `p_since`; a refusal for rate is no failure, it has an alert of its own
--   waiting               events to apply and numbers to send, whatever for
--   has_open              one of the three alarms is open
--   oldest_seconds        how long the oldest of those that nothing holds up has been due
create function system_alarm_figures(p_now timestamptz, p_since timestamptz)
  returns table (org_id uuid, calls double precision, calls_failed double precision, waiting double precision, oldest_seconds double precision, has_open boolean)
  -- Not in SQL: pushes_halted() comes with a later file.
  language plpgsql stable as $$
begin
  return query with calls as (
    select o.org_id, x.n, x.failed from public.organizations o cross join lateral (
      select count(*) as n, count(*) filter (where coalesce(c.status >= 500, c.error_code is not null)) as failed
      from public.outside_calls c where c.org_id = o.org_id and c.at >= p_since and c.at <= p_now) x),
  events as (
    select i.org_id, count(*) as n, min(i.next_at) filter (where not i.fetching) as oldest
    from public.inbox i where i.state = 'waiting' group by i.org_id),
  numbers as (
    select c.org_id, sum(t.n) as n, min(t.oldest) as oldest
    from public.connections c cross join lateral (
      select count(*) as n, min(greatest(t.dirty_since, t.next_try_at)) filter (where t.state in ('in_sync', 'pending', 'sent', 'unknown', 'drifted')) as oldest
      from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.dirty_version > t.handled_version
        and t.variant_id is not null and not t.read_only) t
    where c.deleted_at is null and c.state = 'connected' and public.pushes_halted(c.org_id, c.id) is null group by c.org_id)
  select o.org_id, coalesce(c.n, 0)::float8, coalesce(c.failed, 0)::float8, (coalesce(e.n, 0) + coalesce(t.n, 0))::float8,
    coalesce(greatest(0, extract(epoch from p_now - least(e.oldest, t.oldest))), 0)::float8,
    exists (select from public.alerts a where a.org_id = o.org_id and a.resolved_at is null and a.kind in ('errors_high', 'work_waiting', 'queue_deep'))
  from public.organizations o left join calls c on c.org_id = o.org_id
    left join events e on e.org_id = o.org_id left join numbers t on t.org_id = o.org_id;
end
$$;
call system_function('system_alarm_figures(timestamptz, timestamptz)');
