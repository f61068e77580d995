/**
 * Amazon's all-listings report (GET_MERCHANT_LISTINGS_ALL_DATA; Seller Central: Inventory Reports) → products, stock of
 * what we ship ourselves, and which ASIN a SKU is offered under.
 *
 * | Column | Means | Source |
 * |---|---|---|
 * | item-name | title | documented |
 * | seller-sku | the seller's SKU, unique in the account | documented |
 * | quantity | units offered; empty for goods in Amazon's warehouse | documented |
 * | asin1 | the ASIN; asin2, asin3 are historic | documented; the latter assumed |
 * | product-id, product-id-type | 1 ASIN, 2 ISBN, 3 UPC, 4 EAN: 2 to 4 are barcodes | column documented, numbers assumed |
 * | fulfillment-channel | DEFAULT: we ship; AMAZON_NA, AMAZON_EU, …: Amazon does | documented |
 * | status | Active, Inactive, Incomplete: all are taken; an incomplete one may have no ASIN yet | documented; the latter assumed |
 * | all others | not ours | |
 *
 * Columns: developer-docs.amazon.com/sp-api/docs/inventory-reports-attributes, read 2026-11-28. Cells are told apart by
 * tabs and not quoted (a title may hold a lone quotation mark): assumed. Encoding is Windows-1252 or UTF-8 (vendor
 * threads selling-partner-api-models 2748, 4888). Headers in other languages are not known to us: the report is then
 * not recognised, and asking for it with the locale en_US helps.
 */
import { normalizeSku } from '../sku.ts';
import { type FileFormat, FirstSeen, Header, isRoundedBySpreadsheet, nothing, roundedReason } from './format.ts';

const barcodeTypes = new Set(['2', '3', '4']);

export const amazonListings: FileFormat = {
  name: 'amazon-listings',
  title: "Amazon's all-listings report",
  dialect: 'tab',
  brings: ['products', 'stock', 'mappings'],
  recognises(titles) {
    const header = new Header(titles);
    return header.has('seller_sku') && header.has('item_name') && header.has('asin1', 'listing_id');
  },
  open(titles) {
    const header = new Header(titles);
    const seen = new FirstSeen();
    return (record) => {
      const derived = nothing();
      const { row } = record;
      const text = (name: string) => header.text(record, name);
      const sku = text('seller_sku');
      const refuse = (value: string, reason: string) => {
        derived.errors.push({ row, field: 'seller-sku', value, reason });
        return derived;
      };
      if (sku === '') return refuse('', 'is missing');
      if (isRoundedBySpreadsheet(sku)) return refuse(sku, roundedReason);
      const first = seen.earlier(normalizeSku(sku) ?? sku, row);
      if (first !== null) return refuse(sku, `is in row ${first} too; that one counts`);
      const barcode = barcodeTypes.has(text('product_id_type')) ? text('product_id') : '';
      derived.products.push({ row, values: { sku, title: text('item_name'), ...(barcode === '' ? {} : { barcode }) } });
      const ours = text('fulfillment_channel') === 'DEFAULT' || !header.has('fulfillment_channel');
      if (ours && text('quantity') !== '') derived.stock.push({ row, values: { sku, quantity: text('quantity') } });
      if (text('asin1') !== '')
        derived.mappings.push({
          row,
          values: { sku, connection: 'amazon', channel_sku: sku, external_id: text('asin1') },
        });
      return derived;
    };
  },
};
