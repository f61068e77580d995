import { expect, test } from 'vitest';
import type { InventoryItem, Listing } from '../client/types.ts';
import { channelCell, listingMarks, numbersText, savedText, signed } from './channel-cell.ts';
import { heaviest, targetStatus } from './status.ts';

const target = (more: Partial<Listing>): Listing => ({
  id: 'l',
  connectionId: 'c',
  platform: 'shopify',
  externalId: 'p',
  variantExternalId: null,
  channelSku: 'S',
  stockKey: 'k',
  channelLocation: 'MAIN',
  desired: 99,
  expected: 99,
  accepted: 99,
  observed: 99,
  state: 'in_sync',
  reason: null,
  updatedAt: '2026-01-01T00:00:00.000Z',
  ...more,
});
const item = (...listings: Listing[]): InventoryItem => ({
  sku: 'S',
  title: '',
  onHand: 0,
  committed: 0,
  reserved: 0,
  available: 0,
  physical: 0,
  buffer: 0,
  broadcast: 0,
  lastBroadcast: null,
  bundle: null,
  positions: [],
  listings,
});

test('the locations of a listing add up to one observed number', () => {
  const cell = channelCell(
    item(
      target({}),
      target({ channelLocation: 'EAST', desired: 3, observed: 3 }),
      target({ connectionId: 'other', observed: 50 }),
    ),
    'c',
  );
  expect(cell).toMatchObject({ numbers: [102], state: 'in_sync', quiet: true, difference: null });
});

test('one unknown location makes the whole unknown, never 0', () => {
  const cell = channelCell(
    item(target({}), target({ channelLocation: 'EAST', observed: null, state: 'unknown', reason: 'timed out' })),
    'c',
  );
  expect(cell).toMatchObject({
    numbers: [null],
    state: 'unknown',
    quiet: false,
    difference: null,
    reason: 'timed out',
  });
  expect(cell && numbersText(cell)).toBe('—');
});

test('a difference is shown only while the number is not in step', () => {
  expect(channelCell(item(target({ observed: 100, state: 'pending' })), 'c')?.difference).toBe(1);
  expect(channelCell(item(target({ observed: 98, state: 'read_only' })), 'c')?.difference).toBeNull();
  expect([signed(3), signed(-2)]).toEqual(['+3', '−2']);
});

test('two listings of a SKU stand side by side; two listings of one stock key are one number', () => {
  const two = channelCell(item(target({}), target({ id: 'm', stockKey: 'other', observed: 98 })), 'c');
  expect(two && numbersText(two)).toBe('99 / 98');
  expect(channelCell(item(target({}), target({ id: 'm' })), 'c')?.numbers).toEqual([99]);
});

test('a SKU not offered on a channel has no cell', () => {
  expect(channelCell(item(), 'c')).toBeNull();
});

test('of several states the heaviest wins, and one we do not know outweighs all', () => {
  expect(heaviest(['in_sync', 'unauthorized', 'pending'])).toBe('unauthorized');
  expect(heaviest(['rejected', 'brand_new'])).toBe('brand_new');
  expect(targetStatus('brand_new')).toMatchObject({ word: 'brand new', role: 'warn' });
});

test('a saved buffer counts as seen only where the channel changed after it, or shows the new number', () => {
  const old = item(target({ observed: 100, desired: 100 }), target({ connectionId: 'd', observed: 100, desired: 100 }));
  const before = listingMarks(old);
  expect(savedText(old, 7, before)).toBe('Saved. Reading the channels …');
  const read = { ...old, buffer: 7, broadcast: 93 };
  expect(savedText(read, 7, before)).toBe('Saved. Seen on 0 of 2 channels.');
  const sending = {
    ...read,
    listings: [
      target({ observed: 100, desired: 93, state: 'pending', updatedAt: '2026-01-02T00:00:00.000Z' }),
      ...read.listings.slice(1),
    ],
  };
  expect(savedText(sending, 7, before)).toBe('Saved. Seen on 0 of 2 channels.');
  const shown = {
    ...read,
    listings: [
      target({ observed: 93, desired: 93 }),
      target({ connectionId: 'd', observed: 50, desired: 50, updatedAt: '2026-01-02T00:00:00.000Z' }),
    ],
  };
  expect(savedText(shown, 7, before)).toBe('Saved. Seen on 2 of 2 channels.');
  expect(savedText(item(), 7, new Map())).toBe('Saved. No channel offers this SKU.');
});
