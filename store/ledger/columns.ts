/**
 * Rows as PostgreSQL array literals, one per column: how a batch travels to `unnest` in one parameter per column.
 * Written by hand because the driver's own array encoding quotes every element and costs more than the insert.
 */

/** Values as they are (uuid, numbers, booleans, plain words) and texts already quoted; null allowed. */
export function literal(values: readonly (string | number | boolean | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

const unsafe = /[\\"]/;

/** Any text as an element of an array literal. */
export function quoted(value: string): string {
  return unsafe.test(value) ? `"${value.replace(/[\\"]/g, '\\$&')}"` : `"${value}"`;
}
