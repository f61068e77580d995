/**
 * The simulator host: one HTTP server on loopback for any number of simulated vendors, each below its own base path
 * (`http://127.0.0.1:PORT/<name>`), its control routes below `/<name>/_sim`.
 *
 * Control answers only callers that name a loopback host, so that a page in a browser cannot reach it by a DNS trick.
 * Used by the demo organization, tests and benches; nothing live ever talks to it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '#core/effects.ts';
import type { VendorCall } from './model.ts';
import type { Outcome, Simulator } from './simulator.ts';

const LARGEST_BODY_BYTES = 32 * 1024 * 1024;

export interface SimulatorHost {
  /** e.g. "http://127.0.0.1:40123" */
  readonly origin: string;
  readonly port: number;
  /** Makes the simulator reachable and lets it begin to send. The host closes it. */
  mount(simulator: Simulator): void;
  /** The base URL of a mounted simulator: what a connection stores as its `simulatorUrl`. */
  url(name: string): string;
  close(): Promise<void>;
}

/** @param options.port 0 or missing = a free one */
export async function createSimulatorHost(options: { clock: Clock; port?: number }): Promise<SimulatorHost> {
  const simulators = new Map<string, Simulator>();
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  let origin = '';

  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (request, response) => {
    serve(request, response).catch((error: unknown) => {
      if (!response.headersSent)
        sendJson(response, 500, { error: String(error instanceof Error ? error.stack : error) });
      else response.destroy();
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => sockets.delete(socket));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.url ?? '/';
    const [, name = '', rest = ''] = /^\/([^/?]*)(.*)$/s.exec(target) ?? [];
    const simulator = simulators.get(name);
    if (simulator === undefined) return sendJson(response, 404, { error: `No simulator "${name}" here` });
    const body = await readBody(request);
    if (body === null) return sendJson(response, 413, { error: 'The body is too large' });
    const cut = rest.indexOf('?');
    const path = cut < 0 ? rest : rest.slice(0, cut);
    const query = new URLSearchParams(cut < 0 ? '' : rest.slice(cut + 1));
    if (path === '/_sim' || path.startsWith('/_sim/')) {
      if (!isLoopbackHost(request.headers.host)) return sendJson(response, 403, { error: 'Control is for loopback' });
      const method = request.method ?? 'GET';
      const reply = await simulator.handleControl({ method, path: path.slice(5), query, text: body.toString('utf8') });
      return sendJson(response, reply.status, reply.body);
    }
    const call = vendorCall(request, response, { path, query, body, baseUrl: `${origin}/${name}` });
    await finish(response, await simulator.handle(call), simulator.core.clock.now());
  }

  function vendorCall(
    request: IncomingMessage,
    response: ServerResponse,
    parts: Pick<VendorCall, 'path' | 'query' | 'body' | 'baseUrl'>,
  ): VendorCall {
    let gone: AbortSignal | null = null;
    return {
      method: request.method ?? 'GET',
      headers: request.headers,
      ...parts,
      gone() {
        if (gone !== null) return gone;
        const left = new AbortController();
        response.on('close', () => left.abort());
        gone = AbortSignal.any([left.signal, closing.signal]);
        return gone;
      },
    };
  }

  /** The Date header is the simulator's time: clients take it for the vendor's clock. */
  async function finish(response: ServerResponse, outcome: Outcome, now: number): Promise<void> {
    if (outcome.kind === 'hang') {
      await options.clock.sleep(outcome.holdMs, closing.signal);
      response.destroy();
      return;
    }
    response.writeHead(outcome.status, {
      date: new Date(now).toUTCString(),
      ...outcome.headers,
      'content-length': Buffer.byteLength(outcome.body),
    });
    response.end(outcome.body);
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const port = (server.address() as AddressInfo).port;
  origin = `http://127.0.0.1:${port}`;

  return {
    origin,
    port,
    mount(simulator) {
      if (simulators.has(simulator.name)) throw new Error(`A simulator named ${simulator.name} is already mounted`);
      simulators.set(simulator.name, simulator);
      simulator.start();
    },
    url(name) {
      if (!simulators.has(name)) throw new Error(`No simulator named ${name} is mounted`);
      return `${origin}/${name}`;
    },
    async close() {
      closing.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      for (const simulator of simulators.values()) await simulator.close();
    },
  };
}

function readBody(request: IncomingMessage): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    request.on('data', (part: Buffer) => {
      size += part.length;
      if (size <= LARGEST_BODY_BYTES) parts.push(part);
    });
    request.on('end', () => resolve(size > LARGEST_BODY_BYTES ? null : Buffer.concat(parts)));
    request.on('error', reject);
  });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

export function isLoopbackHost(host: string | undefined): boolean {
  const name = (host ?? '').replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(name);
}
