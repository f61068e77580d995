/** A search text as a LIKE pattern: found anywhere, its own signs (percent, underscore, backslash) taken as they stand. Null: no search. */
export const likeAnywhere = (search: string | null): string | null =>
  search === null || search === '' ? null : `%${search.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;
