-- Stock sweeps, to be seen: what was read, and how it compared. Every target carries the sweep it still owes a look, so that a
-- sweep is complete whoever is killed in between.

create table stock_sweeps (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  -- schedule, or who asked.
  asked_by text not null,
  started_at timestamptz not null,
  targets integer not null default 0,
  as_expected integer not null default 0,
  lower integer not null default 0,
  higher integer not null default 0,
  -- The channel knows no such number.
  missing integer not null default 0,
  -- Read while a write was on its way, or in the same instant as another number: it proves nothing yet.
  undecided integer not null default 0,
  -- Not read here: an event or another reading showed it meanwhile, or nothing may be read (paused).
  otherwise integer not null default 0,
  finished_at timestamptz,
  -- A later one took over what was left.
  superseded boolean not null default false,
  primary key (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create index stock_sweeps_recent on stock_sweeps (org_id, connection_id, started_at desc, id desc);
call tenant_table('stock_sweeps');

alter table targets add column sweep_id uuid;
create index targets_swept on targets (org_id, sweep_id) where sweep_id is not null;
