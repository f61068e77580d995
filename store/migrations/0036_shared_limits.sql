-- What all processes that work on a connection share: the vendor's token buckets, divided, and the breaker (core/limits/shares.ts).
-- One row per connection, changed in place twice a second at most by each process that calls the vendor.

create table shared_limits (
  org_id uuid not null,
  connection_id uuid not null,
  -- By bucket name: { rate, capacity, pool, at, members, refusals, blockedUntil, level, tight }
  buckets jsonb not null default '{}',
  -- { state, epoch, openUntil, holder, changedAt }; null: never opened.
  breaker jsonb,
  primary key (org_id, connection_id),
  foreign key (org_id, connection_id) references connections (org_id, id)
) with (fillfactor = 40);
call tenant_table('shared_limits');
