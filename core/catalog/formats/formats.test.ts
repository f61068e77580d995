import { expect, test } from 'vitest';
import { amazonListings } from './amazon-listings.ts';
import { type Derived, type FileFormat, type FormatOptions, nothing } from './format.ts';
import { recogniseFormat } from './index.ts';
import { shopifyInventory } from './shopify-inventory.ts';
import { shopifyProducts } from './shopify-products.ts';
import { decode, encodingOf, TabRecords } from './text.ts';

/** Rows as objects by column title, in the given header's order; what a row does not name is empty. */
function read(
  format: FileFormat,
  header: readonly string[],
  rows: readonly Record<string, string>[],
  options?: FormatOptions,
): Derived {
  const all = nothing();
  const reader = format.open(header, options);
  for (const [index, row] of rows.entries()) {
    const derived = reader({ row: index + 2, cells: header.map((title) => row[title] ?? '') });
    all.products.push(...derived.products);
    all.stock.push(...derived.stock);
    all.mappings.push(...derived.mappings);
    all.errors.push(...derived.errors);
  }
  return all;
}

const oldProducts = [
  'Handle',
  'Title',
  'Body (HTML)',
  'Vendor',
  'Product Category',
  'Type',
  'Tags',
  'Published',
  'Option1 Name',
  'Option1 Value',
  'Option1 Linked To',
  'Option2 Name',
  'Option2 Value',
  'Option3 Name',
  'Option3 Value',
  'Variant SKU',
  'Variant Grams',
  'Variant Inventory Tracker',
  'Variant Inventory Qty',
  'Variant Inventory Policy',
  'Variant Fulfillment Service',
  'Variant Price',
  'Variant Compare At Price',
  'Variant Barcode',
  'Image Src',
  'Image Position',
  'Status',
];

test('rows of one handle share the title; variants are called as the shop calls them; image rows say nothing', () => {
  const rows = [
    {
      Handle: 'lamp',
      Title: 'Desk lamp',
      'Option1 Name': 'Title',
      'Option1 Value': 'Default Title',
      'Variant SKU': 'LAMP',
      'Variant Inventory Tracker': 'shopify',
      'Variant Inventory Qty': '7',
      'Variant Price': '39.00',
      'Variant Barcode': "'4006381333931",
      'Image Src': 'https://cdn.example/1.jpg',
      'Image Position': '1',
      Status: 'active',
    },
    { Handle: 'lamp', 'Image Src': 'https://cdn.example/2.jpg', 'Image Position': '2' },
    {
      Handle: 'shirt',
      Title: 'Shirt',
      'Option1 Name': 'Colour',
      'Option1 Value': 'Red',
      'Option2 Name': 'Size',
      'Option2 Value': 'M',
      'Variant SKU': 'SHIRT-R-M',
      'Variant Inventory Tracker': 'shopify',
      'Variant Inventory Qty': '0',
      'Variant Price': '19.00',
      Status: 'draft',
    },
    {
      Handle: 'shirt',
      'Option1 Value': 'Blue',
      'Option2 Value': 'M',
      'Variant SKU': 'SHIRT-B-M',
      'Variant Inventory Qty': '3',
      'Variant Price': '19.00',
    },
  ];
  expect(read(shopifyProducts, oldProducts, rows)).toEqual({
    products: [
      { row: 2, values: { sku: 'LAMP', title: 'Desk lamp', barcode: '4006381333931' } },
      { row: 4, values: { sku: 'SHIRT-R-M', title: 'Shirt – Red / M' } },
      { row: 5, values: { sku: 'SHIRT-B-M', title: 'Shirt – Blue / M' } },
    ],
    stock: [
      { row: 2, values: { sku: 'LAMP', quantity: '7' } },
      { row: 4, values: { sku: 'SHIRT-R-M', quantity: '0' } },
    ],
    mappings: [],
    errors: [],
  });
});

test('a variant without a SKU, a SKU twice, and numbers that a spreadsheet rounded are refused, each with its row', () => {
  const rows = [
    { Handle: 'a', Title: 'A', 'Option1 Value': 'Red', 'Variant Price': '1.00' },
    { Handle: 'b', Title: 'B', 'Variant SKU': 'X', 'Variant Price': '1.00' },
    { Handle: 'c', Title: 'C', 'Variant SKU': 'X ', 'Variant Price': '1.00' },
    { Handle: 'd', Title: 'D', 'Variant SKU': '4.00638E+12', 'Variant Price': '1.00' },
    { Handle: 'e', Title: 'E', 'Variant SKU': 'E', 'Variant Price': '1.00', 'Variant Barcode': '4.00638E+12' },
  ];
  const { products, errors } = read(shopifyProducts, oldProducts, rows);
  expect(products.map(({ row }) => row)).toEqual([3]);
  expect(errors).toEqual([
    { row: 2, field: 'Variant SKU', value: '', reason: 'is missing: give "A – Red" a SKU in Shopify' },
    { row: 4, field: 'Variant SKU', value: 'X', reason: 'is the SKU of row 3 too; that one counts' },
    {
      row: 5,
      field: 'Variant SKU',
      value: '4.00638E+12',
      reason: 'was rounded by a spreadsheet; export the file again and do not save it there',
    },
    {
      row: 6,
      field: 'Variant Barcode',
      value: '4.00638E+12',
      reason: 'was rounded by a spreadsheet; export the file again and do not save it there',
    },
  ]);
});

test("the columns' names since 2025 are read as well", () => {
  const header = [
    'Title',
    'URL handle',
    'Status',
    'SKU',
    'Barcode',
    'Option1 name',
    'Option1 value',
    'Price',
    'Inventory tracker',
    'Inventory quantity',
    'Product image URL',
  ];
  expect(recogniseFormat(header)?.name).toBe('shopify-products');
  const rows = [
    {
      Title: 'Mug',
      'URL handle': 'mug',
      Status: 'Active',
      SKU: 'MUG',
      Barcode: '123',
      Price: '9.00',
      'Inventory tracker': 'shopify',
      'Inventory quantity': '12',
    },
  ];
  expect(read(shopifyProducts, header, rows)).toEqual({
    products: [{ row: 2, values: { sku: 'MUG', title: 'Mug', barcode: '123' } }],
    stock: [{ row: 2, values: { sku: 'MUG', quantity: '12' } }],
    mappings: [],
    errors: [],
  });
});

const inventory = ['Handle', 'Title', 'Option1 Name', 'Option1 Value', 'SKU', 'HS Code', 'COO'];

test('an inventory export of all quantity types is a row per location; what is not stocked there says nothing', () => {
  const header = [...inventory, 'Location', 'Incoming', 'Unavailable', 'Committed', 'Available', 'On hand'];
  expect(recogniseFormat(header)?.name).toBe('shopify-inventory');
  const of = (Location: string, Available: string, onHand: string) => ({
    Handle: 'mug',
    Title: 'Mug',
    SKU: 'MUG',
    Location,
    Committed: '2',
    Available,
    'On hand': onHand,
  });
  const rows = [
    of('Main street', '5', '7'),
    of('Depot', '-1', '1'),
    of('Pop-up', 'not stocked', 'not stocked'),
    of('Depot', '4', '4'),
  ];
  const { stock, errors } = read(shopifyInventory, header, rows);
  expect(stock).toEqual([
    { row: 2, values: { sku: 'MUG', location: 'Main street', quantity: '5' } },
    { row: 3, values: { sku: 'MUG', location: 'Depot', quantity: '-1' } },
  ]);
  expect(errors).toEqual([
    { row: 5, field: 'SKU', value: 'MUG', reason: 'is counted at Depot in row 3 too; that one counts' },
  ]);
  expect(
    read(shopifyInventory, header, rows, { quantity: 'on_hand' }).stock.map(({ values }) => values.quantity),
  ).toEqual(['7', '1']);
});

test('an inventory export of available numbers alone has a column per location', () => {
  const header = [...inventory, 'Main street', 'Depot'];
  expect(recogniseFormat(header)?.name).toBe('shopify-inventory');
  const rows = [
    { Handle: 'mug', Title: 'Mug', SKU: 'MUG', 'Main street': '5', Depot: 'not stocked' },
    { Handle: 'cup', Title: 'Cup', SKU: '', 'Main street': '5' },
  ];
  expect(read(shopifyInventory, header, rows)).toEqual({
    products: [],
    stock: [{ row: 2, values: { sku: 'MUG', location: 'Main street', quantity: '5' } }],
    mappings: [],
    errors: [{ row: 3, field: 'SKU', value: '', reason: 'is missing: give "Cup" a SKU in Shopify' }],
  });
});

const listings =
  'item-name\titem-description\tlisting-id\tseller-sku\tprice\tquantity\topen-date\timage-url\titem-is-marketplace\tproduct-id-type\tzshop-shipping-fee\titem-note\titem-condition\tasin1\tasin2\tasin3\tproduct-id\tpending-quantity\tfulfillment-channel\tstatus';

test('an all-listings report gives products, the stock we ship ourselves and the ASINs; an FBA row has no stock', () => {
  const row = (cells: Record<string, string>) =>
    listings
      .split('\t')
      .map((title) => cells[title] ?? '')
      .join('\t');
  const text = [
    listings,
    row({
      'item-name': 'Ruler 12" with "scale',
      'seller-sku': 'RULER',
      quantity: '9',
      'product-id-type': '4',
      'product-id': '4006381333931',
      asin1: 'B000000001',
      'fulfillment-channel': 'DEFAULT',
      status: 'Active',
    }),
    row({
      'item-name': 'Piña holder',
      'seller-sku': 'PINA/1',
      quantity: '',
      'product-id-type': '1',
      'product-id': 'B000000002',
      asin1: 'B000000002',
      'fulfillment-channel': 'AMAZON_EU',
      status: 'Active',
    }),
    row({
      'item-name': 'Draft',
      'seller-sku': 'DRAFT',
      quantity: '0',
      'fulfillment-channel': 'DEFAULT',
      status: 'Incomplete',
    }),
    row({
      'item-name': 'Again',
      'seller-sku': 'RULER',
      quantity: '1',
      asin1: 'B000000003',
      'fulfillment-channel': 'DEFAULT',
    }),
    '',
  ].join('\r\n');
  const bytes = Uint8Array.from(text, (letter) => letter.codePointAt(0) ?? 0); // latin letters as Windows-1252 has them
  expect(encodingOf(bytes)).toBe('windows-1252');
  const lines = new TabRecords(1_000);
  const [head, ...records] = [...lines.take(decode(bytes)), ...lines.end()];
  expect(recogniseFormat(head?.cells ?? [])?.name).toBe('amazon-listings');
  const reader = amazonListings.open(head?.cells ?? []);
  const all = records.map(reader);
  expect(all.flatMap(({ products }) => products)).toEqual([
    { row: 2, values: { sku: 'RULER', title: 'Ruler 12" with "scale', barcode: '4006381333931' } },
    { row: 3, values: { sku: 'PINA/1', title: 'Piña holder' } },
    { row: 4, values: { sku: 'DRAFT', title: 'Draft' } },
  ]);
  expect(all.flatMap(({ stock }) => stock)).toEqual([
    { row: 2, values: { sku: 'RULER', quantity: '9' } },
    { row: 4, values: { sku: 'DRAFT', quantity: '0' } },
  ]);
  expect(all.flatMap(({ mappings }) => mappings)).toEqual([
    { row: 2, values: { sku: 'RULER', connection: 'amazon', channel_sku: 'RULER', external_id: 'B000000001' } },
    { row: 3, values: { sku: 'PINA/1', connection: 'amazon', channel_sku: 'PINA/1', external_id: 'B000000002' } },
  ]);
  expect(all.flatMap(({ errors }) => errors)).toEqual([
    { row: 5, field: 'seller-sku', value: 'RULER', reason: 'is in row 2 too; that one counts' },
  ]);
});

test('encodings: a mark decides, then UTF-8 where it is valid, also when the sample ends inside a letter', () => {
  expect(encodingOf(Buffer.from('sku\nä'))).toBe('utf-8');
  expect(encodingOf(Buffer.from('sku\nä').subarray(0, 5))).toBe('utf-8');
  expect(decode(Buffer.from('\uFEFFsku'))).toBe('sku');
  expect(decode(Buffer.from('\uFEFFsku', 'utf16le'))).toBe('sku');
});

test('our own files and unknown ones are no format of a vendor', () => {
  expect(recogniseFormat(['sku', 'title', 'barcode'])).toBe(null);
  expect(recogniseFormat(['sku', 'location', 'quantity'])).toBe(null);
  expect(recogniseFormat(['Handle', 'Title'])).toBe(null);
  expect(recogniseFormat([])).toBe(null);
});

test('lines of a report are the same wherever the text is cut, whatever ends them; empty ones count', () => {
  const text = 'a\tb\r\n\r\n1\t2\n3\t\r4\r\n\n5\t6';
  const expected = [
    { row: 1, cells: ['a', 'b'] },
    { row: 3, cells: ['1', '2'] },
    { row: 4, cells: ['3', ''] },
    { row: 5, cells: ['4'] },
    { row: 7, cells: ['5', '6'] },
  ];
  for (let length = 1; length <= text.length; length += 1)
    for (const whole of [text, `${text}\r`, `${text}\r\n`]) {
      const lines = new TabRecords(100);
      const pieces = Array.from({ length: Math.ceil(whole.length / length) }, (_, at) =>
        whole.slice(at * length, (at + 1) * length),
      );
      expect([...pieces.flatMap((piece) => [...lines.take(piece)]), ...lines.end()]).toEqual(expected);
    }
});
