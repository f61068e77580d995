import {
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
} from '@aws-sdk/client-sqs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Account, SELLER, startAccount } from './account.testing.ts';

interface Notification {
  NotificationType: string;
  Payload: {
    OrderChangeNotification: {
      SellerId: string;
      AmazonOrderId: string;
      OrderChangeType: string;
      Summary: {
        OrderStatus: string;
        NumberOfItemsUnshipped: number;
        OrderItems: { SellerSKU: string; Quantity: number; QuantityShipped: number }[];
      };
    };
  };
  NotificationMetadata: { NotificationId: string };
}

let account: Account;
beforeEach(async () => {
  account = await startAccount();
});
afterEach(() => account.close());

const receive = async (more: Record<string, number> = {}): Promise<Message[]> => {
  const input = { QueueUrl: account.queueUrl, MaxNumberOfMessages: 10, ...more };
  return (
    (await account.sqs.send(new ReceiveMessageCommand({ ...input, MessageSystemAttributeNames: ['All'] }))).Messages ??
    []
  );
};
const remove = (message: Message | undefined) =>
  account.sqs.send(new DeleteMessageCommand({ QueueUrl: account.queueUrl, ReceiptHandle: message?.ReceiptHandle }));
const read = (message: Message | undefined) => JSON.parse(message?.Body ?? 'null') as Notification;
const place = async (more: Record<string, unknown> = {}) =>
  (await account.control<{ id: string }>('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 1 }], ...more })).body.id;
const orderOf = (message: Message | undefined) => read(message).Payload.OrderChangeNotification.AmazonOrderId;
const plant = (kind: string, more: Record<string, unknown> = {}) =>
  account.control('POST', '/faults', { kind, match: { topic: 'ORDER_CHANGE' }, times: 1, ...more });

describe('ORDER_CHANGE messages', () => {
  test('nothing is sent before someone subscribes', async () => {
    await place();
    expect(await receive()).toEqual([]);
  });

  test('new and changed orders are told with their lines, in the words of Orders v0', async () => {
    await account.subscribe('ORDER_CHANGE');
    const order = await place({ status: 'pending' });
    await account.control('POST', '/payments', { order });
    await account.control('POST', '/fulfillments', { order });
    const messages = await receive();
    expect(messages.map((one) => read(one).Payload.OrderChangeNotification)).toMatchObject([
      {
        AmazonOrderId: order,
        SellerId: SELLER,
        Summary: { OrderStatus: 'Pending', NumberOfItemsUnshipped: 0, OrderItems: [{ SellerSKU: 'MUG', Quantity: 1 }] },
      },
      { OrderChangeType: 'OrderStatusChange', Summary: { OrderStatus: 'Unshipped', NumberOfItemsUnshipped: 1 } },
      { Summary: { OrderStatus: 'Shipped', OrderItems: [{ QuantityShipped: 1 }] } },
    ]);
    const cancelled = await place();
    await account.control('POST', '/cancellations', { order: cancelled, restock: true });
    expect((await receive()).map((one) => read(one).Payload.OrderChangeNotification.Summary.OrderStatus)).toEqual([
      'Unshipped',
      'Canceled',
    ]);
  });

  test('a filter of the subscription lets only its kinds of change through', async () => {
    await account.subscribe('ORDER_CHANGE', {
      eventFilter: { eventFilterType: 'ORDER_CHANGE', orderChangeTypes: ['OrderStatusChange'] },
    });
    const order = (await account.control<{ id: string }>('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 3 }] }))
      .body.id;
    await account.control('POST', '/edits', { order, lines: [{ sku: 'MUG', quantity: 1 }] });
    expect(await receive()).toHaveLength(1);
  });

  test('in the vendor profile a message comes three seconds after the change', async () => {
    await account.subscribe('ORDER_CHANGE');
    await account.control('POST', '/profile', { profile: 'vendor' });
    await place();
    expect(await receive()).toEqual([]);
    await account.advance(3_000);
    expect(await receive()).toHaveLength(1);
  });
});

describe('the queue', () => {
  beforeEach(() => account.subscribe('ORDER_CHANGE'));

  test('its URL and attributes can be asked for; an unknown queue does not exist', async () => {
    const named = await account.sqs.send(new GetQueueUrlCommand({ QueueName: 'spapi-amazon-a' }));
    expect(named.QueueUrl).toBe(account.queueUrl);
    await place();
    await place();
    await receive({ MaxNumberOfMessages: 1 });
    const { Attributes } = await account.sqs.send(
      new GetQueueAttributesCommand({ QueueUrl: account.queueUrl, AttributeNames: ['All'] }),
    );
    expect(Attributes).toMatchObject({
      QueueArn: account.queueArn,
      ApproximateNumberOfMessages: '1',
      ApproximateNumberOfMessagesNotVisible: '1',
    });
    await expect(account.sqs.send(new GetQueueUrlCommand({ QueueName: 'none' }))).rejects.toMatchObject({
      name: 'QueueDoesNotExist',
    });
  });

  test('a received message is invisible for its timeout, then comes again, until it is deleted', async () => {
    await place();
    const [first] = await receive({ VisibilityTimeout: 60 });
    expect(first?.Attributes?.ApproximateReceiveCount).toBe('1');
    expect(await receive()).toEqual([]);
    await account.advance(59_000);
    expect(await receive()).toEqual([]);
    await account.advance(1_500);
    const [again] = await receive();
    expect(again?.MessageId).toBe(first?.MessageId);
    expect(again?.Attributes?.ApproximateReceiveCount).toBe('2');
    await remove(again);
    await account.advance(60_000);
    expect(await receive()).toEqual([]);
  });

  test('a handle from an earlier receive deletes nothing', async () => {
    await place();
    const [first] = await receive({ VisibilityTimeout: 0 });
    const [second] = await receive({ VisibilityTimeout: 30 });
    await remove(first);
    await account.advance(31_000);
    const [third] = await receive();
    expect(third?.MessageId).toBe(second?.MessageId);
  });

  test('visibility can be prolonged and given up', async () => {
    await place();
    const change = (message: Message | undefined, VisibilityTimeout: number) =>
      account.sqs.send(
        new ChangeMessageVisibilityCommand({
          QueueUrl: account.queueUrl,
          ReceiptHandle: message?.ReceiptHandle,
          VisibilityTimeout,
        }),
      );
    const [message] = await receive({ VisibilityTimeout: 10 });
    await change(message, 100);
    await account.advance(50_000);
    expect(await receive()).toEqual([]);
    await change(message, 0);
    const [again] = await receive();
    expect(again?.MessageId).toBe(message?.MessageId);
    await remove(again);
    await expect(change(again, 10)).rejects.toMatchObject({ name: 'ReceiptHandleIsInvalid' });
  });

  test('a batch deletes what it can and names what it cannot', async () => {
    await place();
    await place();
    const [one, two] = await receive();
    const { Successful, Failed } = await account.sqs.send(
      new DeleteMessageBatchCommand({
        QueueUrl: account.queueUrl,
        Entries: [
          { Id: 'a', ReceiptHandle: one?.ReceiptHandle },
          { Id: 'b', ReceiptHandle: 'nonsense' },
          { Id: 'c', ReceiptHandle: two?.ReceiptHandle },
        ],
      }),
    );
    expect(Successful?.map((entry) => entry.Id)).toEqual(['a', 'c']);
    expect(Failed?.map((entry) => [entry.Id, entry.Code])).toEqual([['b', 'ReceiptHandleIsInvalid']]);
    await account.advance(60_000);
    expect(await receive()).toEqual([]);
  });

  test('a long poll ends when a message arrives, and a short one at once', async () => {
    const waiting = receive({ WaitTimeSeconds: 20 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const order = await place();
    expect((await waiting).map(orderOf)).toEqual([order]);
    expect(await receive({ WaitTimeSeconds: 0 })).toEqual([]);
  });

  test('a long poll is ended and woken by the clock', async () => {
    await place();
    await receive({ VisibilityTimeout: 30 });
    const ended = receive({ WaitTimeSeconds: 20 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await account.advance(20_000);
    expect(await ended).toEqual([]);
    const woken = receive({ WaitTimeSeconds: 20 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await account.advance(10_000);
    expect(await woken).toHaveLength(1);
  });

  test('a caller that hangs up takes no message with it', async () => {
    const gone = new AbortController();
    const waiting = account.sqs
      .send(new ReceiveMessageCommand({ QueueUrl: account.queueUrl, WaitTimeSeconds: 20 }), {
        abortSignal: gone.signal,
      })
      .catch((error: Error) => error.name);
    await new Promise((resolve) => setTimeout(resolve, 100));
    gone.abort();
    expect(await waiting).toBe('AbortError');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await place();
    expect(await receive()).toHaveLength(1);
  });

  test('requests without signature are refused', async () => {
    const reply = await fetch(`${account.base}/sqs`, {
      method: 'POST',
      headers: { 'x-amz-target': 'AmazonSQS.ReceiveMessage' },
      body: '{}',
    });
    expect(reply.status).toBe(400);
    expect(await reply.json()).toMatchObject({ __type: expect.stringContaining('MissingAuthenticationToken') });
  });
});

describe('faults on messages', () => {
  beforeEach(() => account.subscribe('ORDER_CHANGE'));

  test('drop loses one message, and only the message', async () => {
    await plant('drop');
    await place();
    const kept = await place();
    expect((await receive()).map(orderOf)).toEqual([kept]);
    expect(await account.item('MUG')).toEqual({ quantity: 8, committed: 2 });
  });

  test('duplicate sends one notification twice', async () => {
    await plant('duplicate');
    await place();
    const messages = await receive();
    expect(messages).toHaveLength(2);
    expect(new Set(messages.map((one) => one.MessageId)).size).toBe(2);
    expect(new Set(messages.map((one) => read(one).NotificationMetadata.NotificationId)).size).toBe(1);
  });

  test('delay holds a message back', async () => {
    await plant('delay', { ms: 60_000 });
    await place();
    expect(await receive()).toEqual([]);
    await account.advance(60_000);
    expect(await receive()).toHaveLength(1);
  });

  test('reorder lets the next message overtake', async () => {
    await plant('reorder', { ms: 60_000 });
    const first = await place();
    expect(await receive()).toEqual([]);
    const second = await place();
    expect((await receive()).map(orderOf)).toEqual([second, first]);
  });

  test('a fault on another topic touches nothing', async () => {
    await account.control('POST', '/faults', { kind: 'drop', match: { topic: 'FEED_PROCESSING_FINISHED' } });
    await place();
    expect(await receive()).toHaveLength(1);
  });

  test('an answer lost on the way leaves the message to be redelivered', async () => {
    await place();
    await account.control('POST', '/faults', {
      kind: 'timeout_after',
      ms: 10,
      match: { operation: 'ReceiveMessage' },
      times: 1,
    });
    await expect(receive()).rejects.toThrow();
    expect(await receive()).toEqual([]);
    await account.advance(30_000);
    expect(await receive()).toHaveLength(1);
  });
});

describe('destinations and subscriptions', () => {
  interface Destination {
    payload: { destinationId: string };
  }
  const destination = (arn: string) =>
    account.grantless<Destination>('POST', '/notifications/v1/destinations', {
      name: 'stock',
      resourceSpecification: { sqs: { arn } },
    });
  const subscribe = (type: string, destinationId: string, more: Record<string, unknown> = {}) =>
    account.call<{ payload: { subscriptionId: string } }>('POST', `/notifications/v1/subscriptions/${type}`, {
      payloadVersion: '1.0',
      destinationId,
      ...more,
    });

  test('the same ARN twice is a Conflict, the same type twice a StateConflict', async () => {
    const { destinationId } = (await destination(account.queueArn)).body.payload;
    const again = await destination(account.queueArn);
    expect(again.status).toBe(409);
    expect(again.body).toMatchObject({
      errors: [{ code: 'Conflict', details: expect.stringContaining('already exists') }],
    });
    expect((await subscribe('ORDER_CHANGE', destinationId)).status).toBe(200);
    const twice = await subscribe('ORDER_CHANGE', destinationId);
    expect(twice.status).toBe(409);
    expect(twice.body).toMatchObject({ errors: [{ code: 'StateConflict' }] });
    const listed = await account.grantless<{ payload: unknown[] }>('GET', '/notifications/v1/destinations');
    expect(listed.body.payload).toHaveLength(1);
  });

  test('a destination in use stays; without its subscription it goes', async () => {
    const { destinationId } = (await destination(account.queueArn)).body.payload;
    const { subscriptionId } = (await subscribe('ORDER_CHANGE', destinationId)).body.payload;
    const inUse = await account.grantless('DELETE', `/notifications/v1/destinations/${destinationId}`);
    expect([inUse.status, inUse.body.errors?.[0]?.details]).toEqual([403, 'Destination has subscriptions']);
    expect(
      (await account.grantless('DELETE', `/notifications/v1/subscriptions/ORDER_CHANGE/${subscriptionId}`)).status,
    ).toBe(200);
    expect((await account.call('GET', '/notifications/v1/subscriptions/ORDER_CHANGE')).status).toBe(404);
    expect((await account.grantless('DELETE', `/notifications/v1/destinations/${destinationId}`)).status).toBe(200);
    await place();
    expect(await receive()).toEqual([]);
  });

  test('queues that do not exist, types of EventBridge and unknown types are refused', async () => {
    expect((await destination('arn:aws:sqs:us-east-2:111122223333:none')).status).toBe(400);
    const { destinationId } = (await destination(account.queueArn)).body.payload;
    expect((await subscribe('LISTINGS_ITEM_MFN_QUANTITY_CHANGE', destinationId)).status).toBe(400);
    expect((await subscribe('MFN_ORDER_STATUS_CHANGE', destinationId)).status).toBe(400);
    expect((await subscribe('ORDER_CHANGE', 'none')).status).toBe(404);
  });
});
