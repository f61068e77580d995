import { expect, test } from 'vitest';
import { checkProductRow, checkStockRow, columnName } from './import-rows.ts';

const raw = (values: Record<string, string>) => ({ row: 2, values });

test('headers are told apart by letters alone: case, BOM, spaces and dashes do not matter', () => {
  expect(['\uFEFFSKU', ' Warehouse Code ', 'warehouse-code', 'QTY'].map(columnName)).toEqual([
    'sku',
    'warehouse_code',
    'warehouse_code',
    'qty',
  ]);
});

test('a stock row is a SKU, a whole number and a location or the default one', () => {
  expect(checkStockRow(raw({ sku: ' A/1 #é ', quantity: '7' }), 'set')).toEqual({
    ok: true,
    value: { row: 2, sku: 'A/1 #é', location: null, quantity: 7 },
  });
  expect(checkStockRow(raw({ sku: 'A', quantity: '-3', location: 'EAST' }), 'add')).toEqual({
    ok: true,
    value: { row: 2, sku: 'A', location: 'EAST', quantity: -3 },
  });
  expect(checkStockRow(raw({ sku: 'A', quantity: '7.0' }), 'set')).toEqual({
    ok: true,
    value: { row: 2, sku: 'A', location: null, quantity: 7 },
  });
});

test.each([
  [
    { sku: 'A', quantity: '-1' },
    { field: 'quantity', value: '-1', reason: 'must not be negative' },
  ],
  [
    { sku: 'A', quantity: '1.5' },
    { field: 'quantity', value: '1.5', reason: 'must be a whole number' },
  ],
  [
    { sku: 'A', quantity: '1e3' },
    { field: 'quantity', value: '1e3', reason: 'must be a whole number' },
  ],
  [
    { sku: 'A', quantity: '' },
    { field: 'quantity', value: '', reason: 'is missing' },
  ],
  [
    { sku: 'A', quantity: '9999999999' },
    { field: 'quantity', value: '9999999999', reason: 'must be at most 1000000000' },
  ],
  [
    { sku: ' ', quantity: '1' },
    { field: 'sku', value: ' ', reason: 'is missing' },
  ],
  [
    { sku: 'x'.repeat(201), quantity: '1' },
    { field: 'sku', value: 'x'.repeat(200), reason: 'must have 1 to 200 characters' },
  ],
])('a stock row %o is refused with its field and reason', (values, error) => {
  expect(checkStockRow(raw(values), 'set')).toEqual({ ok: false, error: { row: 2, ...error } });
});

test('bundle components are read with units, and never contain the bundle', () => {
  expect(checkProductRow(raw({ sku: 'KIT', title: 'Kit', components: 'A:2; B' }))).toEqual({
    ok: true,
    value: {
      row: 2,
      sku: 'KIT',
      title: 'Kit',
      barcode: null,
      components: [
        { sku: 'A', units: 2 },
        { sku: 'B', units: 1 },
      ],
    },
  });
  expect(checkProductRow(raw({ sku: 'KIT', components: 'KIT:1' }))).toEqual({
    ok: false,
    error: { row: 2, field: 'components', value: 'KIT:1', reason: 'must not contain the bundle itself' },
  });
  expect(checkProductRow(raw({ sku: 'KIT', components: 'A:0' }))).toEqual({
    ok: false,
    error: { row: 2, field: 'components', value: 'A:0', reason: 'must look like SKU-A:2; SKU-B:1' },
  });
});
