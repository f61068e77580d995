/** The same SKUs on a phone: one card each, with the number that matters and every channel's. */
import { UnstyledButton } from '@mantine/core';
import type { Connection, InventoryItem } from '../client/types.ts';
import { BufferEditor } from './buffer-editor.tsx';
import { BuyMenu } from './buy-menu.tsx';
import { Changing } from './changing.tsx';
import { ChannelNumber } from './channel-number.tsx';

interface StockCardsProps {
  items: readonly InventoryItem[];
  connections: readonly Connection[];
  busy: boolean;
  onOpen(sku: string): void;
}

export function StockCards({ items, connections, busy, onOpen }: StockCardsProps) {
  return (
    <ul className="cards" aria-busy={busy} aria-label="Stock by SKU">
      {items.map((item) => (
        <li key={item.sku} className="card" data-sku={item.sku}>
          <div className="card-head">
            <UnstyledButton className="sku-button" onClick={() => onOpen(item.sku)}>
              <bdi dir="ltr">{item.sku}</bdi>
            </UnstyledButton>
            <span className="card-available">
              <Changing value={item.available} /> <span className="dimmed">available</span>
            </span>
          </div>
          <div className="card-title dimmed">{item.title}</div>
          <dl className="card-channels">
            {connections.map((connection) => (
              <div key={connection.id}>
                <dt>{connection.name}</dt>
                <dd>
                  <ChannelNumber item={item} connectionId={connection.id} name={connection.name} />
                </dd>
              </div>
            ))}
          </dl>
          <div className="card-foot">
            <span className="card-buffer">
              <span className="dimmed">Buffer</span> <BufferEditor item={item} />
            </span>
            <BuyMenu item={item} />
          </div>
        </li>
      ))}
    </ul>
  );
}
