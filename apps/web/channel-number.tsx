/** A channel's number of a SKU as a cell, and everything behind it on hover or focus. */
import { HoverCard, Text } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import type { InventoryItem, Listing } from '../client/types.ts';
import { fullTimeText, placeName, useConnections } from './app-context.ts';
import { Changing } from './changing.tsx';
import { type ChannelCell, channelCell, numbersText, signed } from './channel-cell.ts';
import { targetStatus } from './status.ts';

const shown = (value: number | null): string => (value === null ? '—' : String(value));

function TargetFacts({ target, place }: { target: Listing; place: string }) {
  return (
    <tr>
      <th scope="row">
        <bdi dir="ltr">{place}</bdi>
      </th>
      <td>{shown(target.desired)}</td>
      <td>{shown(target.expected)}</td>
      <td>{shown(target.accepted)}</td>
      <td>{shown(target.observed)}</td>
    </tr>
  );
}

export function ChannelFacts({ cell, name }: { cell: ChannelCell; name: string }) {
  const status = targetStatus(cell.state);
  const connections = useConnections();
  const placeOf = (target: Listing) =>
    placeName(
      connections.find(({ id }) => id === target.connectionId),
      target.channelLocation,
    );
  const newest = Math.max(...cell.targets.map((target) => Date.parse(target.updatedAt)));
  return (
    <div className="facts">
      <Text size="sm" fw={600}>
        {name}: {status.word}
      </Text>
      <Text size="xs">
        The number {status.means}.{cell.reason ? ` ${cell.reason}` : ''}
      </Text>
      <table>
        <thead>
          <tr>
            <th scope="col">Location</th>
            <th scope="col">Wanted</th>
            <th scope="col">Expected</th>
            <th scope="col">Accepted</th>
            <th scope="col">Observed</th>
          </tr>
        </thead>
        <tbody>
          {cell.targets.map((target) => (
            <TargetFacts key={`${target.id} ${target.channelLocation}`} target={target} place={placeOf(target)} />
          ))}
        </tbody>
      </table>
      <Text size="xs" c="dimmed">
        since {fullTimeText(newest)}
      </Text>
    </div>
  );
}

/** What a screen reader says of a cell. */
export function cellLabel(cell: ChannelCell, sku: string, name: string): string {
  const number = cell.numbers.includes(null) ? 'unknown' : numbersText(cell);
  const status = targetStatus(cell.state);
  if (cell.state === 'in_sync') return `${sku} on ${name}: ${number}`;
  return `${sku} on ${name}: ${number}, ${status.word}${cell.difference === null ? '' : `, ${signed(cell.difference)} against wanted`}`;
}

export function ChannelNumber({
  item,
  connectionId,
  name,
}: {
  item: InventoryItem;
  connectionId: string;
  name: string;
}) {
  const cell = channelCell(item, connectionId);
  if (!cell)
    return (
      <span className="absent dimmed" title={`${item.sku} is not offered on ${name}`}>
        not listed
      </span>
    );
  return <CellNumber cell={cell} sku={item.sku} name={name} />;
}

const hoverDelayMs = 250;

/** The facts behind the number are built when the pointer rests on it: a page of rows has hundreds of numbers. */
function CellNumber({ cell, sku, name }: { cell: ChannelCell; sku: string; name: string }) {
  const [armed, setArmed] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const status = targetStatus(cell.state);
  const Glyph = status.icon;
  const number = (
    <span
      className="channel-number"
      role="img"
      aria-label={cellLabel(cell, sku, name)}
      onPointerEnter={() => {
        timer.current = setTimeout(() => setArmed(true), hoverDelayMs);
      }}
      onPointerLeave={() => clearTimeout(timer.current)}
    >
      {cell.state === 'in_sync' ? null : (
        <span className="not-in-step" data-role={status.role}>
          <Glyph size={14} aria-hidden />
          {status.word}
          {cell.difference === null ? '' : ` ${signed(cell.difference)}`}
        </span>
      )}
      <Changing value={numbersText(cell)} />
    </span>
  );
  if (!armed) return number;
  return (
    <HoverCard
      initiallyOpened
      position="bottom-end"
      openDelay={hoverDelayMs}
      closeDelay={50}
      withinPortal
      withArrow
      keepMounted={false}
    >
      <HoverCard.Target>{number}</HoverCard.Target>
      <HoverCard.Dropdown>
        <ChannelFacts cell={cell} name={name} />
      </HoverCard.Dropdown>
    </HoverCard>
  );
}
