/**
 * The file of failed rows: the rows as they came and, at the end, which row it was, what was wrong with which field. It is
 * opened in spreadsheets, mended and sent again, so text that a spreadsheet would run as a formula has an apostrophe before
 * it, and loses it when the file comes back.
 */
import { columnName } from './import-rows.ts';

export const errorColumns = ['row', 'field', 'reason'] as const;

/** Whole numbers are left alone. One that has apostrophes already gets one more, so that `unguarded` finds it as it was. */
export const guarded = (text: string): string =>
  /^'*[=+\-@\t\r]/.test(text) && !/^[+-]?\d+$/.test(text) ? `'${text}` : text;

export const unguarded = (text: string): string => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text);

/** A file of failed rows that comes back. */
export const isErrorFile = (header: readonly string[]): boolean =>
  header.length > errorColumns.length && header.slice(-3).map(columnName).join() === errorColumns.join();
