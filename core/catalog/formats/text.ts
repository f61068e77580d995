/**
 * From a merchant's bytes to records: which encoding, and where cells end in a tab-separated report.
 *
 * A byte-order mark decides; else bytes that are valid UTF-8 are UTF-8, and all others Windows-1252 (Amazon's reports,
 * spreadsheets of western Europe). Text that is neither shows as wrong letters, never as an error: SKUs are mostly ASCII.
 */
import type { FileRecord } from './format.ts';

export type Encoding = 'utf-8' | 'windows-1252' | 'utf-16le' | 'utf-16be';

/** @param bytes the whole file, or its start: a character cut off at the end does not count against UTF-8 */
export function encodingOf(bytes: Uint8Array): Encoding {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return 'utf-8';
  } catch {
    return 'windows-1252';
  }
}

/** The text, without its byte-order mark. */
export const decode = (bytes: Uint8Array): string => new TextDecoder(encodingOf(bytes)).decode(bytes);

/** A tab-separated report: lines of any ending, cells never quoted. The first record is the header, row 1; empty lines count but are left out. */
export function* tabRecords(text: string): Generator<FileRecord> {
  let row = 0;
  let start = 0;
  for (const ending of text.matchAll(/\r\n|\n|\r|$/g)) {
    const line = text.slice(start, ending.index);
    start = ending.index + ending[0].length;
    row += 1;
    if (line.trim() !== '') yield { row, cells: line.split('\t') };
  }
}
