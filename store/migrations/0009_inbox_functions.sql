-- The system scope of coming in: functions that look across organizations and return ids only.

-- One number for a sequence key; the same for every process.
create function sequence_lock(connection uuid, kind text, external_id text) returns bigint
language sql immutable parallel safe
as $$ select hashtextextended(connection::text || '/' || kind || '/' || external_id, 0) $$;
grant execute on function sequence_lock(uuid, text, text) to syncstate_app;

-- Claims sequence keys that have rows to apply, oldest first, until the end of this transaction. A key that another
-- transaction holds is passed over with all its rows, so that a later row never overtakes an earlier one.
create function system_claim_inbox(max_keys integer, at timestamptz)
returns table (org_id uuid, connection_id uuid, kind text, external_id text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  waiting record;
  seen bigint[] := '{}';
  lock bigint;
  taken integer := 0;
begin
  for waiting in
    select i.org_id, i.connection_id, i.kind, i.external_id from inbox i
    where i.state = 'waiting' and i.next_at <= at order by i.next_at limit 5000
  loop
    lock := sequence_lock(waiting.connection_id, waiting.kind, waiting.external_id);
    continue when lock = any (seen);
    seen := seen || lock;
    continue when not pg_try_advisory_xact_lock(lock);
    org_id := waiting.org_id; connection_id := waiting.connection_id; kind := waiting.kind; external_id := waiting.external_id;
    return next;
    taken := taken + 1;
    exit when taken >= max_keys;
  end loop;
end
$$;
revoke execute on function system_claim_inbox(integer, timestamptz) from public;
grant execute on function system_claim_inbox(integer, timestamptz) to syncstate_app;

-- Whose webhook address this is. shares_secret: another live connection is signed with the same secret.
create function system_find_connection_by_token(wanted_platform text, token text)
returns table (org_id uuid, id uuid, shares_secret boolean)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select c.org_id, c.id, exists (
    select 1 from connections o
    where o.deleted_at is null and o.id <> c.id and o.webhook_fingerprints && c.webhook_fingerprints)
  from connections c
  where c.webhook_token = token and c.platform = wanted_platform and c.deleted_at is null
$$;
revoke execute on function system_find_connection_by_token(text, text) from public;
grant execute on function system_find_connection_by_token(text, text) to syncstate_app;

-- Connections with this shop; the caller takes it only when there is exactly one and its secret is its own.
create function system_find_connections_by_shop(wanted_platform text, shop text)
returns table (org_id uuid, id uuid, shares_secret boolean)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select c.org_id, c.id, exists (
    select 1 from connections o
    where o.deleted_at is null and o.id <> c.id and o.webhook_fingerprints && c.webhook_fingerprints)
  from connections c
  where c.platform = wanted_platform and c.settings ->> 'shopDomain' = shop and c.deleted_at is null
$$;
revoke execute on function system_find_connections_by_shop(text, text) from public;
grant execute on function system_find_connections_by_shop(text, text) to syncstate_app;

-- Which of these deliveries carry a body that another connection with the same secret already accepted: their ordinals, from 1.
-- The body only is signed, so such a delivery proves nothing about its shop. Deliveries of one body wait for each other.
create function system_find_foreign_bodies(connection_ids uuid[], hashes bytea[])
returns table (ordinal bigint)
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(lock)
  from (select distinct hashtextextended(encode(h, 'hex'), 1) as lock from unnest(hashes) h order by 1) locks;
  return query
    select d.n from unnest(connection_ids, hashes) with ordinality d (connection_id, hash, n)
    join connections mine on mine.id = d.connection_id
    where exists (
      select 1 from inbox i join connections other on other.org_id = i.org_id and other.id = i.connection_id
      where i.body_hash = d.hash and i.connection_id <> d.connection_id
        and other.webhook_fingerprints && mine.webhook_fingerprints);
end
$$;
revoke execute on function system_find_foreign_bodies(uuid[], bytea[]) from public;
grant execute on function system_find_foreign_bodies(uuid[], bytea[]) to syncstate_app;

-- Connections whose orders must be read again: interval passed, nobody at it, authorised.
create function system_find_due_order_sweeps(platforms text[], every_ms bigint[], at timestamptz, max_rows integer)
returns table (org_id uuid, id uuid)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select c.org_id, c.id from connections c
  join unnest(platforms, every_ms) as p (platform, every_ms) on p.platform = c.platform
  where c.deleted_at is null and c.state <> 'unauthorized'
    and (c.order_sweep_lease is null or c.order_sweep_lease <= at)
    and (c.orders_swept_at is null or c.orders_swept_at + p.every_ms * interval '1 millisecond' <= at)
  order by c.orders_swept_at nulls first limit max_rows
$$;
revoke execute on function system_find_due_order_sweeps(text[], bigint[], timestamptz, integer) from public;
grant execute on function system_find_due_order_sweeps(text[], bigint[], timestamptz, integer) to syncstate_app;

-- Connections of these platforms that work: whose queues we poll.
create function system_list_connections(platforms text[])
returns table (org_id uuid, id uuid, platform text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select c.org_id, c.id, c.platform from connections c
  where c.deleted_at is null and c.state <> 'unauthorized' and c.platform = any (platforms)
$$;
revoke execute on function system_list_connections(text[]) from public;
grant execute on function system_list_connections(text[]) to syncstate_app;
