/** A whole file at once, for tests of what is read. */
import type { RawRow, RowError } from '#core/catalog/import-rows.ts';
import type { ImportKind } from '#core/catalog/import-steps.ts';
import { type ImportFormat, type OpenFile, openImport } from '../files.ts';

export async function readImport(
  content: Buffer,
  kind: ImportKind,
  format: ImportFormat = 'auto',
): Promise<{ format: OpenFile['format']; rows: RawRow[]; errors: RowError[] }> {
  const file = await openImport(() => [content], kind, format);
  const rows: RawRow[] = [];
  const errors: RowError[] = [];
  for await (const record of file.records) {
    rows.push(...record.rows);
    errors.push(...record.errors);
  }
  return { format: file.format, rows, errors };
}
