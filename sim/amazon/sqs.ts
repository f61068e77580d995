/**
 * The SQS endpoint: the AWS JSON 1.0 protocol over `Queue`, so that the real AWS client works against it with `endpoint`
 * set to `<base>/sqs` and a queue URL below that.
 *
 * Signatures are asked for but not verified (there are no AWS keys here). Long polling ends when a message turns
 * visible, something on the agenda falls due, the wait is over, or the caller hangs up.
 * Source: Amazon SQS API Reference, actions and errors of the JSON protocol (documented).
 */
import type { SimCore } from '#sim/kit/core.ts';
import type { VendorCall, VendorReply } from '#sim/kit/model.ts';
import type { Agenda } from './agenda.ts';
import { createQueue, DEFAULT_VISIBILITY_SECONDS, type Queue, type ReceivedMessage } from './queue.ts';

export const SQS_PATH = '/sqs';
const REGION = 'us-east-2';
const ACCOUNT = '111122223333';
const TARGET = 'AmazonSQS.';
const LONGEST_WAIT_SECONDS = 20;
const LONGEST_VISIBILITY_SECONDS = 43_200;
const BATCH = 10;

export const queueArn = (name: string): string => `arn:aws:sqs:${REGION}:${ACCOUNT}:${name}`;

export interface QueueService {
  /** The name of the action, e.g. "ReceiveMessage". */
  actionOf(call: VendorCall): string;
  answer(call: VendorCall): Promise<VendorReply>;
  /** A planted `status` fault in SQS's words. */
  refuse(status: number): VendorReply;
  /** null: no such queue. */
  byArn(arn: string): Queue | null;
  queueUrl(baseUrl: string, name: string): string;
  clear(): void;
}

type Input = Record<string, unknown>;

class SqsError extends Error {
  readonly type: string;
  readonly legacy: string;
  constructor(type: string, legacy: string, message: string) {
    super(message);
    this.name = 'SqsError';
    this.type = type;
    this.legacy = legacy;
  }
}

const noSuchQueue = () =>
  new SqsError(
    'com.amazonaws.sqs#QueueDoesNotExist',
    'AWS.SimpleQueueService.NonExistentQueue',
    'The specified queue does not exist.',
  );
const badValue = (message: string) =>
  new SqsError('com.amazonaws.sqs#InvalidParameterValue', 'InvalidParameterValue', message);
const badHandle = (handle: string) =>
  new SqsError(
    'com.amazonaws.sqs#ReceiptHandleIsInvalid',
    'ReceiptHandleIsInvalid',
    `The input receipt handle "${handle}" is not a valid receipt handle.`,
  );
const notInFlight = () =>
  new SqsError(
    'com.amazonaws.sqs#MessageNotInflight',
    'AWS.SimpleQueueService.MessageNotInflight',
    'The specified message is not in flight.',
  );

/** @param firstQueue the queue that exists from the start */
export function createQueueService(core: SimCore, agenda: Agenda, firstQueue: string): QueueService {
  const names = core.tables.table<{ name: string; createdAt: number }>('amazon.queues');
  if (!names.has(firstQueue)) names.put(firstQueue, { name: firstQueue, createdAt: core.clock.now() });
  const queues = new Map([...names.all()].map(({ name }) => [name, createQueue(core, name)]));

  const queueUrl = (baseUrl: string, name: string) => `${baseUrl}${SQS_PATH}/${ACCOUNT}/${name}`;
  const actionOf = (call: VendorCall) => {
    const target = call.headers['x-amz-target'];
    return typeof target === 'string' && target.startsWith(TARGET) ? target.slice(TARGET.length) : 'UnknownOperation';
  };

  function queueOf(input: Input): { name: string; queue: Queue } {
    const url = text(input, 'QueueUrl');
    const name = url.split('/').at(-1) ?? '';
    const queue = url.includes(`${SQS_PATH}/${ACCOUNT}/`) ? queues.get(name) : undefined;
    if (queue === undefined) throw noSuchQueue();
    return { name, queue };
  }

  async function receive(input: Input, call: VendorCall): Promise<unknown> {
    const { queue } = queueOf(input);
    const most = whole(input, 'MaxNumberOfMessages', 1, 1, BATCH);
    const visibilityMs =
      1000 * whole(input, 'VisibilityTimeout', DEFAULT_VISIBILITY_SECONDS, 0, LONGEST_VISIBILITY_SECONDS);
    const deadline = core.clock.now() + 1000 * whole(input, 'WaitTimeSeconds', 0, 0, LONGEST_WAIT_SECONDS);
    for (;;) {
      agenda.catchUp();
      const taken = core.tables.transact(() => queue.take(most, visibilityMs));
      if (taken.length > 0) return { Messages: taken.map(listed) };
      const now = core.clock.now();
      if (now >= deadline || call.gone().aborted) return {};
      await rest(queue, Math.min(deadline, queue.nextVisible(), agenda.nextDue()) - now, call.gone());
    }
  }

  async function rest(queue: Queue, ms: number, gone: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const stop = queue.onSend(() => woken.abort());
    await core.clock.sleep(ms, AbortSignal.any([woken.signal, gone]));
    stop();
  }

  function listed(message: ReceivedMessage) {
    return {
      MessageId: message.id,
      ReceiptHandle: message.handle,
      MD5OfBody: message.md5,
      Body: message.body,
      Attributes: {
        ApproximateReceiveCount: String(message.receives),
        ApproximateFirstReceiveTimestamp: String(Math.round(message.firstReceivedAt)),
        SentTimestamp: String(Math.round(message.sentAt)),
        SenderId: ACCOUNT,
      },
    };
  }

  function remove(queue: Queue, handle: string): void {
    if (!queue.remove(handle)) throw badHandle(handle);
  }

  function changeVisibility(queue: Queue, input: Input): void {
    const handle = text(input, 'ReceiptHandle');
    const seconds = whole(input, 'VisibilityTimeout', null, 0, LONGEST_VISIBILITY_SECONDS);
    const refusal = queue.changeVisibility(handle, seconds * 1000);
    if (refusal !== null) throw refusal === 'invalid' ? badHandle(handle) : notInFlight();
  }

  function attributes(input: Input) {
    const { name, queue } = queueOf(input);
    const wanted = (input.AttributeNames as string[] | undefined) ?? [];
    const counts = queue.counts();
    const created = String(Math.floor((names.get(name)?.createdAt ?? 0) / 1000));
    const all: Record<string, string> = {
      QueueArn: queueArn(name),
      ApproximateNumberOfMessages: String(counts.visible),
      ApproximateNumberOfMessagesNotVisible: String(counts.inFlight),
      ApproximateNumberOfMessagesDelayed: String(counts.delayed),
      CreatedTimestamp: created,
      LastModifiedTimestamp: created,
      VisibilityTimeout: String(DEFAULT_VISIBILITY_SECONDS),
      ReceiveMessageWaitTimeSeconds: '0',
      MessageRetentionPeriod: '345600',
      DelaySeconds: '0',
      MaximumMessageSize: '262144',
    };
    const shown = Object.entries(all).filter(([key]) => wanted.includes('All') || wanted.includes(key));
    return shown.length === 0 ? {} : { Attributes: Object.fromEntries(shown) };
  }

  function create(input: Input, baseUrl: string) {
    const name = text(input, 'QueueName');
    if (!/^[A-Za-z0-9_-]{1,80}$/.test(name))
      throw badValue('Can only include alphanumeric characters, hyphens, or underscores.');
    if (!queues.has(name)) {
      names.put(name, { name, createdAt: core.clock.now() });
      queues.set(name, createQueue(core, name));
    }
    return { QueueUrl: queueUrl(baseUrl, name) };
  }

  async function act(action: string, input: Input, call: VendorCall): Promise<{ body: unknown; applied: boolean }> {
    const changed = (body: unknown) => ({ body, applied: true });
    switch (action) {
      case 'ReceiveMessage':
        return { body: await receive(input, call), applied: false };
      case 'DeleteMessage':
        remove(queueOf(input).queue, text(input, 'ReceiptHandle'));
        return changed({});
      case 'DeleteMessageBatch': {
        const { queue } = queueOf(input);
        return changed(
          core.tables.transact(() => batch(input, (entry) => remove(queue, text(entry, 'ReceiptHandle')))),
        );
      }
      case 'ChangeMessageVisibility':
        changeVisibility(queueOf(input).queue, input);
        return changed({});
      case 'ChangeMessageVisibilityBatch': {
        const { queue } = queueOf(input);
        return changed(batch(input, (entry) => changeVisibility(queue, entry)));
      }
      case 'GetQueueUrl': {
        const name = text(input, 'QueueName');
        if (!queues.has(name)) throw noSuchQueue();
        return { body: { QueueUrl: queueUrl(call.baseUrl, name) }, applied: false };
      }
      case 'GetQueueAttributes':
        return { body: attributes(input), applied: false };
      case 'CreateQueue':
        return changed(create(input, call.baseUrl));
      default:
        throw new SqsError('com.amazon.coral.service#UnknownOperationException', 'InvalidAction', '');
    }
  }

  return {
    actionOf,
    queueUrl,
    async answer(call) {
      try {
        if (call.headers.authorization === undefined)
          throw new SqsError(
            'com.amazon.coral.service#MissingAuthenticationTokenException',
            'MissingAuthenticationToken',
            'Request is missing Authentication Token',
          );
        const { body, applied } = await act(actionOf(call), parse(call.body), call);
        return reply(200, body, applied);
      } catch (error) {
        if (!(error instanceof SqsError)) throw error;
        return failure(400, error);
      }
    },
    refuse: (status) => failure(status, planted(status)),
    byArn: (arn) => [...queues].find(([name]) => queueArn(name) === arn)?.[1] ?? null,
    clear: () => {
      for (const queue of queues.values()) queue.clear();
    },
  };

  function reply(status: number, body: unknown, applied: boolean, headers: Record<string, string> = {}): VendorReply {
    const fixed = { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-RequestId': core.ids.uuid() };
    return { status, headers: { ...fixed, ...headers }, body: JSON.stringify(body), applied };
  }

  function failure(status: number, error: SqsError): VendorReply {
    const side = status >= 500 ? 'Receiver' : 'Sender';
    const body = { __type: error.type, message: error.message };
    return reply(status, body, false, { 'x-amzn-query-error': `${error.legacy};${side}` });
  }
}

function planted(status: number): SqsError {
  if (status >= 500)
    return new SqsError('com.amazonaws.sqs#ServiceUnavailable', 'ServiceUnavailable', 'Try again later.');
  if (status === 429) return new SqsError('com.amazonaws.sqs#RequestThrottled', 'RequestThrottled', 'Rate exceeded');
  return new SqsError('com.amazon.coral.service#AccessDeniedException', 'AccessDenied', 'Access is denied.');
}

function parse(body: Buffer): Input {
  try {
    return JSON.parse(body.toString('utf8') || '{}') as Input;
  } catch {
    throw new SqsError('com.amazon.coral.service#SerializationException', 'SerializationException', 'Not JSON');
  }
}

function text(input: Input, field: string): string {
  const value = input[field];
  if (typeof value === 'string' && value !== '') return value;
  throw new SqsError(
    'com.amazonaws.sqs#MissingRequiredParameterException',
    'MissingParameter',
    `The request must contain the parameter ${field}.`,
  );
}

/** @param missing the value when the field is absent; null: it is required */
function whole(input: Input, field: string, missing: number | null, least: number, most: number): number {
  const value = input[field] ?? missing;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw badValue(
    `Value ${String(value)} for parameter ${field} is invalid. Reason: Must be between ${least} and ${most}.`,
  );
}

/** Runs one step per entry; an entry's failure does not touch the others. */
function batch(input: Input, step: (entry: Input) => void) {
  const entries = Array.isArray(input.Entries) ? (input.Entries as Input[]) : [];
  const wrong = (name: string, message: string) =>
    new SqsError(`com.amazonaws.sqs#${name}`, `AWS.SimpleQueueService.${name}`, message);
  if (entries.length === 0) throw wrong('EmptyBatchRequest', 'There should be at least one entry in the request.');
  if (entries.length > BATCH) throw wrong('TooManyEntriesInBatchRequest', `Maximum number of entries is ${BATCH}.`);
  if (new Set(entries.map((entry) => entry.Id)).size < entries.length)
    throw wrong('BatchEntryIdsNotDistinct', 'Two or more batch entries have the same Id.');
  const result = { Successful: [] as unknown[], Failed: [] as unknown[] };
  for (const entry of entries) {
    try {
      step(entry);
      result.Successful.push({ Id: entry.Id });
    } catch (error) {
      if (!(error instanceof SqsError)) throw error;
      result.Failed.push({ Id: entry.Id, Code: error.legacy, Message: error.message, SenderFault: true });
    }
  }
  return result;
}
