import { expect, test } from 'vitest';
import { Agenda } from './agenda.ts';
import { Channel, type LevelChange, type RowOutcome } from './channel.ts';

function open(numbers: number[], burst = 10) {
  const agenda = new Agenda(1_000_000);
  const channel = new Channel(agenda, { name: 'one', perSecond: 1, burst, latencyMs: 200 }, numbers);
  const levels: LevelChange[] = [];
  channel.onLevel = (change) => levels.push(change);
  return { agenda, channel, levels };
}

test('a buyer lowers the number at once; at 0 the next one is turned away', () => {
  const { channel, levels } = open([1]);
  expect([channel.buy(0), channel.buy(0), channel.number(0)]).toEqual([true, false, 0]);
  expect(levels).toEqual([{ sku: 0, value: 0, at: 1_000_000 }]);
});

test('a write is in force after half the latency and answered after all of it, at a whole second of the vendor', () => {
  const { agenda, channel } = open([5]);
  const seen: unknown[] = [];
  agenda.at(1_000_950, () =>
    channel.write([{ sku: 0, value: 3, from: 5 }], (...answer) => seen.push(agenda.now, answer)),
  );
  agenda.at(1_001_049, () => seen.push(channel.number(0)));
  agenda.at(1_001_050, () => agenda.after(0, () => seen.push(channel.number(0))));
  agenda.run();
  expect(seen).toEqual([5, 3, 1_001_150, [['applied'], 1_001_000]]);
});

test('a stale row leaves the whole call unwritten and is named; a blind row is carried out whatever stands there', () => {
  const { agenda, channel, levels } = open([5, 5]);
  const answers: RowOutcome[][] = [];
  const write = (rows: Parameters<Channel['write']>[0]) => channel.write(rows, (outcomes) => answers.push(outcomes));
  channel.buy(0);
  write([
    { sku: 0, value: 2, from: 5 },
    { sku: 1, value: 2, from: 5 },
  ]);
  agenda.run();
  expect([channel.number(0), channel.number(1)]).toEqual([4, 5]);
  write([{ sku: 0, value: 9, from: null }]);
  agenda.run();
  expect(answers).toEqual([['stale', 'not_applied'], ['applied']]);
  expect(channel.number(0)).toBe(9);
  expect(channel.calls).toEqual({ read: 0, write: 2, stale: 1 });
  expect(levels.map(({ value }) => value)).toEqual([4, 9]);
});

test('a reading tells the numbers as they are when it arrives, and changes nothing', () => {
  const { agenda, channel, levels } = open([5, 7]);
  let read: number[] = [];
  channel.read([1, 0], (numbers) => {
    read = numbers;
  });
  agenda.after(50, () => channel.buy(1));
  agenda.after(150, () => channel.buy(1));
  agenda.run();
  expect([read, channel.number(1), levels.length]).toEqual([[6, 5], 5, 2]);
});

test('a call beyond the limit is an error', () => {
  const { channel } = open([5], 2);
  const read = () => channel.read([0], () => undefined);
  read();
  read();
  expect(read).toThrow('a call beyond the limit');
});
