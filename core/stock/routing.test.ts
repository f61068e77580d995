import { describe, expect, test } from 'vitest';
import { LocationId, VariantId } from '../ids.ts';
import { inRoutingOrder, type Place, preferring, routeLine } from './routing.ts';

const place = (id: string, priority: number, isDefault = false): Place => ({
  id: LocationId(id),
  code: id,
  isDefault,
  priority,
  servesOrders: true,
});
const [main, east, west] = [LocationId('main'), LocationId('east'), LocationId('west')];
const [a, b] = [VariantId('a'), VariantId('b')];
const order = [main, east, west];
const stock =
  (units: Record<string, number>) =>
  (variantId: VariantId, locationId: LocationId): number =>
    units[`${variantId} ${locationId}`] ?? 0;

describe('routing', () => {
  test('the default location comes first, then priority, then code', () => {
    const places = [place('west', 10), place('b-east', 5), place('a-east', 5), place('main', 99, true)];
    expect(inRoutingOrder(places).map(({ id }) => id)).toEqual(['main', 'a-east', 'b-east', 'west']);
  });

  test.each([
    ['the default serves the whole line', { 'a main': 3, 'a east': 9 }, [[main, 3]], []],
    ['the first by priority that can serve it whole', { 'a main': 2, 'a east': 3, 'a west': 9 }, [[east, 3]], []],
    ['else it is split in order', { 'a main': 1, 'a east': 1, 'a west': 9 }, [[west, 3]], []],
    [
      'only the rest is missing',
      { 'a main': 1, 'a west': 1 },
      [
        [main, 1],
        [west, 1],
      ],
      [{ variantId: a, units: 1 }],
    ],
    ['nothing anywhere', {}, [], [{ variantId: a, units: 3 }]],
  ])('%s', (_, units, takes, missing) => {
    const routed = routeLine([{ variantId: a, units: 3 }], order, stock(units as Record<string, number>));
    expect(routed.takes.map((take) => [take.locationId, take.units])).toEqual(takes);
    expect(routed.missing).toEqual(missing);
  });

  test('the parts of a bundle line go to one place that has them all, before the default that has only some', () => {
    const needs = [
      { variantId: a, units: 1 },
      { variantId: b, units: 2 },
    ];
    const { takes } = routeLine(needs, order, stock({ 'a main': 5, 'b main': 1, 'a west': 1, 'b west': 2 }));
    expect(takes).toEqual([
      { variantId: a, units: 1, locationId: west },
      { variantId: b, units: 2, locationId: west },
    ]);
  });

  test('a preferred location is tried first only when it serves orders', () => {
    expect(preferring(order, west)).toEqual([west, main, east]);
    expect(preferring(order, LocationId('fba'))).toBe(order);
    expect(preferring(order, null)).toBe(order);
  });
});
