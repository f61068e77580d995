/** The auditor is judged by evidence written by hand: of each rule one case that is right and one that is wrong. */
import { describe, expect, test } from 'vitest';
import { atQuiet, first, later, looks, rows } from './auditing.testing.ts';
import { inWords } from './auditor.ts';
import {
  attempt,
  booked,
  channel,
  claimEvent,
  evidence,
  movement,
  order,
  position,
  target,
} from './evidence.testing.ts';
import type { Act, Rows } from './evidence.ts';

test('where everything is as it should be there is nothing to say', () => {
  expect(atQuiet(first)).toEqual([]);
});

test('a finding reads as one line: promise, what, where, and the step', () => {
  expect(
    inWords({
      promise: 'P4',
      sku: 'CUP',
      channel: 'shop',
      expected: '3',
      found: '4',
      words: 'the number',
      steps: [2, 7],
    }),
  ).toBe('P4 · CUP at shop · the number: expected 3, found 4 (step 2, 7)');
});

describe('P1: the ledger adds up', () => {
  test('a bucket that is not the sum of its movements', () => {
    expect(looks(evidence(rows({ positions: [position({ sellable: 9 })] })))).toEqual([
      'P1 · CUP · sellable in MAIN is not the sum of its movements: expected 10, found 9 (step 1)',
    ]);
    const broke = movement({ id: 'm2', units: 2, fromLocation: 'main', fromBucket: 'sellable', toBucket: 'damaged' });
    expect(
      looks(evidence(rows({ positions: [position({ sellable: 8, damaged: 2 })], movements: [movement(), broke] }))),
    ).toEqual([]);
  });

  test('a movement that was changed after it was written', () => {
    const changed = movement({ reason: 'found' });
    expect(looks(first, later({ movements: [changed] }, { movements: [changed] }))[0]).toMatch(
      /^P1 · CUP · a movement was changed: expected \{.*"received".*\}, found \{.*"found".*\} \(step 2\)$/,
    );
  });

  test('committed that is not the sum of open commitments, and a claim that is not the sum of its log', () => {
    expect(looks(evidence(rows(booked(3)), { channels: [channel('shop', { orders: [order(3)] })] }))).toEqual([]);
    const wrong = { ...booked(3), positions: [position({ committed: 2 })], claimEvents: [claimEvent({ delta: 4 })] };
    expect(looks(evidence(rows(wrong), { channels: [channel('shop', { orders: [order(3)] })] }))).toEqual([
      'P1 · CUP · committed in MAIN is not the sum of open commitments: expected 3, found 2 (step 1)',
      'P1 · CUP · units of commitment l1 are not the sum of its log: expected 4, found 3 (step 1)',
    ]);
  });
});

describe('P2: never negative, never silent', () => {
  test('a bucket below 0, and more claims than goods', () => {
    const negative = movement({
      units: 11,
      fromLocation: 'main',
      fromBucket: 'sellable',
      toLocation: null,
      toBucket: null,
      id: 'm2',
    });
    expect(
      looks(evidence(rows({ positions: [position({ sellable: -1 })], movements: [movement(), negative] }))),
    ).toEqual([
      'P2 · CUP · sellable in MAIN: expected 0 or more, found -1 (step 1)',
      'P2 · CUP · more is claimed in MAIN than lies there: expected at most -1, found 0 committed and 0 reserved (step 1)',
    ]);
  });

  const short = (waiting: number) => ({
    shortfalls: [{ lineId: 'l1', variantId: 'cup', claimKind: 'commitment', waiting, filled: 0, cancelled: 0 }],
    claimEvents: [claimEvent({ claim: 'shortfall', locationId: null, delta: waiting, event: 'short' })],
    positions: [],
    movements: [],
  });
  const alert = { id: 'x', kind: 'oversell', severity: 'critical', subjectKind: 'line', subjectId: 'l1', message: '' };

  test('units sold without goods are told', () => {
    expect(looks(evidence(rows({ ...short(2), alerts: [alert] })))).toEqual([]);
    expect(looks(evidence(rows(short(2))))).toEqual([
      'P2 · CUP · 2 sold without goods, and nobody is told: expected a critical alert, found none (step 1)',
    ]);
  });

  test('nobody waits while goods are free', () => {
    const free = { ...short(2), alerts: [alert], positions: [position()], movements: [movement()] };
    expect(looks(evidence(rows(free)))).toEqual([
      'P2 · CUP · 2 wait for goods: expected 0 free, found 10 free (step 1)',
    ]);
  });

  const count = (outcome: Act['outcome'], after: number | null = 4): Act => ({
    kind: 'count',
    sku: 'CUP',
    location: 'MAIN',
    units: 4,
    before: 10,
    after,
    step: 2,
    at: 1_000,
    outcome,
  });
  const counted = movement({
    id: 'm2',
    units: 6,
    fromLocation: 'main',
    fromBucket: 'sellable',
    toLocation: null,
    toBucket: null,
    kind: 'count',
    reason: 'cycle_count',
  });
  const after = { positions: [position({ sellable: 4 })], movements: [movement(), counted] };

  test('a count is booked as it was told, and never refused', () => {
    expect(looks(first, later(after, { movements: [counted] }, { acts: [count('done')] }))).toEqual([]);
    expect(looks(first, later({}, {}, { acts: [count('refused', null)] }))).toEqual([
      'P2 · CUP · a count of 4 is a fact: expected booked, found refused (step 2)',
    ]);
    expect(looks(first, later({}, {}, { acts: [count('done')] }))).toEqual([
      'P2 · CUP · units of count that happened are not booked: expected -6, found 0 (step 2)',
    ]);
    expect(looks(first, later(after, { movements: [counted] }, { acts: [count('done', 5)] }))[0]).toBe(
      'P2 · CUP · counted in MAIN: expected 4, found 5 (step 2)',
    );
  });

  test('an answer that never came may mean either', () => {
    expect(looks(first, later({}, {}, { acts: [count('unknown', null)] }))).toEqual([]);
  });

  test('the clock does not release what a channel holds, nor what is held for a while too early', () => {
    const hold = { holdId: 'h1', variantId: 'cup', locationId: 'main', open: 0, confirmed: 0, released: 0 };
    const event = claimEvent({ claim: 'hold', claimId: 'h1', delta: -2, event: 'expire', seq: 2 });
    const held = claimEvent({ claim: 'hold', claimId: 'h1', delta: 2, event: 'hold' });
    const released = (origin: string, expiresAt: number | null) =>
      later({ holds: [{ ...hold, origin, expiresAt }] }, { claimEvents: [held, event] });
    expect(looks(first, released('own', 1_000))).toEqual([]);
    expect(looks(first, released('own', 1_001))).toEqual([
      'P2 · CUP · hold h1: expected held until its time, found released (step 2)',
    ]);
    expect(looks(first, released('channel', null))).toEqual([
      'P2 · CUP · the units of pending line h1: expected held until the channel says otherwise, found released by the clock (step 2)',
    ]);
  });
});

describe('P3: once', () => {
  const shop = (units: number, more = {}) => [channel('shop', { orders: [order(units, more)] }), channel('amazon')];
  const number = (quantity: number) => [{ sku: 'CUP', stockKey: 'CUP', location: 'MAIN', quantity, itsOwn: false }];
  const inStep = (units: number) => ({
    targets: [
      target({ observed: 10 - units }),
      target({ id: 'amazon cup', connectionId: 'amazon', channelLocation: 'DEFAULT', observed: 10 - units }),
    ],
  });
  const both = (units: number, truth: number) => [
    channel('shop', { orders: [order(truth)], items: number(10 - units) }),
    channel('amazon', {
      items: [{ sku: 'CUP', stockKey: 'CUP', location: 'DEFAULT', quantity: 10 - units, itsOwn: false }],
    }),
  ];

  test('an order that is booked twice, or that its channel does not have', () => {
    const twice = {
      ...booked(3),
      orders: [...booked(3).orders, { ...booked(3).orders[0], id: 'o2' } as Rows['orders'][number]],
    };
    expect(looks(evidence(rows(twice), { channels: shop(3) }))).toEqual([
      'P3 · at shop · order 1: expected once, found 2 times (step 1)',
      'P3 · at shop · order 1: expected once, found 2 times (step 1)',
    ]);
    expect(looks(evidence(rows(booked(3))))).toEqual([
      'P3 · at shop · order 1: expected no such order, found booked (step 1)',
    ]);
  });

  test('more units claimed than the buyer ever wanted', () => {
    expect(looks(evidence(rows(booked(3)), { channels: shop(3) }))).toEqual([]);
    expect(looks(evidence(rows(booked(3)), { channels: shop(2) }))).toEqual([
      'P3 · CUP at shop · units claimed or gone for order 1: expected at most 2, found 3 (step 1)',
    ]);
  });

  test('at quiet every order owes what its channel says', () => {
    expect(atQuiet(evidence(rows({ ...booked(3), ...inStep(3) }), { channels: both(3, 3) }))).toEqual([]);
    expect(atQuiet(evidence(rows({ ...booked(3), ...inStep(3) }), { channels: both(3, 4) }))).toEqual([
      'P3 · CUP at shop · order 1: units owed: expected 4, found 3 (step 1)',
    ]);
    expect(
      atQuiet(evidence(rows(), { channels: [channel('shop', { orders: [order(3)] }), channel('amazon')] })),
    ).toEqual(['P3 · at shop · order 1: expected once, found 0 times (step 1)']);
  });

  test('at quiet as many units have left as the channels say', () => {
    const shipped = order(0, {
      lines: [{ id: '11', sku: 'CUP', open: 0, shipped: 3, returned: 0, taken: { 'CUP@MAIN': 3 } }],
    });
    const line = { ...booked(3).lines[0], shipped: 3, claimed: 0 } as Rows['lines'][number];
    const gone = movement({
      id: 'm2',
      units: 3,
      fromLocation: 'main',
      fromBucket: 'sellable',
      toLocation: null,
      toBucket: null,
      kind: 'shipment',
      reason: 'sale',
    });
    const state = (movements: Rows['movements'], sellable: number): Partial<Rows> => ({
      ...booked(3),
      ...inStep(3),
      lines: [line],
      commitments: [{ lineId: 'l1', variantId: 'cup', locationId: 'main', open: 0, shipped: 3, released: 0 }],
      claimEvents: [],
      movements,
      positions: [position({ sellable })],
    });
    const channels = both(3, 0).map((one) => (one.name === 'shop' ? { ...one, orders: [shipped] } : one));
    expect(atQuiet(first, later(state([movement(), gone], 7), { movements: [gone] }, { channels }))).toEqual([]);
    const again = { ...gone, id: 'm3' };
    expect(
      atQuiet(first, later(state([movement(), gone, again], 4), { movements: [gone, again] }, { channels })),
    ).toContain(
      'P3 · CUP · units that left by the channels’ orders, and by our movements: expected 3, found 6 (step 2)',
    );
  });

  test('a return has one effect however often it is told', () => {
    const act: Act = {
      kind: 'return',
      id: 'R-1',
      sku: 'CUP',
      location: 'MAIN',
      units: 2,
      bucket: 'damaged',
      step: 2,
      at: 1_000,
      outcome: 'done',
    };
    const back = movement({ id: 'm2', units: 2, toBucket: 'damaged', kind: 'return', reason: 'damaged' });
    const state = (damaged: number, movements: Rows['movements']) => ({
      positions: [position({ damaged })],
      movements: [movement(), ...movements],
    });
    expect(atQuiet(first, later(state(2, [back]), { movements: [back] }, { acts: [act, act] }))).toEqual([]);
    const again = { ...back, id: 'm3' };
    expect(atQuiet(first, later(state(4, [back, again]), { movements: [back, again] }, { acts: [act, act] }))).toEqual([
      'P3 · CUP · units of return were booked more often than they happened: expected at most 2, found 4 (step 2)',
    ]);
  });

  test('a bundle is taken apart into what it was made of', () => {
    const kit = {
      variants: [...rows().variants, { id: 'set', sku: 'SET', isBundle: true }],
      components: [{ variantId: 'set', componentId: 'cup', units: 2 }],
    };
    const line = (units: number) =>
      ({
        ...booked(2).lines[0],
        variantId: 'set',
        explosion: [{ variantId: 'cup', units }],
      }) as Rows['lines'][number];
    const sold = order(1, { lines: [{ id: '11', sku: 'SET', open: 1, shipped: 0, returned: 0, taken: {} }] });
    const channels = both(2, 0).map((one) => (one.name === 'shop' ? { ...one, orders: [sold] } : one));
    expect(atQuiet(evidence(rows({ ...kit, ...booked(2), ...inStep(2), lines: [line(2)] }), { channels }))).toEqual([]);
    const wrong = atQuiet(
      evidence(rows({ ...kit, ...booked(1), ...inStep(1), lines: [line(1)] }), {
        channels: both(1, 0).map((one) => (one.name === 'shop' ? { ...one, orders: [sold] } : one)),
      }),
    );
    expect(wrong).toEqual([
      'P3 · SET at shop · order 1: what it was taken apart into: expected what the bundle was made of, found [{"variantId":"cup","units":1}] (step 1)',
    ]);
  });
});

describe('P4: at quiet every target shows its number, or stands in a named state', () => {
  const shows = (quantity: number) => [
    channel('shop', { items: [{ sku: 'CUP', stockKey: 'CUP', location: 'MAIN', quantity, itsOwn: false }] }),
    channel('amazon'),
  ];
  const shop = (more: Parameters<typeof target>[0]) => ({
    targets: [target(more), target({ id: 'amazon cup', connectionId: 'amazon', channelLocation: 'DEFAULT' })],
  });

  test('another number than the arithmetic gives', () => {
    expect(atQuiet(evidence(rows(), { channels: shows(9) }))).toEqual([
      'P4 · CUP at shop · what the channel shows at MAIN: expected 10, found 9 (step 1)',
      'P4 · CUP at shop · what we last saw at MAIN: expected 9, found 10 (step 1)',
    ]);
  });

  const policy = (more: Partial<Rows['policies'][number]>) => ({
    policies: [
      { scope: 'connection', scopeId: 'shop', buffer: null, shareBp: null, cap: null, lastUnits: null, ...more },
    ],
  });
  test.each([
    ['a buffer', { buffer: 3 }, 7],
    ['a share', { shareBp: 2_900 }, 2],
    ['a cap', { cap: 4 }, 4],
    ['share, then buffer, then cap', { shareBp: 5_000, buffer: 1, cap: 3 }, 3],
  ] as const)('%s is spent as the design says', (_, fields, quantity) => {
    const right = rows({ ...policy(fields), ...shop({ observed: quantity }) });
    expect(atQuiet(evidence(right, { channels: shows(quantity) }))).toEqual([]);
    const wrong = rows({ ...policy(fields), ...shop({ observed: quantity + 1 }) });
    expect(atQuiet(evidence(wrong, { channels: shows(quantity + 1) }))).toEqual([
      `P4 · CUP at shop · what the channel shows at MAIN: expected ${quantity}, found ${quantity + 1} (step 1)`,
    ]);
  });

  test('a buffer is spent once over the places of a listing, off the default one first', () => {
    const places: Partial<Rows> = {
      ...policy({ buffer: 12 }),
      positions: [position(), position({ locationId: 'east', sellable: 5 })],
      movements: [movement(), movement({ id: 'm2', units: 5, toLocation: 'east' })],
      mappings: [...rows().mappings, { connectionId: 'shop', channelLocation: 'EAST', locationId: 'east' }],
      targets: [target({ observed: 0 }), target({ id: 'shop east', channelLocation: 'EAST', observed: 3 })],
    };
    const at = (location: string, quantity: number) => ({
      sku: 'CUP',
      stockKey: 'CUP',
      location,
      quantity,
      itsOwn: false,
    });
    expect(
      atQuiet(evidence(rows(places), { channels: [channel('shop', { items: [at('MAIN', 0), at('EAST', 3)] })] })),
    ).toEqual([]);
    expect(
      atQuiet(evidence(rows(places), { channels: [channel('shop', { items: [at('MAIN', 0), at('EAST', 0)] })] })),
    ).toEqual([
      'P4 · CUP at shop · what the channel shows at EAST: expected 3, found 0 (step 1)',
      'P4 · CUP at shop · what we last saw at EAST: expected 0, found 3 (step 1)',
    ]);
  });

  test('a bundle shows what its parts allow, rounded down', () => {
    const kit: Partial<Rows> = {
      variants: [...rows().variants, { id: 'set', sku: 'SET', isBundle: true }],
      components: [{ variantId: 'set', componentId: 'cup', units: 4 }],
      targets: [target({ id: 'shop set', stockKey: 'SET', variantId: 'set', observed: 2 })],
    };
    const items = (quantity: number) => [{ sku: 'SET', stockKey: 'SET', location: 'MAIN', quantity, itsOwn: false }];
    expect(atQuiet(evidence(rows(kit), { channels: [channel('shop', { items: items(2) })] }))).toEqual([]);
    expect(atQuiet(evidence(rows(kit), { channels: [channel('shop', { items: items(3) })] }))[0]).toBe(
      'P4 · SET at shop · what the channel shows at MAIN: expected 2, found 3 (step 1)',
    );
  });

  test('a named state has its reason, and an alert where people must know', () => {
    const alert = {
      id: 'x',
      kind: 'listing_rejected',
      severity: 'warning',
      subjectKind: null,
      subjectId: null,
      message: '',
    };
    expect(
      atQuiet(evidence(rows({ ...shop({ state: 'rejected', reason: 'Not known there.' }), alerts: [alert] }))),
    ).toEqual([]);
    expect(atQuiet(evidence(rows(shop({ state: 'rejected' }))))).toEqual([
      'P4 · CUP at shop · the target at MAIN is rejected: expected a reason, found none (step 1)',
      'P4 · CUP at shop · the target at MAIN is rejected: expected an alert (listing_rejected or listings_rejected), found none (step 1)',
    ]);
    expect(atQuiet(evidence(rows(shop({ state: 'unknown', reason: 'Waits.' }))))).toEqual([
      'P4 · CUP at shop · the target at MAIN is unknown: expected in sync or a named state, found unknown (step 1)',
    ]);
    expect(atQuiet(evidence(rows(shop({ state: 'paused', reason: 'Paused.' }))))).toEqual([
      'P4 · CUP at shop · the target at MAIN is paused: expected somebody who paused it, found nobody (step 1)',
    ]);
  });

  test('nothing waits, nothing is due, and every outcome is known', () => {
    const waiting = rows({
      ...shop({ dirtyVersion: 2 }),
      dirty: [{ variantId: 'cup', version: 1 }],
      inbox: [{ id: 'i', connectionId: 'shop', kind: 'order', externalId: '1', state: 'waiting' }],
      due: [
        { kind: 'hold', subjectId: 'h1', dueAt: 1_000 },
        { kind: 'hold', subjectId: 'h2', dueAt: 1_001 },
      ],
      attempts: [attempt({ outcome: null })],
    });
    expect(atQuiet(evidence(waiting))).toEqual([
      'P4 · CUP at shop · the number at MAIN: expected handled, found waits (step 1)',
      'P10 · CUP at shop · the write of 10: expected a known outcome, found open (step 1)',
      'P4 · CUP · a variant: expected published, found waits (step 1)',
      'P4 · at shop · an event of order 1: expected applied, found waiting (step 1)',
      'P4 · hold h1: expected done when due, found due (step 1)',
    ]);
  });
});

test('P5: waiting work is bounded by variants and targets', () => {
  const twice = [
    { variantId: 'cup', version: 1 },
    { variantId: 'cup', version: 2 },
  ];
  const targets = [
    target({ dirtyVersion: 2 }),
    target({ id: 'amazon cup', connectionId: 'amazon', channelLocation: 'DEFAULT', dirtyVersion: 2 }),
  ];
  expect(looks(evidence(rows({ targets, dirty: twice.slice(1) })))).toEqual([]);
  expect(looks(evidence(rows({ targets, dirty: twice })))).toEqual([
    'P5 · 2 variants and 2 targets wait: expected at most 3, found 4 (step 1)',
  ]);
});

test('every twentieth look judges everything anew, also what no longer changes', () => {
  const wrong = later({ positions: [position({ sellable: 8 })], movements: [movement({ units: 8 })] });
  const all = Array.from({ length: 19 }, () => wrong);
  expect(looks(first, ...all.slice(0, 18))).toEqual([
    'P1 · CUP · sellable in MAIN is not the sum of its movements: expected 10, found 8 (step 19)',
  ]);
  expect(looks(first, ...all)).toEqual([]);
});
