import { expect, test } from 'vitest';
import { buildable, totalAvailable } from './availability.ts';
import { buckets, dispositions, returnedBucket } from './disposition.ts';
import { available, emptyPosition, onHand } from './position.ts';

test('available is what is sellable and owed to nobody; on hand counts every condition but not what is incoming', () => {
  const position = {
    ...emptyPosition,
    sellable: 10,
    committed: 3,
    reserved: 2,
    damaged: 1,
    quarantine: 4,
    expired: 5,
    incoming: 9,
  };
  expect(available(position)).toBe(5);
  expect(onHand(position)).toBe(20);
  expect(totalAvailable([position, position])).toBe(10);
});

const at = (places: Record<string, number>) =>
  Object.entries(places).map(([location, units]) => ({ location, available: units }));

test('parts that never meet build nothing, however many there are', () => {
  expect(
    buildable([
      { key: 'frame', units: 1, at: at({ MAIN: 5 }) },
      { key: 'wheel', units: 2, at: at({ EAST: 10 }) },
    ]),
  ).toEqual({ builds: 0, limiting: 'frame' });
});

test('bundles are counted place by place, and the scarcest part limits', () => {
  expect(
    buildable([
      { key: 'frame', units: 1, at: at({ MAIN: 5, EAST: 5 }) },
      { key: 'wheel', units: 2, at: at({ MAIN: 5, EAST: 3 }) },
    ]),
  ).toEqual({ builds: 3, limiting: 'wheel' });
  expect(buildable([])).toEqual({ builds: 0, limiting: null });
});

test.each([
  ['SELLABLE', 'sellable'],
  ['CUSTOMER_DAMAGED', 'damaged'],
  ['WAREHOUSE_DAMAGED', 'damaged'],
  ['CARRIER_DAMAGED', 'damaged'],
  [' unknown ', 'quarantine'],
  ['UNSELLABLE', 'nothing'],
  ['SOMETHING_NEW', 'quarantine'],
])('goods returned as %s go to %s', (word, bucket) => {
  expect(returnedBucket(word)).toBe(bucket);
});

test('incoming goods are in a bucket but in no condition', () => {
  expect(buckets).toEqual([...dispositions, 'incoming']);
});
