-- Stock notices are looked at behind the orders that explain them.

-- The queue of the inbox, in two: the orders are found without passing over the notices that wait for them.
create index inbox_waiting_notices on inbox (next_at) where state = 'waiting' and kind = 'stock';
create index inbox_waiting_others on inbox (next_at) where state = 'waiting' and kind <> 'stock';
drop index inbox_waiting;

-- Claims whole sequence keys that are due, for the length of the transaction. A notice that came before its order is applied opens a
-- gap, and everything that follows from one; behind it, it only confirms. So notices come last, and wait while orders of
-- their connection are due, theirs or another worker's: at most five seconds, and then they have a quarter of each claim.
create or replace function system_claim_inbox(max_keys integer, at timestamptz)
returns table (org_id uuid, connection_id uuid, kind text, external_id text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  waiting record;
  turn text;
  most integer;
  busy uuid[] := '{}';
  seen bigint[] := '{}';
  lock bigint;
  taken integer := 0;
begin
  foreach turn in array array['overdue notices', 'others', 'notices'] loop
    most := case turn when 'overdue notices' then greatest(1, max_keys / 4) else max_keys end;
    exit when taken >= max_keys;
    if turn = 'notices' then
      busy := array(select distinct i.connection_id from inbox i where i.state = 'waiting' and i.kind <> 'stock' and i.next_at <= at);
    end if;
    for waiting in
      select * from (
        (select i.org_id, i.connection_id, i.kind, i.external_id from inbox i
         where turn = 'overdue notices' and i.state = 'waiting' and i.kind = 'stock' and i.next_at <= at - interval '5 s'
         order by i.next_at limit 5000)
        union all
        (select i.org_id, i.connection_id, i.kind, i.external_id from inbox i
         where turn = 'others' and i.state = 'waiting' and i.kind <> 'stock' and i.next_at <= at
         order by i.next_at limit 5000)
        union all
        (select i.org_id, i.connection_id, i.kind, i.external_id from inbox i
         where turn = 'notices' and i.state = 'waiting' and i.kind = 'stock' and i.next_at <= at and i.connection_id <> all (busy)
         order by i.next_at limit 5000)) due
    loop
      lock := sequence_lock(waiting.connection_id, waiting.kind, waiting.external_id);
      continue when lock = any (seen);
      seen := seen || lock;
      continue when not pg_try_advisory_xact_lock(lock);
      org_id := waiting.org_id; connection_id := waiting.connection_id; kind := waiting.kind; external_id := waiting.external_id;
      return next;
      taken := taken + 1;
      exit when taken >= most;
    end loop;
  end loop;
end
$$;
