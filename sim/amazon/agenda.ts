/**
 * The agenda: what Amazon has promised to do later (apply an accepted write, ship a confirmed order, finish a feed).
 *
 * There is no timer. Whoever looks at the vendor calls `catchUp` first: every entry whose time has come is carried out,
 * in order of time, as of its own time. So a clock advanced by an hour and a process killed for an hour act alike.
 * Entries are journaled with the call that caused them; an entry and its effect are one transaction.
 */
import type { SimCore } from '#sim/kit/core.ts';
import type { Patch } from './patches.ts';
import type { PackageDetail } from './rows.ts';

export type Deed =
  | { kind: 'patch'; sku: string; patches: Patch[] }
  | { kind: 'shipment'; order: string; detail: PackageDetail }
  | { kind: 'feed'; feed: string };

interface Entry {
  id: string;
  dueAt: number;
  deed: Deed;
}

export interface Agenda {
  /** Does it now when `dueAt` has come, else later. */
  add(deed: Deed, dueAt: number): void;
  catchUp(): void;
  /** Unix ms of the next entry; Infinity when there is none. */
  nextDue(): number;
  clear(): void;
}

/** @param perform carries out a deed as of `at`; called within a transaction */
export function createAgenda(core: SimCore, perform: (deed: Deed, at: number) => void): Agenda {
  const entries = core.tables.table<Entry>('amazon.agenda');

  function earliest(): Entry | null {
    let found: Entry | null = null;
    for (const entry of entries.all()) if (found === null || entry.dueAt < found.dueAt) found = entry;
    return found;
  }

  function catchUp(): void {
    const now = core.clock.now();
    for (let entry = earliest(); entry !== null && entry.dueAt <= now; entry = earliest()) {
      const { id, deed, dueAt } = entry;
      core.tables.transact(() => {
        entries.delete(id);
        perform(deed, dueAt);
      });
    }
  }

  return {
    add(deed, dueAt) {
      if (dueAt <= core.clock.now()) return perform(deed, dueAt);
      const id = String(core.tables.next('agenda'));
      entries.put(id, { id, dueAt, deed });
    },
    catchUp,
    nextDue: () => earliest()?.dueAt ?? Number.POSITIVE_INFINITY,
    clear: () => entries.clear(),
  };
}
