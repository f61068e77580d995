-- Files we made for people to fetch: the rows of an import that failed, with the reason beside each. Kept for 30 days.
create table import_files (
  org_id uuid not null references organizations,
  id uuid not null,
  name text not null,
  content bytea not null,
  created_at timestamptz not null default now(),
  primary key (org_id, id)
);
call tenant_table('import_files', 'select, insert, delete');
