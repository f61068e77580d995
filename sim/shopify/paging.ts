/**
 * Relay connections over sorted rows. A cursor is opaque base64 JSON `{ last_id, last_value }` (sheet §6): it names a
 * place in the order, not a row, so a page continues rightly after rows were added, moved or deleted.
 * Called by `views.ts`.
 */
import { GraphQLError } from 'graphql';

export interface PageArgs {
  first?: number | null;
  last?: number | null;
  after?: string | null;
  before?: string | null;
  reverse?: boolean | null;
}

/** What rows are sorted by; ties by id. */
export interface SortKey {
  value: number | string;
  id: string;
}

export interface Connection {
  edges: () => { cursor: string; node: unknown }[];
  nodes: () => unknown[];
  pageInfo: () => {
    hasNextPage: boolean;
    hasPreviousPage: boolean;
    startCursor: string | null;
    endCursor: string | null;
  };
}

/** @param rows in any order; sorted here by `key`, descending when `args.reverse`. */
export function connection<Row>(
  rows: readonly Row[],
  args: PageArgs,
  key: (row: Row) => SortKey,
  view: (row: Row) => unknown,
): Connection {
  if (args.first == null && args.last == null) {
    throw new GraphQLError('you must provide one of first or last', { extensions: { code: 'BAD_REQUEST' } });
  }
  const direction = args.reverse === true ? -1 : 1;
  const placed = rows.map((row) => ({ row, key: key(row) })).sort((a, b) => direction * compareKeys(a.key, b.key));
  const after = readCursor(args.after);
  const before = readCursor(args.before);
  const from = after === null ? 0 : placed.findIndex((one) => direction * compareKeys(one.key, after) > 0);
  const until =
    before === null ? placed.length : placed.findIndex((one) => direction * compareKeys(one.key, before) >= 0);
  const start = from < 0 ? placed.length : from;
  const end = until < 0 ? placed.length : until;
  const within = placed.slice(start, Math.max(start, end));
  const page =
    args.first != null ? within.slice(0, args.first) : within.slice(Math.max(0, within.length - (args.last ?? 0)));
  const first = page[0];
  const last = page.at(-1);
  const cut = within.length > page.length;
  return {
    edges: () => page.map((one) => ({ cursor: writeCursor(one.key), node: view(one.row) })),
    nodes: () => page.map((one) => view(one.row)),
    pageInfo: () => ({
      hasNextPage: args.first != null ? cut || end < placed.length : end < placed.length,
      hasPreviousPage: args.first != null ? start > 0 : cut || start > 0,
      startCursor: first === undefined ? null : writeCursor(first.key),
      endCursor: last === undefined ? null : writeCursor(last.key),
    }),
  };
}

/** Rows that are already in the order they are to be shown in. */
export function listed<Row>(rows: readonly Row[], args: PageArgs, view: (row: Row) => unknown): Connection {
  const places = new Map(rows.map((row, place) => [row, place]));
  return connection(rows, args, (row) => ({ value: places.get(row) ?? 0, id: String(places.get(row)) }), view);
}

function compareKeys(a: SortKey, b: SortKey): number {
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.id.length - b.id.length || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

const writeCursor = ({ value, id }: SortKey): string =>
  Buffer.from(JSON.stringify({ last_id: id, last_value: value })).toString('base64');

function readCursor(cursor: string | null | undefined): SortKey | null {
  if (cursor == null) return null;
  try {
    const { last_id: id, last_value: value } = JSON.parse(Buffer.from(cursor, 'base64').toString('utf8')) as Record<
      string,
      unknown
    >;
    if (typeof id === 'string' && (typeof value === 'number' || typeof value === 'string')) return { id, value };
  } catch {
    // falls through to the refusal below
  }
  throw new GraphQLError('Invalid cursor for current pagination sort.', { extensions: { code: 'BAD_REQUEST' } });
}
