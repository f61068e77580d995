/**
 * What the end of a feed means for each of its rows. Pure.
 *
 *   accepted     in force after the settle time, then read back        rejected     the vendor's own words
 *   not_applied  blameless: sent singly                                missing, or the feed broke off   unknown, read back
 */
import type { BulkOutcome } from '#connectors/kit/ports.ts';
import type { AttemptResult } from '#store/listings/attempts.ts';
import { type FeedAttempt, feedResult } from '#store/listings/feeds.ts';

export interface FeedEnd {
  /** The vendor's time; null = not told. */
  endedAt: number | null;
  now: number;
  settleMs: number;
}

/** A vendor without settle time is looked at after this. */
const unknownLookMs = 250;

export function resultOfRow(attempt: FeedAttempt, outcome: BulkOutcome | undefined, end: FeedEnd): AttemptResult {
  switch (outcome?.kind) {
    case 'accepted':
      return feedResult(attempt, {
        outcome: 'accepted',
        state: end.settleMs > 0 ? 'settling' : 'sent',
        vendorAt: end.endedAt ?? end.now,
        settlesAt: end.now + end.settleMs,
        settleMs: end.settleMs,
        reason: 'Accepted by the channel in a feed; it is read back after the settle time.',
      });
    case 'rejected':
      return feedResult(attempt, {
        outcome: 'rejected',
        state: 'rejected',
        errorCode: outcome.code,
        reason: outcome.reason,
      });
    case 'not_applied':
      return feedResult(attempt, { outcome: 'not_applied', reason: outcome.reason });
    default:
      return unknownRow(attempt, outcome?.reason ?? 'The report does not name this number.', end);
  }
}

export const unknownRow = (attempt: FeedAttempt, reason: string, end: FeedEnd): AttemptResult =>
  feedResult(attempt, {
    outcome: 'unknown',
    state: 'unknown',
    errorCode: 'connector.outcome_unknown',
    reason,
    vendorAt: end.endedAt ?? end.now,
    settlesAt: end.now + Math.max(end.settleMs, unknownLookMs),
    settleMs: end.settleMs,
  });
