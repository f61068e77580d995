/** A search text as a LIKE pattern: found anywhere, its own signs (percent, underscore, backslash) taken as they stand. Null: no search. */
export const likeAnywhere = (search: string | null): string | null =>
  search === null || search === '' ? null : `%${search.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;

/** The ranges of texts that begin with a search text: as typed, in small letters, in capitals. Compared byte by byte (collate "C"). */
export function beginnings(search: string): { least: string[]; below: string[] } {
  const least = [...new Set([search, search.toLowerCase(), search.toUpperCase()])];
  return { least, below: least.map((text) => `${text}\u{10ffff}`) };
}
