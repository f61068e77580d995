-- The list of all movements, newest first: without a SKU no index had its order, and every page sorted the organization's whole history.
create index movements_recent on movements (org_id, business_at desc, id desc);
