/** An error in four parts: what happened, what it means for stock, what to do, details. */
import { Alert, Button, Code, Group, Stack, Text } from '@mantine/core';
import { IconAlertOctagon } from '@tabler/icons-react';
import { problemText } from './problem-text.ts';

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
