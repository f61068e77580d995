-- Credentials that a channel exchanges (Shopify's refresh tokens) are exchanged by one process at a time: who holds the lease asks
-- the channel, the others wait for what it stores (store/connections/renewal.ts).
alter table connections
  add column renewal_holder uuid,
  add column renewal_until timestamptz;
