-- Catalogue and connections: what a tenant sells, where the goods are, and at which channels it is offered.

create table locations (
  org_id uuid not null references organizations,
  id uuid not null,
  -- What people and the API call it; compared exactly.
  code text not null check (code <> ''),
  name text not null,
  is_default boolean not null default false,
  -- Serving order when the default cannot: lower first.
  priority integer not null default 100,
  -- false: goods there serve no order of ours and fill no shortfall (Amazon's FBA places).
  serves_orders boolean not null default true,
  created_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, code)
);
create unique index locations_one_default on locations (org_id) where is_default;
call tenant_table('locations');

-- The sellable unit, by SKU (NFC, trimmed, 1-200 code points; core/catalog/sku.ts). A bundle is a variant with other variants as components.
create table variants (
  org_id uuid not null references organizations,
  id uuid not null,
  sku text collate "C" not null check (char_length(sku) between 1 and 200),
  title text not null default '',
  barcode text,
  is_bundle boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique (org_id, sku)
);
call tenant_table('variants');

-- What a bundle is made of; versioned, so that a past publishable number can be rebuilt. Plain variants have no rows.
-- Composition belongs to the variant, not to each listing of it: one place to edit, every listing follows.
create table bundle_components (
  org_id uuid not null,
  variant_id uuid not null,
  component_id uuid not null,
  units integer not null check (units between 1 and 1000000),
  valid_from timestamptz not null,
  valid_to timestamptz,
  primary key (org_id, variant_id, component_id, valid_from),
  foreign key (org_id, variant_id) references variants (org_id, id),
  foreign key (org_id, component_id) references variants (org_id, id),
  check (component_id <> variant_id)
);
create unique index bundle_components_open on bundle_components (org_id, variant_id, component_id) where valid_to is null;
create index bundle_components_used on bundle_components (org_id, component_id) where valid_to is null;
call tenant_table('bundle_components');

create table connections (
  org_id uuid not null references organizations,
  id uuid not null,
  platform text not null,
  kind text not null check (kind in ('live', 'simulated')),
  name text not null,
  -- connected: works; unauthorized: token dead; unreachable: breaker open
  state text not null default 'connected' check (state in ('connected', 'unauthorized', 'unreachable')),
  state_reason text,
  paused_at timestamptz,
  -- Lower first: who gets the last units under scarcity.
  priority integer not null default 100,
  base_url text,
  -- Non-secret, per vendor, parsed by the connector. settleMs and orderLagMs override the manifest.
  settings jsonb not null default '{}',
  -- AES-256-GCM over JSON: key id, nonce, tag and text in one (server/secrets.ts).
  credentials bytea,
  webhook_secrets bytea,
  -- Unguessable path segment of /webhook/{platform}/{token}.
  webhook_token text not null,
  -- Orders of this connection are known completely up to this vendor time (lag already subtracted).
  orders_read_to timestamptz,
  orders_swept_at timestamptz,
  stock_swept_at timestamptz,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (org_id, id)
);
create index connections_by_token on connections (webhook_token);
create index connections_by_shop on connections (platform, (settings ->> 'shopDomain')) where deleted_at is null;
call tenant_table('connections');

-- Which of our locations stand behind a channel location. Several of ours may: their available is added up.
create table connection_locations (
  org_id uuid not null,
  connection_id uuid not null,
  channel_location text not null,
  location_id uuid not null,
  primary key (org_id, connection_id, channel_location, location_id),
  foreign key (org_id, connection_id) references connections (org_id, id),
  foreign key (org_id, location_id) references locations (org_id, id)
);
-- One of our locations feeds at most one channel location of a connection, or its goods would be offered twice there.
create unique index connection_locations_once on connection_locations (org_id, connection_id, location_id);
call tenant_table('connection_locations');

-- A variant as offered on one connection. variant_id null = unmapped.
create table listings (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  variant_id uuid,
  -- Shopify: product GID. Amazon: ASIN.
  external_id text not null,
  -- Shopify: variant GID. Amazon: null.
  variant_external_id text,
  channel_sku text collate "C" not null,
  -- The channel's own name of the number: Shopify inventory item GID, Amazon seller SKU.
  stock_key text collate "C" not null,
  title text not null default '',
  fulfilled_by text not null default 'us' check (fulfilled_by in ('us', 'channel')),
  not_writable text,
  paused_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (org_id, id),
  unique nulls not distinct (org_id, connection_id, external_id, variant_external_id, stock_key),
  foreign key (org_id, connection_id) references connections (org_id, id),
  foreign key (org_id, variant_id) references variants (org_id, id)
);
create index listings_by_variant on listings (org_id, variant_id);
create index listings_by_sku on listings (org_id, connection_id, channel_sku);
create index listings_by_stock_key on listings (org_id, connection_id, stock_key);
create index listings_by_variant_external on listings (org_id, connection_id, variant_external_id);
call tenant_table('listings');

-- Buffer, share and cap, versioned. Most specific wins per field: target, listing, variant, connection, organization.
create table policies (
  org_id uuid not null references organizations,
  id uuid not null,
  scope text not null check (scope in ('organization', 'connection', 'variant', 'listing', 'target')),
  -- The id of what it is for; the organization's own id for scope organization.
  scope_id uuid not null,
  -- null in a field: this policy says nothing about it.
  buffer integer check (buffer between 0 and 1000000),
  share_bp integer check (share_bp between 0 and 10000),
  cap integer check (cap >= 0),
  valid_from timestamptz not null,
  valid_to timestamptz,
  actor text not null,
  primary key (org_id, id)
);
create unique index policies_open on policies (org_id, scope, scope_id) where valid_to is null;
create index policies_history on policies (org_id, scope, scope_id, valid_from);
call tenant_table('policies');
