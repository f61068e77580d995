-- What the planner believes of organizations before a table was ever analyzed.
--
-- Every statement names its organization twice: in its own words and by row security. Without statistics each counts as one in two
-- hundred, so the planner expects a single row of an organization, every index that begins with org_id looks alike to it, and a
-- look-up may walk the whole organization through the wrong one until the first ANALYZE. Told that a table holds few
-- organizations, it picks the index that has all columns asked for. The first real ANALYZE overwrites this with what is true.
-- PostgreSQL 18 and later; before, the first minute after a big import is slower.
create procedure expect_few_tenants(t regclass)
  language plpgsql as $$
begin
  if current_setting('server_version_num')::int >= 180000 then
    perform pg_restore_attribute_stats('schemaname', n.nspname::text, 'relname', c.relname::text, 'attname', 'org_id'::text,
      'inherited', false, 'null_frac', 0::real, 'avg_width', 16, 'n_distinct', 2::real)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = t and not exists (select from pg_stats s where s.schemaname = n.nspname and s.tablename = c.relname and s.attname = 'org_id');
  end if;
end $$;

create or replace procedure tenant_table(t regclass, rights text default 'select, insert, update, delete')
  language plpgsql as $$
begin
  execute format('alter table %s enable row level security', t);
  execute format(
    'create policy tenant on %s using (org_id = any ((select app_orgs())::uuid[])) with check (org_id = any ((select app_orgs())::uuid[]))', t);
  execute format('grant %s on table %s to syncstate_app', rights, t);
  call expect_few_tenants(t);
end $$;

do $$
declare
  t regclass;
begin
  for t in select p.polrelid::regclass from pg_policy p where p.polname = 'tenant' loop
    call expect_few_tenants(t);
  end loop;
end $$;
