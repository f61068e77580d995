-- Tenancy: organizations, the scope of a transaction, and what makes a table a tenant table.

-- The organizations this transaction may see; empty when none was set.
create function app_orgs() returns uuid[]
language sql stable parallel safe
as $$ select coalesce(nullif(current_setting('app.orgs', true), ''), '{}')::uuid[] $$;

-- Called after every `create table` of a tenant table: row security, its one policy, and the app role's rights.
-- The policy reads app_orgs() through a subselect: a bare call may run once per row.
create procedure tenant_table(t regclass, rights text default 'select, insert, update, delete')
language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', t);
  execute format(
    'create policy tenant on %s using (org_id = any ((select app_orgs())::uuid[])) with check (org_id = any ((select app_orgs())::uuid[]))', t);
  execute format('grant %s on %s to syncstate_app', rights, t);
end
$$;

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
  -- sha256 of the key; the key itself is shown once and never stored.
  hash bytea not null check (length(hash) = 32),
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

-- System scope: who calls, by the hash of a key. Ids only.
create function system_find_api_key(key_hash bytea)
returns table (org_id uuid, id uuid, rate_per_minute integer)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select k.org_id, k.id, k.rate_per_minute from api_keys k
  where k.hash = key_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
$$;
revoke execute on function system_find_api_key(bytea) from public;
grant execute on function system_find_api_key(bytea) to syncstate_app;
