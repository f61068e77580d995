/**
 * Keeps what is on the screen true: follows /api/events and reads again exactly what an event names.
 *
 *   stock, listing event → that SKU (and shown bundles made of it) → its row is replaced in place; nothing is re-sorted
 *   order event          → that order → one line in the feed
 *   alert event          → the unread alerts
 *   any of them          → the connections, for the verdict
 *
 * Events are gathered: the first is served at once, later ones every 200 ms; beyond 12 SKUs in one go the visible pages
 * are read instead. Quantities always come from the server, never from arithmetic here.
 */
import type { InfiniteData, QueryClient } from '@tanstack/react-query';
import type { Api } from '../client/api.ts';
import { ApiError } from '../client/problem.ts';
import { followEvents } from '../client/stream.ts';
import type { Connection, InventoryItem, InventoryPage, LiveEvent, Page } from '../client/types.ts';
import { channelCell, numbersText } from './channel-cell.ts';
import { createFeed, type Feed, orderText, tookText } from './feed.ts';

export type LiveState = 'connecting' | 'live' | 'reconnecting' | 'paused';

const gatherMs = 200;
const manySkus = 12;

export interface Live {
  feed: Feed;
  state(): LiveState;
  subscribe(listener: () => void): () => void;
  /** Begins to follow; the returned function ends it. */
  start(onUnauthorized: () => void): () => void;
  /** Reads a SKU again now, after a change made here. */
  touch(sku: string): void;
  /** Counts replaced rows; take it before reading a page … */
  mark(): number;
  /** … and let rows that were replaced meanwhile win over the page, which may be older. */
  newest(page: InventoryPage, since: number): InventoryPage;
}

type Rows = InfiniteData<InventoryPage, string | undefined>;

export function createLive({
  api,
  key,
  baseUrl,
  queries,
}: {
  api: Api;
  key: string;
  baseUrl: string;
  queries: QueryClient;
}): Live {
  const feed = createFeed();
  const listeners = new Set<() => void>();
  let state: LiveState = 'connecting';
  let replaced = 0;
  const fresh = new Map<string, { item: InventoryItem; at: number }>();
  /** When the ledger last changed a SKU, for "took 38 ms". */
  const movedAt = new Map<string, number>();

  const waiting = {
    skus: new Set<string>(),
    listings: new Set<string>(),
    orders: new Map<string, LiveEvent>(),
    alerts: new Map<string, LiveEvent>(),
  };
  let serving = false;

  const tell = (next: LiveState) => {
    if (next === state) return;
    state = next;
    for (const listener of listeners) listener();
  };

  const shownRows = (): InventoryItem[] =>
    queries
      .getQueriesData<Rows>({ queryKey: ['inventory'] })
      .flatMap(([, data]) => data?.pages.flatMap((page) => page.items) ?? []);
  const connectionName = (id: string | null): string | null =>
    queries.getQueryData<Page<Connection>>(['connections'])?.items.find((one) => one.id === id)?.name ?? null;

  function replaceRow(item: InventoryItem): void {
    replaced += 1;
    if (fresh.size > 2_000) fresh.clear();
    fresh.set(item.sku, { item, at: replaced });
    queries.setQueriesData<Rows>({ queryKey: ['inventory'] }, (data) =>
      data?.pages.some((page) => page.items.some(({ sku }) => sku === item.sku))
        ? {
            ...data,
            pages: data.pages.map((page) => ({
              ...page,
              items: page.items.map((row) => (row.sku === item.sku ? item : row)),
            })),
          }
        : data,
    );
    queries.setQueryData(['item', item.sku], item);
  }

  /** Says in the feed what became different between two readings of a SKU. */
  function sayChanges(before: InventoryItem | undefined, after: InventoryItem): void {
    const moved = movedAt.get(after.sku);
    if (before?.available !== after.available && (before !== undefined || moved !== undefined))
      feed.add({
        id: `stock:${after.sku}:${moved ?? replaced}`,
        at: moved ?? Date.now(),
        role: 'neutral',
        text: `${after.sku}: ${after.available} available`,
      });
    if (before === undefined) return;
    for (const connectionId of new Set(after.listings.map((listing) => listing.connectionId))) {
      const cell = channelCell(after, connectionId);
      const old = channelCell(before, connectionId);
      if (!cell || cell.numbers.includes(null) || (old && numbersText(old) === numbersText(cell))) continue;
      const at = Math.max(...cell.targets.map((target) => Date.parse(target.updatedAt)));
      const took =
        cell.quiet && moved !== undefined && at >= moved && at - moved < 600_000
          ? ` (took ${tookText(at - moved)})`
          : '';
      feed.add({
        id: `shows:${after.sku}:${connectionId}:${at}`,
        at,
        role: cell.quiet ? 'ok' : 'info',
        text: `${connectionName(connectionId) ?? 'A channel'} now shows ${numbersText(cell)} of ${after.sku}${took}`,
      });
    }
  }

  async function readSku(sku: string, before: InventoryItem | undefined): Promise<void> {
    try {
      const item = await api.inventoryItem(sku);
      sayChanges(before, item);
      replaceRow(item);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404)
        await queries.invalidateQueries({ queryKey: ['inventory'] });
    }
  }

  async function readOrder(id: string, event: LiveEvent): Promise<void> {
    const order = await api.order(id).catch(() => null);
    if (order)
      feed.add({
        id: `order:${id}:${event.version}`,
        at: Date.parse(event.at),
        role: 'info',
        text: orderText(order, connectionName(order.connectionId)),
      });
  }

  async function readAlerts(named: ReadonlyMap<string, LiveEvent>): Promise<void> {
    const unread = await api.unreadAlerts().catch(() => null);
    if (!unread) return;
    queries.setQueryData(['alerts'], unread);
    for (const alert of unread.items) {
      const event = named.get(alert.id);
      // An alert is told of once more when what it was about is right again.
      if (event && alert.resolvedAt === null)
        feed.add({
          id: `alert:${alert.id}:${event.version}`,
          at: Date.parse(event.at),
          role: alert.severity === 'critical' ? 'bad' : 'warn',
          text: alert.message,
        });
    }
  }

  async function serveOnce(): Promise<void> {
    const rows = new Map(shownRows().map((item) => [item.sku, item]));
    const skus = new Set(waiting.skus);
    const listings = new Set(waiting.listings);
    const orders = [...waiting.orders];
    const alerts = new Map(waiting.alerts);

    waiting.skus.clear();
    waiting.listings.clear();
    waiting.orders.clear();
    waiting.alerts.clear();
    for (const item of rows.values()) {
      if (item.bundle?.components.some(({ sku }) => skus.has(sku)) || item.listings.some(({ id }) => listings.has(id)))
        skus.add(item.sku);
    }
    void queries.invalidateQueries({ queryKey: ['connections'] });
    await Promise.all([
      skus.size > manySkus
        ? queries.invalidateQueries({ queryKey: ['inventory'] })
        : Promise.all([...skus].map((sku) => readSku(sku, rows.get(sku)))),
      alerts.size > 0 ? readAlerts(alerts) : null,
      ...orders.slice(-5).map(([id, event]) => readOrder(id, event)),
    ]);
  }

  const hasWaiting = () => waiting.skus.size + waiting.listings.size + waiting.orders.size + waiting.alerts.size > 0;

  async function serve(): Promise<void> {
    if (serving) return;
    serving = true;
    try {
      while (hasWaiting()) {
        await serveOnce();
        await new Promise((resolve) => setTimeout(resolve, gatherMs));
      }
    } finally {
      serving = false;
    }
  }

  function take(event: LiveEvent): void {
    if (event.type === 'stock' && event.sku !== undefined) {
      waiting.skus.add(event.sku);
      if (movedAt.size > 2_000) movedAt.clear();
      movedAt.set(event.sku, Date.parse(event.at));
    } else if (event.type === 'listing' && event.id !== undefined) waiting.listings.add(event.id);
    else if (event.type === 'order' && event.id !== undefined) waiting.orders.set(event.id, event);
    else if (event.type === 'alert' && event.id !== undefined) waiting.alerts.set(event.id, event);
    else return;
    void serve();
  }

  function start(onUnauthorized: () => void): () => void {
    let following: AbortController | null = null;
    let lastEventId: string | null = null;
    const begin = () => {
      if (following) return;
      const own = new AbortController();
      following = own;
      followEvents({
        baseUrl,
        key,
        signal: own.signal,
        lastEventId,
        onEvent: (event, id) => {
          lastEventId = id ?? lastEventId;
          take(event);
        },
        onState: (next, resumed) => {
          if (own.signal.aborted) return;
          tell(next);
          if (next === 'live' && !resumed) void queries.invalidateQueries();
        },
      }).catch(onUnauthorized);
    };
    const end = () => {
      following?.abort();
      following = null;
    };
    // A browser allows few connections to a server: a hidden page gives its own back, and resumes where it was.
    const onVisibility = () => {
      if (document.visibilityState === 'visible') return begin();
      end();
      tell('paused');
    };
    document.addEventListener('visibilitychange', onVisibility);
    if (document.visibilityState === 'visible') begin();
    else tell('paused');
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      end();
    };
  }

  return {
    feed,
    state: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    start,
    touch(sku) {
      waiting.skus.add(sku);
      void serve();
    },
    mark: () => replaced,
    newest: (page, since) => ({
      ...page,
      items: page.items.map((row) => {
        const newer = fresh.get(row.sku);
        return newer && newer.at > since ? newer.item : row;
      }),
    }),
  };
}
