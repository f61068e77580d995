/** The words of an error: what happened, what it means for stock, what to do, details. */
import { ApiError } from '../client/problem.ts';

export interface ProblemText {
  happened: string;
  stock: string;
  next: string;
  details: string;
}

/** `what` ends the sentence "… could not be …": "read the stock", "set the buffer of DEMO-001". */
export function problemText(error: unknown, what: string, changes: boolean): ProblemText {
  const known = error instanceof ApiError ? error : null;
  const details = known
    ? [
        known.code,
        known.status === 0 ? null : `HTTP ${known.status}`,
        known.requestId ? `request ${known.requestId}` : null,
      ]
        .filter(Boolean)
        .join(' · ')
    : String(error);
  if (known?.status === 0)
    return {
      happened: `SyncState does not answer: we could not ${what}.`,
      stock: changes
        ? 'We do not know whether it was done.'
        : 'The numbers below, if any, are the last we read. Channels keep theirs.',
      next: 'Check that the server runs. This page tries again by itself.',
      details,
    };
  return {
    happened: `We could not ${what}. ${known?.message ?? 'Something failed in this page.'}`,
    stock: changes ? 'Nothing was changed.' : 'Stock and channels are not affected by this.',
    next:
      known?.retryAfter != null
        ? `Try again in ${known.retryAfter} s.`
        : known && known.status < 500
          ? 'Change what it says above, then try again.'
          : 'Try again; if it stays, the details help to find it in the log.',
    details,
  };
}
