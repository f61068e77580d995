/**
 * Rows as PostgreSQL array literals, one per column: how a batch travels to `unnest` in one parameter per column.
 * Written by hand because the driver's own array encoding quotes every element and costs more than the insert.
 */

/** Plain values (uuid, numbers, booleans, words without special characters); null allowed. */
export function plain(values: readonly (string | number | boolean | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

/** Any text; null allowed. */
export function texts(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${value.replace(/[\\"]/g, '\\$&')}"`)).join(',')}}`;
}
