-- The last delivery to a connection's own address that was refused for its signature, and how often since the last one that was taken:
-- what a wrong webhook secret looks like. Written once a minute at most by each process; `syncstate doctor` reads it.
alter table connections
  add column webhooks_refused integer not null default 0,
  add column webhook_refused_at timestamptz;
