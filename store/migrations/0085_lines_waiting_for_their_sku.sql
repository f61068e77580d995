-- A number is not raised over units its channel has sold and no booking knows yet, because their lines wait for a SKU.
-- Such lines are found by what the channel calls their item (store/listings/work.ts), each kind in an index of its own: of two that
-- serve the same look-up the planner may take the wrong one while a table has no statistics. The one before was asked for by nobody.
-- Each compares as the column of targets or listings that it is looked up with; lines that have their SKU, nearly all, are in none.
create index order_lines_waiting_key on order_lines (stock_key collate "C", org_id)
  where variant_id is null and not bundle_parent and stock_key is not null;
create index order_lines_waiting_variant on order_lines (variant_external_id, org_id)
  where variant_id is null and not bundle_parent and stock_key is null and variant_external_id is not null;
create index order_lines_waiting_sku on order_lines (channel_sku collate "C", org_id)
  where variant_id is null and not bundle_parent and stock_key is null and variant_external_id is null;
drop index order_lines_unmapped;
