/**
 * Shopify's search syntax, as far as lists here support it: `field:value`, comparisons (`updated_at:>='…'`), AND (or a
 * space), OR, a leading minus, quotes, and a trailing `*`. Unknown fields are ignored, as Shopify does (with a warning
 * that nobody reads). Pure; called by `views.ts`.
 */

/** A field's value: a time in Unix ms, a number or text; several mean "any of them". */
export type SearchValue = { time: number } | { id: string } | { text: string | readonly string[] };

type Compare = ':' | '>' | '>=' | '<' | '<=';

interface Term {
  negated: boolean;
  field: string | null;
  compare: Compare;
  value: string;
}

export type SearchFields<Row> = Record<string, (row: Row) => SearchValue>;

/** @returns a filter, or null when there is nothing to filter by. */
export function parseSearch<Row>(
  query: string | null | undefined,
  fields: SearchFields<Row>,
): ((row: Row) => boolean) | null {
  const alternatives = (query ?? '').split(/\s+OR\s+/).map(parseTerms);
  if (alternatives.every((terms) => terms.length === 0)) return null;
  return (row) => alternatives.some((terms) => terms.every((term) => fits(term, row, fields) !== term.negated));
}

const TERM = /(-)?(?:([a-z_]+):(>=|<=|>|<)?)?('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\s()]+)/gi;

function parseTerms(text: string): Term[] {
  return [...text.matchAll(TERM)]
    .filter((match) => !/^(AND|OR)$/.test(match[0]))
    .map((match) => ({
      negated: match[1] === '-',
      field: match[2] ?? null,
      compare: (match[3] ?? ':') as Compare,
      value: unquote(match[4] ?? ''),
    }));
}

function unquote(value: string): string {
  return /^(['"]).*\1$/s.test(value) ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
}

function fits<Row>(term: Term, row: Row, fields: SearchFields<Row>): boolean {
  const read = fields[term.field ?? 'default'];
  if (read === undefined) return !term.negated;
  const value = read(row);
  if ('time' in value)
    return fitsNumber(term.compare, Math.floor(value.time / 1000), Math.floor(timeOf(term.value) / 1000));
  if ('id' in value) return fitsNumber(term.compare, BigInt(value.id), wholeNumber(term.value));
  const candidates = typeof value.text === 'string' ? [value.text] : value.text;
  return candidates.some((candidate) => fitsText(term.value, candidate));
}

const timeOf = (text: string): number => Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);

const wholeNumber = (text: string): bigint => BigInt(/\d+$/.exec(text)?.[0] ?? '0');

function fitsNumber<Value extends number | bigint>(compare: Compare, value: Value, limit: Value): boolean {
  switch (compare) {
    case '>':
      return value > limit;
    case '>=':
      return value >= limit;
    case '<':
      return value < limit;
    case '<=':
      return value <= limit;
    default:
      return value === limit;
  }
}

function fitsText(wanted: string, value: string): boolean {
  const [pattern, text] = [wanted.toLowerCase(), value.toLowerCase()];
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}
