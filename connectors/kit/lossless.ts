/**
 * Lossless JSON: vendor ids are bare numbers up to 2^63, and `JSON.parse` rounds those above 2^53.
 *
 * Rule: a number that a double cannot hold exactly comes out as its digits in a string, every other number as a number.
 * The slower parser runs only for texts that contain such a long run of digits. Used by every vendor's `wire.ts`.
 */
import { isSafeNumber, parse } from 'lossless-json';
import { ConnectorError } from '#core/errors.ts';

const LONG_NUMBER = /\d{16}/;

/** Throws connector.unreadable, with the beginning of the text. */
export function parseLossless(text: string): unknown {
  try {
    if (!LONG_NUMBER.test(text)) return JSON.parse(text);
    return parse(text, null, { parseNumber: (digits) => (isSafeNumber(digits) ? Number(digits) : digits) });
  } catch (cause) {
    throw new ConnectorError('connector.unreadable', 'The text is not JSON.', { begins: text.slice(0, 200) }, cause);
  }
}

/**
 * One field of a JSON object's top level as source text (`"a\"b"`, `12`, `{…}`), or null when it is not there.
 * Reads no further than that field, so that a large payload is routed without parsing it.
 */
export function topLevelField(json: string, name: string): string | null {
  let at = skipSpace(json, 0);
  if (json[at] !== '{') return null;
  at = skipSpace(json, at + 1);
  while (at < json.length && json[at] === '"') {
    const keyEnd = endOfString(json, at);
    const key = json.slice(at + 1, keyEnd - 1);
    at = skipSpace(json, keyEnd);
    if (json[at] !== ':') return null;
    at = skipSpace(json, at + 1);
    const end = endOfValue(json, at);
    if (key === name) return json.slice(at, end).trimEnd();
    at = skipSpace(json, end);
    if (json[at] !== ',') return null;
    at = skipSpace(json, at + 1);
  }
  return null;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return at;
}

/** Index after the closing quote of the string that opens at `from`. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** Index after the value that begins at `from`. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const character = text[at];
    if (character === '"') {
      at = endOfString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (character === ',' && depth === 0) return at;
    at += 1;
  }
  return at;
}
