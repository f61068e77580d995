-- Tenants: whose data it is, who may ask, and how the database keeps tenants apart (docs/migrations.md).

-- The organizations of the running transaction, from the setting app.orgs (comma list, set by store/tx.ts); empty when unset.
create function app_orgs() returns uuid[]
  language sql stable parallel safe
  return coalesce(string_to_array(nullif(current_setting('app.orgs', true), ''), ',')::uuid[], '{}');

-- Called right after every `create table` of a tenant table. The sub-select makes the check run once per statement, not per row.
create procedure tenant_table(t regclass, rights text default 'select, insert, update, delete')
  language plpgsql as $$
begin
  execute format('alter table %s enable row level security', t);
  execute format(
    'create policy tenant on %s using (org_id = any ((select app_orgs())::uuid[])) with check (org_id = any ((select app_orgs())::uuid[]))', t);
  execute format('grant %s on table %s to syncstate_app', rights, t);
end $$;

-- Called right after every `create function system_…`: the third scope. Such a function runs with the owner's rights, so it
-- gets a fixed search path and only the app role may call it; it returns ids and nothing else.
create procedure system_function(f regprocedure)
  language plpgsql as $$
begin
  if (select proname from pg_proc where oid = f) not like 'system\_%' then
    raise exception 'a system function is named system_…: %', f;
  end if;
  execute format('alter function %s security definer set search_path = pg_catalog, public, pg_temp', f);
  execute format('revoke all on function %s from public', f);
  execute format('grant execute on function %s to syncstate_app', f);
end $$;

create table organizations (
  org_id uuid primary key,
  name text not null,
  slug text not null,
  created_at timestamptz not null default now()
);
call tenant_table('organizations');

create table api_keys (
  org_id uuid not null references organizations,
  id uuid not null,
  name text not null,
  -- SHA-256 of the whole key: 32 bytes. The key itself is shown once and kept nowhere.
  hash bytea not null check (octet_length(hash) = 32),
  -- null: unlimited
  rate_per_minute integer check (rate_per_minute > 0),
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  primary key (org_id, id)
);
create index api_keys_by_hash on api_keys (hash);
call tenant_table('api_keys');

-- Who calls: the organization and id of a live key. No row for an unknown, expired or revoked one.
create function system_find_api_key(key_hash bytea, at timestamptz default now())
  returns table (org_id uuid, id uuid, rate_per_minute integer)
  language sql stable
  begin atomic
    select k.org_id, k.id, k.rate_per_minute
    from public.api_keys k
    where k.hash = key_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > at);
  end;
call system_function('system_find_api_key(bytea, timestamptz)');
