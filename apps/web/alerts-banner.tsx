/** What a person must know now: unread critical alerts, merged into one banner until each is read. */
import { Alert, Button, Text } from '@mantine/core';
import { IconAlertOctagon } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { clockText, fullTimeText, useApp } from './app-context.ts';
import { ProblemNotice } from './problem-notice.tsx';
import { count } from './verdict.ts';

const shownAtOnce = 3;

export function AlertsBanner() {
  const { api } = useApp();
  const queries = useQueryClient();
  const alerts = useQuery({ queryKey: ['alerts'], queryFn: ({ signal }) => api.unreadAlerts(signal) });
  const read = useMutation({
    mutationFn: (id: string) => api.markAlertRead(id),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['alerts'] }),
  });
  const critical =
    alerts.data?.items.filter((alert) => alert.severity === 'critical' && alert.resolvedAt === null) ?? [];
  if (critical.length === 0) return null;
  return (
    <Alert
      color="red"
      icon={<IconAlertOctagon aria-hidden />}
      title={count(critical.length, 'critical alert', 'critical alerts')}
      className="alerts"
    >
      <ul>
        {critical.slice(0, shownAtOnce).map((alert) => (
          <li key={alert.id}>
            <Text size="sm">
              <time dateTime={alert.lastAt} title={fullTimeText(Date.parse(alert.lastAt))}>
                {clockText(Date.parse(alert.lastAt))}
              </time>{' '}
              {alert.message}
            </Text>
            <Button
              size="compact-xs"
              variant="default"
              onClick={() => read.mutate(alert.id)}
              aria-label={`Mark as read: ${alert.message}`}
            >
              Mark as read
            </Button>
          </li>
        ))}
      </ul>
      {critical.length > shownAtOnce ? <Text size="sm">and {critical.length - shownAtOnce} more</Text> : null}
      {read.isError ? <ProblemNotice error={read.error} what="mark the alert as read" changes /> : null}
    </Alert>
  );
}
