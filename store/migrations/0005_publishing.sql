-- Publishing: the external numbers we keep right, what we know of them, and every write we tried.

-- The external number itself: (connection, stock key, channel location). Listings map N:1 onto it by stock key.
create table targets (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  stock_key text collate "C" not null,
  channel_location text not null,
  -- The channel refuses a write whose starting number is wrong (the connector's manifest, kept here for imports).
  compare_and_set boolean not null default false,
  -- null while the listing is unmapped. A second variant on the same stock key is refused.
  variant_id uuid,
  -- design.md 4.2. base: value and vendor time of the last settled read or compare-and-set answer.
  base integer,
  base_at timestamptz,
  -- What the channel did to its number since base: [{ units (> 0 taken), from, to (vendor ms), seq, sure }]; seq counts up.
  effects jsonb not null default '[]',
  effect_seq bigint not null default 0,
  -- Something of unknown size, place or outcome happened: only a counted observation ends it.
  unknown boolean not null default false,
  -- A write recorded and not yet proven: value, the number it was sent from, the effects it knew, in force by (vendor time).
  pending_value integer,
  pending_from integer,
  pending_seq bigint,
  pending_settled_at timestamptz,
  -- Vendor time at which our last write without compare-and-set was surely in force.
  written_at timestamptz,
  -- Counts base and observed changes: a read asked for at the same count is surely later than both.
  seen_version bigint not null default 0,
  -- base + effects since; null = unknown: read before write, never skip.
  expected integer,
  -- The highest the number can be by what we know; a settled read below it is the gap that becomes unseen.
  expected_high integer,
  observed integer,
  observed_at timestamptz,
  observed_source text check (observed_source in ('read', 'webhook', 'write')),
  -- Presumed sales we have not imported, as of a vendor time; survives our own writes.
  unseen integer not null default 0 check (unseen >= 0),
  unseen_at timestamptz,
  -- Units by which a proved number was above all we knew: a restock of that time, imported later, explains them.
  surplus integer not null default 0 check (surplus >= 0),
  surplus_at timestamptz,
  -- Last desired number, what was compared and sent for it, and its derivation (the explain steps); last accepted write.
  desired integer,
  desired_at timestamptz,
  desired_steps jsonb,
  accepted integer,
  accepted_at timestamptz,
  -- Accepted but not yet in force: until then nothing proves anything.
  settles_at timestamptz,
  settle_tries integer not null default 0,
  -- in_sync pending sent settling unknown paused shadow suspended rejected unmapped unauthorized unreachable drifted read_only
  state text not null default 'unknown',
  reason text,
  state_at timestamptz not null default now(),
  -- 'own': the vendor keeps this number (FBA): never written.
  read_only boolean not null default false,
  -- Read again at or after this time although nothing is dirty.
  read_due timestamptz,
  -- When the waiting change behind this target was made (oldest dirty mark); null when nothing waits.
  dirty_since timestamptz,
  dirty_version bigint not null default 0,
  dirty_hint integer not null default 1000000000,
  -- The version that was last fully handled; dirty when dirty_version > handled_version.
  handled_version bigint not null default 0,
  next_try_at timestamptz,
  tries integer not null default 0,
  version bigint not null default 0,
  primary key (org_id, id),
  unique (org_id, connection_id, stock_key, channel_location),
  foreign key (org_id, connection_id) references connections (org_id, id),
  foreign key (org_id, variant_id) references variants (org_id, id)
);
create index targets_by_variant on targets (org_id, variant_id);
create index targets_dirty on targets (org_id, connection_id, dirty_hint) where dirty_version > handled_version;
create index targets_dirty_age on targets (org_id, connection_id, dirty_since) where dirty_version > handled_version;
create index targets_read_due on targets (org_id, connection_id, read_due) where read_due is not null;
create index targets_pending on targets (org_id, connection_id) where pending_value is not null;
create index targets_stopped on targets (org_id, connection_id) where state in ('paused', 'unauthorized');
-- States on their way that nothing moves on (store/listings/work.ts): a kill between two commits left them.
create index targets_on_the_way on targets (org_id, connection_id)
  where state in ('pending', 'sent', 'settling', 'unknown', 'unreachable') and dirty_version <= handled_version
    and read_due is null and pending_value is null and unseen = 0 and variant_id is not null and not read_only;
create index targets_unseen on targets (org_id, connection_id, unseen_at) where unseen > 0;
call tenant_table('targets');

-- Sales (and their undoing) at a channel whose location is not known: which level of the stock key they moved shows at the next read.
create table unplaced_effects (
  org_id uuid not null,
  connection_id uuid not null,
  stock_key text collate "C" not null,
  -- Units the channel took (positive) somewhere among this stock key's levels.
  units integer not null,
  last_at timestamptz not null,
  primary key (org_id, connection_id, stock_key),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
call tenant_table('unplaced_effects');

-- One outside write, committed before it is sent. outcome null = unknown: read back before anything else is sent.
create table attempts (
  org_id uuid not null,
  id uuid not null,
  target_id uuid not null,
  connection_id uuid not null,
  value integer not null check (value >= 0),
  from_value integer,
  -- The vendor call's idempotency key; rows of one call share it.
  call_key uuid not null,
  lane uuid not null,
  lease_generation bigint not null,
  sent_at timestamptz not null,
  derivation jsonb not null,
  outcome text check (outcome in ('applied', 'accepted', 'stale', 'rejected', 'not_applied', 'unknown', 'proven_applied', 'proven_not_applied', 'not_sent')),
  finished_at timestamptz,
  error_code text,
  error text,
  primary key (org_id, id),
  foreign key (org_id, target_id) references targets (org_id, id)
);
create index attempts_open on attempts (org_id, connection_id, target_id) where outcome is null or outcome = 'unknown';
create index attempts_by_target on attempts (org_id, target_id, sent_at desc);
call tenant_table('attempts');

-- What we saw of a channel's number, when (the vendor's time), and whether it counted.
create table observations (
  org_id uuid not null,
  id uuid not null,
  target_id uuid not null,
  value integer not null,
  vendor_at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  source text not null check (source in ('read', 'webhook', 'write')),
  counted boolean not null,
  -- core/stock/observe.ts: first, as_expected, unseen_sale, higher, old, same_instant, settling, not_applied
  verdict text not null,
  primary key (org_id, id),
  foreign key (org_id, target_id) references targets (org_id, id)
);
create index observations_by_target on observations (org_id, target_id, vendor_at desc);
call tenant_table('observations', 'select, insert, delete');

-- One coordinator per connection, under a lease.
create table lanes (
  org_id uuid not null,
  connection_id uuid not null,
  holder uuid,
  generation bigint not null default 0,
  -- By the database's clock.
  expires_at timestamptz,
  -- A successor touches targets with open attempts only after this (TTL + request timeout after the takeover).
  quiet_until timestamptz,
  primary key (org_id, connection_id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
call tenant_table('lanes');

-- A policy change: one row per policy, whatever the number of targets it touches.
create table dirty_policies (
  org_id uuid not null references organizations,
  scope text not null check (scope in ('organization', 'connection', 'variant', 'listing', 'target')),
  scope_id uuid not null,
  version bigint not null default 1,
  marked_at timestamptz not null default clock_timestamp(),
  primary key (org_id, scope, scope_id)
);
call tenant_table('dirty_policies');

-- Whatever depends on time: a hold's expiry, a freshness limit, a snooze. One sweeper serves them.
create table due (
  org_id uuid not null references organizations,
  kind text not null,
  subject_id uuid not null,
  due_at timestamptz not null,
  primary key (org_id, kind, subject_id)
);
create index due_at on due (due_at);
call tenant_table('due');
