-- Which listing stood for which variant, and which of our locations stood behind which channel location, at any past time:
-- kept by triggers, whoever changes the mapping, so that a past published number can be explained (P8).

create table listing_mappings (
  org_id uuid not null,
  listing_id uuid not null,
  variant_id uuid not null,
  valid_from timestamptz not null,
  valid_to timestamptz,
  primary key (org_id, listing_id, valid_from),
  foreign key (org_id, listing_id) references listings (org_id, id) on delete cascade,
  foreign key (org_id, variant_id) references variants (org_id, id) on delete cascade
);
create index listing_mappings_by_variant on listing_mappings (org_id, variant_id);
call tenant_table('listing_mappings');

insert into listing_mappings (org_id, listing_id, variant_id, valid_from)
select org_id, id, variant_id, created_at from listings where variant_id is not null;

-- The time of a change is the listing's `updated_at`, never before the version it ends.
create function remember_mapping() returns trigger
language plpgsql
as $$
declare
  changed record;
begin
  for changed in
    select n.org_id, n.id, n.variant_id, greatest(n.updated_at, (select max(m.valid_from) from listing_mappings m
      where m.org_id = n.org_id and m.listing_id = n.id)) as at
    from now_rows n left join was_rows o on o.org_id = n.org_id and o.id = n.id
    where n.variant_id is distinct from o.variant_id
  loop
    update listing_mappings m set valid_to = changed.at
    where m.org_id = changed.org_id and m.listing_id = changed.id and m.valid_to is null;
    continue when changed.variant_id is null;
    insert into listing_mappings (org_id, listing_id, variant_id, valid_from)
    values (changed.org_id, changed.id, changed.variant_id, changed.at)
    on conflict (org_id, listing_id, valid_from) do update set variant_id = excluded.variant_id, valid_to = null;
  end loop;
  return null;
end
$$;
create trigger remember_mapping after update on listings
  referencing old table as was_rows new table as now_rows
  for each statement execute function remember_mapping();

-- A listing that is new has no version to end: set-wise, for imports of many thousands.
create function remember_first_mapping() returns trigger
language plpgsql
as $$
begin
  insert into listing_mappings (org_id, listing_id, variant_id, valid_from)
  select n.org_id, n.id, n.variant_id, n.updated_at from now_rows n where n.variant_id is not null
  on conflict do nothing;
  return null;
end
$$;
create trigger remember_first_mapping after insert on listings
  referencing new table as now_rows
  for each statement execute function remember_first_mapping();

create table connection_location_history (
  org_id uuid not null,
  connection_id uuid not null,
  channel_location text not null,
  location_id uuid not null,
  valid_from timestamptz not null,
  valid_to timestamptz,
  primary key (org_id, connection_id, channel_location, location_id, valid_from),
  foreign key (org_id, connection_id) references connections (org_id, id),
  foreign key (org_id, location_id) references locations (org_id, id)
);
call tenant_table('connection_location_history');

insert into connection_location_history (org_id, connection_id, channel_location, location_id, valid_from)
select m.org_id, m.connection_id, m.channel_location, m.location_id, c.created_at
from connection_locations m join connections c on c.org_id = m.org_id and c.id = m.connection_id;

create function remember_location() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'DELETE' then
    update connection_location_history h set valid_to = clock_timestamp()
    where h.org_id = old.org_id and h.connection_id = old.connection_id and h.channel_location = old.channel_location
      and h.location_id = old.location_id and h.valid_to is null;
  else
    insert into connection_location_history (org_id, connection_id, channel_location, location_id, valid_from)
    values (new.org_id, new.connection_id, new.channel_location, new.location_id, clock_timestamp());
  end if;
  return null;
end
$$;
create trigger remember_location after insert or delete on connection_locations
  for each row execute function remember_location();
