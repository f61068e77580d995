import { describe, expect, test } from 'vitest';
import { judgeScarcity, type Offer, type ScarcityInput, withheldFor } from './scarcity.ts';

const none = { lastUnits: null, to: null };
const offer = (connectionId: string, more: Partial<Offer> = {}): Offer => ({
  connectionId,
  priority: 100,
  direct: true,
  writable: true,
  sold: 0,
  settings: none,
  ...more,
});
const input = (more: Partial<ScarcityInput>): ScarcityInput => ({
  available: 2,
  variant: none,
  organization: { lastUnits: 2, to: null },
  offers: [offer('a', { priority: 200 }), offer('b', { priority: 50 })],
  open: null,
  ...more,
});

describe('the last units', () => {
  const cases: [string, Partial<ScarcityInput>, ReturnType<typeof judgeScarcity>][] = [
    [
      'at the limit they go to the connection of highest priority',
      {},
      { kind: 'begin', connectionId: 'b', lastUnits: 2 },
    ],
    ['above the limit nothing begins', { available: 3 }, { kind: 'unchanged' }],
    ['nothing available is scarce too', { available: 0 }, { kind: 'begin', connectionId: 'b', lastUnits: 2 }],
    ['one connection alone has nobody to share with', { offers: [offer('a')] }, { kind: 'unchanged' }],
    ['without a setting nothing is scarce', { organization: none, available: 0 }, { kind: 'unchanged' }],
    ['0 is never', { organization: { lastUnits: 0, to: null }, available: 0 }, { kind: 'unchanged' }],
    [
      'the SKU’s own limit wins over the organization’s',
      { variant: { lastUnits: 5, to: null }, available: 5 },
      { kind: 'begin', connectionId: 'b', lastUnits: 5 },
    ],
    ['the SKU’s own 0 switches it off', { variant: { lastUnits: 0, to: null } }, { kind: 'unchanged' }],
    [
      'of several connections’ limits the highest counts',
      {
        organization: none,
        available: 4,
        offers: [
          offer('a', { settings: { lastUnits: 4, to: null } }),
          offer('b', { settings: { lastUnits: 1, to: null } }),
        ],
      },
      { kind: 'begin', connectionId: 'a', lastUnits: 4 },
    ],
    [
      'by sales: who sold more lately, whatever the priority',
      {
        organization: { lastUnits: 2, to: 'sales' },
        offers: [offer('a', { priority: 200, sold: 7 }), offer('b', { priority: 50, sold: 6 })],
      },
      { kind: 'begin', connectionId: 'a', lastUnits: 2 },
    ],
    [
      'equal sales are decided by priority',
      { organization: { lastUnits: 2, to: 'sales' } },
      { kind: 'begin', connectionId: 'b', lastUnits: 2 },
    ],
    [
      'whoever offers the variant itself comes before one that has it in a bundle only',
      { offers: [offer('a', { priority: 200 }), offer('b', { priority: 50, direct: false })] },
      { kind: 'begin', connectionId: 'a', lastUnits: 2 },
    ],
    [
      'a connection that cannot be written is not chosen',
      { offers: [offer('a', { priority: 200 }), offer('b', { priority: 50, writable: false })] },
      { kind: 'begin', connectionId: 'a', lastUnits: 2 },
    ],
    [
      'nobody can be written: nothing begins',
      { offers: [offer('a', { writable: false }), offer('b', { writable: false })] },
      { kind: 'unchanged' },
    ],
    [
      'it does not flap: 3 does not end a limit of 2',
      { available: 3, open: { connectionId: 'b', lastUnits: 2 } },
      { kind: 'unchanged' },
    ],
    ['4 ends a limit of 2', { available: 4, open: { connectionId: 'b', lastUnits: 2 } }, { kind: 'end' }],
    [
      '2 does not end a limit of 1, 3 does',
      { organization: { lastUnits: 1, to: null }, available: 3, open: { connectionId: 'a', lastUnits: 1 } },
      { kind: 'end' },
    ],
    [
      'the choice stays although another one has priority now',
      { open: { connectionId: 'a', lastUnits: 2 } },
      { kind: 'unchanged' },
    ],
    [
      'it stays although its connection cannot be written: its number still stands there',
      { offers: [offer('a', { writable: false }), offer('b')], open: { connectionId: 'a', lastUnits: 2 } },
      { kind: 'unchanged' },
    ],
    [
      'when the chosen connection offers it no longer, another gets them',
      { open: { connectionId: 'gone', lastUnits: 2 } },
      { kind: 'move', connectionId: 'b', lastUnits: 2 },
    ],
    [
      'the setting is gone: it ends',
      { organization: none, open: { connectionId: 'a', lastUnits: 2 } },
      { kind: 'end' },
    ],
  ];
  test.each(cases)('%s', (_, more, verdict) => expect(judgeScarcity(input(more))).toEqual(verdict));
});

describe('what is withheld', () => {
  const scarce = { connectionId: 'b', connection: 'Shop B', lastUnits: 3 };
  test.each([
    ['the chosen connection offers them', 'b', null, [{ sku: 'MUG', scarce }], null],
    [
      'every other shows 0, and why',
      'a',
      null,
      [{ sku: 'MUG', scarce }],
      'the last 3 of MUG are offered on Shop B only',
    ],
    [
      'one scarce part withholds the bundle',
      'a',
      9,
      [
        { sku: 'CUP', scarce: null },
        { sku: 'MUG', scarce },
      ],
      'the last 3 of MUG are offered on Shop B only',
    ],
    ['a connection set to 0 is never withheld from', 'a', 0, [{ sku: 'MUG', scarce }], null],
    ['plenty is offered everywhere', 'a', null, [{ sku: 'MUG', scarce: null }], null],
  ] as const)('%s', (_, connectionId, setting, parts, reason) =>
    expect(withheldFor(connectionId, setting, parts)).toBe(reason),
  );
});
