/**
 * Import rows: what a line of a merchant's stock or product file means, and why a line is refused.
 * Pure; the same checks serve a dry run and a live run, CSV and JSON, API and CLI.
 *
 * A row is numbered as a person sees it: the header is row 1. `field` in an error is our name for the column.
 */
import { normalizeSku } from './sku.ts';

export interface RowError {
  row: number;
  field: string;
  value: string;
  reason: string;
}

/** A record as read: our field names, text values. */
export interface RawRow {
  row: number;
  values: Readonly<Record<string, string>>;
  /** Our names of columns that the record holds twice with different values (`qty` and `quantity`). */
  twice?: readonly string[];
}

/** A record's values by our column names; empty values give way to others of the same name. */
export function collectRow(row: number, cells: Iterable<readonly [name: string | null, value: string]>): RawRow {
  const values: Record<string, string> = {};
  const twice = new Set<string>();
  for (const [name, value] of cells) {
    if (name === null) continue;
    const before = values[name];
    if (before === undefined || before.trim() === '') values[name] = value;
    else if (value.trim() !== '' && value.trim() !== before.trim()) twice.add(name);
  }
  return twice.size > 0 ? { row, values, twice: [...twice] } : { row, values };
}

/** Our name for each accepted header, after lower-casing, trimming and turning spaces and dashes into underscores. */
export const stockColumns: Readonly<Record<string, string>> = {
  sku: 'sku',
  quantity: 'quantity',
  qty: 'quantity',
  location: 'location',
  warehouse: 'location',
  warehouse_code: 'location',
};

export const productColumns: Readonly<Record<string, string>> = {
  sku: 'sku',
  title: 'title',
  name: 'title',
  barcode: 'barcode',
  ean: 'barcode',
  components: 'components',
};

export const mappingColumns: Readonly<Record<string, string>> = {
  sku: 'sku',
  connection: 'connection',
  channel: 'connection',
  channel_sku: 'channel_sku',
  seller_sku: 'channel_sku',
  asin: 'external_id',
  external_id: 'external_id',
  product_id: 'external_id',
  variant_id: 'variant_id',
};

export const columnName = (header: string): string =>
  header
    .replace(/^\uFEFF/, '')
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, '_');

/** Our name for a header, or null: not a column of ours. */
export function columnOf(columns: Readonly<Record<string, string>>, header: string): string | null {
  const name = columnName(header);
  return Object.hasOwn(columns, name) ? (columns[name] ?? null) : null;
}

const maxQuantity = 1_000_000_000;

export interface StockRow {
  row: number;
  sku: string;
  /** Location code; null = the default location. */
  location: string | null;
  quantity: number;
}

type Checked<T> = { ok: true; value: T } | { ok: false; error: RowError };

const refuse = (row: RawRow, field: string, reason: string): { ok: false; error: RowError } => ({
  ok: false,
  error: { row: row.row, field, value: (row.values[field] ?? '').slice(0, 200), reason },
});

/** What no field of any file may be: told twice, or unfit to be stored. */
function refuseUnreadable(row: RawRow): { ok: false; error: RowError } | null {
  const [twice] = row.twice ?? [];
  if (twice !== undefined) return refuse(row, twice, 'is told twice, differently');
  const odd = Object.entries(row.values).find(([, value]) => value.includes('\0') || !value.isWellFormed());
  return odd
    ? {
        ok: false,
        error: {
          row: row.row,
          field: odd[0],
          value: odd[1].replaceAll('\0', '').toWellFormed().slice(0, 200),
          reason: 'must not contain NUL or broken Unicode',
        },
      }
    : null;
}

/** `set`: a whole number from 0; `add`: a whole number, also negative. */
export function checkStockRow(row: RawRow, mode: 'set' | 'add'): Checked<StockRow> {
  const unreadable = refuseUnreadable(row);
  if (unreadable) return unreadable;
  const sku = normalizeSku(row.values.sku ?? '');
  if (sku === null)
    return refuse(row, 'sku', (row.values.sku ?? '').trim() === '' ? 'is missing' : 'must have 1 to 200 characters');
  const text = (row.values.quantity ?? '').trim();
  if (text === '') return refuse(row, 'quantity', 'is missing');
  if (!/^[+-]?\d{1,15}(?:\.0+)?$/.test(text)) return refuse(row, 'quantity', 'must be a whole number');
  const quantity = Number(text);
  if (mode === 'set' && quantity < 0) return refuse(row, 'quantity', 'must not be negative');
  if (Math.abs(quantity) > maxQuantity) return refuse(row, 'quantity', `must be at most ${maxQuantity}`);
  const location = (row.values.location ?? '').trim();
  return {
    ok: true,
    value: { row: row.row, sku, location: location === '' ? null : location, quantity: quantity === 0 ? 0 : quantity },
  };
}

export interface ProductRow {
  row: number;
  sku: string;
  /** null: not in the file, keep what is there. */
  title: string | null;
  barcode: string | null;
  /** null: not in the file. Empty: not a bundle. */
  components: { sku: string; units: number }[] | null;
}

/** `components`: "SKU-A:2; SKU-B:1" or "2 x SKU-A + 1 x SKU-B"; units default 1. */
export function checkProductRow(row: RawRow): Checked<ProductRow> {
  const unreadable = refuseUnreadable(row);
  if (unreadable) return unreadable;
  const sku = normalizeSku(row.values.sku ?? '');
  if (sku === null)
    return refuse(row, 'sku', (row.values.sku ?? '').trim() === '' ? 'is missing' : 'must have 1 to 200 characters');
  const title = row.values.title?.trim() ?? null;
  if (title !== null && title.length > 500) return refuse(row, 'title', 'must have at most 500 characters');
  const barcode = row.values.barcode?.trim() ?? null;
  if (barcode !== null && barcode.length > 100) return refuse(row, 'barcode', 'must have at most 100 characters');
  const components = row.values.components === undefined ? null : parseComponents(row.values.components);
  if (components === 'unreadable') return refuse(row, 'components', 'must look like SKU-A:2; SKU-B:1');
  if (components?.some((component) => component.sku === sku))
    return refuse(row, 'components', 'must not contain the bundle itself');
  return { ok: true, value: { row: row.row, sku, title, barcode: barcode === '' ? null : barcode, components } };
}

function parseComponents(text: string): { sku: string; units: number }[] | 'unreadable' {
  const found = new Map<string, number>();
  for (const part of text.split(/[;|]/)) {
    if (part.trim() === '') continue;
    const match = /^(.*?)(?::\s*(\d{1,7}))?$/s.exec(part.trim());
    const sku = normalizeSku(match?.[1] ?? '');
    const units = match?.[2] === undefined ? 1 : Number(match[2]);
    if (sku === null || units < 1 || units > 1_000_000 || found.has(sku)) return 'unreadable';
    found.set(sku, units);
  }
  return [...found].map(([sku, units]) => ({ sku, units }));
}

export interface MappingRow {
  row: number;
  /** null: the listing is to stand for no SKU of ours any more. */
  sku: string | null;
  /** Its name or id; null = the only one. */
  connection: string | null;
  channelSku: string | null;
  externalId: string | null;
  variantExternalId: string | null;
}

/** Which listing (by channel SKU, product or variant id there) stands for which SKU; an empty SKU takes the mapping away. */
export function checkMappingRow(row: RawRow): Checked<MappingRow> {
  const unreadable = refuseUnreadable(row);
  if (unreadable) return unreadable;
  const text = (name: string): string | null => {
    const value = (row.values[name] ?? '').trim();
    return value === '' ? null : value;
  };
  const sku = text('sku') === null ? null : normalizeSku(text('sku') ?? '');
  if (text('sku') !== null && sku === null) return refuse(row, 'sku', 'must have 1 to 200 characters');
  if (row.values.sku === undefined) return refuse(row, 'sku', 'is missing');
  const found = {
    channelSku: text('channel_sku'),
    externalId: text('external_id'),
    variantExternalId: text('variant_id'),
  };
  if (Object.values(found).every((value) => value === null)) return refuse(row, 'channel_sku', 'is missing');
  const long = Object.entries({ ...found, connection: text('connection') }).find(
    ([, value]) => (value ?? '').length > 200,
  );
  if (long) return refuse(row, 'channel_sku', 'must have at most 200 characters');
  return { ok: true, value: { row: row.row, sku, connection: text('connection'), ...found } };
}

/** What an import came to. rows = succeeded + failed + unchanged. */
export interface ImportResult {
  rows: number;
  succeeded: number;
  failed: number;
  unchanged: number;
  /** The first 1,000. */
  errors: RowError[];
  /** Where the failed rows can be fetched as CSV with the reason beside each; null when none failed. */
  errorFile: string | null;
}
