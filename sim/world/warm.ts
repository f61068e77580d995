/**
 * What a process loads at its first use is loaded before the world begins: a first use that takes longer than the next
 * would let other flows go first, and two runs of one seed would differ. AWS's client loads parts of itself at its first call.
 */
import { queuePort } from '#connectors/amazon/queue.ts';

let warmed: Promise<unknown> | null = null;

export const warm = (): Promise<unknown> => {
  const queue = queuePort({
    transport: {
      request: async () => ({
        status: 200,
        headers: { 'content-type': 'application/x-amz-json-1.0' },
        body: '{}',
        receivedAt: 0,
      }),
      report: () => undefined,
    },
    sellerId: 'A1',
    queueUrl: 'http://127.0.0.1:1/sqs/1/q',
    endpoint: 'http://127.0.0.1:1/sqs',
    region: 'us-east-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  });
  warmed ??= queue.receive({ waitMs: 0, max: 1, budget: 'read', signal: new AbortController().signal });
  return warmed;
};
