import { expect, test } from 'vitest';
import type { Connection } from '../client/types.ts';
import { ageText, evidenceOf, verdictOf } from './verdict.ts';

const now = Date.parse('2026-01-01T12:00:00Z');
const connection = (name: string, more: Partial<Connection> = {}): Connection => ({
  id: name,
  platform: 'shopify',
  kind: 'simulated',
  name,
  state: 'connected',
  stateReason: null,
  paused: false,
  pause: null,
  shadowSince: null,
  baseUrl: null,
  waiting: 0,
  oldestWaiting: null,
  targets: { in_sync: 28 },
  listings: 28,
  unmapped: 0,
  ordersReadTo: null,
  lastAccepted: null,
  locations: [],
  ...more,
});

test('all in step is one sentence and nothing else', () => {
  const connections = [connection('A'), connection('B', { targets: { in_sync: 1, read_only: 2 } }), connection('C')];
  expect(verdictOf(connections, now)).toEqual({ role: 'ok', sentence: 'All 3 channels are in step.', clauses: [] });
  expect(evidenceOf(connections)).toBe('84 listings show the number they should; nothing is on its way.');
});

test('numbers on their way are counted, with the age of the oldest', () => {
  const amazon = connection('Amazon Demo', {
    waiting: 2,
    oldestWaiting: '2026-01-01T11:59:59Z',
    targets: { in_sync: 27, pending: 1 },
  });
  expect(verdictOf([connection('A'), connection('B'), amazon], now)).toEqual({
    role: 'info',
    sentence: '2 of 3 channels are in step.',
    clauses: [{ connectionId: 'Amazon Demo', role: 'info', text: 'Amazon Demo: 2 numbers on their way, oldest 1 s.' }],
  });
});

test('the worst channel comes first and says what it means for stock', () => {
  const verdict = verdictOf(
    [
      connection('P', { paused: true, waiting: 1, oldestWaiting: '2026-01-01T11:00:00Z' }),
      connection('D', { targets: { in_sync: 20, drifted: 2, rejected: 1 } }),
      connection('U', { state: 'unauthorized' }),
    ],
    now,
  );
  expect(verdict.role).toBe('bad');
  expect(verdict.sentence).toBe('0 of 3 channels are in step.');
  expect(verdict.clauses.map(({ text }) => text)).toEqual([
    'D: 2 drifted, 1 rejected.',
    'U needs sign-in: its 28 listings keep their old numbers.',
    'P is paused; 1 change waits, oldest 1 h.',
  ]);
});

test('an unmapped listing has no number to keep: it is not out of step', () => {
  const shop = connection('A', { waiting: 0, targets: { in_sync: 56, unmapped: 2 }, listings: 29, unmapped: 1 });
  expect(verdictOf([shop], now).role).toBe('ok');
});

test('no channel at all is not "in step"', () => {
  expect(verdictOf([], now)).toEqual({ role: 'neutral', sentence: 'No channel is connected yet.', clauses: [] });
});

test('ages are spelled out', () => {
  expect([0, 59_999, 60_000, 3_600_000, 200_000_000, -5].map(ageText)).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '1 h',
    '2 days',
    '0 s',
  ]);
});
