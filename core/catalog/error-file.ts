/**
 * The file of failed rows: the rows as they came and, at the end, which row it was, what was wrong with which field. It is
 * opened in spreadsheets, mended and sent again, so text that a spreadsheet would run as a formula has an apostrophe before
 * it, and loses it when the file comes back.
 */
import { columnName, type RowError } from './import-rows.ts';

export const errorColumns = ['row', 'field', 'reason'] as const;

/** Whole numbers are left alone. One that has apostrophes already gets one more, so that `unguarded` finds it as it was. */
export const guarded = (text: string): string =>
  /^'*[=+\-@\t\r]/.test(text) && !/^[+-]?\d+$/.test(text) ? `'${text}` : text;

export const unguarded = (text: string): string => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text);

/** A file of failed rows that comes back. */
export const isErrorFile = (header: readonly string[]): boolean =>
  header.length > errorColumns.length && header.slice(-3).map(columnName).join() === errorColumns.join();

const cell = (text: string): string => `"${guarded(text).replaceAll('"', '""')}"`;
const line = (cells: readonly string[]): string => `${cells.map(cell).join(',')}\r\n`;

/** The lines of a file of failed rows. */
export class ErrorTable {
  readonly #columns: readonly string[];

  /** @param columns of the file that was read */
  constructor(columns: readonly string[]) {
    this.#columns = columns;
  }

  header(): string {
    return line([...this.#columns, ...errorColumns]);
  }

  row(cells: readonly string[], error: RowError): string {
    const came = this.#columns.map((_, place) => cells[place] ?? '');
    return line([...came, String(error.row), error.field, error.reason]);
  }

  /** A row whose columns are ours. */
  ownRow(values: Readonly<Record<string, string>>, error: RowError): string {
    return this.row(
      this.#columns.map((column) => values[column] ?? ''),
      error,
    );
  }
}
