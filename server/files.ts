/**
 * Files of rows → rows by our column names: CSV (comma, semicolon or tab), JSON, XLSX (server/spreadsheet.ts, in a thread), and the
 * exports of vendors (core/catalog/formats). What a row means and why it is refused is core/catalog/import-rows.ts; what is
 * done with it, flows/import-rows.ts.
 *
 * Called by the bulk routes, the import runs and `syncstate import`, so that all read the same file alike.
 */
import { Readable } from 'node:stream';
import { setImmediate as otherWork } from 'node:timers/promises';
import { parse } from 'csv-parse';
import { isErrorFile, unguarded } from '#core/catalog/error-file.ts';
import {
  type FileFormat,
  type FileRecord,
  formatNamed,
  merchantFormats,
  recogniseFormat,
} from '#core/catalog/formats/index.ts';
import { decode, tabRecords } from '#core/catalog/formats/text.ts';
import {
  collectRow,
  columnOf,
  mappingColumns,
  productColumns,
  type RawRow,
  type RowError,
  stockColumns,
} from '#core/catalog/import-rows.ts';
import { Problem } from './api/problem.ts';

/** Rows of one file: they are held in memory while it is read. A call that answers at once takes fewer than a run. */
const maxRows = { call: 100_000, run: 250_000 };

const maxColumns = 2_000;
/** Characters of one record; and signs that may begin a cell or a value, in a whole file: what reading costs follows from them. */
const maxRecord = 2_000_000;
const maxSigns = { text: 20_000_000, json: 8_000_000 };

const tooMany = (most: number) => new Problem(413, 'api.too_large', `At most ${most} rows in one file.`);
const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** Refuses a file that is small as bytes and huge as cells. */
function weigh(text: string, signs: RegExp, most: number): void {
  let found = 0;
  signs.lastIndex = 0;
  while (signs.test(text)) if (++found > most) throw new Problem(413, 'api.too_large', 'The file has too many cells.');
}

const chunkLength = 262_144;

/** A long text in pieces; other work of the process goes on between them. */
async function* pieces(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += chunkLength) {
    yield text.slice(at, at + chunkLength);
    await otherWork();
  }
}

/** CSV text → records, the header first. Comma, semicolon or tab (whichever the header has most of); quotes, line breaks in quotes, BOM. */
async function* csvRecords(text: string, most: number): AsyncGenerator<string[]> {
  weigh(text, /[,;\t\n\r]/g, maxSigns.text);
  const header = text.slice(0, 16_384).split(/[\r\n]/, 1)[0] ?? '';
  const delimiter = [',', ';', '\t'].reduce(
    (best, sign) => (header.split(sign).length > header.split(best).length ? sign : best),
    ',',
  );
  const parser = parse({
    bom: true,
    max_record_size: maxRecord,
    delimiter,
    relax_column_count: true,
    skip_empty_lines: true,
    relax_quotes: false,
  });
  const source = Readable.from(pieces(text));
  source.pipe(parser);
  let row = 0;
  let comesBack = false;
  try {
    for await (const record of parser as AsyncIterable<string[]>) {
      row += 1;
      if (row > most + 1) throw tooMany(most);
      if (record.length > maxColumns) throw unreadable(`Row ${row} has more than ${maxColumns} columns.`);
      if (row === 1) comesBack = isErrorFile(record);
      yield comesBack ? record.map(unguarded) : record;
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw unreadable(
      `The CSV cannot be read near record ${row + 1}: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    source.destroy();
  }
}

/** CSV text → rows by our column names; unknown columns are kept out. */
export async function readCsv(
  text: string,
  columns: Readonly<Record<string, string>>,
  required: readonly string[],
): Promise<RawRow[]> {
  const records: string[][] = [];
  for await (const record of csvRecords(text, maxRows.call)) records.push(record);
  return ownRows(records[0], numbered(records), columns, required);
}

/** Long lists in portions; other work of the process goes on between them. */
async function* portions<T>(list: readonly T[]): AsyncGenerator<readonly T[]> {
  for (let at = 0; at < list.length; at += 2_000) {
    yield list.slice(at, at + 2_000);
    await otherWork();
  }
}

/** Records behind a header → rows. */
async function ownRows(
  header: readonly string[] | undefined,
  records: readonly FileRecord[],
  columns: Readonly<Record<string, string>>,
  required: readonly string[],
): Promise<RawRow[]> {
  if (!header) throw unreadable('The file is empty.');
  const names = header.map((title) => columnOf(columns, title));
  const missing = required.filter((name) => !names.includes(name));
  if (missing.length > 0)
    throw unreadable(
      `The header must name the column ${missing.join(' and ')}. Found: ${header.slice(0, 20).join(', ').slice(0, 500)}`,
    );
  const rows: RawRow[] = [];
  for await (const some of portions(records))
    for (const { row, cells } of some)
      rows.push(
        collectRow(
          row,
          names.map((name, place) => [name, cells[place] ?? ''] as const),
        ),
      );
  return rows;
}

/** JSON text → rows: an array of objects, or { rows: […] } / { items: […] }. Row 2 is the first, as if a header stood above. */
export function readJson(text: string, columns: Readonly<Record<string, string>>, most = maxRows.call): RawRow[] {
  weigh(text, /[,[{]/g, maxSigns.json);
  let body: unknown;
  try {
    body = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    throw unreadable('The body is not readable JSON.');
  }
  const wrapped = body as { rows?: unknown; items?: unknown } | null;
  const list = Array.isArray(body) ? body : Array.isArray(wrapped?.rows) ? wrapped.rows : wrapped?.items;
  if (!Array.isArray(list)) throw unreadable('Send an array of rows, or { "rows": [ … ] }.');
  if (list.length > most) throw tooMany(most);
  return list.map((entry: unknown, index) => {
    const fields = typeof entry === 'object' && entry !== null ? Object.entries(entry as Record<string, unknown>) : [];
    const cells = fields
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([title, value]) => [columnOf(columns, title), value] as const);
    return collectRow(
      index + 2,
      cells.map(([name, value]) => [name, name === null ? '' : cell(name, value)] as const),
    );
  });
}

function cell(name: string, value: unknown): string {
  if (name === 'components' && Array.isArray(value)) return value.map(component).join('; ');
  return plain(value);
}

function component(part: unknown): string {
  if (typeof part !== 'object' || part === null) return plain(part);
  const { sku, units } = part as { sku?: unknown; units?: unknown };
  return `${plain(sku)}:${plain(units ?? 1)}`;
}

/** A value as text. What is not one keeps its JSON, so that the row's refusal shows it; nests too deep to write are told as such. */
function plain(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return '[nested]';
  }
}

export type ImportFormat = 'auto' | 'csv' | 'json' | 'xlsx' | FileFormat['name'];
export const importFormats: readonly ImportFormat[] = [
  'auto',
  'csv',
  'json',
  'xlsx',
  ...merchantFormats.map(({ name }) => name),
];

export interface ReadFile {
  /** What it was read as. */
  format: Exclude<ImportFormat, 'auto'>;
  rows: RawRow[];
  /** Records that could not be translated. */
  errors: RowError[];
  /** Records in all. */
  total: number;
  /** The file's own header and cells, for the file of failed rows; null: its columns are ours. */
  source: { header: readonly string[]; cellsOf(row: number): readonly string[] } | null;
}

const ours = {
  stock: { columns: stockColumns, required: ['sku', 'quantity'], brings: 'stock' },
  products: { columns: productColumns, required: ['sku'], brings: 'products' },
  mapping: { columns: mappingColumns, required: ['sku'], brings: 'mappings' },
} as const;

/**
 * A file of any format → rows of a kind. `auto` goes by the content, never by a name: a zip is a workbook, `[` or `{` begins
 * JSON, a vendor's header names its export, all else is our own CSV.
 */
export async function readImport(
  content: Buffer,
  kind: keyof typeof ours,
  format: ImportFormat = 'auto',
): Promise<ReadFile> {
  const { columns, required } = ours[kind];
  const isZip = content.subarray(0, 4).equals(Buffer.from('PK\u0003\u0004'));
  if (format === 'xlsx' || (format === 'auto' && isZip))
    return fromSheet(await (await import('./spreadsheet.ts')).readSpreadsheet(content, maxRows.run, maxColumns), kind);
  if (isZip) throw unreadable('This is a workbook (.xlsx), not text.');
  if (content.subarray(0, 4).equals(Buffer.from([0xd0, 0xcf, 0x11, 0xe0])))
    throw unreadable('This is a workbook with a password or of the old format (.xls): save it as .xlsx without one.');
  const text = decode(content);
  if (format === 'json' || (format === 'auto' && /^\s*[[{]/.test(text.slice(0, 1_000)))) {
    const rows = readJson(text, columns, maxRows.run);
    return { format: 'json', rows, errors: [], total: rows.length, source: null };
  }
  const named = format === 'auto' || format === 'csv' ? null : formatNamed(format);
  const vendor = named ?? (format === 'auto' ? recogniseFormat(headerOf(text)) : null);
  if (vendor?.dialect === 'tab') {
    weigh(text, /[\t\n\r]/g, maxSigns.text);
    const records: FileRecord[] = [];
    for (const record of tabRecords(text)) {
      if (records.length > maxRows.run) throw tooMany(maxRows.run);
      records.push(record);
    }
    return fromVendor(vendor, records[0]?.cells ?? [], records.slice(1), kind);
  }
  const records: string[][] = [];
  for await (const record of csvRecords(text, maxRows.run)) records.push(record);
  if (vendor) return fromVendor(vendor, records[0] ?? [], numbered(records), kind);
  const rows = await ownRows(records[0], numbered(records), columns, required);
  return { format: 'csv', rows, errors: [], total: rows.length, source: null };
}

/** The first line's cells, near enough to recognise whose they are. */
const headerOf = (text: string): string[] => {
  const line = text.slice(0, 16_384).split(/\r\n|\n|\r/, 1)[0] ?? '';
  return line.split(line.includes('\t') ? '\t' : ',').map((title) => title.trim().replace(/^"(.*)"$/, '$1'));
};

const numbered = (records: readonly (readonly string[])[]): FileRecord[] =>
  records.slice(1).map((cells, index) => ({ row: index + 2, cells }));

/** A workbook's records have the numbers of its own rows. */
async function fromSheet(sheet: readonly FileRecord[], kind: keyof typeof ours): Promise<ReadFile> {
  const format = 'xlsx';
  const header = sheet[0];
  const others = sheet.slice(1);
  const comesBack = isErrorFile(header?.cells ?? []);
  const records = comesBack ? others.map(({ row, cells }) => ({ row, cells: cells.map(unguarded) })) : others;
  const vendor = recogniseFormat(header?.cells ?? []);
  if (vendor) return { ...(await fromVendor(vendor, header?.cells ?? [], records, kind)), format };
  const rows = await ownRows(header?.cells, records, ours[kind].columns, ours[kind].required);
  return { format, rows, errors: [], total: rows.length, source: null };
}

async function fromVendor(
  vendor: FileFormat,
  header: readonly string[],
  records: readonly FileRecord[],
  kind: keyof typeof ours,
): Promise<ReadFile> {
  const { brings } = ours[kind];
  if (!vendor.brings.includes(brings)) throw unreadable(`${vendor.title} holds no ${brings}.`);
  if (!vendor.recognises(header))
    throw unreadable(`This is not ${vendor.title}. Found: ${header.slice(0, 20).join(', ').slice(0, 500)}`);
  const read = vendor.open(header);
  const rows: RawRow[] = [];
  const errors: RowError[] = [];
  const cells = new Map<number, readonly string[]>();
  for await (const some of portions(records))
    for (const record of some) {
      const derived = read(record);
      rows.push(...derived[brings]);
      errors.push(...derived.errors);
      cells.set(record.row, record.cells);
    }
  return {
    format: vendor.name,
    rows,
    errors,
    total: rows.length + errors.length,
    source: { header, cellsOf: (row) => cells.get(row) ?? [] },
  };
}
