/**
 * A workbook (.xlsx) → the records of its first sheet that is shown, as text. Numbers stay as the workbook wrote them, so that a barcode
 * keeps its digits; a formula counts with the value it last showed; a date is its day.
 *
 * A workbook is a zip: a small file may unpack to any size. It is unpacked once, counting, and given up beyond the limit,
 * before the library that reads it holds any of it. A sheet's cells say themselves where they stand, and the library fills all
 * places before them: a cell far out makes a file of a thousand bytes larger than any memory, so their addresses are weighed, too.
 *
 * The library works through a sheet in one go: for seconds, when it is long. So it runs in a thread of its own (spreadsheet.ts).
 */
import { readSheet } from 'read-excel-file/node';
import yauzl from 'yauzl';
import type { FileRecord } from '#core/catalog/formats/index.ts';
import { Problem } from './api/problem.ts';

/** Bytes of all parts together, unpacked. */
const maxUnpacked = 256 * 1_048_576;
const maxParts = 2_000;
const maxContents = 4 * 1_048_576;
/** Of a sheet as Excel has it; and places of the rectangle that holds all cells. */
const maxRow = 1_048_576;
const maxPlaces = 20_000_000;

const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** @returns the header first, each with its row in the sheet; empty rows are left out. Throws Problem import.unreadable or api.too_large. */
export async function readWorkbook(content: Buffer, maxRows: number, maxColumns: number): Promise<FileRecord[]> {
  const sheet = firstShown(await weigh(content, maxColumns));
  let rows: unknown[][];
  try {
    rows = await readSheet(content, sheet, { parseNumber: (text: string) => text, trim: false });
  } catch (error) {
    throw unreadable(`The workbook cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const records = rows.flatMap((cells, place) =>
    cells.some((cell) => cell !== null) ? [{ row: place + 1, cells: cells.map(textOf) }] : [],
  );
  if (records.length > maxRows + 1) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one file.`);
  return records;
}

function textOf(cell: unknown): string {
  if (cell === null || cell === undefined) return '';
  return cell instanceof Date ? cell.toISOString().slice(0, 10) : String(cell);
}

/** Follows the addresses of a part's cells and rows (`r="B12"`, `r="12"`) through its pieces. */
function addressScale(maxColumns: number): (chunk: Buffer) => void {
  let rest = '';
  let lastRow = 1;
  let lastColumn = 1;
  return (chunk) => {
    const text = rest + chunk.toString('latin1');
    for (const [, address = ''] of text.matchAll(/\sr\s*=\s*["']([^"'<>]{0,64})/g)) {
      const [, letters = '', digits = ''] = /^([^\d.-]*)(.*)$/s.exec(address) ?? [];
      const column = [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0);
      if (address.includes('&') || column > maxColumns || Number(digits) > maxRow)
        throw new Problem(413, 'api.too_large', `A cell stands at ${address}; at most ${maxColumns} columns are read.`);
      lastRow = Math.max(lastRow, Number(digits) || 1);
      lastColumn = Math.max(lastColumn, column);
    }
    if (lastRow * lastColumn > maxPlaces)
      throw new Problem(
        413,
        'api.too_large',
        `The sheet spans ${lastRow} rows and ${lastColumn} columns: too many cells.`,
      );
    rest = text.slice(-80);
  };
}

/** Its place among the sheets, from 1. */
function firstShown(contents: string): number {
  const sheets = [...contents.matchAll(/<(?:\w+:)?sheet\s[^>]*>/g)].map(
    ([tag]) => !/\sstate\s*=\s*["'](?:veryH|h)idden/.test(tag),
  );
  return Math.max(0, sheets.indexOf(true)) + 1;
}

/** Unpacks every part to nowhere; @returns the table of contents. Throws when they are too many or too large together, or their cells stand too far out. */
function weigh(content: Buffer, maxColumns: number): Promise<string> {
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
      const contents: Buffer[] = [];
      zip.on('error', fail);
      zip.on('end', () => resolve(Buffer.concat(contents).toString('utf8')));
      zip.on('entry', (entry: yauzl.Entry) => {
        parts += 1;
        if (parts > maxParts || bytes + entry.uncompressedSize > maxUnpacked) return fail(tooLarge);
        zip.openReadStream(entry, (failed, stream) => {
          if (failed) return fail(failed);
          const look = addressScale(maxColumns);
          stream.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            try {
              if (bytes > maxUnpacked) throw tooLarge;
              look(chunk);
              if (entry.fileName === 'xl/workbook.xml' && bytes < maxContents) contents.push(chunk);
            } catch (error) {
              stream.destroy(error as Error);
            }
          });
          stream.on('error', fail);
          stream.on('end', () => zip.readEntry());
        });
      });
      zip.readEntry();
    });
  });
}
