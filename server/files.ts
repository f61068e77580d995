/**
 * Files of rows → records by our column names, one after the other: CSV (comma, semicolon or tab), JSON, XLSX
 * (server/spreadsheet.ts, in a thread), and the exports of vendors (core/catalog/formats). A file of any size takes the same
 * memory, but for workbooks (in their thread) and for the SKUs that a vendor's export has had already. What a row means and why
 * it is refused is core/catalog/import-rows.ts; what is done with it, flows/import-rows.ts.
 *
 * Called by the bulk routes, the import runs and `syncstate import`, so that all read the same file alike.
 */
import { pipeline, Readable } from 'node:stream';
import { setImmediate as otherWork } from 'node:timers/promises';
import { CsvError, parse } from 'csv-parse';
import { isErrorFile, unguarded } from '#core/catalog/error-file.ts';
import {
  type FileFormat,
  type FileRecord,
  formatNamed,
  merchantFormats,
  recogniseFormat,
} from '#core/catalog/formats/index.ts';
import { JsonList } from '#core/catalog/formats/json-list.ts';
import { TabRecords } from '#core/catalog/formats/text.ts';
import {
  collectRow,
  columnOf,
  mappingColumns,
  productColumns,
  type RawRow,
  type RowError,
  stockColumns,
} from '#core/catalog/import-rows.ts';
import type { ImportKind } from '#core/catalog/import-steps.ts';
import { Problem } from './api/problem.ts';
import { contentOf, type FileBytes, type FileLook, lookAt, textOf } from './file-text.ts';

/** Rows of one file. A call that answers at once has them all in memory; so has the thread that reads a workbook. */
export const maxRows = { call: 100_000, run: 1_000_000, workbook: 250_000 };

const maxColumns = 2_000;
/** Characters of one record; and signs that may begin a cell or a value, in a whole file: what reading costs follows from them. */
const maxRecord = 2_000_000;
const maxSigns = { text: 20_000_000, json: 8_000_000 };

const tooMany = (most: number) => new Problem(413, 'api.too_large', `At most ${most} rows in one file.`);
const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** Refuses a file that is small as bytes and huge as cells. */
function weigh(look: FileLook, signs: string, most: number): void {
  if (look.count(signs) > most) throw new Problem(413, 'api.too_large', 'The file has too many cells.');
}

/** CSV → records, the header first. Comma, semicolon or tab (whichever the header has most of); quotes, line breaks in quotes. */
async function* csvRecords(bytes: FileBytes, look: FileLook): AsyncGenerator<FileRecord> {
  weigh(look, ',;\t\n\r', maxSigns.text);
  const header = look.head.split(/[\r\n]/, 1)[0] ?? '';
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
  // What fails on the way fails the reading below.
  pipeline(Readable.from(textOf(bytes, look.encoding)), parser, () => undefined);
  let row = 0;
  try {
    for await (const cells of parser as AsyncIterable<string[]>) {
      row += 1;
      if (cells.length > maxColumns) throw unreadable(`Row ${row} has more than ${maxColumns} columns.`);
      yield { row, cells };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw unreadable(`The CSV cannot be read near record ${row + 1}: ${error.message}`);
  }
}

async function* tabRecords(bytes: FileBytes, look: FileLook): AsyncGenerator<FileRecord> {
  weigh(look, '\t\n\r', maxSigns.text);
  const lines = new TabRecords(maxRecord);
  try {
    for await (const piece of textOf(bytes, look.encoding)) yield* lines.take(piece);
    yield* lines.end();
  } catch (error) {
    throw error instanceof RangeError ? unreadable(`The file cannot be read: ${error.message}.`) : error;
  }
}

async function* sheetRecords(bytes: FileBytes, most: number): AsyncGenerator<FileRecord> {
  const { readSpreadsheet } = await import('./spreadsheet.ts');
  const portions = readSpreadsheet(await contentOf(bytes), Math.min(most, maxRows.workbook), maxColumns);
  for await (const some of portions) {
    yield* some;
    await otherWork();
  }
}

/** JSON → rows: an array of objects, or { rows: […] } / { items: […] }. Row 2 is the first, as if a header stood above. */
async function* jsonRows(
  bytes: FileBytes,
  look: FileLook,
  columns: Readonly<Record<string, string>>,
  most: number,
): AsyncGenerator<RawRow> {
  weigh(look, ',[{', maxSigns.json);
  const list = new JsonList(maxRecord);
  let row = 1;
  try {
    for await (const piece of textOf(bytes, look.encoding))
      for (const entry of list.take(piece)) {
        row += 1;
        if (row > most + 1) throw tooMany(most);
        yield jsonRow(row, entry, columns);
      }
    if (!list.end()) throw unreadable('Send an array of rows, or { "rows": [ … ] }.');
  } catch (error) {
    if (error instanceof SyntaxError) throw unreadable('The body is not readable JSON.');
    throw error instanceof RangeError
      ? new Problem(413, 'api.too_large', `Row ${row + 1} of the file is too long.`)
      : error;
  }
}

function jsonRow(row: number, entry: unknown, columns: Readonly<Record<string, string>>): RawRow {
  const fields = typeof entry === 'object' && entry !== null ? Object.entries(entry as Record<string, unknown>) : [];
  const cells = fields
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([title, value]) => [columnOf(columns, title), value] as const);
  return collectRow(
    row,
    cells.map(([name, value]) => [name, name === null ? '' : cell(name, value)] as const),
  );
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

/** A record and what it says: a row of ours, or what a vendor's record comes to; errors are what could not be translated. */
export interface ReadRecord {
  row: number;
  rows: readonly RawRow[];
  errors: readonly RowError[];
  /** Its cells under the file's own header; null: its columns are ours. */
  cells: readonly string[] | null;
}

export interface OpenFile {
  /** What it is read as. */
  format: Exclude<ImportFormat, 'auto'>;
  /** The file's own header; null: its columns are ours. */
  header: readonly string[] | null;
  /** In the file's order, once; to be gone through, or to be returned. Throws Problem import.unreadable or api.too_large. */
  records: AsyncGenerator<ReadRecord>;
}

const ours = {
  stock: { columns: stockColumns, required: ['sku', 'quantity'], brings: 'stock' },
  products: { columns: productColumns, required: ['sku'], brings: 'products' },
  mapping: { columns: mappingColumns, required: ['sku'], brings: 'mappings' },
} as const;

/**
 * A file of any format → records of a kind. `auto` goes by the content, never by a name: a zip is a workbook, `[` or `{` begins
 * JSON, a vendor's header names its export, all else is our own CSV.
 */
export async function openImport(
  bytes: FileBytes,
  kind: ImportKind,
  format: ImportFormat = 'auto',
  most = maxRows.run,
): Promise<OpenFile> {
  const look = await lookAt(bytes);
  const isZip = look.magic === 'PK\u0003\u0004';
  if (format === 'xlsx' || (format === 'auto' && isZip)) {
    const open = (header: readonly string[]) => ({
      ...ruleOf(recogniseFormat(header), header, kind),
      format: 'xlsx' as const,
    });
    return openTable(sheetRecords(bytes, most), most, open);
  }
  if (isZip) throw unreadable('This is a workbook (.xlsx), not text.');
  if (look.magic === '\u00d0\u00cf\u0011\u00e0')
    throw unreadable('This is a workbook with a password or of the old format (.xls): save it as .xlsx without one.');
  if (format === 'json' || (format === 'auto' && /^\s*[[{]/.test(look.head.slice(0, 1_000)))) {
    const rows = jsonRows(bytes, look, ours[kind].columns, most);
    return { format: 'json', header: null, records: ownRecords(rows) };
  }
  const named = format === 'auto' || format === 'csv' ? null : formatNamed(format);
  const vendor = named ?? (format === 'auto' ? recogniseFormat(headerOf(look.head)) : null);
  // A report's failed rows come back as CSV.
  const isTabbed = vendor?.dialect === 'tab' && firstLineOf(look.head).includes('\t');
  const records = isTabbed ? tabRecords(bytes, look) : csvRecords(bytes, look);
  return openTable(records, most, (header) => ruleOf(vendor, header, kind));
}

async function* ownRecords(rows: AsyncIterable<RawRow>): AsyncGenerator<ReadRecord> {
  for await (const row of rows) yield { row: row.row, rows: [row], errors: [], cells: null };
}

const firstLineOf = (head: string): string => head.split(/\r\n|\n|\r/, 1)[0] ?? '';

/** The first line's cells, near enough to recognise whose they are. */
const headerOf = (head: string): string[] => {
  const line = firstLineOf(head);
  return line.split(line.includes('\t') ? '\t' : ',').map((title) => title.trim().replace(/^"(.*)"$/, '$1'));
};

/** What the records behind a header say. */
interface TableRule {
  format: OpenFile['format'];
  header: OpenFile['header'];
  read(record: FileRecord): ReadRecord;
}

/** Reads the header, and lets nothing be left open when that is refused. */
async function openTable(
  records: AsyncGenerator<FileRecord>,
  most: number,
  open: (header: readonly string[]) => TableRule,
): Promise<OpenFile> {
  try {
    const first = await records.next();
    const cells = first.done ? [] : first.value.cells;
    const comesBack = isErrorFile(cells);
    const { read, ...rule } = open(comesBack ? cells.map(unguarded) : cells);
    return { ...rule, records: readAll(records, most, comesBack, read) };
  } catch (error) {
    await records.return(undefined);
    throw error;
  }
}

async function* readAll(
  records: AsyncGenerator<FileRecord>,
  most: number,
  comesBack: boolean,
  read: TableRule['read'],
): AsyncGenerator<ReadRecord> {
  let count = 0;
  for await (const { row, cells } of records) {
    count += 1;
    if (count > most) throw tooMany(most);
    yield read({ row, cells: comesBack ? cells.map(unguarded) : cells });
  }
}

const found = (header: readonly string[]) => header.slice(0, 20).join(', ').slice(0, 500);

/** @param vendor whose header it is; null: ours. Throws when the header is neither */
function ruleOf(vendor: FileFormat | null, header: readonly string[], kind: ImportKind): TableRule {
  const { brings, columns, required } = ours[kind];
  if (vendor) {
    if (!vendor.brings.includes(brings)) throw unreadable(`${vendor.title} holds no ${brings}.`);
    if (!vendor.recognises(header)) throw unreadable(`This is not ${vendor.title}. Found: ${found(header)}`);
    const derive = vendor.open(header);
    const read = (record: FileRecord): ReadRecord => {
      const derived = derive(record);
      return { row: record.row, rows: derived[brings], errors: derived.errors, cells: record.cells };
    };
    return { format: vendor.name, header, read };
  }
  if (header.length === 0) throw unreadable('The file is empty.');
  const names = header.map((title) => columnOf(columns, title));
  const missing = required.filter((name) => !names.includes(name));
  if (missing.length > 0)
    throw unreadable(`The header must name the column ${missing.join(' and ')}. Found: ${found(header)}`);
  const read = ({ row, cells }: FileRecord): ReadRecord => {
    const own = collectRow(
      row,
      names.map((name, place) => [name, cells[place] ?? ''] as const),
    );
    return { row, rows: [own], errors: [], cells: null };
  };
  return { format: 'csv', header: null, read };
}
