-- Who drives an import, when it is tried again, and who ended it.

alter table catalog_imports
  -- Until then somebody is at it; each page renews it. Past: anybody takes it up behind its last page.
  add column lease_until timestamptz,
  -- The last fault and when it is tried again; both null when all is well, the time alone null when it was given up.
  add column fault_code text,
  add column fault text,
  add column faults integer not null default 0,
  add column next_try_at timestamptz,
  add column cancelled_at timestamptz,
  -- Who asked for it.
  add column actor text not null default 'system';

create index catalog_imports_open on catalog_imports (started_at)
  where cancelled_at is null and finished_at is null or undo_started_at is not null and undone_at is null;

-- Imports (and undoings) that nobody is at and whose time has come.
create function system_due_catalog_imports(at timestamptz, max_rows integer)
  returns table (org_id uuid, id uuid)
  language sql stable
  begin atomic
    select i.org_id, i.id from public.catalog_imports i
    where (i.cancelled_at is null and i.finished_at is null or i.undo_started_at is not null and i.undone_at is null)
      and (i.lease_until is null or i.lease_until <= at)
      and (i.fault_code is null or i.next_try_at <= at)
    order by i.started_at limit max_rows;
  end;
call system_function('system_due_catalog_imports(timestamptz, integer)');
