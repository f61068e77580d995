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
      const messages = (answer.Messages ?? []).map((message) => messageOf(options, client, message, call.budget));
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

function bodyOf(body: unknown): string | Uint8Array {
  return body instanceof Uint8Array || typeof body === 'string' ? body : '';
}

/** Null: another seller's. */
function messageOf(
  options: QueueOptions,
  client: SQSClient,
  message: Message,
  budget: BudgetClass,
): QueueMessage | null {
  const rawBody = Buffer.from(message.Body ?? '', 'utf8');
  const messageId = message.MessageId ?? '';
  const seen = identityOf(rawBody, messageId);
  if (seen.sellerId !== null && seen.sellerId !== options.sellerId) return null;
  const command = new DeleteMessageCommand({ QueueUrl: options.queueUrl, ReceiptHandle: message.ReceiptHandle ?? '' });
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
  try {
    return identify(rawBody);
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    return { topic: 'unreadable', deliveryId: messageId, kind: 'other', externalId: messageId, sellerId: null };
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
  throw error;
}

/** https://sqs.eu-west-1.amazonaws.com/… → eu-west-1 */
function regionOf(queueUrl: string): string {
  return /^sqs\.([a-z0-9-]+)\.amazonaws\.com$/.exec(new URL(queueUrl).hostname)?.[1] ?? 'us-east-1';
}
