/**
 * What is compared: the policies by name, and the sales they meet. `sale` is the sale of the model in the design: 1,000 SKUs of ten units,
 * ten buyers a second for ten minutes, channels that take 0.5 and 2 calls a second.
 */
import { demandOf } from './demand.ts';
import { channelSpec } from './kinds.ts';
import { boundPolicy, nonePolicy, queuePolicy, sweepPolicy } from './others.ts';
import { oursPolicy } from './ours.ts';
import { type Market, type Outcome, type Policy, playSale } from './sale.ts';

export interface Scenario {
  name: string;
  says: string;
  skus: number;
  unitsEach: number;
  ordersPerSecond: number;
  seconds: number;
  learnS: readonly number[];
}

export const scenarios: readonly Scenario[] = [
  {
    name: 'sale',
    says: 'ten minutes, 10 buyers/s, 10 units of each SKU',
    skus: 1_000,
    unitsEach: 10,
    ordersPerSecond: 10,
    seconds: 600,
    learnS: [1, 5, 30, 300],
  },
  {
    name: 'hour',
    says: 'an hour, 10 buyers/s, 60 units of each SKU',
    skus: 1_000,
    unitsEach: 60,
    ordersPerSecond: 10,
    seconds: 3_600,
    learnS: [5],
  },
  {
    name: 'calm',
    says: 'demand within the limits: 50 minutes, 0.2 buyers/s, 200 units of each SKU',
    skus: 1_000,
    unitsEach: 200,
    ordersPerSecond: 0.2,
    seconds: 3_000,
    learnS: [5],
  },
  {
    name: 'calm, scarce',
    says: 'the same with 10 units of each SKU',
    skus: 1_000,
    unitsEach: 10,
    ordersPerSecond: 0.2,
    seconds: 3_000,
    learnS: [5],
  },
];

export const sweepEveryMs = 15 * 60_000;

export interface PolicyKind {
  name: string;
  says: string;
  policy(market: Market): Policy;
}

export const policies: readonly PolicyKind[] = [
  { name: 'a queue', says: 'one absolute update per event, first in first out', policy: queuePolicy },
  {
    name: 'b sweep',
    says: 'every 15 minutes',
    // A sale opens somewhere between two sweeps: by seed, evenly.
    policy: (market) => sweepPolicy(market, sweepEveryMs, (((market.spec.seed * 7) % 20) + 0.5) * (sweepEveryMs / 20)),
  },
  { name: 'c ours', says: 'SyncState', policy: (market) => oursPolicy(market, 0) },
  { name: 'd none', says: 'no sync at all', policy: nonePolicy },
  { name: 'e ours, last 3', says: 'the last 3 units on one channel', policy: (market) => oursPolicy(market, 3) },
  { name: 'e ours, last 8', says: 'the last 8 units on one channel', policy: (market) => oursPolicy(market, 8) },
  { name: 'bound', says: 'yardstick: lowest number first, blind', policy: boundPolicy },
];

export const channels = [channelSpec('slow', 0.5), channelSpec('fast', 2)];

export function play(scenario: Scenario, kind: PolicyKind, learnS: number, seed: number): Outcome {
  const { skus, unitsEach, ordersPerSecond, seconds } = scenario;
  const buyers = demandOf({ skus, ordersPerSecond, seconds, channels: channels.length }, seed);
  const spec = { channels, unitsEach, skus, seconds, buffer: 0, learnMs: learnS * 1_000, seed };
  return playSale(spec, buyers, (market) => kind.policy(market));
}
