import { DeleteMessageCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { afterEach, expect, test } from 'vitest';
import { type Account, MARKETPLACE, SELLER, startAccount } from './account.testing.ts';

const PATH = '/feeds/2021-06-30';
const TYPE = 'application/json; charset=UTF-8';

interface Feed {
  processingStatus: string;
  resultFeedDocumentId?: string;
}
interface Report {
  issues: { messageId: number; code: string }[];
  summary: Record<string, number>;
}

let account: Account;
afterEach(() => account.close());

const message = (messageId: number, sku: string, quantity: number, op = 'merge') => ({
  messageId,
  sku,
  operationType: 'PATCH',
  productType: 'PRODUCT',
  patches: [
    { op, path: '/attributes/fulfillment_availability', value: [{ fulfillment_channel_code: 'DEFAULT', quantity }] },
  ],
});
const documentOf = (messages: unknown[]) =>
  JSON.stringify({ header: { sellerId: SELLER, version: '2.0', issueLocale: 'en_US' }, messages });

async function upload(content: string, contentType = TYPE) {
  const made = await account.call<{ feedDocumentId: string; url: string }>('POST', `${PATH}/documents`, {
    contentType: TYPE,
  });
  expect(made.status).toBe(201);
  const put = await fetch(made.body.url, { method: 'PUT', headers: { 'content-type': contentType }, body: content });
  return { id: made.body.feedDocumentId, url: made.body.url, status: put.status };
}
const create = (inputFeedDocumentId: string, feedType = 'JSON_LISTINGS_FEED') =>
  account.call<{ feedId: string }>('POST', `${PATH}/feeds`, {
    feedType,
    marketplaceIds: [MARKETPLACE],
    inputFeedDocumentId,
  });
const submit = async (messages: unknown[]) => (await create((await upload(documentOf(messages))).id)).body.feedId;
const get = async (feed: string) => (await account.call<Feed>('GET', `${PATH}/feeds/${feed}`)).body;
async function report(feed: string): Promise<Report> {
  const { resultFeedDocumentId } = await get(feed);
  const { body } = await account.call<{ url: string }>('GET', `${PATH}/documents/${resultFeedDocumentId}`);
  return (await (await fetch(body.url)).json()) as Report;
}

test('a feed writes what it can; DONE is not success, the report tells which messages were refused', async () => {
  account = await startAccount();
  const bad = {
    ...message(3, 'PLATE', 1),
    patches: [{ op: 'merge', path: '/attributes/fulfillment_availability', value: [{ quantity: 1 }] }],
  };
  const partial = {
    messageId: 4,
    sku: 'MUG',
    operationType: 'PARTIAL_UPDATE',
    productType: 'PRODUCT',
    attributes: { fulfillment_availability: [{ fulfillment_channel_code: 'DEFAULT', quantity: 2 }] },
  };
  const feed = await submit([message(1, 'MUG', 7), message(2, 'NONE', 7), bad, partial]);
  expect((await get(feed)).processingStatus).toBe('DONE');
  expect(await account.shown('MUG')).toBe(2);
  expect(await account.shown('PLATE')).toBe(5);
  const { issues, summary } = await report(feed);
  expect(issues).toMatchObject([{ messageId: 3, code: 'BAD_REQUEST' }]);
  expect(summary).toEqual({ errors: 1, warnings: 0, messagesProcessed: 4, messagesAccepted: 3, messagesInvalid: 1 });
});

test('what is no feed document ends FATAL; another feed type too', async () => {
  account = await startAccount();
  const broken = await create((await upload('<xml/>')).id);
  expect(broken.status).toBe(202);
  expect((await get(broken.body.feedId)).processingStatus).toBe('FATAL');
  const doubled = await submit([message(1, 'MUG', 1), message(1, 'MUG', 2)]);
  expect((await get(doubled)).processingStatus).toBe('FATAL');
  const old = await create((await upload(documentOf([]))).id, 'POST_INVENTORY_AVAILABILITY_DATA');
  expect((await get(old.body.feedId)).processingStatus).toBe('FATAL');
  expect(await account.shown('MUG')).toBe(10);
});

test('an upload needs the declared content type and five minutes at most; an empty document makes no feed', async () => {
  account = await startAccount();
  const wrong = await upload(documentOf([]), 'text/plain');
  expect(wrong.status).toBe(403);
  expect((await create(wrong.id)).status).toBe(400);
  await account.advance(301_000);
  const late = await fetch(wrong.url, { method: 'PUT', headers: { 'content-type': TYPE }, body: '{}' });
  expect(late.status).toBe(403);
});

test('in the vendor profile feeds wait, run one after the other, and tell the queue when they end', async () => {
  account = await startAccount({ profile: 'vendor' });
  await account.subscribe('FEED_PROCESSING_FINISHED');
  const first = await submit([message(1, 'MUG', 7)]);
  const second = await submit([message(1, 'MUG', 6)]);
  expect((await get(first)).processingStatus).toBe('IN_QUEUE');
  await account.advance(60_500);
  expect((await get(first)).processingStatus).toBe('IN_PROGRESS');
  expect((await get(second)).processingStatus).toBe('IN_QUEUE');
  await account.advance(300_000);
  expect((await get(first)).processingStatus).toBe('DONE');
  expect((await get(second)).processingStatus).toBe('IN_PROGRESS');
  expect(await account.shown('MUG')).toBe(7);
  await account.advance(4_000);
  const { Messages = [] } = await account.sqs.send(
    new ReceiveMessageCommand({ QueueUrl: account.queueUrl, MaxNumberOfMessages: 10 }),
  );
  expect(Messages.map((one) => JSON.parse(one.Body ?? '') as unknown)).toMatchObject([
    {
      notificationType: 'FEED_PROCESSING_FINISHED',
      payload: { feedProcessingFinishedNotification: { feedId: first, processingStatus: 'DONE' } },
    },
  ]);
  await account.sqs.send(
    new DeleteMessageCommand({ QueueUrl: account.queueUrl, ReceiptHandle: Messages[0]?.ReceiptHandle }),
  );
  await account.advance(300_000);
  expect(await account.shown('MUG')).toBe(6);
});

test('a stuck feed holds up the next one, which can be cancelled from the queue', async () => {
  account = await startAccount();
  await account.control('POST', '/faults', { kind: 'feed_stuck', times: 1 });
  const stuck = await submit([message(1, 'MUG', 7)]);
  const behind = await submit([message(1, 'MUG', 6)]);
  await account.advance(40 * 3_600_000);
  account.forgetTokens();
  expect([(await get(stuck)).processingStatus, (await get(behind)).processingStatus]).toEqual([
    'IN_PROGRESS',
    'IN_QUEUE',
  ]);
  expect((await account.call('DELETE', `${PATH}/feeds/${behind}`)).status).toBe(200);
  expect((await account.call('DELETE', `${PATH}/feeds/${stuck}`)).status).toBe(400);
  expect((await get(behind)).processingStatus).toBe('CANCELLED');
  expect(await account.shown('MUG')).toBe(10);
});

test('a feed stuck for a while ends then', async () => {
  account = await startAccount();
  await account.control('POST', '/faults', { kind: 'feed_stuck', times: 1, ms: 600_000 });
  const feed = await submit([message(1, 'MUG', 7)]);
  expect((await get(feed)).processingStatus).toBe('IN_PROGRESS');
  await account.advance(600_000);
  expect((await get(feed)).processingStatus).toBe('DONE');
  expect(await account.shown('MUG')).toBe(7);
});

test('half_batch refuses every second message', async () => {
  account = await startAccount();
  await account.control('POST', '/faults', { kind: 'half_batch', times: 1 });
  const feed = await submit([message(1, 'MUG', 7), message(2, 'PLATE', 7)]);
  expect((await report(feed)).issues).toMatchObject([{ messageId: 2, code: 'BAD_REQUEST' }]);
  expect([await account.shown('MUG'), await account.shown('PLATE')]).toEqual([7, 5]);
});

test('feeds are listed by type and status, page by page', async () => {
  account = await startAccount();
  const ids = [];
  for (let n = 0; n < 3; n += 1) ids.push(await submit([message(1, 'MUG', n)]));
  type Listed = { feeds: { feedId: string }[]; nextToken?: string };
  const first = await account.call<Listed>('GET', `${PATH}/feeds?feedTypes=JSON_LISTINGS_FEED&pageSize=2`);
  expect(first.body.feeds.map((one) => one.feedId)).toEqual([ids[2], ids[1]]);
  const second = await account.call<Listed>('GET', `${PATH}/feeds?nextToken=${first.body.nextToken}`);
  expect(second.body.feeds.map((one) => one.feedId)).toEqual([ids[0]]);
  expect(second.body.nextToken).toBeUndefined();
  expect((await account.call('GET', `${PATH}/feeds?feedTypes=JSON_LISTINGS_FEED&nextToken=x`)).status).toBe(400);
  expect((await account.call('GET', `${PATH}/feeds`)).status).toBe(400);
});
