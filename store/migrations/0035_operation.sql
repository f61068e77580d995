-- Operation: pauses with who, why and until when; shadow mode; one stop for all pushes. What halts a connection's writes is
-- answered in one place, pushes_halted(), and asked by everything that sends (store/listings/halts.ts).

alter table connections
  add column paused_by text,
  add column paused_reason text,
  -- Resumes by itself then (a due row 'connection_pause'); null: until somebody resumes it.
  add column paused_until timestamptz,
  -- Since when its numbers are computed and recorded, not sent; null: they are sent.
  add column shadow_at timestamptz,
  add column shadow_by text;
alter table listings
  add column paused_by text,
  add column paused_reason text,
  add column paused_until timestamptz;
alter table organizations
  -- New live connections begin in shadow mode.
  add column shadow_new boolean not null default false;

-- A row: nothing of this organization is pushed anywhere.
create table push_stops (
  org_id uuid not null references organizations,
  stopped_at timestamptz not null,
  stopped_by text not null,
  reason text,
  primary key (org_id)
);
call tenant_table('push_stops');

-- A row: nothing is pushed by this installation, whatever the organization. Belongs to no tenant; written by the two functions below.
create table installation_push_stop (
  one boolean primary key default true check (one),
  stopped_at timestamptz not null,
  stopped_by text not null,
  reason text
);
grant select on installation_push_stop to syncstate_app;

-- False: it was stopped already.
create function system_stop_pushes(p_by text, p_reason text, p_at timestamptz) returns boolean
  language sql volatile as $$
  with stopped as (
    insert into public.installation_push_stop (stopped_at, stopped_by, reason) values (p_at, p_by, p_reason) on conflict do nothing returning 1)
  select exists (select from stopped)
$$;
create function system_resume_pushes() returns boolean
  language sql volatile as $$
  with resumed as (delete from public.installation_push_stop returning 1) select exists (select from resumed)
$$;
call system_function('system_stop_pushes(text, text, timestamptz)');
call system_function('system_resume_pushes()');

-- Whose word halts the writes of a connection: installation | organization | connection; null: they may go.
create function pushes_halted(p_org uuid, p_connection uuid) returns text
  language sql stable as $$
  select case
    when exists (select from public.installation_push_stop) then 'installation'
    when exists (select from public.push_stops s where s.org_id = p_org) then 'organization'
    when exists (select from public.connections c where c.org_id = p_org and c.id = p_connection and c.paused_at is not null) then 'connection'
  end
$$;

-- What shadow mode would have written: one open row per target, and the last ones it superseded (bounded by the writer).
create table shadow_writes (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  target_id uuid not null,
  value integer not null check (value >= 0),
  -- The channel's number it would have been sent from; null = blind.
  from_value integer,
  derivation jsonb not null,
  recorded_at timestamptz not null,
  superseded_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, target_id) references targets (org_id, id) on delete cascade
);
create unique index shadow_writes_open on shadow_writes (org_id, target_id) where superseded_at is null;
create index shadow_writes_history on shadow_writes (org_id, target_id, recorded_at desc);
call tenant_table('shadow_writes');

-- As 0008, with one word for everything that halts: a halted connection has work only until its targets say so.
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
