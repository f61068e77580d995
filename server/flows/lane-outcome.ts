/**
 * What the answer to a write, or its failure, means for each row. Pure.
 *
 *   applied, accepted   landed                      stale      read, then decide again
 *   rejected            the vendor's own words      not_applied  blameless: send again at once under a new key
 *   rate_limited, unavailable → not sent            outcome_unknown → read back before anything else
 */
import type { Manifest, StockWriteOutcome } from '#connectors/kit/ports.ts';
import { ConnectorError } from '#core/errors.ts';
import type { AttemptResult } from '#store/listings/attempts.ts';
import type { PlannedSend } from './lane-decision.ts';

export interface SentRow {
  attemptId: string;
  send: PlannedSend;
}

/** A vendor without settle time that leaves us without an answer is looked at after this. */
const unknownLookMs = 250;

function result(
  row: SentRow,
  outcome: AttemptResult['outcome'],
  state: string,
  more: Partial<AttemptResult> = {},
): AttemptResult {
  return {
    attemptId: row.attemptId,
    targetId: row.send.target.id,
    outcome,
    value: row.send.value,
    from: row.send.from,
    seq: row.send.target.effectSeq,
    vendorAt: null,
    dirtyVersion: row.send.target.dirtyVersion,
    state,
    reason: null,
    errorCode: null,
    settlesAt: null,
    settleMs: 0,
    nextTryAt: null,
    ...more,
  };
}

const waitingForOrders = (send: PlannedSend): Partial<AttemptResult> =>
  send.value === send.desired
    ? {}
    : {
        reason: `${send.desired - send.value} presumed sold at the channel; its orders are being read before these units are offered again.`,
      };

export function resultsOf(
  rows: readonly SentRow[],
  outcomes: readonly StockWriteOutcome[],
  manifest: Manifest,
  now: number,
): AttemptResult[] {
  const { settleMs } = manifest.stock;
  const nobodyBlamed = rows.length === 1 && outcomes.every(({ kind }) => kind === 'not_applied');
  return rows.map((row) => {
    const { stockKey, channelLocation } = row.send.target;
    const outcome = outcomes.find(({ ref }) => ref.stockKey === stockKey && ref.channelLocation === channelLocation);
    switch (outcome?.kind) {
      case 'applied':
        return result(row, 'applied', row.send.value === row.send.desired ? 'in_sync' : 'pending', {
          vendorAt: outcome.vendorAt,
          ...waitingForOrders(row.send),
        });
      case 'accepted':
        return result(row, 'accepted', settleMs > 0 ? 'settling' : 'sent', {
          vendorAt: outcome.vendorAt,
          settlesAt: now + settleMs,
          settleMs,
          reason: 'Accepted by the channel; it is read back after the settle time.',
        });
      case 'stale':
        return result(row, 'stale', 'unknown', {
          reason: 'The channel showed another number than expected; it is being read.',
        });
      case 'rejected':
        return result(row, 'rejected', 'rejected', { errorCode: outcome.code, reason: outcome.reason });
      case 'not_applied':
        return nobodyBlamed
          ? result(row, 'rejected', 'rejected', {
              errorCode: 'not_applied',
              reason: 'The channel refused this number without saying why.',
            })
          : result(row, 'not_applied', 'pending', {
              reason: 'The call was refused for another row; it is being sent again.',
            });
      default:
        return unknownResult(row, manifest, now, 'The channel did not say what became of this row.');
    }
  });
}

function unknownResult(row: SentRow, manifest: Manifest, now: number, reason: string): AttemptResult {
  const { compareAndSet, settleMs } = manifest.stock;
  return result(row, 'unknown', 'unknown', {
    errorCode: 'connector.outcome_unknown',
    reason,
    settleMs,
    // Ours stands in for the vendor's time, which no answer told.
    vendorAt: now,
    settlesAt: compareAndSet ? null : now + Math.max(settleMs, unknownLookMs),
  });
}

export interface FailedCall {
  results: AttemptResult[];
  /** What the lane does besides. */
  followUp:
    | { kind: 'again' }
    | { kind: 'halve' }
    /** Halted right before it left. */
    | { kind: 'withdrawn' }
    | { kind: 'slow'; forMs: number }
    | { kind: 'unauthorized'; reason: string }
    | { kind: 'unavailable'; reason: string };
}

/** @param unreachable this is not the first call in a row that did not get there */
export function resultsOfFailure(
  rows: readonly SentRow[],
  error: unknown,
  manifest: Manifest,
  now: number,
  unreachable: boolean,
): FailedCall {
  const failure = error instanceof ConnectorError ? error : null;
  const reason = error instanceof Error ? error.message : 'The call failed.';
  const all = (outcome: AttemptResult['outcome'], state: string, nextTryAt: number | null = null) =>
    rows.map((row) => result(row, outcome, state, { errorCode: failure?.code ?? null, reason, nextTryAt }));
  switch (failure?.code) {
    case 'connector.rate_limited': {
      const forMs = failure.retryAfterMs ?? 1_000;
      return { results: all('not_sent', 'pending', now + forMs), followUp: { kind: 'slow', forMs } };
    }
    case 'connector.unavailable':
      if (failure.details.withdrawn === true)
        return { results: all('not_sent', 'pending'), followUp: { kind: 'withdrawn' } };
      return {
        results: all('not_sent', unreachable ? 'unreachable' : 'pending'),
        followUp: { kind: 'unavailable', reason },
      };
    case 'connector.unauthorized':
      return { results: all('not_sent', 'unauthorized'), followUp: { kind: 'unauthorized', reason } };
    case 'connector.rejected':
      return rows.length > 1
        ? { results: all('not_applied', 'pending'), followUp: { kind: 'halve' } }
        : { results: all('rejected', 'rejected'), followUp: { kind: 'again' } };
    default:
      return {
        results: rows.map((row) =>
          unknownResult(row, manifest, now, 'No answer came back; the number is read before anything else is sent.'),
        ),
        followUp: { kind: 'again' },
      };
  }
}

/** The lease would not have outlasted the request. */
export const notSent = ({ attemptId, send }: SentRow): AttemptResult => ({
  attemptId,
  targetId: send.target.id,
  outcome: 'not_sent',
  value: send.value,
  from: send.from,
  seq: send.target.effectSeq,
  vendorAt: null,
  dirtyVersion: send.target.dirtyVersion,
  state: 'pending',
  reason: null,
  errorCode: 'lease',
  settlesAt: null,
  settleMs: 0,
  nextTryAt: null,
});
