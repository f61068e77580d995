/**
 * The SKUs as a table: what there is, and what each channel shows. One row per SKU in SKU order; rows have one fixed
 * height and only those near the window are in the page, so a hundred thousand of them scroll as ten do.
 */
import { Table, UnstyledButton } from '@mantine/core';
import { createColumnHelper, tableFeatures, useTable } from '@tanstack/react-table';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { Connection, InventoryItem } from '../client/types.ts';
import { BufferEditor } from './buffer-editor.tsx';
import { BuyMenu } from './buy-menu.tsx';
import { Changing } from './changing.tsx';
import { ChannelNumber } from './channel-number.tsx';

const rowHeight = 36;
const headerHeight = 48;
const features = tableFeatures({});
const helper = createColumnHelper<typeof features, InventoryItem>();
const numeric = new Set(['onHand', 'committed', 'reserved', 'available', 'buffer']);
const kindOf = (columnId: string): string =>
  columnId.startsWith('channel:') ? 'channel' : numeric.has(columnId) ? 'number' : columnId;

interface StockTableProps {
  items: readonly InventoryItem[];
  totalSkus: number;
  connections: readonly Connection[];
  busy: boolean;
  onOpen(sku: string): void;
}

/** A channel's column: what it is called decides, so that news about the connection does not rebuild open cells. */
type Channel = Pick<Connection, 'id' | 'name'>;

function useChannels(connections: readonly Connection[]): readonly Channel[] {
  const names = JSON.stringify(connections.map(({ id, name }) => ({ id, name })));
  return useMemo(() => JSON.parse(names) as Channel[], [names]);
}

function columnsFor(channels: readonly Channel[], onOpen: (sku: string) => void) {
  const goods = (id: 'onHand' | 'committed' | 'reserved', header: string) =>
    helper.display({
      id,
      header,
      // A bundle has no goods of its own; its parts have.
      cell: ({ row }) =>
        row.original.bundle ? <NoGoods word={id === 'onHand'} /> : <Changing value={row.original[id]} />,
    });
  return helper.columns([
    helper.display({
      id: 'sku',
      header: 'SKU',
      cell: ({ row }) => (
        <UnstyledButton className="sku-button" onClick={() => onOpen(row.original.sku)}>
          <bdi dir="ltr">{row.original.sku}</bdi>
        </UnstyledButton>
      ),
    }),
    helper.display({
      id: 'title',
      header: 'Name',
      cell: ({ row }) => <span title={row.original.title}>{row.original.title}</span>,
    }),
    goods('onHand', 'On hand'),
    goods('committed', 'Committed'),
    goods('reserved', 'Reserved'),
    helper.display({
      id: 'available',
      header: 'Available',
      cell: ({ row }) => <Changing value={row.original.available} />,
    }),
    helper.display({ id: 'buffer', header: 'Buffer', cell: ({ row }) => <BufferEditor item={row.original} /> }),
    ...channels.map((channel) =>
      helper.display({
        id: `channel:${channel.id}`,
        header: channel.name,
        cell: ({ row }) => <ChannelNumber item={row.original} connectionId={channel.id} name={channel.name} />,
      }),
    ),
    helper.display({
      id: 'buy',
      header: 'Buy',
      cell: ({ row }) => <BuyMenu item={row.original} />,
    }),
  ]);
}

function NoGoods({ word }: { word: boolean }) {
  return word ? <span className="dimmed">bundle</span> : <span className="sr-only">none of its own</span>;
}

/** How far the table's body lies below the top of the document. */
function useOffset(element: React.RefObject<HTMLElement | null>): number {
  const [offset, setOffset] = useState(0);
  useLayoutEffect(() => {
    const measure = () => {
      if (element.current) setOffset(element.current.getBoundingClientRect().top + scrollY);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, [element]);
  return offset;
}

export function StockTable({ items, totalSkus, connections, busy, onOpen }: StockTableProps) {
  const channels = useChannels(connections);
  const columns = useMemo(() => columnsFor(channels, onOpen), [channels, onOpen]);
  const data = useMemo(() => [...items], [items]);
  const table = useTable({ features, columns, data, getRowId: (item) => item.sku });
  const rows = table.getRowModel().rows;
  const body = useRef<HTMLTableSectionElement>(null);
  const scrollMargin = useOffset(body);
  const virtualizer = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => rowHeight,
    overscan: 30,
    scrollMargin,
    scrollPaddingStart: headerHeight + rowHeight,
  });
  const visible = virtualizer.getVirtualItems();
  const above = (visible[0]?.start ?? scrollMargin) - scrollMargin;
  const below = virtualizer.getTotalSize() - ((visible.at(-1)?.end ?? scrollMargin) - scrollMargin);

  return (
    <Table
      className="stock-table"
      tabularNums
      stickyHeader
      stickyHeaderOffset={headerHeight}
      aria-rowcount={totalSkus + 1}
      aria-busy={busy}
      aria-label="Stock by SKU and channel"
    >
      <Table.Thead>
        {table.getHeaderGroups().map((group) => (
          <Table.Tr key={group.id} aria-rowindex={1}>
            {group.headers.map((header) => (
              <Table.Th key={header.id} scope="col" data-kind={kindOf(header.column.id)}>
                <table.FlexRender header={header} />
              </Table.Th>
            ))}
          </Table.Tr>
        ))}
      </Table.Thead>
      <Table.Tbody ref={body}>
        {above > 0 ? <Spacer height={above} columns={columns.length} /> : null}
        {visible.map(({ index }) => {
          const row = rows[index];
          if (!row) return null;
          return (
            <Table.Tr
              key={row.id}
              aria-rowindex={index + 2}
              data-sku={row.original.sku}
              onClick={(event) => {
                // Controls of the row act for themselves; portals (menus, popovers) are not inside it.
                if (
                  event.target instanceof Element &&
                  event.currentTarget.contains(event.target) &&
                  !event.target.closest('button, a, input')
                )
                  onOpen(row.original.sku);
              }}
            >
              {row.getAllCells().map((cell) => (
                <Table.Td key={cell.id} data-kind={kindOf(cell.column.id)}>
                  <table.FlexRender cell={cell} />
                </Table.Td>
              ))}
            </Table.Tr>
          );
        })}
        {below > 0 ? <Spacer height={below} columns={columns.length} /> : null}
      </Table.Tbody>
    </Table>
  );
}

function Spacer({ height, columns }: { height: number; columns: number }) {
  return (
    <tr aria-hidden className="spacer">
      <td colSpan={columns} style={{ height }} />
    </tr>
  );
}

const greyRows = Array.from({ length: 12 }, (_, index) => index);

/** The table before its first rows: the same geometry, so that nothing jumps. */
export function StockTableLoading() {
  return (
    <div className="stock-loading" aria-busy="true">
      <span className="sr-only">Loading stock</span>
      {greyRows.map((index) => (
        <div key={index} className="grey-row" />
      ))}
    </div>
  );
}
