/**
 * What a command says, and how it ends.
 *
 *   text   results on stdout for people, remarks and errors on stderr
 *   json   stdout is one JSON document and nothing else, also when the command fails: { "error": { code, message } }
 *
 * Exit codes: 0 done · 1 failed · 2 used wrongly (an unknown option, a value that cannot be read).
 */

export type Exit = 0 | 1 | 2;

/** The command cannot be done; `message` says what happened and what to do about it. */
export class CommandError extends Error {
  readonly exit: Exit;
  readonly code: string;

  constructor(code: string, message: string, exit: Exit = 1) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
    this.exit = exit;
  }
}

/** The command was given something it cannot understand. */
export const usage = (message: string): CommandError => new CommandError('cli.usage', message, 2);
/** What was named is not there. */
export const unknown = (what: string, hint = ''): CommandError =>
  new CommandError('cli.not_found', `There is no ${what}.${hint === '' ? '' : ` ${hint}`}`);

export interface Output {
  readonly json: boolean;
  /** The result: printed as JSON, or by `text` for people. */
  result(value: unknown, text: (print: (line: string) => void) => void): void;
  /** A remark for people, on stderr; never part of the result. */
  note(line: string): void;
  /** Raw text of the result in text mode (a CSV file); ends up on stdout as it is. */
  raw(text: string): void;
}

/** Where a command writes. */
export interface Streams {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

/**
 * Text as a terminal may be given it. SKUs, titles and vendors' words can hold anything: what would move the cursor, colour, clear,
 * or turn the direction of the text is shown as its code instead; line breaks and tabs stay.
 */
export const visible = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (one) =>
      one === '\n' || one === '\t' ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );

export function createOutput(json: boolean, { stdout, stderr }: Streams): Output {
  return {
    json,
    result(value, text) {
      if (json) stdout.write(`${JSON.stringify(value, null, 2)}\n`);
      else text((line) => stdout.write(`${visible(line)}\n`));
    },
    note(line) {
      stderr.write(`${visible(line)}\n`);
    },
    raw(text) {
      stdout.write(text);
    },
  };
}

type Cell = string | number | boolean | null | undefined;

/** Columns under their titles, numbers to the right; widths by what is shown, cut at `most` characters. */
export function table(titles: readonly string[], rows: readonly (readonly Cell[])[], most = 60): string[] {
  const text = (cell: Cell): string => {
    const plain = cell === null || cell === undefined ? '-' : visible(String(cell).replace(/\s+/g, ' '));
    return [...plain].length > most ? `${[...plain].slice(0, most - 1).join('')}…` : plain;
  };
  const lines = [titles.map(String), ...rows.map((row) => row.map(text))];
  const widths = titles.map((_, column) => Math.max(...lines.map((line) => [...(line[column] ?? '')].length)));
  const right = titles.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number' || row[column] === null),
  );
  return lines.map((line) =>
    line
      .map((cell, column) => {
        const gap = ' '.repeat((widths[column] ?? 0) - [...cell].length);
        return right[column] ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** "1 row", "2 rows". */
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
