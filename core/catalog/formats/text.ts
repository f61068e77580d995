/**
 * From a merchant's bytes to records: which encoding, and where cells end in a tab-separated report.
 *
 * A byte-order mark decides; else bytes that are valid UTF-8 are UTF-8, and all others Windows-1252 (Amazon's reports,
 * spreadsheets of western Europe). Text that is neither shows as wrong letters, never as an error: SKUs are mostly ASCII.
 */
import type { FileRecord } from './format.ts';

export type Encoding = 'utf-8' | 'windows-1252' | 'utf-16le' | 'utf-16be';

/** Which encoding a file has, from its bytes in parts; a character cut off at their end does not count against UTF-8. */
export class EncodingGuess {
  readonly #start: number[] = [];
  #strict: TextDecoder | null = new TextDecoder('utf-8', { fatal: true });

  take(bytes: Uint8Array): void {
    if (this.#start.length < 2) this.#start.push(...bytes.subarray(0, 2 - this.#start.length));
    try {
      this.#strict?.decode(bytes, { stream: true });
    } catch {
      this.#strict = null;
    }
  }

  get encoding(): Encoding {
    const [first, second] = this.#start;
    if (first === 0xff && second === 0xfe) return 'utf-16le';
    if (first === 0xfe && second === 0xff) return 'utf-16be';
    return this.#strict ? 'utf-8' : 'windows-1252';
  }
}

/** @param bytes the whole file, or its start */
export function encodingOf(bytes: Uint8Array): Encoding {
  const guess = new EncodingGuess();
  guess.take(bytes);
  return guess.encoding;
}

/** The text, without its byte-order mark. */
export const decode = (bytes: Uint8Array): string => new TextDecoder(encodingOf(bytes)).decode(bytes);

/**
 * A tab-separated report from pieces of its text: lines of any ending, cells never quoted. The first record is the header, row 1;
 * empty lines count but are left out.
 */
export class TabRecords {
  readonly #longest: number;
  #row = 0;
  /** The line that has not ended yet. */
  #line = '';

  /** @param longest characters of a line */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** @throws RangeError for a line beyond the longest */
  *take(piece: string): Generator<FileRecord> {
    // What ends a line may go on in the next piece.
    const text = this.#line.endsWith('\r') ? `\r${piece}` : piece;
    if (text !== piece) this.#line = this.#line.slice(0, -1);
    let start = 0;
    for (const ending of text.matchAll(/\r\n|\n|\r(?=.)/gs)) {
      yield* this.#record(this.#line + text.slice(start, ending.index));
      this.#line = '';
      start = ending.index + ending[0].length;
    }
    this.#line += text.slice(start);
    if (this.#line.length > this.#longest) throw new RangeError(`row ${this.#row + 1} is too long`);
  }

  /** The last line, which nothing ends. */
  *end(): Generator<FileRecord> {
    yield* this.#record(this.#line.replace(/\r$/, ''));
  }

  *#record(line: string): Generator<FileRecord> {
    this.#row += 1;
    if (line.trim() !== '') yield { row: this.#row, cells: line.split('\t') };
  }
}
