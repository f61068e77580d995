/**
 * Files that merchants have: what a vendor's own export means in our rows.
 *
 * A format is recognised by its header alone and read record by record, so that a file of any size needs little memory.
 * It only translates: whether a value is a possible SKU or number is decided by the checks of `import-rows.ts`, the same
 * as for our own files. What cannot be translated is an error with the record's number (the header is 1) and the
 * vendor's own name of the column, because that is what the merchant sees.
 *
 * Pure. Used by the file imports; `index.ts` has the list.
 */
import { columnName, type RawRow, type RowError } from '../import-rows.ts';

/** A record as read: its number (the header is 1) and its cells in the header's order. */
export interface FileRecord {
  row: number;
  cells: readonly string[];
}

/** What one record says, in our columns. A record may say nothing (an image's row) or several things. */
export interface Derived {
  /** sku, title, barcode */
  products: RawRow[];
  /** sku, location (absent = the default one), quantity */
  stock: RawRow[];
  /** sku, connection, channel_sku, external_id: which SKU of ours an item of the channel is */
  mappings: RawRow[];
  errors: RowError[];
}

export interface FormatOptions {
  /** Which of a channel's numbers is taken where it tells several. Default `available`: what buyers see there now. */
  quantity?: 'available' | 'on_hand';
}

export interface FileFormat {
  /** What `--format` calls it. */
  name: 'shopify-products' | 'shopify-inventory' | 'amazon-listings';
  title: string;
  /** `tab`: cells are told apart by tabs and never quoted. */
  dialect: 'comma' | 'tab';
  /** Which of our rows it brings. */
  brings: readonly ('products' | 'stock' | 'mappings')[];
  recognises(header: readonly string[]): boolean;
  /** A reader of the records after this header; it remembers what later records of the same file refer to. */
  open(header: readonly string[], options?: FormatOptions): (record: FileRecord) => Derived;
}

export const nothing = (): Derived => ({ products: [], stock: [], mappings: [], errors: [] });

/** Columns by name: case, spaces and dashes do not matter; of the same name twice, the first one counts. */
export class Header {
  readonly #places = new Map<string, number>();

  constructor(header: readonly string[]) {
    for (const [place, title] of header.entries()) {
      const name = columnName(title);
      if (!this.#places.has(name)) this.#places.set(name, place);
    }
  }

  has(...names: string[]): boolean {
    return names.some((name) => this.#places.has(name));
  }

  /** The trimmed cell of the first of these columns that the file has; '' where it has none. */
  text(record: FileRecord, ...names: string[]): string {
    for (const name of names) {
      const place = this.#places.get(name);
      if (place !== undefined) return (record.cells[place] ?? '').trim();
    }
    return '';
  }
}

/** A number that a spreadsheet rounded: 4.00638E+12. What it was cannot be known any more. */
export const isRoundedBySpreadsheet = (text: string): boolean => /^\d(?:[.,]\d+)?E\+\d+$/i.test(text);

export const roundedReason = 'was rounded by a spreadsheet; export the file again and do not save it there';

/** An apostrophe that keeps a spreadsheet from eating leading zeros is not part of the number. */
export const withoutGuard = (text: string): string => (/^'\d+$/.test(text) ? text.slice(1) : text);

/** Which record had a SKU first: a file that holds it twice does not say which one counts. */
export class FirstSeen {
  readonly #rows = new Map<string, number>();

  /** @returns the record that had it first, or null when this one is the first */
  earlier(key: string, row: number): number | null {
    const first = this.#rows.get(key);
    // A copy: a part of a text keeps the whole text in memory.
    if (first === undefined) this.#rows.set(JSON.parse(JSON.stringify(key)) as string, row);
    return first ?? null;
  }
}
