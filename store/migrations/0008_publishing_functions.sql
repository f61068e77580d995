-- System scope of publishing: who has work, by id only.

-- Organizations whose dirty marks wait for expansion.
create function system_dirty_orgs() returns table (org_id uuid)
  language sql stable as $$
  select distinct d.org_id from public.dirty_variants d
  union
  select distinct p.org_id from public.dirty_policies p
$$;

-- Connections that publish: lanes are kept for these.
create function system_publishing_connections() returns table (org_id uuid, connection_id uuid)
  language sql stable as $$
  select c.org_id, c.id from public.connections c
  where c.deleted_at is null and exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id)
$$;

-- Connections with something to do now, by a caller's business time.
create function system_lanes_with_work(p_now timestamptz) returns table (org_id uuid, connection_id uuid)
  language sql stable as $$
  select c.org_id, c.id from public.connections c
  where c.deleted_at is null and (
    exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.dirty_version > t.handled_version
      and t.variant_id is not null and not t.read_only)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.read_due <= p_now)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.unseen > 0)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.pending_value is not null)
    -- A kill between two commits left these on their way.
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id
      and t.state in ('pending', 'sent', 'settling', 'unknown', 'unreachable') and t.dirty_version <= t.handled_version
      and t.read_due is null and t.pending_value is null and t.unseen = 0 and t.variant_id is not null and not t.read_only)
    -- Whether it still refuses us is asked now and then.
    or c.state <> 'connected'
    -- What stopped these has ended: they are compared again.
    or (c.state <> 'unauthorized' and exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.state = 'unauthorized'))
    or (c.paused_at is null and exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.state = 'paused'
      and not exists (select from public.listings l where l.org_id = t.org_id and l.connection_id = t.connection_id and l.stock_key = t.stock_key
        and l.paused_at is not null))))
$$;

-- Whatever depends on time and is due.
create function system_due(p_now timestamptz, p_limit integer) returns table (org_id uuid, kind text, subject_id uuid)
  language sql stable as $$
  select d.org_id, d.kind, d.subject_id from public.due d where d.due_at <= p_now order by d.due_at limit p_limit
$$;

call system_function('system_dirty_orgs()');
call system_function('system_publishing_connections()');
call system_function('system_lanes_with_work(timestamptz)');
call system_function('system_due(timestamptz, integer)');
