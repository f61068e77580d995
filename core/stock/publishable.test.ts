import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ComponentStock,
  type PolicyFields,
  type PublishInput,
  type PublishTarget,
  publishable,
  resolvePolicy,
} from './publishable.ts';

const silent: PolicyFields = { buffer: null, shareBp: null, cap: null };
const says = (fields: Partial<PolicyFields>): PolicyFields => ({ ...silent, ...fields });

function target(id: string, locationIds: string[], more: Partial<PublishTarget> = {}): PublishTarget {
  return {
    targetId: id,
    channelLocation: id,
    locationIds,
    isDefault: locationIds.includes('MAIN'),
    priority: 100,
    policy: silent,
    held: 0,
    ...more,
  };
}

const plain = (available: Record<string, number>): ComponentStock[] => [
  { variantId: 'v', sku: 'SKU', units: 1, available, buffer: 0 },
];
const part = (sku: string, units: number, available: Record<string, number>, buffer = 0): ComponentStock => ({
  variantId: sku,
  sku,
  units,
  available,
  buffer,
});

function numbers(
  input: Partial<PublishInput> & Pick<PublishInput, 'components' | 'targets'>,
  policy: Partial<PolicyFields> = {},
): number[] {
  return publishable({ policy: resolvePolicy({ listing: says(policy) }), ...input }).targets.map(
    ({ desired }) => desired,
  );
}

describe('a plain listing', () => {
  test('shows the sum of available over the locations behind it', () => {
    expect(
      numbers({ components: plain({ MAIN: 5, EAST: 3, FBA: 9 }), targets: [target('T', ['MAIN', 'EAST'])] }),
    ).toEqual([8]);
  });

  test('shows 0 when nothing of ours stands behind it, and says so', () => {
    const { targets } = publishable({ components: [], policy: resolvePolicy({}), targets: [target('T', ['MAIN'])] });
    expect(targets).toEqual([
      {
        targetId: 'T',
        desired: 0,
        steps: [
          {
            op: 'available',
            label: 'nothing we stock stands behind this listing',
            amount: 0,
            running: 0,
            source: 'listing',
          },
        ],
      },
    ]);
  });

  test('shares are basis points: 29 % of 100 is 29 and 57 % is 57', () => {
    const targets = [target('T', ['MAIN'])];
    expect(numbers({ components: plain({ MAIN: 100 }), targets }, { shareBp: 2900 })).toEqual([29]);
    expect(numbers({ components: plain({ MAIN: 100 }), targets }, { shareBp: 5700 })).toEqual([57]);
  });

  test.each([
    [{ shareBp: 5000, buffer: 2 }, 10, 3],
    [{ cap: 4, buffer: 2 }, 10, 4],
    [{ cap: 4, buffer: 8 }, 10, 2],
    [{ buffer: 11 }, 10, 0],
    [{ cap: 0 }, 10, 0],
    [{ shareBp: 0 }, 10, 0],
  ])('share, then buffer, then cap: %o of %i is %i', (policy, available, shown) => {
    expect(numbers({ components: plain({ MAIN: available }), targets: [target('T', ['MAIN'])] }, policy)).toEqual([
      shown,
    ]);
  });

  test('the steps are the calculation: amounts add up to the running totals', () => {
    const { targets } = publishable({
      components: plain({ MAIN: 9, EAST: 4 }),
      policy: resolvePolicy({
        variant: says({ buffer: 2 }),
        connection: says({ shareBp: 5000 }),
        organization: says({ cap: 3, buffer: 7 }),
      }),
      targets: [target('T', ['MAIN', 'EAST'])],
    });
    expect(targets[0]?.steps).toEqual([
      { op: 'available', label: 'available', amount: 9, running: 9, source: 'MAIN' },
      { op: 'available', label: 'available', amount: 4, running: 13, source: 'EAST' },
      { op: 'share', label: 'share 50 %', amount: -7, running: 6, source: 'connection' },
      { op: 'buffer', label: 'buffer 2', amount: -2, running: 4, source: 'variant' },
      { op: 'cap', label: 'cap 3', amount: -1, running: 3, source: 'organization' },
    ]);
  });

  test('units the channel holds outside its number are added back, and the cap is still the last word', () => {
    const targets = [target('T', ['MAIN'], { held: 2 })];
    expect(numbers({ components: plain({ MAIN: 8 }), targets })).toEqual([10]);
    expect(numbers({ components: plain({ MAIN: 8 }), targets }, { cap: 9 })).toEqual([9]);
  });

  test('what is withheld shows 0 with the reason as a step', () => {
    const { targets } = publishable({
      components: plain({ MAIN: 3 }),
      policy: resolvePolicy({}),
      targets: [target('T', ['MAIN'])],
      withheld: 'outdated since noon',
    });
    expect(targets[0]?.desired).toBe(0);
    expect(targets[0]?.steps.at(-1)).toEqual({
      op: 'withheld',
      label: 'outdated since noon',
      amount: -3,
      running: 0,
      source: 'policy',
    });
  });
});

describe('a listing with several targets (race 15b)', () => {
  const both = [target('T-MAIN', ['MAIN']), target('T-EAST', ['EAST'], { priority: 200 })];

  test('a buffer of 5 over 5 and 5 leaves 5 in all, taken from the default location first', () => {
    expect(numbers({ components: plain({ MAIN: 5, EAST: 5 }), targets: both }, { buffer: 5 })).toEqual([0, 5]);
    expect(numbers({ components: plain({ MAIN: 3, EAST: 5 }), targets: both }, { buffer: 5 })).toEqual([0, 3]);
  });

  test('a cap of 10 over three locations publishes 10, filled in the reverse order', () => {
    const three = [...both, target('T-WEST', ['WEST'], { priority: 300 })];
    expect(numbers({ components: plain({ MAIN: 8, EAST: 6, WEST: 5 }), targets: three }, { cap: 10 })).toEqual([
      0, 5, 5,
    ]);
  });

  test('the order does not depend on how the targets are listed', () => {
    expect(numbers({ components: plain({ MAIN: 5, EAST: 5 }), targets: [...both].reverse() }, { buffer: 3 })).toEqual([
      5, 2,
    ]);
  });

  test('the rounding of a share is lost once', () => {
    expect(numbers({ components: plain({ MAIN: 5, EAST: 5 }), targets: both }, { shareBp: 5000 })).toEqual([2, 3]);
  });

  test('a setting of the target itself counts for that target alone', () => {
    const own = [target('T-MAIN', ['MAIN'], { policy: says({ buffer: 1 }) }), both[1] as PublishTarget];
    expect(numbers({ components: plain({ MAIN: 5, EAST: 5 }), targets: own }, { buffer: 2 })).toEqual([4, 3]);
  });
});

describe('a bundle', () => {
  const kit = (a: Record<string, number>, b: Record<string, number>, buffer = 0) => [
    part('A', 1, a, buffer),
    part('B', 2, b),
  ];

  test('its parts must meet in one place', () => {
    const apart = kit({ MAIN: 5 }, { EAST: 10 });
    expect(numbers({ components: apart, targets: [target('T', ['MAIN', 'EAST'])] })).toEqual([0]);
    expect(numbers({ components: apart, targets: [target('T', ['MAIN', 'EAST'])], partsMayTravel: true })).toEqual([5]);
  });

  test('shows what can be built where it can be built, and names what limits it', () => {
    const { targets } = publishable({
      components: kit({ MAIN: 5, EAST: 1 }, { MAIN: 7, EAST: 9 }),
      policy: resolvePolicy({}),
      targets: [target('T', ['MAIN', 'EAST'])],
    });
    expect(targets[0]?.steps).toEqual([
      { op: 'buildable', label: 'parts that meet here, limited by B', amount: 3, running: 3, source: 'MAIN' },
      { op: 'buildable', label: 'parts that meet here, limited by A', amount: 1, running: 4, source: 'EAST' },
    ]);
  });

  test('a part’s own buffer is held back once, over all targets', () => {
    const both = [target('T-MAIN', ['MAIN']), target('T-EAST', ['EAST'], { priority: 200 })];
    expect(numbers({ components: kit({ MAIN: 5, EAST: 5 }, { MAIN: 10, EAST: 10 }, 4), targets: both })).toEqual([
      1, 5,
    ]);
  });

  test('a missing part makes 0', () => {
    expect(numbers({ components: kit({ MAIN: 5 }, {}), targets: [target('T', ['MAIN'])] })).toEqual([0]);
  });

  test('one part in several units is a bundle too', () => {
    expect(numbers({ components: [part('A', 2, { MAIN: 5 })], targets: [target('T', ['MAIN'])] })).toEqual([2]);
  });
});

test('per field the most specific policy wins', () => {
  expect(
    resolvePolicy({
      listing: says({ cap: 4 }),
      variant: says({ cap: 9, buffer: 1 }),
      organization: says({ buffer: 5, shareBp: 8000 }),
    }),
  ).toEqual({
    cap: { value: 4, scope: 'listing' },
    buffer: { value: 1, scope: 'variant' },
    shareBp: { value: 8000, scope: 'organization' },
  });
  expect(resolvePolicy({})).toEqual({
    cap: null,
    buffer: { value: 0, scope: 'default' },
    shareBp: { value: 10_000, scope: 'default' },
  });
});

test('whatever the stock and the policy: whole numbers, never more than available less the buffer, never above the cap, steps add up', () => {
  const units = fc.nat(40);
  const scenario = fc.record({
    components: fc.array(
      fc.record({ units: fc.integer({ min: 1, max: 4 }), MAIN: units, EAST: units, WEST: units, buffer: fc.nat(10) }),
      { minLength: 1, maxLength: 3 },
    ),
    buffer: fc.nat(30),
    shareBp: fc.nat(10_000),
    cap: fc.option(fc.nat(40)),
    travel: fc.boolean(),
  });
  fc.assert(
    fc.property(scenario, ({ components, buffer, shareBp, cap, travel }) => {
      const single = components.length === 1 && components[0]?.units === 1;
      const parts = components.map((one, index) =>
        part(`P${index}`, one.units, { MAIN: one.MAIN, EAST: one.EAST, WEST: one.WEST }, single ? 0 : one.buffer),
      );
      const { targets } = publishable({
        components: parts,
        policy: resolvePolicy({ listing: { buffer, shareBp, cap } }),
        targets: [target('A', ['MAIN']), target('B', ['EAST', 'WEST'], { priority: 200 })],
        partsMayTravel: travel,
      });
      const total = targets.reduce((sum, { desired }) => sum + desired, 0);
      const buildable = Math.min(
        ...parts.map((one) =>
          Math.floor(Math.max(0, Object.values(one.available).reduce((a, b) => a + b, 0) - one.buffer) / one.units),
        ),
      );
      expect(total).toBeLessThanOrEqual(Math.max(0, Math.floor((shareBp * buildable) / 10_000) - buffer));
      if (cap !== null) expect(total).toBeLessThanOrEqual(cap);
      for (const { desired, steps } of targets) {
        expect(Number.isInteger(desired) && desired >= 0).toBe(true);
        let running = 0;
        for (const step of steps) {
          running += step.amount;
          expect(step.running).toBe(running);
        }
        expect(running).toBe(desired);
      }
    }),
    { seed: 20261121, numRuns: 400 },
  );
});
