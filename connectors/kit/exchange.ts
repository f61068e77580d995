/**
 * Exchange: one HTTP request and its answer, with the one fact the rest depends on: could the vendor have seen it?
 *
 * node:http rather than the global fetch, because only its sockets tell whether a connection was ever made (nothing was
 * sent → safe to repeat), and only its agent takes a name look-up that refuses private addresses. Keep-alive, no Nagle.
 * Redirects are not followed: a 3xx is an answer like any other. Used by the transport only.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction, Socket } from 'node:net';
import { createGunzip } from 'node:zlib';
import type { Clock } from '#core/effects.ts';

/** Idle connections are closed before common servers (5 s and more) close them under a request. */
const IDLE_MS = 4_000;
const MAX_SOCKETS = 32;

export interface ExchangeRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  body: string | Uint8Array | undefined;
  timeoutMs: number;
  maxBytes: number;
  signal: AbortSignal;
  /** The answer stays bytes. */
  binary?: boolean | undefined;
}

export interface ExchangeAnswer {
  status: number;
  headers: Record<string, string>;
  /** Empty when bytes were asked for. */
  body: string;
  bytes?: Uint8Array;
}

/** `sent`: bytes may have reached the vendor. `why` is a short word for logs: a system code, "timeout", "abandoned", "too_large". */
export class ExchangeFault extends Error {
  readonly why: string;
  readonly sent: boolean;

  constructor(why: string, sent: boolean, cause?: unknown) {
    super(`${why}${sent ? ' after sending' : ', nothing sent'}`, cause === undefined ? undefined : { cause });
    this.why = why;
    this.sent = sent;
  }
}

export interface Exchanger {
  exchange(request: ExchangeRequest): Promise<ExchangeAnswer>;
  close(): void;
}

export function createExchanger(clock: Clock, lookup: LookupFunction | undefined): Exchanger {
  const options = {
    keepAlive: true,
    maxSockets: MAX_SOCKETS,
    scheduling: 'lifo' as const,
    timeout: IDLE_MS,
    noDelay: true,
    ...(lookup ? { lookup } : {}),
  };
  const plain = new HttpAgent(options);
  const secure = new HttpsAgent(options);
  return {
    exchange: (request) => exchange(clock, request, request.url.protocol === 'https:' ? secure : plain),
    close() {
      plain.destroy();
      secure.destroy();
    },
  };
}

function exchange(clock: Clock, request: ExchangeRequest, agent: HttpAgent | HttpsAgent): Promise<ExchangeAnswer> {
  return new Promise((resolve, reject) => {
    if (request.signal.aborted) return reject(new ExchangeFault('abandoned', false));
    const secure = request.url.protocol === 'https:';
    const headers = {
      'accept-encoding': 'gzip',
      ...request.headers,
      'content-length': String(request.body === undefined ? 0 : Buffer.byteLength(request.body)),
    };
    const outgoing = (secure ? httpsRequest : httpRequest)(request.url, { method: request.method, headers, agent });
    const sent = watchSending(outgoing, secure);

    let over = false;
    const finish = (settle: () => void) => {
      if (over) return;
      over = true;
      timer.abort();
      request.signal.removeEventListener('abort', abandon);
      settle();
    };
    const fail = (why: string, cause?: unknown) => {
      if (over) return;
      finish(() => reject(new ExchangeFault(why, sent(), cause)));
      outgoing.destroy();
    };
    const abandon = () => fail('abandoned');
    const timer = new AbortController();
    void clock.sleep(request.timeoutMs, timer.signal).then(() => fail('timeout'));
    request.signal.addEventListener('abort', abandon, { once: true });
    outgoing.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message, error));
    outgoing.on('response', (incoming) => {
      readBody(incoming, request.maxBytes).then(
        (bytes) =>
          finish(() =>
            resolve({
              status: incoming.statusCode ?? 0,
              headers: flatten(incoming),
              ...(request.binary === true ? { body: '', bytes } : { body: bytes.toString('utf8') }),
            }),
          ),
        (error: NodeJS.ErrnoException) => fail(error.code ?? error.message, error),
      );
    });
    outgoing.end(request.body);
  });
}

/** Answers whether bytes may have left: a connection (with TLS: a finished handshake) stands. Before that they wait in our own memory. */
function watchSending(outgoing: ClientRequest, secure: boolean): () => boolean {
  let open = false;
  outgoing.on('socket', (socket: Socket) => {
    if (outgoing.reusedSocket || !(socket.connecting || secure)) {
      open = true;
      return;
    }
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      open = true;
    });
  });
  return () => open;
}

async function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const source = incoming.headers['content-encoding'] === 'gzip' ? incoming.pipe(createGunzip()) : incoming;
  if (source !== incoming) incoming.on('error', (error) => source.destroy(error));
  for await (const chunk of source as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw Object.assign(new Error(`answer above ${maxBytes} bytes`), { code: 'too_large' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function flatten(incoming: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers))
    headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '');
  return headers;
}
