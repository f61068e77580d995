import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededIds, seededRandom } from './chance.ts';
import { realClock } from './clock.ts';
import { openSimCore, type SimCore } from './core.ts';
import { createSender, type Delivery, moveOrigin, type PostMessage, type Sender } from './sender.ts';

describe('the sender', () => {
  const received: string[] = [];
  const givenUp: Delivery[] = [];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let core: SimCore;
  let sender: Sender;
  let uri: string;
  let close: () => Promise<void>;

  let timeoutMs = 5_000;
  const open = async (retryDelaysMs: number[], post?: PostMessage) => {
    const clock = realClock();
    const random = seededRandom(3);
    core = await openSimCore({
      name: 's',
      dir: null,
      clock,
      random,
      ids: seededIds(clock, random),
      profile: 'open',
      ...(post === undefined ? {} : { post }),
    });
    sender = createSender(core, {
      policy: () => ({ connectTimeoutMs: 200, timeoutMs, retryDelaysMs }),
      onGivenUp: (delivery) => givenUp.push(delivery),
    });
  };
  const send = (body: string, to = uri) =>
    sender.enqueue({ topic: 't', subscription: 's', uri: to, headers: {}, body });
  const until = async (done: () => boolean) => {
    for (let n = 0; n < 400 && !done(); n += 1) await wait(5);
  };

  beforeEach(async () => {
    received.length = 0;
    givenUp.length = 0;
    timeoutMs = 5_000;
    answer = (_request, response) => response.writeHead(200).end();
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => {
        body += part.toString();
      });
      request.on('end', () => {
        received.push(body);
        answer(request, response);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    close = () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
  });
  afterEach(async () => {
    await sender.close();
    await core.close();
    await close();
  });

  it('has at least 16 deliveries to one receiver in flight, and none waits for a slow one', async () => {
    await open([]);
    const held: ServerResponse[] = [];
    answer = (_request, response) => held.push(response);
    for (let n = 0; n < 40; n += 1) send(String(n));
    sender.start();
    await until(() => held.length >= 16);
    expect(held.length).toBeGreaterThanOrEqual(16);
    answer = (_request, response) => response.writeHead(204).end();
    for (const response of held) response.writeHead(200).end();
    await until(() => sender.pending() === 0);
    expect(new Set(received).size).toBe(40);
    expect(received).toHaveLength(40);
  });

  it('a slow receiver counts as failed; used-up retries give the delivery up', async () => {
    timeoutMs = 60;
    await open([10, 10]);
    answer = () => {};
    send('slow');
    sender.start();
    await until(() => givenUp.length > 0);
    expect(received).toEqual(['slow', 'slow', 'slow']);
    expect(givenUp.map((delivery) => delivery.body)).toEqual(['slow']);
    expect(sender.pending()).toBe(0);
  });

  it('a connection that closes under a reused request is tried again at once, not counted as a failure', async () => {
    await open([]);
    const used = new WeakSet<object>();
    answer = (request, response) => {
      if (used.has(request.socket)) request.socket.destroy();
      else response.writeHead(200).end();
      used.add(request.socket);
    };
    sender.start();
    send('one');
    await until(() => sender.pending() === 0);
    send('two');
    await until(() => sender.pending() === 0);
    expect(received).toEqual(['one', 'two', 'two']);
    expect(givenUp).toEqual([]);
  });

  it('never calls an address that is not on loopback', async () => {
    await open([]);
    sender.start();
    send('out', 'http://192.0.2.1/hook');
    send('tls', 'https://127.0.0.1/hook');
    await until(() => givenUp.length === 2);
    expect(givenUp.map((delivery) => delivery.body)).toEqual(['out', 'tls']);
    expect(received).toEqual([]);
  });

  it('what a rolled back transaction queued is never sent', async () => {
    await open([]);
    sender.start();
    expect(() =>
      core.tables.transact(() => {
        send('never');
        throw new Error('no');
      }),
    ).toThrow('no');
    send('sent');
    await until(() => received.length > 0);
    await wait(20);
    expect(received).toEqual(['sent']);
  });

  it('nothing is sent before the disk has the change it tells of', async () => {
    await open([]);
    const disk = Promise.withResolvers<void>();
    core.tables.durable = () => disk.promise;
    sender.start();
    send('news');
    await wait(40);
    expect(received).toEqual([]);
    disk.resolve();
    await until(() => received.length > 0);
    expect(received).toEqual(['news']);
  });

  it('a given way of delivery replaces HTTP', async () => {
    const posted: string[] = [];
    await open([], (message) => {
      posted.push(message.body);
      return Promise.resolve(true);
    });
    sender.start();
    send('inside', 'world:anywhere');
    await until(() => posted.length > 0);
    expect([posted, received]).toEqual([['inside'], []]);
  });

  it('moves addresses by origin, keeping path and query', async () => {
    await open([]);
    expect(moveOrigin('http://127.0.0.1:1/a?b=c', 'http://127.0.0.1:1', 'http://127.0.0.1:2')).toBe(
      'http://127.0.0.1:2/a?b=c',
    );
    expect(moveOrigin('http://127.0.0.1:3/a', 'http://127.0.0.1:1', 'http://127.0.0.1:2')).toBeNull();
    expect(moveOrigin('http://localhost:3/a', null, 'http://127.0.0.1:2')).toBe('http://127.0.0.1:2/a');
    expect(moveOrigin('https://example.com/a', null, 'http://127.0.0.1:2')).toBeNull();
  });
});
