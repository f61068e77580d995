/** The feed beside the table. It is a log, silent for screen readers: one polite sentence at most every 10 s says how much happened. */
import { ScrollArea, Text, Title, VisuallyHidden } from '@mantine/core';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { clockText, fullTimeText, useApp } from './app-context.ts';

const sayEveryMs = 10_000;

function usePoliteCount(total: number): string {
  const [said, setSaid] = useState('');
  const at = useRef({ total, time: 0 });
  useEffect(() => {
    const news = total - at.current.total;
    if (news <= 0) return;
    const timer = setTimeout(
      () => {
        at.current = { total, time: Date.now() };
        setSaid(news === 1 ? '1 new entry in the feed' : `${news} new entries in the feed`);
      },
      Math.max(500, at.current.time + sayEveryMs - Date.now()),
    );
    return () => clearTimeout(timer);
  }, [total]);
  return said;
}

export function FeedPanel() {
  const { live } = useApp();
  const entries = useSyncExternalStore(live.feed.subscribe, live.feed.get);
  const said = usePoliteCount(live.feed.told());
  return (
    <section className="feed" aria-labelledby="feed-title">
      <Title order={2} id="feed-title" className="section-title">
        Feed
      </Title>
      <VisuallyHidden role="status">{said}</VisuallyHidden>
      {entries.length === 0 ? (
        <Text size="sm" c="dimmed">
          Nothing has happened yet. Press Buy in a row: the sale, and each channel that follows it, appears here.
        </Text>
      ) : null}
      <ScrollArea.Autosize
        className="feed-scroll"
        mah="var(--feed-height)"
        viewportProps={{ tabIndex: 0, role: 'log', 'aria-live': 'off', 'aria-label': 'Feed entries, newest first' }}
      >
        <ol className="feed-list">
          {entries.map((entry) => (
            <li key={entry.id} data-role={entry.role}>
              <time dateTime={new Date(entry.at).toISOString()} title={fullTimeText(entry.at)}>
                {clockText(entry.at)}
              </time>
              <span>{entry.text}</span>
            </li>
          ))}
        </ol>
      </ScrollArea.Autosize>
    </section>
  );
}
