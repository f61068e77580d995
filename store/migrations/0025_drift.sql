-- Drift: an observed number that the model does not explain after orders are read past it; what we made of it, and why.

alter table policies
  -- What to do about a number somebody changed at the channel; null: this policy says nothing about it (default heal).
  add column drift text check (drift in ('heal', 'ask', 'adopt'));

create table drifts (
  org_id uuid not null,
  id uuid not null,
  target_id uuid not null,
  connection_id uuid not null,
  variant_id uuid,
  -- core/stock/drift.ts. unknown until orders are read past the observation.
  cause text not null default 'unknown' check (cause in ('channel_edit', 'rejected_write', 'lost_order', 'echo', 'mapping', 'unknown')),
  -- observed − expected.
  units integer not null,
  base integer,
  base_at timestamptz,
  effects jsonb not null default '[]',
  expected integer,
  observed integer,
  -- The vendor's time of the observation.
  observed_at timestamptz not null,
  -- What we wanted to show when it was found; asked about only as long as that is so.
  desired integer,
  -- [{ value, from, outcome, sentAt }] of the last day, newest first.
  attempts jsonb not null default '[]',
  -- [{ externalId, units, source }]: orders that explained units of it.
  explained jsonb not null default '[]',
  -- Orders are known to be read past it since this mark.
  settled_at timestamptz,
  orders_read_to timestamptz,
  -- found → healing | asked | adopting → healed | adopted | dismissed | explained (ended_at set)
  state text not null default 'found' check (state in ('found', 'healing', 'asked', 'adopting', 'healed', 'adopted', 'dismissed', 'explained')),
  -- The policy that decided, and who; the reason where it says more.
  policy text check (policy in ('heal', 'ask', 'adopt')),
  decided_by text,
  reason text,
  -- How often it was seen while it stood.
  times integer not null default 1,
  found_at timestamptz not null,
  last_at timestamptz not null,
  decided_at timestamptz,
  ended_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, target_id) references targets (org_id, id) on delete cascade,
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create unique index drifts_open on drifts (org_id, target_id) where ended_at is null;
create index drifts_by_target on drifts (org_id, target_id, found_at desc);
create index drifts_recent on drifts (org_id, found_at desc, id desc);
call tenant_table('drifts');
