/**
 * Shopify's inventory export (admin: Products > Inventory > Export) → stock per location.
 *
 * Two shapes, told apart by the column Location:
 *   all quantity types       a row per variant and location: Location, Incoming, Unavailable, Committed, Available, On hand
 *   only available numbers   a row per variant, a column per location, named as the location is
 *
 * | Column | Means | Source |
 * |---|---|---|
 * | Handle, Title, Option1–3 Name/Value | which variant | documented |
 * | SKU | our SKU; may be empty | documented |
 * | Location | the place's name in Shopify | documented |
 * | Available | what buyers can still order | documented |
 * | On hand | available + committed + unavailable | documented |
 * | "not stocked" as a number | never kept there: no row of ours | documented |
 * | "(not editable)", "(current)" behind a title | the number as it was when exported | seen in public files, assumed |
 * | "On hand (new)" | to be filled in for Shopify's own import: not read | seen in public files, assumed |
 * | HS Code, COO, Bin name | not ours | documented |
 *
 * Documented: help.shopify.com/en/manual/products/inventory/…/inventory-csv, read 2026-11-28.
 *
 * `available` is taken unless asked otherwise: open orders of before the connection are not in our ledger, so counting
 * their goods as free would sell them a second time. Whoever brings those orders in too asks for `on_hand`.
 */
import { columnName } from '../import-rows.ts';
import { normalizeSku } from '../sku.ts';
import {
  type Derived,
  type FileFormat,
  type FileRecord,
  FirstSeen,
  Header,
  isRoundedBySpreadsheet,
  nothing,
  roundedReason,
  withoutGuard,
} from './format.ts';

const known = /^(?:handle|url_handle|title|option\d_(?:name|value)|sku|hs_code|coo|bin_name|variant_packed_.*)$/;
const available = ['available', 'available_(not_editable)', 'available_(current)'];
const onHand = ['on_hand', 'on_hand_(current)', 'on_hand_(not_editable)'];

export const shopifyInventory: FileFormat = {
  name: 'shopify-inventory',
  title: "Shopify's inventory export",
  dialect: 'comma',
  brings: ['stock'],
  recognises(titles) {
    const header = new Header(titles);
    if (!header.has('handle', 'url_handle') || !header.has('sku') || header.has('variant_sku')) return false;
    if (header.has('location')) return header.has(...available, ...onHand);
    return header.has('hs_code', 'coo') && header.has('option1_name', 'option1_value');
  },
  open(titles, options = {}) {
    const header = new Header(titles);
    const seen = new FirstSeen();
    const wanted = options.quantity === 'on_hand' ? [...onHand, ...available] : [...available, ...onHand];
    const places = titles.filter((title) => title.trim() !== '' && !known.test(columnName(title)));
    return (record) => {
      const cells = header.has('location')
        ? [{ location: header.text(record, 'location'), units: header.text(record, ...wanted) }]
        : places.map((place) => ({ location: place.trim(), units: header.text(record, columnName(place)) }));
      return levels(header, record, cells, seen);
    };
  },
};

function levels(
  header: Header,
  record: FileRecord,
  cells: readonly { location: string; units: string }[],
  seen: FirstSeen,
): Derived {
  const derived = nothing();
  const { row } = record;
  const kept = cells.filter(({ units }) => units !== '' && units.toLowerCase() !== 'not stocked');
  if (kept.length === 0) return derived;
  const code = withoutGuard(header.text(record, 'sku'));
  const refuse = (value: string, reason: string): Derived => {
    derived.errors.push({ row, field: 'SKU', value, reason });
    return derived;
  };
  if (code === '') return refuse('', `is missing: give "${header.text(record, 'title', 'handle')}" a SKU in Shopify`);
  if (isRoundedBySpreadsheet(code)) return refuse(code, roundedReason);
  for (const { location, units } of kept) {
    const first = seen.earlier(JSON.stringify([normalizeSku(code) ?? code, location]), row);
    if (first !== null) return refuse(code, `is counted at ${location} in row ${first} too; that one counts`);
    derived.stock.push({ row, values: { sku: code, location, quantity: units } });
  }
  return derived;
}
