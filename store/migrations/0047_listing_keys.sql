-- From a line's keys to its listing (store/orders/mapping.ts). Not led by org_id: among many organizations the planner expects one row
-- of an organization, and a large one's listings were walked for every line of an order (368 ms per 100 orders; now a few).
create index listings_of_stock_key on listings (connection_id, stock_key);
create index listings_of_variant_external on listings (connection_id, variant_external_id);
create index listings_of_sku on listings (connection_id, channel_sku);
