/**
 * One standard SQS queue: at least once, unordered, with visibility timeouts.
 *
 *   available at `availableAt` → received: invisible for a while → deleted | visible again (redelivery)
 *
 * Messages and deletions are journaled; what is in flight is not: after a restart everything undeleted is visible again,
 * which a standard queue may do at any time. Message faults act when a message is sent: dropped, doubled (two SQS
 * messages, one body), late, or overtaken by the next one.
 * Semantics: Amazon SQS Developer Guide, "Amazon SQS visibility timeout" and "standard queues" (documented).
 */
import { createHash } from 'node:crypto';
import type { SimCore } from '#sim/kit/core.ts';

const RETENTION_MS = 4 * 24 * 3_600_000;
export const DEFAULT_VISIBILITY_SECONDS = 30;

interface MessageRow {
  id: string;
  body: string;
  md5: string;
  sentAt: number;
  availableAt: number;
}

export interface ReceivedMessage {
  id: string;
  handle: string;
  body: string;
  md5: string;
  sentAt: number;
  firstReceivedAt: number;
  receives: number;
}

export interface Queue {
  /** Sends within the caller's transaction. @param topic the notification type, for faults */
  send(topic: string, body: string, delayMs: number): void;
  /** Up to `most` visible messages, now invisible for `visibilityMs`. */
  take(most: number, visibilityMs: number): ReceivedMessage[];
  /** @returns false: not a handle of this queue. A handle overtaken by a later receive deletes nothing, silently. */
  remove(handle: string): boolean;
  /** @returns why not, or null: done. */
  changeVisibility(handle: string, visibilityMs: number): 'invalid' | 'not_in_flight' | null;
  counts(): { visible: number; inFlight: number; delayed: number };
  /** Unix ms at which a message turns visible; Infinity: none is waiting. */
  nextVisible(): number;
  /** Calls back once, at the next send. @returns stops listening */
  onSend(wake: () => void): () => void;
  clear(): void;
}

interface Flight {
  visibleAt: number;
  receives: number;
  firstReceivedAt: number;
}

export function createQueue(core: SimCore, name: string): Queue {
  const messages = core.tables.table<MessageRow>(`amazon.queue.${name}`);
  /** Message ids, first in first out; ids of rows that are gone are skipped. */
  let ready: string[] = [];
  let head = 0;
  /** When an id that is not ready becomes so. */
  const waiting = new Map<string, number>();
  const flights = new Map<string, Flight>();
  const listeners = new Set<() => void>();
  let parked: string[] = [];

  for (const message of messages.all()) enlist(message);

  function enlist(message: MessageRow): void {
    if (message.availableAt <= core.clock.now()) ready.push(message.id);
    else waiting.set(message.id, message.availableAt);
  }

  /** Moves everything whose time has come to the ready list. */
  function settle(): void {
    const now = core.clock.now();
    for (const [id, at] of waiting) {
      if (at > now) continue;
      waiting.delete(id);
      ready.push(id);
    }
  }

  function put(body: string, md5: string, delayMs: number): string {
    const now = core.clock.now();
    const row: MessageRow = { id: core.ids.uuid(), body, md5, sentAt: now, availableAt: now + delayMs };
    messages.put(row.id, row);
    enlist(row);
    return row.id;
  }

  function receive(id: string, message: MessageRow, visibilityMs: number): ReceivedMessage {
    const now = core.clock.now();
    const before = flights.get(id);
    const receives = (before?.receives ?? 0) + 1;
    const firstReceivedAt = before?.firstReceivedAt ?? now;
    flights.set(id, { visibleAt: now + visibilityMs, receives, firstReceivedAt });
    waiting.set(id, now + visibilityMs);
    const handle = Buffer.from(`${name}/${id}/${receives}`).toString('base64url');
    return { id, handle, body: message.body, md5: message.md5, sentAt: message.sentAt, firstReceivedAt, receives };
  }

  function readHandle(handle: string): { id: string; receive: number } | null {
    const [queue, id, receive] = Buffer.from(handle, 'base64url').toString('utf8').split('/');
    if (queue !== name || id === undefined || receive === undefined || !/^\d+$/.test(receive)) return null;
    return { id, receive: Number(receive) };
  }

  function forget(id: string): void {
    messages.delete(id);
    waiting.delete(id);
    flights.delete(id);
  }

  return {
    send(topic, body, delayMs) {
      const plan = core.faults.planMessage(topic);
      const md5 = createHash('md5').update(body).digest('hex');
      const held = parked;
      for (let copy = 0; copy < plan.copies; copy += 1) {
        const id = put(body, md5, delayMs + plan.delayMs + (plan.reorder ? plan.reorderMs : 0));
        if (plan.reorder) parked = [...parked, id];
      }
      if (plan.copies === 0 || plan.reorder) return;
      for (const id of held) if (waiting.has(id)) waiting.set(id, core.clock.now() + delayMs);
      parked = [];
      for (const wake of [...listeners]) wake();
    },
    take(most, visibilityMs) {
      settle();
      const now = core.clock.now();
      const taken: ReceivedMessage[] = [];
      while (taken.length < most && head < ready.length) {
        const id = ready[head] as string;
        head += 1;
        const message = messages.get(id);
        if (message === undefined) continue;
        if (message.sentAt + RETENTION_MS <= now) forget(id);
        else taken.push(receive(id, message, visibilityMs));
      }
      if (head > 1_000) {
        ready = ready.slice(head);
        head = 0;
      }
      return taken;
    },
    remove(handle) {
      const named = readHandle(handle);
      if (named === null) return false;
      if (named.receive >= (flights.get(named.id)?.receives ?? 0)) forget(named.id);
      return true;
    },
    changeVisibility(handle, visibilityMs) {
      const named = readHandle(handle);
      if (named === null || !messages.has(named.id)) return 'invalid';
      const flight = flights.get(named.id);
      const now = core.clock.now();
      if (flight === undefined || flight.visibleAt <= now || flight.receives !== named.receive) return 'not_in_flight';
      flights.set(named.id, { ...flight, visibleAt: now + visibilityMs });
      waiting.set(named.id, now + visibilityMs);
      if (visibilityMs === 0) for (const wake of [...listeners]) wake();
      return null;
    },
    counts() {
      settle();
      const inFlight = [...waiting.keys()].filter((id) => flights.has(id)).length;
      return { visible: messages.size - waiting.size, inFlight, delayed: waiting.size - inFlight };
    },
    nextVisible() {
      let next = Number.POSITIVE_INFINITY;
      for (const at of waiting.values()) next = Math.min(next, at);
      return next;
    },
    onSend(wake) {
      listeners.add(wake);
      return () => listeners.delete(wake);
    },
    clear() {
      messages.clear();
      waiting.clear();
      flights.clear();
      ready = [];
      head = 0;
      parked = [];
    },
  };
}
