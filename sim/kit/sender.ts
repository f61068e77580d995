/**
 * Sends a simulated vendor's webhooks over real HTTP, with the vendor's timeouts and retry schedule.
 *
 *   queued (in the transaction that caused it) → due → in flight → done | failed → due again, later | given up
 *
 * Pending deliveries live in the journal: after a kill each is sent again, which the receiver must bear (a duplicate).
 * Nothing leaves before the change it tells of is durable. Only loopback addresses are ever called.
 * Message faults act when a message is queued: dropped, doubled, late, or overtaken by the next one.
 */
import { Agent, request } from 'node:http';
import type { SimCore } from './core.ts';
import { isLoopbackHost } from './server.ts';

export interface Message {
  topic: string;
  /** The subscription it belongs to; told again in `onGivenUp`. */
  subscription: string;
  uri: string;
  headers: Record<string, string>;
  body: string;
}

export interface Delivery extends Message {
  id: string;
  attempts: number;
  /** The simulator's clock, Unix ms. */
  dueAt: number;
}

export interface SenderPolicy {
  connectTimeoutMs: number;
  timeoutMs: number;
  /** Wait before the 2nd, 3rd, … attempt; when used up, the delivery is given up. */
  retryDelaysMs: readonly number[];
}

export interface Sender {
  /** Queues a message, within the caller's transaction. */
  enqueue(message: Message): void;
  /** Pending deliveries: due, late, in flight and waiting for a retry. */
  pending(): number;
  /** Pending deliveries to `from` (null: to any loopback origin) go to `to`, at once. */
  retarget(from: string | null, to: string): void;
  /** Forgets everything pending. */
  clear(): void;
  start(): void;
  close(): Promise<void>;
}

/**
 * How a delivery reaches its receiver: by default HTTP on loopback; the world hands in its own, so that one seed decides
 * what happens. @returns true when the receiver accepted it in time
 */
export type PostMessage = (message: Message, policy: SenderPolicy, closing: AbortSignal) => Promise<boolean>;

const CONCURRENCY = 32;

export function createSender(
  core: SimCore,
  options: { policy: () => SenderPolicy; onGivenUp?: (delivery: Delivery) => void },
): Sender {
  const deliveries = core.tables.table<Delivery>('kit.deliveries');
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  const postMessage: PostMessage =
    core.post ?? ((message, policy, closing) => postByHttp(message, policy, agent, closing));
  const closing = new AbortController();
  const inFlight = new Set<Promise<void>>();
  const flying = new Set<string>();
  let ready: string[] = [];
  let head = 0;
  let parked: string | null = null;
  let started = false;

  function schedule(delivery: Delivery): void {
    if (!started) return;
    const wait = delivery.dueAt - core.clock.now();
    if (wait <= 0) {
      makeReady(delivery.id);
      return;
    }
    void core.clock.sleep(wait, closing.signal).then(() => {
      const current = deliveries.get(delivery.id);
      if (current !== undefined && current.dueAt <= core.clock.now()) makeReady(delivery.id);
    });
  }

  function makeReady(id: string): void {
    ready.push(id);
    pump();
  }

  function nextReady(): string | undefined {
    if (head >= ready.length) return undefined;
    const id = ready[head];
    head += 1;
    if (head > 1_000 && head * 2 > ready.length) {
      ready = ready.slice(head);
      head = 0;
    }
    return id;
  }

  function pump(): void {
    while (started && !closing.signal.aborted && inFlight.size < CONCURRENCY) {
      const id = nextReady();
      if (id === undefined) return;
      const delivery = deliveries.get(id);
      if (delivery === undefined || flying.has(delivery.id) || delivery.dueAt > core.clock.now()) continue;
      flying.add(delivery.id);
      const flight = deliver(delivery)
        .catch(() => {
          // Only a broken journal throws here; then every call to the simulator fails and says why.
        })
        .finally(() => {
          inFlight.delete(flight);
          flying.delete(delivery.id);
          pump();
        });
      inFlight.add(flight);
    }
  }

  async function deliver(delivery: Delivery): Promise<void> {
    await core.tables.durable();
    const delivered = await postMessage(delivery, options.policy(), closing.signal);
    if (closing.signal.aborted || !deliveries.has(delivery.id)) return;
    if (delivered) return deliveries.delete(delivery.id);
    const wait = options.policy().retryDelaysMs[delivery.attempts];
    core.tables.transact(() => {
      if (wait === undefined) {
        deliveries.delete(delivery.id);
        options.onGivenUp?.(delivery);
        return;
      }
      const current = deliveries.get(delivery.id) ?? delivery;
      const again = { ...current, attempts: delivery.attempts + 1, dueAt: core.clock.now() + wait };
      deliveries.put(again.id, again);
      queueMicrotask(() => schedule(again));
    });
  }

  /** A parked message goes out right after the one that overtook it, or alone when its time is up. */
  function unpark(): void {
    const delivery = parked === null ? undefined : deliveries.get(parked);
    parked = null;
    if (delivery === undefined) return;
    const due = { ...delivery, dueAt: core.clock.now() };
    deliveries.put(due.id, due);
    queueMicrotask(() => schedule(due));
  }

  return {
    enqueue(message) {
      const plan = core.faults.planMessage(message.topic);
      for (let copy = 0; copy < plan.copies; copy += 1) {
        const parks = plan.reorder && parked === null;
        const dueAt = core.clock.now() + plan.delayMs + (parks ? plan.reorderMs : 0);
        const delivery = { id: core.ids.uuid(), ...message, attempts: 0, dueAt };
        deliveries.put(delivery.id, delivery);
        queueMicrotask(() => schedule(delivery));
        if (parks) parked = delivery.id;
        else if (parked !== null) unpark();
      }
    },
    pending: () => deliveries.size,
    retarget(from, to) {
      for (const delivery of [...deliveries.all()]) {
        const uri = moveOrigin(delivery.uri, from, to);
        if (uri === null) continue;
        const moved = { ...delivery, uri, dueAt: Math.min(delivery.dueAt, core.clock.now()) };
        deliveries.put(delivery.id, moved);
        schedule(moved);
      }
    },
    clear() {
      deliveries.clear();
      ready = [];
      head = 0;
      parked = null;
    },
    start() {
      if (started) return;
      started = true;
      for (const delivery of [...deliveries.all()]) schedule(delivery);
    },
    async close() {
      closing.abort();
      await Promise.all(inFlight);
      agent.destroy();
    },
  };
}

/** @returns the address below its new origin, or null when it is not at `from` (null: at any loopback origin). */
export function moveOrigin(uri: string, from: string | null, to: string): string | null {
  if (!URL.canParse(uri)) return null;
  const url = new URL(uri);
  const concerned = from === null ? isLoopbackHost(url.host) : url.origin === new URL(from).origin;
  return concerned ? `${new URL(to).origin}${url.pathname}${url.search}` : null;
}

/**
 * @returns true when the receiver answered 2xx in time. A kept-alive connection that the receiver closed in the same
 * moment is no failure: it is tried once more on another.
 */
async function postByHttp(
  delivery: Message,
  policy: SenderPolicy,
  agent: Agent,
  closing: AbortSignal,
): Promise<boolean> {
  const url = URL.canParse(delivery.uri) ? new URL(delivery.uri) : null;
  if (url === null || url.protocol !== 'http:' || !isLoopbackHost(url.host)) return false;
  const first = await attempt(url, delivery, policy, agent, closing);
  return (first === 'closed' ? await attempt(url, delivery, policy, agent, closing) : first) === 'delivered';
}

function attempt(
  url: URL,
  delivery: Message,
  policy: SenderPolicy,
  agent: Agent,
  closing: AbortSignal,
): Promise<'delivered' | 'failed' | 'closed'> {
  return new Promise((resolve) => {
    const body = Buffer.from(delivery.body, 'utf8');
    const headers = { ...delivery.headers, 'content-length': body.length };
    const sent = request(url, { method: 'POST', agent, headers, signal: closing });
    const total = setTimeout(() => sent.destroy(new Error('timeout')), policy.timeoutMs);
    const settle = (outcome: 'delivered' | 'failed' | 'closed') => {
      clearTimeout(total);
      resolve(outcome);
    };
    sent.on('socket', (socket) => {
      if (!socket.connecting) return;
      const connect = setTimeout(() => sent.destroy(new Error('connect timeout')), policy.connectTimeoutMs);
      socket.once('connect', () => clearTimeout(connect));
      socket.once('close', () => clearTimeout(connect));
    });
    sent.on('error', (error: NodeJS.ErrnoException) =>
      settle(sent.reusedSocket && error.code === 'ECONNRESET' ? 'closed' : 'failed'),
    );
    sent.on('response', (response) => {
      const status = response.statusCode ?? 0;
      response.on('end', () => settle(status >= 200 && status < 300 ? 'delivered' : 'failed'));
      response.on('error', () => settle('failed'));
      response.resume();
    });
    sent.end(body);
  });
}
