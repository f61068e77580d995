/**
 * Recording: what a vendor answered, kept so that the same translation can be done again later without calling anyone.
 *
 * A recording transport hands every call on and keeps the answers in order; a replaying one gives exactly these answers
 * back, in order, to the same code asking the same questions. Both stand below a connector's client and above the
 * connection's transport, and never below its sign-in: tokens are neither recorded nor needed again.
 * Kept are operation, status, the Date header, our time of receipt and the body, secrets masked; no request, no other header.
 */
import { ConnectorError } from '#core/errors.ts';
import type { OutsideAnswer, RawAnswer, Transport } from './ports.ts';
import { maskSecrets } from './redaction.ts';

export interface Recorder extends Transport {
  readonly answers: RawAnswer[];
}

export function recordingTransport(transport: Transport): Recorder {
  const answers: RawAnswer[] = [];
  return {
    answers,
    async request(call) {
      const answer = await transport.request(call);
      answers.push({
        operation: call.operation,
        status: answer.status,
        date: answer.headers.date ?? null,
        receivedAt: answer.receivedAt,
        body: maskSecrets(answer.body),
      });
      return answer;
    },
    report: (bucket, report) => transport.report(bucket, report),
  };
}

/** Throws connector.unreadable when the code asks for something else than was recorded: the recording is of another version. */
export function replayingTransport(answers: readonly RawAnswer[]): Transport {
  let next = 0;
  return {
    async request(call): Promise<OutsideAnswer> {
      const answer = answers[next];
      next += 1;
      if (answer?.operation !== call.operation)
        throw new ConnectorError(
          'connector.unreadable',
          'The stored answers do not fit this version of the connector.',
          {
            operation: call.operation,
            recorded: answer?.operation ?? null,
          },
        );
      const { status, body, receivedAt, date } = answer;
      return { status, body, receivedAt, headers: date === null ? {} : { date } };
    },
    report() {},
  };
}
