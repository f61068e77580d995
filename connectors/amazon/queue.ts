/**
 * The seller's own SQS queue, where Amazon puts its notifications (§7). AWS's client signs and reads the protocol; its
 * bytes go over the kit's transport like every other outside call, so time limits, the guard against foreign hosts and
 * the log hold here too.
 *
 * A message leaves the queue only by `done()`, after the caller has stored it and perhaps after the receiving call's own
 * signal has ended; until then SQS shows it again when its visibility time is over. A message about another seller (a queue shared by several) is neither handed on nor removed:
 * its own connection must get it. One that cannot be read is handed on as `other`, so that it is kept and seen.
 */
import { Buffer } from 'node:buffer';
import {
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
  type SQSClientConfig,
  SQSServiceException,
} from '@aws-sdk/client-sqs';
import { ConnectorError } from '#core/errors.ts';
import type { BudgetClass, CallOptions, QueueMessage, QueuePort, Transport } from '../kit/ports.ts';
import { manifest, QUEUE_MESSAGES_MAX, QUEUE_WAIT_MAX_MS } from './manifest.ts';
import { identify } from './notifications.ts';

/** Longest name of an order, a SKU, a type or a message that is believed (the inbox takes no longer one). */
const NAME_MAX = 500;

export interface QueueOptions {
  transport: Transport;
  sellerId: string;
  queueUrl: string;
  /** Where AWS's protocol is spoken, usually the origin of `queueUrl`. */
  endpoint: string;
  /** Null: as the host of `queueUrl` names it. */
  region: string | null;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

type HttpHandlerOptions = NonNullable<Parameters<SQSClient['send']>[1]>;
type RequestHandler = NonNullable<SQSClientConfig['requestHandler']>;

/** The part of AWS's request that we send on. */
interface AwsRequest {
  method: string;
  protocol: string;
  hostname: string;
  port?: number | undefined;
  path: string;
  headers: Record<string, string>;
  body?: unknown;
}

/** What AWS's client hands through to our handler with each command: whose budget, signal and time limit it goes under. */
interface SendOptions extends HttpHandlerOptions {
  call: CallOptions;
  timeoutMs: number;
}

export function queuePort(options: QueueOptions): QueuePort {
  const client = sqsClient(options);
  return {
    async receive({ waitMs, max, ...call }) {
      const waitSeconds = Math.floor(Math.min(Math.max(waitMs, 0), QUEUE_WAIT_MAX_MS) / 1000);
      const command = new ReceiveMessageCommand({
        QueueUrl: options.queueUrl,
        MaxNumberOfMessages: Math.min(Math.max(max, 1), QUEUE_MESSAGES_MAX),
        WaitTimeSeconds: waitSeconds,
      });
      const limits: SendOptions = { call, timeoutMs: manifest.requestTimeoutMs + waitSeconds * 1000 };
      const answer = await client.send(command, limits).catch(rethrow);
      const messages = messagesIn(answer.Messages).map((message) => messageOf(options, client, message, call.budget));
      return { messages: messages.filter((message) => message !== null) };
    },
  };
}

function sqsClient(options: QueueOptions): SQSClient {
  return new SQSClient({
    endpoint: options.endpoint,
    region: options.region ?? regionOf(options.queueUrl),
    credentials: options.credentials,
    /** Repeating is the transport's decision, here as everywhere. */
    maxAttempts: 1,
    /** The connection protects the bytes; one wrong checksum would refuse nine good messages with it. */
    md5: false,
    requestHandler: transportHandler(options.transport),
  });
}

function transportHandler(transport: Transport): RequestHandler {
  return {
    async handle(request: AwsRequest, { call, timeoutMs }: SendOptions) {
      const port = request.port === undefined ? '' : `:${request.port}`;
      const target = request.headers['x-amz-target'] ?? '';
      const answer = await transport.request({
        operation: `sqs.${target.slice(target.indexOf('.') + 1)}`,
        method: 'POST',
        url: `${request.protocol}//${request.hostname}${port}${request.path}`,
        headers: headersToSend(request.headers),
        body: bodyOf(request.body),
        /** Receiving hides messages for a while, deleting twice is deleting once: both are safe to repeat. */
        write: false,
        budget: call.budget,
        bucket: 'sqs',
        timeoutMs,
        signal: call.signal,
      });
      const body = Buffer.from(answer.body, 'utf8');
      return { response: { statusCode: answer.status, headers: answer.headers, body } };
    },
  } as RequestHandler;
}

/** The transport sets these itself, from the URL and the body. */
function headersToSend(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !['host', 'content-length'].includes(name.toLowerCase())),
  );
}

/** The protocol's JSON as text: AWS's client hands over bytes of a kind of its own, which complain when somebody reads them as text. */
function bodyOf(body: unknown): string {
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  return typeof body === 'string' ? body : '';
}

/** AWS's client believes its answers: a list is made sure of here, and each text where it is read. */
function messagesIn(told: unknown): Message[] {
  if (told === undefined || told === null) return [];
  if (!Array.isArray(told))
    throw new ConnectorError('connector.unreadable', 'The queue’s answer holds no list of messages.', {
      operation: 'sqs',
    });
  return told.filter((message): message is Message => typeof message === 'object' && message !== null);
}

const textOf = (told: unknown): string => (typeof told === 'string' ? told : '');

/** Null: another seller's. */
function messageOf(
  options: QueueOptions,
  client: SQSClient,
  message: Message,
  budget: BudgetClass,
): QueueMessage | null {
  const rawBody = Buffer.from(textOf(message.Body), 'utf8');
  const messageId = textOf(message.MessageId) || 'unnamed';
  const seen = identityOf(rawBody, messageId);
  if (seen.sellerId !== null && seen.sellerId !== options.sellerId) return null;
  const command = new DeleteMessageCommand({
    QueueUrl: options.queueUrl,
    ReceiptHandle: textOf(message.ReceiptHandle),
  });
  return {
    topic: seen.topic,
    deliveryId: seen.deliveryId ?? messageId,
    kind: seen.kind,
    externalId: seen.externalId,
    rawBody,
    async done() {
      const call = { budget, signal: new AbortController().signal };
      const limits: SendOptions = { call, timeoutMs: manifest.requestTimeoutMs };
      await client.send(command, limits).catch(rethrow);
    },
  };
}

function identityOf(rawBody: Uint8Array, messageId: string): ReturnType<typeof identify> {
  const unreadable = { topic: 'unreadable', deliveryId: messageId, kind: 'other', externalId: messageId } as const;
  try {
    const seen = identify(rawBody);
    // Names that nothing could be kept under: the message would stay in the queue for ever, and its fellows be asked for again.
    const isUsable = [seen.externalId, seen.topic, seen.deliveryId ?? ''].every(
      (name) => name.length <= NAME_MAX && !name.includes('\0'),
    );
    return isUsable ? seen : { ...unreadable, sellerId: seen.sellerId };
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    return { ...unreadable, sellerId: null };
  }
}

/**
 * AWS's own refusals (wrong keys, no such queue, no permission) are wrong settings of the queue: `rejected`, not
 * `unauthorized`, because the seller's grant is fine and stock must go on being published.
 */
function rethrow(error: unknown): never {
  if (error instanceof SQSServiceException) {
    const details = { operation: 'sqs', vendorCode: error.name, status: error.$metadata.httpStatusCode ?? null };
    throw new ConnectorError('connector.rejected', `The queue refuses: ${error.message}`, details, error);
  }
  // AWS's client throws these for an answer that is no JSON, JSON of another shape, or nested without end.
  if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError)
    throw new ConnectorError('connector.unreadable', 'The queue’s answer cannot be read.', { operation: 'sqs' }, error);
  throw error;
}

/** https://sqs.eu-west-1.amazonaws.com/… → eu-west-1 */
function regionOf(queueUrl: string): string {
  return /^sqs\.([a-z0-9-]+)\.amazonaws\.com$/.exec(new URL(queueUrl).hostname)?.[1] ?? 'us-east-1';
}
