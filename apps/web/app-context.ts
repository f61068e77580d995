/** What every part of the signed-in page needs: the client, the live follower, and the shared clock. */
import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Api } from '../client/api.ts';
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
