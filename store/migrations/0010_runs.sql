-- Runs: long work with items, progress, cancel and an inverse (server/flows/runs.ts). A run belongs to whoever holds its lease.

create table runs (
  org_id uuid not null references organizations,
  id uuid not null,
  -- What is done: import-stock, import-products, import-mapping, undo-import, … (server/flows/run-kinds).
  kind text not null,
  connection_id uuid,
  title text not null,
  params jsonb not null,
  -- Does everything and takes it back: the counts and errors are those of the live run.
  dry_run boolean not null default false,
  -- receiving: its file is still coming in · waiting → running → done | failed | cancelled · undone: an inverse run took it back
  state text not null check (state in ('receiving', 'waiting', 'running', 'done', 'failed', 'cancelled', 'undone')),
  -- Items in all (null: not known yet), and by outcome; done ones are their sum.
  total integer,
  succeeded integer not null default 0,
  failed integer not null default 0,
  unchanged integer not null default 0,
  -- Where the next step begins; written in the step's own transaction, so that a killed run goes on without a gap or a repeat.
  mark jsonb not null default 'null',
  -- Why it failed or was cancelled, in words.
  message text,
  actor text not null,
  -- Given by the caller: the same again is the same run.
  key text,
  cancel_requested_at timestamptz,
  -- Who works on it, until when (its heartbeat; while receiving, the upload's), and how often it was taken up.
  holder uuid,
  lease_until timestamptz,
  taken integer not null default 0,
  inverse_of uuid,
  error_file uuid,
  version integer not null default 1,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  primary key (org_id, id),
  unique (org_id, key),
  foreign key (org_id, connection_id) references connections (org_id, id),
  foreign key (org_id, inverse_of) references runs (org_id, id)
);
create index runs_recent on runs (org_id, created_at desc, id desc);
create index runs_open on runs (created_at) where state in ('receiving', 'waiting', 'running');
create unique index runs_one_inverse on runs (org_id, inverse_of) where inverse_of is not null and state not in ('failed', 'cancelled');
call tenant_table('runs');

-- What became of an item: every one that failed or changed something. Kept as long as its run.
create table run_items (
  org_id uuid not null,
  run_id uuid not null,
  -- The item's own number: the row of its file, the header being 1.
  item integer not null,
  outcome text not null check (outcome in ('done', 'failed')),
  -- What it is about: a SKU.
  subject text not null,
  field text,
  value text,
  reason text,
  -- What an inverse run needs to take it back.
  undo jsonb,
  primary key (org_id, run_id, item),
  foreign key (org_id, run_id) references runs (org_id, id) on delete cascade
);
create index run_items_failed on run_items (org_id, run_id, item) where outcome = 'failed';
call tenant_table('run_items');

-- The file of a run, in parts as it came in. Kept for 30 days.
create table run_files (
  org_id uuid not null,
  run_id uuid not null,
  part integer not null,
  content bytea not null,
  primary key (org_id, run_id, part),
  foreign key (org_id, run_id) references runs (org_id, id) on delete cascade
);
call tenant_table('run_files', 'select, insert, delete');

-- Runs nobody works on: waiting, or left by a holder (or an upload) whose lease has run out. Oldest first.
create function system_open_runs(p_now timestamptz, p_limit integer) returns table (org_id uuid, id uuid, kind text)
  language sql stable as $$
  select r.org_id, r.id, r.kind from public.runs r
  where r.state = 'waiting' or (r.state in ('running', 'receiving') and r.lease_until < p_now)
  order by r.created_at limit p_limit
$$;
call system_function('system_open_runs(timestamptz, integer)');
