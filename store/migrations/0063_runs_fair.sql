-- How often in a row a holder left this run without a sign: a file that ends its process must not end every next one, too.
alter table runs add column deaths smallint not null default 0;

-- Runs nobody works on, each organization's turn by turn: what an organization has under way counts as its turns, so that
-- neither its many runs nor its long ones stand before another's first.
create or replace function system_open_runs(p_now timestamptz, p_limit integer) returns table (org_id uuid, id uuid, kind text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select turns.org_id, turns.id, turns.kind from (
    select live.*, row_number() over (partition by live.org_id order by live.is_open, live.created_at) as turn
    from (
      select r.org_id, r.id, r.kind, r.created_at, r.state = 'waiting' or coalesce(r.lease_until < p_now, false) as is_open
      from public.runs r where r.state in ('waiting', 'running') or (r.state = 'receiving' and r.lease_until < p_now)
    ) live
  ) turns
  where turns.is_open order by turns.turn, turns.created_at limit p_limit
$$;
