/** One line per channel: its name, state, what waits, how many listings. Worst news is in the verdict above. */
import { Skeleton, Tooltip } from '@mantine/core';
import type { Connection } from '../client/types.ts';
import { useNow } from './app-context.ts';
import { connectionStatus } from './status.ts';
import { SimulatedTag, StatusTag } from './status-tag.tsx';
import { ageText, count } from './verdict.ts';

function Waiting({ connection }: { connection: Connection }) {
  const now = useNow();
  const { waiting } = connection;
  if (waiting === 0) return <span className="dimmed">nothing waits</span>;
  const age =
    connection.oldestWaiting === null ? '' : `, oldest ${ageText(now - Date.parse(connection.oldestWaiting))}`;
  return (
    <span>
      {count(waiting, 'change waits', 'changes wait')}
      {age}
    </span>
  );
}

export function ConnectionsStrip({ connections }: { connections: readonly Connection[] | null }) {
  if (connections === null)
    return (
      <div className="strip" aria-busy="true">
        {[0, 1, 2].map((index) => (
          <Skeleton key={index} height={58} radius="sm" />
        ))}
      </div>
    );
  return (
    <ul className="strip" aria-label="Channels">
      {connections.map((connection) => {
        const status = connectionStatus(connection);
        return (
          <li key={connection.id}>
            <div className="strip-head">
              <strong>{connection.name}</strong>
              {connection.kind === 'simulated' ? <SimulatedTag short /> : null}
              <Tooltip label={connection.stateReason ?? `${connection.name} ${status.means}`} multiline maw={320}>
                <span>
                  <StatusTag status={status} />
                </span>
              </Tooltip>
            </div>
            <div className="strip-facts">
              <Waiting connection={connection} />
              <span className="dimmed">{count(connection.listings, 'listing', 'listings')}</span>
              {connection.unmapped > 0 ? <span className="warn-text">{connection.unmapped} unmapped</span> : null}
            </div>
          </li>
        );
      })}
    </ul>
  );
}
