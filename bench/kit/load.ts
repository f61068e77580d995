/**
 * Load generator, a process of its own: posts prepared requests over `connections` kept-alive sockets, each sending its next
 * request when the last was answered (closed loop), or at `perSecond` in all (open loop: latency counts from the time a
 * request was due). Requests are whole byte strings made beforehand, so that it costs little beside what it measures.
 */
import { connect, type Socket } from 'node:net';
import { answerQuestions } from './child.ts';
import { quantiles, round } from './figures.ts';

export interface Post {
  path: string;
  headers: Record<string, string>;
  body: string;
}

export type LoadQuestion =
  | { do: 'prepare'; url: string; posts: Post[] }
  /** Takes `count` of the prepared requests that were not sent yet. */
  | { do: 'run'; connections: number; count: number; perSecond?: number };

export interface LoadAnswer {
  requests: number;
  seconds: number;
  perSecond: number;
  /** Processor seconds the generator itself took. */
  cpuSeconds: number;
  /** ms */
  latency: ReturnType<typeof quantiles>;
  /** How often each status was answered. */
  statuses: Record<string, number>;
}

let target = new URL('http://127.0.0.1');
let requests: Buffer[] = [];
let next = 0;

function bytesOf({ path, headers, body }: Post): Buffer {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: ${target.host}\r\n${head.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** One socket; `send` resolves with the status once the whole answer is here. */
async function openLine(): Promise<{ send(request: Buffer): Promise<string>; close(): void }> {
  const socket: Socket = connect(Number(target.port), target.hostname);
  socket.setNoDelay(true);
  let answered: ((status: string) => void) | null = null;
  let text = '';
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const settle = (status: string) => {
    text = '';
    const done = answered;
    answered = null;
    done?.(status);
  };
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (text.length >= end + 4 + length) settle(text.slice(9, 12));
  });
  socket.on('close', () => settle('closed'));
  socket.on('error', () => settle('error'));
  return {
    send: (request) =>
      new Promise((resolve) => {
        answered = resolve;
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

async function run({ connections, count, perSecond }: Extract<LoadQuestion, { do: 'run' }>): Promise<LoadAnswer> {
  const mine = requests.slice(next, next + count);
  next += mine.length;
  const lines = await Promise.all(Array.from({ length: connections }, openLine));
  const latencies: number[] = [];
  const statuses: Record<string, number> = {};
  let at = 0;
  const from = performance.now();
  const before = process.cpuUsage();
  await Promise.all(
    lines.map(async (line) => {
      while (at < mine.length) {
        const due = perSecond === undefined ? performance.now() : from + (at / perSecond) * 1_000;
        const request = mine[at] as Buffer;
        at += 1;
        const early = due - performance.now();
        if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
        const status = await line.send(request);
        latencies.push(performance.now() - due);
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
      line.close();
    }),
  );
  const seconds = (performance.now() - from) / 1_000;
  const { user, system } = process.cpuUsage(before);
  return {
    requests: mine.length,
    cpuSeconds: round((user + system) / 1e6),
    seconds: round(seconds),
    perSecond: Math.round(mine.length / seconds),
    latency: quantiles(latencies),
    statuses,
  };
}

answerQuestions<LoadQuestion>(async (question) => {
  if (question.do === 'run') return run(question);
  target = new URL(question.url);
  requests = question.posts.map(bytesOf);
  next = 0;
  return requests.length;
});
