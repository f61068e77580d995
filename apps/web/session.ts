/**
 * The key this page calls with. It arrives as `#key=…` in the link that `npm start` prints, moves into the tab's
 * session storage and leaves the address at once, so that it is neither bookmarked nor sent to a server.
 */
const storageName = 'syncstate.key';

export interface SessionState {
  key: string | null;
  /** The last key was refused. */
  refused: boolean;
}

let state: SessionState = { key: null, refused: false };
const listeners = new Set<() => void>();

function set(next: SessionState): void {
  state = next;
  try {
    if (next.key === null) sessionStorage.removeItem(storageName);
    else sessionStorage.setItem(storageName, next.key);
  } catch {
    // Storage switched off: the key lives as long as the page.
  }
  for (const listener of listeners) listener();
}

/** The key of an address' hash ("#key=…"), or null. */
export function keyOfHash(hash: string): string | null {
  const key = new URLSearchParams(hash.replace(/^#/, '')).get('key')?.trim();
  return key ? key : null;
}

function takeFromAddress(): boolean {
  const key = keyOfHash(location.hash);
  if (key === null) return false;
  history.replaceState(history.state, '', `${location.pathname}${location.search}`);
  set({ key, refused: false });
  return true;
}

/** Called once, before the router reads the address. */
export function beginSession(): void {
  if (!takeFromAddress()) {
    try {
      state = { key: sessionStorage.getItem(storageName), refused: false };
    } catch {
      state = { key: null, refused: false };
    }
  }
  addEventListener('hashchange', takeFromAddress);
}

export const session = {
  get: (): SessionState => state,
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  use: (key: string): void => set({ key, refused: false }),
  /** The server answered 401: ask again. */
  refuse: (): void => {
    if (state.key !== null) set({ key: null, refused: true });
  },
  leave: (): void => set({ key: null, refused: false }),
};
