-- Scarcity: the last units of a variant are offered on one connection only (core/stock/scarcity.ts).

alter table policies
  -- At this many available units or fewer the variant is scarce; 0 = never; null: this policy says nothing about it.
  add column last_units integer check (last_units between 0 and 1000000),
  -- Who gets the last units; null: says nothing.
  add column last_units_to text check (last_units_to in ('priority', 'sales'));
-- Whether an organization uses scarcity at all is asked at every expansion.
create index policies_last_units on policies (org_id) where last_units is not null and valid_to is null;

-- A time in which a variant's last units were offered on one connection. Open while valid_to is null; kept, so that a past
-- number can be explained.
create table scarcity_episodes (
  org_id uuid not null,
  id uuid not null,
  variant_id uuid not null,
  -- Where the last units are offered.
  connection_id uuid not null,
  -- The limit that was reached, and what was available then.
  last_units integer not null,
  available integer not null,
  valid_from timestamptz not null,
  valid_to timestamptz,
  primary key (org_id, id),
  foreign key (org_id, variant_id) references variants (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create unique index scarcity_episodes_open on scarcity_episodes (org_id, variant_id) where valid_to is null;
create index scarcity_episodes_history on scarcity_episodes (org_id, variant_id, valid_from);
call tenant_table('scarcity_episodes');

-- Recent sales of a variant by connection decide who gets its last units.
create index order_lines_by_variant on order_lines (org_id, variant_id) where variant_id is not null;
