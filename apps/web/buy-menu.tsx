/** "Buy": a simulated buyer buys one unit at a simulated shop, as a real one would: the shop lowers its own number first. */
import { Button, type ButtonProps, Menu, Text, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconShoppingCart } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { type ComponentProps, type Ref, useEffect, useRef, useState } from 'react';
import type { Connection, InventoryItem } from '../client/types.ts';
import { useApp, useConnections } from './app-context.ts';
import { problemText } from './problem-text.ts';

/** Simulated shops that offer the SKU and sell from stock we keep. */
export function shopsFor(item: InventoryItem, connections: readonly Connection[]): Connection[] {
  return connections.filter(
    (connection) =>
      connection.kind === 'simulated' &&
      item.listings.some((listing) => listing.connectionId === connection.id && listing.state !== 'read_only'),
  );
}

export function BuyMenu({ item }: { item: InventoryItem }) {
  const { api, live } = useApp();
  const [used, setUsed] = useState(false);
  const shops = shopsFor(item, useConnections());
  const purchase = useMutation({
    mutationFn: (shop: Connection) => api.buy(shop.id, [{ sku: item.sku, quantity: 1 }]),
    onSuccess: ({ order }, shop) => {
      live.feed.add({
        id: `bought:${shop.id}:${order}`,
        at: Date.now(),
        role: 'simulated',
        text: `A buyer took 1 × ${item.sku} at ${shop.name}`,
      });
    },
    onError: (error, shop) => {
      const text = problemText(error, `buy ${item.sku} at ${shop.name}`, true);
      notifications.show({
        color: 'red',
        title: text.happened,
        message: `${text.stock} ${text.details}`,
        autoClose: false,
      });
    },
  });
  if (shops.length === 0)
    return (
      <Tooltip
        label="No simulated shop sells this SKU from your stock"
        events={{ hover: true, focus: true, touch: true }}
      >
        <BuyButton sku={item.sku} aria-disabled data-disabled />
      </Tooltip>
    );
  // A menu costs more than all else in a row: it comes with the first press.
  if (!used)
    return <BuyButton sku={item.sku} aria-haspopup="menu" aria-expanded={false} onClick={() => setUsed(true)} />;
  return <ShopMenu sku={item.sku} shops={shops} busy={purchase.isPending} onChoose={purchase.mutate} />;
}

function BuyButton({
  sku,
  ...others
}: { sku: string; ref?: Ref<HTMLButtonElement> } & ButtonProps &
  Omit<ComponentProps<'button'>, keyof ButtonProps | 'ref'>) {
  return (
    <Button
      size="compact-xs"
      variant="default"
      leftSection={<IconShoppingCart size={14} aria-hidden />}
      aria-label={`Buy ${sku}`}
      {...others}
    >
      Buy
    </Button>
  );
}

interface ShopMenuProps {
  sku: string;
  shops: readonly Connection[];
  busy: boolean;
  onChoose(shop: Connection): void;
}

/** Opens by itself when it appears, from a focused button, so that closing gives the focus back to it. */
function ShopMenu({ sku, shops, busy, onChoose }: ShopMenuProps) {
  const [opened, setOpened] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    button.current?.focus();
    setOpened(true);
  }, []);
  return (
    <Menu opened={opened} onChange={setOpened} position="bottom-end" withinPortal withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <BuyButton sku={sku} ref={button} loading={busy} />
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>A simulated buyer buys 1 at</Menu.Label>
        {shops.map((shop) => (
          <Menu.Item key={shop.id} onClick={() => onChoose(shop)}>
            <Text size="sm">{shop.name}</Text>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
