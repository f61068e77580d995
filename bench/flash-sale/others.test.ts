import { expect, test } from 'vitest';
import { Agenda } from './agenda.ts';
import type { Buyer } from './demand.ts';
import { boundPolicy, nonePolicy, queuePolicy, sweepPolicy } from './others.ts';
import { playSale, type SaleSpec } from './sale.ts';

/** A call every ten seconds: 0.9 of the limit are used. */
const slow = (name: string) => ({ name, perSecond: 1 / 9, burst: 1, latencyMs: 200 });
const spec: SaleSpec = {
  channels: [slow('one'), slow('two')],
  unitsEach: 3,
  skus: 2,
  seconds: 60,
  buffer: 0,
  learnMs: 0,
  seed: 1,
};
/** So many buyers of one SKU at a channel, a second apart. */
const rush = (sku: number, channel: number, fromS: number, count: number): Buyer[] =>
  Array.from({ length: count }, (_, index) => ({ at: (fromS + index) * 1_000, sku, channel }));

test('what happens at one instant happens in the order it was put down, and nothing happens in the past', () => {
  const agenda = new Agenda(100);
  const seen: string[] = [];
  agenda.at(200, () => seen.push(`b ${agenda.now}`));
  agenda.at(150.4, () => seen.push(`a ${agenda.now}`));
  agenda.at(200, () => {
    seen.push(`c ${agenda.now}`);
    agenda.at(0, () => seen.push(`d ${agenda.now}`));
  });
  agenda.run();
  expect(seen).toEqual(['a 151', 'b 200', 'c 200', 'd 200']);
});

test('without sync each channel sells all there is, and what one has sold the other never shows', () => {
  const buyers = [...rush(0, 0, 0, 5), ...rush(0, 1, 0, 5), ...rush(1, 0, 6, 1)];
  const came = playSale(spec, buyers, nonePolicy);
  expect([came.sold, came.oversold, came.writes, came.rightAfterS]).toEqual([7, 3, 0, null]);
});

test('a queue puts back, late, what a channel has sold meanwhile, and it is sold again', () => {
  // The number 2 of the first sale arrives after channel one has sold out; nobody buys at channel two.
  const buyers = [...rush(0, 0, 0, 3), ...rush(0, 0, 11, 9)];
  const came = playSale(spec, buyers, queuePolicy);
  expect([playSale(spec, buyers, nonePolicy).oversold, came.oversold]).toEqual([0, 1]);
  expect([came.sold, came.writes, came.backlog]).toEqual([4, 8, 4]);
});

test('a sweep writes each number that differs once, the lowest first, as of the moment it leaves', () => {
  // SKU 1 is at 2 when the sweep lists it and at 1 when its turn comes.
  const buyers = [...rush(0, 0, 0, 3), ...rush(1, 0, 1, 1), ...rush(1, 0, 15, 1)];
  const came = playSale(
    spec,
    buyers.sort((a, b) => a.at - b.at),
    (market) => sweepPolicy(market, 60_000, 10_000),
  );
  expect([came.sold, came.oversold, came.writes, came.backlog]).toEqual([5, 0, 4, 2]);
  expect(came.rightAfterS).toBe(0);
});

test('the yardstick gathers what happens to a number into one write', () => {
  const came = playSale(spec, rush(0, 0, 0, 3), boundPolicy);
  expect([came.sold, came.oversold, came.writes, came.backlog]).toEqual([3, 0, 4, 2]);
});
