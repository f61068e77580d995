/**
 * Tables: a simulator's state as named tables of JSON rows, changed in transactions, kept by the journal.
 *
 *   transact(work)  work runs at once and alone; it sees its own writes; if it throws, nothing has happened;
 *                   otherwise all its writes are one journal entry (after a kill: all or none). One transaction
 *                   inside another is a part of it that can fail alone.
 *
 * Rows are values: put a new object, never change one that was read. Used by every simulator and by the kit's own
 * faults, sender and settings, so that one journal holds the whole vendor.
 */
import { type Journal, type JournalOptions, openJournal } from './journal.ts';

/** [table, id, row]; without a row: deleted. */
type Write = [table: string, id: string, row?: unknown];

export interface Table<Row> {
  get(id: string): Row | undefined;
  has(id: string): boolean;
  /** In the order of first insertion. */
  all(): IterableIterator<Row>;
  readonly size: number;
  put(id: string, row: Row): void;
  delete(id: string): void;
  clear(): void;
}

export interface Tables {
  /** True when there was nothing to recover: the caller plants its seed. */
  readonly fresh: boolean;
  table<Row>(name: string): Table<Row>;
  transact<T>(work: () => T): T;
  /** Counts up for ever, per name, from 1. */
  next(counter: string): number;
  /** Resolves when every change so far is on disk. */
  durable(): Promise<void>;
  close(): Promise<void>;
}

export async function openTables(options: JournalOptions): Promise<Tables> {
  const rows = new Map<string, Map<string, unknown>>();
  let open: { writes: Write[]; undo: (() => void)[] } | null = null;

  const rowsOf = (name: string): Map<string, unknown> => {
    const found = rows.get(name) ?? new Map<string, unknown>();
    rows.set(name, found);
    return found;
  };
  const apply = ([table, id, row]: Write) => {
    if (row === undefined) rowsOf(table).delete(id);
    else rowsOf(table).set(id, row);
  };
  const journal: Journal<Write[]> = await openJournal<Write[]>(
    {
      apply: (writes) => writes.forEach(apply),
      save: () => JSON.stringify([...rows].map(([name, table]) => [name, [...table]])),
      restore: (text) => {
        for (const [name, entries] of JSON.parse(text) as [string, [string, unknown][]][])
          rows.set(name, new Map(entries));
      },
    },
    options,
  );

  function transact<T>(work: () => T): T {
    if (open !== null) return within(open, work);
    const transaction = { writes: [] as Write[], undo: [] as (() => void)[] };
    open = transaction;
    try {
      const result = within(transaction, work);
      if (transaction.writes.length > 0) journal.append(transaction.writes);
      return result;
    } finally {
      open = null;
    }
  }

  /** A part of a transaction: when it throws, its own writes are taken back, those before it stay. */
  function within<T>(transaction: { writes: Write[]; undo: (() => void)[] }, work: () => T): T {
    const mark = transaction.writes.length;
    try {
      return work();
    } catch (error) {
      for (const step of transaction.undo.splice(mark).reverse()) step();
      transaction.writes.splice(mark);
      throw error;
    }
  }

  function write(change: Write): void {
    transact(() => {
      const [table, id] = change;
      const before = rowsOf(table).get(id);
      open?.undo.push(() => apply([table, id, before]));
      open?.writes.push(change);
      apply(change);
    });
  }

  function table<Row>(name: string): Table<Row> {
    const content = rowsOf(name) as Map<string, Row>;
    return {
      get: (id) => content.get(id),
      has: (id) => content.has(id),
      all: () => content.values(),
      get size() {
        return content.size;
      },
      put: (id, row) => write([name, id, row]),
      delete: (id) => {
        if (content.has(id)) write([name, id]);
      },
      clear: () =>
        transact(() => {
          for (const id of [...content.keys()]) write([name, id]);
        }),
    };
  }

  const counters = table<number>('counters');
  return {
    fresh: journal.fresh,
    table,
    transact,
    next(counter) {
      const value = (counters.get(counter) ?? 0) + 1;
      counters.put(counter, value);
      return value;
    },
    durable: journal.durable,
    close: journal.close,
  };
}
