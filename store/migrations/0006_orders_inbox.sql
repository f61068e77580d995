-- Coming in: stored events, and orders on three axes.

-- What a connection's webhooks are signed with, as slow hashes: two connections that share a secret (one public app) are told apart
-- by this alone, and a body one of them accepted is refused by the other. The order sweep runs in one process at a time.
alter table connections
  add column webhook_fingerprints bytea[] not null default '{}',
  -- Nobody else sweeps before this; also the back-off after a failed sweep.
  add column order_sweep_lease timestamptz;
create index connections_by_fingerprint on connections using gin (webhook_fingerprints) where deleted_at is null;

create table inbox (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  -- The sequence key is (connection, kind, external_id): its rows are applied together, folded to the newest.
  kind text not null check (kind in ('order', 'stock', 'other')),
  external_id text collate "C" not null,
  topic text not null,
  -- webhook and queue: the vendor's bytes. poll: our normalised order, found by a sweep. fetch: the same, read because a
  -- stored event alone could not be applied; it began after every row it answers was known.
  source text not null check (source in ('webhook', 'queue', 'poll', 'fetch', 'api')),
  -- Transport identity: suppresses re-work only; a collision is a new row.
  delivery_id text,
  body_hash bytea not null,
  body bytea not null,
  received_at timestamptz not null,
  -- waiting: to be applied at next_at · done: applied · superseded: a newer row of its key was applied instead
  -- (or a person discarded it) · duplicate: an identical body was there (no body kept) · dead: failed for good, a person decides
  state text not null default 'waiting' check (state in ('waiting', 'done', 'superseded', 'duplicate', 'dead')),
  -- A read from the channel was asked for on behalf of this row; next_at is then the time to ask again.
  fetching boolean not null default false,
  attempts integer not null default 0,
  -- How often the very same error came in a row.
  repeats integer not null default 0,
  next_at timestamptz not null,
  error_code text,
  error text,
  correlation_id uuid,
  done_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
-- By time only: with the key's columns in it the planner would read the whole backlog through it to find one key.
create index inbox_waiting on inbox (next_at) where state = 'waiting';
-- Not led by org_id, and asked for with `org_id is not distinct from`: while the table has no statistics yet, an index that
-- starts with org_id looks as good as this one to the planner, and every key would read the whole organization.
create index inbox_open_key on inbox (connection_id, kind, external_id, received_at, id) where state in ('waiting', 'dead');
-- Led by the hash: also answers "was this body accepted for another connection".
create index inbox_body on inbox (body_hash, connection_id);
create index inbox_dead on inbox (org_id, received_at) where state = 'dead';
call tenant_table('inbox');

create table orders (
  org_id uuid not null references organizations,
  id uuid not null,
  -- null: a manual order
  connection_id uuid,
  external_id text collate "C" not null,
  number text not null,
  status text not null check (status in ('new', 'confirmed', 'processing', 'completed', 'cancelled', 'failed')),
  payment text not null,
  fulfillment text not null,
  fulfilled_by text not null default 'us' check (fulfilled_by in ('us', 'channel')),
  -- The channel's version that is applied, and a hash of its content: equal time with other content is fetched again.
  channel_version timestamptz not null,
  content_hash bytea not null,
  -- Ours: effect keys are order:{id}:r{revision}.
  revision integer not null default 0,
  -- The channel took units but the sale is not certain yet: claims are holds.
  pending boolean not null default false,
  -- Has lines whose SKU is not mapped: kept, completes when mapped.
  unmapped boolean not null default false,
  currency text,
  total_minor bigint,
  test boolean not null default false,
  placed_at timestamptz not null,
  raw jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique nulls not distinct (org_id, connection_id, external_id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
-- For the import; not led by org_id for the reason given at inbox_open_key.
create index orders_by_external on orders (connection_id, external_id);
create index orders_recent on orders (org_id, placed_at desc, id desc);
create index orders_unmapped on orders (org_id, connection_id) where unmapped;
call tenant_table('orders');

create table order_lines (
  org_id uuid not null,
  id uuid not null,
  order_id uuid not null,
  external_id text not null,
  listing_id uuid,
  variant_id uuid,
  channel_sku text,
  stock_key text,
  variant_external_id text,
  title text not null default '',
  ordered integer not null check (ordered >= 0),
  -- Units the buyer is to get (shipped included); units that left.
  wanted integer not null check (wanted >= 0),
  shipped integer not null default 0 check (shipped >= 0),
  -- Units of this line that stand in the ledger as commitments, holds and shortfalls: what the next difference starts from.
  claimed integer not null default 0 check (claimed >= 0),
  returned integer not null default 0 check (returned >= 0),
  -- Units the channel's own number is lower by because of this line, at the applied version; null = not known.
  taken integer,
  channel_location text,
  bundle_parent boolean not null default false,
  -- Frozen when the line was first booked: [{ variantId, units }]; null while unmapped or never booked.
  explosion jsonb,
  primary key (org_id, id),
  unique (org_id, order_id, external_id),
  foreign key (org_id, order_id) references orders (org_id, id),
  foreign key (org_id, listing_id) references listings (org_id, id),
  foreign key (org_id, variant_id) references variants (org_id, id)
);
create index order_lines_by_order on order_lines (order_id);
create index order_lines_unmapped on order_lines (org_id, order_id) where variant_id is null;
call tenant_table('order_lines');

-- Who did what to an order, in order.
create table order_events (
  org_id uuid not null,
  id uuid not null,
  order_id uuid not null,
  kind text not null,
  message text not null,
  actor text not null,
  at timestamptz not null,
  details jsonb not null default '{}',
  primary key (org_id, id),
  foreign key (org_id, order_id) references orders (org_id, id)
);
create index order_events_by_order on order_events (org_id, order_id, at);
call tenant_table('order_events', 'select, insert');

-- A caller's own key for a write: replayed for 30 days with the first status and body.
create table idempotency_keys (
  org_id uuid not null references organizations,
  caller text not null,
  method text not null,
  path text not null,
  key text not null,
  body_hash bytea not null,
  -- null while the first call runs
  status integer,
  response jsonb,
  created_at timestamptz not null default clock_timestamp(),
  primary key (org_id, caller, method, path, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
call tenant_table('idempotency_keys');

-- Who changed what through the API or CLI.
create table audit (
  org_id uuid not null references organizations,
  id uuid not null,
  actor text not null,
  action text not null,
  subject text not null,
  details jsonb not null default '{}',
  at timestamptz not null default clock_timestamp(),
  primary key (org_id, id)
);
create index audit_recent on audit (org_id, at desc);
call tenant_table('audit', 'select, insert');

-- Every outside call: secrets removed, 90 days.
create table outside_calls (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  operation text not null,
  method text not null,
  url text not null,
  status integer,
  request text,
  response text,
  error_code text,
  took_ms integer not null,
  at timestamptz not null,
  primary key (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create index outside_calls_recent on outside_calls (org_id, connection_id, at desc);
call tenant_table('outside_calls', 'select, insert, delete');
