import { expect, test } from 'vitest';
import { demandOf } from './demand.ts';

/** at, sku, channel */
const seven = [
  [11, 0, 1],
  [154, 4, 1],
  [296, 847, 0],
  [367, 4, 1],
  [466, 2, 1],
  [699, 27, 0],
  [729, 3, 0],
  [761, 0, 1],
  [764, 26, 0],
  [877, 1, 0],
];

const spec = { skus: 1_000, ordersPerSecond: 10, seconds: 600, channels: 2 };

test('the same seed brings the same buyers, another seed others', () => {
  const buyers = (seed: number) =>
    demandOf({ ...spec, seconds: 1 }, seed).map(({ at, sku, channel }) => [at, sku, channel]);
  expect(buyers(7)).toEqual(seven);
  expect(buyers(7)).toEqual(seven);
  expect(buyers(8)).not.toEqual(seven);
});

test('as many buyers come as rate and duration say, in order, half of them to each channel', () => {
  const buyers = demandOf(spec, 1);
  expect(buyers).toHaveLength(6_000);
  expect(buyers.every(({ at }, index) => at >= (buyers[index - 1]?.at ?? 0) && at < 600_000)).toBe(true);
  expect(buyers.filter(({ channel }) => channel === 0)).toHaveLength(3_007);
});

test('an SKU is wanted in inverse proportion to its rank', () => {
  const counts = new Map<number, number>();
  for (let seed = 1; seed <= 20; seed += 1)
    for (const { sku } of demandOf(spec, seed)) counts.set(sku, (counts.get(sku) ?? 0) + 1);
  const share = (skus: number) =>
    Array.from({ length: skus }, (_, sku) => counts.get(sku) ?? 0).reduce((sum, one) => sum + one, 0) / 120_000;
  // 1 ÷ H(1000) = 0.1336, H(10) ÷ H(1000) = 0.3913, H(100) ÷ H(1000) = 0.6930
  expect([share(1), share(10), share(100)].map((part) => part.toFixed(2))).toEqual(['0.13', '0.39', '0.69']);
});
