/** `/`: the verdict, the channels, every SKU with each channel's number, and what happens. */
import { AppShell, Button, CloseButton, Text, TextInput } from '@mantine/core';
import { useDebouncedCallback, useMediaQuery } from '@mantine/hooks';
import { IconPackage, IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { Connection, InventoryPage } from '../client/types.ts';
import { AlertsBanner } from './alerts-banner.tsx';
import { ConnectionsContext, clockText, useApp, useConnectionsQuery, useLiveState } from './app-context.ts';
import { ConnectionsStrip } from './connections-strip.tsx';
import { FeedPanel } from './feed-panel.tsx';
import { HeaderBar } from './header.tsx';
import { ItemDrawer } from './item-drawer.tsx';
import { ProblemNotice } from './problem-notice.tsx';
import { StockCards } from './stock-cards.tsx';
import { StockTable, StockTableLoading } from './stock-table.tsx';
import { VerdictLine } from './verdict-line.tsx';

const pageSize = 100;
const none: readonly Connection[] = [];

function useStock(search: string | undefined) {
  const { api, live } = useApp();
  return useInfiniteQuery({
    queryKey: ['inventory', search ?? ''],
    queryFn: async ({ pageParam, signal }) => {
      const since = live.mark();
      return live.newest(await api.inventory({ limit: pageSize, cursor: pageParam, search }, signal), since);
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page: InventoryPage) => page.nextCursor ?? undefined,
    placeholderData: keepPreviousData,
  });
}

function SearchBox({ value, onChange }: { value: string | undefined; onChange(search: string | undefined): void }) {
  const [typed, setTyped] = useState(value ?? '');
  const box = useRef<HTMLInputElement>(null);
  const send = useDebouncedCallback((text: string) => onChange(text.trim() === '' ? undefined : text.trim()), 250);
  // Back and forward change the address under the box.
  useEffect(() => {
    if (document.activeElement !== box.current) setTyped(value ?? '');
  }, [value]);
  const type = (text: string) => {
    setTyped(text);
    send(text);
  };
  return (
    <TextInput
      ref={box}
      className="search"
      type="search"
      aria-label="Search SKU, name, barcode"
      placeholder="Search SKU, name, barcode…"
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={
        typed === '' ? null : <CloseButton size="sm" aria-label="Clear the search" onClick={() => type('')} />
      }
      value={typed}
      onChange={(event) => type(event.currentTarget.value)}
    />
  );
}

/** Loads the next page when its button comes near the window, and on a press. */
function LoadMore({ onMore, busy }: { onMore(): void; busy: boolean }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!button.current || busy) return;
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && onMore(), {
      rootMargin: '400px',
    });
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [onMore, busy]);
  return (
    <Button ref={button} variant="default" loading={busy} onClick={onMore}>
      Load more
    </Button>
  );
}

function EmptyStock({ search, onClear }: { search: string | undefined; onClear(): void }) {
  if (search === undefined)
    return (
      <div className="empty">
        <IconPackage size={28} aria-hidden />
        <Text fw={600}>No SKU yet</Text>
        <Text size="sm">
          Every SKU you import appears here with what each channel shows. Import products, then stock: see the bulk
          calls at /docs.
        </Text>
        <Button component="a" href="/docs" variant="default">
          Open the API description
        </Button>
      </div>
    );
  return (
    <div className="empty">
      <IconSearch size={28} aria-hidden />
      <Text fw={600}>No SKU, name or barcode contains “{search}”</Text>
      <Button variant="default" onClick={onClear}>
        Clear the search
      </Button>
    </div>
  );
}

export function HomePage() {
  const { q, sku } = useSearch({ from: '/' });
  const navigate = useNavigate({ from: '/' });
  const phone = useMediaQuery('(max-width: 767px)', undefined, { getInitialValueInEffect: false });
  const liveState = useLiveState();
  const connections = useConnectionsQuery();
  const stock = useStock(q);

  const items = useMemo(() => stock.data?.pages.flatMap((page) => page.items) ?? [], [stock.data]);
  const totalSkus = stock.data?.pages.at(-1)?.totalSkus ?? 0;
  const linked = connections.data?.items ?? none;

  const open = useCallback(
    (next: string | undefined) => void navigate({ search: (now) => ({ ...now, sku: next }), resetScroll: false }),
    [navigate],
  );
  const close = useCallback(() => open(undefined), [open]);
  const setSearch = useCallback(
    (next: string | undefined) =>
      void navigate({ search: (now) => ({ ...now, q: next }), replace: true, resetScroll: false }),
    [navigate],
  );
  const { fetchNextPage } = stock;
  const more = useCallback(() => void fetchNextPage(), [fetchNextPage]);

  const asOf = Math.max(stock.dataUpdatedAt, connections.dataUpdatedAt);
  const stale =
    liveState === 'reconnecting' && asOf > 0
      ? `As of ${clockText(asOf)}: SyncState does not answer, reconnecting. These are the last numbers we read.`
      : null;

  return (
    <ConnectionsContext value={linked}>
      <AppShell header={{ height: 48 }} padding={0}>
        <a href="#main" className="skip-link">
          Skip to the stock
        </a>
        <AppShell.Header>
          <HeaderBar simulated={linked.some(({ kind }) => kind === 'simulated')} phone={phone} />
        </AppShell.Header>
        <AppShell.Main id="main" className={stale ? 'page outdated' : 'page'}>
          {connections.isError && !connections.data ? (
            <ProblemNotice
              error={connections.error}
              what="read the channels"
              onRetry={() => void connections.refetch()}
            />
          ) : (
            <>
              <VerdictLine connections={connections.data?.items ?? null} stale={stale} />
              <ConnectionsStrip connections={connections.data?.items ?? null} />
            </>
          )}
          <AlertsBanner />
          <div className="columns">
            <section className="stock" aria-labelledby="stock-title">
              <div className="stock-bar">
                <h2 id="stock-title" className="section-title">
                  Stock
                </h2>
                <SearchBox value={q} onChange={setSearch} />
                <Text size="sm" c="dimmed" role="status" className="row-count">
                  {stock.data
                    ? `${items.length} of ${totalSkus} ${totalSkus === 1 ? 'SKU' : 'SKUs'}${q === undefined ? '' : ' found'}`
                    : ''}
                </Text>
              </div>
              {stock.isError ? (
                <ProblemNotice error={stock.error} what="read the stock" onRetry={() => void stock.refetch()} />
              ) : null}
              {stock.isPending ? <StockTableLoading /> : null}
              {stock.data && items.length === 0 ? <EmptyStock search={q} onClear={() => setSearch(undefined)} /> : null}
              {items.length > 0 && phone ? (
                <StockCards items={items} connections={linked} busy={stock.isPlaceholderData} onOpen={open} />
              ) : null}
              {items.length > 0 && !phone ? (
                <StockTable
                  items={items}
                  totalSkus={totalSkus}
                  connections={linked}
                  busy={stock.isPlaceholderData}
                  onOpen={open}
                />
              ) : null}
              {stock.hasNextPage ? <LoadMore onMore={more} busy={stock.isFetchingNextPage} /> : null}
            </section>
            <FeedPanel />
          </div>
          <ItemDrawer sku={sku} connections={linked} onClose={close} />
        </AppShell.Main>
      </AppShell>
    </ConnectionsContext>
  );
}
