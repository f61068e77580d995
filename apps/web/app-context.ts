/** What every part of the signed-in page needs: the client, the live follower, and the shared clock. */
import { useQuery } from '@tanstack/react-query';
import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Api } from '../client/api.ts';
import type { Connection } from '../client/types.ts';
import type { Live, LiveState } from './live.ts';

export interface AppParts {
  api: Api;
  live: Live;
}

export const AppContext = createContext<AppParts | null>(null);

export function useApp(): AppParts {
  const parts = useContext(AppContext);
  if (!parts) throw new Error('useApp outside the signed-in page');
  return parts;
}

/** Asked for again by itself, as a net under the events; the stream usually is first. */
export function useConnectionsQuery() {
  const { api } = useApp();
  return useQuery({
    queryKey: ['connections'],
    queryFn: ({ signal }) => api.connections(signal),
    refetchInterval: 5_000,
  });
}

/** The connections for every cell: one query for all of them, made by the page. */
export const ConnectionsContext = createContext<readonly Connection[]>([]);
export const useConnections = (): readonly Connection[] => useContext(ConnectionsContext);

/** The location's own code for a channel's name of it; several where several of ours are one place there. */
export function placeName(connection: Connection | undefined, channelLocation: string): string {
  const mapped = connection?.locations.filter(({ externalId }) => externalId === channelLocation) ?? [];
  return mapped.length > 0
    ? mapped.map(({ code }) => code).join(' + ')
    : (channelLocation.split('/').pop() ?? channelLocation);
}

export function useLiveState(): LiveState {
  const { live } = useApp();
  return useSyncExternalStore(live.subscribe, live.state);
}

/** One ticker for the whole page, a second apart; it rests while nobody looks at it. */
const ticker = (() => {
  let now = Date.now();
  let timer: ReturnType<typeof setInterval> | null = null;
  const listeners = new Set<() => void>();
  return {
    get: () => now,
    subscribe(listener: () => void): () => void {
      listeners.add(listener);
      timer ??= setInterval(() => {
        now = Date.now();
        for (const one of listeners) one();
      }, 1_000);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0 && timer !== null) {
          clearInterval(timer);
          timer = null;
        }
      };
    },
  };
})();

/** Milliseconds, renewed every second. */
export const useNow = (): number => useSyncExternalStore(ticker.subscribe, ticker.get);

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

/** "14:03:20" */
export const clockText = (ms: number): string => clockFormat.format(ms);
/** With date and zone, for hovers. */
export const fullTimeText = (ms: number): string => fullFormat.format(ms);
