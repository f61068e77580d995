/** The client's types are the server's: a changed answer fails the type check here (npm run check). */
import { expect, expectTypeOf, test } from 'vitest';
import type { z } from 'zod';
import type { inventoryItem } from '#server/api/routes/schemas.ts';
import type { AlertItem } from '#store/views/attention.ts';
import type { ConnectionItem } from '#store/views/connections.ts';
import type { FeedEvent } from '#store/views/events.ts';
import type { InventoryItem as InventoryRow } from '#store/views/inventory.ts';
import type { MovementItem } from '#store/views/movements.ts';
import type { OrderItem } from '#store/views/orders.ts';
import type { Alert, Connection, InventoryItem, LiveEvent, Movement, Order } from './types.ts';

test('the client knows every field the server answers with, and no other', () => {
  expectTypeOf<InventoryItem>().toEqualTypeOf<z.infer<typeof inventoryItem>>();
  expectTypeOf<InventoryItem>().toEqualTypeOf<InventoryRow>();
  expectTypeOf<Connection>().toEqualTypeOf<ConnectionItem>();
  expectTypeOf<Movement>().toEqualTypeOf<MovementItem>();
  expectTypeOf<Order>().toEqualTypeOf<OrderItem>();
  expectTypeOf<Alert>().toEqualTypeOf<AlertItem>();
  expectTypeOf<LiveEvent['type']>().toEqualTypeOf<FeedEvent['type']>();
  const event: LiveEvent = { type: 'stock', sku: 'DEMO-001', version: 1, at: '2026-01-01T00:00:00.000Z' };
  expect(Object.keys(event)).toEqual(['type', 'sku', 'version', 'at']);
});
