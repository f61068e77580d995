/** An error in four parts: what happened, what it means for stock, what to do, details. */
import { Alert, Button, Code, Group, Stack, Text } from '@mantine/core';
import { IconAlertOctagon } from '@tabler/icons-react';
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

export function ProblemNotice({
  error,
  what,
  changes = false,
  onRetry,
}: {
  error: unknown;
  what: string;
  changes?: boolean;
  onRetry?: () => void;
}) {
  const text = problemText(error, what, changes);
  return (
    <Alert color="red" icon={<IconAlertOctagon aria-hidden />} title={text.happened}>
      <Stack gap="xs">
        <Text size="sm">
          {text.stock} {text.next}
        </Text>
        <Group gap="sm">
          {onRetry ? (
            <Button size="xs" variant="default" onClick={onRetry}>
              Try again
            </Button>
          ) : null}
          <Code className="details">{text.details}</Code>
        </Group>
      </Stack>
    </Alert>
  );
}
