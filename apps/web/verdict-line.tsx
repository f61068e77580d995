/** The verdict as the page's headline, with its clauses; nothing in it ticks inside a live region. */
import { Skeleton, Title } from '@mantine/core';
import { IconAlertTriangle, IconCircleArrowRight, IconCircleCheck, IconCircleX, IconSquare } from '@tabler/icons-react';
import type { Connection } from '../client/types.ts';
import { useNow } from './app-context.ts';
import type { Role } from './theme.ts';
import { evidenceOf, verdictOf } from './verdict.ts';

const icons: Record<Role, typeof IconSquare> = {
  ok: IconCircleCheck,
  info: IconCircleArrowRight,
  warn: IconAlertTriangle,
  bad: IconCircleX,
  neutral: IconSquare,
  simulated: IconSquare,
};

export function VerdictLine({
  connections,
  stale,
}: {
  connections: readonly Connection[] | null;
  stale: string | null;
}) {
  const now = useNow();
  if (connections === null)
    return (
      <Title order={1} className="verdict" aria-busy="true" aria-label="Reading the channels">
        <Skeleton height={28} width={380} maw="100%" />
      </Title>
    );
  const verdict = verdictOf(connections, now);
  const Glyph = icons[verdict.role];
  return (
    <div className="verdict-block">
      <Title order={1} className="verdict" data-role={verdict.role}>
        <Glyph size={26} aria-hidden />
        <span>{verdict.sentence}</span>
      </Title>
      <ul className="clauses" aria-label="Why">
        {verdict.role === 'ok' ? <li className="dimmed">{evidenceOf(connections)}</li> : null}
        {verdict.clauses.map((clause) => (
          <li key={clause.connectionId} data-role={clause.role}>
            {clause.text}
          </li>
        ))}
      </ul>
      {stale ? <p className="dimmed stale">{stale}</p> : null}
    </div>
  );
}
