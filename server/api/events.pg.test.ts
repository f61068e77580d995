/** The live feed over HTTP: in order, resumable, without gap or double. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

interface Event {
  id: string;
  event: string;
  data: { type: string; sku?: string; id?: string; version: number; at: string };
}
interface Stream {
  status: number;
  type: string | null;
  events: Event[];
  comments: string[];
  text(): string;
  close(): Promise<void>;
}

async function listen(options: { from?: string; key?: string } = {}): Promise<Stream> {
  const leaving = new AbortController();
  const response = await fetch(`${demo.url}/api/events`, {
    headers: {
      authorization: `Bearer ${options.key ?? demo.demo.apiKey}`,
      ...(options.from === undefined ? {} : { 'last-event-id': options.from }),
    },
    signal: leaving.signal,
  });
  const stream: Stream = {
    status: response.status,
    type: response.headers.get('content-type'),
    events: [],
    comments: [],
    text: () => all,
    close,
  };
  let all = '';
  let rest = '';
  const reading = (async () => {
    for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      all += part;
      const frames = `${rest}${part}`.split('\n\n');
      rest = frames.pop() ?? '';
      for (const frame of frames) {
        if (frame.startsWith(':')) stream.comments.push(frame);
        else {
          const field = (name: string) =>
            frame
              .split('\n')
              .find((line) => line.startsWith(`${name}: `))
              ?.slice(name.length + 2) ?? '';
          stream.events.push({
            id: field('id'),
            event: field('event'),
            data: JSON.parse(field('data')) as Event['data'],
          });
        }
      }
    }
  })().catch(() => undefined);
  async function close() {
    leaving.abort();
    await reading;
  }
  return stream;
}
const live = async (options?: Parameters<typeof listen>[0]) => {
  const stream = await listen(options);
  await demo.until(() => stream.comments.includes(': live'));
  return stream;
};
const receive = (sku: string) => demo.ok('/api/receipts', { body: { sku, quantity: 1 } });
const stockOf = (stream: Stream, sku: string) => stream.events.filter(({ data }) => data.sku === sku).length;

let idle: Stream;
let idleSince = 0;

test('changes come live, with type, SKU or id, version and time; ids rise; nothing of other organizations', async () => {
  const { key } = await demo.stranger();
  const other = await live({ key });
  idle = await live({ key });
  idleSince = performance.now();
  const stream = await live();
  expect([stream.status, stream.type]).toEqual([200, 'text/event-stream; charset=utf-8']);
  await receive('DEMO-001');
  await demo.sim('shopA', '/orders', { lines: [{ sku: 'DEMO-002', quantity: 1 }] });
  await demo.until(
    () =>
      stockOf(stream, 'DEMO-001') > 0 &&
      stockOf(stream, 'DEMO-002') > 0 &&
      ['order', 'listing'].every((type) => stream.events.some(({ event }) => event === type)),
  );
  for (const { event, data } of stream.events) {
    expect(Object.keys(data)).toEqual(
      event === 'stock' ? ['type', 'sku', 'version', 'at'] : ['type', 'id', 'version', 'at'],
    );
    expect(data.type).toBe(event);
    expect(data.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
  const ids = stream.events.map(({ id }) => id.split('-').map(Number) as [number, number]);
  expect(ids).toEqual([...ids].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
  expect(new Set(stream.events.map(({ id }) => id)).size).toBe(stream.events.length);
  expect(other.events).toEqual([]);
  await Promise.all([stream.close(), other.close()]);
});

test('a reader that comes and goes while much changes misses nothing and sees nothing twice', async () => {
  const witness = await live();
  const seen: string[] = [];
  let stopped = false;
  const writer = (async () => {
    let count = 0;
    for (; !stopped; count += 3) await Promise.all(['DEMO-003', 'DEMO-004', 'DEMO-005'].map(receive));
    return count;
  })();
  await demo.until(() => witness.events.length > 0);
  let from = witness.events[0]?.id ?? '';
  const start = from;
  for (let visit = 0; visit < 12; visit += 1) {
    const reader = await listen({ from });
    const enough = seen.length + 3 + visit * 2;
    await demo.until(() => reader.events.length >= Math.min(5, enough));
    await reader.close();
    seen.push(...reader.events.map(({ id }) => id));
    from = reader.events.at(-1)?.id ?? from;
  }
  stopped = true;
  const written = await writer;
  await demo.quiet();
  const rest = await live({ from });
  await demo.until(
    () => stockOf(witness, 'DEMO-003') > 0 && witness.events.filter(({ event }) => event === 'stock').length >= written,
  );
  await new Promise((resolve) => setTimeout(resolve, 700));
  seen.push(...rest.events.map(({ id }) => id));
  const expected = witness.events.map(({ id }) => id).slice(witness.events.findIndex(({ id }) => id === start) + 1);
  expect(seen).toEqual(expected);
  await Promise.all([witness.close(), rest.close()]);
});

test('many readers that join at the same moment as a change all see it, resumed or not', async () => {
  const before = await live();
  await receive('DEMO-006');
  await demo.until(() => stockOf(before, 'DEMO-006') === 1);
  const from = before.events.at(-1)?.id ?? '';
  const joining = Array.from({ length: 8 }, () => live({ from }));
  const change = receive('DEMO-007');
  const readers = await Promise.all(joining);
  await change;
  await demo.until(() => readers.every((reader) => stockOf(reader, 'DEMO-007') === 1));
  for (const reader of readers) expect(stockOf(reader, 'DEMO-006')).toBe(0);
  const later = await live();
  expect([stockOf(later, 'DEMO-006'), stockOf(later, 'DEMO-007')]).toEqual([0, 0]);
  await Promise.all([...readers, before, later].map((reader) => reader.close()));
});

test.each(['x', '1', '-', '1-', '1-2-3', '99999999999999999999999-1', '1.5-2', '-1-1', "1-1' or 1=1"])(
  'a garbled Last-Event-ID %j is 400',
  async (from) => {
    const answer = await demo.api('/api/events', { headers: { 'last-event-id': from } });
    expect([answer.status, answer.body.code]).toEqual([400, 'api.invalid']);
  },
);

test('an idle stream hears a heartbeat within 15 s and stays open', async () => {
  await demo.until(() => idle.comments.includes(': heartbeat'), 20_000);
  expect(performance.now() - idleSince).toBeLessThan(17_500);
  expect(idle.events).toEqual([]);
  await idle.close();
});
