/** Routes, in code, and what belongs to one key. */
import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createRootRoute, createRoute, createRouter, Outlet } from '@tanstack/react-router';
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { createClient } from '../client/api.ts';
import { ApiError } from '../client/problem.ts';
import { homeSearch } from './address.ts';
import { AppContext } from './app-context.ts';
import { orderText } from './feed.ts';
import { HomePage } from './home-page.tsx';
import { KeyPage } from './key-page.tsx';
import { createLive } from './live.ts';
import { session } from './session.ts';

const isRefusal = (error: unknown): boolean => error instanceof ApiError && error.status === 401;

function createQueries(): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        if (isRefusal(error)) session.refuse();
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        refetchOnWindowFocus: false,
        retry: (failures, error) =>
          failures < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status >= 500),
        // Ours is often the only host there is: a missing network says nothing about a server on this machine.
        networkMode: 'always',
      },
      mutations: { networkMode: 'always' },
    },
  });
}

/** Everything that belongs to one key; another key starts anew, so nothing of one organization shows under another. */
function SignedIn({ apiKey }: { apiKey: string }) {
  const { queries, parts } = useMemo(() => {
    const own = createQueries();
    const api = createClient({ baseUrl: '', key: apiKey });
    return { queries: own, parts: { api, live: createLive({ api, key: apiKey, baseUrl: '', queries: own }) } };
  }, [apiKey]);
  useEffect(() => parts.live.start(session.refuse), [parts]);
  useEffect(() => {
    const leaving = new AbortController();
    Promise.all([parts.api.orders({ limit: 8 }, leaving.signal), parts.api.connections(leaving.signal)])
      .then(([orders, connections]) => {
        const names = new Map(connections.items.map(({ id, name }) => [id, name]));
        for (const order of orders.items)
          parts.live.feed.add(
            {
              id: `order:${order.id}:before`,
              at: Date.parse(order.placedAt),
              role: 'neutral',
              text: orderText(order, names.get(order.connectionId ?? '') ?? null),
            },
            true,
          );
      })
      .catch((error: unknown) => {
        if (isRefusal(error)) session.refuse();
      });
    return () => leaving.abort();
  }, [parts]);
  return (
    <QueryClientProvider client={queries}>
      <AppContext value={parts}>
        <Outlet />
      </AppContext>
    </QueryClientProvider>
  );
}

function Gate() {
  const { key, refused } = useSyncExternalStore(session.subscribe, session.get);
  return key === null ? <KeyPage refused={refused} /> : <SignedIn key={key} apiKey={key} />;
}

const rootRoute = createRootRoute({ component: Gate });
const homeRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/',
  validateSearch: homeSearch,
  component: HomePage,
});

export const createPages = () =>
  createRouter({ routeTree: rootRoute.addChildren([homeRoute]), scrollRestoration: true, defaultPreload: false });

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createPages>;
  }
}
