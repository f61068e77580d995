/**
 * A workbook (.xlsx) → the records of its first sheet, as text. Numbers stay as the workbook wrote them, so that a barcode
 * keeps its digits; a formula counts with the value it last showed; a date is its day.
 *
 * A workbook is a zip: a small file may unpack to any size. It is unpacked once, counting, and given up beyond the limit,
 * before the library that reads it holds any of it.
 */
import { readSheet } from 'read-excel-file/node';
import yauzl from 'yauzl';
import { Problem } from './api/problem.ts';

/** Bytes of all parts together, unpacked. */
const maxUnpacked = 256 * 1_048_576;
const maxParts = 2_000;

const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** @returns the header first. Throws Problem import.unreadable or api.too_large. */
export async function readSpreadsheet(content: Buffer, maxRows: number, maxColumns: number): Promise<string[][]> {
  await weigh(content);
  let rows: unknown[][];
  try {
    rows = await readSheet(content, { parseNumber: (text: string) => text, trim: false });
  } catch (error) {
    throw unreadable(`The workbook cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (rows.length > maxRows + 1) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one file.`);
  if (rows.some((row) => row.length > maxColumns)) throw unreadable(`A row has more than ${maxColumns} columns.`);
  return rows.filter((row) => row.some((cell) => cell !== null)).map((row) => row.map(textOf));
}

function textOf(cell: unknown): string {
  if (cell === null || cell === undefined) return '';
  return cell instanceof Date ? cell.toISOString().slice(0, 10) : String(cell);
}

/** Unpacks every part to nowhere; throws when they are too many or too large together. */
function weigh(content: Buffer): Promise<void> {
  const tooLarge = new Problem(413, 'api.too_large', 'The workbook is too large when unpacked.');
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(
        error instanceof Problem
          ? error
          : unreadable(`This is no workbook: ${error instanceof Error ? error.message : String(error)}`),
      );
    yauzl.fromBuffer(content, { lazyEntries: true }, (error, zip) => {
      if (error) return fail(error);
      let parts = 0;
      let bytes = 0;
      zip.on('error', fail);
      zip.on('end', () => resolve());
      zip.on('entry', (entry: yauzl.Entry) => {
        parts += 1;
        if (parts > maxParts || bytes + entry.uncompressedSize > maxUnpacked) return fail(tooLarge);
        zip.openReadStream(entry, (failed, stream) => {
          if (failed) return fail(failed);
          stream.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > maxUnpacked) stream.destroy(tooLarge);
          });
          stream.on('error', fail);
          stream.on('end', () => zip.readEntry());
        });
      });
      zip.readEntry();
    });
  });
}
