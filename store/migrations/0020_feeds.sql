-- Feeds: many numbers as one document that the vendor works off by itself, in minutes or hours (connectors/kit/ports.ts, StockBulkPort).

-- gathering   its targets are set aside and read; nothing was sent
-- submitting  its attempts stand, the document may be on its way: it is looked for before anything else is believed
-- submitted   the vendor has it; looked at until it ends
-- stuck       not ended in time: its targets are read back and travel singly; still looked at, and read back once more when it ends
-- done, cancelled (it never started), fatal (some, none or all applied), not_sent
create table feeds (
  org_id uuid not null,
  id uuid not null,
  connection_id uuid not null,
  state text not null check (state in ('gathering', 'submitting', 'submitted', 'stuck', 'done', 'cancelled', 'fatal', 'not_sent')),
  -- In words: why it stands or ended so.
  reason text,
  lease_generation bigint not null,
  rows integer not null default 0,
  accepted integer not null default 0,
  rejected integer not null default 0,
  unknown integer not null default 0,
  -- The vendor's names for it.
  document_id text,
  submission_id text,
  -- By our clock.
  created_at timestamptz not null,
  submitted_at timestamptz,
  cancel_asked_at timestamptz,
  look_at timestamptz,
  looks integer not null default 0,
  ended_at timestamptz,
  -- No other feed before this: the vendor refused this one.
  retry_at timestamptz,
  -- P6: from the earliest reading its numbers stand on to the end of its work, by the vendor's clock. Units sold in between may be
  -- offered again until the read-back.
  read_at timestamptz,
  applied_by timestamptz,
  primary key (org_id, id),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
create unique index feeds_one_open on feeds (org_id, connection_id) where state in ('gathering', 'submitting', 'submitted');
create index feeds_look on feeds (org_id, connection_id) where state in ('gathering', 'submitting', 'submitted', 'stuck');
create index feeds_newest on feeds (org_id, created_at desc, id desc);
call tenant_table('feeds');

-- The open feed this target's next number travels in; null = it travels singly. Never both.
alter table targets add column feed_id uuid, add foreign key (org_id, feed_id) references feeds (org_id, id);
create index targets_in_feed on targets (org_id, feed_id) where feed_id is not null;

alter table attempts
  add column feed_id uuid,
  -- The row's number in the document: what the vendor's report names.
  add column message_id integer,
  -- The change the value was computed for.
  add column dirty_version bigint,
  add foreign key (org_id, feed_id) references feeds (org_id, id);
create unique index attempts_by_feed on attempts (org_id, feed_id, message_id) where feed_id is not null;

-- One way at a time, whoever writes: an attempt travels as its target does. The target's row is locked by whoever records one.
create function attempts_one_way() returns trigger language plpgsql as $$
begin
  if exists (select from public.targets t where t.org_id = new.org_id and t.id = new.target_id and t.feed_id is distinct from new.feed_id) then
    raise exception 'target % travels in another way', new.target_id using errcode = 'check_violation', constraint = 'attempts_one_way';
  end if;
  return new;
end $$;
create trigger attempts_one_way before insert on attempts for each row execute function attempts_one_way();

-- Connections whose feed is to be looked at, by a caller's business time.
create function system_feeds_due(p_now timestamptz) returns table (org_id uuid, connection_id uuid)
  language sql stable as $$
  select distinct f.org_id, f.connection_id from public.feeds f
  join public.connections c on c.org_id = f.org_id and c.id = f.connection_id and c.deleted_at is null
  where f.state in ('gathering', 'submitting', 'submitted', 'stuck') and (f.look_at is null or f.look_at <= p_now)
$$;
call system_function('system_feeds_due(timestamptz)');
