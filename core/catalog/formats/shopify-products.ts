/**
 * Shopify's product export (admin: Products > Export) → products, and stock where the shop has a single location.
 *
 * | Column (old name / name since 2025) | Means | Source |
 * |---|---|---|
 * | Handle / URL handle | groups the rows of one product; every row has it | documented |
 * | Title | the product's, on its first row only | documented |
 * | Option1–3 Value | what tells a product's variants apart; "Default Title" when it has only one | documented |
 * | Variant SKU / SKU | our SKU; may be empty | documented |
 * | Variant Barcode / Barcode | GTIN or ISBN | documented |
 * | Variant Inventory Tracker / Inventory tracker | "shopify" or empty: not tracked | documented |
 * | Variant Inventory Qty / Inventory quantity | units; filled for shops with a single location only | documented |
 * | Variant Price / Price | every variant has one, an image's row has none | documented; that it tells the two apart: assumed |
 * | Image Src / Product image URL | a row with nothing but these belongs to an image | documented |
 * | Status | active, draft, archived: all are taken, since their goods are on the shelf all the same | documented; ours |
 *
 * Documented: help.shopify.com/en/manual/products/import-export/using-csv, read 2026-11-28. Assumed, from files in the
 * wild: an apostrophe before a number of digits only (`'0012`) is a guard against spreadsheets, not part of it.
 *
 * A variant is called as the connector calls it, "Product – Red / M", so that file and catalogue import agree.
 */
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

const handle = ['handle', 'url_handle'];
const sku = ['variant_sku', 'sku'];
const barcode = ['variant_barcode', 'barcode'];
const quantity = ['variant_inventory_qty', 'inventory_quantity'];
const tracker = ['variant_inventory_tracker', 'inventory_tracker'];
const price = ['variant_price', 'price'];
const options = ['option1_value', 'option2_value', 'option3_value'];
const onlyVariant = 'Default Title';

export const shopifyProducts: FileFormat = {
  name: 'shopify-products',
  title: "Shopify's product export",
  dialect: 'comma',
  brings: ['products', 'stock'],
  recognises(titles) {
    const header = new Header(titles);
    return (
      header.has(...handle) &&
      header.has('title') &&
      !header.has('location') &&
      (header.has('variant_sku') || (header.has('url_handle') && header.has('sku')))
    );
  },
  open(titles) {
    const header = new Header(titles);
    const titleOf = new Map<string, string>();
    const seen = new FirstSeen();
    return (record) => {
      const product = header.text(record, ...handle);
      const title = header.text(record, 'title');
      if (title !== '') titleOf.set(product, title);
      if (!isVariant(header, record)) return nothing();
      return variant(header, record, titleOf.get(product) ?? product, seen);
    };
  },
};

const isVariant = (header: Header, record: FileRecord): boolean =>
  [sku, price, ...options.map((name) => [name])].some((names) => header.text(record, ...names) !== '');

function variant(header: Header, record: FileRecord, product: string, seen: FirstSeen): Derived {
  const derived = nothing();
  const { row } = record;
  const code = withoutGuard(header.text(record, ...sku));
  const choices = options
    .map((name) => header.text(record, name))
    .filter((text) => text !== '' && text !== onlyVariant);
  const title = choices.length === 0 ? product : `${product} – ${choices.join(' / ')}`;
  const refuse = (field: string, value: string, reason: string): Derived => {
    derived.errors.push({ row, field, value, reason });
    return derived;
  };
  const skuColumn = header.has('variant_sku') ? 'Variant SKU' : 'SKU';
  if (code === '') return refuse(skuColumn, '', `is missing: give "${title}" a SKU in Shopify`);
  if (isRoundedBySpreadsheet(code)) return refuse(skuColumn, code, roundedReason);
  const first = seen.earlier(normalizeSku(code) ?? code, row);
  if (first !== null) return refuse(skuColumn, code, `is the SKU of row ${first} too; that one counts`);
  const ean = withoutGuard(header.text(record, ...barcode));
  if (isRoundedBySpreadsheet(ean))
    return refuse(header.has('variant_barcode') ? 'Variant Barcode' : 'Barcode', ean, roundedReason);
  derived.products.push({ row, values: { sku: code, title, ...(ean === '' ? {} : { barcode: ean }) } });
  const units = header.text(record, ...quantity);
  const tracked = !header.has(...tracker) || header.text(record, ...tracker) !== '';
  if (units !== '' && tracked) derived.stock.push({ row, values: { sku: code, quantity: units } });
  return derived;
}
