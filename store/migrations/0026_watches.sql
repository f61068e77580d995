-- Watching connections: whether the channel still sends us its events, and whether its daily orders are all in our book.

alter table connections
  -- Where this channel was told to send its webhooks; null: it was never told by us (or has a queue).
  add column webhook_url text;

-- Work that a connection needs now and then, one row per kind; one process at a time under a lease.
create table connection_watches (
  org_id uuid not null,
  connection_id uuid not null,
  kind text not null check (kind in ('subscriptions', 'order_counts')),
  next_at timestamptz not null,
  lease_until timestamptz,
  failures integer not null default 0,
  -- The last complete look and what it found; the last fault.
  looked_at timestamptz,
  result jsonb,
  error text,
  created_at timestamptz not null,
  primary key (org_id, connection_id, kind),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
call tenant_table('connection_watches');

-- Connections of these platforms whose look is due and taken by nobody.
create function system_find_due_watches(p_kind text, p_platforms text[], p_now timestamptz, p_limit integer)
  returns table (org_id uuid, connection_id uuid)
  language sql stable as $$
  select c.org_id, c.id from public.connections c
  left join public.connection_watches w on w.org_id = c.org_id and w.connection_id = c.id and w.kind = p_kind
  where c.deleted_at is null and c.state <> 'unauthorized' and c.platform = any(p_platforms)
    and (w.next_at is null or w.next_at <= p_now) and (w.lease_until is null or w.lease_until <= p_now)
  order by w.next_at nulls first limit p_limit
$$;
call system_function('system_find_due_watches(text, text[], timestamptz, integer)');

-- Subscriptions may have gone with an authorisation: whoever gives it back, they are looked at.
create function look_after_authorisation() returns trigger
language plpgsql
as $$
begin
  update connection_watches set next_at = '-infinity' where org_id = new.org_id and connection_id = new.id and kind = 'subscriptions';
  return null;
end
$$;
create trigger look_after_authorisation after update of state on connections
  for each row when (old.state = 'unauthorized' and new.state = 'connected') execute function look_after_authorisation();

-- Per connection and UTC day: how many orders the channel says were placed, and how many we hold. Shown, and the proof of the sweeps.
create table order_counts (
  org_id uuid not null,
  connection_id uuid not null,
  day date not null,
  -- null: more than could be counted within the vendor's budget.
  channel_count integer,
  held_count integer not null,
  -- count: the vendor's own count; pages: ids read to the end.
  method text not null check (method in ('count', 'pages')),
  -- Orders placed before this are counted: the day's end, or somewhat before now.
  counted_to timestamptz not null,
  -- External ids: the channel has them and we had not (and what became of them); we have them and the channel does not show them.
  missing jsonb not null default '[]',
  extra jsonb not null default '[]',
  fetched integer not null default 0,
  counted_at timestamptz not null,
  primary key (org_id, connection_id, day),
  foreign key (org_id, connection_id) references connections (org_id, id)
);
call tenant_table('order_counts');
create index orders_placed on orders (org_id, connection_id, placed_at);

-- What came from a connection lately, in time's order: whether its events have fallen silent.
create index inbox_by_time on inbox (connection_id, received_at);
