-- Imports of a channel's catalogue: where each stands, what the channel answered, and what became of every item.

-- One import. It goes on from `cursor` whoever took it up before; a page's answers, its items and the new cursor are one commit.
create table catalog_imports (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  -- full: everything the channel lists. incremental: what it says changed since `changed_since`.
  mode text not null check (mode in ('full', 'incremental')),
  changed_since timestamptz,
  -- Channel SKUs that are not ours become products.
  create_products boolean not null,
  -- Nothing of ours is changed; the report says what would have been.
  dry_run boolean not null,
  -- Pages come from this import's stored answers instead of the channel.
  replay_of uuid,
  started_at timestamptz not null,
  -- The channel's mark for the next page; null before the first.
  cursor text,
  pages integer not null default 0,
  -- Times the channel no longer knew the mark and the walk began again; items seen again count once.
  restarts integer not null default 0,
  -- The last page is stored; the report is still to be made.
  read_at timestamptz,
  finished_at timestamptz,
  report jsonb,
  -- Undone by an inverse run: when it began and ended.
  undo_started_at timestamptz,
  undone_at timestamptz,
  primary key (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create index catalog_imports_by_connection on catalog_imports (org_id, connection_id, started_at);
call tenant_table('catalog_imports');

-- What the channel answered for one page: gzip over JSON, secrets masked (connectors/kit/recording.ts). Kept for 90 days.
create table catalog_pages (
  org_id uuid not null,
  import_id uuid not null,
  page integer not null,
  -- The mark it was asked with; null for the first.
  cursor text,
  answers bytea not null,
  fetched_at timestamptz not null,
  primary key (org_id, import_id, page),
  foreign key (org_id, import_id) references catalog_imports (org_id, id) on delete cascade
);
create index catalog_pages_by_age on catalog_pages (org_id, fetched_at);
call tenant_table('catalog_pages', 'select, insert, delete');

-- One item of the channel in one import, once, however often its pages named it.
create table catalog_items (
  org_id uuid not null,
  import_id uuid not null,
  id uuid not null,
  page integer not null,
  external_id text not null,
  variant_external_id text,
  stock_key text collate "C" not null,
  channel_sku text collate "C" not null,
  title text not null,
  barcode text,
  -- mapped: now. already_mapped: as it was before. refused: our SKU, but it may not be mapped; `reason` says why.
  outcome text not null check (outcome in ('mapped', 'already_mapped', 'unmapped', 'refused')),
  reason text,
  -- Its SKU became a product of ours in this import.
  created_variant boolean not null,
  listing_id uuid not null,
  variant_id uuid,
  -- What is wrong with the item at the channel: [{ field, reason }].
  issues jsonb not null,
  -- Ours against the channel's: [{ field, verdict, ours, theirs }].
  comparison jsonb not null,
  -- The listing before and after, to undo it: { variantId, channelSku, title, fulfilledBy, notWritable }; before = null: it was new.
  before jsonb,
  after jsonb not null,
  -- What undoing did: removed, unmapped, restored, nothing, kept (and why).
  undo text,
  undo_reason text,
  variant_undo text,
  variant_undo_reason text,
  primary key (org_id, import_id, id),
  unique nulls not distinct (org_id, import_id, external_id, variant_external_id, stock_key),
  foreign key (org_id, import_id) references catalog_imports (org_id, id) on delete cascade
);
create index catalog_items_by_sku on catalog_items (org_id, import_id, channel_sku);
create index catalog_items_by_stock_key on catalog_items (org_id, import_id, stock_key);
call tenant_table('catalog_items');

-- A listing can only go when no order line names it: asked for each that an undone import would remove.
create index order_lines_by_listing on order_lines (org_id, listing_id) where listing_id is not null;
