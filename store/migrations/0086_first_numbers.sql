-- The first number that is read of a target may be lower by sales whose orders we do not have yet, and nothing tells by how many:
-- it is not raised before orders are known past that reading (core/stock/observe.ts: first number).
alter table targets
  -- The vendor's time of its first number; null: it has none yet, or orders are known past it.
  add column raise_after timestamptz;
-- Those that are held for it, which an order sweep sets free (store/listings/work.ts).
create index targets_raise_after on targets (org_id, connection_id, raise_after) where raise_after is not null and state = 'pending';

-- As 0035, and raises that wait for orders.
create or replace function system_lanes_with_work(p_now timestamptz) returns table (org_id uuid, connection_id uuid)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select c.org_id, c.id from public.connections c
    cross join lateral (select public.pushes_halted(c.org_id, c.id) is not null as halted) h
  where c.deleted_at is null and case when h.halted then
    c.state = 'unauthorized'
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.state <> 'paused'
      and t.variant_id is not null and not t.read_only)
  else
    exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.dirty_version > t.handled_version
      and t.variant_id is not null and not t.read_only)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.read_due <= p_now)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.unseen > 0)
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.raise_after is not null and t.state = 'pending')
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.pending_value is not null)
    -- A kill between two commits left these on their way.
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id
      and t.state in ('pending', 'sent', 'settling', 'unknown', 'unreachable') and t.dirty_version <= t.handled_version
      and t.read_due is null and t.pending_value is null and t.unseen = 0 and t.variant_id is not null and not t.read_only)
    -- Whether it still refuses us is asked now and then.
    or c.state <> 'connected'
    -- What stopped these has ended: they are compared again.
    or (c.state <> 'unauthorized' and exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.state = 'unauthorized'))
    or exists (select from public.targets t where t.org_id = c.org_id and t.connection_id = c.id and t.state = 'paused'
      and not exists (select from public.listings l where l.org_id = t.org_id and l.connection_id = t.connection_id and l.stock_key = t.stock_key
        and l.paused_at is not null))
  end
$$;
