import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ListingId, LocationId, VariantId } from '../ids.ts';
import type { Command } from '../stock/movement.ts';
import { foldOrder } from './fold.ts';
import { type Application, completeMapping, decideImport, type ImportContext } from './import.ts';
import { allowsStep, fulfillmentAfter, statusOf } from './lifecycle.ts';
import { contentOf, type IncomingLine, type IncomingOrder, type LineMapping, type Order } from './order.ts';

const MINUTE = 60_000;
const T = 1_700_000_000_000;

function line(sku: string, wanted: number, more: Partial<IncomingLine> = {}): IncomingLine {
  return {
    externalId: `line-${sku}`,
    stockKey: `item-${sku}`,
    variantExternalId: null,
    channelSku: sku,
    title: sku,
    ordered: wanted,
    wanted,
    shipped: 0,
    taken: wanted,
    channelLocation: null,
    bundleParent: false,
    ...more,
  };
}

function order(updatedAt: number, lines: IncomingLine[], more: Partial<IncomingOrder> = {}): IncomingOrder {
  return {
    externalId: '1',
    number: '#1',
    placedAt: T,
    updatedAt,
    state: 'open',
    payment: 'paid',
    fulfillment: 'unfulfilled',
    fulfilledBy: 'us',
    currency: 'USD',
    totalMinor: 100,
    test: false,
    lines,
    ...more,
  };
}

const mapped = (sku: string): LineMapping => ({
  kind: 'mapped',
  listingId: ListingId(`listing-${sku}`),
  stockKey: `item-${sku}`,
  variantId: VariantId(sku),
  components:
    sku === 'KIT'
      ? [
          { variantId: VariantId('A'), units: 2 },
          { variantId: VariantId('B'), units: 1 },
        ]
      : [{ variantId: VariantId(sku), units: 1 }],
});

let made = 0;
const context = (incoming: IncomingOrder, more: Partial<ImportContext> = {}): ImportContext => ({
  contentHash: contentOf(incoming),
  fresh: false,
  bookedSince: 0,
  mappingOf: (one) => mapped(one.channelSku ?? ''),
  prefer: () => null,
  ids: {
    uuid: () => {
      made += 1;
      return `id-${made}`;
    },
  },
  ...more,
});

function applied(stored: Order | null, incoming: IncomingOrder, more: Partial<ImportContext> = {}): Application {
  const decision = decideImport(stored, incoming, context(incoming, more));
  if (decision.kind !== 'apply') throw new Error(`not applied: ${JSON.stringify(decision)}`);
  return decision;
}

/** A naive book: what stands after commands, per claim and variant. Written from the commands' documentation only. */
class NaiveBook {
  readonly claims = new Map<string, { held: number; committed: number; shipped: number }>();
  readonly keys = new Set<string>();

  post(commands: readonly Command[]): void {
    for (const command of commands) {
      expect(this.keys.has(command.key)).toBe(false);
      this.keys.add(command.key);
      this.one(command);
    }
  }

  one(command: Command): void {
    switch (command.kind) {
      case 'commit':
        for (const part of command.lines) this.at(part.lineId, part.variantId).committed += part.units;
        return;
      case 'hold':
        for (const part of command.lines) this.at(part.holdId, part.variantId).held += part.units;
        return;
      case 'confirm':
        for (const [, claim] of this.of(command.holdId)) {
          claim.committed += claim.held;
          claim.held = 0;
        }
        return;
      case 'release':
        for (const [variantId, claim] of this.of(command.claimId)) {
          const part = command.lines === 'all' ? null : command.lines.find((one) => one.variantId === variantId);
          let units = command.lines === 'all' ? claim.held + claim.committed : Number(part?.units ?? 0);
          const held = Math.min(units, claim.held);
          claim.held -= held;
          units -= held;
          claim.committed -= units;
          expect(claim.committed).toBeGreaterThanOrEqual(0);
        }
        return;
      case 'ship': {
        const claim = this.at(command.lineId ?? '', command.variantId);
        // Never beyond what is claimed: nothing would have to be found.
        expect(claim.committed + claim.held).toBeGreaterThanOrEqual(command.units);
        const committed = Math.min(claim.committed, command.units);
        claim.committed -= committed;
        claim.held -= command.units - committed;
        claim.shipped += command.units;
        return;
      }
      default:
        throw new Error(`an import never sends ${command.kind}`);
    }
  }

  at(claimId: string, variantId: string) {
    const key = `${claimId}/${variantId}`;
    const claim = this.claims.get(key) ?? { held: 0, committed: 0, shipped: 0 };
    this.claims.set(key, claim);
    return claim;
  }

  of(claimId: string) {
    return [...this.claims]
      .filter(([key]) => key.startsWith(`${claimId}/`))
      .map(([key, claim]) => [key.slice(claimId.length + 1), claim] as const);
  }

  total(variantId: string) {
    const sum = { held: 0, committed: 0, shipped: 0 };
    for (const [key, claim] of this.claims) {
      if (!key.endsWith(`/${variantId}`)) continue;
      sum.held += claim.held;
      sum.committed += claim.committed;
      sum.shipped += claim.shipped;
    }
    return sum;
  }
}

describe('which version counts', () => {
  const first = applied(null, order(T, [line('A', 2)])).order;

  test.each([
    ['older, other content', order(T - 1, [line('A', 9)]), { kind: 'nothing', reason: 'older' }],
    ['the same', order(T, [line('A', 2)]), { kind: 'nothing', reason: 'same' }],
    [
      'the same, told without what was taken',
      order(T, [line('A', 2, { taken: null })]),
      { kind: 'nothing', reason: 'same' },
    ],
    [
      'the same, told with its place',
      order(T, [line('A', 2, { channelLocation: 'here' })]),
      { kind: 'nothing', reason: 'same' },
    ],
    ['the same time, other content', order(T, [line('A', 3)]), { kind: 'fetch', reason: 'tie' }],
    ['the same time, something given back', order(T, [line('A', 2, { taken: 1 })]), { kind: 'fetch', reason: 'tie' }],
  ])('%s', (_, incoming, decision) => {
    expect(decideImport(first, incoming, context(incoming))).toEqual(decision);
  });

  test('a read begun after the tie was known settles it; an older read changes nothing', () => {
    const read = order(T, [line('A', 3)]);
    expect(applied(first, read, { fresh: true }).order).toMatchObject({ revision: 2, version: T });
    const stale = order(T - 1, [line('A', 3)]);
    expect(decideImport(first, stale, context(stale, { fresh: true }))).toEqual({ kind: 'nothing', reason: 'older' });
  });
});

describe('what the channel did to its own number', () => {
  test('a sale is dated when it was placed, so that a read between sale and import is known to contain it', () => {
    const { effects } = applied(null, order(T + 10 * MINUTE, [line('A', 2)]));
    expect(effects).toEqual([{ stockKey: 'item-A', channelLocation: null, units: 2, earliestAt: T, at: T + 2_000 }]);
  });

  test('lines of one number are told together', () => {
    const { effects } = applied(null, order(T, [line('A', 2), line('A', 3, { externalId: 'again' })]));
    expect(effects).toEqual([{ stockKey: 'item-A', channelLocation: null, units: 5, earliestAt: T, at: T }]);
  });

  test('an edit lies between the two versions; a version without change tells nothing', () => {
    const one = applied(null, order(T, [line('A', 2)])).order;
    const edited = applied(one, order(T + MINUTE, [line('A', 1, { ordered: 2 })]));
    expect(edited.effects).toEqual([
      { stockKey: 'item-A', channelLocation: null, units: -1, earliestAt: T, at: T + MINUTE },
    ]);
    expect(
      applied(edited.order, order(T + 2 * MINUTE, [line('A', 1, { ordered: 2 })], { payment: 'refunded' })).effects,
    ).toEqual([]);
  });

  test('what is not told is unknown, and what was unknown and did not move stays silent', () => {
    const one = applied(null, order(T, [line('A', 2, { taken: null })]));
    expect(one.effects).toMatchObject([{ units: null }]);
    expect(
      applied(one.order, order(T + MINUTE, [line('A', 2, { taken: null })], { payment: 'refunded' })).effects,
    ).toEqual([]);
    expect(applied(one.order, order(T + MINUTE, [line('A', 1, { ordered: 2, taken: null })])).effects).toMatchObject([
      { units: null },
    ]);
  });

  test('restocking at another place than the sale is told by place', () => {
    const { effects } = applied(
      null,
      order(T, [line('A', 2, { channelLocation: 'x' }), line('A', 1, { externalId: 'b', channelLocation: 'y' })]),
    );
    expect(effects.map(({ channelLocation, units }) => [channelLocation, units])).toEqual([
      ['x', 2],
      ['y', 1],
    ]);
  });
});

test('a line the channel no longer shows is owed no more', () => {
  const one = applied(null, order(T, [line('A', 2), line('B', 1)])).order;
  const two = applied(one, order(T + MINUTE, [line('B', 1)]));
  expect(two.commands).toMatchObject([{ kind: 'release', lines: 'all' }]);
  expect(two.order.lines.map(({ externalId, wanted, claimed }) => [externalId, wanted, claimed])).toEqual([
    ['line-B', 1, 1],
    ['line-A', 0, 0],
  ]);
});

test('units added and shipped in one version are claimed before they leave', () => {
  const one = applied(null, order(T, [line('A', 2)])).order;
  const { commands } = applied(one, order(T + MINUTE, [line('A', 3, { shipped: 3 })]));
  expect(commands.map(({ kind }) => kind)).toEqual(['commit', 'ship']);
});

test('what we shipped before the channel knows it is not undone', () => {
  const one = applied(null, order(T, [line('A', 3)])).order;
  const ours: Order = { ...one, lines: one.lines.map((stored) => ({ ...stored, shipped: 2, claimed: 1 })) };
  const { commands, order: after } = applied(ours, order(T + MINUTE, [line('A', 3, { shipped: 1 })]));
  expect(commands).toEqual([]);
  expect(after.lines[0]).toMatchObject({ shipped: 2, claimed: 1 });
});

test('a line without mapping is booked once when it gets one, with the parts of that moment', () => {
  const none: Partial<ImportContext> = {
    mappingOf: () => ({ kind: 'unmapped', reason: 'unknown', listingId: null, stockKey: null }),
  };
  const one = applied(null, order(T, [line('KIT', 2, { shipped: 1 })]), none);
  expect(one.commands).toEqual([]);
  const completed = completeMapping(one.order, {
    mappingOf: (stored) => mapped(stored.channelSku ?? ''),
    prefer: () => null,
    bookedSince: 0,
    now: T,
  });
  expect(completed?.commands.map(({ kind }) => kind)).toEqual(['commit', 'ship', 'ship']);
  expect(completed?.order).toMatchObject({ revision: 2, unmapped: false });
  if (!completed) throw new Error('not completed');
  expect(
    completeMapping(completed.order, {
      mappingOf: (stored) => mapped(stored.channelSku ?? ''),
      prefer: () => null,
      bookedSince: 0,
      now: T,
    }),
  ).toBe(null);
});

test.each([
  ['fractional', { wanted: 1.5 }],
  ['negative', { wanted: -1 }],
  ['huge', { ordered: 2 ** 31 }],
])('%s units are a mistake of ours, never booked', (_, more) => {
  const incoming = order(T, [line('A', 1, more)]);
  expect(() => decideImport(null, incoming, context(incoming))).toThrow(expect.objectContaining({ code: 'assertion' }));
});

test('a bundle line whose parts are beyond what can be booked is refused as a whole', () => {
  const incoming = order(T, [line('KIT', 2 ** 31 - 1)]);
  expect(() => decideImport(null, incoming, context(incoming))).toThrow(expect.objectContaining({ code: 'assertion' }));
});

test('the place that sold is preferred, line by line', () => {
  const incoming = order(T, [line('A', 1, { channelLocation: 'x' }), line('B', 1)]);
  const { commands } = applied(null, incoming, { prefer: (place) => (place === 'x' ? LocationId('east') : null) });
  expect(commands).toMatchObject([
    {
      kind: 'commit',
      wish: false,
      lines: [
        { locationId: null, preferLocationId: 'east' },
        { locationId: null, preferLocationId: null },
      ],
    },
  ]);
});

describe('folding', () => {
  const whole = (updatedAt: number, wanted: number, fresh = false) => ({
    kind: 'order' as const,
    order: order(updatedAt, [line('A', wanted)]),
    fresh,
  });
  const rows = (...events: Parameters<typeof foldOrder<number>>[0][number]['event'][]) =>
    events.map((event, row) => ({ row, event }));

  test.each([
    [
      'the newest of several',
      rows(whole(T, 1), whole(T + 2, 3), whole(T + 1, 2)),
      null,
      { apply: 1, superseded: [0, 2], fetch: [] },
    ],
    ['two that tell the same', rows(whole(T, 1), whole(T, 1)), null, { apply: 0, superseded: [1], fetch: [] }],
    [
      'two of one instant that differ: one is applied, the other asks',
      rows(whole(T, 1), whole(T, 2)),
      null,
      { apply: 0, superseded: [], fetch: [1] },
    ],
    [
      'of one instant the read comes first',
      rows(whole(T, 1), whole(T, 2, true)),
      null,
      { apply: 1, superseded: [], fetch: [0] },
    ],
    [
      'news without content, newer than all',
      rows(whole(T, 1), { kind: 'changed', vendorAt: T + 1 }),
      null,
      { apply: 0, superseded: [], fetch: [1] },
    ],
    [
      'news of a version we hold',
      rows({ kind: 'changed', vendorAt: T }),
      T,
      { apply: null, superseded: [0], fetch: [] },
    ],
    ['news without a time', rows({ kind: 'changed', vendorAt: null }), T, { apply: null, superseded: [], fetch: [0] }],
    ['nothing to do', rows({ kind: 'ignored' }), null, { apply: null, superseded: [0], fetch: [] }],
  ])('%s', (_, given, stored, expected) => {
    const fold = foldOrder(given, stored);
    expect({ ...fold, apply: fold.apply?.row ?? null }).toEqual(expected);
  });
});

test('however versions come (late, twice, out of order), the claims end as the newest version wants them (P3)', () => {
  const version = fc.record({
    a: fc.integer({ min: 0, max: 6 }),
    kit: fc.integer({ min: 0, max: 4 }),
    shippedA: fc.integer({ min: 0, max: 6 }),
    shippedKit: fc.integer({ min: 0, max: 4 }),
    cancelled: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(version, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(), { minLength: 1, maxLength: 14 }),
      fc.integer({ min: 0, max: 3 }),
      (steps, picks, pendingUntil) => {
        // What left never comes back, and a cancelled order stays cancelled: as channels do.
        let shippedA = 0;
        let shippedKit = 0;
        let cancelled = false;
        const versions = steps.map((step, n) => {
          const pending = n < pendingUntil;
          if (!pending) {
            shippedA = Math.max(shippedA, Math.min(step.shippedA, step.a));
            shippedKit = Math.max(shippedKit, Math.min(step.shippedKit, step.kit));
          }
          cancelled = cancelled || (step.cancelled && n > 0);
          const wantedA = cancelled ? shippedA : Math.max(step.a, shippedA);
          const wantedKit = cancelled ? shippedKit : Math.max(step.kit, shippedKit);
          return order(
            T + n * MINUTE,
            [
              line('A', wantedA, { ordered: 9, shipped: shippedA, taken: wantedA }),
              line('KIT', wantedKit, { ordered: 9, shipped: shippedKit, taken: wantedKit }),
            ],
            {
              state: cancelled ? 'cancelled' : pending ? 'pending' : 'open',
            },
          );
        });
        const sequence = [...picks.map((pick) => pick % versions.length), versions.length - 1];
        const book = new NaiveBook();
        let stored: Order | null = null;
        let moved = 0;
        for (const n of sequence) {
          const incoming = versions[n];
          if (!incoming) throw new Error('no version');
          const decision = decideImport(stored, incoming, context(incoming));
          expect(decision.kind).not.toBe('fetch');
          if (decision.kind !== 'apply') continue;
          book.post(decision.commands);
          for (const effect of decision.effects) if (effect.stockKey === 'item-A') moved += effect.units ?? Number.NaN;
          stored = decision.order;
        }
        const last = versions.at(-1);
        const [a, kit] = last?.lines ?? [];
        if (!last || !a || !kit || !stored) throw new Error('no order');
        const owed = {
          a: last.state === 'cancelled' ? 0 : a.wanted - a.shipped,
          kit: last.state === 'cancelled' ? 0 : kit.wanted - kit.shipped,
        };
        const total = book.total('A');
        expect(total.held + total.committed).toBe(owed.a + 2 * owed.kit);
        expect(total.shipped).toBe(a.shipped + 2 * kit.shipped);
        expect(book.total('B').held + book.total('B').committed).toBe(owed.kit);
        if (!stored.pending) expect(total.held).toBe(0);
        expect(moved).toBe(a.taken);
      },
    ),
    { numRuns: 2_000, seed: 20261121 },
  );
});

describe('lifecycle', () => {
  test('the order axis follows the channel', () => {
    expect(statusOf({ state: 'pending', fulfillment: 'unfulfilled' })).toBe('new');
    expect(statusOf({ state: 'open', fulfillment: 'unfulfilled' })).toBe('confirmed');
    expect(statusOf({ state: 'open', fulfillment: 'partly_shipped' })).toBe('processing');
    expect(statusOf({ state: 'open', fulfillment: 'shipped' })).toBe('completed');
    expect(statusOf({ state: 'cancelled', fulfillment: 'shipped' })).toBe('cancelled');
  });

  test('steps that are not in the tables are not allowed', () => {
    expect(allowsStep('order', 'new', 'confirmed')).toBe(true);
    expect(allowsStep('order', 'cancelled', 'confirmed')).toBe(false);
    expect(allowsStep('payment', 'refunded', 'paid')).toBe(false);
    expect(allowsStep('fulfillment', 'delivered', 'unfulfilled')).toBe(false);
    expect(allowsStep('fulfillment', 'shipped', 'shipped')).toBe(true);
  });

  test('"shipped" told again does not undo what we know of the parcel', () => {
    expect(fulfillmentAfter('delivered', 'shipped')).toBe('delivered');
    expect(fulfillmentAfter('partly_shipped', 'shipped')).toBe('shipped');
    expect(fulfillmentAfter('shipped', 'unrecognized')).toBe('shipped');
    expect(fulfillmentAfter(null, 'unfulfilled')).toBe('unfulfilled');
  });
});
