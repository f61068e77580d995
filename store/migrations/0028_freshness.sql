-- Freshness: how old the stock of a location may be that somebody else keeps (a warehouse system, a file every night). A location
-- without a row is the ledger's own: its number has no age.

create table location_freshness (
  org_id uuid not null,
  location_id uuid not null,
  limit_ms bigint not null check (limit_ms > 0),
  -- zero: its targets show 0 · suspend: nothing is written to them.
  action text not null default 'zero' check (action in ('zero', 'suspend')),
  -- The last reading, and who brought it; at first the time the limit was set.
  read_at timestamptz not null,
  read_by text not null,
  set_at timestamptz not null,
  set_by text not null,
  primary key (org_id, location_id),
  foreign key (org_id, location_id) references locations (org_id, id)
);
call tenant_table('location_freshness');
