import { afterEach, describe, expect, test } from 'vitest';
import { tuned } from '../kit/tuning.ts';
import { type Asked, calling, fixtureText, openAmazon, type Told, vendorServer } from './amazon.testing.ts';
import { amazon } from './index.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function queueAt(answer: (asked: Asked, nth: number) => Told) {
  const server = await vendorServer(answer);
  const queueUrl = `${server.url}/111122223333/spapi-sim`;
  const { channel, close } = openAmazon(server.url, { queueUrl });
  open.push({ close }, server);
  if (channel.queue === undefined) throw new Error('no queue');
  return { server, queue: channel.queue, queueUrl };
}

const sqs = (body: unknown, status = 200): Told => ({
  status,
  body,
  headers: { 'content-type': 'application/x-amz-json-1.0' },
});
const message = (id: string, Body: string) => ({
  MessageId: id,
  ReceiptHandle: `handle-${id}`,
  MD5OfBody: 'not checked',
  Body,
});
const receive = { ...calling(), waitMs: 0, max: 10 };

describe('the Amazon queue', () => {
  test('one receive hands on each message with its bytes, and removes nothing by itself', async () => {
    const body = fixtureText('order-change-unshipped');
    const { server, queue, queueUrl } = await queueAt(() =>
      sqs({ Messages: [message('m1', body), message('m2', fixtureText('feed-finished'))] }),
    );
    const { messages } = await queue.receive({ ...receive, waitMs: 3500, max: 25 });
    expect(
      messages.map(({ topic, deliveryId, kind, externalId }) => ({ topic, deliveryId, kind, externalId })),
    ).toEqual([
      {
        topic: 'ORDER_CHANGE',
        deliveryId: '6f0c1f7e-0000-4000-8000-000000000001',
        kind: 'order',
        externalId: '902-1000000-0000001',
      },
      {
        topic: 'FEED_PROCESSING_FINISHED',
        deliveryId: '6f0c1f7e-0000-4000-8000-000000000005',
        kind: 'other',
        externalId: '6f0c1f7e-0000-4000-8000-000000000005',
      },
    ]);
    expect(Buffer.from(messages[0]?.rawBody ?? []).toString('utf8')).toBe(body);
    expect(server.asked).toHaveLength(1);
    expect(server.asked[0]).toMatchObject({ method: 'POST', path: '/' });
    expect(server.asked[0]?.headers['x-amz-target']).toBe('AmazonSQS.ReceiveMessage');
    expect(server.asked[0]?.headers.authorization).toContain('AWS4-HMAC-SHA256 Credential=SIMULATED/');
    expect(JSON.parse(server.asked[0]?.body ?? '')).toEqual({
      QueueUrl: queueUrl,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: 3,
    });
  });

  test('done removes exactly that message, also after the receiving call has ended', async () => {
    const { server, queue, queueUrl } = await queueAt((asked) =>
      asked.headers['x-amz-target'] === 'AmazonSQS.DeleteMessage'
        ? sqs({})
        : sqs({ Messages: [message('m1', fixtureText('quantity-change'))] }),
    );
    const ended = new AbortController();
    const { messages } = await queue.receive({ ...receive, signal: ended.signal });
    ended.abort();
    await messages[0]?.done();
    expect(server.asked[1]?.headers['x-amz-target']).toBe('AmazonSQS.DeleteMessage');
    expect(JSON.parse(server.asked[1]?.body ?? '')).toEqual({ QueueUrl: queueUrl, ReceiptHandle: 'handle-m1' });
  });

  test.each([
    ['cut off', '{"Messages":['],
    ['a list that is none', '{"Messages":{"then":1}}'],
  ])('an answer that is no answer is unreadable, not a crash: %s', async (_what, body) => {
    const { queue } = await queueAt(() => sqs(body));
    await expect(queue.receive(receive)).rejects.toMatchObject({ code: 'connector.unreadable' });
  });

  test('a message without a text, or named as nothing can be kept, is handed on as unreadable beside the good ones', async () => {
    const named = (AmazonOrderId: string) =>
      fixtureText('order-change-unshipped').replace('902-1000000-0000001', AmazonOrderId);
    const { queue } = await queueAt(() =>
      sqs({
        Messages: [
          { ...message('m1', ''), Body: 7 },
          null,
          {},
          message('m2', named('9'.repeat(501))),
          message('m3', named('9\\u0000')),
          message('m4', named('902-1')),
        ],
      }),
    );
    const { messages } = await queue.receive(receive);
    expect(messages.map(({ topic, kind, externalId }) => [topic, kind, externalId])).toEqual([
      ['unreadable', 'other', 'm1'],
      ['unreadable', 'other', 'unnamed'],
      ['unreadable', 'other', 'm2'],
      ['unreadable', 'other', 'm3'],
      ['ORDER_CHANGE', 'order', '902-1'],
    ]);
  });

  test('an empty queue is no messages', async () => {
    const { queue } = await queueAt(() => sqs({}));
    expect(await queue.receive(receive)).toEqual({ messages: [] });
  });

  test("another seller's message is neither handed on nor removed", async () => {
    const foreign = fixtureText('order-change-unshipped').replaceAll('A1SIMSELLER', 'A2OTHER');
    const { server, queue } = await queueAt(() =>
      sqs({ Messages: [message('m1', foreign), message('m2', fixtureText('quantity-change'))] }),
    );
    const { messages } = await queue.receive(receive);
    expect(messages.map((one) => one.externalId)).toEqual(['MUG-BLUE-11']);
    expect(server.asked).toHaveLength(1);
  });

  test('a message that cannot be read is handed on, so that it is kept and seen', async () => {
    const { queue } = await queueAt(() => sqs({ Messages: [message('m1', '<html>')] }));
    const { messages } = await queue.receive(receive);
    expect(messages).toMatchObject([{ topic: 'unreadable', deliveryId: 'm1', kind: 'other', externalId: 'm1' }]);
  });

  test("the queue's own refusal is about its settings, not about the seller's grant", async () => {
    const { server, queue } = await queueAt(() =>
      sqs({ __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: 'The specified queue does not exist.' }, 400),
    );
    await expect(queue.receive(receive)).rejects.toMatchObject({
      code: 'connector.rejected',
      details: { vendorCode: 'QueueDoesNotExist', status: 400 },
    });
    expect(server.asked).toHaveLength(1);
  });

  test('a queue that answers 503 is unavailable', async () => {
    const { queue } = await queueAt(() => sqs({}, 503));
    await expect(queue.receive(receive)).rejects.toMatchObject({ code: 'connector.unavailable' });
  });

  test('the wait ends with the signal', async () => {
    const { queue } = await queueAt(() => 'hang');
    const started = performance.now();
    await expect(
      queue.receive({ budget: 'read', signal: AbortSignal.timeout(150), waitMs: 20_000, max: 10 }),
    ).rejects.toMatchObject({
      code: 'connector.unavailable',
    });
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

test('a simulator that came back on another port is asked there', async () => {
  const server = await vendorServer(() => sqs({}));
  const { channel, close } = openAmazon(server.url, { queueUrl: 'http://127.0.0.1:9/111122223333/spapi-sim' });
  open.push({ close }, server);
  expect(await channel.queue?.receive(receive)).toEqual({ messages: [] });
  expect(JSON.parse(server.asked[0]?.body ?? '')).toMatchObject({ QueueUrl: `${server.url}/111122223333/spapi-sim` });
});

describe('when there is a queue', () => {
  const context = (settings: object, credentials: Record<string, string>, kind: 'live' | 'simulated') => ({
    connectionId: 'c1',
    kind,
    baseUrl: null,
    settings: { sellerId: 'S', region: 'eu', marketplaceIds: ['A1PA6795UKMFR9'], ...settings },
    credentials: { clientId: 'a', clientSecret: 'b', refreshToken: 'c', ...credentials },
    transport: { request: () => Promise.reject(new Error('not called')), report: () => undefined },
    clock: { now: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() },
    random: { next: () => 0 },
  });
  const address = { queueUrl: 'https://sqs.eu-west-1.amazonaws.com/111122223333/q' };
  const keys = { awsAccessKeyId: 'AKIA', awsSecretAccessKey: 'hush' };

  test('a live connection needs its own keys for it; without them it lives from sweeps', () => {
    expect(amazon.open(context(address, keys, 'live')).queue).toBeDefined();
    expect(amazon.open(context(address, {}, 'live')).queue).toBeUndefined();
    expect(amazon.open(context({}, keys, 'live')).queue).toBeUndefined();
    expect(amazon.open(context(address, {}, 'simulated')).queue).toBeDefined();
  });

  test('unusable settings and credentials are refused by name, never by value', () => {
    const broken = { ...context({ region: 'moon', marketplaceIds: [] }, {}, 'live') };
    expect(() => amazon.open(broken)).toThrowError(
      expect.objectContaining({
        code: 'connector.rejected',
        details: { what: 'settings', fields: ['region', 'marketplaceIds'] },
      }),
    );
    const keyless = { ...context({}, { clientSecret: '' }, 'live') };
    expect(() => amazon.open(keyless)).toThrowError(
      expect.objectContaining({ details: { what: 'credentials', fields: ['clientSecret'] } }),
    );
  });

  test('the settings of one connection correct the two times that are guesses', () => {
    const base = { sellerId: 'S', region: 'eu', marketplaceIds: ['A1PA6795UKMFR9'] };
    const quick = tuned(amazon.manifest, { ...base, settleMs: 3000, orderLagMs: 2000 });
    expect([quick.stock.settleMs, quick.orders.lagMs]).toEqual([3000, 2000]);
    const usual = tuned(amazon.manifest, base);
    expect([usual.stock.settleMs, usual.orders.lagMs]).toEqual([300_000, 120_000]);
    expect(usual).toEqual(amazon.manifest);
  });
});
