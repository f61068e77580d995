-- Searches that stay quick in a large organization, under row security and on every server (no extension is needed).

-- SKU, title and barcode folded to small letters, once, when they are written: a search is then one plain LIKE over one text. Three
-- ILIKEs fold every row again; no operator that finds "anywhere" is leakproof, so none may use an index under row security, and
-- a pass over the organization's own rows is what remains. Lines keep the three apart.
alter table variants add column search text collate "C" not null
  generated always as (lower((sku || E'\n' || title || E'\n' || coalesce(barcode, '')) collate "default")) stored;

-- Movements are found by the beginning of their reference and by their reason: comparing is leakproof, so these serve under row security.
create index movements_by_reference on movements (org_id, reference collate "C") where reference is not null;
create index movements_by_reason on movements (org_id, reason collate "C");
