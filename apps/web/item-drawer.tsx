/** A SKU opened beside the list (`?sku=`): where its units are, what each channel knows, what moved last. */
import { Drawer, Skeleton, Stack, Table, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Connection, InventoryItem, Movement, Position } from '../client/types.ts';
import { clockText, fullTimeText, placeName, useApp } from './app-context.ts';
import { Changing } from './changing.tsx';
import { ProblemNotice } from './problem-notice.tsx';
import { targetStatus } from './status.ts';
import { StatusTag } from './status-tag.tsx';

const shown = (value: number | null): string => (value === null ? '—' : String(value));

type Bucket = Exclude<keyof Position, 'location'>;
const always: readonly Bucket[] = ['sellable', 'committed', 'reserved', 'available'];
const seldom: readonly Bucket[] = ['damaged', 'quarantine', 'expired', 'incoming'];

/** The numbers worth a column: those that every position has, and those that are not 0 everywhere. */
const bucketsOf = (positions: readonly Position[]): readonly Bucket[] => [
  ...always,
  ...seldom.filter((bucket) => positions.some((at) => at[bucket] !== 0)),
];

function Positions({ item }: { item: InventoryItem }) {
  if (item.bundle)
    return (
      <>
        <Text size="sm">
          A bundle: {item.available} can be built.
          {item.bundle.limiting === null ? '' : ` ${item.bundle.limiting} limits it.`}
        </Text>
        <Table tabularNums className="facts-table">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Component</Table.Th>
              <Table.Th scope="col">Units each</Table.Th>
              <Table.Th scope="col">Available</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {item.bundle.components.map((part) => (
              <Table.Tr key={part.sku}>
                <Table.Td>
                  <bdi dir="ltr">{part.sku}</bdi>
                </Table.Td>
                <Table.Td>{part.units}</Table.Td>
                <Table.Td>{part.available}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </>
    );
  if (item.positions.length === 0)
    return <Text size="sm">No location holds this SKU yet. Receive or count units, or import stock.</Text>;
  const buckets = bucketsOf(item.positions);
  return (
    <Table tabularNums className="facts-table">
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">Location</Table.Th>
          {buckets.map((bucket) => (
            <Table.Th key={bucket} scope="col" className="bucket">
              {bucket}
            </Table.Th>
          ))}
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {item.positions.map((at) => (
          <Table.Tr key={at.location}>
            <Table.Th scope="row" className="row-head">
              {at.location}
            </Table.Th>
            {buckets.map((bucket) => (
              <Table.Td key={bucket}>{at[bucket]}</Table.Td>
            ))}
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Listings({ item, connections }: { item: InventoryItem; connections: readonly Connection[] }) {
  if (item.listings.length === 0) return <Text size="sm">No channel offers this SKU. Map a listing to it.</Text>;
  return (
    <Table tabularNums className="facts-table">
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">Channel</Table.Th>
          <Table.Th scope="col">Wanted</Table.Th>
          <Table.Th scope="col">Expected</Table.Th>
          <Table.Th scope="col">Accepted</Table.Th>
          <Table.Th scope="col">Observed</Table.Th>
          <Table.Th scope="col" className="state-cell">
            State
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {item.listings.map((listing) => {
          const at = Date.parse(listing.updatedAt);
          const connection = connections.find(({ id }) => id === listing.connectionId);
          return (
            <Table.Tr key={`${listing.id} ${listing.channelLocation}`}>
              <Table.Th scope="row" className="row-head">
                {connection?.name ?? listing.platform}
                <Text size="xs" c="dimmed">
                  <bdi dir="ltr">{placeName(connection, listing.channelLocation)}</bdi>
                </Text>
              </Table.Th>
              <Table.Td>{shown(listing.desired)}</Table.Td>
              <Table.Td>{shown(listing.expected)}</Table.Td>
              <Table.Td>{shown(listing.accepted)}</Table.Td>
              <Table.Td>
                <Changing value={shown(listing.observed)} />
              </Table.Td>
              <Table.Td className="state-cell">
                <StatusTag status={targetStatus(listing.state)} />
                <Text size="xs" c="dimmed" title={fullTimeText(at)}>
                  since {clockText(at)}
                </Text>
                {listing.reason ? <Text size="xs">{listing.reason}</Text> : null}
              </Table.Td>
            </Table.Tr>
          );
        })}
      </Table.Tbody>
    </Table>
  );
}

const side = (place: Movement['from']): string => (place === null ? 'outside' : `${place.location} ${place.bucket}`);

function Movements({ sku }: { sku: string }) {
  const { api } = useApp();
  const movements = useQuery({
    queryKey: ['movements', sku],
    queryFn: ({ signal }) => api.movements({ sku, limit: 10 }, signal),
  });
  if (movements.isError)
    return (
      <ProblemNotice
        error={movements.error}
        what={`read the movements of ${sku}`}
        onRetry={() => void movements.refetch()}
      />
    );
  if (!movements.data) return <Skeleton height={72} aria-busy="true" aria-label="Loading movements" />;
  if (movements.data.items.length === 0)
    return <Text size="sm">Nothing has moved. Orders commit units; they move when they ship.</Text>;
  return (
    <ol className="movements">
      {movements.data.items.map((movement) => (
        <li key={movement.id}>
          <span className="movement-units">{movement.units}</span>
          <span>
            {movement.kind.replaceAll('_', ' ')}: {side(movement.from)} → {side(movement.to)}
            <Text size="xs" c="dimmed">
              {fullTimeText(Date.parse(movement.businessAt))} · {movement.reason.replaceAll('_', ' ')}
            </Text>
          </span>
        </li>
      ))}
    </ol>
  );
}

function ItemFacts({ sku, connections }: { sku: string; connections: readonly Connection[] }) {
  const { api } = useApp();
  const item = useQuery({ queryKey: ['item', sku], queryFn: ({ signal }) => api.inventoryItem(sku, signal) });
  if (item.isError)
    return <ProblemNotice error={item.error} what={`read ${sku}`} onRetry={() => void item.refetch()} />;
  if (!item.data) return <Skeleton height={240} aria-busy="true" aria-label={`Loading ${sku}`} />;
  const { data } = item;
  return (
    <Stack gap="xl">
      <div>
        <Text c="dimmed" size="sm">
          {data.title}
        </Text>
        <p className="one-number">
          <Changing value={data.available} /> <span>available</span>
        </p>
        <Text size="sm">
          {data.bundle ? '' : `${data.physical} sellable − ${data.committed} committed − ${data.reserved} reserved. `}
          {data.buffer === 0 ? 'No buffer' : `Buffer ${data.buffer}`}: {data.broadcast} may be shown.
        </Text>
      </div>
      <section aria-labelledby="drawer-channels">
        <Title order={3} id="drawer-channels" className="section-title">
          Channels
        </Title>
        <Listings item={data} connections={connections} />
      </section>
      <section aria-labelledby="drawer-positions">
        <Title order={3} id="drawer-positions" className="section-title">
          Where the units are
        </Title>
        <Positions item={data} />
      </section>
      <section aria-labelledby="drawer-movements">
        <Title order={3} id="drawer-movements" className="section-title">
          Last movements
        </Title>
        <Movements sku={sku} />
      </section>
    </Stack>
  );
}

export function ItemDrawer({
  sku,
  connections,
  onClose,
}: {
  sku: string | undefined;
  connections: readonly Connection[];
  onClose(): void;
}) {
  return (
    <Drawer
      opened={sku !== undefined}
      onClose={onClose}
      position="right"
      size={640}
      title={<bdi dir="ltr">{sku}</bdi>}
      closeButtonProps={{ 'aria-label': 'Close' }}
      className="item-drawer"
    >
      {sku === undefined ? null : <ItemFacts sku={sku} connections={connections} />}
    </Drawer>
  );
}
