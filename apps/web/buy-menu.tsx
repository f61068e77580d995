/** "Buy": a simulated buyer buys one unit at a simulated shop, as a real one would: the shop lowers its own number first. */
import { Button, Menu, Text, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconShoppingCart } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
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
  const connections = useConnections();
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
  const shops = shopsFor(item, connections);
  const none = shops.length === 0;
  const button = (
    <Button
      size="compact-xs"
      variant="default"
      leftSection={<IconShoppingCart size={14} aria-hidden />}
      aria-label={`Buy ${item.sku}`}
      {...(none ? { 'aria-disabled': true, 'data-disabled': true } : {})}
      loading={purchase.isPending}
    >
      Buy
    </Button>
  );
  if (none)
    return (
      <Tooltip
        label="No simulated shop sells this SKU from your stock"
        events={{ hover: true, focus: true, touch: true }}
      >
        {button}
      </Tooltip>
    );
  return (
    <Menu position="bottom-end" withinPortal withInitialFocusPlaceholder={false}>
      <Menu.Target>{button}</Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>A simulated buyer buys 1 at</Menu.Label>
        {shops.map((shop) => (
          <Menu.Item key={shop.id} onClick={() => purchase.mutate(shop)}>
            <Text size="sm">{shop.name}</Text>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
