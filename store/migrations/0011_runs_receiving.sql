-- A run whose upload died with its process: `lease_until` stands for the upload while it is receiving, and its end is somebody's work, too.
create or replace function system_open_runs(p_now timestamptz, p_limit integer) returns table (org_id uuid, id uuid, kind text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select r.org_id, r.id, r.kind from public.runs r
  where r.state = 'waiting' or (r.state in ('running', 'receiving') and r.lease_until < p_now)
  order by r.created_at limit p_limit
$$;
drop index runs_open;
create index runs_open on runs (created_at) where state in ('receiving', 'waiting', 'running');
