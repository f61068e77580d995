-- A file of failed rows in parts: import_files has the first, and these are the others. Written and sent part by part.
create table import_file_parts (
  org_id uuid not null,
  file_id uuid not null,
  -- From 1.
  part integer not null,
  content bytea not null,
  primary key (org_id, file_id, part),
  foreign key (org_id, file_id) references import_files (org_id, id) on delete cascade
);
call tenant_table('import_file_parts', 'select, insert, delete');
