/** What happened while the page is open, in words, newest first; bounded. */
import type { Order } from '../client/types.ts';
import type { Role } from './theme.ts';

export interface FeedEntry {
  id: string;
  /** Milliseconds. */
  at: number;
  role: Role;
  text: string;
}

const limit = 100;

export function createFeed() {
  let entries: readonly FeedEntry[] = [];
  let told = 0;
  const listeners = new Set<() => void>();
  return {
    get: (): readonly FeedEntry[] => entries,
    subscribe(listener: () => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    /** How many entries were added since the page opened, those of before left out. */
    told: (): number => told,
    /** An entry of a known id takes the old one's place. `old`: it happened before the page opened. */
    add(entry: FeedEntry, old = false): void {
      if (!old && !entries.some(({ id }) => id === entry.id)) told += 1;
      entries = [entry, ...entries.filter(({ id }) => id !== entry.id)].sort((a, b) => b.at - a.at).slice(0, limit);
      for (const listener of listeners) listener();
    },
  };
}
export type Feed = ReturnType<typeof createFeed>;

/** "Order #1001 on Shopify Demo A: 1 × DEMO-001". */
export function orderText(order: Order, connectionName: string | null): string {
  const lines = order.lines.filter((line) => line.quantity > 0 || order.status !== 'cancelled');
  const shown = lines.slice(0, 3).map((line) => `${line.quantity} × ${line.sku ?? line.channelSku ?? line.title}`);
  const more = lines.length > 3 ? ` and ${lines.length - 3} more` : '';
  const missing = order.lines.reduce(
    (total, line) => total + line.missing.reduce((sum, { units }) => sum + units, 0),
    0,
  );
  const status = order.status === 'cancelled' ? ' cancelled' : order.unmapped ? ' holds an unknown SKU' : '';
  const short = missing > 0 ? ` (${missing} missing)` : '';
  return `Order ${order.number} on ${connectionName ?? 'a removed channel'}${status}${shown.length > 0 ? `: ${shown.join(', ')}${more}` : ''}${short}`;
}

/** "38 ms", "1.4 s". */
export const tookText = (ms: number): string => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`);
