/**
 * Files of rows as text → rows by our column names: CSV (comma, semicolon or tab) and JSON. What a row means and why it is
 * refused is core/catalog/import-rows.ts; what is done with it, flows/import-rows.ts.
 *
 * Called by the bulk routes and by `syncstate import`, so that both read the same file alike.
 */
import { parse } from 'csv-parse';
import { collectRow, columnOf, type RawRow } from '#core/catalog/import-rows.ts';
import { Problem } from './api/problem.ts';

const maxRows = 100_000;

const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** CSV text → rows by our column names. Comma, semicolon or tab; quotes, line breaks in quotes, BOM; unknown columns are kept out. */
export async function readCsv(
  text: string,
  columns: Readonly<Record<string, string>>,
  required: readonly string[],
): Promise<RawRow[]> {
  const header = text.slice(0, 4_096).split(/\r?\n/, 1)[0] ?? '';
  const delimiter = [',', ';', '\t'].reduce(
    (best, sign) => (header.split(sign).length > header.split(best).length ? sign : best),
    ',',
  );
  const rows: RawRow[] = [];
  let names: (string | null)[] | null = null;
  let row = 0;
  const parser = parse(text, {
    bom: true,
    delimiter,
    relax_column_count: true,
    skip_empty_lines: true,
    relax_quotes: false,
  });
  try {
    for await (const record of parser as AsyncIterable<string[]>) {
      row += 1;
      if (names === null) {
        names = record.map((title) => columnOf(columns, title));
        const missing = required.filter((name) => !names?.includes(name));
        if (missing.length > 0)
          throw unreadable(
            `The header must name the column ${missing.join(' and ')}. Found: ${record.slice(0, 20).join(', ')}`,
          );
        continue;
      }
      if (rows.length >= maxRows) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one file.`);
      rows.push(
        collectRow(
          row,
          names.map((name, index) => [name, record[index] ?? ''] as const),
        ),
      );
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw unreadable(
      `The CSV cannot be read near record ${row + 1}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (names === null) throw unreadable('The file is empty.');
  return rows;
}

/** JSON text → rows: an array of objects, or { rows: […] } / { items: […] }. Row 2 is the first, as if a header stood above. */
export function readJson(text: string, columns: Readonly<Record<string, string>>): RawRow[] {
  let body: unknown;
  try {
    body = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    throw unreadable('The body is not readable JSON.');
  }
  const wrapped = body as { rows?: unknown; items?: unknown } | null;
  const list = Array.isArray(body) ? body : Array.isArray(wrapped?.rows) ? wrapped.rows : wrapped?.items;
  if (!Array.isArray(list)) throw unreadable('Send an array of rows, or { "rows": [ … ] }.');
  if (list.length > maxRows) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one call.`);
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
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (name === 'components' && Array.isArray(value))
    return value
      .map((part) =>
        typeof part === 'object' && part !== null
          ? `${(part as { sku?: unknown }).sku}:${(part as { units?: unknown }).units ?? 1}`
          : String(part),
      )
      .join('; ');
  return JSON.stringify(value);
}
