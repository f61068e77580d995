-- Dead letters: what failed, since when and how often, beside the row itself.

alter table inbox
  -- First failure of this series; null: it has not failed, or a person began anew.
  add column failing_since timestamptz,
  -- The first failure and the last nine: [{ at, code, error }].
  add column failures jsonb,
  -- The bytes as they came, when a person has edited `body`. The hash stays that of the original: it may come again.
  add column original_body bytea;

-- A due row that failed for good waits for ever (due_at infinity) until a person, or whoever makes it due anew, says otherwise.
alter table due
  add column attempts integer not null default 0,
  add column repeats integer not null default 0,
  add column failing_since timestamptz,
  add column error_code text,
  add column error text,
  add column failures jsonb;
create index due_failing on due (org_id, failing_since) where failing_since is not null;

create index runs_failed on runs (org_id, finished_at) where state = 'failed';

-- Runs and refused numbers that a person has seen and will do nothing about: what failed before `at` is not listed.
create table dismissed_letters (
  org_id uuid not null references organizations,
  kind text not null check (kind in ('run', 'target')),
  subject_id uuid not null,
  at timestamptz not null,
  primary key (org_id, kind, subject_id)
);
call tenant_table('dismissed_letters');
