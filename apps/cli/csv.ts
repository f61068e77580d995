/**
 * CSV out: RFC 4180 with a header, streamed record by record, so that an export of any size needs little memory.
 *
 * Text that a spreadsheet would run as a formula gets an apostrophe before it. SKUs and codes are left exactly as they are:
 * they are keys, and an export must be importable again.
 */

export type CsvValue = string | number | boolean | null | undefined;

/** A column: its title, and whether its text is a key that must stay exact. */
export interface Column<Row> {
  title: string;
  of(row: Row): CsvValue;
  isKey?: boolean;
}

const formula = /^[=+\-@\t\r]/;

function cell(value: CsvValue, isKey: boolean): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string') return String(value);
  const safe = !isKey && formula.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const csvHeader = <Row>(columns: readonly Column<Row>[]): string =>
  `${columns.map(({ title }) => cell(title, true)).join(',')}\r\n`;

export const csvRecord = <Row>(columns: readonly Column<Row>[], row: Row): string =>
  `${columns.map(({ of, isKey }) => cell(of(row), isKey ?? false)).join(',')}\r\n`;
