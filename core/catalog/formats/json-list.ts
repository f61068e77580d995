/**
 * The list of rows in a JSON text, element by element, from pieces of it: `[ … ]`, or the member `rows` (or `items`) of an
 * object that is a list; the first such member counts. Only one element is held at a time, and the text around the list.
 *
 * Whether the text is JSON is known at its end: whoever books rows before `end` returns books half a file.
 */
/** Characters before a list in which its name is looked for. */
const longestKey = 200;

type Place = 'before' | 'list' | 'after';

export class JsonList {
  readonly #longest: number;
  #place: Place = 'before';
  /** Brackets that are open around the next character, those of the current element and of what is around the list. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** What is being read: an element, or what is around the list. */
  #text = '';
  /** Its end. */
  #tail = '';
  #around = '';
  #found = 0;

  /** @param longest characters of an element, and of all that is around the list */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** @throws SyntaxError, or RangeError beyond the longest element */
  *take(piece: string): Generator<unknown> {
    let from = 0;
    const upTo = (end: number) => {
      this.#keep(piece.slice(from, end));
      from = end;
    };
    for (let at = 0; at < piece.length; at += 1) {
      const sign = piece.charCodeAt(at);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (sign === 0x5c) this.#escaped = true;
        else if (sign === 0x22) this.#inString = false;
        continue;
      }
      if (sign === 0x22) this.#inString = true;
      else if (sign === 0x5b || sign === 0x7b) {
        if (this.#place === 'before' && sign === 0x5b) {
          upTo(at);
          if (this.#isList()) {
            this.#around = `${this.#text}[`;
            this.#text = '';
            this.#place = 'list';
            this.#depth = 0;
            from = at + 1;
            continue;
          }
        }
        this.#depth += 1;
      } else if (this.#place === 'list' && this.#depth === 0 && (sign === 0x2c || sign === 0x5d)) {
        upTo(at);
        from = at + 1;
        const isEmpty = sign === 0x5d && this.#found === 0 && this.#text.trim() === '';
        if (!isEmpty) yield this.#element();
        if (sign === 0x5d) {
          this.#text = `${this.#around}]`;
          this.#place = 'after';
        } else this.#text = '';
      } else if (sign === 0x5d || sign === 0x7d) this.#depth -= 1;
    }
    upTo(piece.length);
  }

  /** @returns whether there was a list; @throws SyntaxError when the whole was no JSON */
  end(): boolean {
    if (this.#place === 'list') throw new SyntaxError('the list does not end');
    JSON.parse(this.#text);
    return this.#place === 'after';
  }

  #element(): unknown {
    this.#found += 1;
    return JSON.parse(this.#text);
  }

  #keep(text: string): void {
    if (this.#text.length + text.length > this.#longest) throw new RangeError('an element is too long');
    this.#text += text;
    this.#tail = (this.#tail + text.slice(-longestKey)).slice(-longestKey);
  }

  /** A bracket comes: does the list of rows begin here? */
  #isList(): boolean {
    if (this.#depth === 0) return this.#tail.trim() === '';
    return this.#depth === 1 && /[{,]\s*"(?:rows|items)"\s*:\s*$/.test(this.#tail);
  }
}
