/**
 * Live events by a streaming fetch (EventSource cannot send a key). Follows until told to stop:
 *
 *   connecting → live → reconnecting → live …      401 and 403 end it: nothing will change by trying again
 *
 * Every reconnect names the last event seen, so nothing is missed within the server's day of memory; a stream that is
 * silent for longer than two heartbeats counts as dead. Waits grow from 0.25 s to 10 s, with jitter so that many pages
 * do not return at once.
 */
import { ApiError, problemOf } from './problem.ts';
import type { LiveEvent } from './types.ts';

export interface SseMessage {
  id: string | null;
  data: string;
}

/** Turns chunks of text into messages, whatever the chunk borders. Comments are heartbeats: they give no message. */
export function createSseParser(): (chunk: string) => SseMessage[] {
  let rest = '';
  let id: string | null = null;
  let data: string[] = [];
  return (chunk) => {
    const messages: SseMessage[] = [];
    const lines = `${rest}${chunk}`.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) messages.push({ id, data: data.join('\n') });
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'id') id = value;
      if (field === 'data') data.push(value);
    }
    return messages;
  };
}

export type StreamState = 'connecting' | 'live' | 'reconnecting';

export interface FollowOptions {
  baseUrl: string;
  key: string;
  /** Ends the following; the promise then resolves. */
  signal: AbortSignal;
  /** The last event already seen, to resume after it. */
  lastEventId?: string | null;
  onEvent(event: LiveEvent, id: string | null): void;
  /** `resumed` is false when events may have been missed: read again what is shown. */
  onState(state: StreamState, resumed: boolean): void;
  /** Silence after which the stream counts as dead. The server's heartbeat is 15 s. */
  silenceMs?: number;
  firstWaitMs?: number;
  maxWaitMs?: number;
  fetch?: typeof fetch;
}

/** Resolves when `signal` ends it. Rejects with an `ApiError` of 401 or 403. */
export async function followEvents(options: FollowOptions): Promise<void> {
  const { signal, firstWaitMs = 250, maxWaitMs = 10_000 } = options;
  const at = { lastEventId: options.lastEventId ?? null, failures: 0 };
  while (!signal.aborted) {
    options.onState(at.failures === 0 ? 'connecting' : 'reconnecting', at.lastEventId !== null);
    try {
      await readOnce(options, at);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) throw error;
      // The server no longer knows where we were: start anew, and say that something may be missing.
      if (error instanceof ApiError && error.status === 400) at.lastEventId = null;
    }
    if (signal.aborted) return;
    const longest = Math.min(maxWaitMs, firstWaitMs * 2 ** at.failures);
    at.failures += 1;
    options.onState('reconnecting', at.lastEventId !== null);
    await pause(longest * (0.5 + Math.random() / 2), signal);
  }
}

/** One connection, from its opening to its end. */
async function readOnce(options: FollowOptions, at: { lastEventId: string | null; failures: number }): Promise<void> {
  const { silenceMs = 40_000, fetch: send = globalThis.fetch } = options;
  const attempt = new AbortController();
  const stop = () => attempt.abort();
  options.signal.addEventListener('abort', stop);
  let watchdog = setTimeout(stop, silenceMs);
  try {
    const response = await send.call(globalThis, `${options.baseUrl}/api/events`, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${options.key}`,
        ...(at.lastEventId === null ? {} : { 'last-event-id': at.lastEventId }),
      },
      cache: 'no-store',
      signal: attempt.signal,
    });
    if (!response.ok) throw await problemOf(response);
    if (!response.body) return;
    options.onState('live', at.lastEventId !== null);
    const parse = createSseParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(stop, silenceMs);
      at.failures = 0;
      for (const message of parse(decoder.decode(value, { stream: true }))) {
        if (message.id !== null) at.lastEventId = message.id;
        const event = eventOf(message.data);
        if (event) options.onEvent(event, message.id);
      }
    }
  } finally {
    clearTimeout(watchdog);
    options.signal.removeEventListener('abort', stop);
  }
}

/** A message that is not an event of ours is passed over: a newer server may say more. */
function eventOf(data: string): LiveEvent | null {
  try {
    const value = JSON.parse(data) as LiveEvent | null;
    return value !== null && typeof value === 'object' && typeof value.type === 'string' ? value : null;
  } catch {
    return null;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
