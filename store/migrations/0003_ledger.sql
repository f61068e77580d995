-- The ledger: goods (positions, movements) and claims (commitments, holds, shortfalls) with an append-only claim log.
-- Nothing outside store/ledger writes these tables: every change is decided by core/stock/posting.ts under the positions' locks
-- and written by ledger_write (0004).
--
-- Foreign keys stand where rows are made rarely (positions). The hot tables have none: each check is a query per row and a shared
-- lock on the organization's row that every writer would fight for. Their rows can only be written for a locked position, which
-- is bound to its variant and location and never deleted; `verify` finds orphans all the same.

-- Arrival of claims: what is filled first and displaced last. Drawn under the positions' locks, so it rises per variant.
create sequence ledger_seq as bigint;
grant usage on sequence ledger_seq to syncstate_app;

create table positions (
  org_id uuid not null,
  variant_id uuid not null,
  location_id uuid not null,
  sellable integer not null default 0 check (sellable >= 0),
  damaged integer not null default 0 check (damaged >= 0),
  quarantine integer not null default 0 check (quarantine >= 0),
  expired integer not null default 0 check (expired >= 0),
  incoming integer not null default 0 check (incoming >= 0),
  -- Open commitments and open holds; P1: equal to the sums of the rows below.
  committed integer not null default 0 check (committed >= 0),
  reserved integer not null default 0 check (reserved >= 0),
  version bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (org_id, variant_id, location_id),
  foreign key (org_id, variant_id) references variants (org_id, id),
  foreign key (org_id, location_id) references locations (org_id, id),
  constraint positions_claims_within_goods check (committed + reserved <= sellable)
) with (fillfactor = 70);
call tenant_table('positions', 'select, insert, update');

-- One immutable entry: units from one side to the other. A side is a location's bucket, or outside (both null).
create table movements (
  org_id uuid not null,
  id uuid not null,
  variant_id uuid not null,
  units integer not null check (units > 0),
  from_location uuid,
  from_bucket text check (from_bucket in ('sellable', 'damaged', 'quarantine', 'expired', 'incoming')),
  to_location uuid,
  to_bucket text check (to_bucket in ('sellable', 'damaged', 'quarantine', 'expired', 'incoming')),
  -- receipt, shipment, transfer, adjustment, count, return, disposition_change
  kind text not null,
  reason text not null,
  reference text,
  actor text not null,
  effect_key text not null,
  -- When it happened, as told; when we booked it.
  business_at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (org_id, id),
  check ((from_location is null) = (from_bucket is null)),
  check ((to_location is null) = (to_bucket is null)),
  check (from_location is not null or to_location is not null)
);
create index movements_by_variant on movements (org_id, variant_id, business_at desc, id desc);
call tenant_table('movements', 'select, insert');

-- Every command's effect key and its first result, for ever: the same key again changes nothing.
create table ledger_effects (
  org_id uuid not null,
  effect_key text collate "C" not null,
  -- Short form (store/ledger/result.ts); json, not jsonb: it is only ever read whole, and written on every command.
  result json not null,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (org_id, effect_key)
);
call tenant_table('ledger_effects', 'select, insert');

-- Owed to an order line, per variant (a bundle line has one row per component) and location.
create table commitments (
  org_id uuid not null,
  line_id uuid not null,
  variant_id uuid not null,
  location_id uuid not null,
  open integer not null default 0 check (open >= 0),
  shipped integer not null default 0 check (shipped >= 0),
  released integer not null default 0 check (released >= 0),
  -- All rows of one line and variant share it, also when displaced and filled again.
  seq bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (org_id, line_id, variant_id, location_id)
);
-- Few distinct keys on purpose: equal ones are stored once, and what is found is sorted by seq in memory.
create index commitments_open on commitments (org_id, variant_id) where open > 0;
call tenant_table('commitments', 'select, insert, update');

-- A claim for a while. hold_id: our own hold's id, or the order line it stands for (a channel's pending order).
create table holds (
  org_id uuid not null,
  hold_id uuid not null,
  variant_id uuid not null,
  location_id uuid not null,
  open integer not null default 0 check (open >= 0),
  confirmed integer not null default 0 check (confirmed >= 0),
  released integer not null default 0 check (released >= 0),
  -- Units lost when the whole hold ended: a confirmation that comes too late commits these as a fact.
  lapsed integer not null default 0 check (lapsed >= 0),
  -- own: expires by command when expires_at has passed. channel: expiry is a question to the channel, never a release.
  origin text not null check (origin in ('own', 'channel')),
  expires_at timestamptz,
  seq bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (org_id, hold_id, variant_id, location_id)
);
create index holds_open on holds (org_id, variant_id) where open > 0;
call tenant_table('holds', 'select, insert, update');

-- Units of an order line (or hold) that no goods stand behind; filled in sequence by whatever frees goods.
create table shortfalls (
  org_id uuid not null,
  -- The line, or the hold when claim_kind is hold.
  line_id uuid not null,
  variant_id uuid not null,
  -- What a fill becomes.
  claim_kind text not null check (claim_kind in ('commitment', 'hold')),
  waiting integer not null default 0 check (waiting >= 0),
  filled integer not null default 0 check (filled >= 0),
  cancelled integer not null default 0 check (cancelled >= 0),
  lapsed integer not null default 0 check (lapsed >= 0),
  -- The terms of the hold it becomes.
  origin text check (origin in ('own', 'channel')),
  expires_at timestamptz,
  seq bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (org_id, line_id, variant_id, claim_kind),
  check ((claim_kind = 'hold') = (origin is not null))
);
create index shortfalls_waiting on shortfalls (org_id, variant_id, seq) where waiting > 0;
call tenant_table('shortfalls', 'select, insert, update');

-- Append-only: every change of a claim, with both times, so that availability at a past moment can be rebuilt.
create table claim_events (
  org_id uuid not null,
  seq bigint generated always as identity,
  claim text not null check (claim in ('commitment', 'hold', 'shortfall')),
  claim_id uuid not null,
  variant_id uuid not null,
  -- null for shortfalls
  location_id uuid,
  -- Change of the claim's open (or waiting) units.
  delta integer not null check (delta <> 0),
  -- ClaimEvent in core/stock/movement.ts
  event text not null,
  actor text not null,
  effect_key text not null,
  business_at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  -- The one index: reads are by variant, and a claim's variants are in its rows.
  primary key (org_id, variant_id, business_at, seq)
);
call tenant_table('claim_events', 'select, insert');

-- Must be published again: at most one row per variant, whatever the number of events (P5). Cleared only at an unchanged version.
create table dirty_variants (
  org_id uuid not null,
  variant_id uuid not null,
  version bigint not null default 1,
  -- The smallest available the ledger saw: 0 first, then <= 3, then the rest.
  hint integer not null,
  marked_at timestamptz not null default clock_timestamp(),
  primary key (org_id, variant_id)
) with (fillfactor = 70);
call tenant_table('dirty_variants');

-- Cases: what a person must know. Merged by dedupe_key while unresolved.
create table alerts (
  org_id uuid not null references organizations,
  id uuid not null,
  kind text not null,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  message text not null,
  subject_kind text,
  subject_id text,
  dedupe_key text not null,
  count integer not null default 1,
  details jsonb not null default '{}',
  created_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  read_at timestamptz,
  resolved_at timestamptz,
  primary key (org_id, id)
);
create unique index alerts_open on alerts (org_id, dedupe_key) where resolved_at is null;
create index alerts_recent on alerts (org_id, created_at desc, id desc);
call tenant_table('alerts');

-- What happened, for /api/events: resumable by (tx, seq). A reader takes rows below the oldest running transaction only,
-- so that a late commit is never skipped. Kept for a day.
create table events (
  org_id uuid not null,
  seq bigint generated always as identity,
  tx xid8 not null default pg_current_xact_id(),
  type text not null check (type in ('stock', 'listing', 'order', 'alert', 'run')),
  -- SKU for stock, id for the others
  key text not null,
  version bigint not null,
  at timestamptz not null default clock_timestamp(),
  primary key (org_id, seq)
);
create index events_tail on events (org_id, tx, seq);
call tenant_table('events', 'select, insert, delete');
